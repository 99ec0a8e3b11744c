"""Invariant 3: no switch from any mode to any other makes a click for anybody.

The engine itself plays a steady tone for each party and changes the matrix in mid-tone; what each
party hears is looked at before it is encoded, where G.711's own noise would hide a click.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from rtpmix.mixer.commands import OpenSource, OpenTap, Play, SetMatrix, TapFrame
from rtpmix.mixer.engine import Engine
from rtpmix.supervision import Mode, Role, SupervisedCall
from rtpmix.testing.audio import click_db

CUSTOMER, AGENT, COACH = PARTIES = (1, 2, 3)
TAP = 10  # the seat in which party n listens is TAP + n
TONES = (311.0, 437.0, 563.0)
PAIRS = list(itertools.permutations(Mode, 2))
Gains = tuple[tuple[int, ...], ...]


def gains_in(mode: Mode) -> Gains:
    """What the policy makes of a supervised call in a mode."""
    call = SupervisedCall()
    call.join(CUSTOMER, Role.CUSTOMER)
    call.join(AGENT, Role.AGENT)
    call.attach(COACH, Mode.MONITOR, 0.0, agent=AGENT, media_seen=True)
    call.set_mode(COACH, mode, 1.0)
    routing = call.routing
    assert routing.seats == PARTIES
    return routing.gains


def play(before: Gains, after: Gains, ramp_ms: int) -> dict[int, np.ndarray]:
    """Switch after a third of a second; return what each party heard."""
    engine = Engine(phases=1)
    taps = tuple(TAP + seat for seat in PARTIES)
    for seat, frequency in zip(PARTIES, TONES, strict=True):
        tone = 8000 * np.sin(2 * np.pi * frequency * np.arange(8000) / 8000 + seat)
        engine.submit(OpenSource(seat))
        engine.submit(Play(seat, np.rint(tone).astype("<i2").tobytes(), loop=True))
    for tap in taps:
        engine.submit(OpenTap(tap))

    def switch(gains: Gains) -> None:
        rows = ((0,) * 6,) * 3 + tuple((*row, 0, 0, 0) for row in gains)
        engine.submit(SetMatrix(bridge=1, seats=PARTIES + taps, gains=rows, ramp_ms=ramp_ms))

    switch(before)
    heard: dict[int, list[bytes]] = {seat: [] for seat in PARTIES}
    for frame in range(50):
        if frame == 17:
            switch(after)
        engine.tick()
        for event in engine.take_events():
            if isinstance(event, TapFrame) and frame > 2:
                heard[event.tap - TAP].append(event.pcm)
    return {seat: np.frombuffer(b"".join(frames), "<i2") for seat, frames in heard.items()}


@pytest.mark.parametrize(("before", "after"), PAIRS, ids=lambda mode: mode.value)
def test_no_switch_of_modes_makes_a_click_for_anybody(before: Mode, after: Mode) -> None:
    """Energy above 2 kHz at the switch stays below -80 dB for each party."""
    old, new = gains_in(before), gains_in(after)
    assert old != new
    for seat, pcm in play(old, new, ramp_ms=10).items():
        assert len(pcm) == 47 * 160
        assert click_db(pcm) < -80, f"seat {seat}"


def test_a_switch_without_a_ramp_would_be_found() -> None:
    """Each pair clicks for somebody when it is a step, so the test above does look."""
    for before, after in PAIRS:
        found = play(gains_in(before), gains_in(after), ramp_ms=0)
        assert max(click_db(pcm) for pcm in found.values()) > -60, (before, after)
