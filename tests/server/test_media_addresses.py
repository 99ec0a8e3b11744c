"""Where media goes when a session description says so: holds of every age, moves, port 0."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from rtpmix import IncomingCall, Leg, Server
from rtpmix.testing import TonePhone, VirtualNet, run
from rtpmix.testing.servers import HOST, virtual_server

ALICE, BOB = 437.0, 1013.0


class Call:
    """Alice and Bob in one bridge; Alice can offer anything."""

    def __init__(self, server: Server, net: VirtualNet) -> None:
        self.server, self.net = server, net
        self.alice = TonePhone("alice", host="192.0.2.10", frequency=ALICE)
        self.bob = TonePhone("bob", host="192.0.2.20", frequency=BOB)
        self.legs: list[Leg] = []
        server.on_invite(self._handle)

    async def _handle(self, call: IncomingCall) -> None:
        far = await self.server.invite(self.bob.uri)
        near = await call.answer()
        self.legs = [near, far]
        await self.server.bridge(near, far)
        await near.closed()

    async def reoffer(self, change: Callable[[str], str]) -> bytes:
        """Send Alice's offer changed; return the answer. Her phone goes on as it was."""
        session, line, call = self.alice._session, self.alice._line, self.alice._call
        assert session is not None
        assert call is not None
        body = change(session.reoffer(held=False).decode()).encode()
        line.agent.reinvite(call, body, line.now)
        waiting = line.wait_for(call)
        line.pump()
        answer = await waiting
        assert answer.status == 200
        return bytes(answer.response.body)

    async def heard_in(self, seconds: float) -> int:
        """Count what Alice hears in a while."""
        before = len(self.alice.received)
        await asyncio.sleep(seconds)
        return len(self.alice.received) - before


def live(story: Callable[[Call], Awaitable[None]]) -> None:
    net = VirtualNet(seed=3, delay_ms=5)

    async def main() -> None:
        async with virtual_server(net) as server:
            call = Call(server, net)
            async with call.alice, call.bob:
                await call.alice.call(f"sip:bob@{HOST}")
                await asyncio.sleep(1)
                assert call.alice.hears(BOB) == {BOB}
                await story(call)

    run(main(), net)


def replaced(old: str, new: str) -> Callable[[str], str]:
    def change(body: str) -> str:
        assert old in body
        return body.replace(old, new)

    return change


@pytest.mark.parametrize(
    "change",
    [
        replaced("c=IN IP4 192.0.2.10", "c=IN IP4 0.0.0.0"),
        replaced("c=IN IP4 192.0.2.10", "c=IN IP6 ::"),
        replaced("a=sendrecv", "a=inactive"),
        replaced("a=sendrecv", "a=sendonly"),
    ],
    ids=["0.0.0.0", "::", "inactive", "sendonly"],
)
def test_nothing_is_sent_to_a_phone_that_holds_and_all_is_again_after_it(
    change: Callable[[str], str],
) -> None:
    """RFC 3264 section 8.4 and, for the unspecified addresses, the hold of RFC 2543."""

    async def story(call: Call) -> None:
        await call.reoffer(change)
        await asyncio.sleep(0.1)
        assert await call.heard_in(3.0) == 0
        assert call.legs[0].held
        await call.reoffer(lambda body: body)
        assert await call.heard_in(2.0) >= 95
        assert call.alice.hears(BOB) == {BOB}
        assert call.bob.hears(ALICE) == {ALICE}

    live(story)


def test_an_inactive_phone_is_not_heard_either() -> None:
    """It goes on sending all the same: what was agreed counts."""

    async def story(call: Call) -> None:
        await call.reoffer(replaced("a=sendrecv", "a=inactive"))
        await asyncio.sleep(1.5)
        assert call.bob.hears(ALICE) == set()
        assert call.legs[0].stats().dropped >= 50

    live(story)


def test_a_port_that_changes_in_mid_call_is_followed() -> None:
    """By re-INVITE. What comes from the old port is heard no more, what from the new one is."""

    async def story(call: Call) -> None:
        host, port = call.alice.media.address
        assert call.alice.media._agreed is not None
        target = call.alice.media._agreed.remote
        assert target is not None
        moved: list[bytes] = []
        new = call.net.bind((host, port + 100), lambda data, _: moved.append(data))
        await call.reoffer(replaced(f"m=audio {port} ", f"m=audio {port + 100} "))
        await asyncio.sleep(0.1)
        assert await call.heard_in(2.0) == 0
        assert len(moved) >= 100
        assert call.bob.hears(ALICE) == set()  # her phone still sends from the old one
        sent = call.alice.media._rtp
        assert sent is not None
        sent.sendto = lambda data, remote: new.send(data, remote)  # type: ignore[method-assign]
        await asyncio.sleep(2.0)
        assert call.bob.hears(ALICE) == {ALICE}

    live(story)


def test_a_stream_that_is_switched_off_with_port_0_is_refused_or_silent() -> None:
    """RFC 3264 section 8.2: the line stays, with port 0, and nothing is sent."""

    async def story(call: Call) -> None:
        port = call.alice.media.address[1]
        answer = await call.reoffer(replaced(f"m=audio {port} ", "m=audio 0 "))
        assert b"m=audio 0 " in answer
        await asyncio.sleep(0.1)
        assert await call.heard_in(2.0) == 0

    live(story)
