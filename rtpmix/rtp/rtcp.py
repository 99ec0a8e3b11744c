"""RTCP: sender and receiver reports, source descriptions, goodbyes, and compounds of them.

A compound is a list of packets in one datagram.  Types that we do not interpret (APP, feedback)
come out as `UnknownReport`, so that a reader can ignore them by type and the
rest of the compound is still read.

References
----------
RFC 3550 sections 6.1 to 6.7, appendix A.2; RFC 5506 (reduced size); RFC 3611
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import RtpParseError, UsageError
from .extended_report import EXTENDED_REPORT, Block, build_blocks, parse_blocks

SENDER_REPORT = 200
RECEIVER_REPORT = 201
SOURCE_DESCRIPTION = 202
GOODBYE = 203
CNAME = 1  # the SDES item that every compound carries, RFC 3550 section 6.5.1

_NTP_EPOCH = 2_208_988_800  # seconds from 1900 to 1970
_MAX_COUNT = 31  # the RC and SC fields have five bits
_VERSION = 2

_COMMON = struct.Struct("!BBH")
_SENDER_INFO = struct.Struct("!QIII")
_BLOCK = struct.Struct("!IIIIII")


def ntp_timestamp(unix_seconds: float) -> int:
    """Return the 64-bit NTP timestamp of a wall-clock time (RFC 3550 section 4)."""
    whole, fraction = divmod(unix_seconds, 1)
    seconds = int(whole) + _NTP_EPOCH
    return (seconds << 32 | int(fraction * (1 << 32))) & 0xFFFF_FFFF_FFFF_FFFF


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportBlock:
    """What a receiver says about one source, RFC 3550 section 6.4.1.

    ``fraction_lost`` is in 1/256 since the previous report; ``jitter`` in clock units;
    ``delay_since_last`` in 1/65,536 s.
    """

    ssrc: int
    fraction_lost: int = 0
    cumulative_lost: int = 0  # signed
    highest_sequence: int = 0  # extended
    jitter: int = 0
    last_sender_report: int = 0  # the middle 32 bits of its NTP timestamp, 0 when there was none
    delay_since_last: int = 0

    def round_trip_s(self, arrival_ntp: int) -> float | None:
        """Return the round-trip time, for a block about us that arrived at this NTP time.

        None when the receiver had no sender report of ours, or its numbers do not fit our clock.
        """
        if not self.last_sender_report:
            return None
        middle = arrival_ntp >> 16 & 0xFFFF_FFFF
        units = (middle - self.last_sender_report - self.delay_since_last) & 0xFFFF_FFFF
        return units / 65536 if units < 1 << 31 else None


@dataclass(frozen=True, slots=True, kw_only=True)
class SenderReport:
    """SR: what its sender sent so far, and how it hears others (RFC 3550 section 6.4.1)."""

    ssrc: int
    ntp: int  # 64 bits, see `ntp_timestamp`
    rtp_timestamp: int  # the same instant on the media clock
    packet_count: int
    octet_count: int  # of payload
    blocks: tuple[ReportBlock, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiverReport:
    """RR: how a party that sent nothing lately hears others (RFC 3550 section 6.4.2)."""

    ssrc: int
    blocks: tuple[ReportBlock, ...] = ()


@dataclass(frozen=True, slots=True)
class SourceItems:
    """One SDES chunk: a source and its items as (type, text)."""

    ssrc: int
    items: tuple[tuple[int, str], ...] = ()

    @property
    def cname(self) -> str | None:
        """The canonical name, if the chunk has one."""
        return next((text for kind, text in self.items if kind == CNAME), None)


@dataclass(frozen=True, slots=True)
class SourceDescription:
    """SDES: who the sources are (RFC 3550 section 6.5)."""

    chunks: tuple[SourceItems, ...]


@dataclass(frozen=True, slots=True)
class Goodbye:
    """BYE: these sources are leaving (RFC 3550 section 6.6)."""

    ssrcs: tuple[int, ...]
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class ExtendedReport:
    """XR: blocks of further figures (RFC 3611 section 2)."""

    ssrc: int
    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class UnknownReport:
    """An RTCP packet of a type that this module does not interpret."""

    packet_type: int
    count: int  # the five bits after the padding flag
    body: bytes  # after the common header


Report = (
    SenderReport | ReceiverReport | SourceDescription | Goodbye | ExtendedReport | UnknownReport
)


# ------------------------------------------------------------------------------ parsing


def parse_compound(data: bytes, *, reduced_size: bool = False) -> list[Report]:
    """Read one RTCP datagram.

    Parameters
    ----------
    reduced_size
        Also take a datagram that does not begin with SR or RR (RFC 5506), where that was
        negotiated.

    Raises
    ------
    RtpParseError
        What appendix A.2 checks, or a packet whose parts do not fit into its length.
    """
    reports: list[Report] = []
    position = 0
    while position < len(data):
        if position + 4 > len(data):
            raise RtpParseError("an RTCP packet ends inside its header")
        first, packet_type, words = _COMMON.unpack_from(data, position)
        end = position + 4 + 4 * words
        _check_header(first, packet_type, end, len(data), bool(reports) or reduced_size)
        body_end = end
        if first & 0x20:
            padding = data[end - 1]
            if not 4 <= padding <= 4 * words or padding % 4:
                raise RtpParseError(f"{padding} octets of padding do not fit into the RTCP packet")
            body_end -= padding
        reports.append(_parse_one(packet_type, first & 0x1F, bytes(data[position + 4 : body_end])))
        position = end
    if not reports:
        raise RtpParseError("an empty RTCP datagram")
    return reports


def _check_header(first: int, packet_type: int, end: int, length: int, any_type: bool) -> None:
    if first >> 6 != _VERSION:
        raise RtpParseError(f"RTCP version {first >> 6}, not 2")
    if end > length:
        raise RtpParseError("an RTCP packet runs past its datagram")
    if first & 0x20 and end != length:
        raise RtpParseError("only the last packet of an RTCP compound may be padded")
    if not any_type and packet_type not in (SENDER_REPORT, RECEIVER_REPORT):
        raise RtpParseError(f"an RTCP compound begins with SR or RR, not type {packet_type}")


def _parse_one(packet_type: int, count: int, body: bytes) -> Report:
    if packet_type == SENDER_REPORT:
        if len(body) < 24:
            raise RtpParseError("a sender report without its sender information")
        ntp, rtp_timestamp, packets, octets = _SENDER_INFO.unpack_from(body, 4)
        return SenderReport(
            ssrc=int.from_bytes(body[:4], "big"),
            ntp=ntp,
            rtp_timestamp=rtp_timestamp,
            packet_count=packets,
            octet_count=octets,
            blocks=_parse_blocks(body, 24, count),
        )
    if packet_type == RECEIVER_REPORT:
        if len(body) < 4:
            raise RtpParseError("a receiver report without an SSRC")
        ssrc = int.from_bytes(body[:4], "big")
        return ReceiverReport(ssrc=ssrc, blocks=_parse_blocks(body, 4, count))
    if packet_type == SOURCE_DESCRIPTION:
        return _parse_source_description(body, count)
    if packet_type == GOODBYE:
        return _parse_goodbye(body, count)
    if packet_type == EXTENDED_REPORT:
        if len(body) < 4:
            raise RtpParseError("an extended report without an SSRC")
        return ExtendedReport(int.from_bytes(body[:4], "big"), parse_blocks(body[4:]))
    return UnknownReport(packet_type, count, body)


def _parse_blocks(body: bytes, position: int, count: int) -> tuple[ReportBlock, ...]:
    if position + _BLOCK.size * count > len(body):
        raise RtpParseError(f"{count} report blocks do not fit into the RTCP packet")
    return tuple(_parse_block(body, position + _BLOCK.size * i) for i in range(count))


def _parse_block(body: bytes, position: int) -> ReportBlock:
    ssrc, lost, highest, jitter, last, delay = _BLOCK.unpack_from(body, position)
    cumulative = lost & 0xFF_FFFF
    return ReportBlock(
        ssrc=ssrc,
        fraction_lost=lost >> 24,
        cumulative_lost=cumulative - (1 << 24 if cumulative >> 23 else 0),
        highest_sequence=highest,
        jitter=jitter,
        last_sender_report=last,
        delay_since_last=delay,
    )


def _parse_source_description(body: bytes, count: int) -> SourceDescription:
    chunks: list[SourceItems] = []
    position = 0
    for _ in range(count):
        if position + 4 > len(body):
            raise RtpParseError("a source description has fewer chunks than it counts")
        ssrc = int.from_bytes(body[position : position + 4], "big")
        items, position = _parse_items(body, position + 4)
        chunks.append(SourceItems(ssrc, items))
    return SourceDescription(tuple(chunks))


def _parse_items(body: bytes, position: int) -> tuple[tuple[tuple[int, str], ...], int]:
    items: list[tuple[int, str]] = []
    while position < len(body) and body[position]:
        if position + 2 > len(body) or position + 2 + body[position + 1] > len(body):
            raise RtpParseError("a source description item runs past its packet")
        end = position + 2 + body[position + 1]
        items.append((body[position], body[position + 2 : end].decode("utf-8", "replace")))
        position = end
    # One to four null octets end the list on a 32-bit boundary (RFC 3550 section 6.5).
    return tuple(items), (position // 4 + 1) * 4


def _parse_goodbye(body: bytes, count: int) -> Goodbye:
    end = 4 * count
    if end > len(body):
        raise RtpParseError("a goodbye has fewer sources than it counts")
    ssrcs = struct.unpack_from(f"!{count}I", body)
    if len(body) == end:
        return Goodbye(ssrcs)
    length = body[end]
    if end + 1 + length > len(body):
        raise RtpParseError("the reason of a goodbye runs past its packet")
    return Goodbye(ssrcs, body[end + 1 : end + 1 + length].decode("utf-8", "replace"))


# ----------------------------------------------------------------------------- building


def build_compound(reports: Sequence[Report]) -> bytes:
    """Return the datagram of these packets, in this order.

    Raises
    ------
    UsageError
        Nothing to send, more than 31 blocks, chunks or sources in a packet, a text above 255
        octets, or a number that does not fit into its field.
    """
    if not reports:
        raise UsageError("an RTCP datagram has at least one packet, an SR or an RR")
    try:
        return b"".join(_build_one(report) for report in reports)
    except struct.error as exc:
        raise UsageError(f"an RTCP field does not fit into its bits: {exc}") from exc


def _build_one(report: Report) -> bytes:
    if isinstance(report, SenderReport):
        info = _SENDER_INFO.pack(
            report.ntp, report.rtp_timestamp, report.packet_count, report.octet_count
        )
        body = struct.pack("!I", report.ssrc) + info + _blocks_bytes(report.blocks)
        return _packet(SENDER_REPORT, len(report.blocks), body)
    if isinstance(report, ReceiverReport):
        body = struct.pack("!I", report.ssrc) + _blocks_bytes(report.blocks)
        return _packet(RECEIVER_REPORT, len(report.blocks), body)
    if isinstance(report, SourceDescription):
        body = b"".join(_chunk_bytes(chunk) for chunk in report.chunks)
        return _packet(SOURCE_DESCRIPTION, len(report.chunks), body)
    if isinstance(report, Goodbye):
        body = struct.pack(f"!{len(report.ssrcs)}I", *report.ssrcs)
        if report.reason is not None:
            body += _text_bytes(report.reason)
        return _packet(GOODBYE, len(report.ssrcs), body + bytes(-len(body) % 4))
    if isinstance(report, ExtendedReport):
        body = struct.pack("!I", report.ssrc) + build_blocks(report.blocks)
        return _packet(EXTENDED_REPORT, 0, body)
    return _packet(report.packet_type, report.count, report.body)


def _packet(packet_type: int, count: int, body: bytes) -> bytes:
    if count > _MAX_COUNT:
        raise UsageError(f"{count} parts in one RTCP packet; it has room for {_MAX_COUNT}")
    if len(body) % 4:
        raise UsageError("the body of an RTCP packet is whole 32-bit words")
    return _COMMON.pack(_VERSION << 6 | count, packet_type, len(body) // 4) + body


def _blocks_bytes(blocks: Sequence[ReportBlock]) -> bytes:
    return b"".join(
        _BLOCK.pack(
            block.ssrc,
            block.fraction_lost << 24 | block.cumulative_lost & 0xFF_FFFF,
            block.highest_sequence,
            block.jitter,
            block.last_sender_report,
            block.delay_since_last,
        )
        for block in blocks
    )


def _chunk_bytes(chunk: SourceItems) -> bytes:
    body = struct.pack("!I", chunk.ssrc)
    for kind, text in chunk.items:
        body += bytes([kind]) + _text_bytes(text)
    return body + bytes(4 - len(body) % 4)


def _text_bytes(text: str) -> bytes:
    data = text.encode()
    if len(data) > 255:
        raise UsageError(f"an RTCP text of {len(data)} octets; at most 255 fit")
    return bytes([len(data)]) + data
