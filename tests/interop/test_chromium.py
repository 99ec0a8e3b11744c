"""Headless Chromium with a fake microphone and a plain phone hear each other.

The page makes the offer and takes the answer over HTTP; a test phone's SIP carries them.
"""

from __future__ import annotations

import asyncio
import json
import wave
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import rtpmix
from rtpmix.testing import TonePhone
from rtpmix.testing.audio import CLOCK_HZ, tone
from tests.interop import processes
from tests.interop.conftest import find_peer
from tests.interop.sipp import server_address
from tests.interop.test_webrtc import BOB, BROWSER, BrowserSession, address

__all__ = ["address"]  # a fixture

PAGE = b"""<!doctype html><script>
(async () => {
  const constraints = {echoCancellation: false, noiseSuppression: false, autoGainControl: false};
  const stream = await navigator.mediaDevices.getUserMedia({audio: constraints});
  const pc = new RTCPeerConnection();
  stream.getTracks().forEach(track => pc.addTrack(track, stream));
  pc.ontrack = event => {
    const audio = new Audio(); audio.muted = true; audio.srcObject = event.streams[0]; audio.play();
    const context = new AudioContext(), analyser = context.createAnalyser();
    analyser.fftSize = 8192;
    context.createMediaStreamSource(event.streams[0]).connect(analyser);
    const bins = new Float32Array(analyser.frequencyBinCount);
    setInterval(() => {
      analyser.getFloatFrequencyData(bins);
      let best = 0;
      bins.forEach((level, at) => { if (level > bins[best]) best = at; });
      const hz = best * context.sampleRate / analyser.fftSize;
      fetch("/heard", {method: "POST",
        body: JSON.stringify({hz, db: bins[best], state: pc.connectionState})});
    }, 500);
  };
  await pc.setLocalDescription(await pc.createOffer());
  if (pc.iceGatheringState !== "complete")
    await new Promise(done => pc.addEventListener("icegatheringstatechange",
      () => pc.iceGatheringState === "complete" && done()));
  const answer = await fetch("/offer", {method: "POST", body: pc.localDescription.sdp});
  await pc.setRemoteDescription({type: "answer", sdp: await answer.text()});
})().catch(error => fetch("/failed", {method: "POST", body: String(error)}));
</script>"""


class Site:
    """Serves the page, and keeps what it tells."""

    def __init__(self) -> None:
        self.offer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self.answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self.heard: list[dict[str, Any]] = []
        self.failures: list[bytes] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:] if line)
        body = await reader.readexactly(int(fields.get(b"content-length", b"0")))
        path, reply = head.split()[1], b""
        if path == b"/":
            reply = PAGE
        elif path == b"/offer":
            self.offer.set_result(body)
            reply = await self.answer
        elif path == b"/heard":
            self.heard.append(json.loads(body))
        elif path == b"/failed":
            self.failures.append(body)
        length = f"Content-Length: {len(reply)}\r\n".encode()
        kind = b"Content-Type: text/html\r\nConnection: close\r\n"
        writer.write(b"HTTP/1.1 200 OK\r\n" + kind + length + b"\r\n" + reply)
        await writer.drain()
        writer.close()


@pytest.fixture
def config(config: rtpmix.Config, address: str) -> rtpmix.Config:
    """A server that is reached where ICE looks."""
    return replace(config, media_address=address)


async def test_chromium_and_a_plain_phone_hear_each_other(
    server: rtpmix.Server,
    address: str,
    tmp_path: Path,
) -> None:
    chromium = find_peer("chromium")
    sound = tmp_path / "voice.wav"
    with wave.open(str(sound), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(CLOCK_HZ)
        file.writeframes(tone(BROWSER, 60.0, level_db=-14.0).tobytes())
    bob, caller = TonePhone("bob", host=address, frequency=BOB), TonePhone("browser")

    @server.on_invite
    async def connect(call: rtpmix.IncomingCall) -> None:
        far = await server.invite(bob.uri)
        near = await call.answer(encryption=rtpmix.Encryption.REQUIRED)
        await server.bridge(near, far)
        await near.closed()

    site = Site()
    web = await asyncio.start_server(site.serve, "127.0.0.1", 0)
    port = web.sockets[0].getsockname()[1]
    command = [
        chromium,
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        f"--user-data-dir={tmp_path / 'profile'}",
        "--use-fake-ui-for-media-stream",
        "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-audio-capture={sound}",
        "--autoplay-policy=no-user-gesture-required",
        f"http://127.0.0.1:{port}/",
    ]
    browser = await processes.start(command, tmp_path / "chromium.log")
    try:
        async with asyncio.timeout(60), bob, caller:
            session = BrowserSession(await site.offer)
            caller._new_session = session.itself  # type: ignore[method-assign, assignment]
            await caller.call(f"sip:bob@{server_address(server, 'udp')}")
            site.answer.set_result(session.answer)
            while not (
                bob.hears(BROWSER, BOB) == {BROWSER}
                and site.heard
                and abs(site.heard[-1]["hz"] - BOB) < 12
                and site.heard[-1]["state"] == "connected"
            ):
                assert not site.failures
                await asyncio.sleep(0.2)
    finally:
        await processes.stop(browser)
        web.close()
