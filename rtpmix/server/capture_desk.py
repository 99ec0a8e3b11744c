"""What the recording writer's thread does with what has waited in its queue.

What happens to one capture (a leg, a fact, its end) has to stay in order with its own frames only.
So the captures that nothing happens to are written together, and what waits for the disk, the keys
of a leg that joined or a seal, is waited for together: the disk does a dozen such things in the
time of one.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from ..beat_gate import step_aside
from ..mixer.tap import TapBlock
from ..recorder.batch import AudioBatch
from ..recorder.capture import Capture
from .frame_runs import MOST_RECORDS, FrameRuns

logger = logging.getLogger(__name__)

Work = Callable[[], object]
Step = Callable[[], Work | None]  # what it returns waits for the disk
DISK_THREADS = 16


class CaptureDesk:
    """The open captures, by the number of their recording.

    Attributes
    ----------
    captures
        By recording.
    blocks_written, failures
        Counts.
    """

    def __init__(self) -> None:
        self.captures: dict[int, Capture] = {}
        self.blocks_written = self.failures = 0
        self._disk: ThreadPoolExecutor | None = None

    def use_threads(self) -> None:
        """Wait for the disk with threads from now on."""
        self._disk = self._disk or ThreadPoolExecutor(DISK_THREADS, "rtpmix-recording-disk")

    def close(self) -> None:
        """End the threads."""
        if self._disk is not None:
            self._disk.shutdown()
            self._disk = None

    def do(self, step: Step) -> None:
        """Do one step, and what it leaves for the disk."""
        work = self._try(step)
        if work is not None:
            self._try(work)

    def write(self, blocks: list[TapBlock]) -> None:
        """Write the frames of all captures."""
        self.settle(blocks, {})

    def settle(self, blocks: list[TapBlock], steps: Mapping[int, list[tuple[int, Step]]]) -> None:
        """Write frames and do steps.

        Parameters
        ----------
        blocks
            Frames of all captures, in order.
        steps
            By recording: how many of the blocks come before each step.
        """
        runs = FrameRuns(blocks)
        quiet = [capture for number, capture in self.captures.items() if number not in steps]
        self._try(partial(self._write, runs, quiet))
        waiting = [self._go_through(runs, number, own) for number, own in steps.items()]
        while waiting:
            asked = [(each, work) for each in waiting if (work := next(each, None)) is not None]
            self._wait_for_disk([work for _, work in asked])
            waiting = [each for each, _ in asked]
        self.blocks_written += len(blocks)

    def tick(self, now: float) -> None:
        """Do what is due by time for every capture."""
        for capture in self.captures.values():
            step_aside()
            self._try(partial(capture.tick, now, sync=False))
        due = [capture for capture in self.captures.values() if capture.sync_is_due(now)]
        self._wait_for_disk([partial(capture.sync, now) for capture in due])

    def _go_through(
        self, runs: FrameRuns, number: int, steps: list[tuple[int, Step]]
    ) -> Iterator[Work]:
        """Do the steps of one recording, and write its frames between; yield work for the disk."""
        done = 0
        for position, step in [*steps, (runs.blocks, None)]:
            capture = self.captures.get(number)
            if position > done and capture is not None:
                if capture.awaits_disk:
                    yield capture.get_ready
                self._try(partial(self._write, runs, [capture], runs.span(done, position)))
            done = position
            work = None if step is None else self._try(step)
            if work is not None:
                yield work

    def _write(
        self, runs: FrameRuns, captures: Iterable[Capture], span: range | None = None
    ) -> None:
        batch, made = AudioBatch(), dict[Capture, list[tuple[int, int]]]()
        for capture in captures:
            step_aside()
            made[capture] = runs.write(capture, batch, span)
            if batch.frames >= MOST_RECORDS:
                self._make(runs, batch, made)
                batch, made = AudioBatch(), {}
        self._make(runs, batch, made)

    def _make(
        self, runs: FrameRuns, batch: AudioBatch, made: Mapping[Capture, list[tuple[int, int]]]
    ) -> None:
        """Make the records of a batch and hand them to their captures, in the order of samples."""
        runs.make(batch)
        self.failures += batch.refused
        record = batch.record
        for capture, places in made.items():
            step_aside()
            capture.put([(at, record(number)) for at, number in sorted(places)])

    def _wait_for_disk(self, works: list[Work]) -> None:
        if self._disk is None or len(works) < 2:
            for work in works:
                self._try(work)
        else:
            for _ in self._disk.map(self._try_aside, works):
                pass

    def _try_aside(self, work: Work) -> Any:
        step_aside()
        return self._try(work)

    def _try(self, work: Callable[[], Any]) -> Any:
        try:
            return work()
        except Exception as exc:
            # A defect in one capture must not end all others. The type alone: an error's text
            # might quote what was to be written.
            self.failures += 1
            logger.error("recording step failed: %s", type(exc).__name__)
        return None
