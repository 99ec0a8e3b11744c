"""Each example does what its first line says, between phones that speak a tone each."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from examples.answer import answer_calls, beep
from examples.bridge import connect_calls
from examples.conference import open_rooms
from examples.record import record_calls
from examples.supervise import support_line
from rtpmix.errors import CallFailed
from rtpmix.recorder import Verdict, load_key, verify
from tests.examples.world import AGENT, COACH, CUSTOMER, NOTHING, World, in_world


def test_answer_greets_and_notes_keys_until_the_hash_key() -> None:
    async def scenario(world: World) -> None:
        pressed = answer_calls(world.server, beep())
        await world.customer.call(world.address("anybody"))
        await asyncio.sleep(0.45)
        assert world.customer.hears(440, seconds=0.3) == {440}
        await world.customer.press("12#")
        assert await world.customer.ended() == "remote-bye"
        assert pressed == ["1", "2"]
        assert await world.left() == NOTHING

    in_world(scenario)


def test_bridge_connects_a_caller_and_ends_with_either() -> None:
    async def scenario(world: World) -> None:
        connect_calls(world.server, world.agent.uri)
        await world.customer.call(world.address("anybody"))
        await asyncio.sleep(1)
        assert world.heard() == {"customer": {AGENT}, "agent7": {CUSTOMER}}
        world.agent.bye()
        assert await world.customer.ended() == "remote-bye"
        assert await world.left() == NOTHING

    in_world(scenario)


def test_bridge_tells_the_caller_why_it_failed() -> None:
    async def scenario(world: World) -> None:
        world.agent.reject_with = 486
        connect_calls(world.server, world.agent.uri)
        with pytest.raises(CallFailed) as failed:
            await world.customer.call(world.address("anybody"))
        assert failed.value.status == 486
        assert await world.left() == NOTHING

    in_world(scenario)


def test_conference_mixes_everybody_in_a_room_and_mutes() -> None:
    async def scenario(world: World) -> None:
        await open_rooms(world.server, ["red", "blue"])
        for phone in (world.customer, world.agent, world.coach):
            await phone.call(world.address("red"))
        await asyncio.sleep(1)
        everybody = {
            "customer": {AGENT, COACH},
            "agent7": {CUSTOMER, COACH},
            "coach": {CUSTOMER, AGENT},
        }
        assert world.heard() == everybody
        await world.coach.press("*6")
        await asyncio.sleep(1)
        assert world.heard() == {**everybody, "customer": {AGENT}, "agent7": {CUSTOMER}}
        await world.coach.press("*6")
        await asyncio.sleep(1)
        assert world.heard() == everybody
        world.customer.bye()
        await asyncio.sleep(1)
        assert world.agent.hears(CUSTOMER, COACH, seconds=0.5) == {COACH}

    in_world(scenario)


def test_conference_refuses_a_room_that_is_not_there() -> None:
    async def scenario(world: World) -> None:
        await open_rooms(world.server, ["red"])
        with pytest.raises(CallFailed) as failed:
            await world.customer.call(world.address("green"))
        assert failed.value.status == 404

    in_world(scenario)


MONITOR = {"customer": {AGENT}, "agent7": {CUSTOMER}, "coach": {CUSTOMER, AGENT}}
WHISPER = {**MONITOR, "agent7": {CUSTOMER, COACH}}
BARGE = {**WHISPER, "customer": {AGENT, COACH}}
TAKEOVER = {"customer": {COACH}, "agent7": {CUSTOMER, COACH}, "coach": {CUSTOMER}}


def test_supervise_follows_the_keys_of_the_coach() -> None:
    async def scenario(world: World) -> None:
        support_line(world.server, world.agent.uri, world.coach.uri)
        await world.customer.call(world.address("support"))
        await asyncio.sleep(1)
        assert world.heard() == MONITOR
        for key, expected in (
            ("5", WHISPER),
            ("6", BARGE),
            ("4", MONITOR),
            ("7", TAKEOVER),
            ("0", MONITOR),
            ("6", BARGE),
        ):
            await world.coach.press(key)
            await asyncio.sleep(1)
            assert world.heard() == expected, f"after key {key}"
        world.customer.bye()
        await world.coach.ended()
        assert await world.left() == NOTHING

    in_world(scenario)


def test_record_seals_a_capture_of_each_call(tmp_path: Path) -> None:
    calls, key = tmp_path / "calls", tmp_path / "recording.key"

    async def scenario(world: World) -> None:
        record_calls(world.server, world.agent.uri, calls)
        for _ in range(2):
            await world.customer.call(world.address("anybody"))
            await asyncio.sleep(2)
            world.customer.bye()
            await world.agent.ended()
            await asyncio.sleep(1)
        assert await world.left() == NOTHING

    in_world(scenario, key)
    assert sorted(path.name for path in calls.iterdir()) == ["0001", "0002"]
    for path in calls.iterdir():
        report = verify(path, load_key(key))
        assert report.verdict is Verdict.SEALED, report.lines
        assert report.duration_s >= 2
