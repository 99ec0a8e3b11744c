"""RFC 4733 events in and out of the engine, and their own routing."""

import pytest

from rtpmix.mixer.commands import CommandRefused, DigitPressed, Record, SendDigits
from rtpmix.rtp.dtmf import TelephoneEvent
from rtpmix.rtp.packet import RtpPacket

DTMF = 101
NONE = (False, False, False)


def press(rig, leg: int, event: int, *, frames: int = 5) -> None:
    """Let a phone press a key: events instead of audio, all with the first timestamp."""
    sequence, timestamp = rig._next[leg]
    for number in range(frames + 3):
        duration = min(number + 1, frames) * 160
        payload = TelephoneEvent(event, duration, end=number >= frames - 1).to_bytes()
        packet = RtpPacket(
            payload_type=DTMF,
            sequence_number=(sequence + number) & 0xFFFF,
            timestamp=timestamp,
            ssrc=0x5000 + leg,
            payload=payload,
            marker=number == 0,
        )
        rig.hand_in(leg, packet.to_bytes())
        rig.beat(4)
    rig.place(leg, sequence + frames + 3, timestamp + 160 * (frames + 3))


def events_to(rig, leg: int) -> list[RtpPacket]:
    packets = [RtpPacket.parse(packet) for _, packet in rig.sent[leg]]
    return [packet for packet in packets if packet.payload_type == DTMF]


def test_digit_is_told_once_with_its_length(rig, speech) -> None:
    rig.open(1, dtmf_payload_type=DTMF)
    rig.frame({1: speech(1)})
    press(rig, 1, 5)
    press(rig, 1, 11)
    assert [(e.leg, e.digit, e.duration_ms) for e in rig.told(DigitPressed)] == [
        (1, "5", 100),
        (1, "#", 100),
    ]
    assert rig.engine.leg_stats(1).digits == 2


def test_silence_while_a_digit_comes_in_is_not_loss(rig, speech) -> None:
    rig.open(1, dtmf_payload_type=DTMF)
    for number in range(5):
        rig.frame({1: speech(number)})
    press(rig, 1, 5)
    for number in range(5):
        rig.frame({1: speech(number)})
    stats = rig.engine.leg_stats(1)
    assert (stats.concealed, stats.lost, stats.late) == (0, 0, 0)


def test_digit_whose_end_was_lost_is_told_when_it_times_out(rig, speech) -> None:
    rig.open(1, dtmf_payload_type=DTMF)
    rig.frame({1: speech(1)})
    rig.say(1, TelephoneEvent(3, 320).to_bytes(), payload_type=DTMF)
    rig.beat(20)
    assert not rig.told(DigitPressed)
    rig.beat(40)
    assert [event.digit for event in rig.told(DigitPressed)] == ["3"]


def test_digits_go_where_their_own_matrix_says_and_nowhere_else(rig, speech) -> None:
    """Leg 1 presses; 2 gets it, 3 does not, though both hear leg 1."""
    for leg in (1, 2, 3):
        rig.open(leg, dtmf_payload_type=DTMF)
    rig.bridge(7, (1, 2, 3), dtmf=(NONE, (True, False, False), NONE))
    for number in range(3):
        rig.frame({leg: speech(number) for leg in (1, 2, 3)})
    press(rig, 1, 9)
    rig.beat(60)
    assert {packet.payload[0] for packet in events_to(rig, 2)} == {9}
    assert not events_to(rig, 1)
    assert not events_to(rig, 3)


def test_sent_digits_keep_the_stream_in_sequence(rig, speech) -> None:
    """RFC 4733 section 2.5.1: one timestamp an event, three ends; sequence +1 throughout."""
    rig.open(1, dtmf_payload_type=DTMF)
    for _ in range(3):
        rig.frame()
    rig.engine.submit(SendDigits(1, "1*", duration_ms=80, pause_ms=40))
    rig.beat(4 * 25)
    packets = [RtpPacket.parse(packet) for _, packet in rig.sent[1]]
    numbers = [packet.sequence_number for packet in packets]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    events = events_to(rig, 1)
    assert [e.payload[0] for e in events if e.marker] == [1, 10]
    assert len({packet.timestamp for packet in events}) == 2
    ends = [packet for packet in events if packet.payload[1] & 0x80]
    assert len(ends) == 6
    audio = [packet for packet in packets if packet.payload_type == 0]
    assert {(packet.timestamp - 5000) % 160 for packet in audio} == {0}
    assert audio[-1].timestamp == 5000 + 160 * (len(packets) - 1)


def test_audio_sent_in_the_pauses_between_digits_is_recorded(rig, speech) -> None:
    """What a recording says was sent is what went out as audio, frame by frame."""
    rig.open(1, dtmf_payload_type=DTMF)
    rig.open(2)
    rig.bridge(7, (1, 2))
    rig.engine.submit(Record(1))
    for number in range(10):
        rig.frame({2: speech(number)})
    rig.engine.submit(SendDigits(1, "1*9", duration_ms=60, pause_ms=100))
    for number in range(10, 50):
        rig.frame({2: speech(number)})
    packets = [RtpPacket.parse(packet) for _, packet in rig.sent[1]]
    audio = [packet.payload for packet in packets if packet.payload_type == 0]
    assert len(audio) < len(packets) - 10
    recorded = [block.heard[0].tobytes() for block in rig.blocks if block.sent[0]]
    assert recorded == audio
    assert len(rig.blocks) == 50


@pytest.mark.parametrize(
    "command",
    [
        SendDigits(1, "12Z"),
        SendDigits(1, "1", duration_ms=0),
        SendDigits(1, "1", pause_ms=-1),
        SendDigits(1, "1" * 65),
    ],
)
def test_digits_that_cannot_be_sent_are_refused(rig, command: SendDigits) -> None:
    rig.open(1, dtmf_payload_type=DTMF)
    rig.engine.submit(command)
    rig.beat(8)
    [refused] = rig.told(CommandRefused)
    assert refused.command == command
    assert not events_to(rig, 1)


def test_digits_that_claim_minutes_do_not_silence_who_gets_them(rig, speech) -> None:
    """Events take the place of audio: 64 forwarded digits of 8 s each would be eight minutes."""
    rig.open(1, dtmf_payload_type=DTMF)
    rig.open(2, dtmf_payload_type=DTMF)
    rig.bridge(1, (1, 2), dtmf=((False, False), (True, False)))
    rig.frame({1: speech(1), 2: speech(2)})
    sequence, timestamp = rig._next[1]
    for number in range(100):
        payload = TelephoneEvent(number % 10, 0xFFFF, end=True).to_bytes()
        packet = RtpPacket(
            payload_type=DTMF,
            sequence_number=sequence + number & 0xFFFF,
            timestamp=timestamp + 0x10000 * number,
            ssrc=0x5001,
            payload=payload,
        )
        rig.hand_in(1, packet.to_bytes())
    assert len(rig.told(DigitPressed)) == 0
    rig.beat(4 * 50 * 6)
    assert len(rig.told(DigitPressed)) == 100
    events = len(events_to(rig, 2))
    assert events <= 260  # 5 s, and the copies of the last one
    rig.beat(4 * 50)
    assert len(events_to(rig, 2)) == events
