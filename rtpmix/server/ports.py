"""Port pairs for RTP and RTCP: an even port and the odd one above it.

References
----------
RFC 3550 section 11
"""

from __future__ import annotations

from collections import deque

from ..errors import UsageError


class PortPairs:
    """The free pairs of a range, least recently used first.

    A port that was just given back is not given out at once: packets of the old call may still
    be on their way to it.
    """

    def __init__(self, ports: range) -> None:
        first, last = ports.start, ports.stop - 1
        if ports.step != 1 or not 1 <= first < last <= 65535:
            raise UsageError(f"RTP ports {ports}; give a range of at least two within 1 to 65535")
        self._free = deque(range(first + first % 2, last, 2))
        self.total = len(self._free)
        if not self.total:
            raise UsageError(f"RTP ports {ports} hold no even port with the odd one above it")

    @property
    def free(self) -> int:
        """How many pairs can be tried."""
        return len(self._free)

    def take(self) -> int | None:
        """Return the even port of a pair, or None when all are taken."""
        return self._free.popleft() if self._free else None

    def give_back(self, even: int) -> None:
        """Return a pair, the last one to be given out again."""
        self._free.append(even)
