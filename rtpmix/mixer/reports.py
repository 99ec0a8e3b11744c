"""RTCP of all legs: a report every five seconds or so, what the peers report, goodbye.

Each leg has its own time, drawn anew for each report between half and one and a half intervals
(RFC 3550 section 6.2 and appendix A.7, for sessions of two), which also spreads the work. It is
drawn from the leg's own generator, and no leg ever waits for another's report: neither the times of
a leg's RTCP nor what it says depend on who else is there.

References
----------
RFC 3550 sections 6.2, 6.4, 6.5, 6.6; RFC 3611 sections 4.4, 4.5, 4.7
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from ..errors import RtpParseError
from ..rtp.extended_report import (
    Block,
    DelaySinceReference,
    ReferenceTime,
    VoipMetrics,
)
from ..rtp.rtcp import (
    CNAME,
    ExtendedReport,
    Goodbye,
    ReceiverReport,
    Report,
    ReportBlock,
    SenderReport,
    SourceDescription,
    SourceItems,
    build_compound,
    ntp_timestamp,
    parse_compound,
)
from . import bursts, quality
from .commands import MixerEvent, OneWayAudio, PeerSaidBye
from .counted import lost_in_stream
from .rows import FRAME, Rows

INTERVAL_S = 5.0
CLOCK_HZ = 8000
DEAF_REPORTS = 2  # reports in a row that saw nothing new of ours: the peer does not hear us
DEAF_PACKETS = 50  # that we sent meanwhile
# Octets of RTCP that are read of one leg. Its share of a call is some 400 a second (RFC 3550
# section 6.2), but a datagram of 500 small packets takes as long to read as hundreds of RTP ones.
BUDGET_A_S, BUDGET = 4000, 8000


class Told(NamedTuple):
    """What the reports of one leg's peer say, as they say it."""

    remote_lost_fraction: float = 0.0
    round_trip_ms: float | None = None
    metrics: VoipMetrics | None = None  # its last word on what it hears


@dataclass(slots=True)
class _Hearing:
    """Whether a peer's reports move on while we send."""

    highest: int = -1
    sent: int = 0
    stuck: int = 0  # reports in a row
    told: bool = False


@dataclass(slots=True)
class _Leg:
    """What reporting on and to one leg needs."""

    number: int  # of this opening: rows and seats come again
    seat: int
    cname: str
    spacing: random.Random
    sent_before: int = 0
    expected_before: int = 0
    received_before: int = 0
    ssrc: int = -1  # of the source that the counts above are of
    sender_report: int = 0  # middle of the NTP time of the peer's last SR
    sender_report_at: int = 0  # samples
    remote_lost_fraction: float = 0.0
    round_trip_ms: float | None = None
    extended: bool = False  # the peer gets XR: asked for, or because it sends XR itself
    reference: int = 0  # middle of the NTP time of the peer's last reference time block
    reference_from: int = 0  # its sender
    reference_at: int = 0  # samples
    metrics: VoipMetrics | None = None  # the peer's last word on what it hears
    hears: _Hearing = field(default_factory=_Hearing)
    reduced: bool = False
    budget: int = BUDGET
    budget_at: int = 0  # samples
    said_bye: int = -1  # the source that has

    def affords(self, octets: int, at: int) -> bool:
        """Take a datagram's octets from what may be read; False where that is too little."""
        saved = (at - self.budget_at) * BUDGET_A_S // CLOCK_HZ
        if saved:
            self.budget = min(BUDGET, self.budget + saved)
            self.budget_at = at
        if octets > self.budget:
            return False
        self.budget -= octets
        return True


