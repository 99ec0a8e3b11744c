"""What of the rows the counters of legs are made of, as a copy for whoever reads them elsewhere."""

from __future__ import annotations

from dataclasses import dataclass, fields

from .rows import Numbers, Rows


@dataclass(frozen=True, slots=True)
class CountedColumns:
    """The columns of `Rows` that counters are made of, copied for some legs."""

    received: Numbers
    received_before: Numbers
    played: Numbers
    concealed: Numbers
    late: Numbers
    lost_before: Numbers
    duplicate: Numbers
    reordered: Numbers
    dropped: Numbers
    sent: Numbers
    send_errors: Numbers
    clipped: Numbers
    digits: Numbers
    jitter_q4: Numbers
    clock_scale: Numbers
    ssrc_in: Numbers
    extended_sequence: Numbers
    base_sequence: Numbers
    missed: Numbers
    missing_runs: Numbers
    cluster_frames: Numbers
    cluster_missing: Numbers
    bursts: Numbers
    burst_frames: Numbers
    burst_missing: Numbers
    played_at_start: Numbers

    @classmethod
    def of(cls, rows: Rows, index: Numbers) -> CountedColumns:
        """Copy the columns of some rows."""
        return cls(**{name: getattr(rows, name)[index] for name in _COLUMNS})


_COLUMNS = tuple(field.name for field in fields(CountedColumns))


def lost_in_stream(rows: Rows | CountedColumns, row: int) -> int:
    """Return packets expected minus packets received since the stream began."""
    expected = int(rows.extended_sequence[row]) - int(rows.base_sequence[row]) + 1
    return expected - int(rows.received[row] - rows.received_before[row])
