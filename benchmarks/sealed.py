"""SRTP for the load generator: most of the work is done before anything is measured.

What a leg says is the same tone all the time, so all its packets are encrypted in advance, from
the first sequence number to the last one that the run may need. Only the bursts that time the way
come at a moment that is not known; they are encrypted when they go out, by a second session with
the same key, in place of the packet with their number. To the server that is what any phone sends.

Of what comes back every packet's number is read, in the clear, but a sample only is authenticated
and decrypted: each leg's every nth packet, and everything while a burst is listened for.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rtpmix.rtp.srtp import MasterKey, SrtpSession
from rtpmix.rtp.srtp_batch import Boxes, Ciphers

PACKET = 172  # octets: PCMU, 20 ms
_ROW = 192  # octets from one packet to the next: room for what it grows by


class SealedLegs:
    """The ciphers of all legs of one load.

    Parameters
    ----------
    keys
        Of each leg: what it encrypts with.
    packets : (legs, 172) uint8 ndarray
        What each says, whatever number and timestamp are in it.
    count
        How many packets of each are made in advance.
    every
        Of what comes for a leg each so manyth packet is decrypted.

    Attributes
    ----------
    seen, opened
        How many packets came, and how many of them were decrypted.
    forged
        How many did not authenticate.
    sealed_late
        Packets of the tone that were not made in advance.
    """

    def __init__(
        self, keys: list[MasterKey], packets: NDArray[np.uint8], count: int, every: int
    ) -> None:
        self.seen = self.opened = self.forged = self.sealed_late = 0
        self._every = every
        self._live = [SrtpSession.sender(key) for key in keys]
        self._receivers: list[SrtpSession | None] = [None] * len(keys)
        self._begun = np.zeros(len(keys), np.bool_)
        self._size = PACKET + (keys[0].suite.rtp_tag_length if keys else 0)
        self._ahead = np.empty((len(keys), count, _ROW), np.uint8)
        self._views = [rows.reshape(-1).data for rows in self._ahead]
        number = np.arange(count)
        stamps = (number * 160).astype(">u4").view(np.uint8).reshape(-1, 4)
        numbers = (number & 0xFFFF).astype(">u2").view(np.uint8).reshape(-1, 2)
        for key, rows, packet in zip(keys, self._ahead, packets, strict=True):
            rows[:, :PACKET] = packet
            rows[:, 2:4], rows[:, 4:8] = numbers, stamps
            boxes = Boxes(rows)
            boxes.lengths[:] = PACKET
            failed = boxes.protect(Ciphers([SrtpSession.sender(key)] * count))
            assert not failed
        self._boxes: Boxes | None = None

    @property
    def size(self) -> int:
        """Octets of a packet in either direction."""
        return self._size

    def answered(self, leg: int, key: MasterKey) -> None:
        """Take the key that the other side encrypts with."""
        self._receivers[leg] = SrtpSession.receiver(key)

    def packet(self, leg: int, number: int, plain: NDArray[np.uint8], *, burst: bool) -> memoryview:
        """Return a leg's packet of this number, encrypted; `plain` is what it is in the clear."""
        if not burst and number < self._ahead.shape[1]:
            at = number * _ROW
            return self._views[leg][at : at + self._size]
        self.sealed_late += not burst
        return memoryview(self._live[leg].protect(plain.tobytes()))

    def open(
        self, legs: NDArray[np.int64], box: NDArray[np.uint8], awaited: NDArray[np.bool_]
    ) -> NDArray[np.bool_]:
        """Decrypt a sample of the packets in the first rows of `box`; return which.

        Parameters
        ----------
        legs : (n,) int64 ndarray
            Whose they are, at most one of each leg.
        awaited : (n,) bool ndarray
            Which have to be in the sample.
        """
        if self._boxes is None or self._boxes.data is not box:
            self._boxes = Boxes(box)
        count = len(legs)
        numbers = box[:count, 3].astype(np.int64)
        # What comes first is decrypted for certain: later its roll-over counter can't be guessed.
        wanted: NDArray[np.bool_] = awaited | ~self._begun[legs]
        wanted |= (numbers + legs) % self._every == 0
        places = np.flatnonzero(wanted).tolist()
        sessions = [self._receivers[leg] for leg in legs[wanted].tolist()]
        self._boxes.lengths[:count] = self._size
        failed = self._boxes.unprotect(Ciphers([s for s in sessions if s is not None]), places)
        wanted[list(failed)] = False
        self._begun[legs[wanted]] = True
        self.seen += count
        self.opened += len(places)
        self.forged += len(failed)
        return wanted
