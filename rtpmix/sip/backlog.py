"""New calls that wait to be read, and what becomes of them when there are too many.

Theory of operation
-------------------
Whatever belongs to a call or a transaction that is there is read at once; only INVITEs of new
calls wait here, in the order of arrival. So a server that has too much to do serves the calls that
it has let in, and the waiting time of the others tells exactly how much too much it is.

A burst is not an overload. How long the queue is tells little: what tells is a queue that does not
become empty. As long as it did within the last `STANDING_S`, everybody is let in, however long it
takes. When it did not, who has waited longer than `TARGET_S` is refused, so that the others are
answered before they ask again, and the server does nothing in vain. That ends when nobody had to
be refused for `RECOVERED_S`; a queue that refusals have emptied proves nothing. There is nothing
to tune to the speed of a machine: as many are let in as it can serve.

References
----------
RFC 8289 (the delay of a standing queue as the sign of too much); RFC 6357 (overload in SIP);
RFC 3261 section 17.1.1.2 (a caller asks again after 0.5 s)
"""

from __future__ import annotations

from collections import deque
from typing import Final, NamedTuple

from .flow import Address

STANDING_S: Final = 2.0  # a queue that was not empty for so long is an overload
RECOVERED_S: Final = 2.0  # nobody waited too long for so long: the overload is over
TARGET_S: Final = 0.1  # the longest wait under overload: far below T1, when callers ask again
MOST_WAITING: Final = 4096  # messages
MOST_OCTETS: Final = 8 * 1024 * 1024


class Waiting(NamedTuple):
    """An INVITE that waits to be read."""

    since: float
    data: bytes
    source: Address
    local: Address


class Backlog:
    """The queue of new calls of one server. Pure: the time is an argument."""

    def __init__(self) -> None:
        self._queue: deque[Waiting] = deque()
        self._copies: set[tuple[Address, bytes]] = set()
        self._octets = 0
        self._behind_since = 0.0  # since when the queue has not been empty, while it is not
        self._overloaded_until = -1.0
        self.repeated = 0  # copies of what waits here already
        self.dropped = 0  # there was no room
        self.unanswered = 0  # refused without a word, for want of time
        self.late = 0  # waited for too long under overload
        self.read = 0
        self.longest_wait_s = 0.0

    def __len__(self) -> int:
        return len(self._queue)

    def add(self, data: bytes, source: Address, local: Address, now: float) -> None:
        """Take one INVITE; a copy of one that waits here already is not taken again."""
        copy = (source, data)
        if copy in self._copies:
            self.repeated += 1
            return
        queue = self._queue
        if len(queue) >= MOST_WAITING or self._octets + len(data) > MOST_OCTETS:
            self.dropped += 1
            return
        if not queue:
            self._behind_since = now
        queue.append(Waiting(now, data, source, local))
        self._copies.add(copy)
        self._octets += len(data)

    def next(self, now: float) -> tuple[Waiting, bool] | None:
        """Return who has waited longest, and whether that was too long; None when nobody waits."""
        queue = self._queue
        if not queue:
            return None
        waited = now - queue[0].since
        late = waited > TARGET_S and self.is_overloaded(now)
        waiting = queue.popleft()
        self._copies.discard((waiting.source, waiting.data))
        self._octets -= len(waiting.data)
        if late:
            self.late += 1
            self._overloaded_until = now + RECOVERED_S
        else:
            self.read += 1
            self.longest_wait_s = max(self.longest_wait_s, waited)
        return waiting, late

    def is_overloaded(self, now: float) -> bool:
        """Tell whether whoever waits for too long is refused."""
        standing = bool(self._queue) and now - self._behind_since > STANDING_S
        return standing or now < self._overloaded_until

    def snapshot(self) -> dict[str, float]:
        """Count what was let in and what was not."""
        return {
            "waiting": len(self._queue),
            "read": self.read,
            "longest_wait_ms": round(1000 * self.longest_wait_s, 1),
            "late_refused": self.late,
            "repeated_dropped": self.repeated,
            "unanswered": self.unanswered,
            "full_dropped": self.dropped,
        }
