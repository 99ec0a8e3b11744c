"""Engines in processes of their own: bridges share nothing, so they shard over workers.

Theory of operation. The server binds each leg's sockets, keeps them, and hands copies to the worker
that carries the leg (`SCM_RIGHTS`). A bridge lives in one worker. Legs that are asked for by one
call handler go to one worker, so bridges mostly find their legs at home; others move: their worker
lets them fade out, hands back all it knows of them, and the next one goes on with the same stream,
sequence and counters on the same sockets. What is submitted for a leg on its way waits for it, and
so does the matrix that it is to sit in.

All workers count the same beats: media sample 0 is one moment of the system's monotonic clock.

A worker that dies takes its calls with it and no others: `WorkerLost` names the legs, whoever waits
for one of its matrices or prompts goes on, and a new process takes its place.
"""

from __future__ import annotations

import asyncio
import logging
import time
from pathlib import Path
from typing import Any

from ..errors import CapacityError, UsageError
from ..mixer import commands as media
from ..mixer.commands import Command, LegStats, MixerEvent
from ..mixer.rows import FRAME
from ..mixer.tap import BlockSink
from ..rtp.latching import Terms
from ..rtp.srtp import StreamKeys
from . import mmsg
from . import worker_messages as say
from .dtls import DtlsTerms
from .handed_sockets import HandedSockets
from .latching_io import MediaLatched
from .media_io import Address
from .media_loop import OnEvent
from .memory import RareCollections
from .recording_writer import GapCallback
from .seat_placement import SeatPlacement
from .thread_host import PTIME_S
from .worker_process import SILENT_S, WorkerProcess
from .worker_recording import WorkerRecordings

_log = logging.getLogger(__name__)

START_S = 60.0  # a worker that does not beat by then does not start
STOP_S = 15.0  # a worker that has not sealed its recordings by then is ended
QUICK_S = 2.0  # one that lived shorter has failed; its successor waits twice as long
MOST_WAIT_S = 30.0