class Reports:
    """Sends and reads RTCP.

    Parameters
    ----------
    epoch
        Wall-clock time (seconds since 1970) of media sample 0.
    delay_ms
        Tells how long what a row receives waits to be played.
    seed
        Of all spacing; each leg's generator is made from it and the leg's SSRC.
    """

    def __init__(
        self,
        rows: Rows,
        events: list[MixerEvent],
        *,
        beat_samples: int,
        epoch: float,
        delay_ms: Callable[[int], float],
        seed: int,
    ) -> None:
        self._rows = rows
        self._events = events
        self._beat_samples = beat_samples
        self._epoch = epoch
        self.delay_ms = delay_ms
        self._seed = seed
        self._legs: dict[int, _Leg] = {}  # by row
        self._due: list[tuple[int, int, int]] = []  # beat, row, number
        self._opened = 0

    def open(self, row: int, seat: int, cname: str, beat: int, *, extended: bool = False) -> None:
        """Begin to report; the first one after half an interval.

        ``extended``: with XR from the beginning, not only once the peer has sent some.
        """
        own = random.Random(f"{self._seed} {int(self._rows.ssrc_out[row])}")
        self._opened += 1
        leg = self._legs[row] = _Leg(self._opened, seat, cname, own, extended=extended)
        self._schedule(row, leg, beat, INTERVAL_S / 2)

    def allow_reduced(self, row: int, allowed: bool) -> None:
        """Say whether a leg's reports may come alone, where a compound is due else (RFC 5506)."""
        self._legs[row].reduced = allowed

    def taken_out(self, row: int) -> _Leg | None:
        """Return what is known of a leg that goes on in another engine."""
        return self._legs.get(row)

    def put_in(self, row: int, seat: int, leg: _Leg, beat: int) -> None:
        """Go on with what another engine knew of a leg."""
        self._opened += 1
        leg.number, leg.seat = self._opened, seat
        self._legs[row] = leg
        self._schedule(row, leg, beat, INTERVAL_S / 2)

    def forget(self, row: int) -> None:
        """Drop everything of a row that is given back."""
        self._legs.pop(row, None)

    def told(self, row: int) -> Told:
        """Return what the peer of a leg has reported."""
        leg = self._legs.get(row)
        if leg is None:
            return Told()
        return Told(leg.remote_lost_fraction, leg.round_trip_ms, leg.metrics)

    def _schedule(self, row: int, leg: _Leg, beat: int, interval_s: float) -> None:
        wait = interval_s * (0.5 + leg.spacing.random())
        due = beat + max(1, round(wait * CLOCK_HZ / self._beat_samples))
        heapq.heappush(self._due, (due, row, leg.number))

    def skip(self, beats: int) -> None:
        """Put off what fell due while the host stood still: spaced as before, not in one burst."""
        self._due = [(due + beats, row, number) for due, row, number in self._due]

    # -------------------------------------------------------------------------------- sending

    def due(self, beat: int) -> list[tuple[int, bytes, bool]]:
        """Return the reports to send at this beat."""
        ready: list[tuple[int, bytes, bool]] = []
        while self._due and self._due[0][0] <= beat:
            _, row, number = heapq.heappop(self._due)
            leg = self._legs.get(row)
            if leg is None or leg.number != number:
                continue  # closed since
            ready.append((row, build_compound(self._compound(row, leg, beat)), True))
            self._schedule(row, leg, beat, INTERVAL_S)
        return ready

    def goodbye(self, row: int, beat: int) -> tuple[int, bytes, bool] | None:
        """Return the last report of a leg, with a BYE."""
        leg = self._legs.get(row)
        if leg is None:
            return None
        reports = self._compound(row, leg, beat)
        reports.append(Goodbye((int(self._rows.ssrc_out[row]),)))
        return row, build_compound(reports), True

    def _compound(self, row: int, leg: _Leg, beat: int) -> list[Report]:
        rows = self._rows
        ssrc = int(rows.ssrc_out[row])
        blocks = self._blocks(row, leg, beat)
        sent = int(rows.sent[row])
        report: Report
        if sent == leg.sent_before:
            report = ReceiverReport(ssrc=ssrc, blocks=blocks)
        else:
            # timestamp_out belongs to the leg's next frame; go back to this instant.
            ahead = int(rows.ticked_at[row]) + FRAME // self._beat_samples - beat
            timestamp = int(rows.timestamp_out[row]) - ahead * self._beat_samples
            report = SenderReport(
                ssrc=ssrc,
                ntp=self._ntp(beat),
                rtp_timestamp=timestamp * int(rows.clock_scale[row]) & 0xFFFF_FFFF,
                packet_count=sent & 0xFFFF_FFFF,
                octet_count=int(rows.octets_out[row]) & 0xFFFF_FFFF,
                blocks=blocks,
            )
        silent = sent == leg.sent_before
        leg.sent_before = sent
        described = SourceDescription((SourceItems(ssrc, ((CNAME, leg.cname),)),))
        extra = self._extended(row, leg, beat, silent=silent) if leg.extended else ()
        return [report, described, *([ExtendedReport(ssrc, extra)] if extra else [])]

    def _extended(self, row: int, leg: _Leg, beat: int, *, silent: bool) -> tuple[Block, ...]:
        """Return the XR blocks: voice metrics, and what measures the round trip without SRs."""
        found: list[Block] = []
        if silent:
            found.append(ReferenceTime(self._ntp(beat)))
        if leg.reference:
            since = beat * self._beat_samples - leg.reference_at
            delay = min(since * 65536 // CLOCK_HZ, 0xFFFF_FFFF)
            found.append(DelaySinceReference(((leg.reference_from, leg.reference, delay),)))
        if self._rows.ssrc_in[row] >= 0:
            found.append(
                quality.voip_metrics(
                    bursts.of_row(self._rows, row),
                    ssrc=int(self._rows.ssrc_in[row]),
                    lost=lost_in_stream(self._rows, row),
                    delay_ms=self.delay_ms(row),
                    round_trip=leg.round_trip_ms,
                )
            )
        return tuple(found)

    def _ntp(self, beat: int) -> int:
        return ntp_timestamp(self._epoch + beat * self._beat_samples / CLOCK_HZ)

    def _blocks(self, row: int, leg: _Leg, beat: int) -> tuple[ReportBlock, ...]:
        """Report on the leg's source, RFC 3550 section 6.4.1 and appendix A.3."""
        rows = self._rows
        ssrc = int(rows.ssrc_in[row])
        if ssrc < 0:
            return ()
        if ssrc != leg.ssrc:
            leg.ssrc, leg.expected_before, leg.received_before = ssrc, 0, 0
        highest = int(rows.extended_sequence[row])
        expected = highest - int(rows.base_sequence[row]) + 1
        received = int(rows.received[row] - rows.received_before[row])
        interval = expected - leg.expected_before
        lost = interval - (received - leg.received_before)
        leg.expected_before, leg.received_before = expected, received
        delay = beat * self._beat_samples - leg.sender_report_at if leg.sender_report else 0
        block = ReportBlock(
            ssrc=ssrc,
            fraction_lost=min((lost << 8) // interval, 255) if interval > 0 and lost > 0 else 0,
            cumulative_lost=max(-(1 << 23), min(expected - received, (1 << 23) - 1)),
            highest_sequence=highest & 0xFFFF_FFFF,
            jitter=(int(rows.jitter_q4[row]) >> 4) & 0xFFFF_FFFF,
            last_sender_report=leg.sender_report,
            delay_since_last=min(delay * 65536 // CLOCK_HZ, 0xFFFF_FFFF),
        )
        return (block,)

    # ------------------------------------------------------------------------------ receiving

    def take(self, row: int, datagram: bytes, beat: int) -> None:
        """Read one RTCP datagram. Whatever it holds, this never raises."""
        leg = self._legs.get(row)
        if leg is None:
            return
        if not leg.affords(len(datagram), beat * self._beat_samples):
            self._rows.dropped[row] += 1
            return
        try:
            reports = parse_compound(datagram, reduced_size=leg.reduced)
        except RtpParseError:
            self._rows.dropped[row] += 1
            return
        self._rows.heard_at[row] = beat
        source = int(self._rows.ssrc_in[row])
        for report in reports:
            if isinstance(report, SenderReport) and report.ssrc == source:
                leg.sender_report = report.ntp >> 16 & 0xFFFF_FFFF
                leg.sender_report_at = beat * self._beat_samples
            if isinstance(report, SenderReport | ReceiverReport):
                self._read_blocks(row, leg, report.blocks, beat)
                if report.ssrc == source or source < 0:
                    self._check_hearing(row, leg, report.blocks, beat)
            elif isinstance(report, ExtendedReport):
                self._read_extended(row, leg, report, beat)
            elif isinstance(report, Goodbye) and source in report.ssrcs:
                if source == leg.said_bye:
                    continue  # told once
                leg.said_bye = source
                self._events.append(PeerSaidBye(beat * self._beat_samples, leg.seat))

    def _read_blocks(self, row: int, leg: _Leg, blocks: tuple[ReportBlock, ...], beat: int) -> None:
        for block in blocks:
            if block.ssrc == self._rows.ssrc_out[row]:
                leg.remote_lost_fraction = block.fraction_lost / 256
                round_trip = block.round_trip_s(self._ntp(beat))
                if round_trip is not None:
                    leg.round_trip_ms = round_trip * 1000

    def _read_extended(self, row: int, leg: _Leg, report: ExtendedReport, beat: int) -> None:
        """Read XR blocks: the peer's verdict on us, and both halves of a round trip."""
        leg.extended = True
        own = int(self._rows.ssrc_out[row])
        for block in report.blocks:
            if isinstance(block, VoipMetrics) and block.ssrc == own:
                leg.metrics = block
            elif isinstance(block, ReferenceTime):
                leg.reference, leg.reference_from = block.ntp >> 16 & 0xFFFF_FFFF, report.ssrc
                leg.reference_at = beat * self._beat_samples
            elif isinstance(block, DelaySinceReference):
                for ssrc, last, delay in block.answers:
                    answer = ReportBlock(ssrc=ssrc, last_sender_report=last, delay_since_last=delay)
                    round_trip = answer.round_trip_s(self._ntp(beat)) if ssrc == own else None
                    if round_trip is not None:
                        leg.round_trip_ms = round_trip * 1000

    def _check_hearing(
        self, row: int, leg: _Leg, blocks: tuple[ReportBlock, ...], beat: int
    ) -> None:
        """Tell when a peer that reports has stopped receiving what we send, or receives again."""
        hears, own = leg.hears, int(self._rows.ssrc_out[row])
        highest = max((each.highest_sequence for each in blocks if each.ssrc == own), default=-1)
        sent = int(self._rows.sent[row])
        if highest >= 0 and highest != hears.highest:
            hears.stuck = 0
        elif sent - hears.sent >= DEAF_PACKETS:
            hears.stuck += 1
        hears.highest, hears.sent = highest, sent
        deaf = hears.stuck >= DEAF_REPORTS
        if deaf != hears.told:
            hears.told = deaf
            at = beat * self._beat_samples
            self._events.append(OneWayAudio(at, leg.seat, "outbound", deaf))
