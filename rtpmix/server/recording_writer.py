"""The recording writer: frames from the media thread, captures on disk, and neither waits.

The media thread hands over one block a beat through a bounded queue and goes on.  A writer that
falls behind, because the disk is slow or the machine is full, makes the queue run over: blocks are
then counted, per leg, instead of kept, and the capture gets an explicit gap as soon as the writer
is back.  Everything else (legs, facts, stop) takes the same queue, so its order against the audio
is the order in which it was asked for.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple

from ..errors import UsageError
from ..mixer.tap import TapBlock
from ..recorder.capture import Capture
from ..recorder.gaps import OVERLOAD
from ..recorder.keys import Recipients
from ..recorder.legs import FRAME_SAMPLES
from ..recorder.policy import CapturePolicy
from ..recorder.summary import CaptureSummary
from ..recorder.track import CLOCK_HZ
from .capture_desk import CaptureDesk, Step

GapCallback = Callable[[int, int, str], None]
_BATCH = 64  # blocks between two looks at the time


class _Item(NamedTuple):
    """What is to be done between two blocks, to one recording or, without a number, to all."""

    recording: int | None
    step: Step


class RecordingWriter:
    """Writes every capture of one media host, on a thread of its own.

    `put_block` is for the media thread; everything else for any one other thread.

    Parameters
    ----------
    on_gap
        Called on a thread of the writer's with the recording, how many frames were lost since the
        last call, and why ("overload" or "disk"): once when a gap begins and once when it ends.
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
        self._queue: SimpleQueue[TapBlock | _Item] = SimpleQueue()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        self._closing = False
        self._open: set[int] = set()
        self._desk = CaptureDesk()  # of the writer's thread
        # Of the media thread, until it hands it over: leg: first sample, end, frames.
        self._lost: dict[int, tuple[int, int, int]] = {}
        self._blocks_dropped = 0
        self._blocks_put = 0
        self._blocks_taken = 0  # of the writer's thread
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
        self._submit(recording, partial(self._desk.captures.__setitem__, recording, capture))

    def add_leg(
        self,
        recording: int,
        leg: int,
        name: str,
        role: str,
        codec: str,
        sample: int,
        rate_hz: int = CLOCK_HZ,
    ) -> None:
        """Record a leg from this sample on, as ``<name>.in`` and ``<name>.heard``.

        Parameters
        ----------
        codec, rate_hz
            See `Capture.add_leg`.
        """
        step = partial(self._add_leg, recording, leg, name, role, codec, sample, rate_hz)
        self._submit(recording, step)

    def remove_leg(self, recording: int, leg: int, sample: int) -> None:
        """End a leg's tracks."""
        self._submit(recording, partial(self._remove_leg, recording, leg, sample))

    def event(self, recording: int, sample: int, fact: Mapping[str, Any]) -> None:
        """Write a fact to the events track.

        Raises
        ------
        UsageError
            Not JSON.
        """
        check_json(fact, "a recording's fact")
        self._submit(recording, partial(self._event, recording, sample, dict(fact)))

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
        self._submit(recording, partial(self._stop, recording, future), now=True)
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
        self._desk.close()

    def snapshot(self) -> dict[str, Any]:
        """Return counters: captures, blocks written, dropped and waiting, packets, lost frames."""
        captures = list(self._desk.captures.values())
        return {
            "captures": len(captures),
            "closed": self._summaries,
            "packets": sum(capture.packets for capture in captures),
            "lost_frames": sum(capture.gaps.lost_frames for capture in captures),
            "blocks_written": self._desk.blocks_written,
            "blocks_dropped": self._blocks_dropped,
            "blocks_waiting": self._blocks_put - self._blocks_taken,
            "failures": self._desk.failures,
        }

    # ------------------------------------------------------------------ the media thread

    def put_block(self, block: TapBlock) -> None:
        """Take one beat's frames; never blocks and never raises."""
        if not self._open:
            return
        if self._blocks_put - self._blocks_taken >= self._block_limit:
            self._blocks_dropped += 1
            for leg in block.legs:
                first, _, frames = self._lost.get(leg, (block.sample, 0, 0))
                self._lost[leg] = (first, block.sample + FRAME_SAMPLES, frames + 1)
            return
        if self._lost:
            lost, self._lost = self._lost, {}
            self._queue.put(_Item(None, partial(self._lose, lost)))
        self._queue.put(block)
        self._blocks_put += 1

    # ---------------------------------------------------------------- the writer's thread

    def _begin(self) -> None:
        if self._thread is None:
            self._closing = False
            self._desk.use_threads()
            self._thread = threading.Thread(
                target=self._run, name="rtpmix-recording-writer", daemon=True
            )
            self._thread.start()

    def _submit(self, recording: int | None, step: Step, *, now: bool = False) -> None:
        self._queue.put(_Item(recording, step))
        if now:  # somebody waits for it; all else has time until the next look
            self._wake.set()

    def _run(self) -> None:
        while not (self._closing and self._queue.empty()):
            self._wake.wait(self._poll_s)
            self._wake.clear()
            while self._drain():
                self._desk.tick(time.monotonic())
            self._desk.tick(time.monotonic())

    def _drain(self) -> bool:
        """Do some of what waits; true when there may be more."""
        blocks: list[TapBlock] = []
        steps: dict[int, list[tuple[int, Step]]] = {}
        more = True
        while len(blocks) < _BATCH:
            try:
                item = self._queue.get_nowait()
            except Empty:
                more = False
                break
            if isinstance(item, TapBlock):
                blocks.append(item)
                self._blocks_taken += 1
            elif item.recording is not None:
                steps.setdefault(item.recording, []).append((len(blocks), item.step))
            else:  # it is about all of them
                self._desk.settle(blocks, steps)
                self._desk.do(item.step)
                blocks, steps = [], {}
        self._desk.settle(blocks, steps)
        return more

    def _add_leg(self, recording: int, leg: int, *more: Any) -> None:
        capture = self._desk.captures.get(recording)
        if capture is not None:
            capture.add_leg(leg, *more)

    def _remove_leg(self, recording: int, leg: int, sample: int) -> None:
        capture = self._desk.captures.get(recording)
        if capture is not None:
            capture.remove_leg(leg, sample)

    def _event(self, recording: int, sample: int, fact: Mapping[str, Any]) -> None:
        capture = self._desk.captures.get(recording)
        if capture is not None:
            capture.event(sample, fact)

    def _lose(self, lost: Mapping[int, tuple[int, int, int]]) -> None:
        for capture in self._desk.captures.values():
            for leg in lost.keys() & capture.legs:
                capture.lose(leg, *lost[leg], OVERLOAD)

    def _stop(self, recording: int, future: Future[CaptureSummary]) -> Callable[[], object] | None:
        capture = self._desk.captures.pop(recording, None)
        if capture is None:  # its start never came through
            future.cancel()
            return None
        for leg in capture.legs:
            # Losses that the media thread did not hand over yet; it may do so again, but for legs
            # that are then no longer recorded.
            span = self._lost.get(leg)
            if span is not None:
                capture.lose(leg, *span, OVERLOAD)
        return partial(self._seal, capture, future)

    def _seal(self, capture: Capture, future: Future[CaptureSummary]) -> None:
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

    def _submit(self, recording: int | None, step: Step, *, now: bool = False) -> None:
        self._desk.do(step)

    def put_block(self, block: TapBlock) -> None:
        """Write one beat's frames."""
        if self._open:
            self._desk.write([block])
            self._desk.tick(block.sample / CLOCK_HZ)


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
