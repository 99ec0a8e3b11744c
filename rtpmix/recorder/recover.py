"""After a crash: find what is whole, declare what is not, and seal that.

The audio is never rewritten: torn bytes at the end of a segment stay where they are, and the
manifest says how many there are.  Power cuts may leave blocks of zeros or old data behind the last
synced record; they are torn bytes too.
"""

from __future__ import annotations

import fcntl
import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..errors import RecordingError
from .keys import Recipients
from .manifest import Manifest, load_manifest
from .pcap import Scan, scan
from .reader import RecordReader, SessionKeys, map_segment
from .segment import SegmentEntry
from .track import CLOCK_HZ, Kind
from .vault import open_vault


@dataclass(frozen=True, slots=True)
class Recovery:
    """What `recover` found and did."""

    path: Path
    packets: int
    duration_s: float  # up to the end of the last whole audio frame
    torn_bytes: int
    sealed: bool
    lines: tuple[str, ...]


def recover(
    path: Path, keys: Recipients | None = None, *, wall_clock: Callable[[], float] = time.time
) -> Recovery:
    """Seal what a crash left of a capture.

    Parameters
    ----------
    path
        The capture's directory.
    keys
        Signs the manifest, and authenticates the packets where they open it. Without a signing
        key the manifest is completed but not signed.

    Raises
    ------
    RecordingError
        Not a capture, sealed already, still being written, or not writable; a whole record that
        does not authenticate (that is no crash: see `verify`).
    """
    manifest, signer = load_manifest(path)
    if signer is not None:
        raise RecordingError(f"{path} is sealed ({manifest.state}): nothing to recover", path=path)
    vault: SessionKeys | None = None
    if keys is not None and keys.can_read:
        vault = open_vault(path, keys, manifest.capture_id)
    manifest.segments = [entry for entry in manifest.segments if (path / entry.file).exists()]
    reader = RecordReader(manifest, vault)
    end = 0
    for entry in manifest.segments:
        _refuse_if_alive(path / entry.file)
        end = max(end, _measure(path, entry, reader))
    manifest.end_sample = end
    return _seal(path, manifest, keys, wall_clock())


def _refuse_if_alive(file: Path) -> None:
    with file.open("rb") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as exc:
            raise RecordingError(f"{file.parent} is still being written", path=file) from exc


def _measure(path: Path, entry: SegmentEntry, reader: RecordReader) -> int:
    """Fill in a segment's entry; returns the sample after its last audio frame."""
    data = map_segment(path, entry)
    counts: dict[str, tuple[int, int]] = {}
    progress = Scan()
    end = 0
    try:
        for datagram in scan(data, progress):
            record = reader.read(entry.number, datagram)
            if record.problem is not None or record.track is None:
                raise _UntrustedError(
                    f"{entry.file}, byte {record.offset}: {record.problem}", path=path
                )
            packets, octets = counts.get(record.track.name, (0, 0))
            if record.packet is not None:
                packets, octets = packets + 1, octets + record.octets
                if record.track.kind is not Kind.EVENTS:
                    end = max(end, record.sample + record.track.duration(record.octets))
            counts[record.track.name] = (packets, octets)
    except _UntrustedError:
        raise
    except RecordingError:
        pass  # what follows the last whole record is torn: counted below, never rewritten
    entry.bytes = len(data)
    entry.torn_bytes = len(data) - progress.whole
    entry.sha512 = hashlib.sha512(data).hexdigest()
    entry.counts = counts
    return end


class _UntrustedError(RecordingError):
    """A whole record that is not ours: not what a crash leaves."""


def _seal(path: Path, manifest: Manifest, keys: Recipients | None, now: float) -> Recovery:
    torn = sum(entry.torn_bytes for entry in manifest.segments)
    duration = manifest.end_sample / CLOCK_HZ
    within = float(manifest.policies.get("written_within_s", 1.0))
    synced = float(manifest.policies.get("synced_within_s", 5.0))
    lost = (
        f"recovered: audio is whole up to {duration:.2f} s; after it, up to {within:g} s were lost "
        f"if the process died, up to {synced:g} s if the machine did; {torn} torn bytes"
    )
    manifest.state = "recovered"
    manifest.recovery = {
        "at": now, "end_sample": manifest.end_sample, "torn_bytes": torn, "lost": lost,
    }  # fmt: skip
    signing_key = None if keys is None else keys.signing_key
    try:
        manifest.save(path, signing_key)
    except OSError as exc:
        raise RecordingError(f"can't write {path}: {exc.strerror}", path=path) from exc
    packets = sum(count[0] for entry in manifest.segments for count in entry.counts.values())
    sealed = signing_key is not None
    seal = "sealed as recovered" if sealed else "not sealed: there is no signing key"
    return Recovery(path, packets, duration, torn, sealed, (lost, f"{packets} packets, {seal}"))
