"""Counters as a program reads them: of one leg, and of all together."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .commands import LegStats
from .reports import Reports
from .rows import Kind, Numbers, Rows
from .stream import Stream

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


def leg_stats(rows: Rows, row: int, stream: Stream, reports: Reports, delay_ms: float) -> LegStats:
    """Return the counters of one leg since it was opened."""
    lost = int(rows.lost_before[row])
    if rows.ssrc_in[row] >= 0:
        lost += stream.lost_in_stream(row)
    told = reports.figures(row)
    inbound, outbound = told.inbound, told.outbound
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
        delay_ms=reports.delay_ms(row),
        bursts=told.bursts,
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
