"""Audio frames of many tracks, made into encrypted records together.

Theory of operation. A packet by itself costs nine microseconds of Python: its header, its
encryption, the checksum, the record around it; and more where a thousand tracks take turns, since
each finds nothing of its own in the processor's cache. So frames are taken in runs, the consecutive
ones of one track. The headers of all packets are written in columns, they are encrypted in their
places, a run's one after the other, and their checksums are summed in one step. What comes out is,
byte for byte, what `TrackWriter.audio` makes of one packet after the other
(tests/recorder/test_batch.py).

References
----------
RFC 3550 section 5.1; RFC 768 and RFC 1071 sections 1 and 2 (the checksum)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import chain
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..rtp.srtp_batch import TRAILER, Boxes, Ciphers
from .legs import FRAME_SAMPLES
from .pcap import CHECKSUM, OVERHEAD
from .track import Template, TrackWriter

# Where a payload is.
SPOKEN, HEARD = 0, 1
SPOKEN_16K, HEARD_16K, SPOKEN_48K, HEARD_48K = 2, 3, 4, 5
WIDE = {16000: (SPOKEN_16K, HEARD_16K), 48000: (SPOKEN_48K, HEARD_48K)}
PER_FRAME = {16000: 1, 48000: 2}  # packets: 20 ms of 48 kHz are more than an Ethernet frame carries
_OCTETS = 2 * FRAME_SAMPLES, FRAME_SAMPLES, 640, 640, 960, 960
_SAMPLES = (FRAME_SAMPLES,) * 4 + (FRAME_SAMPLES // 2,) * 2  # of the capture's clock
_SCALES = 1, 1, 2, 2, 6, 6  # `Track.scale`
_WORD = 8  # octets: rows are whole words, zero after their packet, to be summed
_TICK_US = 125  # of the capture's clock

_Shape = tuple[int, int, int]


class _Run(NamedTuple):
    """Frames of one track, one after the other, with the same contributors."""

    writer: TrackWriter
    template: Template
    payload_type: int
    sequence: int  # of the first packet
    expected: int  # the sample that would follow without a gap
    created_us: int  # sample 0, in microseconds since the epoch
    ats: list[int]  # samples on the capture's clock
    rows: list[int]  # of the payloads
    first: int  # its first record's number


class AudioBatch:
    """Records in the making: `add` runs, `make` them all, then take each record by its number.

    Attributes
    ----------
    frames
        How many records there will be.
    refused
        Packets that libsrtp did not take.
    """

    def __init__(self) -> None:
        self.frames = self.refused = 0
        self._groups: dict[_Shape, list[_Run]] = {}  # of records of one size
        self._records: list[bytes] = []

    def add(
        self,
        writer: TrackWriter,
        payload_type: int,
        csrcs: tuple[int, ...],
        source: int,
        rows: list[int],
        ats: list[int],
        created_us: int,
    ) -> range:
        """Count frames of a track, as `TrackWriter.audio` would one by one.

        Parameters
        ----------
        source, rows
            Their payloads: `SPOKEN`, `HEARD` or one of `WIDE`, and which rows of what `make` gets.
        ats
            Their samples on the capture's clock.
        created_us
            When sample 0 was, in microseconds since the epoch.

        Returns
        -------
        The numbers of their records.
        """
        template, sequence, expected = writer.place(ats, _SAMPLES[source], _OCTETS[source], csrcs)
        shape = source, len(template.head), template.trailer
        run = _Run(
            writer, template, payload_type, sequence, expected, created_us, ats, rows, self.frames
        )
        self._groups.setdefault(shape, []).append(run)
        self.frames += len(ats)
        return range(run.first, self.frames)

    def make(
        self,
        spoken: NDArray[np.uint8],
        heard: NDArray[np.uint8],
        pause: Callable[[], None] = lambda: None,
        wide: Mapping[int, NDArray[np.uint8]] | None = None,
    ) -> None:
        """Make all records.

        Parameters
        ----------
        spoken : (rows, 320) uint8 ndarray
            L16, big endian.
        heard : (rows, 160) uint8 ndarray
            G.711.
        pause
            Called between steps, for a thread that others wait for.
        wide : {source: (rows, octets) uint8 ndarray}
            L16 of higher rates, big endian: 640 octets of 16 kHz, 960 of 48 kHz.
        """
        payloads = {SPOKEN: spoken, HEARD: heard, **(wide or {})}
        self._records = [b""] * self.frames
        for shape, runs in self._groups.items():
            pause()
            data, failed = _make(runs, payloads[shape[0]], shape[0])
            pause()
            self.refused += len(failed)
            made, stride = data.tobytes(), data.shape[1]
            size = shape[1] + _OCTETS[shape[0]] + shape[2]
            starts = range(0, len(made), stride)
            records = [made[start : start + size] for start in starts]
            for place in failed:
                records[place] = b""
            place = 0
            for run in runs:
                count = len(run.ats)
                self._records[run.first : run.first + count] = records[place : place + count]
                place += count

    def record(self, number: int) -> bytes:
        """Return a record; b"" when libsrtp refused it, which its key's end alone makes it do."""
        return self._records[number]


