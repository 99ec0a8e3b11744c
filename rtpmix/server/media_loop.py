"""One beat of a media host: commands, datagrams, a tick, packets, events; shared by the hosts."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..mixer.commands import AdoptLeg, CloseLeg, Command, LegClosed, MixerEvent, OpenLeg
from ..mixer.engine import CLOCK_HZ, Engine
from ..mixer.tap import BlockSink
from ..rtp.latching import Terms
from .latching_io import LatchingIO, Learned
from .media_io import Address, LearningIO
from .secure_io import Secret, SecureIO

MAX_READS = 4  # datagrams read from one socket in one beat: a flood costs no more
# Bounds of the lateness histogram in ms; a beat counts in the first bucket that it fits.
LATENESS_MS = (0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0)


@dataclass(frozen=True, slots=True)
class _Connect:
    leg: int
    remote: Address | None
    remote_rtcp: Address | None
    rtcp_mux: bool
    terms: Terms | None
    learned: Learned | None


@dataclass(frozen=True, slots=True)
class _Secure:
    leg: int
    keys: Secret | None


@dataclass(frozen=True, slots=True)
class _Release:
    leg: int


Item = Command | _Connect | _Secure | _Release


class MediaLoop:
    """An engine and its I/O, moved on beat by beat.

    `submit`, `secure`, `connect` and `release` queue, and may be called from another thread.
    """

    def __init__(self, engine: Engine, io: LearningIO) -> None:
        self.engine = engine
        self.secured = SecureIO(io)
        self.io = LatchingIO(self.secured, io)
        self._network = io
        self._read_at = 0  # the beat that has read last
        self.writer: BlockSink | None = None
        self.beats = 0
        self.late_beats = 0
        self.failed_beats = 0
        self.skipped_frames = 0
        self.lateness = [0] * (len(LATENESS_MS) + 1)
        self._queue: deque[Item] = deque()

    # --------------------------------------------------------------------------- from outside

    def submit(self, command: Command) -> None:
        """Queue a command for the next beat."""
        self._queue.append(command)

    def connect(
        self,
        leg: int,
        remote: Address | None,
        remote_rtcp: Address | None,
        rtcp_mux: bool,
        terms: Terms | None = None,
        learned: Learned | None = None,
    ) -> None:
        """Queue a connection, in order with the commands."""
        self._queue.append(_Connect(leg, remote, remote_rtcp, rtcp_mux, terms, learned))

    def secure(self, leg: int, keys: Secret | None) -> None:
        """Queue a leg's keys, in order with the commands."""
        self._queue.append(_Secure(leg, keys))

    def release(self, leg: int) -> None:
        """Queue the end of a leg's ports, in order with the commands."""
        self._queue.append(_Release(leg))

    # ---------------------------------------------------------------------------------- beats

    def beat(self) -> list[MixerEvent]:
        """Do everything of one beat; return its events."""
        queue, engine, io = self._queue, self.engine, self.io
        io.begin(engine.sample, engine.sample / CLOCK_HZ)
        for _ in range(len(queue)):
            self._do(queue.popleft())
        if self._has_to_read():
            self._read_at = engine.beat
            self._read()
        for row, number in io.take_refused():
            engine.rows.dropped[row] += number
        for row in io.send(engine.tick()):
            engine.send_failed(row)
        self.beats += 1
        writer = self.writer
        for block in engine.take_blocks():
            if writer is not None:
                writer.put_block(block)
        events = [*io.take_events(), *engine.take_events()]
        for event in events:
            if isinstance(event, LegClosed):
                io.release(event.leg)
        return events

    def finish(self) -> list[MixerEvent]:
        """Close every leg, with its RTCP BYE, and do the beats that this takes."""
        for leg in self.engine.legs():
            self.submit(CloseLeg(leg))
        return [event for _ in range(2 * self.engine.phases) for event in self.beat()]

    @property
    def rests(self) -> bool:
        """True when the next beat has nothing to do, to read or to mix: it may be done early."""
        return not self._queue and not self._has_to_read()

    def _has_to_read(self) -> bool:
        """Tell whether to read what has come: where nobody is mixed now, the next beat may do."""
        engine = self.engine
        if engine.inbox.due is None or not (engine.rests and self._network.tells_time):
            return True
        return engine.beat - self._read_at >= engine.phases

    def _read(self) -> None:
        inbox = self.engine.inbox
        for _ in range(MAX_READS):
            inbox.more = True
            count = self.io.receive(inbox)
            if count:
                self.engine.receive(count)
            if not inbox.more:  # where all that came was refused, more may wait behind it
                break

    def count_lateness(self, seconds: float) -> None:
        """Count how late a beat began."""
        late_ms = seconds * 1000
        bucket = 0
        while bucket < len(LATENESS_MS) and late_ms > LATENESS_MS[bucket]:
            bucket += 1
        self.lateness[bucket] += 1

    def snapshot(self) -> dict[str, Any]:
        """Return the engine's counts and the host's."""
        bounds = [f"<={bound:g}" for bound in LATENESS_MS] + [f">{LATENESS_MS[-1]:g}"]
        return {
            **self.engine.snapshot(),
            "ticks": self.beats,
            "late_ticks": self.late_beats,
            "failed_ticks": self.failed_beats,
            "skipped_frames": self.skipped_frames,
            "srtp": self.secured.counts.as_dict(),
            "latching": self.io.counts.as_dict(),
            "checks": self.secured.checked.counts.as_dict(),
            "lateness_ms": dict(zip(bounds, self.lateness, strict=True)),
        }

    def _do(self, item: Item) -> None:
        if isinstance(item, _Connect):
            self.io.connect(
                item.leg,
                item.remote,
                item.remote_rtcp,
                item.rtcp_mux,
                item.terms,
                item.learned,
            )
        elif isinstance(item, _Secure):
            self.io.secure(item.leg, item.keys)
        elif isinstance(item, _Release):
            self.io.release(item.leg)
        else:
            self.engine.submit(item)
            if isinstance(item, OpenLeg | AdoptLeg):
                row = self.engine.row_of(item.leg)
                if row is not None:
                    self.io.attach(item.leg, row)


OnEvent = Callable[[MixerEvent], None]
