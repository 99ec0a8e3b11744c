"""Digits as RTP events: RFC 4733."""

import random

import pytest

from rtpmix.errors import RtpParseError, UsageError
from rtpmix.rtp.dtmf import (
    DIGITS,
    Digit,
    DigitReceiver,
    DigitSender,
    EventPacket,
    TelephoneEvent,
)


def event(digit: str, duration: int, *, end: bool = False) -> bytes:
    return TelephoneEvent(DIGITS.index(digit), duration, end).to_bytes()


def said(sender: DigitSender, packets: int, first: int = 0) -> list[EventPacket | None]:
    """What the sender says in so many packet times of 160 samples."""
    return [sender.next_packet((first + 160 * i) % (1 << 32)) for i in range(packets)]


def heard(receiver: DigitReceiver, packets: list[EventPacket | None]) -> list[Digit]:
    """What the receiver tells of packets that arrive one each 160 samples (None: nothing)."""
    digits: list[Digit] = []
    for i, packet in enumerate(packets):
        digits += receiver.expire(160 * i)
        if packet is not None:
            digits += receiver.receive(
                packet.payload, timestamp=packet.timestamp, now=160 * i, marker=packet.marker
            )
    return digits


# ------------------------------------------------------------------------------ payload


def test_the_payload_has_the_bits_of_figure_1() -> None:
    """RFC 4733 section 2.3: event 11 (#), E, volume 10, duration 800; R is ignored."""
    assert TelephoneEvent.parse(bytes.fromhex("0b8a0320")) == TelephoneEvent(11, 800, True, 10)
    assert TelephoneEvent.parse(bytes.fromhex("0bca0320")) == TelephoneEvent(11, 800, True, 10)
    assert TelephoneEvent(11, 800, True, 10).to_bytes().hex() == "0b8a0320"
    assert TelephoneEvent(3, 160).to_bytes().hex() == "030a00a0"


def test_a_payload_too_short_or_a_field_too_wide_is_refused() -> None:
    with pytest.raises(RtpParseError):
        TelephoneEvent.parse(b"\x01\x0a\x00")
    for wrong in (
        TelephoneEvent(256, 1),
        TelephoneEvent(1, 65536),
        TelephoneEvent(1, 1, False, 64),
    ):
        with pytest.raises(UsageError):
            wrong.to_bytes()


# ----------------------------------------------------------------------------- receiving


def test_a_digit_of_many_packets_is_told_once_at_its_end() -> None:
    """RFC 4733 sections 2.5.1.2 and 2.5.1.4: updates, then three ends."""
    receiver = DigitReceiver()
    for i in range(1, 5):
        payload = event("5", 160 * i)
        assert receiver.receive(payload, timestamp=1000, now=160 * i, marker=i == 1) == ()
    end = event("5", 800, end=True)
    assert receiver.receive(end, timestamp=1000, now=800) == (Digit("5", 800, 1000),)
    assert receiver.receive(end, timestamp=1000, now=960) == ()
    assert receiver.receive(end, timestamp=1000, now=1120) == ()
    assert receiver.deadline is None


def test_one_surviving_packet_is_enough() -> None:
    """RFC 4733 section 2.6.2: each packet describes the digit in full."""
    end = event("*", 800, end=True)
    assert DigitReceiver().receive(end, timestamp=7, now=0) == (Digit("*", 800, 7),)


def test_a_digit_whose_ends_are_lost_is_told_after_the_timeout() -> None:
    """RFC 4733 section 2.5.2.2: "a given time period elapses"; late ends are then ignored."""
    receiver = DigitReceiver(timeout=1600)
    receiver.receive(event("7", 320), timestamp=50, now=100, marker=True)
    assert receiver.deadline == 1700
    assert receiver.expire(1699) == ()
    assert receiver.expire(1700) == (Digit("7", 320, 50),)
    assert receiver.receive(event("7", 960, end=True), timestamp=50, now=1800) == ()


def test_the_next_digit_ends_one_whose_ends_are_lost() -> None:
    """RFC 4733 section 2.5.2.2: "the next tone, distinguished by a different timestamp"."""
    receiver = DigitReceiver()
    receiver.receive(event("1", 480), timestamp=0, now=0, marker=True)
    told = receiver.receive(event("1", 160), timestamp=1000, now=1000, marker=True)
    assert told == (Digit("1", 480, 0),)
    told = receiver.receive(event("2", 160, end=True), timestamp=2000, now=1500)
    assert told == (Digit("1", 160, 1000), Digit("2", 160, 2000))


