"""Frames of many beats, turned from blocks with a row a leg into runs of one leg each.

The recording writer takes what has come in a quarter of a second at once: a run of a dozen frames
of a leg costs little more Python than one frame.
"""

from __future__ import annotations

from itertools import groupby

import numpy as np

from ..mixer.tap import TapBlock
from ..recorder.batch import AudioBatch
from ..recorder.capture import Capture
from ..recorder.runs import LegRun, Said
from .beat_gate import step_aside

MOST_RECORDS = 512  # of one batch, about: what the writer makes without giving the interpreter up
_RUN = 3  # frames: fewer are cheaper one by one


class FrameRuns:
    """The frames of consecutive blocks, by leg.

    Parameters
    ----------
    blocks
        In the order in which they were taken; at least one.

    Attributes
    ----------
    rows : dict
        By leg: where its frames are, in order.
    """

    def __init__(self, blocks: list[TapBlock]) -> None:
        self.rows: dict[int, list[int]] = {}
        self._samples: list[int] = []
        # Of each frame: whether it was sent, how it is coded, who is in it.
        self._said: list[Said] = []
        self._legs: list[int] = []
        for block in blocks:
            step_aside()
            base = len(self._legs)
            self._legs += block.legs
            self._samples += [block.sample] * len(block.legs)
            self._said += zip(block.sent.tolist(), block.laws, block.contributors, strict=True)
            for row, leg in enumerate(block.legs, base):
                self.rows.setdefault(leg, []).append(row)
        step_aside()
        self._spoken = np.concatenate([b.spoken for b in blocks]).astype(">i2").view(np.uint8)
        step_aside()
        self._heard = np.concatenate([block.heard for block in blocks])
        mixed = np.concatenate([block.heard_mixed for block in blocks])
        step_aside()
        self._mixed = mixed.astype("<i2").view(np.uint8)
        self._present: list[bool] = np.concatenate([b.present for b in blocks]).tolist()

    def run(self, leg: int) -> LegRun:
        """Return all frames of a leg."""
        rows = self.rows[leg]
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
        )

    def write(self, capture: Capture, legs: list[int], batch: AudioBatch) -> list[tuple[int, int]]:
        """Add the frames of some legs to a batch, or write them one by one where that must be.

        Returns
        -------
        Sample and number of each record of the batch.
        """
        longest = max(len(self.rows[leg]) for leg in legs)
        if longest < _RUN or not capture.takes_runs(longest):
            self._write_singly(capture, legs)
            return []
        made: list[tuple[int, int]] = []
        for leg in legs:
            made += capture.take_run(leg, self.run(leg), batch)
        return made

    def make(self, batch: AudioBatch) -> None:
        """Make the records of a batch."""
        batch.make(self._spoken, self._heard, step_aside)

    def _write_singly(self, capture: Capture, legs: list[int]) -> None:
        """Write frames in the order in which they were taken."""
        for row in sorted(row for leg in legs for row in self.rows[leg]):
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
            )
