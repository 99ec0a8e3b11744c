"""Runs of missing frames: which losses come in bursts, and how long bursts last.

A burst begins and ends with a missing frame and holds no `GMIN` frames in a row that came; all
else is gap. What is missing at playout counts, be it lost or late: a listener hears no difference.
Only frames that are missing cost anything; those that came are counted elsewhere already.

References
----------
RFC 3611 section 4.7.2
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..rtp.extended_report import GMIN
from .conceal import GIVE_UP_FRAMES
from .counted import CountedColumns
from .rows import Numbers, Rows


@dataclass(frozen=True, slots=True)
class Bursts:
    """What one leg's missing frames looked like; lengths and counts in frames."""

    frames: int  # due since the stream began
    missing: int
    bursts: int
    burst_frames: int  # in all bursts, those that came included
    burst_missing: int
    runs: int  # of frames missing in a row

    @property
    def missing_fraction(self) -> float:
        """Share of the frames that were not there, 0 to 1."""
        return self.missing / self.frames if self.frames else 0.0

    @property
    def burst_density(self) -> float:
        """Share of the frames of bursts that were missing."""
        return self.burst_missing / self.burst_frames if self.burst_frames else 0.0

    @property
    def gap_density(self) -> float:
        """Share of the frames outside of bursts that were missing."""
        outside = self.frames - self.burst_frames
        return (self.missing - self.burst_missing) / outside if outside > 0 else 0.0

    @property
    def burst_ratio(self) -> float:
        """Mean run of missing frames over what random loss would give (G.107 section 7.5)."""
        if not self.runs or self.missing >= self.frames:
            return 1.0
        return max(1.0, self.missing / self.runs * (1 - self.missing_fraction))


def count_gaps(rows: Rows, index: Numbers, missing: NDArray[np.bool_], beat: int) -> None:
    """Count gaps in speech; not the end of it, and not what digits or comfort noise explain."""
    counted = missing & (rows.quiet_until[index] <= beat)
    count_missing(rows, index, counted & (rows.missing_run[index] <= GIVE_UP_FRAMES))


def count_missing(rows: Rows, index: Numbers, missing: NDArray[np.bool_]) -> None:
    """Count the frames of this tick that are missing, after those that came were counted.

    Parameters
    ----------
    index : (n,) ndarray
        The rows of the tick.
    missing : (n,) bool ndarray
        Which of them lack a frame that should have come.
    """
    at = index[missing]
    if not at.size:
        return
    came = rows.played[at] - rows.played_at_loss[at]  # since the last one that was missing
    rows.played_at_loss[at] = rows.played[at]
    fresh = (came >= GMIN) | (rows.missed[at] == 0)
    rows.missed[at] += 1
    rows.missing_runs[at] += (came > 0) | (rows.missed[at] == 1)
    ended = at[fresh]
    if ended.size:
        _close(rows, ended)
        rows.cluster_frames[ended] = rows.cluster_missing[ended] = 1
    on = at[~fresh]
    rows.cluster_frames[on] += came[~fresh] + 1
    rows.cluster_missing[on] += 1


def _close(rows: Rows, at: Numbers) -> None:
    """End the clusters of rows: a single missing frame is no burst."""
    burst = at[rows.cluster_missing[at] > 1]
    rows.bursts[burst] += 1
    rows.burst_frames[burst] += rows.cluster_frames[burst]
    rows.burst_missing[burst] += rows.cluster_missing[burst]


def forgive(rows: Rows, row: int, frames: int) -> None:
    """Take back the newest missing frames: they were the sender's silence."""
    frames = min(frames, int(rows.cluster_missing[row]))
    rows.missed[row] -= frames
    rows.cluster_missing[row] -= frames
    rows.cluster_frames[row] = max(0, int(rows.cluster_frames[row]) - frames)


def forget(rows: Rows, row: int) -> None:
    """Begin anew: a new source is judged by itself."""
    for column in (
        rows.missed,
        rows.missing_runs,
        rows.cluster_frames,
        rows.cluster_missing,
        rows.bursts,
        rows.burst_frames,
        rows.burst_missing,
    ):
        column[row] = 0
    rows.played_at_loss[row] = rows.played_at_start[row] = rows.played[row]


def of_row(rows: Rows | CountedColumns, row: int) -> Bursts:
    """Return a leg's figures, its open cluster taken as ended."""
    missed = int(rows.missed[row])
    open_missing = int(rows.cluster_missing[row])
    is_burst = open_missing > 1
    return Bursts(
        frames=int(rows.played[row] - rows.played_at_start[row]) + missed,
        missing=missed,
        bursts=int(rows.bursts[row]) + is_burst,
        burst_frames=int(rows.burst_frames[row]) + is_burst * int(rows.cluster_frames[row]),
        burst_missing=int(rows.burst_missing[row]) + is_burst * open_missing,
        runs=int(rows.missing_runs[row]),
    )
