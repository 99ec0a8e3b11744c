"""What a phase sends where some legs are encrypted, and how far those that are heard have come."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..mixer.boxes import Outbox
from ..rtp.srtp_batch import TRAILER, Boxes, Ciphers
from .dtls_stream import DtlsStream
from .srtp_stream import SecureCounts, SrtpStream

Stream = SrtpStream | DtlsStream


class SecurePlan:
    """The rows of one phase: packets in the clear as they lie, sealed ones in boxes of their own.

    A sealed packet is longer than its row in the engine. Its box has just its size, so that what is
    below sends it with the others, many in one system call.
    """

    def __init__(self, outbox: Outbox, version: int, secured: dict[int, Stream]) -> None:
        self.box = Outbox(phase=outbox.phase, version=version)
        self._spoilt = 0
        self._rows: list[int] = []  # of sealed packets, like the next two
        self._plain: list[memoryview] = []
        if secured.keys().isdisjoint(outbox.rows):
            self.box.rows, self.box.views = outbox.rows[:], outbox.views[:]
            self.box.starts = outbox.starts
            return
        streams: list[SrtpStream] = []
        for row, view in zip(outbox.rows, outbox.views, strict=True):
            stream = secured.get(row)
            if stream is None:
                self.box.rows.append(row)
                self.box.views.append(view)
                continue
            cipher = stream.cipher if isinstance(stream, DtlsStream) else stream
            if cipher is not None:  # else its handshake is not done: nothing may go out
                self._rows.append(row)
                self._plain.append(view)
                streams.append(cipher)
        self._ciphers = Ciphers([stream.sender for stream in streams])
        self._sizes = np.array([len(view) for view in self._plain], np.int32)
        self._size = int(self._sizes.max(initial=0))
        width = -(-(self._size + TRAILER) // 16) * 16
        self._boxes = Boxes(np.zeros((len(streams), width), np.uint8))
        self.box.rows += self._rows
        self.box.views += [
            memoryview(box)[: size + stream.growth]
            for box, size, stream in zip(
                self._boxes.data, self._sizes.tolist(), streams, strict=True
            )
        ]

    def seal(self, counts: SecureCounts) -> list[int]:
        """Protect every packet into its box; return the rows whose packet could not be."""
        if not self._rows:
            return []
        boxes, size = self._boxes, self._size
        if int(self._sizes.min()) == size:
            together = np.frombuffer(b"".join(self._plain), np.uint8)
            boxes.data[:, :size] = together.reshape(-1, size)
        else:
            for box, view in zip(boxes.data, self._plain, strict=True):
                box[: len(view)] = view
        boxes.lengths[:] = self._sizes
        failed = boxes.protect(self._ciphers)  # where the key is used up
        counts.protected += len(self._rows) - len(failed)
        counts.unsent += len(failed)
        return [self._rows[place] for place in failed]

    def without(self, failed: list[int]) -> Outbox:
        """Return the box without some rows, for one beat: in theirs lies no packet."""
        box = self.box
        kept = [each for each in zip(box.rows, box.views, strict=True) if each[0] not in failed]
        rows, views = [row for row, _ in kept], [view for _, view in kept]
        self._spoilt -= 1  # a version of its own: nothing below may remember it as another
        return Outbox(phase=box.phase, version=self._spoilt, rows=rows, views=views)


class HeardHeaders:
    """The header of the last packet that passed, by row: how far a stream is, for `position`."""

    def __init__(self) -> None:
        self._heads = np.zeros((64, 12), np.uint8)
        self._known = np.zeros(64, np.bool_)
        self._sources = np.zeros(64, np.uint32)  # in the order of octets on the wire

    def put(self, row: int, head: bytes) -> None:
        """Note one header, b"" for none."""
        more = row + 1 - self._known.size
        if more > 0:
            more = max(more, self._known.size)
            self._heads = np.pad(self._heads, ((0, more), (0, 0)))
            self._known = np.pad(self._known, (0, more))
            self._sources = np.pad(self._sources, (0, more))
        self._known[row] = bool(head)
        if head:
            self._heads[row] = np.frombuffer(head[:12], np.uint8)
            self._sources[row] = np.frombuffer(head[8:12], np.uint32)[0]

    def note(self, codes: list[int], heads: NDArray[np.uint8]) -> list[int]:
        """Note the headers of a batch; return the rows whose source is another than before."""
        rows = np.array(codes, np.int64) >> 1
        sources = heads[:, 8:].copy().view(np.uint32)[:, 0]
        others = (self._sources[rows] != sources) & self._known[rows]
        self._heads[rows] = heads
        self._sources[rows] = sources
        self._known[rows] = True
        return rows[others].tolist() if others.any() else []

    def get(self, row: int) -> bytes:
        """Return a row's header."""
        return self._heads[row].tobytes() if self._known[row] else b""
