"""A leg that goes from one engine to another is the same stream to its peer."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

from rtpmix.mixer.commands import (
    AdoptLeg,
    CloseLeg,
    CommandRefused,
    LegClosed,
    LegParted,
    LevelsMeasured,
    MeasureLevels,
    PartLeg,
    SetAutoGain,
)
from rtpmix.rtp.packet import RtpPacket

Say = Callable[..., bytes]


def parted(rig: Any, leg: int) -> LegParted:
    rig.engine.submit(PartLeg(leg))
    rig.frame()
    rig.frame()
    (event,) = rig.told(LegParted)
    assert isinstance(event, LegParted)
    return event


def test_stream_and_counters_go_on(make_rig: Callable[..., Any], speech: Say) -> None:
    here, there = make_rig(), make_rig()
    here.open(1)
    here.open(2)
    here.bridge(1, [1, 2])
    for number in range(10):
        here.frame({1: speech(number), 2: speech(100 + number)})
    said = [packet for _, packet in here.sent[2]]
    event = parted(here, 2)
    said = [packet for _, packet in here.sent[2]]
    assert not here.reports[2]  # no BYE: the stream goes on
    assert not here.told(LegClosed)
    assert here.engine.legs() == [1]

    there.open(3)
    while there.engine.beat < here.engine.beat + 12:  # three frames of nobody's
        there.frame()
    state = pickle.loads(pickle.dumps(event.state))  # as between processes
    there.sent[2] = []
    there.reports[2] = []
    there.engine.submit(AdoptLeg(2, state))
    there.bridge(1, [2, 3])
    for _ in range(5):
        there.frame()
    before, after = RtpPacket.parse(said[-1]), RtpPacket.parse(there.sent[2][0][1])
    assert after.ssrc == before.ssrc
    assert after.sequence_number == (before.sequence_number + 1) & 0xFFFF
    elapsed = (after.timestamp - before.timestamp) & 0xFFFF_FFFF
    beats = there.sent[2][0][0] - here.sent[2][-1][0]
    assert elapsed % 160 == 0
    assert abs(elapsed - 40 * beats) <= 160  # the clock of the media, not of what was sent
    stats = there.engine.leg_stats(2)
    assert stats.received == 10
    assert stats.sent == len(said) + len(there.sent[2])
    there.engine.submit(CloseLeg(2))
    there.frame()
    there.frame()
    assert len(there.told(LegClosed)) == 1
    assert there.reports[2]  # and now the BYE


def test_a_state_of_another_kind_of_engine_is_refused(make_rig: Callable[..., Any]) -> None:
    here, there = make_rig(), make_rig(phases=1)
    here.open(1)
    there.engine.submit(AdoptLeg(1, parted(here, 1).state))
    there.beat()
    (refused,) = there.told(CommandRefused)
    assert "4 phases" in refused.why
    assert there.engine.legs() == []


def test_a_leg_that_is_open_is_not_adopted_twice(make_rig: Callable[..., Any]) -> None:
    here = make_rig()
    here.open(1)
    state = parted(here, 1).state
    here.engine.submit(AdoptLeg(1, state))
    here.engine.submit(AdoptLeg(1, state))
    here.engine.submit(PartLeg(7))
    here.beat()
    assert [refused.why for refused in here.told(CommandRefused)] == [
        "seat 1 is open already",
        "no seat 7",
    ]


def test_meter_and_automatic_gain_go_on(make_rig: Callable[..., Any], level: Say) -> None:
    here, there = make_rig(), make_rig()
    row = here.open(1)
    here.engine.submit(MeasureLevels(1))
    here.engine.submit(SetAutoGain(1))
    for number in range(100):
        here.frame({1: level(900 if number % 2 else -900)})
    gain = int(here.engine.rows.gain_q12[row])
    assert gain > 4500
    event = parted(here, 1)
    while there.engine.beat < here.engine.beat:
        there.frame()
    there.engine.submit(AdoptLeg(1, pickle.loads(pickle.dumps(event.state))))
    there.sent[1], there.reports[1] = [], []
    there._next[1] = here._next[1]
    for number in range(12):
        there.say(1, level(900 if number % 2 else -900), ssrc=0x5001)
        there.beat(4)
    assert there.engine.rows.gain_q12[there.engine.row_of(1)] >= gain
    [told] = there.told(LevelsMeasured)[-1:]
    assert told.legs == (1,)
    assert told.dbov[0] > -40
