"""Frames of many beats, turned from blocks with a row a leg into runs of one leg each.

The recording writer takes what has come in a quarter of a second at once: a run of a dozen frames
of a leg costs little more Python than one frame.
"""

from __future__ import annotations

from bisect import bisect_left
from itertools import chain, groupby
from operator import itemgetter

import numpy as np
from numpy.typing import NDArray

from ..beat_gate import step_aside
from ..mixer.tap import TapBlock, WideFrames
from ..recorder.batch import PER_FRAME, WIDE, AudioBatch
from ..recorder.capture import Capture
from ..recorder.runs import LegRun, Said, WideRun

MOST_RECORDS = 512  # of one batch, about: what the writer makes without giving the interpreter up
_RUN = 3  # frames: fewer are cheaper one by one


class FrameRuns:
    """The frames of consecutive blocks, by leg.

    Parameters
    ----------
    blocks
        In the order in which they were taken.

    Attributes
    ----------
    blocks
        How many there are.
    rows : dict
        By leg: where its frames are, in order.
    """

    def __init__(self, blocks: list[TapBlock]) -> None:
        self.blocks = len(blocks)
        self.rows: dict[int, list[int]] = {}
        self._bases: list[int] = []  # where the frames of each block begin
        self._samples: list[int] = []
        # Of each frame: whether it was sent, how it is coded, who is in it.
        self._said: list[Said] = []
        self._legs: list[int] = []
        for block in blocks:
            step_aside()
            base = len(self._legs)
            self._bases.append(base)
            self._legs += block.legs
            self._samples += [block.sample] * len(block.legs)
            self._said += zip(block.sent.tolist(), block.laws, block.contributors, strict=True)
            for row, leg in enumerate(block.legs, base):
                self.rows.setdefault(leg, []).append(row)
        self._resampled: dict[int, int] = {}  # leg: first sample
        self._present: list[bool] = []
        self._wide = _WideFrames()
        if blocks:
            self._join(blocks)

    def _join(self, blocks: list[TapBlock]) -> None:
        step_aside()
        self._spoken = np.concatenate([b.spoken for b in blocks]).astype(">i2").view(np.uint8)
        step_aside()
        self._heard = np.concatenate([block.heard for block in blocks])
        mixed = np.concatenate([block.heard_mixed for block in blocks])
        step_aside()
        self._mixed = mixed.astype("<i2").view(np.uint8)
        self._present = np.concatenate([block.present for block in blocks]).tolist()
        for base, block in zip(self._bases, blocks, strict=True):
            if block.wide:
                self._wide.take(base, block)
            for leg in block.resampled:
                self._resampled.setdefault(leg, block.sample)
        self._wide.join()

    def span(self, first: int, stop: int) -> range:
        """Return where the frames of the blocks from ``first`` up to ``stop`` are."""
        bases = [*self._bases, len(self._legs)]
        return range(bases[first], bases[stop])

    def _run(self, rows: list[int]) -> LegRun:
        """Return frames of one leg."""
        said = [self._said[row] for row in rows]
        parts: list[tuple[Said, slice]] = []
        if said.count(said[0]) == len(said):
            parts.append((said[0], slice(0, len(said))))
        else:
            start = 0
            for each, same in groupby(said):
                stop = start + sum(1 for _ in same)
                parts.append((each, slice(start, stop)))
                start = stop
        return LegRun(
            samples=[self._samples[row] for row in rows],
            rows=rows,
            present=[self._present[row] for row in rows],
            parts=parts,
            mixed=self._mixed,
            wide=self._wide.run(rows) if self._wide.places else None,
        )

    def write(
        self, capture: Capture, batch: AudioBatch, span: range | None = None
    ) -> list[tuple[int, int]]:
        """Add the frames of a capture to a batch, or write them one by one where that must be.

        Parameters
        ----------
        span
            Only the frames in this range; None: all.

        Returns
        -------
        Sample and number of each record of the batch.
        """
        mine: dict[int, list[int]] = {}
        for leg in capture.legs:
            rows = self.rows.get(leg, [])
            if span is not None:
                rows = rows[bisect_left(rows, span.start) : bisect_left(rows, span.stop)]
            if rows:
                mine[leg] = rows
        if not mine:
            return []
        for leg in self._resampled.keys() & mine.keys():
            capture.resampled(leg, self._resampled[leg])
        longest = max(map(len, mine.values()))
        if longest < _RUN or not capture.can_take_runs(longest):
            self._write_singly(capture, sorted(chain.from_iterable(mine.values())))
            return []
        legs = sorted(mine.items(), key=itemgetter(1))
        return capture.take_runs([(leg, self._run(rows)) for leg, rows in legs], batch)

    def make(self, batch: AudioBatch) -> None:
        """Make the records of a batch."""
        if batch.frames:
            batch.make(self._spoken, self._heard, step_aside, self._wide.payloads)

    def _write_singly(self, capture: Capture, rows: list[int]) -> None:
        """Write frames in the order in which they were taken."""
        for row in rows:
            sent, law, contributors = self._said[row]
            step_aside()
            capture.frame(
                self._legs[row],
                self._samples[row],
                spoken=self._spoken[row].tobytes(),
                present=self._present[row],
                heard=self._heard[row].tobytes() if sent else None,
                law=law,
                mixed=self._mixed[row].tobytes(),
                contributors=contributors,
                wide=self._wide.frame(row),
            )


