"""aiortc as a browser that calls a plain phone: full ICE, DTLS-SRTP and BUNDLE."""

from __future__ import annotations

import asyncio
import fractions
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from aioice.ice import get_host_addresses
from aiortc import MediaStreamTrack, RTCPeerConnection, RTCSessionDescription
from av import AudioFrame

import rtpmix
from rtpmix.testing import TonePhone
from rtpmix.testing.audio import CLOCK_HZ, Samples, tone, tones_heard
from tests.interop.conftest import absent
from tests.interop.sipp import server_address

BROWSER, BOB = 437.0, 1013.0
FRAME = 160


class Voice(MediaStreamTrack):  # type: ignore[misc]
    """A microphone that says one tone."""

    kind = "audio"

    def __init__(self) -> None:
        super().__init__()
        self._pcm = tone(BROWSER, 60.0, level_db=-14.0)
        self._at = 0
        self._began = 0.0

    async def recv(self) -> AudioFrame:
        """Return the next 20 ms when they are due."""
        loop = asyncio.get_running_loop()
        self._began = self._began or loop.time()
        await asyncio.sleep(max(0.0, self._began + self._at / CLOCK_HZ - loop.time()))
        samples = self._pcm[self._at : self._at + FRAME]
        frame = AudioFrame.from_ndarray(samples.reshape(1, -1), format="s16", layout="mono")
        frame.sample_rate, frame.pts = CLOCK_HZ, self._at
        frame.time_base = fractions.Fraction(1, CLOCK_HZ)
        self._at += FRAME
        return frame


class Browser:
    """One peer connection, and what it hears."""

    def __init__(self) -> None:
        self.connection = RTCPeerConnection()
        self.heard: list[Samples] = []
        self._ear: asyncio.Task[None] | None = None
        self.connection.addTrack(Voice())

        @self.connection.on("track")
        def listen(track: Any) -> None:
            self._ear = asyncio.ensure_future(self._listen(track))

    async def _listen(self, track: Any) -> None:
        while True:
            frame = await track.recv()
            self.heard.append(frame.to_ndarray().reshape(-1).astype(np.int16))

    async def offer(self) -> bytes:
        await self.connection.setLocalDescription(await self.connection.createOffer())
        return str(self.connection.localDescription.sdp).encode()

    async def answered(self, body: bytes) -> None:
        answer = RTCSessionDescription(sdp=body.decode(), type="answer")
        await self.connection.setRemoteDescription(answer)

    async def close(self) -> None:
        if self._ear is not None:
            self._ear.cancel()
        await self.connection.close()


class BrowserSession:
    """What a test phone says and hears in SDP, when the media is the browser's."""

    def __init__(self, said: bytes) -> None:
        self._said = said
        self.answer = b""

    async def itself(self) -> BrowserSession:
        return self

    def offer(self, *, listen_only: bool = False) -> bytes:
        return self._said

    def accept_answer(self, body: bytes) -> None:
        self.answer = body

    def close(self) -> None:
        """The browser closes its own."""


@pytest.fixture
def address() -> str:
    """An address of this machine that is not the loopback one, which ICE passes over."""
    found = get_host_addresses(use_ipv4=True, use_ipv6=False)
    if not found:
        absent("this machine has no address but the loopback one")
    return str(found[0])


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    """A peer connection that is closed when the test is over."""
    made = Browser()
    yield made
    await made.close()


@dataclass
class Call:
    """The browser's call with a plain phone: its SIP is a phone's, its media its own."""

    browser: Browser
    bob: TonePhone
    caller: TonePhone
    leg: rtpmix.Leg  # the browser's
    said: bytes  # the browser's own description
    answer: bytes  # the server's

    def hears(self) -> tuple[set[float], set[float]]:
        """Return what Bob and what the browser heard in the last second or so."""
        heard = np.concatenate([np.zeros(1, np.int16), *self.browser.heard[-75:]])
        rate = len(self.browser.heard[-1]) * 50 if self.browser.heard else CLOCK_HZ
        tones = tones_heard(heard[:: max(1, rate // CLOCK_HZ)], (BROWSER, BOB))
        return self.bob.hears(BROWSER, BOB), tones

    async def both_hear(self) -> None:
        """Wait until each hears the other, and not itself."""
        async with asyncio.timeout(20):
            while self.hears() != ({BROWSER}, {BOB}):  # noqa: ASYNC110 - state
                await asyncio.sleep(0.2)


def calls_reach(server: rtpmix.Server, phone: TonePhone) -> None:
    """Let every call to a server reach a phone, if its media is encrypted."""

    @server.on_invite
    async def connect(call: rtpmix.IncomingCall) -> None:
        far = await server.invite(phone.uri)
        near = await call.answer(encryption=rtpmix.Encryption.REQUIRED)
        await server.bridge(near, far)
        await near.closed()


@asynccontextmanager
async def browser_calls_bob(
    server: rtpmix.Server, browser: Browser, address: str, say: Callable[[bytes], bytes] = bytes
) -> AsyncIterator[Call]:
    """Have the browser call Bob, up to the answer, which the browser has not been given yet.

    Parameters
    ----------
    say
        Makes what the server is told out of the browser's own description.
    """
    bob = TonePhone("bob", host=address, frequency=BOB)
    caller = TonePhone("browser")
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
        session = BrowserSession(say(said))
        caller._new_session = session.itself  # type: ignore[method-assign, assignment]
        await caller.call(f"sip:bob@{server_address(server, 'udp')}")
        yield Call(browser, bob, caller, legs[0], said, session.answer)
