"""Headless Chromium with a fake microphone and a plain phone hear each other.

The page makes the offer and takes the answer over HTTP; a test phone's SIP carries them.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from pathlib import Path

import pytest

import rtpmix
from rtpmix.testing import TonePhone
from tests.interop.chromium import EAR, Site, browsing
from tests.interop.conftest import find_peer
from tests.interop.sipp import server_address
from tests.interop.webrtc_peer import BOB, BROWSER, BrowserSession, address, calls_reach

__all__ = ["address"]  # a fixture

PAGE = f"""<!doctype html><script>{EAR}
(async () => {{
  const constraints = {{echoCancellation: false, noiseSuppression: false, autoGainControl: false}};
  const stream = await navigator.mediaDevices.getUserMedia({{audio: constraints}});
  const pc = new RTCPeerConnection();
  stream.getTracks().forEach(track => pc.addTrack(track, stream));
  pc.ontrack = event => listen(event.streams[0]);
  pc.onconnectionstatechange = () => tell({{event: pc.connectionState}});
  await pc.setLocalDescription(await pc.createOffer());
  if (pc.iceGatheringState !== "complete")
    await new Promise(done => pc.addEventListener("icegatheringstatechange",
      () => pc.iceGatheringState === "complete" && done()));
  tell({{event: "offer", sdp: pc.localDescription.sdp}});
  obey({{answer: ({{sdp}}) => pc.setRemoteDescription({{type: "answer", sdp}})}});
}})().catch(error => tell({{event: "failed", error: String(error)}}));
</script>"""


@pytest.fixture
def config(config: rtpmix.Config, address: str) -> rtpmix.Config:
    """A server that is reached where ICE looks."""
    return replace(config, media_address=address)


async def test_chromium_and_a_plain_phone_hear_each_other(
    server: rtpmix.Server, address: str, tmp_path: Path
) -> None:
    chromium = find_peer("chromium")
    bob, caller = TonePhone("bob", host=address, frequency=BOB), TonePhone("browser")
    calls_reach(server, bob)
    site = Site({"/": PAGE})
    await site.start()
    opened = browsing(chromium, f"{site.origin}/", tmp_path, voice=BROWSER)
    with contextlib.closing(site):
        async with asyncio.timeout(60), bob, caller, opened:
            said = (await site.news.take(event="offer"))["sdp"]
            session = BrowserSession(said.encode())
            caller._new_session = session.itself  # type: ignore[method-assign, assignment]
            await caller.call(f"sip:bob@{server_address(server, 'udp')}")
            site.order("answer", sdp=session.answer.decode())
            await site.news.take(event="connected")
            await site.comes_to_hear(BOB, among=(BROWSER, BOB))
            while bob.hears(BROWSER, BOB) != {BROWSER}:  # noqa: ASYNC110 - state
                await asyncio.sleep(0.1)
