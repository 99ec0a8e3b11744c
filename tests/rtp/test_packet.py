"""RTP headers: RFC 3550 section 5.1."""

import random

import pytest

from rtpmix.errors import RtpParseError, UsageError
from rtpmix.rtp.packet import HeaderExtension, RtpPacket, is_rtcp

# Written out by hand from the figure of section 5.1: V=2, CC=1, M, PT 101, seq 0x1234.
KNOWN = bytes.fromhex("81e5 1234 00000320 cafebabe 0000002a 0b8a00a0")


def test_a_packet_written_by_hand_is_read_field_by_field() -> None:
    """RFC 3550 section 5.1."""
    assert RtpPacket.parse(KNOWN) == RtpPacket(
        payload_type=101,
        sequence_number=0x1234,
        timestamp=800,
        ssrc=0xCAFEBABE,
        payload=bytes.fromhex("0b8a00a0"),
        marker=True,
        csrc=(42,),
    )


def test_the_same_packet_is_written_byte_for_byte() -> None:
    """RFC 3550 section 5.1."""
    assert RtpPacket.parse(KNOWN).to_bytes() == KNOWN


def test_extension_and_padding_are_kept_out_of_the_payload() -> None:
    """RFC 3550 sections 5.1 (P) and 5.3.1 (X)."""
    data = bytes.fromhex("b000 0001 00000000 00000001 bede0001 10aa0000 7f7f 00000004")
    packet = RtpPacket.parse(data)
    assert packet.payload == b"\x7f\x7f"
    assert packet.extension == HeaderExtension(0xBEDE, bytes.fromhex("10aa0000"))
    assert packet.padding == 4
    assert packet.to_bytes() == data


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "12 octets"),
        (KNOWN[:11], "12 octets"),
        (b"\x41" + KNOWN[1:], "version 1"),
        (b"\x8f" + KNOWN[1:], "CSRC"),
        (b"\x90" + KNOWN[1:12], "extension"),
        (b"\x90" + KNOWN[1:12] + b"\xbe\xde\x00\x02aaaa", "extension"),
        (b"\xa0" + KNOWN[1:12] + b"\x00", "padding"),
        (b"\xa0" + KNOWN[1:12] + b"\x02", "padding"),
        (b"\xa0" + KNOWN[1:12], "padding"),
    ],
)
def test_a_packet_that_does_not_add_up_is_refused(data: bytes, why: str) -> None:
    """RFC 3550 appendix A.1."""
    with pytest.raises(RtpParseError, match=why):
        RtpPacket.parse(data)


def test_random_packets_survive_writing_and_reading() -> None:
    """RFC 3550 section 5.1, seed 1."""
    rng = random.Random(1)
    for _ in range(500):
        packet = RtpPacket(
            payload_type=rng.randrange(128),
            sequence_number=rng.randrange(1 << 16),
            timestamp=rng.randrange(1 << 32),
            ssrc=rng.randrange(1 << 32),
            payload=rng.randbytes(rng.randrange(200)),
            marker=rng.random() < 0.5,
            csrc=tuple(rng.randrange(1 << 32) for _ in range(rng.randrange(16))),
            extension=rng.choice([None, HeaderExtension(1, rng.randbytes(8))]),
            padding=rng.choice([0, 1, 4, 255]),
        )
        assert RtpPacket.parse(packet.to_bytes()) == packet


def test_random_bytes_raise_nothing_but_a_parse_error() -> None:
    """What a peer sends never breaks the reader, seed 2."""
    rng = random.Random(2)
    for _ in range(5000):
        data = bytes([rng.choice([0x80, 0x9F, 0xB0, 0xA0])]) + rng.randbytes(rng.randrange(60))
        try:
            packet = RtpPacket.parse(data)
        except RtpParseError:
            continue
        assert packet.to_bytes()[:12] == data[:12]


@pytest.mark.parametrize(
    "change",
    [
        {"payload_type": 128},
        {"sequence_number": 1 << 16},
        {"timestamp": -1},
        {"ssrc": 1 << 32},
        {"csrc": (0,) * 16},
        {"csrc": (-1,)},
        {"padding": 256},
        {"extension": HeaderExtension(0, b"abc")},
        {"extension": HeaderExtension(1 << 16, b"")},
    ],
)
def test_a_field_that_does_not_fit_is_the_callers_error(change: dict[str, object]) -> None:
    """RFC 3550 section 5.1: the widths of the fields."""
    fields: dict[str, object] = {
        "payload_type": 0,
        "sequence_number": 0,
        "timestamp": 0,
        "ssrc": 0,
    }
    with pytest.raises(UsageError):
        RtpPacket(**(fields | change)).to_bytes()  # type: ignore[arg-type]


def test_rtcp_is_told_from_rtp_by_the_second_octet() -> None:
    """RFC 5761 section 4."""
    assert [pt for pt in range(256) if is_rtcp(bytes([0x80, pt]))] == list(range(192, 224))
    assert not is_rtcp(b"\x80")
