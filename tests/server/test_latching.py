"""Phones behind NAT: whose media is heard, and where ours goes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from rtpmix import IncomingCall, Leg, LegMediaLatched, Server
from rtpmix.testing import TonePhone, VirtualNet, run
from rtpmix.testing.nat import NatBox
from rtpmix.testing.servers import HOST, virtual_server

ALICE, BOB = 437.0, 1013.0
PUBLIC = "203.0.113.9"


class House:
    """Alice behind a NAT, Bob on the same network as the server."""

    def __init__(self, server: Server, net: VirtualNet, box: NatBox) -> None:
        self.server, self.net, self.box = server, net, box
        self.alice = TonePhone("alice", host="10.0.0.7", frequency=ALICE)
        self.bob = TonePhone("bob", host="192.0.2.20", frequency=BOB)
        self.legs: list[Leg] = []
        self.events: list[Any] = []
        server.on_invite(self.handle)

    async def handle(self, call: IncomingCall) -> None:
        far = await self.server.invite(self.bob.uri)
        near = await call.answer()
        self.legs = [near, far]
        await self.server.bridge(near, far)
        await near.closed()

    async def watch(self) -> None:
        async for event in self.server.events():
            self.events.append(event)

    @property
    def counts(self) -> dict[str, int]:
        counts: dict[str, int] = self.server.snapshot()["media"]["latching"]
        return counts


Story = Callable[[House], Awaitable[None]]


def live(story: Story, *, symmetric: bool = False, **config: Any) -> None:
    net = VirtualNet(seed=3, delay_ms=5)
    box = net.add_nat(NatBox("10.0.0.0/24", PUBLIC, symmetric=symmetric))

    async def main() -> None:
        async with virtual_server(net, **config) as server:
            house = House(server, net, box)
            watching = asyncio.create_task(house.watch())
            async with house.alice, house.bob:
                await story(house)
            watching.cancel()

    run(main(), net)


@pytest.mark.parametrize("symmetric", [False, True])
def test_a_phone_behind_nat_is_heard_and_hears(symmetric: bool) -> None:
    """RFC 7362 section 4: its c= is private, its packets come from the NAT."""

    async def story(house: House) -> None:
        await house.alice.call(f"sip:bob@{HOST}")
        await asyncio.sleep(2)
        assert house.bob.hears(ALICE) == {ALICE}
        assert house.alice.hears(BOB) == {BOB}
        latched = [each for each in house.events if isinstance(each, LegMediaLatched)]
        assert [(each.leg, each.remote[0]) for each in latched] == [(house.legs[0].id, PUBLIC)]
        assert latched[0].signalled == house.alice.media.address
        assert house.counts["latched"] == 1

    live(story, symmetric=symmetric, media_latching="behind-nat")


def test_without_latching_it_is_neither() -> None:
    async def story(house: House) -> None:
        await house.alice.call(f"sip:bob@{HOST}")
        await asyncio.sleep(2)
        assert house.bob.hears(ALICE) == set()
        assert house.alice.received == []

    live(story)
