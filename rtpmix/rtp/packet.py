"""One RTP packet, RFC 3550 section 5.1.

The mixer reads and writes headers for all legs at once with numpy; this class is for everything
that handles one packet at a time: phones, the recorder, tools and tests.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from ..errors import RtpParseError, UsageError

VERSION = 2
HEADER_LENGTH = 12  # octets, without CSRC list and extension
MAX_CSRC = 15  # the CC field has four bits

_FIXED = struct.Struct("!BBHII")
_EXTENSION = struct.Struct("!HH")


def is_rtcp(data: bytes | memoryview) -> bool:
    """Tell RTCP from RTP on one port, by the second octet.

    RTP payload types 64 to 95 with the marker bit are RTCP packet types 192 to 223, and a session
    that multiplexes does not use them.

    References
    ----------
    RFC 5761 section 4
    """
    return len(data) >= 2 and 192 <= data[1] <= 223


@dataclass(frozen=True, slots=True)
class HeaderExtension:
    """The one header extension of RFC 3550 section 5.3.1; ``data`` is whole 32-bit words."""

    profile: int
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class RtpPacket:
    """One RTP packet; ``padding`` counts octets, its own count octet included."""

    payload_type: int
    sequence_number: int
    timestamp: int
    ssrc: int
    payload: bytes = b""
    marker: bool = False
    csrc: tuple[int, ...] = ()
    extension: HeaderExtension | None = None
    padding: int = 0

    @classmethod
    def parse(cls, data: bytes) -> RtpPacket:
        """Read one datagram.

        Raises
        ------
        RtpParseError
            Shorter than a header, another version, or a CSRC list, extension or padding that
            does not fit into the datagram.

        References
        ----------
        RFC 3550 section 5.1, appendix A.1
        """
        if len(data) < HEADER_LENGTH:
            raise RtpParseError(f"an RTP header is 12 octets, this datagram has {len(data)}")
        first, second, sequence_number, timestamp, ssrc = _FIXED.unpack_from(data)
        if first >> 6 != VERSION:
            raise RtpParseError(f"RTP version {first >> 6}, not 2")
        position = HEADER_LENGTH + 4 * (first & 0x0F)
        if position > len(data):
            raise RtpParseError("the CSRC list runs past the datagram")
        csrc = struct.unpack_from(f"!{first & 0x0F}I", data, HEADER_LENGTH)
        extension = None
        if first & 0x10:
            extension, position = _parse_extension(data, position)
        padding = data[-1] if first & 0x20 else 0
        if first & 0x20 and not 1 <= padding <= len(data) - position:
            raise RtpParseError(f"{padding} octets of padding do not fit into the packet")
        return cls(
            payload_type=second & 0x7F,
            sequence_number=sequence_number,
            timestamp=timestamp,
            ssrc=ssrc,
            payload=bytes(data[position : len(data) - padding]),
            marker=bool(second & 0x80),
            csrc=csrc,
            extension=extension,
            padding=padding,
        )

    def to_bytes(self) -> bytes:
        """Return the datagram.

        Raises
        ------
        UsageError
            A field does not fit into its bits.
        """
        if len(self.csrc) > MAX_CSRC:
            raise UsageError(f"{len(self.csrc)} CSRCs; an RTP header has room for {MAX_CSRC}")
        if not (0 <= self.payload_type <= 0x7F and 0 <= self.padding <= 0xFF):
            raise UsageError("an RTP payload type has 7 bits and a padding count 8")
        first = VERSION << 6 | len(self.csrc)
        first |= 0x20 if self.padding else 0
        first |= 0x10 if self.extension is not None else 0
        second = self.payload_type | (0x80 if self.marker else 0)
        try:
            header = _FIXED.pack(first, second, self.sequence_number, self.timestamp, self.ssrc)
            header += struct.pack(f"!{len(self.csrc)}I", *self.csrc)
        except struct.error as exc:
            raise UsageError(f"an RTP header field does not fit into its bits: {exc}") from exc
        if self.extension is not None:
            header += _extension_bytes(self.extension)
        tail = bytes(self.padding - 1) + bytes([self.padding]) if self.padding else b""
        return header + self.payload + tail


def _parse_extension(data: bytes, position: int) -> tuple[HeaderExtension, int]:
    if position + 4 > len(data):
        raise RtpParseError("the header extension runs past the datagram")
    profile, words = _EXTENSION.unpack_from(data, position)
    end = position + 4 + 4 * words
    if end > len(data):
        raise RtpParseError("the header extension runs past the datagram")
    return HeaderExtension(profile, bytes(data[position + 4 : end])), end


def _extension_bytes(extension: HeaderExtension) -> bytes:
    words, rest = divmod(len(extension.data), 4)
    if rest or words > 0xFFFF or not 0 <= extension.profile <= 0xFFFF:
        raise UsageError(
            "an RTP header extension has a 16-bit profile and at most 65,535 whole 32-bit words"
        )
    return _EXTENSION.pack(extension.profile, words) + extension.data
