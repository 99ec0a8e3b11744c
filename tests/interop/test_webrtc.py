"""A WebRTC peer that this project did not write: aiortc, with full ICE, DTLS-SRTP and BUNDLE."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

import rtpmix
from tests.interop.webrtc_peer import BOB, BROWSER, Browser, address, browser, browser_calls_bob

__all__ = ["address", "browser"]  # fixtures


@pytest.fixture(params=["PCMU", "G722", "opus"])
def codec(request: pytest.FixtureRequest) -> str:
    """What the server likes best; the other phone has G.711 alone."""
    return str(request.param)


@pytest.fixture
def config(config: rtpmix.Config, address: str, codec: str) -> rtpmix.Config:
    """A server that is reached where ICE looks."""
    return replace(config, media_address=address, codecs=tuple({codec: None, "PCMU": None}))


async def test_a_webrtc_peer_and_a_plain_phone_hear_each_other(
    server: rtpmix.Server, browser: Browser, address: str, codec: str
) -> None:
    async with browser_calls_bob(server, browser, address) as call:
        assert b"a=ice-lite" in call.answer
        assert b"a=group:BUNDLE" in call.answer
        await browser.answered(call.answer)
        await call.both_hear()
        await asyncio.sleep(2)
        assert call.hears() == ({BROWSER}, {BOB})
        assert call.leg.encryption == "DTLS-SRTP"
        assert call.leg.codec == codec
        assert browser.connection.connectionState == "connected"
