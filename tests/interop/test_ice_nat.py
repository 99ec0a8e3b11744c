"""Browsers whose description names no address that anybody else could reach: aiortc's full ICE.

What a NAT does to a peer is that its packets come from elsewhere than it says. So its description
is made to say something else, and all packets are what aiortc sends.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace

import numpy as np
import pytest

import rtpmix
from rtpmix.testing import TonePhone
from rtpmix.testing.audio import CLOCK_HZ, tones_heard
from tests.interop.sipp import server_address
from tests.interop.test_webrtc import BOB, BROWSER, Browser, BrowserSession, address, browser

__all__ = ["address", "browser"]  # fixtures


def mdns(said: bytes) -> bytes:
    """Name no address at all, as browsers do that may not tell theirs (RFC 8829 section 5.2.1)."""
    said = re.sub(rb"c=IN IP4 \S+", b"c=IN IP4 0.0.0.0", said)
    said = re.sub(rb"m=audio \d+", b"m=audio 9", said)
    name = b"8a7c0f4e-5d6b-4a3c-9e21-0d9f8b7a6c5d.local"
    return re.sub(rb"(a=candidate:\S+ \d udp \d+) \S+", rb"\1 " + name, said, flags=re.IGNORECASE)


def private(said: bytes) -> bytes:
    """Name an address that means nothing here."""
    said = re.sub(rb"c=IN IP4 \S+", b"c=IN IP4 10.255.77.3", said)
    return re.sub(
        rb"(a=candidate:\S+ \d udp \d+) \S+", rb"\1 10.255.77.3", said, flags=re.IGNORECASE
    )


@pytest.fixture
def config(config: rtpmix.Config, address: str) -> rtpmix.Config:
    """A server that is reached where ICE looks."""
    return replace(config, media_address=address)


@pytest.mark.parametrize("hidden", [mdns, private], ids=["mdns", "private"])
async def test_a_browser_behind_nat_is_found_by_its_checks(
    server: rtpmix.Server, browser: Browser, address: str, hidden: object
) -> None:
    """RFC 8445 section 7.3.2: the nominated pair's remote end is the source of the check."""
    assert callable(hidden)
    bob = TonePhone("bob", host=address, frequency=BOB)
    caller = TonePhone("browser")  # its SIP; the media is the browser's
    events = server.events()
    legs: list[rtpmix.Leg] = []

    @server.on_invite
    async def connect(call: rtpmix.IncomingCall) -> None:
        far = await server.invite(bob.uri)
        near = await call.answer(encryption=rtpmix.Encryption.REQUIRED)
        legs.append(near)
        await server.bridge(near, far)
        await near.closed()

    async with bob, caller:
        said = await browser.offer()
        told = hidden(said)
        assert address.encode() not in b"".join(re.findall(rb"(?:c=|a=cand)[^\r]*", told))
        session = BrowserSession(told)
        caller._new_session = session.itself  # type: ignore[method-assign, assignment]
        await caller.call(f"sip:bob@{server_address(server, 'udp')}")
        await browser.answered(session.answer)
        async with asyncio.timeout(20):
            while not bob.hears(BROWSER):  # noqa: ASYNC110 - state
                await asyncio.sleep(0.2)
        await asyncio.sleep(2)
        heard = np.concatenate(browser.heard[-75:])
        rate = len(browser.heard[-1]) * 50
        assert bob.hears(BROWSER, BOB) == {BROWSER}
        assert tones_heard(heard[:: max(1, rate // CLOCK_HZ)], (BROWSER, BOB)) == {BOB}
        async for event in events:
            if isinstance(event, rtpmix.LegMediaLatched):
                break
        assert event.leg == legs[0].id
        assert event.remote[0] == address
        assert event.signalled == (None if hidden is mdns else ("10.255.77.3", event.signalled[1]))
    counts = server.snapshot()["media"]["checks"]
    assert counts["moved"] >= 1
    assert counts["refused"] == counts["replayed"] == 0
