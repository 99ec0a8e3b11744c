"""One leg's ear at any rate above 8 kHz: what a row says at it, and what a leg would hear.

What is heard is mixed for the ear alone, by the row of the leg in its bridge's matrix, ramp and
limiter included, from talkers at their own rates: of a leg that hears at the ear's rate, the very
samples that it is sent. Nothing is changed by it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..audio.codecs import NARROW_HZ
from ..audio.resample import Stream
from .bridge import Bridge
from .gains import UNITY, coefficients_of_frame, mix, mix_ramp, to_samples
from .layout import Layout
from .limiter import limit
from .rows import FRAME, Numbers, Rows
from .switchboard import Switchboard
from .wide import WideLegs

Linear = NDArray[np.int16]


@dataclass(slots=True)
class Ear:
    """Whose place is listened at, and how loud the limiter lets it be (Q15)."""

    leg: int
    rate_hz: int
    limiter_gain: Numbers = field(default_factory=lambda: np.array([UNITY]))


class Hearing:
    """Frames of one tick at higher rates, each made once: between `begin` and `end`."""

    def __init__(self, rows: Rows, board: Switchboard, wide: WideLegs) -> None:
        self._rows = rows
        self._board = board
        self._wide = wide
        self._streams: dict[tuple[int, int], Stream] = {}  # (row, rate): of talkers at 8 kHz
        self._frames: dict[tuple[int, int], Linear] = {}  # of this tick

    def begin(self) -> None:
        """Begin a tick."""
        self._frames.clear()

    def end(self, layout: Layout) -> None:
        """End a tick: who was not heard in it begins anew, with nothing before."""
        here = layout.positions.keys()
        for key in [key for key in self._streams if key[0] in here and key not in self._frames]:
            del self._streams[key]

    def forget(self) -> None:
        """Let everybody begin anew."""
        self._streams.clear()

    def spoken(self, layout: Layout, spoken: Linear, row: int, rate_hz: int) -> Linear:
        """Return what a row says now, at a rate.

        Parameters
        ----------
        spoken : (n, 160) int16 ndarray
            What everybody says at 8 kHz, in layout order.
        """
        key = row, rate_hz
        if key not in self._frames:
            found = self._wide.native(row)
            if found is not None:
                pool, at = found
                self._frames[key] = pool.at_rate(np.array([at]), rate_hz)[0]
            else:
                if key not in self._streams:
                    self._streams[key] = Stream(NARROW_HZ, rate_hz)
                narrow = spoken[layout.positions[row]]
                self._frames[key] = self._streams[key].process(narrow)
        return self._frames[key]

    def heard(self, layout: Layout, spoken: Linear, ear: Ear) -> Linear:
        """Return what a leg would hear now at an ear's rate."""
        bridge = self._board.bridge_of.get(ear.leg)
        out: Linear = np.zeros((1, ear.rate_hz // 50), np.int16)
        heard: Linear = out[0]
        if bridge is None or ear.leg not in bridge.seats:
            return heard
        place = bridge.seats.index(ear.leg)
        targets = bridge.gains if bridge.ramp is None else bridge.ramp.targets
        talkers = np.flatnonzero(bridge.gains[place] + targets[place])
        if not talkers.size:
            return heard
        rows = [self._rows.of_seat[bridge.seats[talker]] for talker in talkers.tolist()]
        frames = [self.spoken(layout, spoken, row, ear.rate_hz) for row in rows]
        exact = _gained(bridge, place, talkers, np.array(frames, np.float64))
        if bridge.limited:
            ear.limiter_gain = limit(exact, ear.limiter_gain)
        to_samples(exact, out)
        return heard


def _gained(
    bridge: Bridge, place: int, talkers: Numbers, talk: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Apply one row of a bridge's matrix, a ramp included."""
    gains, ramp = bridge.gains[place, talkers][None], bridge.ramp
    if ramp is None:
        return mix(talk, gains)
    samples = talk.shape[1]
    position = ramp.position * samples // FRAME
    course = coefficients_of_frame(
        ramp.ramp_ms, position, samples, samples_a_ms=samples // (1000 // 50)
    )
    return mix_ramp(talk, gains, ramp.targets[place, talkers][None], course)
