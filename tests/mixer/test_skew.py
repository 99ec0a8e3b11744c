"""Clocks that differ by 200 ppm for hours: no drift, no packet late, no click.

The buffer, concealment and time-scale are driven without the rest of an engine, so that an hour
takes seconds. A day of it (`pytest -m soak`) takes minutes.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import numpy as np
import pytest

from rtpmix.mixer import g711
from rtpmix.mixer.conceal import conceal
from rtpmix.mixer.playout import Playout
from rtpmix.mixer.rows import FRAME, NEVER, Kind, Rows
from rtpmix.mixer.timescale import TimeScale

PHASES = 4
BEAT_S = 0.005
SKEWS = (200e-6, -200e-6)  # a slow clock and a fast one
JITTER_S = 0.004

_T = np.arange(50 * FRAME)
VOICE = np.rint(
    6000 * np.sin(2 * np.pi * 130 * _T / 8000) + 2000 * np.sin(2 * np.pi * 260 * _T / 8000)
).astype(np.int16)
CODES = g711.encode(VOICE, g711.PCMU)
PAYLOADS = [part.tobytes() for part in CODES.reshape(-1, FRAME)]
STEP = int(np.abs(np.diff(g711.decode(np.tile(CODES, 2), g711.PCMU).astype(int))).max())


@dataclass
class Legs:
    """Two legs, one for each skew."""

    seed: int = 1
    late: int = 0
    invented: int = 0
    largest_step: int = 0
    delays: list[list[float]] = field(default_factory=list)  # a minute: mean of each leg, in ms
    deepest_ms: float = 0.0

    def __post_init__(self) -> None:
        self.rows = Rows(4)
        self.playout = Playout(self.rows, PHASES)
        decode = lambda codes, index: g711.decode(codes, g711.PCMU)  # noqa: E731
        self.timescale = TimeScale(self.rows, self.playout, decode)
        self.index = np.array([self.rows.add(leg, Kind.LEG) for leg in range(len(SKEWS))])
        self.dice = random.Random(self.seed)
        self.sent = [0] * len(SKEWS)
        self.waiting = [self._next(leg) for leg in range(len(SKEWS))]
        self.last = np.zeros(len(SKEWS), np.int64)
        self._sums, self._packets = [0.0] * len(SKEWS), 0

    def _next(self, leg: int) -> float:
        """When the next packet of a leg arrives, in beats."""
        at = 1.0 + self.sent[leg] * 0.02 * (1 + SKEWS[leg]) + self.dice.random() * JITTER_S
        return at / BEAT_S

    def _arrive(self, leg: int, beat: int) -> None:
        number, row = self.sent[leg], int(self.index[leg])
        payload = PAYLOADS[number % 50]
        if not self.playout.place(row, number * FRAME, payload, beat, True):
            self.late += 1
        slot = number - int(self.rows.slot_timestamp[row]) // FRAME
        start = int(self.playout.start(self.index[leg : leg + 1])[0])
        delay_ms = (start + slot * PHASES - beat) * 1000 * BEAT_S + int(self.rows.carry[row]) / 8
        self._sums[leg] += delay_ms
        self.deepest_ms = max(self.deepest_ms, delay_ms)
        self.sent[leg] += 1
        self.waiting[leg] = self._next(leg)

    def run(self, seconds: int) -> None:
        """Let time pass, from the beginning."""
        window = self.playout.beats(250)
        for beat in range(round(seconds / BEAT_S)):
            for leg, at in enumerate(self.waiting):
                if at <= beat:
                    self._arrive(leg, beat)
            if beat % PHASES == 0:
                self._tick(beat)
            if beat % window == 0:
                self.playout.adjust(beat)
            if beat % 12_000 == 0 and beat > 0:
                frames = 3000.0 if self.delays else 2950.0
                self.delays.append([total / frames for total in self._sums])
                self._sums = [0.0] * len(SKEWS)

    def _tick(self, beat: int) -> None:
        even = beat // PHASES % 2 == 0
        codes, present, missing, idle = self.playout.take(self.index, beat)
        spoken = g711.decode(codes, g711.PCMU)
        conceal(self.rows, self.index, spoken, present, missing, idle, beat, even)
        if self.playout.cutting:
            self.timescale.apply(self.index, spoken, present, even)
        self.invented += int((missing | idle).sum())
        if beat > 1.1 / BEAT_S:  # the stream fades in
            line = np.column_stack([self.last, spoken])
            self.largest_step = max(self.largest_step, int(np.abs(np.diff(line)).max()))
        self.last = spoken[:, -1].astype(np.int64)


def check(seconds: int) -> None:
    legs = Legs()
    legs.run(seconds)
    rows = legs.rows
    assert (rows.origin[legs.index] < NEVER).all()
    assert sum(legs.sent) > 99 * (seconds - 2)
    assert legs.late == 0
    assert legs.deepest_ms <= 35
    means = np.array(legs.delays[2:])
    assert means.max() <= 30
    # The delay goes up and down by a frame in 100 s; over ten minutes it is what it was.
    assert np.abs(means[:10].mean(axis=0) - means[-10:].mean(axis=0)).max() < 3
    slips = seconds * 50 * 200e-6
    slow, fast = legs.index
    assert rows.stretched[slow] == pytest.approx(slips, abs=2)
    assert rows.trimmed[fast] == pytest.approx(slips, abs=2)
    assert rows.trimmed[slow] + rows.stretched[fast] <= 2
    assert legs.invented == rows.stretched[legs.index].sum()
    # Where one period goes over to another within 5 ms, their difference adds to the slope of the
    # voice: 1.54 times its own steps in the worst of a day's 1,728 slips. A splice makes 15 times.
    assert legs.largest_step <= 1.6 * STEP


def test_an_hour_of_skew_adds_no_delay_and_no_click() -> None:
    check(3600)


@pytest.mark.soak
def test_a_day_of_skew_adds_no_delay_and_no_click() -> None:
    check(24 * 3600)
