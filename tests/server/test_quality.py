"""What a program learns about how its calls sound: the verdicts of a leg, and one-way audio."""

from __future__ import annotations

import asyncio

import rtpmix
from rtpmix.testing import TonePhone
from tests.server.test_calls import conference, play


def test_a_program_is_told_of_a_phone_that_never_speaks_and_that_it_speaks() -> None:
    async def story(
        server: rtpmix.Server, alice: TonePhone, bob: TonePhone
    ) -> list[tuple[str, bool]]:
        told: list[tuple[str, bool]] = []

        async def listen() -> None:
            async for event in server.events():
                if isinstance(event, rtpmix.LegOneWayAudio):
                    told.append((event.direction, event.on))

        listening = asyncio.create_task(listen())
        conference(server)
        calling = asyncio.create_task(alice.call("sip:conf-1@192.0.2.1"))
        await asyncio.sleep(0.004)  # the INVITE is on its way, for 5 ms
        alice.stop_sending()
        await calling
        await asyncio.sleep(8)
        alice.stop_sending(False)
        await asyncio.sleep(2)
        listening.cancel()
        return told

    assert play(story) == [("inbound", True), ("inbound", False)]


def test_both_directions_of_a_clean_call_are_rated_above_four() -> None:
    """ITU-T G.107: the peer's receiver reports rate what it hears of us."""

    async def story(server: rtpmix.Server, alice: TonePhone, bob: TonePhone) -> rtpmix.LegStats:
        conference(server)
        await alice.call("sip:conf-1@192.0.2.1")
        await asyncio.sleep(30)
        [leg] = server.legs
        return leg.stats()

    stats = play(story, extended_reports=True)
    assert stats.inbound_mos > 4.3
    assert stats.outbound_mos is None or stats.outbound_mos > 4.2
