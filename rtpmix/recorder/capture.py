"""The writing side of one capture: legs, frames and facts in, sealed directory out.

Synchronous and without a clock: the caller says what time it is and calls `tick` often.  What the
disk refuses never raises out of here once the capture exists: it becomes a gap that is counted,
written into the capture as soon as the disk takes bytes again, and told at once.

The order that crash safety rests on: keys on disk, then the manifest that names the tracks, then
the segment file, and only then the first packet.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from operator import itemgetter
from pathlib import Path
from typing import Any

from ..errors import RecordingError
from .batch import HEARD, SPOKEN, AudioBatch
from .clock import CaptureClock
from .durable import make_own_directory
from .facts import FactQueue, encode_facts
from .gaps import DISK, GapLog
from .keys import Recipients
from .legs import FRAME_SAMPLES, RecordedLeg
from .manifest import Manifest
from .policy import CapturePolicy
from .registry import Registry, ssrc_maker
from .runs import LegRun, facts_of
from .segment import SegmentEntry, SegmentFile, segment_name
from .summary import CaptureSummary
from .track import CLOCK_HZ, L16, PAYLOAD_TYPES, Kind, Track, TrackWriter
from .vault import KeyVault


class Capture:
    """One capture that is being written.

    Parameters
    ----------
    directory
        Created; must not exist yet, or be empty.
    conversation_id
        What the manifest calls the conversation.
    recipients
        Who may read it; signs it too when they hold a signing key.
    metadata
        JSON values for the manifest, which is **not** encrypted.
    wall_clock
        Seconds since the epoch.
    tell
        Called with a fact when audio begins to be lost and when that ends.
    entropy
        Source of keys and identifiers; the system's but in tests.

    Raises
    ------
    RecordingError
        The directory is in use, or the disk refused.
    """

    def __init__(
        self,
        directory: Path,
        *,
        conversation_id: str,
        recipients: Recipients,
        metadata: Mapping[str, Any],
        wall_clock: Callable[[], float],
        policy: CapturePolicy | None = None,
        tell: Callable[[Mapping[str, Any]], None] = lambda fact: None,
        entropy: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self.directory, self.gaps = directory, GapLog(tell)
        self.problem: str | None = None  # what the disk last said
        self._policy = CapturePolicy() if policy is None else policy
        self._wall_clock = wall_clock
        self._recipients = recipients
        self._end = 0  # first sample after the last frame
        self._legs: dict[int, RecordedLeg] = {}
        self._facts = FactQueue()
        self._packets = 0  # of segments that are closed
        self._segment: SegmentFile | None = None
        self._number = 1
        self._ended = False  # the segment in force has its BYEs and waits for the disk
        self._ready = self._joined = False  # keys and file are there; a leg needs them
        self._flush_due = self._sync_due = self._retry_due = 0.0  # seconds
        self._next_report = 0  # sample
        self._all_writers: list[TrackWriter] = []
        new_ssrc = ssrc_maker(entropy)
        self._manifest = Manifest(
            conversation_id=conversation_id,
            capture_id=entropy(16).hex(),
            suite=self._policy.suite,
            created=wall_clock(),
            overflow_csrc=new_ssrc(),
            metadata=dict(metadata),
            policies=self._policy.to_json(),
        )
        self._vault = KeyVault(
            directory,
            capture_id=self._manifest.capture_id,
            suite=self._policy.suite,
            recipients=recipients,
            entropy=entropy,
        )
        self._clock = CaptureClock(self._manifest, wall_clock)
        self._registry = Registry(self._manifest, new_ssrc, self._facts.put)
        self._events = self._registry.add_track("events", Kind.EVENTS)
        self._events_writer: TrackWriter | None = None
        self._create()

    # ------------------------------------------------------------------ what is recorded

    def add_leg(self, leg: int, name: str, role: str, codec: str, sample: int) -> str:
        """Begin a leg's two tracks; returns the name they have, made unique.

        Parameters
        ----------
        leg
            Its seat on the media host.
        codec
            "PCMU" or "PCMA": what it hears at first.
        sample
            On the media host's clock.
        """
        at = self._clock.place(sample)
        unique, spoken, heard = self._registry.add_leg(leg, name, role, codec)
        self._legs[leg] = RecordedLeg(unique, spoken, heard)
        self._ready, self._joined = False, True
        named = {"leg": unique, "role": role, "seat": leg}
        self._facts.put({"event": "leg_added", "sample": at, **named})
        return unique

    def remove_leg(self, leg: int, sample: int) -> None:
        """End a leg's tracks; unknown legs are none of ours."""
        recorded = self._legs.pop(leg, None)
        if recorded is None:
            return
        at = self._clock.place(sample)
        for fact in recorded.finish():
            self._facts.put(fact)
        self._facts.put({"event": "leg_removed", "sample": at, "leg": recorded.name, "seat": leg})
        self._report([recorded.spoken_writer, recorded.heard_writer], bye=True)

    def event(self, sample: int, fact: Mapping[str, Any]) -> None:
        """Write a fact at a sample of the media host's clock."""
        self._facts.put({**fact, "sample": self._clock.place(sample)})

    def frame(
        self,
        leg: int,
        sample: int,
        *,
        spoken: bytes,
        present: bool,
        heard: bytes | None,
        law: str,
        mixed: bytes,
        contributors: tuple[int, ...],
    ) -> None:
        """Take one frame of one leg.

        Parameters
        ----------
        sample
            Its first sample on the media host's clock.
        spoken
            What the mixer consumed: 160 samples, int16 **big** endian.
        present
            False when the leg did not say it: concealed, or silence in place of nothing.
        heard, law
            The payload that was sent, or None when none was; and its codec.
        mixed
            What was encoded into `heard`: int16 **little** endian.
        contributors
            The seats that are in `mixed`.
        """
        recorded = self._legs.get(leg)
        if recorded is None:
            return
        if self._joined:
            self.get_ready()  # not in add_leg: legs that join together wait for the disk once
        at = self._clock.place(sample)
        segment, speaker, hearer = self._segment, recorded.spoken_writer, recorded.heard_writer
        if segment is None or speaker is None or hearer is None or self._is_blocked(segment):
            self.gaps.lose(DISK, at, at + FRAME_SAMPLES, 1)
            return
        if self.gaps.is_open:
            self._close_gap()
        moment = self._clock.moment(at)
        self._end = max(self._end, at + FRAME_SAMPLES)
        segment.append(speaker.audio(spoken, moment, L16, FRAME_SAMPLES), at)
        fact = recorded.mark_spoken(at, present)
        if fact is not None:
            self._facts.put(fact)
        if heard is not None:
            csrcs = self._registry.csrcs(contributors, at)
            kind = PAYLOAD_TYPES[law]
            segment.append(hearer.audio(heard, moment, kind, FRAME_SAMPLES, csrcs), at)
            fact = recorded.mark_heard(at, mixed)
            if fact is not None:
                self._facts.put(fact)
        if speaker.packets >= self._policy.segment_packets:
            self._rotate()

    @property
    def legs(self) -> tuple[int, ...]:
        """The seats of the legs that are recorded."""
        return tuple(self._legs)

    @property
    def awaits_disk(self) -> bool:
        """Whether a leg has joined whose keys have to be on disk before its first frame."""
        return self._joined

    def get_ready(self) -> None:
        """Put the keys of legs that have joined on disk; it waits for that."""
        self._joined = False
        self._make_ready()

    def can_take_runs(self, frames: int) -> bool:
        """Whether so many frames of each leg can be taken together.

        Not where something is due between two of them: keys, a gap's end, a new segment.
        """
        segment = self._segment
        return (
            segment is not None
            and self._ready
            and not (self._joined or self._ended or self.gaps.is_open)
            and segment.pending_bytes <= self._policy.pending_limit
            and self._longest() + frames < self._policy.segment_packets
        )

    def take_runs(
        self, runs: Iterable[tuple[int, LegRun]], batch: AudioBatch
    ) -> list[tuple[int, int]]:
        """Take frames of legs whose records a batch makes; `put` is to follow.

        Only where `can_take_runs` says so.

        Returns
        -------
        Of each record its sample on the capture's clock and its number in the batch.
        """
        runs = list(runs)
        heard = [each for _, run in runs for each in run.heard()]
        for sample, contributors in sorted(heard, key=itemgetter(0)):
            # Who is heard for the first time is noted with the first frame that has it.
            self._registry.csrcs(contributors, self._clock.place(sample))
        return [each for leg, run in runs for each in self._take_run(leg, run, batch)]

    def _take_run(self, leg: int, run: LegRun, batch: AudioBatch) -> list[tuple[int, int]]:
        recorded = self._legs.get(leg)
        if recorded is None or recorded.spoken_writer is None or recorded.heard_writer is None:
            return []
        first = self._clock.place(run.samples[0]) - run.samples[0]
        ats = [first + sample for sample in run.samples]
        self._end = max(self._end, ats[-1] + FRAME_SAMPLES)
        begun = self._clock.created_us
        numbers = batch.add(recorded.spoken_writer, L16, (), SPOKEN, run.rows, ats, begun)
        made = [*zip(ats, numbers, strict=True)]
        for (sent, law, contributors), part in run.parts:
            if sent:
                csrcs = self._registry.csrcs(contributors, ats[part][0])
                numbers = batch.add(
                    recorded.heard_writer, PAYLOAD_TYPES[law], csrcs,
                    HEARD, run.rows[part], ats[part], begun,
                )  # fmt: skip
                made += zip(ats[part], numbers, strict=True)
        for fact in facts_of(run, recorded, ats):
            self._facts.put(fact)
        return made

    def put(self, records: Iterable[tuple[int, bytes]]) -> None:
        """Append records that were made, each with its sample, in the order of samples."""
        if self._segment is not None:
            self._segment.extend(records)

    def lose(self, leg: int, first: int, end: int, frames: int, why: str) -> None:
        """Count frames of a leg that never came here, between two samples of the media clock."""
        if leg in self._legs:
            self.gaps.lose(why, self._clock.place(first), self._clock.place(end), frames)

    @property
    def packets(self) -> int:
        """Packets of all tracks so far, in all segments."""
        return self._packets + sum(writer.packets for writer in self._all_writers)

    # ------------------------------------------------------------------------- time, end

    def tick(self, now: float, *, sync: bool = True) -> None:
        """Do what is due: facts, reports, writing, syncing, and trying a disk again.

        Parameters
        ----------
        now
            Seconds of any clock that does not go back, the same one in every call.
        sync
            False: the caller sees to `sync_is_due` and `sync`.
        """
        if not self._ready and now >= self._retry_due:
            self._retry_due = now + self._policy.flush_s
            self._make_ready()
        self._write_facts()
        if self._end >= self._next_report:
            self._report(self._all_writers, bye=False)
            self._next_report = self._end + round(self._policy.report_every_s * CLOCK_HZ)
        segment = self._segment
        if segment is None:
            return
        if now >= self._flush_due:
            self._flush_due = now + self._policy.flush_s
            self._try(segment.flush)
        if sync and self.sync_is_due(now):
            self.sync(now)

    def sync_is_due(self, now: float) -> bool:
        """Whether what was written should be put on disk."""
        return self._segment is not None and now >= self._sync_due

    def sync(self, now: float) -> None:
        """Put what was written on disk; it waits for that."""
        if self._segment is not None:
            self._sync_due = now + self._policy.sync_s
            self._try(self._segment.sync)

    def close(self) -> CaptureSummary:
        """End every track, put everything on disk, and seal it if there is a signing key.

        Never raises for what the disk does: the summary then says that it is not sealed, and why.
        """
        self._make_ready()
        for leg in list(self._legs):
            self.remove_leg(leg, self._end + self._clock.origin)
        self._close_gap()
        self._facts.put({"event": "closed", "sample": self._end, "lost_facts": self._facts.lost})
        signing_key, sealed = self._recipients.signing_key, False
        if self._try(self._end_segment):
            self._manifest.state = "closed" if signing_key is None else "sealed"
            # A segment that the disk never let begin has no file.
            self._manifest.segments = [s for s in self._manifest.segments if s.sha512 is not None]
            sealed = self._try(lambda: self._save(signing_key)) and signing_key is not None
        if self._segment is not None:
            self._segment.close()
        if signing_key is None and self.problem is None:
            self.problem = "there is no signing key to seal it with"
        return CaptureSummary(
            path=self.directory,
            packets=self.packets,
            duration_s=self._end / CLOCK_HZ,
            gaps=len(self.gaps.closed),
            sealed=sealed,
            lost_frames=self.gaps.lost_frames,
            problem=None if sealed else self.problem,
        )

    # ------------------------------------------------------------------ keys and segments

    def _create(self) -> None:
        path = self.directory
        try:
            if not make_own_directory(path):
                raise RecordingError(
                    f"{path} is not empty: a capture needs a directory of its own", path=path
                )
            self._prepare()
        except OSError as exc:
            raise RecordingError(f"can't record to {path}: {exc.strerror}", path=path) from exc

    def _make_ready(self) -> None:
        if not self._ready:
            self._try(self._prepare)

    def _prepare(self) -> None:
        if self._ended:
            self._end_segment()
            self._number += 1
            self._ended = False
        tracks = [self._events]
        for recorded in self._legs.values():
            tracks += [recorded.spoken, recorded.heard]
        self._vault.provide(self._number, tracks)
        if self._current_entry() is None:
            entry = SegmentEntry(self._number, segment_name(self._number), self._end)
            self._manifest.segments.append(entry)
        self._save(None)
        if self._segment is None:
            self._segment = SegmentFile(self.directory, self._number)
        self._open_writers()
        self._ready = True

    def _open_writers(self) -> None:
        if self._events_writer is None:
            self._events_writer = self._new_writer(self._events)
        for recorded in self._legs.values():
            if recorded.spoken_writer is None:
                recorded.spoken_writer = self._new_writer(recorded.spoken)
            if recorded.heard_writer is None:
                recorded.heard_writer = self._new_writer(recorded.heard)

    def _rotate(self) -> None:
        self._ready = False
        if self._segment is not None and not self._ended:
            self._write_facts()
            self._report(self._all_writers, bye=True)
            self._ended = True
        self._make_ready()

    def _end_segment(self) -> None:
        """Bring the segment in force to disk and into the manifest; may be tried again."""
        segment, entry = self._segment, self._current_entry()
        if segment is None or entry is None:
            return
        if not self._ended:
            self._write_facts()
            self._report(self._all_writers, bye=True)
            self._ended = True
        segment.flush()
        segment.sync()
        segment.close()
        entry.bytes = segment.written
        entry.sha512 = segment.sha512
        entry.counts = {w.track.name: (w.packets, w.octets) for w in self._all_writers}
        self._packets += sum(writer.packets for writer in self._all_writers)
        self._segment = self._events_writer = None
        self._all_writers = []
        for recorded in self._legs.values():
            recorded.spoken_writer = recorded.heard_writer = None

    def _current_entry(self) -> SegmentEntry | None:
        entries = self._manifest.segments
        return entries[-1] if entries and entries[-1].number == self._number else None

    def _save(self, signing_key: Any) -> None:
        self._manifest.end_sample = self._end
        self._manifest.gaps = list(self.gaps.closed)
        self._manifest.save(self.directory, signing_key)

    # ------------------------------------------------------------------------------- disk

    def _try(self, step: Callable[[], object]) -> bool:
        try:
            step()
        except OSError as exc:
            # The error text of the system names no key and no audio.
            self.problem = exc.strerror or type(exc).__name__
            return False
        return True

    def _is_blocked(self, segment: SegmentFile) -> bool:
        if self._ended:
            return True
        if segment.pending_bytes <= self._policy.pending_limit:
            return False
        return not self._try(segment.flush)

    # -------------------------------------------------------------------- facts, reports

    def _write_facts(self) -> None:
        segment, writer = self._segment, self._events_writer
        if segment is None or writer is None or self._ended or not (facts := self._facts.take()):
            return
        moment = self._clock.moment(int(facts[0]["sample"]))
        for payload, last in encode_facts(facts):
            segment.append(writer.fact(payload, moment, last=last), moment.sample)
        if writer.packets >= self._policy.segment_packets:
            self._rotate()

    def _longest(self) -> int:
        """Return how many packets the longest track has."""
        return max([writer.packets for writer in self._all_writers], default=0)

    def _close_gap(self) -> None:
        if (gap := self.gaps.close()) is not None:
            self._facts.put(gap)

    def _report(self, writers: list[TrackWriter] | list[TrackWriter | None], bye: bool) -> None:
        if self._segment is None or self._ended:
            return
        moment, wall = self._clock.moment(self._end), self._wall_clock()
        for writer in writers:
            if writer is not None and not writer.ended:
                self._segment.append(writer.report(moment, wall, bye=bye), moment.sample)

    def _new_writer(self, track: Track) -> TrackWriter:
        writer = TrackWriter(track, self._vault.key(self._number, track))
        self._all_writers.append(writer)
        return writer
