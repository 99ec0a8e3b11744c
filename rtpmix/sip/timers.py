"""Protocol timers: deadlines in a heap, no clock inside.

Every method that needs the time takes ``now``, in seconds on the caller's monotonic clock.
Nothing here reads a clock, so a test runs 32 seconds of retransmissions in microseconds.
"""

from __future__ import annotations

import enum
import heapq
from collections.abc import Iterator
from typing import Any, Protocol

T1 = 0.5  # seconds: round-trip estimate, RFC 3261 section 17.1.1.1
T2 = 4.0  # seconds: longest retransmission interval of a non-INVITE request
T4 = 5.0  # seconds: longest time a message stays in the network
SIXTY_FOUR_T1 = 64 * T1  # seconds: timers B, F, H, J, L and M, and the wait for an ACK

# A heap can't forget an entry in its middle. Stopped deadlines stay there until they surface, or
# until they outnumber the live ones by this many; then the heap is built again.
_SLACK = 64


class TimerOwner(Protocol):
    """Whoever is told that a deadline has come; compared by identity."""

    def timer_fired(self, name: Any, now: float) -> None:
        """React to ``name``, which is no longer armed."""


class Timers:
    """Deadlines keyed by ``(owner, name)``; starting one again replaces it.

    Memory is proportional to the deadlines that are armed now, whatever was started and stopped
    before, and every operation costs O(log n) on average.
    """

    __slots__ = ("_heap", "_live", "_serial")

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, TimerOwner, enum.Enum]] = []
        self._live: dict[tuple[TimerOwner, enum.Enum], int] = {}
        self._serial = 0

    def __len__(self) -> int:
        """How many deadlines are armed."""
        return len(self._live)

    @property
    def heap_size(self) -> int:
        """How many entries the heap holds, the stale ones with them."""
        return len(self._heap)

    def start(self, owner: TimerOwner, name: enum.Enum, at: float) -> None:
        """Arm ``name`` for ``owner`` at time ``at``."""
        self._serial += 1  # also keeps equal times in the order in which they were started
        self._live[owner, name] = self._serial
        heapq.heappush(self._heap, (at, self._serial, owner, name))
        if len(self._heap) > 2 * len(self._live) + _SLACK:
            self._rebuild()

    def stop(self, owner: TimerOwner, name: enum.Enum) -> None:
        """Disarm ``name`` for ``owner``; harmless when it is not armed."""
        self._live.pop((owner, name), None)

    def armed(self, owner: TimerOwner, name: enum.Enum) -> bool:
        """Tell whether ``name`` is armed for ``owner``."""
        return (owner, name) in self._live

    def next(self) -> float | None:
        """Return the earliest deadline, or None when nothing is armed."""
        heap, live = self._heap, self._live
        while heap:
            at, serial, owner, name = heap[0]
            if live.get((owner, name)) == serial:
                return at
            heapq.heappop(heap)
        return None

    def due(self, now: float) -> Iterator[tuple[TimerOwner, enum.Enum]]:
        """Yield and disarm, in order of time, every deadline at or before ``now``.

        What is started while this runs is yielded too if it is already due.
        """
        while (at := self.next()) is not None and at <= now:
            _, _, owner, name = heapq.heappop(self._heap)
            del self._live[owner, name]
            yield owner, name

    def _rebuild(self) -> None:
        live = self._live
        self._heap = [entry for entry in self._heap if live.get(entry[2:]) == entry[1]]
        heapq.heapify(self._heap)
