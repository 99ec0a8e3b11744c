"""Counters as a program reads them: of one leg, and of all together.

What a leg's counters mean is found out when somebody asks: the E-model alone costs as much as a leg
does in a whole ptime. Who has to tell of many legs takes a copy of their columns (`LegCounts`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import bursts, quality
from .commands import LegStats
from .counted import CountedColumns, lost_in_stream
from .reports import Told
from .rows import Kind, Numbers, Rows

_SUMMED = (
    "received",
    "played",
    "concealed",
    "late",
    "duplicate",
    "reordered",
    "dropped",
    "trimmed",
    "stretched",
    "sent",
    "send_errors",
    "clipped",
)


@dataclass(frozen=True, slots=True)
class LegCounts:
    """Counters of some legs at one moment, not yet made sense of.

    Attributes
    ----------
    legs
        Whose they are.
    columns
        Theirs, in this order.
    told
        What RTCP says of each.
    delay_ms : (n,) float64 ndarray
        How long the newest packet of each waits to be played.
    """

    legs: tuple[int, ...]
    columns: CountedColumns
    told: tuple[Told, ...]
    delay_ms: NDArray[np.float64]

    @classmethod
    def of(
        cls,
        rows: Rows,
        index: Numbers,
        legs: tuple[int, ...],
        told: tuple[Told, ...],
        delay_ms: NDArray[np.float64],
    ) -> LegCounts:
        """Copy what is counted in some rows."""
        return cls(legs, CountedColumns.of(rows, index), told, delay_ms)

    def stats(self, place: int) -> LegStats:
        """Return the counters of the leg at a place of `legs`."""
        return leg_stats(self.columns, place, self.told[place], float(self.delay_ms[place]))


def leg_stats(rows: Rows | CountedColumns, row: int, told: Told, delay_ms: float) -> LegStats:
    """Return the counters of one leg since it was opened."""
    lost = int(rows.lost_before[row])
    if rows.ssrc_in[row] >= 0:
        lost += lost_in_stream(rows, row)
    seen = bursts.of_row(rows, row)
    inbound = quality.inbound(seen, delay_ms, told.round_trip_ms)
    outbound = quality.outbound(told.remote_lost_fraction, told.round_trip_ms, told.metrics)
    return LegStats(
        received=int(rows.received[row]),
        played=int(rows.played[row]),
        concealed=int(rows.concealed[row]),
        late=int(rows.late[row]),
        lost=max(0, lost),
        duplicate=int(rows.duplicate[row]),
        reordered=int(rows.reordered[row]),
        dropped=int(rows.dropped[row]),
        sent=int(rows.sent[row]),
        send_errors=int(rows.send_errors[row]),
        clipped=int(rows.clipped[row]),
        digits=int(rows.digits[row]),
        jitter_ms=int(rows.jitter_q4[row]) / (16 * 8 * int(rows.clock_scale[row])),
        playout_delay_ms=delay_ms,
        remote_lost_fraction=told.remote_lost_fraction,
        round_trip_ms=told.round_trip_ms,
        delay_ms=delay_ms,
        bursts=seen.bursts,
        inbound_mos=None if inbound is None else inbound.mos,
        inbound_r_factor=None if inbound is None else inbound.r_factor,
        outbound_mos=None if outbound is None else outbound.mos,
        outbound_r_factor=None if outbound is None else outbound.r_factor,
    )


def snapshot(rows: Rows) -> dict[str, Any]:
    """Return how many seats are open, and sums over the open legs."""
    legs = rows.kind == Kind.LEG
    return {
        "legs": int(np.count_nonzero(legs)),
        "sources": int(np.count_nonzero(rows.kind == Kind.SOURCE)),
        "taps": int(np.count_nonzero(rows.kind == Kind.TAP)),
        **{name: _sum(getattr(rows, name), legs) for name in _SUMMED},
    }


def _sum(column: Numbers, legs: NDArray[np.bool_]) -> int:
    """Sum a column over the legs; another thread may be growing the arrays meanwhile."""
    size = min(len(column), len(legs))
    return int(column[:size][legs[:size]].sum())
