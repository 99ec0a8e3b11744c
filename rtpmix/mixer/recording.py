"""Copies for whoever listens without a socket: recorders and taps."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..audio.codecs import BY_NUMBER, NARROW_HZ
from .commands import MixerEvent, OpenTap, TapFrame
from .g711 import NAMES
from .layout import Layout, Recorded
from .rows import Rows
from .switchboard import Switchboard
from .tap import TapBlock, WideFrames
from .wide import WideLegs
from .wide_records import WideRecords
from .wide_taps import WideTaps

Linear = NDArray[np.int16]


class Copies:
    """Recorded legs and taps that follow a leg.

    Attributes
    ----------
    blocks : list of TapBlock
        What the last beats gave, for the host to take away.
    """

    def __init__(
        self, rows: Rows, board: Switchboard, events: list[MixerEvent], wide: WideLegs
    ) -> None:
        self._rows = rows
        self._board = board
        self._events = events
        self._wide_taps = WideTaps(rows, board, wide)
        self._wide_records = WideRecords(rows, board, wide)
        self.recorded: dict[int, int] = {}  # legs, in the order of their commands: in Hz
        self._followers: dict[int, dict[int, str]] = {}  # leg -> tap -> side
        self._leg_of: dict[int, int] = {}
        self.blocks: list[TapBlock] = []

    def follow(self, command: OpenTap) -> str | None:
        """Let a tap copy a leg; return why not, or None."""
        leg = command.follow
        if leg is None or leg not in self._rows.of_seat:
            return f"no leg {command.follow} to follow"
        if command.side not in ("spoken", "heard"):
            return f"side {command.side!r}; a tap follows what a leg has 'spoken' or 'heard'"
        if command.rate_hz != NARROW_HZ:
            self._wide_taps.follow(command, leg)
        else:
            self._followers.setdefault(leg, {})[command.tap] = command.side
        self._leg_of[command.tap] = leg
        return None

    def unfollow(self, tap: int) -> bool:
        """Stop a tap; False when there is no such one."""
        leg = self._leg_of.pop(tap, None)
        if leg is None:
            return False
        self._wide_taps.unfollow(tap)
        followers = self._followers.get(leg, {})
        followers.pop(tap, None)
        if not followers:
            self._followers.pop(leg, None)
        return True

    def record(self, leg: int, rate_hz: int) -> None:
        """Record a leg, at 8 kHz and at this rate."""
        self.recorded[leg] = rate_hz

    def leave_out(self, leg: int) -> None:
        """Record a leg no longer."""
        self.recorded.pop(leg, None)
        self._wide_records.forget(leg)

    def forget(self, leg: int) -> None:
        """A leg closed: its copies end."""
        self.leave_out(leg)
        self._followers.pop(leg, None)
        if leg in self._leg_of.values():
            for tap in [tap for tap, followed in self._leg_of.items() if followed == leg]:
                self._wide_taps.unfollow(tap)
                del self._leg_of[tap]

    def known(self, tap: int) -> bool:
        """Whether a tap of this number follows a leg."""
        return tap in self._leg_of

    def take(
        self,
        layout: Layout,
        at: int,
        spoken: Linear,
        heard: Linear,
        codes: NDArray[np.uint8],
        present: NDArray[np.bool_],
        sent: NDArray[np.bool_],
        wide_heard: list[Linear | None],
    ) -> None:
        """Hand out copies of one mixed frame; all arrays are in layout order.

        ``wide_heard``: what the layout's parties heard, each at its rate.
        """
        seats = self._rows.seat
        for row in layout.taps:
            pcm = heard[layout.positions[row]].astype("<i2").tobytes()
            self._events.append(TapFrame(at, int(seats[row]), pcm))
        for leg, taps in self._followers.items():
            place = layout.positions.get(self._rows.of_seat[leg])
            if place is None:
                continue
            for tap, side in taps.items():
                frame = spoken[place] if side == "spoken" else heard[place]
                self._events.append(TapFrame(at, tap, frame.astype("<i2").tobytes()))
        if self._wide_taps.taps:
            self._wide_taps.take(layout, at, spoken, self._events)
        if self.recorded:
            self._record(layout, at, spoken, heard, codes, present, sent, wide_heard)

    def _record(
        self,
        layout: Layout,
        at: int,
        spoken: Linear,
        heard: Linear,
        codes: NDArray[np.uint8],
        present: NDArray[np.bool_],
        sent: NDArray[np.bool_],
        wide_heard: list[Linear | None],
    ) -> None:
        cached = layout.recorded
        if cached is None:
            cached = layout.recorded = self._arrange(layout)
        legs, places, laws, contributors, groups, resampled = cached
        if not legs:
            return
        wide: tuple[WideFrames, ...] = ()
        if groups:
            wide = self._wide_records.take(layout, groups, spoken, wide_heard)
        self.blocks.append(
            TapBlock(
                sample=at,
                legs=legs,
                spoken=spoken[places],
                heard=codes[places],
                laws=laws,
                sent=sent[places],
                present=present[places],
                contributors=contributors,
                heard_mixed=heard[places],
                wide=wide,
                resampled=resampled,
            )
        )

    def _arrange(self, layout: Layout) -> Recorded:
        """Find the recorded legs of a layout; it holds as long as the layout does."""
        rows = self._rows
        found = [
            (leg, layout.positions[rows.of_seat[leg]])
            for leg in self.recorded
            if rows.of_seat[leg] in layout.positions
        ]
        by_bridge: dict[int, dict[int, tuple[int, ...]]] = {}
        contributors: list[tuple[int, ...]] = []
        for leg, _ in found:
            bridge = self._board.bridge_of.get(leg)
            if bridge is None:
                contributors.append(())
                continue
            if bridge.number not in by_bridge:
                by_bridge[bridge.number] = bridge.contributors()
            contributors.append(by_bridge[bridge.number].get(leg, ()))
        legs = tuple(leg for leg, _ in found)
        return (
            legs,
            np.array([place for _, place in found], np.int64),
            # Of other codecs the rows of 8 kHz are as PCMU.
            tuple(NAMES.get(int(rows.law[rows.of_seat[leg]]), "PCMU") for leg, _ in found),
            tuple(contributors),
            self._wide_records.arrange(layout, legs, self.recorded),
            tuple(
                leg
                for leg in legs
                if BY_NUMBER[int(rows.law[rows.of_seat[leg]])].rate_hz != self.recorded[leg]
            ),
        )