def _make(
    runs: list[_Run], payloads: NDArray[np.uint8], source: int
) -> tuple[NDArray[np.uint8], list[int]]:
    """Return records in rows, and the places of those that are none."""
    counts = np.array([len(run.ats) for run in runs])
    first = np.cumsum(counts) - counts
    total, head, octets = int(counts.sum()), len(runs[0].template.head), payloads.shape[1]
    data = np.zeros((total, -(-(head + octets + TRAILER) // _WORD) * _WORD), np.uint8)
    heads = np.frombuffer(b"".join([run.template.head for run in runs]), np.uint8)
    data[:, :head] = np.repeat(heads.reshape(-1, head), counts, axis=0)
    ats = np.array([*chain.from_iterable([run.ats for run in runs])], np.int64)
    created = np.repeat([run.created_us for run in runs], counts)
    seconds, microseconds = np.divmod(created + ats * _TICK_US, 1_000_000)
    data[:, 0:4], data[:, 4:8] = _octets(seconds, "<u4"), _octets(microseconds, "<u4")
    # The RTP header (RFC 3550 section 5.1): marker and type, sequence number, timestamp.
    expected = np.empty(total, np.int64)
    expected[1:] = ats[:-1] + _SAMPLES[source]
    expected[first] = [run.expected for run in runs]
    types = np.repeat([run.payload_type for run in runs], counts)
    data[:, OVERHEAD + 1] = types | np.where(ats != expected, 0x80, 0)
    numbers = np.arange(total) + np.repeat([run.sequence for run in runs] - first, counts)
    data[:, OVERHEAD + 2 : OVERHEAD + 4] = _octets(numbers, ">u2")
    data[:, OVERHEAD + 4 : OVERHEAD + 8] = _octets(ats * _SCALES[source], ">u4")
    data[:, head : head + octets] = payloads[[*chain.from_iterable([run.rows for run in runs])]]
    boxes = Boxes(data, OVERHEAD)
    boxes.lengths[:] = head + octets - OVERHEAD
    sessions = chain.from_iterable([[run.writer.session] * len(run.ats) for run in runs])
    failed = boxes.protect(Ciphers([*sessions]))
    sums = np.repeat([run.template.checksum for run in runs], counts)
    data[:, CHECKSUM : CHECKSUM + 2] = _checksums(data, sums)
    return data, failed


def _octets(values: NDArray[np.int64], kind: str) -> NDArray[np.uint8]:
    """Return integers as columns of octets, cut to the width of `kind`."""
    exact = values.astype(kind)
    return exact.view(np.uint8).reshape(-1, exact.itemsize)


def _checksums(data: NDArray[np.uint8], sums: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Return the UDP checksum of each row, given the sum of all but its payload."""
    # The sum modulo 65535 may be taken in words of four octets and of the other byte order, and
    # is then itself in that order (RFC 1071 section 2, B and C).
    words = data[:, OVERHEAD:].view("<u4").sum(axis=1, dtype=np.uint64) % 0xFFFF
    total = words.astype("<u2").view(">u2").astype(np.int64) + sums
    return _octets(0xFFFF - total % 0xFFFF, ">u2")
