"""One packet at a time: everything that is not the next packet of a running stream.

First packets, new SSRCs, restarts, gaps, reordering, duplicates, header extensions, padding, other
packet sizes, digits. The batch in `receive` takes the rest, which is nearly all.

References
----------
RFC 3550 sections 5.1, 8.2 and appendix A.1; RFC 3389 section 4; RFC 4733 section 2.5.1
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..errors import RtpParseError
from ..rtp.comfort_noise import PAYLOAD_TYPE as COMFORT_NOISE
from ..rtp.packet import RtpPacket
from ..rtp.reception import next_jitter
from ..rtp.sequence import SEQUENCE_MODULUS, TIMESTAMP_MODULUS, signed_difference
from . import bursts
from .counted import lost_in_stream
from .playout import Playout
from .rows import FRAME, NEVER, Numbers, Rows

MAX_DROPOUT = 3000  # RFC 3550 appendix A.1: a gap larger than this is a restart
SEEN = 64  # packets back that we remember: older ones are no reordering
OLD_SOURCE_MS = 100  # a source silent for so long gives way to a new SSRC at once
QUIET_FRAMES = 3  # how long one digit or comfort-noise packet excuses silence
MAX_PAYLOAD = 8 * FRAME  # samples, 160 ms: what a window of slots takes with room to spare

TakeDigit = Callable[[int, RtpPacket], None]
TakeNoise = Callable[[int, bytes, int, int], None]


class Stream:
    """Takes packets of any leg, one by one.

    Parameters
    ----------
    on_digit
        Gets ``(row, packet)`` for each RFC 4733 packet.
    on_noise
        Gets ``(row, payload, extended timestamp, beat)`` of the newest comfort noise.

    Attributes
    ----------
    doubt : dict
        Row -> the (SSRC, sequence number) that would confirm another stream.
    """

    def __init__(
        self, rows: Rows, playout: Playout, on_digit: TakeDigit, on_noise: TakeNoise
    ) -> None:
        self._rows = rows
        self._playout = playout
        self._on_digit = on_digit
        self._on_noise = on_noise
        self.doubt: dict[int, tuple[int, int]] = {}
        self._old_source_beats = playout.beats(OLD_SOURCE_MS)
        self.restarted: list[int] = []  # rows whose source began a new stream

    def trust(self, index: Numbers) -> None:
        """Rows got the next packet of their stream: another has to begin anew to show itself."""
        for row in self.doubt.keys() & set(index.tolist()):
            del self.doubt[row]

    def forget(self, row: int) -> None:
        """Drop what is known about a row that is given back."""
        self.doubt.pop(row, None)

    def take(self, row: int, datagram: bytes, beat: int) -> bool:
        """Take one datagram that is not RTCP; True when it is of the leg's stream.

        Whatever it holds, this never raises.
        """
        rows = self._rows
        try:
            packet = RtpPacket.parse(datagram)
        except RtpParseError:
            rows.dropped[row] += 1
            return False
        kind = packet.payload_type
        audio = kind == rows.payload_type_in[row]
        digit = kind == rows.dtmf_payload_type_in[row]
        known = audio or digit or kind == COMFORT_NOISE
        wide = self._playout.wide.get(row) if audio else None
        size = len(packet.payload) if wide is None else wide.size(packet.payload)
        oversize = not 0 < size <= MAX_PAYLOAD
        if not known or oversize or not rows.receives[row]:
            rows.dropped[row] += 1
            return False
        newest = self._count(row, packet, beat)
        if newest is None:
            return False
        rows.heard_at[row] = beat
        if not audio:
            self._excuse(row, beat)
            if digit:
                self._on_digit(row, packet)
            elif newest:
                self._on_noise(row, packet.payload, self._extended(row, packet), beat)
            return True
        if wide is not None and newest:
            self._count_jitter(row, packet, beat)
        self._place(row, packet, beat, newest)
        return True

    def _count_jitter(self, row: int, packet: RtpPacket, beat: int) -> None:
        """RFC 3550 appendix A.8, in units of the codec's clock."""
        rows = self._rows
        came = beat + self._playout.behind - self._playout.early
        samples = came * self._playout.beat_samples
        arrival = samples * int(rows.clock_scale[row])
        transit = np.array([(arrival - packet.timestamp) % TIMESTAMP_MODULUS])
        before = rows.transit[[row]]
        before = np.where(before < 0, transit, before)
        rows.jitter_q4[row] = next_jitter(rows.jitter_q4[[row]], transit, before)[0]
        rows.transit[row] = transit[0]

    def _excuse(self, row: int, beat: int) -> None:
        waits = self._playout.beats(round(self._playout.delay_ms(row)))
        self._rows.quiet_until[row] = beat + waits + QUIET_FRAMES * self._playout.phases

    # ----------------------------------------------------------------- who, and in which order

    def _count(self, row: int, packet: RtpPacket, beat: int) -> bool | None:
        """Count a packet in sequence; return whether it is the newest, None to drop it."""
        rows = self._rows
        if packet.ssrc != rows.ssrc_in[row]:
            return self._new_source(row, packet, beat)
        highest = int(rows.extended_sequence[row])
        step = signed_difference(packet.sequence_number, highest, SEQUENCE_MODULUS)
        if 0 < step < MAX_DROPOUT:
            seen = int(rows.seen[row]) << step if step < SEEN else 0
            rows.seen[row] = (seen | 1) & 0xFFFF_FFFF_FFFF_FFFF
            rows.extended_sequence[row] = highest + step
            rows.received[row] += 1
            self.doubt.pop(row, None)
            return True
        if -SEEN < step <= 0:
            return self._take_old(row, -step)
        return self._restart_if_confirmed(row, packet)

    def _take_old(self, row: int, back: int) -> bool | None:
        """Count a packet that one with a higher number overtook, unless it came before."""
        rows = self._rows
        seen = int(rows.seen[row])
        if seen >> back & 1:
            rows.duplicate[row] += 1
            return None
        rows.seen[row] = seen | 1 << back
        rows.reordered[row] += 1
        rows.received[row] += 1
        # A packet from before the first one makes more packets expected, not negative losses.
        rows.base_sequence[row] = min(
            int(rows.base_sequence[row]), int(rows.extended_sequence[row]) - back
        )
        return False

    def _new_source(self, row: int, packet: RtpPacket, beat: int) -> bool | None:
        """Take a leg's first source, or one that replaces a silent one, at once; else confirm it.

        The socket is connected, so only the negotiated address is heard; a second SSRC from there
        must show two packets in sequence before it ends a stream that is still running.
        """
        rows = self._rows
        first = rows.ssrc_in[row] < 0
        if first or beat - int(rows.heard_at[row]) >= self._old_source_beats:
            return self._begin(row, packet)
        return self._restart_if_confirmed(row, packet)

    def _restart_if_confirmed(self, row: int, packet: RtpPacket) -> bool | None:
        """RFC 3550 appendix A.1: two packets in sequence that don't fit begin a new stream."""
        if self.doubt.get(row) == (packet.ssrc, packet.sequence_number):
            return self._begin(row, packet)
        expected = (packet.sequence_number + 1) % SEQUENCE_MODULUS
        self.doubt[row] = (packet.ssrc, expected)
        self._rows.dropped[row] += 1
        return None

    def _begin(self, row: int, packet: RtpPacket) -> bool:
        """Begin a stream: new identity, new timeline; the counters of the leg go on."""
        rows = self._rows
        if rows.ssrc_in[row] >= 0:
            rows.lost_before[row] += lost_in_stream(rows, row)
            self.restarted.append(row)
        self.doubt.pop(row, None)
        rows.ssrc_in[row] = packet.ssrc
        rows.extended_sequence[row] = rows.base_sequence[row] = packet.sequence_number
        rows.extended_timestamp[row] = packet.timestamp
        rows.received_before[row] = rows.received[row]
        rows.received[row] += 1
        rows.seen[row] = 1
        rows.transit[row] = -1
        bursts.forget(rows, row)
        rows.origin[row] = rows.noise_since[row] = NEVER
        rows.noise_amplitude[row] = 0
        return True

    # ------------------------------------------------------------------------ when to play it

    def _place(self, row: int, packet: RtpPacket, beat: int, newest: bool) -> None:
        rows = self._rows
        timestamp = self._extended(row, packet)
        if newest:
            step = timestamp - int(rows.extended_timestamp[row])
            self._forgive_silence(row, step, timestamp, beat)
            rows.extended_timestamp[row] = timestamp
            frame = FRAME * int(rows.clock_scale[row])
            if step > frame and self._playout.has_leapt(row, timestamp, beat):
                size = self._playout.size(row, packet.payload)
                self._playout.anchor(row, timestamp, beat, size)
        if not self._playout.place(row, timestamp, packet.payload, beat, newest):
            rows.late[row] += 1

    def _extended(self, row: int, packet: RtpPacket) -> int:
        reference = int(self._rows.extended_timestamp[row])
        return reference + signed_difference(packet.timestamp, reference, TIMESTAMP_MODULUS)

    def _forgive_silence(self, row: int, step: int, timestamp: int, beat: int) -> None:
        """A gap in time but not in sequence was the sender's silence: nothing was lost."""
        rows = self._rows
        frame = FRAME * int(rows.clock_scale[row])
        in_sequence = int(rows.seen[row]) & 3 == 3
        if in_sequence and step > frame:
            # Silence that comfort noise announced was not counted.
            counted = int(rows.missing_run[row]) if rows.noise_since[row] == NEVER else 0
            forgiven = min(counted, step // frame - 1)
            rows.concealed[row] -= min(forgiven, int(rows.concealed[row]))
            bursts.forgive(rows, row, forgiven)
            slot = (timestamp - int(rows.slot_timestamp[row])) // frame
            if rows.to_cut[row] and rows.origin[row] != NEVER:
                self._playout.cut_in_silence(row, slot, beat)
            rows.quiet_until[row] = int(rows.origin[row]) + slot * self._playout.phases
