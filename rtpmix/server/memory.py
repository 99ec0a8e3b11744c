"""The C library's allocator, told to keep what the media thread frees and takes again each beat.

numpy's temporary arrays of a beat are some hundred kilobytes each. glibc gives memory of that size
back to the system when it is freed, so every beat would fault in the same pages again: measured,
more than half of the engine's time at 1,200 legs. With these settings it stays in the process.
"""

from __future__ import annotations

import ctypes
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
