"""How well one source is received: loss and jitter, and the report block that says so.

Times are integers in units of the source's media clock (samples, for audio), so that every
difference is taken modulo 2**32 like the RTP timestamps themselves.  The same computation on
floats that do not wrap reports 33,554 s of jitter when the timestamp wraps.

References
----------
RFC 3550 section 6.4.1, appendices A.3 and A.8
"""

from __future__ import annotations

from ..errors import UsageError
from .rtcp import ReportBlock, SenderReport
from .sequence import TIMESTAMP_MODULUS, ExtendedSequence, Wrapped, signed_difference

_MAX_LOST = (1 << 23) - 1  # the cumulative count is a signed 24-bit field
_MIN_LOST = -(1 << 23)


def next_jitter(jitter_q4: Wrapped, transit: Wrapped, previous_transit: Wrapped) -> Wrapped:
    """Move the jitter estimate by one packet.

    Parameters
    ----------
    jitter_q4 : int or int64 array
        The estimate so far, times 16; what a report carries is ``jitter_q4 >> 4``.
    transit, previous_transit : int or int64 array
        Arrival time minus RTP timestamp of this packet and of the one that arrived before it, in
        clock units modulo 2**32.

    References
    ----------
    RFC 3550 appendix A.8, the integer form
    """
    change = abs(signed_difference(transit, previous_transit))
    return jitter_q4 + change - ((jitter_q4 + 8) >> 4)


class ReceptionStats:
    """Counters of one source that we hear.

    Parameters
    ----------
    ssrc
        The source.
    clock_hz
        Units in a second of RTP timestamps and of every time given here.
    min_sequential
        Packets in a row before the source counts, see `ExtendedSequence`.
    """

    __slots__ = (
        "_expected_prior",
        "_jitter_q4",
        "_last_report_arrival",
        "_last_report_middle",
        "_received_prior",
        "_sequence",
        "_transit",
        "clock_hz",
        "received",
        "ssrc",
    )

    def __init__(self, ssrc: int, *, clock_hz: int = 8000, min_sequential: int = 0) -> None:
        if clock_hz <= 0:
            raise UsageError(f"a media clock of {clock_hz} Hz; give a positive rate, like 8000")
        self.ssrc = ssrc
        self.clock_hz = clock_hz
        self.received = 0  # packets that counted, duplicates included (RFC 3550 appendix A.3)
        self._sequence = ExtendedSequence(min_sequential=min_sequential)
        self._transit: int | None = None
        self._jitter_q4 = 0
        self._expected_prior = 0
        self._received_prior = 0
        self._last_report_middle = 0
        self._last_report_arrival = 0

    def receive(self, sequence_number: int, timestamp: int, arrival: int) -> int | None:
        """Count a packet that arrived at ``arrival`` clock units; return its extended number.

        None, and nothing counted, where `ExtendedSequence.update` says so.  Where a source sends
        digits in the stream (RFC 4733 repeats their first timestamp), `count` keeps them out of
        the jitter of its audio.
        """
        extended = self.count(sequence_number)
        if extended is None:
            return None
        transit = (arrival - timestamp) % TIMESTAMP_MODULUS
        if self._transit is not None:
            self._jitter_q4 = next_jitter(self._jitter_q4, transit, self._transit)
        self._transit = transit
        return extended

    def count(self, sequence_number: int) -> int | None:
        """Count a packet for loss alone."""
        restarts = self._sequence.restarts
        extended = self._sequence.update(sequence_number)
        if extended is None:
            return None
        if self._sequence.restarts != restarts:
            self.received = self._received_prior = self._expected_prior = 0
            self._transit = None
        self.received += 1
        return extended

    def sender_reported(self, report: SenderReport, arrival: int) -> None:
        """Remember the source's sender report for the LSR and DLSR fields of our next block."""
        self._last_report_middle = report.ntp >> 16 & 0xFFFF_FFFF
        self._last_report_arrival = arrival

    @property
    def expected(self) -> int:
        """Packets the source has sent, as far as we can know."""
        return self._sequence.expected

    @property
    def lost(self) -> int:
        """Packets expected minus packets received; negative when duplicates outnumber losses."""
        return max(_MIN_LOST, min(self.expected - self.received, _MAX_LOST))

    @property
    def highest(self) -> int:
        """The highest extended sequence number, 0 before the first packet."""
        return self._sequence.highest if self._sequence.started else 0

    @property
    def jitter(self) -> int:
        """Interarrival jitter in clock units."""
        return self._jitter_q4 >> 4

    @property
    def jitter_ms(self) -> float:
        """Interarrival jitter in milliseconds."""
        return self._jitter_q4 * 1000 / (16 * self.clock_hz)

    def report(self, now: int) -> ReportBlock:
        """Return the report block to send at ``now``; the next fraction starts from here.

        References
        ----------
        RFC 3550 section 6.4.1, appendix A.3
        """
        expected = self.expected - self._expected_prior
        lost = expected - (self.received - self._received_prior)
        self._expected_prior, self._received_prior = self.expected, self.received
        delay = 0
        if self._last_report_middle:
            elapsed = signed_difference(now, self._last_report_arrival)
            delay = min(max(elapsed, 0) * 65536 // self.clock_hz, 0xFFFF_FFFF)
        return ReportBlock(
            ssrc=self.ssrc,
            fraction_lost=min((lost << 8) // expected, 255) if expected > 0 and lost > 0 else 0,
            cumulative_lost=self.lost,
            highest_sequence=self.highest & 0xFFFF_FFFF,
            jitter=self.jitter & 0xFFFF_FFFF,
            last_sender_report=self._last_report_middle,
            delay_since_last=delay,
        )