def test_late_packets_of_a_digit_that_is_over_change_nothing() -> None:
    """Reordering: an update or an end that arrives after the next digit began."""
    receiver = DigitReceiver()
    receiver.receive(event("1", 800, end=True), timestamp=0, now=0)
    receiver.receive(event("2", 160), timestamp=1600, now=100, marker=True)
    for payload in (event("1", 640), event("1", 800, end=True)):
        assert receiver.receive(payload, timestamp=0, now=120) == ()
    told = receiver.receive(event("2", 320, end=True), timestamp=1600, now=140)
    assert told == (Digit("2", 320, 1600),)
    assert receiver.receive(event("1", 800, end=True), timestamp=0, now=160) == ()


def test_an_update_that_overtakes_another_does_not_shorten_the_digit() -> None:
    receiver = DigitReceiver()
    receiver.receive(event("1", 800), timestamp=0, now=0)
    receiver.receive(event("1", 640), timestamp=0, now=10)
    assert receiver.expire(5000) == (Digit("1", 800, 0),)


def test_the_same_digit_pressed_twice_is_two() -> None:
    """What tells them apart is the timestamp, even without a marker."""
    receiver = DigitReceiver()
    first = receiver.receive(event("9", 800, end=True), timestamp=0, now=0)
    second = receiver.receive(event("9", 800, end=True), timestamp=1600, now=1600)
    assert [digit.digit for digit in first + second] == ["9", "9"]


def test_segments_of_a_long_digit_are_one_digit() -> None:
    """RFC 4733 sections 2.5.1.3 and 2.5.2.3: total = last duration + 0xFFFF per segment before."""
    receiver = DigitReceiver()
    start = (1 << 32) - 1000
    receiver.receive(event("3", 0xFFFF), timestamp=start, now=0, marker=True)
    timestamp = (start + 0xFFFF) % (1 << 32)
    assert receiver.receive(event("3", 160), timestamp=timestamp, now=100) == ()
    assert receiver.receive(event("3", 0xFFFF), timestamp=start, now=150) == ()
    told = receiver.receive(event("3", 320, end=True), timestamp=timestamp, now=200)
    assert told == (Digit("3", 0xFFFF + 320, start),)


def test_a_marker_or_a_gap_makes_a_new_digit_of_a_segment() -> None:
    """RFC 4733 section 2.5.2.3: the absence of a gap is what joins segments."""
    receiver = DigitReceiver(timeout=1600)
    receiver.receive(event("3", 0xFFFF), timestamp=0, now=0, marker=True)
    assert receiver.receive(event("3", 160), timestamp=0xFFFF + 1600, now=160) == ()
    for timestamp, marker in ((0xFFFF, True), (0xFFFF + 1601, False), (0xFFFF - 1, False)):
        receiver = DigitReceiver(timeout=1600)
        receiver.receive(event("3", 0xFFFF), timestamp=0, now=0, marker=True)
        told = receiver.receive(event("3", 160), timestamp=timestamp, now=160, marker=marker)
        assert told == (Digit("3", 0xFFFF, 0),)


def test_events_packed_into_one_packet_follow_each_other() -> None:
    """RFC 4733 section 2.5.1.5."""
    payload = event("1", 400, end=True) + event("2", 400, end=True)
    told = DigitReceiver().receive(payload, timestamp=100, now=0, marker=True)
    assert told == (Digit("1", 400, 100), Digit("2", 400, 500))


def test_what_is_no_digit_is_counted_and_told_to_nobody() -> None:
    """RFC 4733 section 2.3.5 (zero duration), section 3.2 (events above 15)."""
    receiver = DigitReceiver()
    flash = TelephoneEvent(16, 800, True).to_bytes()
    for payload in (event("1", 0), flash, b"", b"\x01\x8a\x03", event("1", 80, end=True) * 5):
        assert receiver.receive(payload, timestamp=0, now=0) == ()
    assert (receiver.ignored, receiver.malformed) == (2, 3)


def test_a_source_that_restarts_its_timestamps_is_heard_again() -> None:
    """More than one segment behind is no late packet."""
    receiver = DigitReceiver()
    receiver.receive(event("1", 800, end=True), timestamp=1_000_000, now=0)
    assert receiver.receive(event("2", 800, end=True), timestamp=0, now=9)
    receiver.receive(event("3", 800, end=True), timestamp=1600, now=9)
    receiver.reset()
    assert receiver.receive(event("4", 800, end=True), timestamp=1600, now=9)


# ------------------------------------------------------------------------------- sending


def test_a_digit_is_sent_with_marker_growing_duration_and_three_ends() -> None:
    """RFC 4733 sections 2.5.1.2 and 2.5.1.4."""
    sender = DigitSender(packet_samples=160)
    assert sender.idle
    sender.press("5", duration=480, pause=0)
    packets = said(sender, 6, first=5000)
    assert [packet and packet.payload.hex() for packet in packets] == [
        "050a00a0",
        "050a0140",
        "058a01e0",
        "058a01e0",
        "058a01e0",
        None,
    ]
    assert [packet.marker for packet in packets if packet] == [True, False, False, False, False]
    assert {packet.timestamp for packet in packets if packet} == {5000}
    assert sender.idle


