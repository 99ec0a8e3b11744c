"""Memory in a process that carries calls: what the C library keeps, how often Python collects.

*The C library's allocator* is told to keep what the media thread frees and takes again each beat.

numpy's temporary arrays of a beat are some hundred kilobytes each. glibc gives memory of that size
back to the system when it is freed, so every beat would fault in the same pages again: measured,
more than half of the engine's time at 1,200 legs. With these settings it stays in the process.

*Python's garbage collector* looks at what exists again and again while calls are made. A call's
objects die without it; with the default thresholds each call costs 15 % more, and a full collection
stops every thread for as long as it takes to look at all objects.
"""

from __future__ import annotations

import ctypes
import gc
from contextlib import suppress

# From glibc's malloc.h; mallopt(3).
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
KEPT = 32 * 1024 * 1024  # octets at the end of a heap; also the largest that glibc allows here


def keep_freed_memory() -> bool:
    """Let the C library keep up to `KEPT` octets of freed memory; False where there is no such way.

    Holds for the whole process, from now on: glibc can't tell what was set before.
    """
    with suppress(AttributeError, OSError):
        libc = ctypes.CDLL(None)
        libc.gnu_get_libc_version  # noqa: B018  other libraries may take -1 for something else
        trim, mmap = (
            libc.mallopt(option, KEPT) for option in (_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD)
        )
        return bool(trim and mmap)
    return False


class RareCollections:
    """Fewer garbage collections from the first `begin` to the last `end` in the process.

    What exists at a `begin` is not collected until then.
    """

    # The first two decide how many objects a collection looks at while every thread stands still,
    # all three how rarely one looks at everything: once in ten million that were made.
    THRESHOLDS = (5_000, 2, 1_000)

    _users = 0
    _before = (700, 10, 10)
    _were_on = True

    def __init__(self) -> None:
        self._begun = False

    def begin(self) -> None:
        """Freeze what exists (`gc.freeze`), and collect the young more rarely."""
        if self._begun:
            return
        self._begun = True
        if not RareCollections._users:
            RareCollections._before = gc.get_threshold()
            RareCollections._were_on = gc.isenabled()
        RareCollections._users += 1
        gc.set_threshold(*self.THRESHOLDS)
        gc.collect()
        gc.freeze()

    @property
    def were_on(self) -> bool:
        """Whether there were any before the first `begin`; a later one may come in a beat."""
        return RareCollections._were_on

    def end(self) -> None:
        """Put back what was before, unless another has begun meanwhile."""
        if not self._begun:
            return
        self._begun = False
        RareCollections._users -= 1
        if not RareCollections._users:
            gc.set_threshold(*RareCollections._before)
            gc.unfreeze()
