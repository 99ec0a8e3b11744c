"""Tests of `rtpmix.recorder.track`."""

from __future__ import annotations

import dataclasses

import pylibsrtp
import pytest

from rtpmix.recorder.pcap import FILE_HEADER, pack_time, scan
from rtpmix.recorder.track import Kind, Moment, Track, TrackWriter
from rtpmix.rtp.packet import RtpPacket
from rtpmix.rtp.rtcp import Goodbye, SenderReport, parse_compound
from rtpmix.rtp.srtp import MasterKey, SrtpSession

TRACK = Track("agent.in", Kind.SPOKEN, 0xCAFE0001, 16386, leg="agent", role="agent", codec="L16")
FRAME = bytes(320)


def moment(sample: int) -> Moment:
    return Moment(sample, pack_time(sample * 125))


def open_with_libsrtp(key: MasterKey, *records: bytes) -> list[RtpPacket]:
    """Decrypt by the library itself, not by our wrapper."""
    policy = pylibsrtp.Policy(
        key=key.material,
        ssrc_type=pylibsrtp.Policy.SSRC_ANY_INBOUND,
        srtp_profile=key.suite.profile,
    )
    session = pylibsrtp.Session(policy)
    datagrams = scan(FILE_HEADER + b"".join(records))
    return [RtpPacket.parse(session.unprotect(datagram.payload)) for datagram in datagrams]


@pytest.mark.parametrize("suite", ["AES_CM_128_HMAC_SHA1_80", "AEAD_AES_256_GCM"])
def test_sequence_starts_at_0_and_timestamp_is_the_sample(suite: str) -> None:
    """The capture's own RTP session: RFC 3550 section 5.1, RFC 3711, RFC 7714."""
    key = MasterKey.generate(suite)
    writer = TrackWriter(TRACK, key)
    samples = [8000, 8160, 8320]
    records = [writer.audio(FRAME, moment(at), 96, 160, (7, 8)) for at in samples]
    packets = open_with_libsrtp(key, *records)
    assert [packet.sequence_number for packet in packets] == [0, 1, 2]
    assert [packet.timestamp for packet in packets] == samples
    assert {packet.ssrc for packet in packets} == {0xCAFE0001}
    assert {packet.csrc for packet in packets} == {(7, 8)}
    assert {packet.payload for packet in packets} == {FRAME}


def test_the_marker_tells_of_a_gap_before_the_packet() -> None:
    """RFC 3551 section 4.1: the first packet after a silence has it."""
    key = MasterKey.generate()
    writer = TrackWriter(TRACK, key)
    records = [writer.audio(FRAME, moment(at), 96, 160) for at in (0, 160, 480, 640)]
    packets = open_with_libsrtp(key, *records)
    assert [packet.marker for packet in packets] == [True, False, True, False]
    assert [packet.sequence_number for packet in packets] == [0, 1, 2, 3]


def test_timestamps_wrap_at_32_bits() -> None:
    """A recording may last for six days and more."""
    key = MasterKey.generate()
    writer = TrackWriter(TRACK, key)
    (packet,) = open_with_libsrtp(key, writer.audio(FRAME, moment(2**32 + 160), 96, 160))
    assert packet.timestamp == 160


def test_a_report_counts_packets_and_octets_and_bye_ends() -> None:
    """RFC 3550 sections 6.4.1 and 6.6; the clock map of the NTP timestamp."""
    key = MasterKey.generate()
    writer = TrackWriter(TRACK, key)
    for at in (0, 160):
        writer.audio(FRAME, moment(at), 96, 160)
    record = writer.report(moment(320), 1_000_000_000.5, bye=True)
    (datagram,) = scan(FILE_HEADER + record)
    assert datagram.port == TRACK.port + 1
    session = pylibsrtp.Session(
        pylibsrtp.Policy(key=key.material, ssrc_type=pylibsrtp.Policy.SSRC_ANY_INBOUND)
    )
    report, _, bye = parse_compound(session.unprotect_rtcp(datagram.payload))
    assert isinstance(report, SenderReport)
    assert (report.packet_count, report.octet_count, report.rtp_timestamp) == (2, 640, 320)
    assert report.ntp == (1_000_000_000 + 2_208_988_800) << 32 | 1 << 31
    assert bye == Goodbye((TRACK.ssrc,))
    assert writer.ended


def test_two_segments_of_one_track_share_no_key_stream() -> None:
    """RFC 3711 section 9.1: the same key and index twice would disclose both packets."""
    first = TrackWriter(TRACK, MasterKey.generate()).audio(FRAME, moment(0), 96, 160)
    second = TrackWriter(TRACK, MasterKey.generate()).audio(FRAME, moment(0), 96, 160)
    assert first[:44] == second[:44][:42] + first[42:44]  # all but the UDP checksum
    assert first[56:] != second[56:]


def test_a_track_survives_its_manifest_form() -> None:
    """`to_json` and back."""
    assert Track.from_json(TRACK.to_json()) == TRACK


def test_a_track_of_a_higher_rate_counts_in_its_own_clock() -> None:
    """RFC 3551 section 4.1: the timestamp's clock is the sampling rate; reports fit it."""
    track = dataclasses.replace(TRACK, rate_hz=48_000)
    assert track.scale == 6
    assert track.duration(960) == 80
    key = MasterKey.generate()
    writer = TrackWriter(track, key)
    records = [writer.audio(bytes(960), moment(at), 99, 80) for at in (0, 80, 160)]
    packets = open_with_libsrtp(key, *records)
    assert [packet.timestamp for packet in packets] == [0, 480, 960]
    assert [packet.marker for packet in packets] == [True, False, False]
    late = writer.audio(bytes(960), moment(2**32 // 6 + 80), 99, 80)
    (packet,) = open_with_libsrtp(key, late)
    assert packet.timestamp == (2**32 // 6 + 80) * 6 - 2**32
    record = writer.report(moment(800), 1e9, bye=True)
    session = SrtpSession.receiver(key, ssrc=track.ssrc)
    (datagram,) = scan(FILE_HEADER + record)
    reports = parse_compound(session.unprotect_rtcp(datagram.payload))
    assert [r.rtp_timestamp for r in reports if isinstance(r, SenderReport)] == [4800]


@pytest.mark.parametrize("rate", [0, 44_100, "16000", None])
def test_a_rate_that_no_track_has_is_no_entry_of_ours(rate: object) -> None:
    entry = TRACK.to_json()
    assert "rate" not in entry
    wide = dataclasses.replace(TRACK, rate_hz=16_000).to_json()
    assert wide == {**entry, "rate": 16_000}
    assert Track.from_json(wide).rate_hz == 16_000
    assert Track.from_json(entry).rate_hz == 8000
    with pytest.raises(ValueError, match="rate"):
        Track.from_json({**entry, "rate": rate})
