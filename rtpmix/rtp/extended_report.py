"""RTCP extended reports (XR): voice metrics, and round trips for those who send no media.

Block types other than the three below come out as `UnknownBlock` and are ignored by readers.

References
----------
RFC 3611 sections 2, 3, 4.4, 4.5, 4.7
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import RtpParseError

EXTENDED_REPORT = 207
REFERENCE_TIME = 4
DELAY_SINCE_REFERENCE = 5
VOIP_METRICS = 7
UNAVAILABLE = 127  # a level, an R factor or a MOS that is not known
GMIN = 16  # RFC 3611 section 4.7.2: received packets that end a burst

_HEADER = struct.Struct("!BBH")
_VOIP = struct.Struct("!I4BHHHHbbBBBBBBBxHHH")
_DELAY = struct.Struct("!III")


@dataclass(frozen=True, slots=True, kw_only=True)
class VoipMetrics:
    """How one source sounds to the sender of the report (RFC 3611 section 4.7).

    Rates and densities are in 1/256, durations and delays in ms, levels in dBm0; `mos_listening`
    and `mos_conversation` are ten times the score. 127 means unknown, 0 for a delay too.
    """

    ssrc: int
    loss_rate: int = 0
    discard_rate: int = 0
    burst_density: int = 0
    gap_density: int = 0
    burst_duration_ms: int = 0
    gap_duration_ms: int = 0
    round_trip_ms: int = 0
    end_system_delay_ms: int = 0
    signal_level_dbm0: int = UNAVAILABLE
    noise_level_dbm0: int = UNAVAILABLE
    residual_echo_return_loss_db: int = UNAVAILABLE
    gmin: int = GMIN
    r_factor: int = UNAVAILABLE
    external_r_factor: int = UNAVAILABLE
    mos_listening: int = UNAVAILABLE
    mos_conversation: int = UNAVAILABLE
    receiver_configuration: int = 0
    nominal_delay_ms: int = 0
    maximum_delay_ms: int = 0
    absolute_maximum_delay_ms: int = 0


@dataclass(frozen=True, slots=True)
class ReferenceTime:
    """When the report was sent, on its sender's clock (64-bit NTP, RFC 3611 section 4.4)."""

    ntp: int


@dataclass(frozen=True, slots=True)
class DelaySinceReference:
    """Answers to `ReferenceTime`: (SSRC, middle of its NTP time, 1/65,536 s since) each."""

    answers: tuple[tuple[int, int, int], ...]


@dataclass(frozen=True, slots=True)
class UnknownBlock:
    """A block of a type that this module does not interpret."""

    block_type: int
    type_specific: int
    body: bytes


Block = VoipMetrics | ReferenceTime | DelaySinceReference | UnknownBlock


def parse_blocks(body: bytes) -> tuple[Block, ...]:
    """Read the blocks of an extended report, whose SSRC stands before them.

    Raises
    ------
    RtpParseError
        A block that runs past the packet, or is shorter than what its type holds.
    """
    blocks: list[Block] = []
    position = 0
    while position < len(body):
        if position + 4 > len(body):
            raise RtpParseError("an XR block ends inside its header")
        kind, specific, words = _HEADER.unpack_from(body, position)
        end = position + 4 + 4 * words
        if end > len(body):
            raise RtpParseError("an XR block runs past its packet")
        blocks.append(_parse_block(kind, specific, body[position + 4 : end]))
        position = end
    return tuple(blocks)


def _parse_block(kind: int, specific: int, body: bytes) -> Block:
    if kind == VOIP_METRICS:
        if len(body) != _VOIP.size:
            raise RtpParseError("a VoIP metrics block is not nine words long")
        return VoipMetrics(**dict(zip(VoipMetrics.__slots__, _VOIP.unpack(body), strict=True)))
    if kind == REFERENCE_TIME:
        if len(body) != 8:
            raise RtpParseError("a reference time block is not three words long")
        return ReferenceTime(int.from_bytes(body, "big"))
    if kind == DELAY_SINCE_REFERENCE:
        if len(body) % _DELAY.size:
            raise RtpParseError("a DLRR block does not hold whole sub-blocks")
        return DelaySinceReference(tuple(_DELAY.iter_unpack(body)))
    return UnknownBlock(kind, specific, body)


def build_blocks(blocks: Sequence[Block]) -> bytes:
    """Return the blocks as they follow the SSRC.

    Raises
    ------
    struct.error
        A number that does not fit into its field; `rtcp.build_compound` tells it.
    """
    return b"".join(_build_block(block) for block in blocks)


def _build_block(block: Block) -> bytes:
    specific = 0
    if isinstance(block, VoipMetrics):
        kind, body = VOIP_METRICS, _VOIP.pack(*(getattr(block, n) for n in VoipMetrics.__slots__))
    elif isinstance(block, ReferenceTime):
        kind, body = REFERENCE_TIME, struct.pack("!Q", block.ntp)
    elif isinstance(block, DelaySinceReference):
        kind = DELAY_SINCE_REFERENCE
        body = b"".join(_DELAY.pack(*answer) for answer in block.answers)
    else:
        kind, specific, body = block.block_type, block.type_specific, block.body
    return _HEADER.pack(kind, specific, len(body) // 4) + body
