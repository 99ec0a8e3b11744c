"""Bursts of missing frames, VoIP metrics in reports, MOS, and audio that goes one way only."""

from __future__ import annotations

import random
import re

import pytest

from rtpmix.mixer import bursts
from rtpmix.mixer.commands import OneWayAudio
from rtpmix.rtp.extended_report import DelaySinceReference, ReferenceTime, VoipMetrics
from rtpmix.rtp.rtcp import (
    ExtendedReport,
    ReceiverReport,
    ReportBlock,
    build_compound,
    parse_compound,
)

SECOND = 200  # beats
EXAMPLE = "11110111111111111111111011101011110111111111111111111011111111 1".replace(" ", "")


def play(rig, leg: int, pattern: str, speech) -> bursts.Bursts:
    """Let frames come ("1") or be lost ("0"), and count until all are played."""
    for number, came in enumerate(pattern):
        if came == "1":
            rig.say(leg, speech(number))
        else:
            rig.lose(leg)
        rig.beat(4)
    row = rig.engine.row_of(leg)
    assert row is not None
    return bursts.of_row(rig.engine.rows, row)


def reference(pattern: str) -> tuple[int, int, int]:
    """Count bursts, their frames and their losses from the definition (RFC 3611 section 4.7.2)."""
    clusters = re.split("1{16,}", pattern.strip("1"))
    found = [cluster for cluster in clusters if cluster.count("0") > 1]
    return len(found), sum(map(len, found)), sum(each.count("0") for each in found)


def test_the_example_of_the_rfc_has_one_burst_of_twelve_packets(rig, speech) -> None:
    """RFC 3611 section 4.7.2: densities 0.33 and 0.04."""
    rig.open(1)
    seen = play(rig, 1, EXAMPLE, speech)
    assert (seen.bursts, seen.burst_frames, seen.burst_missing) == (1, 12, 4)
    assert seen.missing == 6
    assert seen.burst_density == pytest.approx(0.33, abs=0.01)
    assert seen.gap_density == pytest.approx(0.04, abs=0.005)


@pytest.mark.parametrize("seed", range(8))
def test_bursts_are_those_of_the_definition(rig, speech, seed: int) -> None:
    source = random.Random(seed)
    pattern = "1" + "".join(
        source.choice(("0", "00", "1", "1" * 5, "1" * 15, "1" * 16, "1" * 30)) for _ in range(60)
    )
    pattern = re.sub("0{40,}", "0" * 39, pattern) + "1" * 4
    rig.open(1)
    seen = play(rig, 1, pattern, speech)
    assert (seen.bursts, seen.burst_frames, seen.burst_missing) == reference(pattern)
    assert seen.missing == pattern.count("0")
    assert seen.runs == len(re.findall("0+", pattern))


def test_silence_of_the_sender_is_no_loss(rig, speech) -> None:
    """Section 4.1 of RFC 3551: time passes and no sequence number does."""
    rig.open(1)
    play(rig, 1, "1" * 10, speech)
    rig.pause(1, 30)
    rig.beat(30 * 4)
    seen = play(rig, 1, "1" * 10, speech)
    assert (seen.missing, seen.bursts) == (0, 0)


def metrics_in(datagram: bytes) -> VoipMetrics:
    report = parse_compound(datagram)[-1]
    assert isinstance(report, ExtendedReport)
    [found] = [block for block in report.blocks if isinstance(block, VoipMetrics)]
    return found


def test_voip_metrics_say_what_was_lost_and_how_it_sounds(rig, speech) -> None:
    """RFC 3611 section 4.7."""
    rig.open(1, extended_reports=True)
    for number in range(500):
        if number % 10 == 3:
            rig.lose(1)
        else:
            rig.say(1, speech(number))
        rig.beat(4)
    told = metrics_in(rig.reports[1][-1])
    assert told.ssrc == 0x5001
    assert 23 <= told.loss_rate <= 26  # a tenth of 256
    assert told.discard_rate <= 1
    assert told.burst_density > 20
    assert 40 <= told.r_factor <= 70
    assert told.mos_listening > 20
    stats = rig.engine.leg_stats(1)
    assert stats.bursts == 1
    assert stats.inbound_r_factor == pytest.approx(told.r_factor, abs=2)


def test_a_clean_call_scores_above_four(rig, speech) -> None:
    rig.open(1)
    play(rig, 1, "1" * 100, speech)
    assert rig.engine.leg_stats(1).inbound_mos > 4.3


