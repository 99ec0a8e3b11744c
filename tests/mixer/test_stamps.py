"""Datagrams that waited in the kernel count from when they came, not from when they were read."""

from __future__ import annotations

import math
import random
from typing import Any

import numpy as np
import pytest

from rtpmix.mixer import g711
from rtpmix.mixer.engine import Engine
from rtpmix.mixer.receive import TOLERANCE
from rtpmix.rtp.packet import RtpPacket

PHASES = 4
BEAT_S = 0.005
PTIME_S = 0.02
FRAMES = 600


def came(at: float) -> int:
    """Return the beat that reads what comes at a time, if it reads all that is there."""
    return math.ceil(at / BEAT_S - TOLERANCE)


def noise(leg: int) -> Any:
    return np.random.default_rng(leg).integers(-3000, 3000, (FRAMES, 160)).astype(np.int16)


def run(make_rig: Any, *, sparse: bool, seed: int) -> Any:
    """Two legs over a jittery network, read at each beat or only when their bridge is mixed."""
    dice = random.Random(seed)
    rig = make_rig(phases=PHASES)
    for leg in (1, 2):
        rig.open(leg)
    rig.bridge(1, [1, 2])
    waiting: list[tuple[float, int, int]] = []
    for leg in (1, 2):
        for frame in range(FRAMES):
            if dice.random() < 0.02:
                continue
            late = dice.expovariate(1 / 0.004)
            waiting.append((0.0203 + 0.006 * leg + frame * PTIME_S + late, leg, frame))
    waiting.sort()
    said = {leg: g711.encode(noise(leg), g711.PCMU) for leg in (1, 2)}
    engine: Engine = rig.engine
    for beat in range(FRAMES * PHASES):
        mixed = not sparse or beat % PHASES == engine._board.bridges[1].phase
        mixed = mixed or beat == FRAMES * PHASES - 1  # nothing is left unread
        engine.inbox.due = beat * BEAT_S if sparse else None
        while mixed and waiting and came(waiting[0][0]) <= beat:
            at, leg, frame = waiting.pop(0)
            packet = RtpPacket(
                payload_type=0,
                sequence_number=frame,
                timestamp=160 * frame,
                ssrc=leg,
                payload=said[leg][frame].tobytes(),
            )
            engine.inbox.put(engine.row_of(leg), packet.to_bytes())
            engine.inbox.stamps[0] = at if sparse else math.nan
            engine.receive(1)
        rig.beat()
    return rig


@pytest.mark.parametrize("seed", range(8))
def test_who_reads_only_when_somebody_is_mixed_plays_the_same(make_rig: Any, seed: int) -> None:
    """Delay and jitter are as if each beat had read, and so is the sound.

    But for one frame now and then: where a late packet and the next are read together, it can be
    that only one of the two is played.
    """
    dense, sparse = (run(make_rig, sparse=one, seed=seed) for one in (False, True))
    for leg in (1, 2):
        here, there = sparse.engine.leg_stats(leg), dense.engine.leg_stats(leg)
        assert here.received == there.received > 500
        assert here.jitter_ms == there.jitter_ms > 2
        assert here.delay_ms == there.delay_ms
        assert abs(here.played - there.played) <= 1
        same = sum(a == b for a, b in zip(sparse.sent[leg], dense.sent[leg], strict=True))
        assert same > 0.85 * FRAMES


def test_what_waited_for_a_stall_counts_from_when_it_came(make_rig: Any) -> None:
    """A host that is 60 ms late takes packets for no later than they were."""
    rig = make_rig(phases=PHASES)
    rig.open(1)
    rig.bridge(1, [1])
    row = rig.engine.row_of(1)
    for frame in range(100):
        rig.engine.inbox.due = frame * PTIME_S
        rig.engine.inbox.stamps[0] = frame * PTIME_S - 0.004
        rig.say(1, bytes(160))
        rig.beat(PHASES)
    before = rig.engine.leg_stats(1).delay_ms
    transits = rig.engine.rows.transits[row].max(), rig.engine.rows.latest[row]
    rig.engine.behind = 12
    rig.engine.inbox.due = 100 * PTIME_S
    rig.engine.inbox.stamps[0] = 100 * PTIME_S - 0.004
    rig.say(1, bytes(160))
    assert (rig.engine.rows.transits[row].max(), rig.engine.rows.latest[row]) == transits
    assert rig.engine.leg_stats(1).delay_ms == before
