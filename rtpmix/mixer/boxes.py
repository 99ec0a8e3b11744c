"""Where datagrams cross the border of the engine: I/O fills an inbox and empties an outbox.

Both are preallocated and reused: in steady state a beat allocates nothing that lives on.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from .rows import HEADER

DATAGRAM = 2112  # octets kept of a datagram: 20 ms of L16 at 48 kHz, and any Ethernet frame


class Inbox:
    """Datagrams that arrived since the last beat, not yet looked at.

    The fast way in is for I/O that can read straight into a row of `views`::

        size = socket.recv_into(inbox.views[count])
        inbox.sizes[count], inbox.codes[count] = size, code

    and `Engine.receive(count)` afterwards. `put` is the simple way in.

    Attributes
    ----------
    data : (capacity, 2112) uint8 ndarray
        One datagram a row.
    heads : (capacity, 3) big-endian uint32 ndarray
        The first twelve octets of each, a view.
    views : list of memoryview
        The same rows, to read into.
    sizes : (capacity,) int list
        Octets in each row.
    codes : (capacity,) int list
        ``2 * leg row``, plus 1 when it came in on the leg's own RTCP port.
    due
        When this beat was due, in seconds of `time.monotonic`; None: the host has no such clock.
    stamps : (capacity,) float64 ndarray
        When each datagram came, on the same clock; NaN: when it was read.
    more
        Whether to read again in this beat. I/O that knows that nothing waits says so; each batch
        has a price of its own, and what comes while one is worked on has time until the next beat.
    """

    def __init__(self, capacity: int = 512) -> None:
        self.capacity = capacity
        self.data: NDArray[np.uint8] = np.zeros((capacity, DATAGRAM), np.uint8)
        self.heads: NDArray[np.uint32] = self.data[:, :HEADER].view(">u4")
        self.views = [memoryview(row) for row in self.data]
        self.sizes = [0] * capacity
        self.codes = [0] * capacity
        self.due: float | None = None
        self.stamps: NDArray[np.float64] = np.full(capacity, np.nan)
        self.count = 0  # used by `put` only
        self.more = True

    def put(self, row: int, datagram: bytes, *, rtcp: bool = False) -> bool:
        """Add one datagram; False, and nothing kept, when the inbox is full.

        The caller puts at most one datagram a row and kind before the engine has taken the batch.
        """
        if self.count == self.capacity:
            return False
        size = min(len(datagram), DATAGRAM)
        self.views[self.count][:size] = datagram[:size]
        self.sizes[self.count] = size
        self.codes[self.count] = 2 * row + rtcp
        self.count += 1
        return True


@dataclass(slots=True)
class Outbox:
    """What one beat sends.

    Attributes
    ----------
    phase, version
        ``(rows, views)`` of a phase are unchanged while its version is: a cache key for I/O that
        keeps a list of bound methods.
    rows : list of int
        The rows whose packet is due.
    views : list of memoryview
        The packet of each row, 172 octets; valid until the next beat of this phase.
    starts : (n,) uint64 ndarray or None
        Where in memory each of the views begins, where whoever made them knows it.
    extra : list of (row, packet, is RTCP)
        What does not fit the pattern: RFC 4733 events and RTCP.
    """

    phase: int = 0
    version: int = 0
    rows: list[int] = field(default_factory=list)
    views: list[memoryview] = field(default_factory=list)
    starts: NDArray[np.uint64] | None = None
    extra: list[tuple[int, bytes, bool]] = field(default_factory=list)
