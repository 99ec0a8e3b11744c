"""What a capture in the making has on disk: its keys, its manifest, one segment after the other.

The order that crash safety rests on: keys on disk, then the manifest that names the tracks, then
the segment file, and only then the first packet.  A step that the disk refuses is tried again from
where it stopped; until then nothing is appended, and the capture counts what it can't keep.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from .clock import CaptureClock
from .facts import FactQueue, encode_facts
from .legs import RecordedLeg
from .manifest import Manifest
from .policy import CapturePolicy
from .segment import SegmentEntry, SegmentFile, segment_name
from .signing import SigningKey
from .track import CLOCK_HZ, Track, TrackWriter
from .vault import KeyVault


class SegmentSeries:
    """The segment in force, and the way from one to the next.

    Parameters
    ----------
    directory
        Exists, and is the capture's own.
    manifest
        Saved ahead of every segment; its ``end_sample`` is the first one after the last frame.
    vault
        Makes the keys, and has them on disk before they are used.
    legs
        By seat, as the capture has them; each segment gives them new writers.
    events
        The track of the facts.
    facts
        Those that wait to be written.
    clock, wall_clock
        The capture's own, and seconds since the epoch for reports.

    Attributes
    ----------
    problem
        What the disk last said; None while it has refused nothing.
    is_ready
        Whether every leg has keys on disk and a file to write to.
    """

    def __init__(
        self,
        directory: Path,
        manifest: Manifest,
        vault: KeyVault,
        policy: CapturePolicy,
        *,
        legs: Mapping[int, RecordedLeg],
        events: Track,
        facts: FactQueue,
        clock: CaptureClock,
        wall_clock: Callable[[], float],
    ) -> None:
        self.problem: str | None = None
        self.is_ready = False
        self._directory = directory
        self._manifest = manifest
        self._vault = vault
        self._policy = policy
        self._legs = legs
        self._events = events
        self._facts = facts
        self._clock = clock
        self._wall_clock = wall_clock
        self._file: SegmentFile | None = None
        self._number = 1
        self._ended = False  # the segment in force has its BYEs and waits for the disk
        self._writers: list[TrackWriter] = []  # of the segment in force
        self._events_writer: TrackWriter | None = None
        self._packets = 0  # of segments that are closed
        self._flush_due = self._sync_due = self._retry_due = 0.0  # seconds
        self._next_report = 0  # sample

    # ------------------------------------------------------------------------------ ready

    def make_ready(self) -> bool:
        """Give every leg keys and a writer, waiting for the disk; False when that refuses."""
        return self.is_ready or self._try(self.prepare)

    def prepare(self) -> None:
        """Do the steps in their order, each of which is passed over once it is done.

        Raises
        ------
        OSError
            The disk refused one; what was done before it stays done.
        """
        if self._ended:
            self._end()
            self._number += 1
            self._ended = False
        tracks = [self._events]
        for recorded in self._legs.values():
            tracks += recorded.tracks
        self._vault.provide(self._number, tracks)
        if self._entry() is None:
            first = self._manifest.end_sample
            entry = SegmentEntry(self._number, segment_name(self._number), first)
            self._manifest.segments.append(entry)
        self._manifest.save(self._directory)
        if self._file is None:
            self._file = SegmentFile(self._directory, self._number)
        if self._events_writer is None:
            self._events_writer = self._new_writer(self._events)
        for recorded in self._legs.values():
            recorded.open(self._new_writer)
        self.is_ready = True

    def _new_writer(self, track: Track) -> TrackWriter:
        writer = TrackWriter(track, self._vault.key(self._number, track))
        self._writers.append(writer)
        return writer

    def _entry(self) -> SegmentEntry | None:
        entries = self._manifest.segments
        return entries[-1] if entries and entries[-1].number == self._number else None

    # ----------------------------------------------------------------------------- records

    @property
    def packets(self) -> int:
        """Packets of all tracks so far, in all segments."""
        return self._packets + sum(writer.packets for writer in self._writers)

    def takes_records(self) -> bool:
        """Whether records may be appended; what a disk refused for long is tried again first."""
        if self._file is None or self._ended:
            return False
        if self._file.pending_bytes <= self._policy.pending_limit:
            return True
        return self._try(self._file.flush)

    def has_room(self, packets: int) -> bool:
        """Whether each track can take so many more before the disk has to be waited for."""
        longest = max([writer.packets for writer in self._writers], default=0)
        return (
            self._file is not None
            and self.is_ready
            and not self._ended
            and self._file.pending_bytes <= self._policy.pending_limit
            and longest + packets < self._policy.segment_packets
        )

    def append(self, record: bytes, at: int) -> None:
        """Take a record with its sample on the capture's clock; one without a file is dropped."""
        if self._file is not None:
            self._file.append(record, at)

    def extend(self, records: Iterable[tuple[int, bytes]]) -> None:
        """Take many, each after its sample, in the order of samples."""
        if self._file is not None:
            self._file.extend(records)

    def report(self, writers: Iterable[TrackWriter | None], *, bye: bool) -> None:
        """Say in RTCP how much these tracks have; ``bye``: and that this is all."""
        if self._file is None or self._ended:
            return
        moment, wall = self._clock.moment(self._manifest.end_sample), self._wall_clock()
        for writer in writers:
            if writer is not None and not writer.ended:
                self._file.append(writer.report(moment, wall, bye=bye), moment.sample)

    def _write_facts(self) -> None:
        file, writer = self._file, self._events_writer
        if file is None or writer is None or self._ended or not (facts := self._facts.take()):
            return
        moment = self._clock.moment(int(facts[0]["sample"]))
        for payload, last in encode_facts(facts):
            file.append(writer.fact(payload, moment, last=last), moment.sample)
        if writer.packets >= self._policy.segment_packets:
            self.rotate()

    # -------------------------------------------------------------------------- time, ends

    def tick(self, now: float, *, sync: bool) -> None:
        """Do what is due; see `Capture.tick`."""
        if not self.is_ready and now >= self._retry_due:
            self._retry_due = now + self._policy.flush_s
            self.make_ready()
        self._write_facts()
        end = self._manifest.end_sample
        if end >= self._next_report:
            self.report(self._writers, bye=False)
            self._next_report = end + round(self._policy.report_every_s * CLOCK_HZ)
        if self._file is None:
            return
        if now >= self._flush_due:
            self._flush_due = now + self._policy.flush_s
            self._try(self._file.flush)
        if sync and self.sync_is_due(now):
            self.sync(now)

    def sync_is_due(self, now: float) -> bool:
        """Whether what was written should be put on disk."""
        return self._file is not None and now >= self._sync_due

    def sync(self, now: float) -> None:
        """Put what was written on disk; it waits for that."""
        if self._file is not None:
            self._sync_due = now + self._policy.sync_s
            self._try(self._file.sync)

    def rotate(self) -> None:
        """End the segment in force and begin the next, with new keys."""
        self.is_ready = False
        if self._file is not None and not self._ended:
            self._write_facts()
            self.report(self._writers, bye=True)
            self._ended = True
        self.make_ready()

    def seal(self, signing_key: SigningKey | None) -> bool:
        """End the last segment and save the manifest; whether it is whole, and signed."""
        sealed = False
        if self._try(self._end):
            self._manifest.state = "closed" if signing_key is None else "sealed"
            # A segment that the disk never let begin has no file.
            self._manifest.segments = [s for s in self._manifest.segments if s.sha512 is not None]
            saved = self._try(lambda: self._manifest.save(self._directory, signing_key))
            sealed = saved and signing_key is not None
        if self._file is not None:
            self._file.close()
        if signing_key is None and self.problem is None:
            self.problem = "there is no signing key to seal it with"
        return sealed

    def _end(self) -> None:
        """Bring the segment in force to disk and into the manifest; may be tried again."""
        file, entry = self._file, self._entry()
        if file is None or entry is None:
            return
        if not self._ended:
            self._write_facts()
            self.report(self._writers, bye=True)
            self._ended = True
        file.flush()
        file.sync()
        file.close()
        entry.bytes = file.written
        entry.sha512 = file.sha512
        entry.counts = {w.track.name: (w.packets, w.octets) for w in self._writers}
        self._packets += sum(writer.packets for writer in self._writers)
        self._file = self._events_writer = None
        self._writers = []
        for recorded in self._legs.values():
            recorded.shut()

    def _try(self, step: Callable[[], object]) -> bool:
        try:
            step()
        except OSError as exc:
            # The error text of the system names no key and no audio.
            self.problem = exc.strerror or type(exc).__name__
            return False
        return True
