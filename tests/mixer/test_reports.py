"""RTCP of the engine: what it sends, what it takes from what comes in."""

import itertools
import pickle
import random

from rtpmix.mixer.commands import PeerSaidBye, UpdateLeg
from rtpmix.rtp.rtcp import (
    Goodbye,
    ReceiverReport,
    ReportBlock,
    SenderReport,
    SourceDescription,
    build_compound,
    parse_compound,
)

SECOND = 200  # beats


def test_sender_report_says_what_was_sent_and_heard(make_rig, speech) -> None:
    """RFC 3550 section 6.4.1; appendix A.3 for the losses."""
    rig = make_rig(epoch=1_000_000_000.0)
    rig.open(4)  # its first tick is beat 0
    for number in range(400):
        if number % 10 == 3:
            rig.lose(4)
            rig.frame()
        else:
            rig.frame({4: speech(number)})
    sender, description = parse_compound(rig.reports[4][0])
    assert isinstance(sender, SenderReport)
    assert isinstance(description, SourceDescription)
    assert description.chunks[0].cname == "rtpmix"
    assert sender.ssrc == 0x1004
    assert sender.octet_count == sender.packet_count * 160
    seconds = (sender.ntp >> 32) - 2_208_988_800 - 1_000_000_000
    since = (sender.rtp_timestamp - 5000) / 8000
    assert abs(since - seconds - (sender.ntp & 0xFFFF_FFFF) / (1 << 32)) < 0.001
    [block] = sender.blocks
    assert block.ssrc == 0x5004
    assert 20 < block.fraction_lost < 30  # a tenth of 256


def test_each_leg_reports_every_five_seconds_at_its_own_time(make_rig) -> None:
    """RFC 3550 section 6.2: between half and one and a half intervals."""
    rig = make_rig(source=random.Random(3))
    for leg in range(20):
        rig.open(leg)
    at: dict[int, list[int]] = {leg: [] for leg in range(20)}
    for beat in range(60 * SECOND):
        counts = {leg: len(rig.reports[leg]) for leg in at}
        rig.beat()
        for leg, times in at.items():
            if len(rig.reports[leg]) > counts[leg]:
                times.append(beat)
    gaps = [b - a for times in at.values() for a, b in itertools.pairwise(times)]
    assert min(gaps) >= 2.5 * SECOND
    assert max(gaps) <= 7.5 * SECOND
    assert len({times[0] for times in at.values()}) > 15


def test_leg_that_sends_nothing_sends_receiver_reports(rig) -> None:
    rig.open(1, sends=False)
    rig.beat(10 * SECOND)
    report = parse_compound(rig.reports[1][0])[0]
    assert isinstance(report, ReceiverReport)
    assert report.blocks == ()


def test_peer_report_gives_loss_and_round_trip(rig, speech) -> None:
    rig.open(1)
    while not rig.reports[1]:
        assert rig.engine.beat < 8 * SECOND
        rig.beat()
    sender = parse_compound(rig.reports[1][-1])[0]
    assert isinstance(sender, SenderReport)
    rig.beat(30)  # 150 ms there and back, of which the peer held it for 50
    block = ReportBlock(
        ssrc=0x1001,
        fraction_lost=64,
        last_sender_report=sender.ntp >> 16 & 0xFFFF_FFFF,
        delay_since_last=65536 // 20,
    )
    rig.hand_in(1, build_compound([ReceiverReport(ssrc=5, blocks=(block,))]), rtcp=True)
    stats = rig.engine.leg_stats(1)
    assert stats.remote_lost_fraction == 0.25
    assert stats.round_trip_ms is not None
    assert 90 < stats.round_trip_ms < 115


def test_our_reports_answer_the_peers_sender_report(rig, speech) -> None:
    """RFC 3550 section 6.4.1: LSR and DLSR."""
    rig.open(1)
    rig.say(1, speech(1))
    theirs = SenderReport(
        ssrc=0x5001, ntp=0x1234_5678_9ABC_DEF0, rtp_timestamp=0, packet_count=1, octet_count=160
    )
    rig.hand_in(1, build_compound([theirs]), rtcp=True)
    rig.beat(8 * SECOND)
    report = parse_compound(rig.reports[1][0])[0]
    assert isinstance(report, SenderReport)
    assert report.blocks[0].last_sender_report == 0x5678_9ABC
    assert 0 < report.blocks[0].delay_since_last < 8 * 65536


def test_goodbye_of_the_peer_is_told_and_of_a_stranger_is_not(rig, speech) -> None:
    """RFC 3550 section 6.6."""
    rig.open(1)
    rig.say(1, speech(1))
    for ssrc in (0xBAD, 0x5001):
        reports = [ReceiverReport(ssrc=ssrc), Goodbye((ssrc,))]
        rig.hand_in(1, build_compound(reports), rtcp=True)
    rig.beat()
    assert len(rig.told(PeerSaidBye)) == 1


