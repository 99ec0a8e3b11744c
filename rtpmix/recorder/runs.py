"""Consecutive frames of one leg, on their way into a capture."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .legs import RecordedLeg
from .track import CLOCK_HZ

Said = tuple[bool, str, tuple[int, ...]]  # sent or not, "PCMU" or "PCMA", the seats that are in it


@dataclass(frozen=True, slots=True)
class WideRun:
    """Where the frames of a run are at a higher rate: rows of that rate's arrays, -1 for none."""

    rate_hz: int
    rows: list[int]


@dataclass(frozen=True, slots=True, eq=False)
class LegRun:
    """Consecutive frames of one leg.

    Attributes
    ----------
    samples
        The first sample of each on the media host's clock, growing.
    rows
        Where their payloads are, as `AudioBatch.add` takes it.
    present
        False where the leg did not say it.
    parts
        What was sent, and which of the frames it is true of: all of them, in order.
    mixed : (rows, 320) uint8 ndarray
        What was encoded into what it heard, int16 little endian, of these rows and others.
    wide
        The same frames at a higher rate; None where there are none.
    """

    samples: list[int]
    rows: list[int]
    present: list[bool]
    parts: list[tuple[Said, slice]]
    mixed: NDArray[np.uint8]
    wide: WideRun | None = None

    def heard(self) -> list[tuple[int, tuple[int, ...]]]:
        """Return who was heard, and from which sample on."""
        return [
            (self.samples[part.start], contributors)
            for (sent, _, contributors), part in self.parts
            if sent
        ]


def facts_of(run: LegRun, recorded: RecordedLeg, ats: list[int]) -> list[dict[str, Any]]:
    """Note what a leg said and heard; return the facts that became whole.

    Parameters
    ----------
    ats
        The samples of the run on the capture's clock.
    """
    facts = []
    if recorded.is_inventing or not all(run.present):
        pairs = zip(ats, run.present, strict=True)
        facts += [recorded.mark_spoken(at, present) for at, present in pairs]
    for (sent, _, _), part in run.parts:
        if not sent:
            continue
        heard, place = run.mixed[run.rows[part]], 0
        for _, second in groupby(ats[part], lambda at: at // CLOCK_HZ):
            inside = list(second)
            mixed = heard[place : place + len(inside)].tobytes()
            facts.append(recorded.mark_heard(inside[0], mixed, len(inside)))
            place += len(inside)
    return [fact for fact in facts if fact is not None]
