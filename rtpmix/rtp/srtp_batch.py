"""Many SRTP packets with one step of Python: libsrtp called on them where they lie.

pylibsrtp takes one packet as ``bytes`` and returns another: three copies, an object for the length,
and an interpreter that is given up and asked for again, which together cost more than the cipher.
Here its functions are called through ctypes on rows of an array, one after the other from C, and
the interpreter is kept: a batch takes less than a millisecond. Sessions, keys and policies
are still made by pylibsrtp alone.

The addresses of its functions and contexts are the binding's own, which is why pyproject.toml
bounds its version, and `tests/rtp/test_srtp_batch.py` compares the results with pylibsrtp's.

References
----------
RFC 3711; ``srtp_protect`` and ``srtp_unprotect`` of libsrtp 2 (srtp.h)
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

import numpy as np
import pylibsrtp
from numpy.typing import NDArray
from pylibsrtp import _binding

from ..errors import SrtpError, UsageError
from .srtp import MAX_PACKET, SrtpSession, error_of

TRAILER = 16  # octets that a packet grows by at most: the tag of AES-GCM
LONGEST = 1500  # octets that pylibsrtp unprotects
_Function = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)


def _address(value: object) -> int:
    return int(_binding.ffi.cast("uintptr_t", value))


_protect = _Function(_address(_binding.ffi.addressof(_binding.lib, "srtp_protect")))
_unprotect = _Function(_address(_binding.ffi.addressof(_binding.lib, "srtp_unprotect")))


class Ciphers:
    """The sessions of a batch, in the order of its packets; kept alive as long as this is."""

    __slots__ = ("_sessions", "contexts")

    def __init__(self, sessions: Sequence[SrtpSession]) -> None:
        self._sessions = sessions
        self.contexts = [session.context for session in sessions]


class Boxes:
    """Packets in the rows of an array, to be protected and unprotected in their places.

    Parameters
    ----------
    data : (rows, octets) uint8 ndarray
        Rows without gaps within; kept.
    at
        Where in each row its packet begins.

    Attributes
    ----------
    lengths : (rows,) int32 ndarray
        Octets of each packet: written before a call, and changed by it.
    """

    def __init__(self, data: NDArray[np.uint8], at: int = 0) -> None:
        rows, octets = data.shape
        if data.dtype != np.uint8 or (data.size and data.strides[1] != 1) or at > octets:
            raise UsageError("packets lie in rows of octets, one after the other")
        self.data = data
        self.lengths = np.zeros(rows, np.int32)
        self._room = octets - at
        first, step = data.ctypes.data + at, data.strides[0]
        self._starts = list(range(first, first + rows * step, step)) if rows else []
        first = self.lengths.ctypes.data
        self._sizes = list(range(first, first + 4 * rows, 4))

    def protect(self, ciphers: Ciphers) -> list[int]:
        """Encrypt and authenticate the packets of all rows; return places that could not be.

        What lies in such a place is no packet: it is overwritten with zeros.

        Raises
        ------
        UsageError
            A packet that leaves no room in its row for what it grows by, or too long for libsrtp.
        """
        count = len(ciphers.contexts)
        longest = int(self.lengths[:count].max(initial=0))
        if count > len(self._starts) or longest > min(self._room - TRAILER, MAX_PACKET):
            raise UsageError(f"{count} packets of up to {longest} octets do not fit their rows")
        found = list(map(_protect, ciphers.contexts, self._starts, self._sizes))
        if not any(found):
            return []
        failed = [place for place, status in enumerate(found) if status]
        self.data[failed] = 0
        return failed

    def unprotect(self, ciphers: Ciphers, places: Sequence[int] | None = None) -> dict[int, int]:
        """Check and decrypt packets; return the statuses of those that did not pass.

        Parameters
        ----------
        ciphers
            One for each packet.
        places
            The rows of the packets; None: the first ones.

        Returns
        -------
        By row, for `refusal`; what lies in such a row, and its length, means nothing.

        Raises
        ------
        UsageError
            A length beyond its row, or more packets than rows.
        """
        starts, sizes, count = self._starts, self._sizes, len(ciphers.contexts)
        lengths = self.lengths[:count] if places is None else self.lengths[list(places)]
        longest = int(lengths.max(initial=0))
        if count > len(starts) or longest > self._room or int(lengths.min(initial=0)) < 0:
            raise UsageError(f"{count} packets of up to {longest} octets are not in these rows")
        if places is not None:
            starts, sizes = [starts[i] for i in places], [sizes[i] for i in places]
        found = list(map(_unprotect, ciphers.contexts, starts, sizes))
        if not any(found):
            return {}
        where = range(count) if places is None else places
        return {place: status for place, status in zip(where, found, strict=True) if status}


def refusal(status: int) -> SrtpError:
    """Return what a status of `Boxes.unprotect` means."""
    known = pylibsrtp.ERRORS
    return error_of(known[status] if 0 < status < len(known) else f"libsrtp status {status}")
