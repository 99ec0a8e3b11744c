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
CHECKSUM = 16 + 20 + 6  # where in a record the UDP checksum is

# Record header (little endian, as the file header says), then the network's order.
_RECORD = struct.Struct("<IIII")
_TIME = struct.Struct("<II")
_LENGTHS = struct.Struct("<II")
_NETWORK = struct.Struct(">BBHHHBBH4s4sHHHH")
_UDP = 17
_DONT_FRAGMENT = 0x4000


def pack_time(microseconds: int) -> bytes:
    """Return the first half of a record header for a time since the epoch."""
    return _TIME.pack(*divmod(microseconds, 1_000_000))


class DatagramFrame:
    """What the records of one UDP flow have in common.

    Parameters
    ----------
    port
        Source and destination port of the flow.
    """

    __slots__ = ("_heads", "_port")

    def __init__(self, port: int) -> None:
        self._port = port
        # Payload size: all from the record's lengths to the UDP length, and the sum so far.
        # A flow has packets of a handful of sizes.
        self._heads: dict[int, tuple[bytes, int]] = {}

    def record(self, payload: bytes, time: bytes) -> bytes:
        """Return one whole pcap record around an UDP payload of less than 1,472 bytes.

        Parameters
        ----------
        payload
            What the datagram carries.
        time
            From `pack_time`.
        """
        size = len(payload)
        head = self.head(size)
        # A sum in ones' complement is a remainder modulo 65535 (RFC 1071 section 2 allows any
        # grouping of the words), which Python takes of a whole packet in one step.
        whole = int.from_bytes(payload, "big")
        if size & 1:
            whole <<= 8
        checksum = 0xFFFF - (head[1] + whole) % 0xFFFF
        return b"".join((time, head[0], checksum.to_bytes(2, "big"), payload))

    def head(self, size: int) -> tuple[bytes, int]:
        """Return what stands between the time and the checksum, and the sum of what it covers.

        Parameters
        ----------
        size
            Octets of the UDP payload.
        """
        head = self._heads.get(size)
        if head is None:
            head = self._heads[size] = self._make_head(size)
        return head

    def _make_head(self, size: int) -> tuple[bytes, int]:
        total, udp_size, port = size + 28, size + 8, self._port
        fields = (0x45, 0, total, 0, _DONT_FRAGMENT, 64, _UDP, 0, SOURCE, DESTINATION)
        udp = (port, port, udp_size, 0)
        bare = _NETWORK.pack(*fields, *udp)
        ip_checksum = 0xFFFF - int.from_bytes(bare[:20], "big") % 0xFFFF
        network = bare[:10] + ip_checksum.to_bytes(2, "big") + bare[12:26]
        # The pseudo header (RFC 768): addresses, protocol, and the UDP length a second time.
        pseudo = int.from_bytes(SOURCE + DESTINATION, "big") + _UDP + udp_size
        udp_sum = pseudo + int.from_bytes(bare[20:], "big")
        return _LENGTHS.pack(total, total) + network, udp_sum % 0xFFFF


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