def test_a_pause_is_counted_from_the_end_of_the_digit() -> None:
    """The two copies of the end already lie in the pause."""
    sender = DigitSender()
    sender.press("12", duration=320, pause=800)
    packets = said(sender, 20)
    assert [packet is not None for packet in packets] == [
        *[True] * 4,
        *[False] * 3,
        *[True] * 4,
        *[False] * 9,
    ]
    assert packets[7] == EventPacket(event("2", 160), 7 * 160, True)


def test_a_digit_begun_never_repeats_its_timestamp_when_the_pause_is_short() -> None:
    sender = DigitSender()
    sender.press("11", duration=160, pause=0)
    starts = [packet.timestamp for packet in said(sender, 6) if packet]
    assert starts == [0, 0, 0, 480, 480, 480]


def test_the_last_packet_of_a_segment_is_sent_three_times() -> None:
    """RFC 4733 section 2.5.1.4: "for each event and for each segment"; no E bit, no marker."""
    sender = DigitSender()
    sender.press("1", duration=80_000)
    assert not sender.idle
    packets = [packet for packet in said(sender, 600) if packet is not None]
    finals = [p for p in packets if TelephoneEvent.parse(p.payload).duration == 0xFFFF]
    assert finals == [EventPacket(event("1", 0xFFFF), 0, False)] * 3
    after = packets[packets.index(finals[-1]) + 3]
    assert (after.timestamp, after.marker) == (0xFFFF, False)
    assert TelephoneEvent.parse(packets[-1].payload) == TelephoneEvent(1, 80_000 - 0xFFFF, True)


def test_clear_keeps_the_digit_that_is_being_said() -> None:
    sender = DigitSender()
    sender.press("123", duration=480)
    sender.next_packet(0)
    sender.clear()
    packets = said(sender, 20, first=160)
    assert sum(packet is not None for packet in packets) == 4
    assert sender.idle


@pytest.mark.parametrize(
    ("digits", "duration", "pause"), [("1x", 160, 0), ("1", 0, 0), ("1", 160, -1), ("1", 2**31, 0)]
)
def test_what_is_no_digit_is_the_callers_error(digits: str, duration: int, pause: int) -> None:
    with pytest.raises(UsageError):
        DigitSender().press(digits, duration=duration, pause=pause)
    with pytest.raises(UsageError):
        DigitSender(packet_samples=0)
    with pytest.raises(UsageError):
        DigitReceiver(timeout=0)


# --------------------------------------------------------------------------------- both


@pytest.mark.parametrize("first", [0, (1 << 32) - 70000])
@pytest.mark.parametrize("duration", [160, 1280, 0xFFFF, 0xFFFF + 1, 200_000])
def test_a_digit_of_any_length_arrives_with_that_length(first: int, duration: int) -> None:
    """RFC 4733 section 2.5.1.3: across segments, and across the wrap of the timestamp."""
    sender = DigitSender()
    sender.press("d", duration=duration, pause=0)
    told = heard(DigitReceiver(), said(sender, duration // 160 + 30, first))
    assert told == [Digit("D", duration, first)]


def test_digits_arrive_once_and_in_order_through_loss_duplication_and_reordering() -> None:
    """RFC 4733 section 2.6.2, seed 1: 20 % loss may cost a digit its length, never its number."""
    rng = random.Random(1)
    for _ in range(300):
        digits = "".join(rng.choice(DIGITS) for _ in range(8))
        sender = DigitSender()
        sender.press(digits, duration=rng.choice([480, 1280]), pause=1600)
        wire: list[tuple[int, int, EventPacket]] = []
        said_all = said(sender, 200)
        for i, packet in enumerate(said_all):
            if packet is not None:
                copies = 0 if rng.random() < 0.2 else 2 if rng.random() < 0.1 else 1
                wire += [(160 * i + rng.randrange(400), i, packet) for _ in range(copies)]
        receiver, told = DigitReceiver(), []
        for at, _, packet in sorted(wire):
            told += receiver.receive(
                packet.payload, timestamp=packet.timestamp, now=at, marker=packet.marker
            )
        told += receiver.expire(1 << 40)
        survivors = {packet.timestamp for _, _, packet in wire}
        starts = {packet.timestamp: DIGITS[packet.payload[0]] for packet in said_all if packet}
        assert [(d.timestamp, d.digit) for d in told] == [
            (at, digit) for at, digit in starts.items() if at in survivors
        ]
