"""Consecutive frames of one leg at a higher rate than 8 kHz, on their way into a batch."""

from __future__ import annotations

from collections.abc import Callable

from .batch import PER_FRAME, WIDE, AudioBatch
from .legs import FRAME_SAMPLES, RecordedLeg
from .runs import LegRun, WideRun
from .track import L16_TYPES, TrackWriter

Csrcs = Callable[[tuple[int, ...], int], tuple[int, ...]]


def take_wide(
    recorded: RecordedLeg,
    run: LegRun,
    ats: list[int],
    batch: AudioBatch,
    csrcs: Csrcs,
    created_us: int,
) -> list[tuple[int, int]]:
    """Add the frames of a run to a batch, as far as they are at the rate of their leg's tracks.

    Parameters
    ----------
    ats
        The samples of the run on the capture's clock.
    csrcs
        Gives the CSRC list of seats, at a sample.
    created_us
        When sample 0 was, in microseconds since the epoch.

    Returns
    -------
    Of each record the sample of its frame and its number in the batch.
    """
    tracks, wide = recorded.wide, run.wide
    if tracks is None or wide is None or tracks.spoken.rate_hz != wide.rate_hz:
        return []
    speaker, hearer = tracks.spoken_writer, tracks.heard_writer
    if speaker is None or hearer is None:
        return []
    spoken, heard = WIDE[wide.rate_hz]
    made = _add(batch, speaker, (), spoken, wide, ats, slice(None), created_us)
    for (sent, _, contributors), part in run.parts:
        if sent:
            listed = csrcs(contributors, ats[part][0])
            made += _add(batch, hearer, listed, heard, wide, ats, part, created_us)
    return made


def _add(
    batch: AudioBatch,
    writer: TrackWriter,
    csrcs: tuple[int, ...],
    source: int,
    wide: WideRun,
    ats: list[int],
    part: slice,
    created_us: int,
) -> list[tuple[int, int]]:
    there = [(at, row) for at, row in zip(ats[part], wide.rows[part], strict=True) if row >= 0]
    if not there:
        return []
    pieces = PER_FRAME[wide.rate_hz]
    span = FRAME_SAMPLES // pieces
    rows = [pieces * row + piece for _, row in there for piece in range(pieces)]
    places = [at + piece * span for at, _ in there for piece in range(pieces)]
    kind = L16_TYPES[wide.rate_hz]
    numbers = batch.add(writer, kind, csrcs, source, rows, places, created_us)
    # All of a frame is written where it begins, as `Capture.frame` does it.
    return [*zip([at for at, _ in there for _ in range(pieces)], numbers, strict=True)]
