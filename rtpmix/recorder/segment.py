"""One segment file: whole records appended, hashed and put on disk in batches.

A failed or short write leaves the unwritten bytes pending, so that the file goes on exactly where
it stopped once the disk takes bytes again: a record is never torn by anything but a crash.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..beat_gate import step_aside
from .durable import OWNER_ONLY, sync_directory
from .pcap import FILE_HEADER

INDEX_ENTRY = struct.Struct(">qQ")  # sample, offset of the first record at or after it
_APPEND = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC


def segment_name(number: int) -> str:
    """Return the file name of a segment; the first is 1."""
    return f"{number:04d}.srtp.pcap"


def index_name(number: int) -> str:
    """Return the file name of a segment's derived index."""
    return f"{number:04d}.idx"


@dataclass(slots=True)
class SegmentEntry:
    """What the manifest says of one segment."""

    number: int
    file: str
    first_sample: int
    bytes: int = 0
    sha512: str | None = None  # None while it is being written
    torn_bytes: int = 0  # at its end, left by a crash
    counts: dict[str, tuple[int, int]] = field(default_factory=dict)  # track: packets, octets

    def to_json(self) -> dict[str, Any]:
        """Return the manifest's form."""
        return {
            "number": self.number,
            "file": self.file,
            "first_sample": self.first_sample,
            "bytes": self.bytes,
            "sha512": self.sha512,
            "torn_bytes": self.torn_bytes,
            "tracks": {
                name: {"packets": packets, "octets": octets}
                for name, (packets, octets) in self.counts.items()
            },
        }

    @classmethod
    def from_json(cls, entry: dict[str, Any]) -> SegmentEntry:
        """Read the manifest's form.

        Raises
        ------
        KeyError, ValueError, TypeError
            Not such an entry.
        """
        number = int(entry["number"])
        if entry["file"] != segment_name(number):  # a path that leads elsewhere
            raise ValueError("a segment's file is named by its number")
        return cls(
            number=number,
            file=segment_name(number),
            first_sample=int(entry["first_sample"]),
            bytes=int(entry["bytes"]),
            sha512=entry["sha512"],
            torn_bytes=int(entry.get("torn_bytes", 0)),
            counts={
                str(name): (int(count["packets"]), int(count["octets"]))
                for name, count in entry["tracks"].items()
            },
        )


class SegmentFile:
    """The file that a segment's records go to.

    Parameters
    ----------
    directory, number
        Where; the file must not exist.

    Raises
    ------
    OSError
        The disk refused.
    """

    def __init__(self, directory: Path, number: int) -> None:
        path = directory / segment_name(number)
        self._descriptor = os.open(path, _APPEND, OWNER_ONLY)
        # Tells `recover` that the capture is alive; it ends with the process, however that ends.
        fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self._index_path = directory / index_name(number)
        self._index: list[bytes] = []
        self._next_index = -(2**62)  # sample
        self._pending: list[bytes] = [FILE_HEADER]
        self.pending_bytes = len(FILE_HEADER)
        self.written = 0
        self._hash = hashlib.sha512()
        self._unsynced = True
        try:
            self.flush()
            sync_directory(directory)
        except OSError:
            os.close(self._descriptor)
            path.unlink(missing_ok=True)
            raise

    def append(self, record: bytes, sample: int) -> None:
        """Take one whole record; it is written by the next `flush`."""
        self.extend(((sample, record),))

    def extend(self, records: Iterable[tuple[int, bytes]]) -> None:
        """Take whole records, each with its sample."""
        keep = self._pending.append
        for sample, record in records:
            if sample >= self._next_index:
                self._next_index = sample - sample % 8000 + 8000
                self._index.append(INDEX_ENTRY.pack(sample, self.written + self.pending_bytes))
            keep(record)
            self.pending_bytes += len(record)

    def flush(self) -> None:
        """Write what is pending.

        Raises
        ------
        OSError
            The disk refused; what it did not take stays pending.
        """
        if not self._pending:
            return
        joined = b"".join(self._pending)
        data = memoryview(joined)
        taken = 0
        try:
            while taken < len(data):
                taken += os.write(self._descriptor, data[taken:])
        finally:
            self._hash.update(data[:taken])
            self.written += taken
            rest = joined[taken:]  # no copy when nothing was taken
            self._pending = [rest] if rest else []
            self.pending_bytes = len(rest)
            self._unsynced = self._unsynced or taken > 0

    def sync(self) -> None:
        """Put what was written on disk, and the index beside it.

        Raises
        ------
        OSError
            The disk refused.
        """
        if self._unsynced:
            os.fdatasync(self._descriptor)
            step_aside()
            self._unsynced = False
        if self._index:
            # Derived and disposable: not synced, and rebuilt by a scan when it is missing.
            with self._index_path.open("ab") as index:
                index.write(b"".join(self._index))
            self._index.clear()

    def close(self) -> None:
        """Let go of the file, whatever is still pending."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    @property
    def sha512(self) -> str:
        """The hash of all that was written, in hexadecimal digits."""
        return self._hash.hexdigest()
