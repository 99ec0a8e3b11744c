"""What the writer of a capture says of it when it is closed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class CaptureSummary:
    """What came of a recording."""

    path: Path
    packets: int
    duration_s: float
    gaps: int
    sealed: bool
    lost_frames: int = 0
    problem: str | None = None  # why it is not sealed
