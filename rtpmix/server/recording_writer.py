"""The recording writer: frames from the media thread, captures on disk, and neither waits.

The media thread hands over one block a beat through a bounded queue and goes on.  A writer that
falls behind, because the disk is slow or the machine is full, makes the queue run over: blocks are
then counted, per leg, instead of kept, and the capture gets an explicit gap as soon as the writer
is back.  Everything else (legs, facts, stop) takes the same queue, so its order against the audio
is the order in which it was asked for.
"""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from ..errors import UsageError
from ..mixer.tap import TapBlock
from ..recorder.batch import AudioBatch
from ..recorder.capture import Capture
from ..recorder.gaps import OVERLOAD
from ..recorder.keys import Recipients
from ..recorder.legs import FRAME_SAMPLES
from ..recorder.policy import CapturePolicy
from ..recorder.summary import CaptureSummary
from ..recorder.track import CLOCK_HZ
from .beat_gate import step_aside
from .frame_runs import MOST_RECORDS, FrameRuns

logger = logging.getLogger(__name__)

GapCallback = Callable[[int, int, str], None]
_BATCH = 64  # queue items between two looks at the time


class RecordingWriter:
    """Writes every capture of one media host, on a thread of its own.

    `put_block` is for the media thread; everything else for any one other thread.

    Parameters
    ----------
    on_gap
        Called on the writer's thread with the recording, how many frames were lost since the last
        call, and why ("overload" or "disk"): once when a gap begins and once when it ends.
    policy
        How captures are written.
    block_limit
        Blocks that wait at most; 400 are two seconds at four phases.
    poll_s
        How often the thread looks at its queue: small against the second within which audio must
        be written, large against a frame, so that a dozen frames of a leg are written together.
    entropy
        Source of keys; another one than the system's is for tests only.
    """

    def __init__(
        self,
        *,
        on_gap: GapCallback | None = None,
        policy: CapturePolicy | None = None,
        block_limit: int = 400,
        poll_s: float = 0.25,
        entropy: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._on_gap = on_gap
        self._policy = policy
        self._block_limit = block_limit
        self._poll_s = poll_s
        self._entropy = entropy
        self._queue: SimpleQueue[TapBlock | Callable[[], object]] = SimpleQueue()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        self._closing = False
        self._open: set[int] = set()
        # Of the writer's thread:
        self._captures: dict[int, Capture] = {}
        self._listeners: dict[int, list[Capture]] = {}  # leg: who records it
        # Of the media thread, until it hands it over: leg: first sample, end, frames.
        self._lost: dict[int, tuple[int, int, int]] = {}
        self._blocks_dropped = 0
        self._blocks_written = 0
        self._failures = 0
        self._summaries = 0

    # ------------------------------------------------------------------------- the owner

    def place(self, recording: int, bridge: int) -> None:
        """Say which bridge a recording will be of; here all are written in one place."""

    def start(
        self,
        recording: int,
        directory: Path,
        *,
        conversation_id: str,
        keys: Recipients,
        metadata: Mapping[str, Any],
        wall_clock: Callable[[], float],
    ) -> None:
        """Open a capture. When this returns its keys are on disk; it blocks until they are.

        Parameters
        ----------
        recording
            The caller's number for it.
        directory
            See `Capture`, as for the others.

        Raises
        ------
        RecordingError
            The directory can't be made or is in use, or the disk refused.
        UsageError
            The number is in use, or metadata that is not JSON.
        """
        if recording in self._open:
            raise UsageError(f"recording {recording} is open: stop it, or use another number")
        check_json(metadata, "metadata")
        capture = Capture(
            directory,
            conversation_id=conversation_id,
            recipients=keys,
            metadata=metadata,
            wall_clock=wall_clock,
            policy=self._policy,
            tell=_GapTeller(recording, self._on_gap),
            entropy=self._entropy,
        )
        self._open.add(recording)
        self._begin()
        self._submit(partial(self._captures.__setitem__, recording, capture))

    def add_leg(
        self, recording: int, leg: int, name: str, role: str, codec: str, sample: int
    ) -> None:
        """Record a leg from this sample on, as ``<name>.in`` and ``<name>.heard``."""
        self._submit(partial(self._add_leg, recording, leg, name, role, codec, sample))

    def remove_leg(self, recording: int, leg: int, sample: int) -> None:
        """End a leg's tracks."""
        self._submit(partial(self._remove_leg, recording, leg, sample))

    def event(self, recording: int, sample: int, fact: Mapping[str, Any]) -> None:
        """Write a fact to the events track.

        Raises
        ------
        UsageError
            Not JSON.
        """
        check_json(fact, "a recording's fact")
        self._submit(partial(self._event, recording, sample, dict(fact)))

    def stop(self, recording: int) -> Future[CaptureSummary]:
        """End and seal a capture; the future has what became of it.

        Raises
        ------
        UsageError
            No such recording.
        """
        if recording not in self._open:
            raise UsageError(f"recording {recording} is not open")
        self._open.discard(recording)
        future: Future[CaptureSummary] = Future()
        self._submit(partial(self._stop, recording, future), now=True)
        return future

    def close(self) -> None:
        """Seal what is open and end the thread; waits for the disk."""
        for recording in tuple(self._open):
            self.stop(recording)
        self._closing = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def snapshot(self) -> dict[str, Any]:
        """Return counters: captures, blocks written, dropped and waiting, packets, lost frames."""
        captures = list(self._captures.values())
        return {
            "captures": len(captures),
            "closed": self._summaries,
            "packets": sum(capture.packets for capture in captures),
            "lost_frames": sum(capture.gaps.lost_frames for capture in captures),
            "blocks_written": self._blocks_written,
            "blocks_dropped": self._blocks_dropped,
            "blocks_waiting": self._queue.qsize(),
            "failures": self._failures,
        }

    # ------------------------------------------------------------------ the media thread

    def put_block(self, block: TapBlock) -> None:
        """Take one beat's frames; never blocks and never raises."""
        if not self._open:
            return
        if self._queue.qsize() >= self._block_limit:
            self._blocks_dropped += 1
            for leg in block.legs:
                first, _, frames = self._lost.get(leg, (block.sample, 0, 0))
                self._lost[leg] = (first, block.sample + FRAME_SAMPLES, frames + 1)
            return
        if self._lost:
            lost, self._lost = self._lost, {}
            self._queue.put(partial(self._lose, lost))
        self._queue.put(block)

    # ---------------------------------------------------------------- the writer's thread

    def _begin(self) -> None:
        if self._thread is None:
            self._closing = False
            self._thread = threading.Thread(
                target=self._run, name="rtpmix-recording-writer", daemon=True
            )
            self._thread.start()

    def _submit(self, step: Callable[[], object], *, now: bool = False) -> None:
        self._queue.put(step)
        if now:  # somebody waits for it; all else has time until the next look
            self._wake.set()

    def _run(self) -> None:
        while not (self._closing and self._queue.empty()):
            self._wake.wait(self._poll_s)
            self._wake.clear()
            while self._drain():
                self._tick(time.monotonic())
            self._tick(time.monotonic())

    def _drain(self) -> bool:
        """Do some of what waits; true when there may be more."""
        blocks: list[TapBlock] = []  # that nothing came between: they are written together
        more = True
        for _ in range(_BATCH):
            try:
                item = self._queue.get_nowait()
            except Empty:
                more = False
                break
            if isinstance(item, TapBlock):
                blocks.append(item)
                continue
            self._write(blocks)
            blocks = []
            self._do(item)
        self._write(blocks)
        return more

    def _do(self, item: Callable[[], object]) -> None:
        try:
            item()
        except Exception as exc:
            # A defect in one capture must not end all others. The type alone: an error's text
            # might quote what was to be written.
            self._failures += 1
            logger.error("recording step failed: %s", type(exc).__name__)

    def _write(self, blocks: list[TapBlock]) -> None:
        if blocks:
            self._do(partial(self._write_runs, FrameRuns(blocks)))
            self._blocks_written += len(blocks)

    def _write_runs(self, runs: FrameRuns) -> None:
        recorded: dict[Capture, list[int]] = {}
        for leg in runs.rows:
            for capture in self._listeners.get(leg, ()):
                recorded.setdefault(capture, []).append(leg)
        batch, made = AudioBatch(), dict[Capture, list[tuple[int, int]]]()
        for capture, legs in recorded.items():
            step_aside()
            made[capture] = runs.write(capture, legs, batch)
            if batch.frames >= MOST_RECORDS:
                self._make(runs, batch, made)
                batch, made = AudioBatch(), {}
        self._make(runs, batch, made)

    def _make(
        self, runs: FrameRuns, batch: AudioBatch, made: Mapping[Capture, list[tuple[int, int]]]
    ) -> None:
        """Make the records of a batch and hand them to their captures, in the order of samples."""
        runs.make(batch)
        self._failures += batch.refused
        record = batch.record
        for capture, places in made.items():
            step_aside()
            capture.put([(at, record(number)) for at, number in sorted(places)])

    def _tick(self, now: float) -> None:
        for capture in self._captures.values():
            step_aside()
            self._do(partial(capture.tick, now))

    def _add_leg(
        self, recording: int, leg: int, name: str, role: str, codec: str, sample: int
    ) -> None:
        capture = self._captures.get(recording)
        if capture is not None:
            capture.add_leg(leg, name, role, codec, sample)
            self._listeners.setdefault(leg, []).append(capture)

    def _remove_leg(self, recording: int, leg: int, sample: int) -> None:
        capture = self._captures.get(recording)
        if capture is not None:
            capture.remove_leg(leg, sample)
            self._forget(leg, capture)

    def _forget(self, leg: int, capture: Capture) -> None:
        left = [other for other in self._listeners.get(leg, ()) if other is not capture]
        if left:
            self._listeners[leg] = left
        else:
            self._listeners.pop(leg, None)

    def _event(self, recording: int, sample: int, fact: Mapping[str, Any]) -> None:
        capture = self._captures.get(recording)
        if capture is not None:
            capture.event(sample, fact)

    def _lose(self, lost: Mapping[int, tuple[int, int, int]]) -> None:
        for leg, (first, end, frames) in lost.items():
            for capture in self._listeners.get(leg, ()):
                capture.lose(leg, first, end, frames, OVERLOAD)

    def _stop(self, recording: int, future: Future[CaptureSummary]) -> None:
        capture = self._captures.pop(recording, None)
        if capture is None:  # its start never came through
            future.cancel()
            return
        mine = [leg for leg, captures in self._listeners.items() if capture in captures]
        for leg in mine:
            # Losses that the media thread did not hand over yet; it may do so again, but for legs
            # that are then no longer recorded.
            span = self._lost.get(leg)
            if span is not None:
                capture.lose(leg, *span, OVERLOAD)
            self._forget(leg, capture)
        try:
            summary = capture.close()
        except Exception as exc:
            future.set_exception(exc)
            raise
        self._summaries += 1
        future.set_result(summary)


class InlineRecordingWriter(RecordingWriter):
    """The same writer without a thread, for virtual time: each call is done when it returns.

    What is due by time goes by the media clock instead.
    """

    def _begin(self) -> None:
        """There is no thread to begin."""

    def _submit(self, step: Callable[[], object], *, now: bool = False) -> None:
        self._do(step)

    def put_block(self, block: TapBlock) -> None:
        """Write one beat's frames."""
        if self._open:
            self._write([block])
            self._tick(block.sample / CLOCK_HZ)


class _GapTeller:
    """Turns a capture's gap facts into calls whose frames add up to what was lost."""

    def __init__(self, recording: int, on_gap: GapCallback | None) -> None:
        self._recording = recording
        self._on_gap = on_gap
        self._told = 0

    def __call__(self, fact: Mapping[str, Any]) -> None:
        if self._on_gap is None:
            return
        frames = int(fact["frames"])
        if fact["event"] == "gap_began":
            self._told = frames
            self._on_gap(self._recording, frames, str(fact["why"]))
        elif frames > self._told:
            self._on_gap(self._recording, frames - self._told, str(fact["why"]))


def check_json(values: Mapping[str, Any], what: str) -> None:
    """Raise a `UsageError` for values that JSON can't hold."""
    try:
        json.dumps(values, allow_nan=False)
    except (TypeError, ValueError) as exc:
        raise UsageError(f"{what} must be JSON values: {exc}") from exc
