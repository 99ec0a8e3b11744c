"""Taps at a higher rate than 8 kHz: what a leg says, or what it would hear at that rate.

What is heard is mixed for the tap alone, by the row of the leg in its bridge's matrix, ramp and
limiter included, from talkers at their own rates: of a leg that hears at the tap's rate, the very
samples that it is sent. Nothing is changed by it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..audio.codecs import NARROW_HZ
from ..audio.resample import Stream
from .bridge import Bridge
from .commands import MixerEvent, OpenTap, TapFrame
from .gains import UNITY, coefficients_of_frame, mix, mix_ramp, to_samples
from .layout import Layout
from .limiter import limit
from .rows import FRAME, Numbers, Rows
from .switchboard import Switchboard
from .wide import WideLegs

Linear = NDArray[np.int16]


@dataclass(slots=True)
class _Tap:
    leg: int
    side: str
    rate_hz: int
    limiter_gain: Numbers = field(default_factory=lambda: np.array([UNITY]))


class WideTaps:
    """Taps that follow legs at a higher rate."""

    def __init__(self, rows: Rows, board: Switchboard, wide: WideLegs) -> None:
        self._rows = rows
        self._board = board
        self._wide = wide
        self.taps: dict[int, _Tap] = {}
        self._streams: dict[tuple[int, int], Stream] = {}  # (row, rate): of talkers at 8 kHz
        self._frames: dict[tuple[int, int], Linear] = {}  # of this tick

    def follow(self, command: OpenTap, leg: int) -> None:
        """Let a tap hear."""
        self.taps[command.tap] = _Tap(leg, command.side, command.rate_hz)

    def unfollow(self, tap: int) -> None:
        """Stop a tap."""
        self.taps.pop(tap, None)
        if not self.taps:
            self._streams.clear()

    def take(self, layout: Layout, at: int, spoken: Linear, events: list[MixerEvent]) -> None:
        """Hand out this frame to the taps whose legs are in a layout."""
        self._frames.clear()
        for number, tap in self.taps.items():
            row = self._rows.of_seat[tap.leg]
            if row not in layout.positions:
                continue
            if tap.side == "spoken":
                frame = self._frame(layout, spoken, row, tap.rate_hz)
            else:
                frame = self._heard(layout, spoken, tap)
            events.append(TapFrame(at, number, frame.astype("<i2").tobytes()))
        # Who was not heard now begins anew: what was before is not what comes before.
        here = layout.positions.keys()
        for key in [key for key in self._streams if key[0] in here and key not in self._frames]:
            del self._streams[key]

    def _frame(self, layout: Layout, spoken: Linear, row: int, rate_hz: int) -> Linear:
        """Return what a row says now, at a rate."""
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

    def _heard(self, layout: Layout, spoken: Linear, tap: _Tap) -> Linear:
        """Return what a leg would hear now at a tap's rate."""
        bridge = self._board.bridge_of.get(tap.leg)
        out: Linear = np.zeros((1, tap.rate_hz // 50), np.int16)
        heard: Linear = out[0]
        if bridge is None or tap.leg not in bridge.seats:
            return heard
        place = bridge.seats.index(tap.leg)
        targets = bridge.gains if bridge.ramp is None else bridge.ramp.targets
        talkers = np.flatnonzero(bridge.gains[place] + targets[place])
        if not talkers.size:
            return heard
        rows = [self._rows.of_seat[bridge.seats[talker]] for talker in talkers.tolist()]
        frames = [self._frame(layout, spoken, row, tap.rate_hz) for row in rows]
        exact = _gained(bridge, place, talkers, np.array(frames, np.float64))
        if bridge.limited:
            tap.limiter_gain = limit(exact, tap.limiter_gain)
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
