"""Audio that could not be recorded: counted, dated, and told."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

OVERLOAD = "overload"  # the writer fell behind the media clock
DISK = "disk"  # full, slow, or failing


class GapLog:
    """Joins lost frames into gaps; a gap is open until a frame is recorded again.

    Parameters
    ----------
    tell
        Called with a fact when a gap begins (``gap_began``) and when it ends (``gap``).
    """

    def __init__(self, tell: Callable[[Mapping[str, Any]], None]) -> None:
        self._tell = tell
        self._open: dict[str, Any] | None = None
        self.closed: list[dict[str, Any]] = []
        self.lost_frames = 0

    @property
    def is_open(self) -> bool:
        """Whether the frame before this one was lost."""
        return self._open is not None

    def lose(self, why: str, first: int, end: int, frames: int) -> None:
        """Count frames of one leg that were lost within samples ``first`` to ``end``."""
        self.lost_frames += frames
        if self._open is None:
            self._open = {
                "event": "gap", "sample": first, "end": end, "frames": frames, "why": why,
            }  # fmt: skip
            self._tell({"event": "gap_began", "sample": first, "frames": frames, "why": why})
            return
        self._open["sample"] = min(self._open["sample"], first)
        self._open["end"] = max(self._open["end"], end)
        self._open["frames"] += frames

    def close(self) -> dict[str, Any] | None:
        """End the gap, if one is open, and return it as a fact for the capture."""
        gap, self._open = self._open, None
        if gap is not None:
            self.closed.append(gap)
            self._tell(gap)
        return gap
