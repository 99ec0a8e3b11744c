"""Recordings that worker processes write: the same calls, sent to whoever carries the bridge.

A capture is written where most of its frames are made. Legs that another worker carries are
recorded too: their frames are sent along. When a worker dies, what it wrote is recovered at once,
up to the last second, and sealed as recovered.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import RecordingError, UsageError
from ..mixer.commands import Record
from ..recorder import CaptureSummary, Recipients, recover
from ..recorder.track import CLOCK_HZ
from . import worker_messages as say
from .recording_writer import GapCallback, RecordingWriter, check_json

if TYPE_CHECKING:
    from .process_host import ProcessHost
    from .worker_process import WorkerProcess

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Asked:
    """A question to a worker."""

    worker: WorkerProcess
    answer: Future[Any]
    stopping: int | None = None  # the recording


class WorkerRecordings(RecordingWriter):
    """A `RecordingWriter` whose writing is done by the workers of a `ProcessHost`.

    `start` is for a thread that may wait; everything else for the loop's own.
    """

    def __init__(self, host: ProcessHost, key: Path, on_gap: GapCallback | None) -> None:
        super().__init__(on_gap=on_gap)
        self._host = host
        self._key = key
        self._loop = asyncio.get_running_loop()
        self._at: dict[int, WorkerProcess] = {}
        self._paths: dict[int, tuple[Path, Recipients]] = {}
        self._legs: dict[int, set[int]] = {}  # leg: its recordings
        self._rates: dict[int, int] = {}  # leg: in Hz
        self._forwarded: dict[int, WorkerProcess] = {}  # leg: who sends its frames along
        self._asked: dict[int, _Asked] = {}
        self._asks = 0
        self._recovered: dict[int, Future[CaptureSummary]] = {}
        self._recoveries = 0

    # ------------------------------------------------------------------------- the owner

    def place(self, recording: int, bridge: int) -> None:
        """Say which bridge a recording will be of: it is written where that is mixed."""
        self._at[recording] = self._host.worker_of_bridge(bridge)

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
        """Open a capture in a worker; see `RecordingWriter.start`. Wall clocks are the worker's."""
        if recording in self._open:
            raise UsageError(f"recording {recording} is open: stop it, or use another number")
        check_json(metadata, "metadata")
        answer: Future[Any] = Future()

        def begin() -> None:
            worker = self._at[recording]
            self._paths[recording] = (directory, keys)
            ask = self._ask(_Asked(worker, answer))
            worker.send(
                say.StartRecording(
                    ask, recording, directory, conversation_id, self._key, dict(metadata)
                )
            )

        self._loop.call_soon_threadsafe(begin)
        try:
            answer.result()
        except BaseException:
            self._loop.call_soon_threadsafe(self._paths.pop, recording, None)
            raise
        self._open.add(recording)

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
        """Record a leg from its worker's next beat on."""
        message = say.RecordLeg(recording, leg, name, role, codec, rate_hz=rate_hz)
        self._at[recording].send(message)
        self._rates[leg] = rate_hz
        self._legs.setdefault(leg, set()).add(recording)
        self.settle(leg)

    def remove_leg(self, recording: int, leg: int, sample: int) -> None:
        """End a leg's tracks."""
        self._at[recording].send(say.RecordLeg(recording, leg, on=False))
        self._legs.get(leg, set()).discard(recording)
        self.settle(leg)

    def event(self, recording: int, sample: int, fact: Mapping[str, Any]) -> None:
        """Write a fact to the events track; see `RecordingWriter.event`."""
        check_json(fact, "a recording's fact")
        self._at[recording].send(say.RecordFact(recording, sample, dict(fact)))

    def stop(self, recording: int) -> Future[CaptureSummary]:
        """End and seal a capture; see `RecordingWriter.stop`."""
        if recording not in self._open:
            raise UsageError(f"recording {recording} is not open")
        self._open.discard(recording)
        for leg in [leg for leg, kept in self._legs.items() if recording in kept]:
            self._legs[leg].discard(recording)
            self.settle(leg)
        worker, recovered = self._at.pop(recording), self._recovered.pop(recording, None)
        if recovered is not None:
            recovered.add_done_callback(lambda _: self._paths.pop(recording, None))
            return recovered
        answer: Future[Any] = Future()
        answer.add_done_callback(lambda _: self._paths.pop(recording, None))
        ask = self._ask(_Asked(worker, answer, stopping=recording))
        worker.send(say.StopRecording(ask, recording))
        return answer

    def close(self) -> None:
        """Nothing is left to do here: each capture has been stopped, or its worker seals it."""

    def snapshot(self) -> dict[str, Any]:
        """Return the sums of the workers' counters; see `RecordingWriter.snapshot`."""
        return {**self._host.recording_snapshot(), "recovered": self._recoveries}

    # ---------------------------------------------------------------------------- the host

    def settle(self, leg: int) -> None:
        """Let the worker that carries a leg send its frames along, if another one records it."""
        here = self._host.worker_of_leg(leg)
        kept = self._legs.get(leg, set())
        if not kept:
            self._legs.pop(leg, None)
            self._rates.pop(leg, None)
        wanted = any(self._at[recording] is not here for recording in kept if recording in self._at)
        before = self._forwarded.pop(leg, None)
        if before is not None and (before is not here or not wanted):
            before.send(say.Forward(leg, on=False))
        if wanted and here is not None:
            if before is not here:
                here.send(say.Forward(leg, on=True))
            self._forwarded[leg] = here

    def moved(self, leg: int) -> None:
        """A leg is in another worker now."""
        if self._legs.get(leg):
            self._host.submit(Record(leg, rate_hz=self._rates[leg]))
        self.settle(leg)

    def relay(self, worker: WorkerProcess, message: say.Block) -> None:
        """Hand frames of one worker to those that record their legs."""
        recordings = {one for leg in message.block.legs for one in self._legs.get(leg, ())}
        for target in {self._at[one] for one in recordings if one in self._at} - {worker}:
            target.send(message)

    def gap(self, message: say.Gap) -> None:
        """Tell of frames that a worker lost."""
        if self._on_gap is not None:
            self._on_gap(message.recording, message.frames, message.why)

    def answered(self, message: say.Answer) -> None:
        """Take a worker's answer."""
        asked = self._asked.pop(message.ask, None)
        if asked is None:
            return
        answer = asked.answer
        if message.problem is None:
            answer.set_result(message.result)
        elif message.usage:
            answer.set_exception(UsageError(message.problem))
        else:
            answer.set_exception(RecordingError(message.problem))

    def lost(self, worker: WorkerProcess) -> None:
        """A worker is gone: recover and seal what it was writing."""
        for recording in [one for one, at in self._at.items() if at is worker]:
            if recording in self._open:
                self._recovered[recording] = self._recover(recording, Future())
        for ask in [ask for ask, asked in self._asked.items() if asked.worker is worker]:
            asked = self._asked.pop(ask)
            if asked.stopping is None:
                asked.answer.set_exception(RecordingError("the media worker is gone: try again"))
            else:
                self._recover(asked.stopping, asked.answer)

    def _ask(self, asked: _Asked) -> int:
        self._asks += 1
        self._asked[self._asks] = asked
        return self._asks

    def _recover(self, recording: int, result: Future[CaptureSummary]) -> Future[CaptureSummary]:
        path, keys = self._paths[recording]

        def work() -> CaptureSummary:
            found = recover(path, keys)
            problem = None if found.sealed else "there is no signing key"
            return CaptureSummary(
                path, found.packets, found.duration_s, 0, found.sealed, problem=problem
            )

        def done(task: asyncio.Future[CaptureSummary]) -> None:
            error = task.exception()
            if error is None:
                self._recoveries += 1
                result.set_result(task.result())
            else:
                _log.error("a capture was not recovered: %s", type(error).__name__)
                result.set_exception(error)

        self._loop.run_in_executor(None, work).add_done_callback(done)
        return result
