"""ICE that begins anew in mid-call: aioice checks, and aiortc goes on with its DTLS and SRTP.

aiortc itself begins ICE once. So under its running association a second agent of aioice is put,
with sockets and credentials of its own, as a browser does it that restarts ICE.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from typing import Any

import aioice
import numpy as np
import pytest

import rtpmix
from rtpmix.testing import TonePhone
from rtpmix.testing.audio import CLOCK_HZ, tones_heard
from tests.interop.sipp import server_address
from tests.interop.test_webrtc import BOB, BROWSER, Browser, BrowserSession, address, browser

__all__ = ["address", "browser"]  # fixtures


class Restartable:
    """The agents under one association: all are heard, the last one sends."""

    def __init__(self, browser: Browser) -> None:
        dtls = browser.connection.getTransceivers()[0].receiver.transport
        self._transport = dtls.transport
        self._heard: asyncio.Queue[bytes] = asyncio.Queue()
        self._pumps: list[asyncio.Task[None]] = []
        self.counts: list[int] = []  # datagrams by agent
        self._transport._recv = self._heard.get

    @property
    def first(self) -> Any:
        """aiortc's own agent."""
        return self._transport._connection

    def take(self, agent: Any) -> None:
        """Hear an agent, too, and send by it alone."""
        self._transport._send = agent.send
        self.counts.append(0)
        self._pumps.append(asyncio.ensure_future(self._pump(agent, len(self.counts) - 1)))

    async def _pump(self, agent: Any, number: int) -> None:
        while True:
            try:
                datagram = await agent.recv()
            except ConnectionError:  # not connected yet
                await asyncio.sleep(0.02)
                continue
            self.counts[number] += 1
            self._heard.put_nowait(datagram)

    def close(self) -> None:
        for each in self._pumps:
            each.cancel()


def offer_of(agent: Any, said: bytes) -> bytes:
    """Return an offer of the same association through another agent."""
    text = re.sub(r"a=candidate:.*\r\n", "", said.decode())
    candidates = "".join(f"a=candidate:{each.to_sdp()}\r\n" for each in agent.local_candidates)
    text = re.sub(r"a=ice-ufrag:.*\r\n", f"a=ice-ufrag:{agent.local_username}\r\n", text)
    text = re.sub(
        r"a=ice-pwd:.*\r\n", f"a=ice-pwd:{agent.local_password}\r\n{candidates}", text, count=1
    )
    return re.sub(r"(o=\S+ \S+) \d+", r"\1 77", text, count=1).encode()


def credentials(body: bytes) -> tuple[str, str]:
    """Return what an answer's checks must know."""
    found = re.search(rb"a=ice-ufrag:(\S+)\r\na=ice-pwd:(\S+)", body)
    assert found is not None
    return found[1].decode(), found[2].decode()


async def connect(agent: Any, answer: bytes) -> None:
    """Check the paths to the server, and nominate one."""
    agent.remote_username, agent.remote_password = credentials(answer)
    agent.remote_is_lite = True
    for line in re.findall(rb"a=candidate:(.*)\r\n", answer):
        await agent.add_remote_candidate(aioice.Candidate.from_sdp(line.decode()))
    await agent.add_remote_candidate(None)
    await agent.connect()


async def reinvite(phone: TonePhone, body: bytes) -> bytes:
    """Offer again; return the answer."""
    assert phone._call is not None
    phone._line.agent.reinvite(phone._call, body, phone._line.now)
    waiting: asyncio.Future[Any] = phone._line.wait_for(phone._call)
    phone._line.pump()
    answer = await waiting
    assert answer.status == 200
    return bytes(answer.response.body)


@pytest.fixture
def config(config: rtpmix.Config, address: str) -> rtpmix.Config:
    """A server that is reached where ICE looks."""
    return replace(config, media_address=address)


@pytest.mark.parametrize("workers", [0, 1])
async def test_a_peer_that_begins_ice_anew_is_followed_and_heard_all_the_while(
    config: rtpmix.Config, browser: Browser, address: str, workers: int
) -> None:
    """RFC 8445 sections 9 and 12.1, RFC 8839 section 4.4."""
    bob = TonePhone("bob", host=address, frequency=BOB)
    caller = TonePhone("browser")  # its SIP; the media is the browser's
    async with rtpmix.Server(replace(config, workers=workers)) as server, bob, caller:

        @server.on_invite
        async def talk(call: rtpmix.IncomingCall) -> None:
            far = await server.invite(bob.uri)
            near = await call.answer(encryption=rtpmix.Encryption.REQUIRED)
            await server.bridge(near, far)
            await near.closed()

        async def both_hear() -> None:
            async with asyncio.timeout(20):
                while True:
                    await asyncio.sleep(0.2)
                    heard = np.concatenate([np.zeros(1, np.int16), *browser.heard[-50:]])
                    rate = len(browser.heard[-1]) * 50 if browser.heard else CLOCK_HZ
                    tones = tones_heard(heard[:: max(1, rate // CLOCK_HZ)], (BROWSER, BOB))
                    if bob.hears(BROWSER, BOB) == {BROWSER} and tones == {BOB}:
                        return

        said = await browser.offer()
        agents = Restartable(browser)
        session = BrowserSession(said)
        caller._new_session = session.itself  # type: ignore[method-assign, assignment]
        await caller.call(f"sip:bob@{server_address(server, 'udp')}")
        agents.take(agents.first)
        await browser.answered(session.answer)
        await both_hear()

        second = aioice.Connection(ice_controlling=True)
        await second.gather_candidates()
        answer = await reinvite(caller, offer_of(second, said))
        assert not set(credentials(answer)) & set(credentials(session.answer))
        before = agents.counts[0]
        await asyncio.sleep(1.0)
        assert agents.counts[0] >= before + 40  # nothing is nominated yet: the old pair goes on
        assert bob.hears(BROWSER, BOB) == {BROWSER}
        await connect(second, answer)
        agents.take(second)
        await asyncio.sleep(1.5)
        await both_hear()
        former, latter = agents.counts
        await asyncio.sleep(1.0)
        assert agents.counts[0] == former
        assert agents.counts[1] >= latter + 40
        media = server.snapshot()["media"]
        assert media["srtp"]["handshakes"] == 1
        assert media["checks"]["moved"] >= 1
        assert browser.connection.connectionState == "connected"
        agents.close()
        await second.close()
