"""Legs that go from one engine to another: their rows, as numbers.

Both engines count the same beats, so every position in time holds in the other one, too. A digit
that is being pressed or said is not carried along; the rest of it is lost. Codecs other than G.711
begin anew: their packets that waited to be decoded are lost.
"""

from __future__ import annotations

import numpy as np

from .commands import LegState
from .reports import Reports
from .rows import COLUMNS, FRAME, HEADER, Kind, Rows

_OWN = {"kind", "seat", "phase"}  # of the row, not of the leg


def taken_out(rows: Rows, reports: Reports, row: int, phases: int, fmtp: str) -> LegState:
    """Copy what a row knows."""
    columns = {name: getattr(rows, name)[row].copy() for name in COLUMNS if name not in _OWN}
    return LegState(phases, columns, reports.taken_out(row), fmtp)


def refusal(state: LegState, phases: int) -> str | None:
    """Say why a state can't go on here, or None."""
    if state.phases != phases:
        return f"a leg from an engine of {state.phases} phases in one of {phases}"
    if set(state.columns) != set(COLUMNS) - _OWN:
        return "a leg from an engine of another version"
    return None


def put_in(rows: Rows, leg: int, state: LegState, beat: int, phases: int) -> int:
    """Give a leg a row that knows what the other one knew; return it."""
    row = rows.add(leg, Kind.LEG)
    for name, value in state.columns.items():
        getattr(rows, name)[row] = value
    ticked = int(rows.ticked_at[row])
    if ticked >= 0:
        # Frames that nobody sent meanwhile: the timestamp stays on the media clock.
        rows.timestamp_out[row] += max(0, (beat - ticked) // phases - 1) * FRAME
    rows.marker[row] = True
    rows.packets[row, :HEADER] = 0
    rows.packets[row, 0] = 0x80  # RTP version 2
    rows.header_ssrc[row] = np.uint32(rows.ssrc_out[row])
    return row
