"""Phones behind NAT: whose media is heard, and where ours goes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from rtpmix import Config, IncomingCall, Leg, LegMediaLatched, Server, UsageError
from rtpmix.testing import TonePhone, VirtualNet, run
from rtpmix.testing.nat import NatBox
from rtpmix.testing.net import Passage
from rtpmix.testing.servers import HOST, virtual_server

ALICE, BOB, DAVE = 437.0, 1013.0, 1733.0
PUBLIC = "203.0.113.9"


class House:
    """Alice behind a NAT, Bob on the same network as the server."""

    def __init__(self, server: Server, net: VirtualNet, box: NatBox) -> None:
        self.server, self.net, self.box = server, net, box
        self.alice = TonePhone("alice", host="10.0.0.7", frequency=ALICE)
        self.bob = TonePhone("bob", host="192.0.2.20", frequency=BOB)
        self.legs: list[Leg] = []
        self.target: str | None = None
        self.events: list[Any] = []
        server.on_invite(self.handle)

    async def handle(self, call: IncomingCall) -> None:
        far = await self.server.invite(self.target or self.bob.uri)
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


def test_rtcp_is_learned_after_rtp_and_goes_nowhere_before() -> None:
    """The port above that of RTP may be another host's behind the same NAT."""

    async def story(house: House) -> None:
        sent: list[Passage] = []
        house.net.observe(
            lambda passage: sent.append(passage) if passage.destination[0] == PUBLIC else None
        )
        await house.alice.call(f"sip:bob@{HOST}")
        await asyncio.sleep(12)
        inside = (house.alice.media.address[0], house.alice.media.address[1] + 1)
        port = house.box.mappings[(inside, None)]
        rtcp = [each for each in sent if each.source[0] == HOST and each.source[1] % 2]
        assert {each.destination for each in rtcp} == {(PUBLIC, port)}
        assert house.alice.media.reports
        assert house.legs[0].stats().round_trip_ms is not None
        assert house.counts["learning"] == 0

    live(story, media_latching="behind-nat")


def test_a_nat_that_begins_anew_is_found_again_at_the_next_reinvite() -> None:
    """Until then the leg is deaf: nothing that packets say alone moves media."""

    async def story(house: House) -> None:
        await house.alice.call(f"sip:bob@{HOST}")
        await asyncio.sleep(1)
        house.box.rebind()
        await asyncio.sleep(2)
        assert house.bob.hears(ALICE) == set()
        assert house.alice.hears(BOB) == set()
        await house.alice._reoffer(held=False)
        await asyncio.sleep(2)
        assert house.bob.hears(ALICE) == {ALICE}
        assert house.alice.hears(BOB) == {BOB}
        latched = [each.remote for each in house.events if isinstance(each, LegMediaLatched)]
        assert len(set(latched)) == 2

    live(story, media_latching="behind-nat")


def test_hold_and_resume_keep_a_phone_behind_nat() -> None:
    async def story(house: House) -> None:
        await house.alice.call(f"sip:bob@{HOST}")
        await asyncio.sleep(1)
        for _ in range(3):
            await house.alice.hold()
            await asyncio.sleep(7)
            await house.alice.resume()
            await asyncio.sleep(2)
            assert house.bob.hears(ALICE) == {ALICE}
            assert house.alice.hears(BOB) == {BOB}

    live(story, media_latching="behind-nat")


def test_a_public_address_is_believed_unless_all_is_learned() -> None:
    """Bob names his own: behind-nat opens no window for him, always does and confirms it."""

    async def story(house: House) -> None:
        await house.alice.call(f"sip:bob@{HOST}")
        await asyncio.sleep(1)
        assert house.bob.hears(ALICE) == {ALICE}
        told.append((house.counts["latched"], house.counts["confirmed"]))

    told: list[tuple[int, int]] = []
    live(story, media_latching="behind-nat")
    live(story, media_latching="always")
    assert told == [(1, 0), (1, 1)]


def test_a_registered_phone_behind_nat_is_called_and_heard() -> None:
    async def story(house: House) -> None:
        dave = TonePhone(
            "dave", host="10.0.0.8", frequency=DAVE, proxy=(HOST, 5060), domain="pbx.example",
            password="secret",
        )  # fmt: skip
        async with dave:
            await dave.register()
            house.bob = dave
            house.target = "sip:dave@pbx.example"
            await house.alice.call(f"sip:dave@{HOST}")
            await asyncio.sleep(2)
            assert dave.hears(ALICE) == {ALICE}
            assert house.alice.hears(DAVE) == {DAVE}
            assert house.counts["latched"] == 2
            house.alice.bye()
            await dave.ended()

    live(story, media_latching="behind-nat", users={"dave": "secret"}, realm="pbx.example")


def test_a_policy_that_nobody_knows_is_refused() -> None:
    with pytest.raises(UsageError, match="never, behind-nat, always"):
        Config(media_latching="yes")
