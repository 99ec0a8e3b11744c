"""Classic pcap with raw IPv4: written so that any tool opens it, read so that a crash can't hurt.

A capture holds UDP datagrams between two documentation addresses (RFC 5737).  Every track has its
own UDP port pair: the even port is RTP, the next is RTCP (RFC 3550 section 11).

References
----------
draft-ietf-opsawg-pcap (file and record headers), RFC 791 section 3.1, RFC 768, RFC 1071
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from ..errors import RecordingError

LINKTYPE_RAW = 101
MAGIC_MICROSECONDS = 0xA1B2C3D4
SNAPLEN = 65535
FILE_HEADER = struct.pack("<IHHiIII", MAGIC_MICROSECONDS, 2, 4, 0, 0, SNAPLEN, LINKTYPE_RAW)
SOURCE = bytes((192, 0, 2, 1))  # the recorder
DESTINATION = bytes((192, 0, 2, 2))  # whoever plays it
OVERHEAD = 16 + 20 + 8  # record header, IPv4, UDP

# Record header (little endian, as the file header says), then the network's order.
_RECORD = struct.Struct("<IIII")
_NETWORK = struct.Struct(">BBHHHBBH4s4sHHHH")
_UDP = 17
_DONT_FRAGMENT = 0x4000


class DatagramFrame:
    """The constant part of every record of one UDP flow.

    Parameters
    ----------
    port
        Source and destination port of the flow.
    """

    __slots__ = ("_ip_sum", "_port", "_udp_sum")

    def __init__(self, port: int) -> None:
        self._port = port
        fixed = _NETWORK.pack(
            0x45, 0, 0, 0, _DONT_FRAGMENT, 64, _UDP, 0, SOURCE, DESTINATION, 0, 0, 0, 0
        )
        # A sum in ones' complement is a remainder modulo 65535 (RFC 1071 section 2 allows any
        # grouping of the words), which Python takes of a whole packet in one step.
        self._ip_sum = int.from_bytes(fixed[:20], "big") % 0xFFFF
        self._udp_sum = int.from_bytes(SOURCE + DESTINATION, "big") % 0xFFFF + _UDP + 2 * port

    def record(self, payload: bytes, seconds: int, microseconds: int) -> bytes:
        """Return one whole pcap record around an UDP payload of less than 1,472 bytes."""
        size = len(payload)
        udp_size = size + 8
        total = size + 28
        ip_sum = 0xFFFF - (self._ip_sum + total) % 0xFFFF
        whole = int.from_bytes(payload, "big")
        if size & 1:
            whole <<= 8
        # The UDP length counts twice: in the pseudo header and in the header (RFC 768).
        udp_sum = 0xFFFF - (self._udp_sum + 2 * udp_size + whole) % 0xFFFF
        port = self._port
        return b"".join((
            _RECORD.pack(seconds, microseconds, total, total),
            _NETWORK.pack(
                0x45, 0, total, 0, _DONT_FRAGMENT, 64, _UDP, ip_sum, SOURCE, DESTINATION,
                port, port, udp_size, udp_sum,
            ),
            payload,
        ))  # fmt: skip


@dataclass(frozen=True, slots=True)
class Datagram:
    """One record of a capture."""

    offset: int  # of its record header in the file
    at: float  # seconds since the epoch, by the record header
    port: int
    payload: bytes


@dataclass(slots=True)
class Scan:
    """Where a scan of a capture's bytes stands; final when its iterator ends."""

    whole: int = 0  # bytes up to the end of the last whole record
    torn: int = 0  # bytes after it, which are no record
    records: int = 0


def scan(data: bytes | memoryview, progress: Scan | None = None) -> Iterator[Datagram]:
    """Read every whole record, stopping at the first that is cut short.

    Parameters
    ----------
    data
        A whole file.
    progress
        Filled in while reading.

    Raises
    ------
    RecordingError
        Not a capture of ours, or a record that can't be one of ours.
    """
    state = Scan() if progress is None else progress
    view = memoryview(data)
    if bytes(view[: len(FILE_HEADER)]) != FILE_HEADER:
        if FILE_HEADER.startswith(bytes(view)):  # a crash before the header was whole
            state.torn = len(view)
            return
        raise RecordingError("not a classic pcap file with raw IP packets")
    offset = state.whole = len(FILE_HEADER)
    end = len(view)
    while end - offset >= OVERHEAD:
        seconds, microseconds, length, original = _RECORD.unpack_from(view, offset)
        if length != original or not 28 <= length <= SNAPLEN or microseconds >= 1_000_000:
            raise RecordingError(f"the record at byte {offset} has an impossible header")
        if end - offset - 16 < length:
            break
        packet = bytes(view[offset + 16 : offset + 16 + length])
        port, payload = _open_datagram(packet, offset)
        yield Datagram(offset, seconds + microseconds / 1e6, port, payload)
        offset += 16 + length
        state.whole = offset
        state.records += 1
    state.torn = end - offset


def _open_datagram(packet: bytes, offset: int) -> tuple[int, bytes]:
    head = _NETWORK.unpack_from(packet)
    port, udp_size = head[11], head[12]
    right = (
        head[0] == 0x45
        and head[2] == len(packet)
        and head[6] == _UDP
        and head[8] == SOURCE
        and head[9] == DESTINATION
        and head[10] == port
        and udp_size == len(packet) - 20
    )
    if not right or int.from_bytes(packet[:20], "big") % 0xFFFF:
        raise RecordingError(f"the record at byte {offset} holds no datagram of ours")
    payload = packet[28:]
    total = int.from_bytes(packet[12:28] + payload + b"\0" * (len(payload) & 1), "big")
    if (total + _UDP + udp_size) % 0xFFFF:
        raise RecordingError(f"the record at byte {offset} has a wrong UDP checksum")
    return port, payload
