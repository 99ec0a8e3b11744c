"""Tests of `rtpmix.recorder.pcap`."""

from __future__ import annotations

import random
import struct

import pytest

from rtpmix.errors import RecordingError
from rtpmix.recorder.pcap import FILE_HEADER, DatagramFrame, Scan, pack_time, scan


def ones_complement(data: bytes) -> int:
    """Sum 16-bit words with end-around carry, as RFC 1071 section 4.1 does it in C."""
    if len(data) & 1:
        data += b"\0"
    total = 0
    for (word,) in struct.iter_unpack(">H", data):
        total += word
        total = (total & 0xFFFF) + (total >> 16)
    return total


def make_file(sizes: list[int], seed: int = 1) -> tuple[bytes, list[bytes]]:
    rng = random.Random(seed)
    payloads = [rng.randbytes(size) for size in sizes]
    frame = DatagramFrame(16386)
    records = [frame.record(p, pack_time(1_000_000 * n + n)) for n, p in enumerate(payloads)]
    return FILE_HEADER + b"".join(records), payloads


def test_the_file_header_says_classic_pcap_with_raw_ip() -> None:
    """draft-ietf-opsawg-pcap section 4; LINKTYPE_RAW is 101."""
    assert FILE_HEADER.hex() == "d4c3b2a1020004000000000000000000ffff000065000000"


@pytest.mark.parametrize("size", [0, 1, 2, 159, 170, 182, 342, 1356])
def test_ip_and_udp_checksums_are_those_of_the_c_code_in_rfc_1071(size: int) -> None:
    """RFC 791 section 3.1, RFC 768: a correct checksum sums to all ones with the rest."""
    for seed in range(50):
        payload = random.Random(seed).randbytes(size)
        record = DatagramFrame(40_000).record(payload, pack_time(5))
        packet = record[16:]
        assert ones_complement(packet[:20]) == 0xFFFF
        pseudo = packet[12:20] + bytes((0, 17)) + struct.pack(">H", size + 8)
        assert ones_complement(pseudo + packet[20:]) == 0xFFFF
        assert struct.unpack("<IIII", record[:16]) == (0, 5, size + 28, size + 28)
        assert packet[26:28] != b"\0\0"  # RFC 768: zero would mean that there is no checksum


def test_what_was_written_is_read() -> None:
    """Port, time, and payload come back."""
    data, payloads = make_file([160, 0, 333, 1200])
    found = list(scan(data))
    assert [datagram.payload for datagram in found] == payloads
    assert {datagram.port for datagram in found} == {16386}
    assert found[3].at == pytest.approx(3.000003)
    assert found[1].offset == found[0].offset + 16 + 28 + 160


def test_a_file_cut_anywhere_gives_its_whole_records() -> None:
    """A crash tears the last record, at any byte."""
    data, payloads = make_file([10, 20, 30])
    ends = [24, 24 + 54, 24 + 54 + 64, len(data)]
    for cut in range(len(data) + 1):
        progress = Scan()
        found = list(scan(data[:cut], progress))
        whole = sum(1 for end in ends[1:] if end <= cut)
        assert [datagram.payload for datagram in found] == payloads[:whole]
        assert progress.whole + progress.torn == cut
        assert progress.whole == (ends[whole] if cut >= 24 else 0)


def test_a_changed_bit_anywhere_in_a_record_is_noticed_or_is_in_its_time() -> None:
    """UDP's checksum covers addresses, ports, length and payload; the rest is compared."""
    data, payloads = make_file([40, 40])
    for at in range(24, len(data)):
        changed = bytearray(data)
        changed[at] ^= 0x10
        in_time = (at - 24) % 84 < 8
        try:
            found = [datagram.payload for datagram in scan(bytes(changed))]
        except RecordingError:
            found = []
        # A length may also be made to look like a torn record.
        assert in_time or found != payloads


@pytest.mark.parametrize(
    "data", [b"not a capture at all, but long enough", b"\x0a\x0d\x0d\x0a" + bytes(40)]
)
def test_a_foreign_file_is_refused(data: bytes) -> None:
    """Pcapng, or anything else."""
    with pytest.raises(RecordingError, match="classic pcap"):
        list(scan(data))


def test_zeros_after_the_last_record_are_no_records() -> None:
    """A power cut can leave a file with blocks that were never written."""
    data, payloads = make_file([10])
    datagrams = scan(data + bytes(4096))
    assert next(datagrams).payload == payloads[0]
    with pytest.raises(RecordingError, match="impossible header"):
        next(datagrams)
