"""Numbers that nobody can guess, without asking the system for each.

A call draws some ten of them (tags, a branch, the identity of an RTP stream), and each system call
costs as much as reading a header.
"""

from __future__ import annotations

import os
import random

_POOL = 4096  # octets fetched at once


class PooledRandom(random.SystemRandom):
    """`random.SystemRandom` whose `getrandbits` fetches for many calls at once.

    Each octet of the system's is given out once. A forked child forgets what its parent holds.
    """

    def __init__(self) -> None:
        super().__init__()
        self._pool = b""
        self._at = 0
        os.register_at_fork(after_in_child=self._forget)

    def getrandbits(self, k: int, /) -> int:
        """Return ``k`` random bits."""
        octets = (k + 7) // 8
        if octets > _POOL or k < 0:
            return super().getrandbits(k)
        at = self._at
        if at + octets > len(self._pool):
            self._pool, at = os.urandom(_POOL), 0
        self._at = at + octets
        return int.from_bytes(self._pool[at : self._at], "big") >> (8 * octets - k)

    def _forget(self) -> None:
        self._pool, self._at = b"", 0
