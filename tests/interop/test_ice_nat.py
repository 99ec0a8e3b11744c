"""Browsers whose description names no address that anybody else could reach: aiortc's full ICE.

What a NAT does to a peer is that its packets come from elsewhere than it says. So its description
is made to say something else, and all packets are what aiortc sends.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import replace

import pytest

import rtpmix
from tests.interop.webrtc_peer import BOB, BROWSER, Browser, address, browser, browser_calls_bob

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
    server: rtpmix.Server, browser: Browser, address: str, hidden: Callable[[bytes], bytes]
) -> None:
    """RFC 8445 section 7.3.2: the nominated pair's remote end is the source of the check."""
    events = server.events()

    def say(said: bytes) -> bytes:
        told = hidden(said)
        assert address.encode() not in b"".join(re.findall(rb"(?:c=|a=cand)[^\r]*", told))
        return told

    async with browser_calls_bob(server, browser, address, say) as call:
        await browser.answered(call.answer)
        await call.both_hear()
        await asyncio.sleep(2)
        assert call.hears() == ({BROWSER}, {BOB})
        async for event in events:
            if isinstance(event, rtpmix.LegMediaLatched):
                break
        assert event.leg == call.leg.id
        assert event.remote[0] == address
        assert event.signalled == (None if hidden is mdns else ("10.255.77.3", event.signalled[1]))
    counts = server.snapshot()["media"]["checks"]
    assert counts["moved"] >= 1
    assert counts["refused"] == counts["replayed"] == 0
