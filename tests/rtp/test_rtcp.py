"""RTCP: RFC 3550 section 6."""

import random

import pytest

from rtpmix.errors import RtpParseError, UsageError
from rtpmix.rtp.rtcp import (
    CNAME,
    Goodbye,
    ReceiverReport,
    ReportBlock,
    SenderReport,
    SourceDescription,
    SourceItems,
    UnknownReport,
    build_compound,
    ntp_timestamp,
    parse_compound,
)

# Written out by hand from the figures of sections 6.4.1, 6.5 and 6.6.
SR = bytes.fromhex(
    "81c8000c 00000001 b44db705 20000000 00003e80 00000064 00003e80"
    "00000002 40ffffff 00010003 00000020 b7052000 00054000"
)
SDES = bytes.fromhex("81ca0003 00000001 01 03 613a62 00 0000")
BYE = bytes.fromhex("81cb0002 00000001 03 627965")
SENDER = SenderReport(
    ssrc=1,
    ntp=0xB44DB705_20000000,
    rtp_timestamp=16000,
    packet_count=100,
    octet_count=16000,
    blocks=(
        ReportBlock(
            ssrc=2,
            fraction_lost=64,
            cumulative_lost=-1,
            highest_sequence=65539,
            jitter=32,
            last_sender_report=0xB7052000,
            delay_since_last=0x54000,
        ),
    ),
)
COMPOUND = [
    SENDER,
    SourceDescription((SourceItems(1, ((CNAME, "a:b"),)),)),
    Goodbye((1,), "bye"),
]


def test_a_compound_written_by_hand_is_read() -> None:
    """RFC 3550 sections 6.4.1, 6.5, 6.6."""
    assert parse_compound(SR + SDES + BYE) == COMPOUND


def test_the_same_compound_is_written_byte_for_byte() -> None:
    """RFC 3550 sections 6.4.1, 6.5, 6.6."""
    assert build_compound(COMPOUND) == SR + SDES + BYE


def test_items_end_with_at_least_one_null_octet() -> None:
    """RFC 3550 section 6.5: an item list that fills its word is followed by four."""
    chunk = SourceItems(1, ((CNAME, "ab"),))
    data = build_compound([ReceiverReport(ssrc=1), SourceDescription((chunk, chunk))])
    assert data[8:].hex() == "82ca0006" + "00000001" + "01026162" + "00000000" + (
        "00000001" + "01026162" + "00000000"
    )
    assert parse_compound(data)[1] == SourceDescription((chunk, chunk))
    assert chunk.cname == "ab"
    assert SourceItems(1).cname is None


def test_a_packet_of_unknown_type_is_kept_aside() -> None:
    """RFC 3550 section 6.1: unknown types should be ignored, and the rest be read."""
    app = UnknownReport(204, 3, b"\0\0\0\1rtpm")
    reports = [ReceiverReport(ssrc=9), app, Goodbye((9,))]
    assert parse_compound(build_compound(reports)) == reports


def test_padding_of_the_last_packet_is_dropped() -> None:
    """RFC 3550 section 6.4.1 (P)."""
    padded = bytes.fromhex("a1cb0002 00000001 00000004")
    assert parse_compound(bytes.fromhex("80c90001 00000001") + padded)[1] == Goodbye((1,))


def test_reduced_size_begins_with_any_type_where_negotiated() -> None:
    """RFC 5506 section 3.2 against RFC 3550 appendix A.2."""
    with pytest.raises(RtpParseError, match="begins with SR or RR"):
        parse_compound(BYE)
    assert parse_compound(BYE, reduced_size=True) == [Goodbye((1,), "bye")]


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "empty"),
        (SR[:3], "inside its header"),
        (SR[:-4], "past its datagram"),
        (b"\x41" + SR[1:], "version 1"),
        (SR + SDES[:2], "inside its header"),
        (b"\xa1" + SR[1:] + BYE, "only the last"),
        (bytes.fromhex("80c80001 00000001"), "sender information"),
        (bytes.fromhex("82c90001 00000001"), "report blocks"),
        (bytes.fromhex("80c90000"), "SSRC"),
        (bytes.fromhex("80c90001 00000001 81ca0000"), "chunks"),
        (bytes.fromhex("80c90001 00000001 81ca0002 00000001 01ff6162"), "item"),
        (bytes.fromhex("80c90001 00000001 81cb0000"), "goodbye"),
        (bytes.fromhex("80c90001 00000001 81cb0002 00000001 04626162"), "reason"),
        (bytes.fromhex("a0c90001 00000008"), "padding"),
        (bytes.fromhex("a0c90001 00000003"), "padding"),
        (bytes.fromhex("a0c90000"), "padding"),
    ],
)
def test_a_datagram_that_does_not_add_up_is_refused(data: bytes, why: str) -> None:
    """RFC 3550 appendix A.2."""
    with pytest.raises(RtpParseError, match=why):
        parse_compound(data)


def test_random_changes_raise_nothing_but_a_parse_error() -> None:
    """What a peer sends never breaks the reader, seed 1."""
    rng = random.Random(1)
    for _ in range(20000):
        data = bytearray(SR + SDES + BYE)
        for _ in range(rng.randrange(1, 6)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        data = data[: rng.randrange(len(data) + 1)] if rng.random() < 0.3 else data
        try:
            parse_compound(bytes(data), reduced_size=rng.random() < 0.5)
        except RtpParseError:
            continue


@pytest.mark.parametrize(
    "reports",
    [
        [],
        [Goodbye((1,) * 32)],
        [Goodbye((1,), "x" * 256)],
        [ReceiverReport(ssrc=-1)],
        [UnknownReport(204, 0, b"abc")],
        [SourceDescription((SourceItems(1, ((CNAME, "é" * 200),)),))],
    ],
)
def test_what_does_not_fit_is_the_callers_error(reports: list[Goodbye]) -> None:
    """RFC 3550 section 6: widths of fields and counts."""
    with pytest.raises(UsageError):
        build_compound(reports)


def test_ntp_time_counts_from_1900_in_2_to_the_minus_32() -> None:
    """RFC 3550 section 4."""
    assert ntp_timestamp(0.0) == 2_208_988_800 << 32
    assert ntp_timestamp(0.5) == 2_208_988_800 << 32 | 1 << 31


def test_the_round_trip_of_the_rfcs_own_example() -> None:
    """RFC 3550 figure 2: A = 0xb710:8000, LSR 0xb705:2000, DLSR 0x0005:4000 give 6.125 s."""
    block = ReportBlock(ssrc=1, last_sender_report=0xB705_2000, delay_since_last=0x0005_4000)
    assert block.round_trip_s(0xB710_8000 << 16) == 6.125
    assert block.round_trip_s(0xB705_0000 << 16) is None  # before we sent it: not our clock
    assert ReportBlock(ssrc=1).round_trip_s(0) is None
