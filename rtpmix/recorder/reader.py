"""Reading captures: records, decrypted where the keys are there, and what a capture is.

References
----------
RFC 3550 section 5.1, RFC 3711 sections 3.1 and 3.4 (what SRTP and SRTCP leave in clear)
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import RecordingError, RtpParseError, SrtpError
from ..rtp.packet import RtpPacket
from ..rtp.rtcp import Report, parse_compound
from ..rtp.srtp import MasterKey, SrtpSession, find_suite
from .facts import FactReader
from .keys import Recipients
from .manifest import MANIFEST, Manifest, load_manifest
from .pcap import Datagram, Scan, scan
from .segment import SegmentEntry
from .track import CLOCK_HZ, Kind, Track
from .vault import open_vault

SessionKeys = dict[tuple[int, int], MasterKey]


@dataclass(frozen=True, slots=True)
class Record:
    """One record of a segment: an RTP packet, or an RTCP compound, or what is wrong with it."""

    offset: int
    track: Track | None = None
    packet: RtpPacket | None = None  # its payload is still encrypted when there are no keys
    sample: int = 0  # of the packet, on the capture's clock
    octets: int = 0  # of payload
    reports: tuple[Report, ...] | None = None  # None: not RTCP, or no keys to read it
    is_rtcp: bool = False
    problem: str | None = None


class RecordReader:
    """Turns datagrams into records, through all segments of one capture in order.

    Parameters
    ----------
    manifest
        Names the tracks.
    keys
        From `open_vault`; None leaves everything encrypted.
    """

    def __init__(self, manifest: Manifest, keys: SessionKeys | None) -> None:
        self._tracks = {track.port: track for track in manifest.tracks}
        self._keys = keys
        self._tag = find_suite(manifest.suite).rtp_tag_length
        self._sessions: dict[tuple[int, int], SrtpSession] = {}
        self._last: dict[int, int] = {}  # SSRC: timestamp of its last packet, not wrapped
        self._latest = 0  # sample of the last packet of all

    def read(self, number: int, datagram: Datagram) -> Record:
        """Read one datagram of a segment; never raises for what is in it."""
        is_rtcp = bool(datagram.port & 1)
        track = self._tracks.get(datagram.port & ~1)
        if track is None:
            return Record(datagram.offset, problem="a packet on a port that no track has")
        try:
            if is_rtcp:
                return self._read_rtcp(number, track, datagram)
            return self._read_rtp(number, track, datagram)
        except (RtpParseError, SrtpError) as exc:
            return Record(datagram.offset, track, is_rtcp=is_rtcp, problem=str(exc))

    def _read_rtp(self, number: int, track: Track, datagram: Datagram) -> Record:
        packet = RtpPacket.parse(datagram.payload)
        if packet.ssrc != track.ssrc:
            return Record(datagram.offset, track, problem="a packet with another track's SSRC")
        octets = len(packet.payload) - self._tag
        if self._keys is not None:
            session = self._session(number, track)
            packet = RtpPacket.parse(session.unprotect(datagram.payload))
        # A track that begins late may have its first packet beyond half of the timestamps.
        last = self._last.get(track.ssrc, self._latest * track.scale)
        timestamp = last + ((packet.timestamp - last + (1 << 31)) & 0xFFFFFFFF) - (1 << 31)
        self._last[track.ssrc] = timestamp
        self._latest = sample = timestamp // track.scale
        return Record(datagram.offset, track, packet, sample, octets)

    def _read_rtcp(self, number: int, track: Track, datagram: Datagram) -> Record:
        # SRTCP leaves the first eight octets in clear.
        if int.from_bytes(datagram.payload[4:8], "big") != track.ssrc:
            return Record(datagram.offset, track, problem="a report with another track's SSRC")
        reports = None
        if self._keys is not None:
            compound = self._session(number, track).unprotect_rtcp(datagram.payload)
            reports = tuple(parse_compound(compound))
        return Record(datagram.offset, track, reports=reports, is_rtcp=True)

    def _session(self, number: int, track: Track) -> SrtpSession:
        place = (number, track.ssrc)
        if place not in self._sessions:
            if self._keys is None or place not in self._keys:
                raise SrtpError(f"keys.jwe has no key for {track.name} in segment {number}")
            self._sessions[place] = SrtpSession.receiver(self._keys[place], ssrc=track.ssrc)
        return self._sessions[place]


def map_segment(directory: Path, entry: SegmentEntry) -> memoryview:
    """Map a segment file into memory.

    Raises
    ------
    RecordingError
        It is missing or can't be read.
    """
    path = directory / entry.file
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            if size == 0:
                return memoryview(b"")
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except OSError as exc:
        raise RecordingError(f"can't read {path}: {exc.strerror}", path=path) from exc


def read_capture(
    path: Path, keys: Recipients, *, strict: bool = True
) -> tuple[Manifest, Iterator[Record]]:
    """Open a capture and read its packets, decrypted and authenticated, in the order written.

    Parameters
    ----------
    strict
        False passes over records that do not authenticate: audio is placed by timestamp, so the
        rest stays where it was.

    Raises
    ------
    RecordingError
        Not a capture, or not for these keys; while reading, a record that can't be trusted.
    """
    manifest, _ = load_manifest(path)
    vault = open_vault(path, keys, manifest.capture_id)
    return manifest, _records(path, manifest, vault, strict)


def _records(path: Path, manifest: Manifest, vault: SessionKeys, strict: bool) -> Iterator[Record]:
    reader = RecordReader(manifest, vault)
    for entry in manifest.segments:
        for datagram in scan(map_segment(path, entry), Scan()):
            record = reader.read(entry.number, datagram)
            if record.problem is None:
                yield record
            elif strict:
                raise RecordingError(
                    f"{entry.file}, byte {record.offset}: {record.problem}", path=path
                )


def read_facts(path: Path, keys: Recipients) -> list[dict[str, Any]]:
    """Return every fact of the `events` track, in the order written; samples from the start.

    Raises
    ------
    RecordingError
        As `read_capture`.
    """
    facts: list[dict[str, Any]] = []
    reader = FactReader()
    _, records = read_capture(path, keys)
    for record in records:
        packet = record.packet
        if packet is None or record.track is None or record.track.kind is not Kind.EVENTS:
            continue
        if packet.sequence_number == 0:  # a segment begins
            reader = FactReader()
        facts += reader.receive(packet.sequence_number, packet.marker, packet.payload)
    return facts


@dataclass(frozen=True, slots=True)
class CaptureInfo:
    """What a capture is, read without any key."""

    path: Path
    conversation_id: str
    state: str  # "recording", "closed", "sealed" or "recovered"
    created: float  # seconds since the epoch
    duration_s: float
    suite: str
    segments: int
    size: int  # bytes of all segments
    tracks: tuple[Track, ...]
    gaps: int
    signed_by: str | None  # thumbprint of the key that the manifest carries
    metadata: dict[str, Any]

    @property
    def lines(self) -> list[str]:
        """The same as text."""
        text = [
            f"conversation {self.conversation_id}, {self.state}, {self.duration_s:.1f} s, "
            f"{self.segments} segment(s), {self.size} bytes, {self.suite}, {self.gaps} gap(s)"
        ]
        for track in self.tracks:
            role = f" ({track.role})" if track.role else ""
            rate = "" if track.rate_hz == CLOCK_HZ else f" at {track.rate_hz} Hz"
            text.append(
                f"  {track.name}{role}: {track.codec}{rate}, SSRC {track.ssrc:#010x}, "
                f"port {track.port}"
            )
        text.append(f"  signed by {self.signed_by}" if self.signed_by else "  not signed")
        return text


def info(path: Path) -> CaptureInfo:
    """Describe a capture, without its keys and without checking its audio (see `verify`).

    Raises
    ------
    RecordingError
        Not a capture, or its manifest's signature is wrong.
    """
    manifest, signer = load_manifest(path)
    files = [path / entry.file for entry in manifest.segments]
    return CaptureInfo(
        path=path,
        conversation_id=manifest.conversation_id,
        state=manifest.state,
        created=manifest.created,
        duration_s=manifest.end_sample / CLOCK_HZ,
        suite=manifest.suite,
        segments=len(manifest.segments),
        size=sum(file.stat().st_size for file in files if file.exists()),
        tracks=tuple(manifest.tracks),
        gaps=len(manifest.gaps),
        signed_by=None if signer is None else signer.thumbprint,
        metadata=manifest.metadata,
    )


def list_captures(path: Path) -> list[CaptureInfo]:
    """Describe every readable capture in and below a directory, oldest first.

    Raises
    ------
    RecordingError
        The directory is not there.
    """
    if not path.is_dir():
        raise RecordingError(f"{path} is not a directory", path=path)
    found = []
    for manifest in path.rglob(MANIFEST):
        try:
            found.append(info(manifest.parent))
        except RecordingError:
            continue  # `verify` says what is wrong with it
    return sorted(found, key=lambda capture: (capture.created, capture.path))
