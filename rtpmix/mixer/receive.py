"""A batch of datagrams at once: the next packet of each running stream, in a fixed number of calls.

Theory of operation. Nearly every datagram is the next packet of a stream that runs: 172 octets, a
plain header, the expected payload type and SSRC, the next sequence number, a timestamp on the
frame grid, a slot in the window. Those are found by comparing whole columns, and their payloads go
to the rings in one assignment; those of other codecs are found so by `wide_receive`. Whatever is
different in any way goes through `Stream.take`, which knows every rule; the rules here are its
restriction to the plain case.

References
----------
RFC 3550 sections 5.1, 6.4.1, appendices A.1 and A.8; RFC 5761 section 4
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..audio.codecs import NARROW_HZ
from ..rtp.reception import next_jitter
from ..rtp.sequence import SEQUENCE_MODULUS, TIMESTAMP_MODULUS
from .boxes import DATAGRAM, Inbox
from .playout import Playout
from .rows import FRAME, HEADER, HOT, NEVER, PACKET, SLOTS, Kind, Numbers, Rows
from .stream import Stream
from .wide_receive import WidePackets

_SEQUENCES, _TIMESTAMPS = SEQUENCE_MODULUS - 1, TIMESTAMP_MODULUS - 1
TOLERANCE = 0.04  # beats after it is due that one still reads: no thread wakes up at once
EARLIEST = 50  # frames before they are read: who waited longer in the kernel, waited for a stall
_PLAIN = 0x80 << 24  # version 2, no padding, no extension, no CSRC
_MARKER = 0x80 << 16
_LEG = int(Kind.LEG)  # numpy is slow with enums
_PAYLOAD_TYPE, _SSRC = HOT.index("payload_type_plain"), HOT.index("ssrc_in")
_SEQUENCE, _TIMESTAMP = HOT.index("extended_sequence"), HOT.index("extended_timestamp")
_SEEN, _RECEIVED, _HEARD_AT = HOT.index("seen"), HOT.index("received"), HOT.index("heard_at")
_TRANSIT, _JITTER = HOT.index("transit"), HOT.index("jitter_q4")
_SLOT_TIMESTAMP, _PHASE, _ORIGIN = map(HOT.index, ("slot_timestamp", "phase", "origin"))
_PLAYED, _LATEST, _LATE_SINCE = map(HOT.index, ("played_slot", "latest", "late_since"))


class Receiver:
    """Takes what the inbox holds.

    Attributes
    ----------
    reports : list of (row, bytes)
        RTCP datagrams of the last batch, for whoever reads them.
    first_heard : list of int
        Rows whose first packet, or first after a media timeout, came in the last batch.
    """

    def __init__(self, rows: Rows, inbox: Inbox, playout: Playout, stream: Stream) -> None:
        self._rows = rows
        self._inbox = inbox
        self._playout = playout
        self._stream = stream
        self._wide = WidePackets(rows, inbox, playout)
        self.reports: list[tuple[int, bytes]] = []
        self.first_heard: list[int] = []

    def take(self, count: int, beat: int) -> None:
        """Take the first ``count`` datagrams of the inbox.

        No two of them are of the same row and kind. Whatever they hold, this never raises.
        """
        inbox = self._inbox
        codes = np.array(inbox.codes[:count], np.int64)
        sizes = np.array(inbox.sizes[:count], np.int64)
        words = inbox.heads[:count].astype(np.int64)
        rows, came = codes >> 1, self._came(count, beat)
        held = self._rows.hot[rows]  # a copy: one call where a column at a time would be sixteen
        plain, slots, ahead = self._find_plain(rows, held, words, beat)
        plain &= (sizes == PACKET) & (codes & 1 == 0)
        timely = plain & (ahead >= 0)
        if timely.all():
            self._take_timely(slice(count), rows, held, slots, words[:, 1], came, beat)
            return
        index = np.flatnonzero(timely)
        if index.size:
            chosen = rows[index], held[index], slots[index], words[index, 1], came[index]
            self._take_timely(index, *chosen, beat)
        index = np.flatnonzero(plain & ~timely)
        if index.size:
            self._take_late(index, rows[index], slots[index], ahead[index], words, came, beat)
        if not plain.all():
            others = np.flatnonzero(~plain)
            if len(self._playout.wide):
                others = self._take_wide(others, codes, sizes, words, came, beat)
            usual = beat + self._playout.behind
            for i in others.tolist():
                is_rtcp = int(codes[i]) & 1
                self._playout.early = usual - int(came[i])
                self._take_other(int(rows[i]), is_rtcp, inbox.views[i], int(sizes[i]), beat)
            self._playout.early = 0

    def _came(self, count: int, beat: int) -> Numbers:
        """Return the beats that would have read the datagrams, if each beat read all that is there.

        What the kernel has no time of came when it is read: as late as the host is.
        """
        playout, inbox = self._playout, self._inbox
        read_at = beat + playout.behind
        if inbox.due is None:
            return np.full(count, read_at)
        seconds = playout.beat_samples / NARROW_HZ
        late = np.ceil((inbox.stamps[:count] - inbox.due) / seconds - TOLERANCE)
        late = beat + np.maximum(late, -EARLIEST * playout.phases)
        np.copyto(late, read_at, where=np.isnan(late))
        return late.astype(np.int64)

    def _take_wide(
        self,
        index: Numbers,
        codes: Numbers,
        sizes: Numbers,
        words: Numbers,
        came: Numbers,
        beat: int,
    ) -> Numbers:
        """Take the next packets of streams of other codecs; return what is left."""
        at = codes[index] >> 1
        plain, slots, timestamps, firsts, ticks = self._wide.find(
            index, at, sizes[index], words[index], beat
        )
        plain &= codes[index] & 1 == 0
        if plain.any():
            chosen, rows = index[plain], at[plain]
            scale = self._rows.clock_scale[rows]
            came = came[chosen]
            held = self._rows.hot[rows]
            self._count(rows, held, timestamps[plain], words[chosen, 1], came, beat, scale)
            self._wide.keep(chosen, rows, slots[plain], firsts[plain], ticks[plain], came)
        return index[~plain]

    def _find_plain(
        self, index: Numbers, held: Numbers, words: Numbers, beat: int
    ) -> tuple[NDArray[np.bool_], Numbers, Numbers]:
        """Return which packets are plain, their slots, and how many slots they have to spare.

        ``held`` is what `Rows.hot` has of the rows ``index``.
        """
        phases = self._playout.phases
        first, number = words[:, 0], held[:, _SEQUENCE] + 1
        timestamp = held[:, _TIMESTAMP] + FRAME
        slot, rest = np.divmod(timestamp - held[:, _SLOT_TIMESTAMP], FRAME)
        # The first slot that is not too late, as in `Playout.next_slot`.
        wait = (held[:, _PHASE] - beat) % phases
        due = (wait + beat - held[:, _ORIGIN]) // phases
        ahead = slot - np.maximum(due, held[:, _PLAYED] + 1)
        # The whole first word, but for the marker; a payload type of -1 is never one.
        plain = first & ~_MARKER == _PLAIN | held[:, _PAYLOAD_TYPE] << 16 | number & _SEQUENCES
        plain &= (words[:, 1] == timestamp & _TIMESTAMPS) & (words[:, 2] == held[:, _SSRC])
        plain &= (rest == 0) & (ahead < SLOTS)
        if ahead.size and ahead.min() < 0:
            plain &= (ahead >= 0) | ~self._playout.has_moved(index, ahead, beat)
        return plain, slot, ahead

    def _take_timely(
        self,
        index: Numbers | slice,
        at: Numbers,
        held: Numbers,
        slots: Numbers,
        wire: Numbers,
        came: Numbers,
        beat: int,
    ) -> None:
        """Count plain packets that can still be played, and store their payloads.

        ``held`` is what `Rows.hot` has of the rows ``at``; it is worked on, and put back whole.
        """
        held[:, _LATE_SINCE] = NEVER
        latest = held[:, _LATEST]
        np.maximum(latest, came - slots * self._playout.phases, out=latest)
        self._count(at, held, held[:, _TIMESTAMP] + FRAME, wire, came, beat)
        self._store(index, at, slots)

    def _store(self, index: Numbers | slice, at: Numbers, slots: Numbers) -> None:
        """Put payloads into the rings."""
        places = slots % SLOTS
        self._rows.ring[at, places] = self._inbox.data[index, HEADER:PACKET]
        self._rows.ring_slot[at, places] = slots

    def _count(
        self,
        at: Numbers,
        held: Numbers,
        timestamps: Numbers,
        wire: Numbers,
        came: Numbers,
        beat: int,
        scale: Numbers | int = 1,
    ) -> None:
        """Count next packets of streams: identity, order, jitter.

        ``held`` is what `Rows.hot` has of the rows ``at``; it is worked on, and put back whole.
        """
        rows = self._rows
        held[:, _SEQUENCE] += 1
        held[:, _TIMESTAMP] = timestamps
        seen = held.view(np.uint64)[:, _SEEN]
        np.bitwise_or(seen << np.uint64(1), np.uint64(1), out=seen)
        held[:, _RECEIVED] += 1
        held[:, _HEARD_AT] = beat
        arrival = came * self._playout.beat_samples * scale
        held[:, _JITTER], held[:, _TRANSIT] = _jitter(
            held[:, _JITTER], held[:, _TRANSIT], arrival, wire
        )
        rows.hot[at] = held
        if self._stream.doubt:
            self._stream.trust(at)
        if not rows.media_seen[at].all():
            for row in at[~rows.media_seen[at]].tolist():
                self._first_heard(row)

    def _take_late(
        self,
        index: Numbers,
        at: Numbers,
        slots: Numbers,
        ahead: Numbers,
        words: Numbers,
        came: Numbers,
        beat: int,
    ) -> None:
        """Take plain packets that came too late: after a stall of this host they are many."""
        rows, came = self._rows, came[index]
        held = rows.hot[at]
        self._count(at, held, held[:, _TIMESTAMP] + FRAME, words[index, 1], came, beat)
        grows = self._playout.regain(at, slots, ahead, came, beat)
        if grows.any():
            rising, transit = at[grows], came[grows] - slots[grows] * self._playout.phases
            self._store(index[grows], rising, slots[grows])
            rows.late_since[rising] = NEVER
            rows.latest[rising] = np.maximum(rows.latest[rising], transit)
        lost = at[~grows]
        rows.late[lost] += 1
        rows.late_since[lost] = np.minimum(rows.late_since[lost], beat)

    def _take_other(self, row: int, rtcp: int, view: memoryview, size: int, beat: int) -> None:
        """Take a datagram that is not plain."""
        rows = self._rows
        if row >= rows.capacity or rows.kind[row] != _LEG:
            return  # the leg closed while the datagram waited
        if size >= DATAGRAM:
            rows.dropped[row] += 1  # cut off: nothing we negotiate is so long
            return
        datagram = bytes(view[:size])
        # RFC 5761 section 4: on one port, payload types 64 to 95 are RTCP's.
        if rtcp or (size > 1 and 192 <= datagram[1] <= 223):
            self.reports.append((row, datagram))
        elif self._stream.take(row, datagram, beat) and not rows.media_seen[row]:
            self._first_heard(row)

    def _first_heard(self, row: int) -> None:
        self._rows.media_seen[row] = True
        self._rows.media_lost[row] = False
        self.first_heard.append(row)


def _jitter(
    jitter_q4: Numbers, before: Numbers, arrival: Numbers, wire: Numbers
) -> tuple[Numbers, Numbers]:
    """Return the next jitter and transit of some rows: RFC 3550 appendix A.8.

    Arrival is known to a beat, which is what the figure resolves. A transit of -1 is of a stream
    that begins.
    """
    transit = (arrival - wire) & _TIMESTAMPS
    return next_jitter(jitter_q4, transit, np.where(before < 0, transit, before)), transit