def test_rtcp_on_the_rtp_port_is_told_apart(rig, speech) -> None:
    """RFC 5761 section 4."""
    rig.open(1)
    rig.say(1, speech(1))
    rig.hand_in(1, build_compound([ReceiverReport(ssrc=0x5001), Goodbye((0x5001,))]))
    rig.beat()
    assert len(rig.told(PeerSaidBye)) == 1
    assert rig.engine.leg_stats(1).dropped == 0


def test_when_a_leg_reports_does_not_depend_on_who_else_is_there(make_rig, speech) -> None:
    """supervision.md, invariant 2: times and contents of RTCP too."""

    def reports(others: range) -> list[tuple[int, bytes]]:
        rig = make_rig(source=random.Random(3))
        for leg in (*others[: len(others) // 2], 1, *others[len(others) // 2 :]):
            rig.open(leg)
        found: list[tuple[int, bytes]] = []
        for number in range(15 * 50):
            rig.say(1, speech(number))
            for _ in range(4):
                at = rig.engine.beat
                before = len(rig.reports[1])
                rig.beat()
                found += [(at, report) for report in rig.reports[1][before:]]
        return found

    alone = reports(range(0))
    assert len(alone) >= 2
    assert reports(range(100, 140)) == alone


def test_reports_that_fell_due_in_a_stall_do_not_come_in_one_burst(rig) -> None:
    for leg in range(60):
        rig.open(leg)
    rig.beat(SECOND)
    rig.engine.skip(50 * 10)
    counts = []
    for _ in range(4 * SECOND):
        before = sum(map(len, rig.reports.values()))
        rig.beat()
        counts.append(sum(map(len, rig.reports.values())) - before)
    assert sum(counts) >= 60
    assert max(counts) < 8


def test_copied_counters_say_the_same_as_those_of_each_leg(make_rig, speech) -> None:
    """What a worker process tells of many legs at once is made sense of elsewhere, and later."""
    rig = make_rig()
    for leg in (1, 2, 3):
        rig.open(leg)
    rig.bridge(5, [1, 2, 3])
    for number in range(60):
        if number % 7 == 3:
            rig.lose(1)
            rig.frame({2: speech(number)})
        else:
            rig.frame({1: speech(number), 2: speech(number)})
    counts = pickle.loads(pickle.dumps(rig.engine.leg_counts([3, 1, 99, 2])))
    assert counts.legs == (3, 1, 2)
    for place, leg in enumerate(counts.legs):
        assert counts.stats(place) == rig.engine.leg_stats(leg)
    lossy = counts.stats(1)
    assert lossy.lost > 0
    assert lossy.concealed > 0
    assert lossy.inbound_mos is not None
    assert lossy.inbound_mos < 4.4
    assert rig.engine.leg_counts([]).legs == ()


def test_a_goodbye_is_told_once_however_often_it_is_said(rig, speech) -> None:
    """260 in one datagram, eight datagrams a beat, would be 400,000 events a second."""
    rig.open(1)
    rig.frame({1: speech(1)})
    source = 0x5001
    said = build_compound([ReceiverReport(ssrc=source), *[Goodbye((source,))] * 200])
    for _ in range(5):
        rig.hand_in(1, said, rtcp=True)
        rig.beat()
    assert len(rig.told(PeerSaidBye)) == 1


def test_no_more_rtcp_is_read_of_a_leg_than_a_peer_has_to_say(rig, speech) -> None:
    """What is too much is dropped and counted, and a report after the flood is read."""
    rig.open(1)
    rig.frame({1: speech(1)})
    bomb = build_compound([ReceiverReport(ssrc=7)]) + b"\x80\xcc\x00\x00" * 400  # empty APP
    for _ in range(2 * SECOND):
        rig.hand_in(1, bomb, rtcp=True)
        rig.beat()
    read = 2 * SECOND - rig.engine.leg_stats(1).dropped
    assert 8000 // len(bomb) <= read <= (8000 + 2 * 4000) // len(bomb) + 1
    rig.beat(SECOND)
    block = ReportBlock(ssrc=0x1001, fraction_lost=64)
    rig.hand_in(1, build_compound([ReceiverReport(ssrc=5, blocks=(block,))]), rtcp=True)
    assert rig.engine.leg_stats(1).remote_lost_fraction == 0.25


def test_a_report_comes_alone_where_that_was_agreed(rig, speech) -> None:
    """RFC 5506 section 3.2; a renegotiation may agree on it, or take it back."""
    alone = build_compound([Goodbye((0x5001,))])
    for reduced, dropped, told in ((False, 1, 0), (True, 1, 1), (False, 2, 1)):
        if not rig.sent:
            rig.open(1)
            rig.frame({1: speech(1)})
        else:
            rig.engine.submit(UpdateLeg(leg=1, reduced_rtcp=reduced))
        rig.hand_in(1, alone, rtcp=True)
        rig.beat()
        assert rig.engine.leg_stats(1).dropped == dropped
        assert len(rig.told(PeerSaidBye)) == told
    rig.open(2, reduced_rtcp=True)
    rig.frame({2: speech(2)})
    rig.hand_in(2, build_compound([Goodbye((0x5002,))]), rtcp=True)
    rig.beat()
    assert len(rig.told(PeerSaidBye)) == 2
