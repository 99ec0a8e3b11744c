"""Levels of a call as a program has them: meters, mute, automatic gain and the limiter."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

import rtpmix
from rtpmix.recorder import load_or_make_key
from rtpmix.replay import replay
from rtpmix.testing import TonePhone
from tests.server.test_calls import ALICE, BOB, play
from tests.server.test_speaking import leg_of, meet


def test_levels_come_five_times_a_second_and_only_when_asked_for() -> None:
    async def story(
        server: rtpmix.Server, alice: TonePhone, bob: TonePhone
    ) -> tuple[list[rtpmix.LevelsMeasured], rtpmix.Bridge]:
        told: list[rtpmix.LevelsMeasured] = []

        async def listen() -> None:
            async for event in server.events():
                if isinstance(event, rtpmix.LevelsMeasured):
                    told.append(event)

        listening = asyncio.create_task(listen())
        bridge = await meet(server, alice)
        assert not told
        bridge.measure_levels()
        await bob.call("sip:conf-1@192.0.2.1")  # who comes later is measured, too
        await asyncio.sleep(2)
        alice.stop_sending()
        await asyncio.sleep(1)
        bridge.measure_levels(False)
        await asyncio.sleep(0.1)
        count = len(told)
        await asyncio.sleep(1)
        assert len(told) == count
        listening.cancel()
        return told, bridge

    told, bridge = play(story)
    assert 12 <= len(told) <= 20
    both = [event for event in told if len(event.legs) == 2]
    assert len(both) >= 12
    assert {event.bridge for event in told} == {bridge.id}
    # A sine with a peak of -20 dB, and 3 dB less on average.
    assert both[4].levels_dbov[0] == pytest.approx(-23, abs=1)
    assert both[4].speaking == (True, True)
    assert both[-1].levels_dbov[0] == -127
    assert both[-1].speaking == (False, True)


def test_a_muted_leg_is_heard_by_nobody_and_hears_on() -> None:
    async def story(server: rtpmix.Server, alice: TonePhone, bob: TonePhone) -> None:
        bridge = await meet(server, alice, bob)
        await bridge.mute(leg_of(bridge, "alice"))
        await asyncio.sleep(0.6)
        assert not bob.hears(ALICE, seconds=0.3)
        assert alice.hears(BOB, seconds=0.3)
        await bridge.mute(leg_of(bridge, "alice"), on=False)
        await asyncio.sleep(0.6)
        assert bob.hears(ALICE, seconds=0.3)
        gone = leg_of(bridge, "bob")
        await bridge.remove(gone)
        with pytest.raises(rtpmix.UsageError, match="is not in"):
            await bridge.mute(gone)

    play(story)


def test_automatic_gain_is_for_all_who_hear_a_leg() -> None:
    async def story(
        server: rtpmix.Server, alice: TonePhone, bob: TonePhone
    ) -> list[tuple[int, ...]]:
        bridge = await meet(server, alice, bob)
        levels: list[tuple[int, ...]] = []

        async def listen() -> None:
            async for event in bridge.events():
                if isinstance(event, rtpmix.LevelsMeasured):
                    levels.append(event.levels_dbov)

        listening = asyncio.create_task(listen())
        leg_of(bridge, "alice").auto_gain()
        bridge.measure_levels()
        await asyncio.sleep(4)
        listening.cancel()
        return levels

    levels = play(story)
    assert levels[-1][0] <= -24  # towards -26
    assert levels[-1][1] == levels[1][1]


def test_a_call_with_limiter_and_automatic_gain_replays_bit_for_bit(tmp_path: Path) -> None:
    """Both act before what is recorded, or by numbers that the recording tells."""
    key = tmp_path / "key"

    async def story(server: rtpmix.Server, alice: TonePhone, bob: TonePhone) -> None:
        bridge = await meet(server, alice, bob)
        recording = await bridge.record(tmp_path / "call")
        alice_leg, bob_leg = (leg_of(bridge, name) for name in ("alice", "bob"))
        alice_leg.auto_gain()
        for gain_db in (12, -6, 12, 0, 12):
            await bridge.set_gain(listener=bob_leg, talker=alice_leg, gain_db=gain_db)
            await asyncio.sleep(0.5)
        alice_leg.auto_gain(False)
        await asyncio.sleep(0.5)
        await recording.stop()

    play(story, soft_limiter=True, recording_key=key)
    report = replay(tmp_path / "call", load_or_make_key(key))
    assert report.is_consistent, report.lines
    assert report.equal > 200


def clipped(tmp_path: Path, name: str, limiter: bool | None, **config: bool) -> int:
    """Return how many samples that bob was sent had to be cut off, after a replay of the call."""
    key = tmp_path / "key"

    async def story(server: rtpmix.Server, alice: TonePhone, bob: TonePhone) -> int:
        meeting = await meet(server, alice, bob)
        legs = meeting.legs
        for leg in legs:
            await meeting.remove(leg)
        bridge = await server.bridge(*legs, limiter=limiter)
        assert bridge.has_limiter is (
            config.get("soft_limiter", False) if limiter is None else limiter
        )
        recording = await bridge.record(tmp_path / name)
        alice.speak_tone(700.0, level_db=-3.0)
        await asyncio.sleep(0.5)
        await bridge.set_gain(listener=legs[1], talker=legs[0], gain_db=12)
        await asyncio.sleep(2)
        await recording.stop()
        return sum(leg.stats().clipped for leg in legs)

    count = play(story, recording_key=key, **config)
    report = replay(tmp_path / name, load_or_make_key(key))
    assert report.is_consistent, report.lines
    return int(count)


def test_a_bridge_has_a_limiter_or_not_whatever_others_have(tmp_path: Path) -> None:
    """A voice turned up by 12 dB: what is too much is cut off, or turned down in 2 ms."""
    without = clipped(tmp_path, "without", None)
    assert without > 1000
    assert clipped(tmp_path, "other", False, soft_limiter=True) == without
    limited = clipped(tmp_path, "with", True)
    assert limited < without / 20
    assert clipped(tmp_path, "all", None, soft_limiter=True) == limited
