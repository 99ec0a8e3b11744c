"""The writing side of one capture: legs, frames and facts in, sealed directory out.

Synchronous and without a clock: the caller says what time it is and calls `tick` often.  What the
disk refuses never raises out of here once the capture exists: it becomes a gap that is counted,
written into the capture as soon as the disk takes bytes again, and told at once.

Here is who is recorded and what of them; `SegmentSeries` is what of it is on disk, in which order.
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
from .facts import FactQueue
from .gaps import DISK, GapLog
from .keys import Recipients
from .legs import FRAME_SAMPLES, RecordedLeg
from .manifest import Manifest
from .policy import CapturePolicy
from .registry import Registry, ssrc_maker
from .runs import LegRun, facts_of
from .segment_series import SegmentSeries
from .summary import CaptureSummary
from .track import CLOCK_HZ, L16, PAYLOAD_TYPES, Kind
from .vault import KeyVault
from .wide_runs import take_wide


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
        self._policy = CapturePolicy() if policy is None else policy
        self._recipients = recipients
        self._legs: dict[int, RecordedLeg] = {}
        self._joined = False  # a leg has, whose keys are not on disk yet
        self._facts = FactQueue()
        new_ssrc = ssrc_maker(entropy)
        self._manifest = Manifest(
            conversation_id=conversation_id,
            capture_id=entropy(16).hex(),
            suite=self._policy.suite,
            created=wall_clock(),
            overflow_csrc=new_ssrc(),
            metadata=dict(metadata),
            policies=self._policy.to_json(),
            gaps=self.gaps.closed,
        )
        vault = KeyVault(
            directory,
            capture_id=self._manifest.capture_id,
            suite=self._policy.suite,
            recipients=recipients,
            entropy=entropy,
        )
        self._clock = CaptureClock(self._manifest, wall_clock)
        self._registry = Registry(self._manifest, new_ssrc, self._facts.put)
        self._series = SegmentSeries(
            directory,
            self._manifest,
            vault,
            self._policy,
            legs=self._legs,
            events=self._registry.add_track("events", Kind.EVENTS),
            facts=self._facts,
            clock=self._clock,
            wall_clock=wall_clock,
        )
        self._create()

    def _create(self) -> None:
        path = self.directory
        try:
            if not make_own_directory(path):
                raise RecordingError(
                    f"{path} is not empty: a capture needs a directory of its own", path=path
                )
            self._series.prepare()
        except OSError as exc:
            raise RecordingError(f"can't record to {path}: {exc.strerror}", path=path) from exc

    @property
    def problem(self) -> str | None:
        """What the disk last said, or why the capture is not sealed; None: nothing yet."""
        return self._series.problem

    # ------------------------------------------------------------------ what is recorded

    def add_leg(
        self, leg: int, name: str, role: str, codec: str, sample: int, rate_hz: int = CLOCK_HZ
    ) -> str:
        """Begin a leg's tracks; returns the name they have, made unique.

        Parameters
        ----------
        leg
            Its seat on the media host.
        codec
            "PCMU" or "PCMA": what it hears at first.
        sample
            On the media host's clock.
        rate_hz
            16000 or 48000: two tracks at that rate as well.
        """
        at = self._clock.place(sample)
        if rate_hz == CLOCK_HZ:
            recorded = RecordedLeg(*self._registry.add_leg(leg, name, role, codec))
        else:
            recorded = RecordedLeg(*self._registry.add_wide_leg(leg, name, role, codec, rate_hz))
        self._legs[leg], unique = recorded, recorded.name
        self._series.is_ready, self._joined = False, True
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
        self._series.report(recorded.writers, bye=True)

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
        wide: tuple[bytes, bytes] | None = None,
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
        wide
            The frame at the leg's higher rate, said and heard: int16 **big** endian.
        """
        recorded = self._legs.get(leg)
        if recorded is None:
            return
        if self._joined:
            self.get_ready()  # not in add_leg: legs that join together wait for the disk once
        at = self._clock.place(sample)
        speaker, hearer, series = recorded.spoken_writer, recorded.heard_writer, self._series
        if speaker is None or hearer is None or not series.takes_records():
            self.gaps.lose(DISK, at, at + FRAME_SAMPLES, 1)
            return
        if self.gaps.is_open:
            self._close_gap()
        moment = self._clock.moment(at)
        self._reach(at + FRAME_SAMPLES)
        series.append(speaker.audio(spoken, moment, L16, FRAME_SAMPLES), at)
        csrcs: tuple[int, ...] = ()
        fact = recorded.mark_spoken(at, present)
        if fact is not None:
            self._facts.put(fact)
        if heard is not None:
            csrcs = self._registry.csrcs(contributors, at)
            kind = PAYLOAD_TYPES[law]
            series.append(hearer.audio(heard, moment, kind, FRAME_SAMPLES, csrcs), at)
            fact = recorded.mark_heard(at, mixed)
            if fact is not None:
                self._facts.put(fact)
        if wide is not None and recorded.wide is not None:
            frames = wide[0], None if heard is None else wide[1]
            for record in recorded.wide.records(frames, self._clock.moment, at, csrcs):
                series.append(record, at)
        if recorded.packets > self._policy.segment_packets - recorded.most_a_frame:
            series.rotate()

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
        self._series.make_ready()

    def can_take_runs(self, frames: int) -> bool:
        """Whether so many frames of each leg can be taken together.

        Not where something is due between two of them: keys, a gap's end, a new segment.
        """
        most = max([recorded.most_a_frame for recorded in self._legs.values()], default=1)
        return not (self._joined or self.gaps.is_open) and self._series.has_room(frames * most)

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
        self._reach(ats[-1] + FRAME_SAMPLES)
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
        made += take_wide(recorded, run, ats, batch, self._registry.csrcs, begun)
        for fact in facts_of(run, recorded, ats):
            self._facts.put(fact)
        return made

    def resampled(self, leg: int, sample: int) -> None:
        """Note that a leg's codec has another rate than its tracks from this sample on."""
        recorded = self._legs.get(leg)
        fact = None if recorded is None else recorded.mark_resampled(self._clock.place(sample))
        if fact is not None:
            self._facts.put(fact)

    def put(self, records: Iterable[tuple[int, bytes]]) -> None:
        """Append records that were made, each with its sample, in the order of samples."""
        self._series.extend(records)

    def lose(self, leg: int, first: int, end: int, frames: int, why: str) -> None:
        """Count frames of a leg that never came here, between two samples of the media clock."""
        if leg in self._legs:
            self.gaps.lose(why, self._clock.place(first), self._clock.place(end), frames)

    @property
    def packets(self) -> int:
        """Packets of all tracks so far, in all segments."""
        return self._series.packets

    def _reach(self, end: int) -> None:
        self._manifest.end_sample = max(self._manifest.end_sample, end)

    def _close_gap(self) -> None:
        if (gap := self.gaps.close()) is not None:
            self._facts.put(gap)

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
        self._series.tick(now, sync=sync)

    def sync_is_due(self, now: float) -> bool:
        """Whether what was written should be put on disk."""
        return self._series.sync_is_due(now)

    def sync(self, now: float) -> None:
        """Put what was written on disk; it waits for that."""
        self._series.sync(now)

    def close(self) -> CaptureSummary:
        """End every track, put everything on disk, and seal it if there is a signing key.

        Never raises for what the disk does: the summary then says that it is not sealed, and why.
        """
        self._series.make_ready()
        end = self._manifest.end_sample
        for leg in list(self._legs):
            self.remove_leg(leg, end + self._clock.origin)
        self._close_gap()
        self._facts.put({"event": "closed", "sample": end, "lost_facts": self._facts.lost})
        sealed = self._series.seal(self._recipients.signing_key)
        return CaptureSummary(
            path=self.directory,
            packets=self.packets,
            duration_s=end / CLOCK_HZ,
            gaps=len(self.gaps.closed),
            sealed=sealed,
            lost_frames=self.gaps.lost_frames,
            problem=None if sealed else self.problem,
        )
