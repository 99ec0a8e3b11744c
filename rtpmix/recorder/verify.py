"""Is this capture what was recorded?  Structure, hashes and seal without keys; all of it with them.

A cut at a record boundary passes every player unnoticed, and so does a manifest that somebody else
signed.  What catches them: the hash and the counts in the signed manifest, the signer compared with
a pinned key, and, with the keys, the authenticated counts of each track's SR and BYE.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

from ..errors import RecordingError
from ..rtp.rtcp import Goodbye, SenderReport
from .keys import KeysTamperedError, Recipients
from .manifest import MANIFEST, Manifest, load_manifest
from .pcap import Scan, scan
from .reader import Record, RecordReader, SessionKeys, map_segment
from .segment import SegmentEntry
from .signing import VerifyKey
from .track import CLOCK_HZ, Kind, Track
from .vault import open_vault

_MOST_REASONS = 20


class Verdict(Enum):
    """From best to worst."""

    SEALED = "sealed"  # complete and unchanged since it was sealed
    UNSEALED = "unsealed"  # nothing speaks against it, but nobody signed for it
    TRUNCATED = "truncated"  # the end of something is missing
    TAMPERED = "tampered"  # something is not as it was written


@dataclass(slots=True)
class TrackFindings:
    """What was found of one track, in all segments."""

    track: Track
    packets: int = 0
    octets: int = 0
    reports: int = 0  # sender reports that authenticated
    byes: int = 0
    first_sample: int | None = None
    end_sample: int = 0
    gaps: int = 0  # jumps of the timestamp between two packets


@dataclass(slots=True)
class Report:
    """The outcome of `verify`."""

    path: Path
    verdict: Verdict = Verdict.SEALED
    reasons: list[str] = field(default_factory=list)  # why it is not SEALED
    notes: list[str] = field(default_factory=list)  # what else a reader should know
    tracks: list[TrackFindings] = field(default_factory=list)
    with_keys: bool = False  # every packet was authenticated
    signed_by: str | None = None  # thumbprint
    pinned: bool | None = None  # whether the signer is one that we trust; None: nothing to compare
    recovered: bool = False
    gaps: list[dict[str, Any]] = field(default_factory=list)  # that the recorder itself declared
    duration_s: float = 0.0

    def blame(self, verdict: Verdict, reason: str) -> None:
        """Make the verdict at least this bad."""
        order = list(Verdict)
        if order.index(verdict) > order.index(self.verdict):
            self.verdict = verdict
        if len(self.reasons) < _MOST_REASONS:
            self.reasons.append(reason)
        elif len(self.reasons) == _MOST_REASONS:
            self.reasons.append("and more")

    @property
    def lines(self) -> list[str]:
        """The report as text, the verdict first."""
        word = self.verdict.name + (" (recovered)" if self.recovered else "")
        checked = "every packet authenticated" if self.with_keys else "checked without keys"
        text = [f"{word}: {self.path}, {self.duration_s:.1f} s, {checked}"]
        text += [f"  because {reason}" for reason in self.reasons]
        text += [f"  note: {note}" for note in self.notes]
        for found in self.tracks:
            text.append(
                f"  {found.track.name}: {found.packets} packets, {found.octets} octets, "
                f"{found.gaps} jump(s), {found.reports} report(s), {found.byes} BYE"
            )
        for gap in self.gaps:
            text.append(
                f"  gap ({gap.get('why')}): {gap.get('frames')} frames lost from sample "
                f"{gap.get('sample')} to {gap.get('end')}"
            )
        return text


def verify(
    path: Path, keys: Recipients | None = None, *, trusted: tuple[VerifyKey, ...] = ()
) -> Report:
    """Judge a capture.

    Parameters
    ----------
    path
        Its directory.
    keys
        Opens the audio and names the signers that are ours. Without private keys (a pin file, or
        None) what needs no key is checked.
    trusted
        More signers to accept.

    Raises
    ------
    RecordingError
        Not a capture at all, or the keys are not for it.
    """
    report = Report(path)
    if not (path / MANIFEST).is_file():
        raise RecordingError(f"{path} is not a capture: it has no {MANIFEST}", path=path)
    try:
        manifest, signer = load_manifest(path)
    except RecordingError as exc:
        report.blame(Verdict.TAMPERED, str(exc))
        return report
    pins = trusted + (keys.trusted if keys is not None else ())
    _judge_seal(report, manifest, signer, pins)
    vault: SessionKeys | None = None
    if keys is not None and keys.can_read:
        try:
            vault = open_vault(path, keys, manifest.capture_id)
        except KeysTamperedError as exc:
            report.blame(Verdict.TAMPERED, str(exc))
    report.with_keys = vault is not None
    _Inspection(report, manifest, vault).run()
    return report


def _judge_seal(
    report: Report, manifest: Manifest, signer: VerifyKey | None, pins: tuple[VerifyKey, ...]
) -> None:
    report.duration_s = manifest.end_sample / CLOCK_HZ
    report.recovered = manifest.recovery is not None
    report.gaps = manifest.gaps
    if manifest.recovery is not None:
        report.notes.append(str(manifest.recovery.get("lost", "recovered after a crash")))
    if signer is None:
        report.blame(Verdict.UNSEALED, f"the manifest is not signed (state: {manifest.state})")
        return
    report.signed_by = signer.thumbprint
    if not pins:
        report.notes.append(f"signed by {signer.thumbprint}, which no pinned key confirms")
        return
    report.pinned = any(pin.thumbprint == signer.thumbprint for pin in pins)
    if not report.pinned:
        report.blame(
            Verdict.TAMPERED,
            f"signed by {signer.thumbprint}, which is not the recorder's pinned key",
        )


class _Inspection:
    """One pass over all segments."""

    def __init__(self, report: Report, manifest: Manifest, vault: SessionKeys | None) -> None:
        self._report = report
        self._manifest = manifest
        self._reader = RecordReader(manifest, vault)
        self._found = {track.ssrc: TrackFindings(track) for track in manifest.tracks}
        # Of the segment in hand, by track name:
        self._counts: dict[str, tuple[int, int]] = {}
        self._ended: set[str] = set()

    def run(self) -> None:
        path = self._report.path
        for entry in self._manifest.segments:
            try:
                data = map_segment(path, entry)
            except RecordingError:
                self._blame(Verdict.TRUNCATED, f"{entry.file} is missing")
                continue
            self._inspect_segment(entry, data)
        listed = {entry.file for entry in self._manifest.segments}
        for stray in sorted(path.glob("*.srtp.pcap")):
            if stray.name not in listed:
                self._blame(Verdict.TAMPERED, f"{stray.name} is not in the manifest")
        self._report.tracks = list(self._found.values())
        ends = [found.end_sample for found in self._found.values()]
        if self._report.signed_by is None:
            self._report.duration_s = max(ends, default=0) / CLOCK_HZ

    def _blame(self, verdict: Verdict, reason: str) -> None:
        self._report.blame(verdict, reason)

    def _inspect_segment(self, entry: SegmentEntry, data: memoryview) -> None:
        self._counts, self._ended = {}, set()
        progress = Scan()
        try:
            for datagram in scan(data, progress):
                self._inspect(entry, self._reader.read(entry.number, datagram))
        except RecordingError as exc:
            self._judge_broken(entry, str(exc))
            if entry.torn_bytes:
                progress.torn = len(data) - progress.whole
        if entry.sha512 is None:
            if progress.torn:
                self._report.notes.append(
                    f"{entry.file} ends inside a record: a crash, or it is being written"
                )
            return
        self._judge_hash(entry, data)
        self._judge_counts(entry)

    def _judge_broken(self, entry: SegmentEntry, reason: str) -> None:
        # What a power cut leaves after the last whole record was declared at the recovery.
        if not entry.torn_bytes:
            self._blame(Verdict.TAMPERED, f"{entry.file}: {reason}")

    def _judge_hash(self, entry: SegmentEntry, data: memoryview) -> None:
        size = len(data)
        if size < entry.bytes:
            self._blame(
                Verdict.TRUNCATED, f"{entry.file} has {size} bytes of {entry.bytes} when closed"
            )
        elif size > entry.bytes:
            self._blame(Verdict.TAMPERED, f"{entry.file} grew from {entry.bytes} bytes to {size}")
        elif hashlib.sha512(data).hexdigest() != entry.sha512:
            self._blame(Verdict.TAMPERED, f"the SHA-512 of {entry.file} is not the manifest's")

    def _judge_counts(self, entry: SegmentEntry) -> None:
        for name in sorted({*entry.counts, *self._counts}):
            declared = entry.counts.get(name, (0, 0))
            found = self._counts.get(name, (0, 0))
            if declared != found:
                worse = found[0] > declared[0] or found[1] > declared[1]
                self._blame(
                    Verdict.TAMPERED if worse else Verdict.TRUNCATED,
                    f"{entry.file}: {name} has {found[0]} packets, {declared[0]} were recorded",
                )
        is_last = entry.number == self._manifest.segments[-1].number
        crashed = self._report.recovered and is_last
        if self._report.with_keys and not crashed:
            for name in sorted(set(entry.counts) - self._ended):
                self._blame(Verdict.TRUNCATED, f"{entry.file}: {name} has no BYE")

    def _inspect(self, entry: SegmentEntry, record: Record) -> None:
        where = f"{entry.file}, byte {record.offset}"
        if record.problem is not None or record.track is None:
            name = f" ({record.track.name})" if record.track is not None else ""
            self._blame(Verdict.TAMPERED, f"{where}{name}: {record.problem}")
            return
        name = record.track.name
        packets, octets = self._counts.get(name, (0, 0))
        if name in self._ended:
            self._blame(Verdict.TAMPERED, f"{where}: {name} goes on after its BYE")
        if record.packet is None:
            self._counts.setdefault(name, (0, 0))
            self._inspect_reports(where, record, packets, octets)
            return
        if record.packet.sequence_number != packets:
            self._blame(
                Verdict.TAMPERED,
                f"{where}: {name} jumps from packet {packets - 1} "
                f"to {record.packet.sequence_number}",
            )
            packets = record.packet.sequence_number  # told once
        self._counts[name] = (packets + 1, octets + record.octets)
        self._note_packet(self._found[record.track.ssrc], record)

    def _note_packet(self, found: TrackFindings, record: Record) -> None:
        found.packets += 1
        found.octets += record.octets
        if found.track.kind is Kind.EVENTS:
            return
        if found.first_sample is None:
            found.first_sample = record.sample
        elif record.sample != found.end_sample:
            found.gaps += 1
        found.end_sample = record.sample + found.track.duration(record.octets)

    def _inspect_reports(self, where: str, record: Record, packets: int, octets: int) -> None:
        if record.track is None or record.reports is None:
            return
        found = self._found[record.track.ssrc]
        for report in record.reports:
            if isinstance(report, SenderReport):
                found.reports += 1
                if (report.packet_count, report.octet_count) != (packets, octets & 0xFFFFFFFF):
                    self._blame(
                        Verdict.TAMPERED,
                        f"{where}: {record.track.name} reports {report.packet_count} packets, "
                        f"{packets} are here",
                    )
            elif isinstance(report, Goodbye):
                found.byes += 1
                self._ended.add(record.track.name)
