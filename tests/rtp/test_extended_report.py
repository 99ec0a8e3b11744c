"""RTCP XR on the wire (RFC 3611)."""

import struct

import pytest

from rtpmix.errors import RtpParseError, UsageError
from rtpmix.rtp.extended_report import (
    DelaySinceReference,
    ReferenceTime,
    UnknownBlock,
    VoipMetrics,
)
from rtpmix.rtp.rtcp import ExtendedReport, ReceiverReport, build_compound, parse_compound

METRICS = VoipMetrics(
    ssrc=0xA1B2C3D4,
    loss_rate=12,
    discard_rate=12,
    burst_density=84,
    gap_density=10,
    burst_duration_ms=120,
    gap_duration_ms=520,
    round_trip_ms=80,
    end_system_delay_ms=40,
    signal_level_dbm0=-18,
    noise_level_dbm0=-60,
    r_factor=88,
    mos_listening=43,
    mos_conversation=42,
    receiver_configuration=0xB0,
    nominal_delay_ms=20,
    maximum_delay_ms=40,
    absolute_maximum_delay_ms=320,
)


def test_voip_metrics_stand_where_the_figure_says() -> None:
    """RFC 3611 sections 2 and 4.7: the octets of the header and of each word."""
    wire = build_compound([ReceiverReport(ssrc=1), ExtendedReport(1, (METRICS,))])[8:]
    assert wire[:8] == bytes.fromhex("80cf000a00000001")
    assert wire[8:12] == bytes.fromhex("07000008")
    assert wire[12:16] == bytes.fromhex("a1b2c3d4")
    assert list(wire[16:20]) == [12, 12, 84, 10]
    assert struct.unpack("!4H", wire[20:28]) == (120, 520, 80, 40)
    assert struct.unpack("!bb", wire[28:30]) == (-18, -60)
    assert list(wire[30:36]) == [127, 16, 88, 127, 43, 42]
    assert wire[36:38] == b"\xb0\x00"
    assert struct.unpack("!3H", wire[38:44]) == (20, 40, 320)
    assert len(wire) == 44


def test_every_block_is_read_as_it_was_written() -> None:
    blocks = (
        METRICS,
        ReferenceTime(0x0123_4567_89AB_CDEF),
        DelaySinceReference(((1, 2, 3), (4, 5, 6))),
        UnknownBlock(200, 7, b"abcd"),
    )
    report = ExtendedReport(9, blocks)
    assert parse_compound(build_compound([ReceiverReport(ssrc=9), report]))[1] == report


@pytest.mark.parametrize(
    "body",
    [
        b"\x07\x00\x00\x02" + bytes(8),  # VoIP metrics of the wrong length
        b"\x04\x00\x00\x01" + bytes(4),
        b"\x05\x00\x00\x02" + bytes(8),
        b"\x09\x00\x00\x05" + bytes(4),  # past its packet
    ],
)
def test_a_block_that_does_not_fit_is_refused(body: bytes) -> None:
    packet = struct.pack("!BBHI", 0x80, 207, 1 + len(body) // 4, 5) + body
    with pytest.raises(RtpParseError):
        parse_compound(packet, reduced_size=True)


def test_an_extended_report_without_a_sender_is_refused() -> None:
    with pytest.raises(RtpParseError):
        parse_compound(b"\x80\xcf\x00\x00", reduced_size=True)


def test_a_number_that_does_not_fit_is_the_callers_fault() -> None:
    with pytest.raises(UsageError):
        build_compound([ExtendedReport(1, (VoipMetrics(ssrc=1, loss_rate=256),))])