class _WideFrames:
    """The frames at higher rates of consecutive blocks.

    Attributes
    ----------
    places : dict
        Of each frame that there is at a higher rate: the rate, and its row among those.
    payloads : dict
        What `AudioBatch.make` takes.
    """

    def __init__(self) -> None:
        self.places: dict[int, tuple[int, int]] = {}
        self.payloads: dict[int, NDArray[np.uint8]] = {}
        self._frames: dict[int, list[WideFrames]] = {}
        self._counts: dict[int, int] = {}

    def take(self, base: int, block: TapBlock) -> None:
        """Take the frames of a block whose first one has the number ``base``."""
        numbers = {leg: number for number, leg in enumerate(block.legs, base)}
        for frames in block.wide:
            rate_hz = frames.rate_hz
            first = self._counts.get(rate_hz, 0)
            for row, leg in enumerate(frames.legs, first):
                self.places[numbers[leg]] = rate_hz, row
            self._counts[rate_hz] = first + len(frames.legs)
            self._frames.setdefault(rate_hz, []).append(frames)

    def join(self) -> None:
        """Make the payloads of all that was taken."""
        for rate_hz, all_frames in self._frames.items():
            step_aside()
            sides = [f.spoken for f in all_frames], [f.heard for f in all_frames]
            for source, side in zip(WIDE[rate_hz], sides, strict=True):
                joined = np.concatenate(side).astype(">i2").view(np.uint8)
                self.payloads[source] = joined.reshape(PER_FRAME[rate_hz] * len(joined), -1)

    def run(self, rows: list[int]) -> WideRun | None:
        """Return where the frames of a leg are at the last rate that they have."""
        rates = [self.places[row][0] for row in rows if row in self.places]
        if not rates:
            return None
        nowhere = (rates[-1], -1)
        found = [self.places.get(row, nowhere) for row in rows]
        return WideRun(rates[-1], [at if rate == rates[-1] else -1 for rate, at in found])

    def frame(self, row: int) -> tuple[bytes, bytes] | None:
        """Return one frame, said and heard."""
        place = self.places.get(row)
        if place is None:
            return None
        rate_hz, at = place
        spoken, heard = WIDE[rate_hz]
        pieces = PER_FRAME[rate_hz]
        own = slice(pieces * at, pieces * (at + 1))
        return self.payloads[spoken][own].tobytes(), self.payloads[heard][own].tobytes()
