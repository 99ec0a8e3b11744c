"""Taps at a higher rate than 8 kHz: what a leg says, or what it would hear at that rate."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .commands import MixerEvent, OpenTap, TapFrame
from .layout import Layout
from .rows import Rows
from .switchboard import Switchboard
from .wide import WideLegs
from .wide_ear import Ear, Hearing

Linear = NDArray[np.int16]


@dataclass(slots=True)
class _Tap:
    ear: Ear
    side: str


class WideTaps:
    """Taps that follow legs at a higher rate."""

    def __init__(self, rows: Rows, board: Switchboard, wide: WideLegs) -> None:
        self._rows = rows
        self.taps: dict[int, _Tap] = {}
        self._hearing = Hearing(rows, board, wide)

    def follow(self, command: OpenTap, leg: int) -> None:
        """Let a tap hear."""
        self.taps[command.tap] = _Tap(Ear(leg, command.rate_hz), command.side)

    def unfollow(self, tap: int) -> None:
        """Stop a tap."""
        self.taps.pop(tap, None)
        if not self.taps:
            self._hearing.forget()

    def take(self, layout: Layout, at: int, spoken: Linear, events: list[MixerEvent]) -> None:
        """Hand out this frame to the taps whose legs are in a layout."""
        hearing = self._hearing
        hearing.begin()
        for number, tap in self.taps.items():
            row = self._rows.of_seat[tap.ear.leg]
            if row not in layout.positions:
                continue
            if tap.side == "spoken":
                frame = hearing.spoken(layout, spoken, row, tap.ear.rate_hz)
            else:
                frame = hearing.heard(layout, spoken, tap.ear)
            events.append(TapFrame(at, number, frame.astype("<i2").tobytes()))
        hearing.end(layout)