class ProcessHost:
    """A `MediaHost` of several worker processes.

    Parameters
    ----------
    workers
        How many: one for each processor that media may use.
    recording_key
        The key file of recordings; workers read it themselves.
    silent_s
        A worker that says nothing for so long does not beat any more, and is replaced.

    Others as for `ThreadHost`.
    """

    def __init__(
        self,
        workers: int,
        *,
        media_address: str = "127.0.0.1",
        media_address_v6: str | None = None,
        ports: range = range(20000, 40000),
        legs_per_port: int = 1,
        phases: int = 4,
        recording_key: Path | None = None,
        silent_s: float = SILENT_S,
    ) -> None:
        if workers < 1:
            raise UsageError(f"{workers} workers: a ProcessHost has at least one")
        if not mmsg.available():
            legs_per_port = 1
        self._settings = (media_address, media_address_v6, ports, phases, legs_per_port)
        self._sockets = HandedSockets(media_address, ports, media_address_v6, legs_per_port)
        self._key = recording_key
        self._count = workers
        self._silent_s = silent_s
        self._workers: list[WorkerProcess] = []
        self._seats = SeatPlacement(self._workers, self._sockets.hand_over, self._emit)
        self._recordings: WorkerRecordings | None = None
        self._on_event: OnEvent | None = None
        self._origin = 0.0
        self._epoch = 0.0
        self._started_at: dict[int, float] = {}
        self._waits: dict[int, float] = {}
        self._before = (0, 0)  # beats, and late ones, of processes that are gone
        self._deaths = 0
        self._stopping = False
        self._changed = asyncio.Event()
        self._collections = RareCollections()

    # ------------------------------------------------------------------------- life cycle

    async def start(self, on_event: OnEvent) -> None:
        """Start the workers; see `MediaHost.start`. Returns when all of them beat.

        Raises
        ------
        UsageError
            The workers don't start; their standard error says why.
        """
        if self._on_event is not None:
            raise UsageError("this media host runs already, or has run: make a new one")
        self._on_event = on_event
        self._collections.begin()
        self._origin, self._epoch = time.monotonic(), time.time()
        for number in range(self._count):
            self._workers.append(self._spawn(number))
        try:
            async with asyncio.timeout(START_S):
                await self.ready()
        except TimeoutError as exc:
            await self.stop()
            raise UsageError(f"the media workers don't beat after {START_S:g} s") from exc
        except BaseException:
            await self.stop()
            raise

    async def ready(self) -> None:
        """Wait until all workers beat, those that take the place of dead ones included."""
        deaths = self._deaths
        while not all(worker.ready for worker in self._workers):
            if self._deaths > deaths:
                raise UsageError("a media worker ended while it started: see its output")
            self._changed.clear()
            await self._changed.wait()

    async def stop(self) -> None:
        """Say goodbye on every leg, seal what is open, end the processes; see `MediaHost.stop`."""
        self._stopping = True
        for worker in self._workers:
            worker.stopping = True
            worker.send(say.Stop())
        try:
            async with asyncio.timeout(STOP_S):
                for worker in self._workers:
                    await worker.gone.wait()
        except TimeoutError:
            for worker in self._workers:
                worker.kill("it did not stop")
                await worker.gone.wait()
        self._sockets.close()
        self._collections.end()

    def _spawn(self, number: int) -> WorkerProcess:
        worker = WorkerProcess(number, self._on_message, self._on_death, self._silent_s)
        self._started_at[number] = time.monotonic()
        address, address_v6, ports, phases, shared = self._settings
        times = self._origin, self._epoch
        worker.send(say.Settings(address, address_v6, ports, phases, *times, shared))
        return worker

    def _on_death(self, worker: WorkerProcess, why: str) -> None:
        self._changed.set()
        if worker.figures is not None:
            beats, late = self._before
            self._before = beats + worker.figures.beats, late + worker.figures.late_beats
        worker.figures, worker.media, worker.recording = None, {}, {}
        if not worker.stopping:
            self._deaths += 1
            _log.error("media worker %d died: %s", worker.number, why)
        legs = tuple(sorted(worker.legs))
        if self._recordings is not None:
            self._recordings.lost(worker)
        self._seats.lost(worker)
        if worker.stopping:
            for leg in legs:
                self._sockets.release(leg)
            return
        self._emit(media.WorkerLost(self.sample, worker.number, why, legs))
        number, lived = worker.number, time.monotonic() - self._started_at[worker.number]
        before = self._waits.get(number, 0.0)
        wait = min(max(2 * before, 0.1), MOST_WAIT_S) if lived < QUICK_S else 0.0
        self._waits[number] = wait
        asyncio.get_running_loop().call_later(wait, self._replace, number)

    def _replace(self, number: int) -> None:
        if not self._stopping:
            self._workers[number] = self._spawn(number)

    # --------------------------------------------------------------------------- messages

    def _on_message(self, worker: WorkerProcess, message: Any) -> None:
        if isinstance(message, say.Happened):
            for event in message.events:
                self._on_worker_event(worker, event)
        elif isinstance(message, say.Frames):
            for frame in message.unpacked():
                self._emit(frame)
        elif isinstance(message, say.Figures):
            worker.figures = message
            self._seats.counted(worker, message.counts)
            worker.media = worker.media if message.media is None else message.media
            worker.recording = message.recording or worker.recording
        elif isinstance(message, say.Carried):
            self._seats.carried(message)
        elif isinstance(message, say.Ready):
            worker.ready = True
            worker.watch()
            self._changed.set()
        elif self._recordings is not None:
            if isinstance(message, say.Block):
                self._recordings.relay(worker, message)
            elif isinstance(message, say.Answer):
                self._recordings.answered(message)
            elif isinstance(message, say.Gap):
                self._recordings.gap(message)

    def _on_worker_event(self, worker: WorkerProcess, event: MixerEvent) -> None:
        if isinstance(event, media.LegParted):
            self._seats.parted(worker, event)
            if self._recordings is not None:
                self._recordings.moved(event.leg)
            return
        if isinstance(event, media.LegClosed):
            self._seats.closed(event.leg)
        elif isinstance(event, media.MatrixCommitted | media.MatrixReached):
            self._seats.matrix_event(event)
        elif isinstance(event, media.Played):
            self._seats.played(event)
        elif isinstance(event, MediaLatched):
            self._seats.latched(event)
        self._emit(event)

    def _emit(self, event: MixerEvent) -> None:
        if isinstance(event, media.LegClosed):
            self._sockets.release(event.leg)
        if self._on_event is not None:
            self._on_event(event)

    # ----------------------------------------------------------------------------- legs

    async def reserve(
        self, leg: int, *, ipv6: bool = False, remote: Address | None = None
    ) -> Address:
        """Bind a port pair and choose a worker; see `MediaHost.reserve`."""
        worker = self._seats.choose()
        if worker is None:
            raise CapacityError("no media worker is ready", limit=0)
        address = self._sockets.reserve(leg, worker.number, ipv6=ipv6, remote=remote)
        self._seats.opened(leg, worker)
        return address

    def connect(
        self,
        leg: int,
        remote: Address | None,
        remote_rtcp: Address | None,
        rtcp_mux: bool,
        terms: Terms | None = None,
    ) -> None:
        """Name a leg's peer; see `MediaHost.connect`."""
        connect = say.Connect(leg, remote, remote_rtcp, rtcp_mux, terms)
        self._seats.to_leg(leg, self._sockets.connect(connect))

    def secure(self, leg: int, keys: StreamKeys | DtlsTerms | None) -> None:
        """Give a leg its keys; see `MediaHost.secure`."""
        self._seats.to_leg(leg, say.Secure(leg, keys))

    def release(self, leg: int) -> None:
        """Give a leg's ports back; see `MediaHost.release`."""
        self._seats.to_leg(leg, say.Release(leg))
        self._seats.closed(leg)
        self._sockets.release(leg)

    def submit(self, command: Command) -> None:
        """Hand a command to the worker that it concerns; see `MediaHost.submit`."""
        self._seats.submit(command, self.sample)

    @property
    def sample(self) -> int:
        """The media clock; see `MediaHost.sample`."""
        elapsed = max(0.0, time.monotonic() - self._origin) if self._origin else 0.0
        return int(elapsed / PTIME_S * self._settings[3]) * (FRAME // self._settings[3])

    # -------------------------------------------------------------------------- recordings

    @property
    def writer(self) -> BlockSink | None:
        """Workers have writers of their own: see `recording_writer`."""
        return None

    @writer.setter
    def writer(self, sink: BlockSink | None) -> None:
        if sink is not None and sink is not self._recordings:
            raise UsageError(
                "frames stay in the worker processes: record with Bridge.record, listen with "
                "Bridge.listen, or use a ThreadHost"
            )

    def recording_writer(self, on_gap: GapCallback) -> WorkerRecordings:
        """Return what writes recordings in the workers."""
        if self._recordings is None:
            if self._key is None:
                raise UsageError("this ProcessHost was made without a recording_key")
            self._recordings = WorkerRecordings(self, self._key, on_gap)
        return self._recordings

    def worker_of_bridge(self, bridge: int) -> WorkerProcess:
        """Return who mixes a bridge, or will."""
        return self._seats.of_bridge(bridge)

    def worker_of_leg(self, leg: int) -> WorkerProcess | None:
        """Return who carries a leg."""
        return self._seats.of_leg.get(leg)

    # ------------------------------------------------------------------------------ counts

    def leg_stats(self, leg: int) -> LegStats | None:
        """Return a leg's counters, half a second old at most; see `MediaHost.leg_stats`."""
        return self._seats.stats(leg) if leg in self._seats.of_leg else None

    def beat_counts(self) -> tuple[int, int]:
        """Return the beats of all workers, and the late ones; see `MediaHost.beat_counts`."""
        known = [worker.figures for worker in self._workers if worker.figures is not None]
        beats, late = self._before
        return (
            beats + sum(figures.beats for figures in known),
            late + sum(figures.late_beats for figures in known),
        )

    def snapshot(self) -> dict[str, Any]:
        """Return the sums of the workers' counts; see `MediaHost.snapshot`.

        With ``workers``: for each its process, legs, and whether it is ready.
        """
        return {
            **total([worker.media for worker in self._workers]),
            "worker_deaths": self._deaths,
            "legs_moved": self._seats.moves,
            **self._sockets.counts(),
            "workers": [
                {"pid": worker.pid, "legs": len(worker.legs), "ready": worker.ready}
                for worker in self._workers
            ],
        }

    def recording_snapshot(self) -> dict[str, Any]:
        """Return the sums of what the workers' writers count."""
        return total([worker.recording for worker in self._workers])


def total(counts: list[dict[str, Any]]) -> dict[str, Any]:
    """Add up counters, nested ones too; what is a position (``beat``) is the furthest one."""
    summed: dict[str, Any] = {}
    for each in counts:
        for name, value in each.items():
            if isinstance(value, dict):
                summed[name] = total([summed.get(name, {}), value])
            elif name == "beat":
                summed[name] = max(summed.get(name, 0), value)
            elif isinstance(value, int | float):
                summed[name] = summed.get(name, 0) + value
    return summed
