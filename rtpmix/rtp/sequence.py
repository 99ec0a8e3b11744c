"""Numbers that wrap: RTP sequence numbers (16 bits) and timestamps (32 bits).

Everything here is arithmetic on integers modulo a power of two.  Floats have no place in it: a
timestamp that wraps makes an unwrapped float difference of 2**32 / 8000 Hz = 536,870 s.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import numpy.typing as npt

SEQUENCE_MODULUS = 1 << 16
TIMESTAMP_MODULUS = 1 << 32

# RFC 3550 appendix A.1.
MAX_DROPOUT = 3000  # packets ahead that are still the same stream: 1 minute at 50 a second
MAX_MISORDER = 100  # packets behind that are still the same stream: 2 seconds

Wrapped = TypeVar("Wrapped", int, npt.NDArray[np.int64])


def signed_difference(a: Wrapped, b: Wrapped, modulus: int = TIMESTAMP_MODULUS) -> Wrapped:
    """Return ``a - b`` on the circle: the one of least magnitude, in ``[-modulus/2, modulus/2)``.

    Takes ints, or int64 arrays element by element.
    """
    half = modulus >> 1
    return ((a - b + half) & (modulus - 1)) - half


def unwrap(value: int, reference: int, modulus: int = SEQUENCE_MODULUS) -> int:
    """Return the number nearest to ``reference`` that is ``value`` modulo ``modulus``."""
    return reference + signed_difference(value, reference & (modulus - 1), modulus)


class ExtendedSequence:
    """The sequence numbers of one source, extended by a count of their cycles.

    Parameters
    ----------
    min_sequential
        How many packets in a row make a source valid.  RFC 3550 gives 2 for an open session; 0
        fits a leg that hears one negotiated address only.

    References
    ----------
    RFC 3550 appendix A.1 (``init_seq`` and ``update_seq``)
    """

    __slots__ = ("_bad", "_min_sequential", "_probation", "base", "highest", "restarts", "started")

    def __init__(self, *, min_sequential: int = 0) -> None:
        self.base = 0  # extended number of the first packet that counted
        self.highest = 0  # the largest extended number so far
        self.started = False  # base and highest mean something
        self.restarts = 0  # times that the source jumped and was followed
        self._min_sequential = min_sequential
        self._probation = min_sequential
        self._bad: int | None = None  # what would confirm a jump

    def update(self, sequence_number: int) -> int | None:
        """Take the sequence number of a packet that arrived.

        Returns
        -------
        int or None
            Its extended number: above all others, between them, or equal to one (a duplicate).
            None when the packet is not to be counted: the source is on probation, or the number
            jumped and the next packet has yet to confirm it.  After a confirmed jump numbers
            begin again in the first cycle, as in the RFC, and `restarts` has moved.
        """
        if not self.started:
            return self._try_out(sequence_number)
        ahead = (sequence_number - self.highest) % SEQUENCE_MODULUS
        if ahead < MAX_DROPOUT:
            self.highest += ahead
            return self.highest
        if ahead <= SEQUENCE_MODULUS - MAX_MISORDER:
            if sequence_number != self._bad:
                self._bad = (sequence_number + 1) % SEQUENCE_MODULUS
                return None
            self.restarts += 1
            return self._begin(sequence_number)
        return self.highest + ahead - SEQUENCE_MODULUS

    @property
    def expected(self) -> int:
        """How many packets the source has sent since it began, as far as we can know."""
        return self.highest - self.base + 1 if self.started else 0

    def _try_out(self, sequence_number: int) -> int | None:
        in_order = (self.highest + 1) % SEQUENCE_MODULUS == sequence_number
        fresh = self._probation == self._min_sequential
        if fresh or in_order:
            self._probation -= 1
        else:
            self._probation = self._min_sequential - 1
        self.highest = sequence_number
        return self._begin(sequence_number) if self._probation <= 0 else None

    def _begin(self, sequence_number: int) -> int:
        self.base = self.highest = sequence_number
        self.started = True
        self._bad = None
        return sequence_number
