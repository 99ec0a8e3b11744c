"""The next packets of running streams of other codecs than G.711, found by columns.

What `receive` does for packets of 172 octets, for packets whose length in time their first octets
tell: within one slot of the playout, in sequence, not late. The payloads themselves go to
`wide_leg` one by one; the rest goes through `Stream.take`.

References
----------
RFC 3550 section 5.1; RFC 3551 sections 4.5.2 and 4.5.11; RFC 6716 section 3.1
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..audio.codecs import BY_NUMBER
from ..audio.opus import SAMPLES
from ..rtp.sequence import SEQUENCE_MODULUS, TIMESTAMP_MODULUS
from .boxes import DATAGRAM, Inbox
from .playout import Playout
from .rows import FRAME, HEADER, NEVER, SLOTS, Numbers, Rows

_HALF_CIRCLE = TIMESTAMP_MODULUS // 2
_PLAIN = 0x80  # version 2, no padding, no extension, no CSRC


def _of_codecs(encoding: str) -> NDArray[np.bool_]:
    numbers = [number for number, codec in BY_NUMBER.items() if codec.encoding == encoding]
    return np.isin(np.arange(128), numbers)


_IS_OPUS, _IS_L16, _IS_G722 = (_of_codecs(name) for name in ("OPUS", "L16", "G722"))


class WidePackets:
    """Those of a batch that are the next of their streams."""

    def __init__(self, rows: Rows, inbox: Inbox, playout: Playout) -> None:
        self._rows = rows
        self._inbox = inbox
        self._playout = playout

    def find(
        self, index: Numbers, rows: Numbers, sizes: Numbers, words: Numbers, beat: int
    ) -> tuple[NDArray[np.bool_], Numbers, Numbers, Numbers, Numbers]:
        """Look at some datagrams of RTP, of any rows.

        Parameters
        ----------
        index : (n,) int64 ndarray
            Places in the inbox.
        rows, sizes : (n,) int64 ndarray
            Of them.
        words : (n, 3) int64 ndarray
            Their first twelve octets.

        Returns
        -------
        plain : (n,) bool ndarray
            Which can be taken.
        slots, timestamps, firsts, ticks : (n,) int64 ndarray
            Their slots, extended timestamps, distances to slot 0 and lengths in the RTP clock.
        """
        columns, phases = self._rows, self._playout.phases
        first, law = words[:, 0], columns.law[rows]
        frame = FRAME * columns.clock_scale[rows]
        reference = columns.extended_timestamp[rows]
        step = ((words[:, 1] - reference + _HALF_CIRCLE) & (TIMESTAMP_MODULUS - 1)) - _HALF_CIRCLE
        offset = reference + step - columns.slot_timestamp[rows]
        slot, rest = np.divmod(offset, frame)
        octets = sizes - HEADER
        ticks = np.where(_IS_OPUS[law], SAMPLES[self._inbox.data[index, HEADER]], 0)
        ticks = np.where(_IS_L16[law] & (octets & 1 == 0), octets >> 1, ticks)
        ticks = np.where(_IS_G722[law], octets, ticks)
        # The first slot that is not too late, as in `Playout.next_slot`.
        tick = beat + (columns.phase[rows] - beat) % phases
        due = (tick - columns.origin[rows]) // phases
        ahead = slot - np.maximum(due, columns.played_slot[rows] + 1)
        next_number = (first - columns.extended_sequence[rows]) & (SEQUENCE_MODULUS - 1)
        plain = columns.is_wide[rows] & columns.receives[rows] & (next_number == 1)
        plain &= (first >> 24 == _PLAIN) & (first >> 16 & 0x7F == columns.payload_type_in[rows])
        plain &= (words[:, 2] == columns.ssrc_in[rows]) & (octets > 0) & (sizes < DATAGRAM)
        plain &= (ticks > 0) & (rest + ticks <= frame) & (step > 0) & (step <= frame)
        plain &= (ahead >= 0) & (ahead < SLOTS)
        return plain, slot, reference + step, offset, ticks

    def keep(
        self,
        index: Numbers,
        at: Numbers,
        slots: Numbers,
        firsts: Numbers,
        ticks: Numbers,
        came: Numbers,
    ) -> None:
        """Keep the payloads of packets that `find` found, and that came at these beats."""
        rows = self._rows
        rows.ring_slot[at, slots % SLOTS] = slots
        rows.late_since[at] = NEVER
        transit = came - slots * self._playout.phases
        rows.latest[at] = np.maximum(rows.latest[at], transit)
        # Samples are RTP ticks, but for G.722 (RFC 3551 section 4.5.2).
        scale = 1 + _IS_G722[rows.law[at]]
        sizes, views, wide = self._inbox.sizes, self._inbox.views, self._playout.wide
        for place, row, first, samples in zip(
            index.tolist(), at.tolist(), (firsts * scale).tolist(), (ticks * scale).tolist(),
            strict=True,
        ):  # fmt: skip
            leg = wide.get(row)
            if leg is not None:
                leg.keep(first, bytes(views[place][HEADER : sizes[place]]), samples)