def test_nobody_gets_extended_reports_unasked(rig, speech) -> None:
    rig.open(1)
    play(rig, 1, "1" * 500, speech)
    assert rig.reports[1]
    assert not any(
        isinstance(report, ExtendedReport)
        for datagram in rig.reports[1]
        for report in parse_compound(datagram)
    )


def test_who_sends_extended_reports_gets_them(rig, speech) -> None:
    """Its metrics are the outbound verdict, and its reference time is answered (section 4.5)."""
    rig.open(1)
    rig.say(1, speech(1))
    blocks = (
        VoipMetrics(ssrc=0x1001, loss_rate=10, r_factor=71),
        ReferenceTime(0x1234_5678_9ABC_DEF0),
    )
    theirs = [ReceiverReport(ssrc=0x5001), ExtendedReport(0x5001, blocks)]
    rig.hand_in(1, build_compound(theirs), rtcp=True)
    rig.beat(8 * SECOND)
    assert rig.engine.leg_stats(1).outbound_r_factor == 71
    report = parse_compound(rig.reports[1][0])[-1]
    assert isinstance(report, ExtendedReport)
    [answer] = [block for block in report.blocks if isinstance(block, DelaySinceReference)]
    [(ssrc, last, delay)] = answer.answers
    assert (ssrc, last) == (0x5001, 0x5678_9ABC)
    assert 0 < delay < 8 * 65536


def test_a_leg_that_sends_nothing_measures_the_round_trip_too(rig, speech) -> None:
    """RFC 3611 section 4.4: a reference time goes out, its answer gives the time."""
    rig.open(1, sends=False, extended_reports=True)
    rig.say(1, speech(1))
    rig.beat(8 * SECOND)
    report = parse_compound(rig.reports[1][-1])[-1]
    assert isinstance(report, ExtendedReport)
    [asked] = [block for block in report.blocks if isinstance(block, ReferenceTime)]
    sent_for = rig.engine.beat
    answer = DelaySinceReference(((0x1001, asked.ntp >> 16 & 0xFFFF_FFFF, 0),))
    theirs = [ReceiverReport(ssrc=0x5001), ExtendedReport(0x5001, (answer,))]
    rig.hand_in(1, build_compound(theirs), rtcp=True)
    round_trip = rig.engine.leg_stats(1).round_trip_ms
    assert round_trip is not None
    assert 0 < round_trip < sent_for * 5


def test_a_peer_that_is_never_heard_is_told_once_and_when_it_speaks(rig, speech) -> None:
    rig.open(1)
    rig.open(2, sends=False)  # a leg that may not send is on hold, and not one-way
    rig.beat(4 * SECOND)
    assert rig.told(OneWayAudio) == []
    rig.beat(6 * SECOND)
    [told] = rig.told(OneWayAudio)
    assert (told.leg, told.direction, told.on) == (1, "inbound", True)
    rig.say(1, speech(1))
    rig.beat(SECOND)
    assert [(event.direction, event.on) for event in rig.told(OneWayAudio)[1:]] == [
        ("inbound", False)
    ]


def report_of(highest: int | None) -> bytes:
    blocks = () if highest is None else (ReportBlock(ssrc=0x1001, highest_sequence=highest),)
    return build_compound([ReceiverReport(ssrc=0x5001, blocks=blocks)])


@pytest.mark.parametrize("stuck", [None, 500])
def test_a_peer_whose_reports_stand_still_does_not_hear_us(rig, speech, stuck: int | None) -> None:
    """RFC 3550 section 6.4.1: the extended highest sequence number received."""
    rig.open(1)
    for highest in (300, 400, stuck, stuck, stuck):
        play(rig, 1, "1" * 60, speech)
        rig.hand_in(1, report_of(highest), rtcp=True)
    rig.beat()
    assert [(event.direction, event.on) for event in rig.told(OneWayAudio)] == [("outbound", True)]
    play(rig, 1, "1" * 60, speech)
    rig.hand_in(1, report_of(700), rtcp=True)
    rig.beat()
    assert [event.on for event in rig.told(OneWayAudio)] == [True, False]


def test_a_stranger_s_report_says_nothing_about_hearing(rig, speech) -> None:
    rig.open(1)
    for _ in range(4):
        play(rig, 1, "1" * 60, speech)
        rig.hand_in(1, build_compound([ReceiverReport(ssrc=0xBAD)]), rtcp=True)
    rig.beat()
    assert rig.told(OneWayAudio) == []
