"""The playout buffer, as letter strings.

What arrives in each 20 ms: a letter is the packet of that frame (``a`` is frame 0), several
letters arrive together, ``.`` is nothing. What is played: the letter of each frame, ``-`` for
silence before the stream, ``~`` for a concealed frame, ``_`` for silence that is nobody's fault.
"""

import numpy as np
import pytest

from rtpmix.mixer import g711
from rtpmix.mixer.commands import Record
from rtpmix.rtp.packet import RtpPacket

FRAME = 160


def packet_of(letter: str, *, ssrc: int = 5, shift: int = 0) -> bytes:
    number = ord(letter) - ord("a")
    return RtpPacket(
        payload_type=0,
        sequence_number=65533 + number & 0xFFFF,  # wraps at the fourth
        timestamp=((1 << 32) - 320 + FRAME * (number + shift)) % (1 << 32),
        ssrc=ssrc,
        payload=bytes([0x80 + number]) * FRAME,
    ).to_bytes()


VALUES = {
    int(g711.decode(np.array([0x80 + number], np.uint8), g711.PCMU)[0]): chr(ord("a") + number)
    for number in range(26)
}


def played(rig, arrivals: str) -> str:
    """Run a scenario; return what the mixer consumed, without the silence at its ends."""
    rig.open(1, jitter_ms=10)
    rig.engine.submit(Record(1))
    for group in arrivals.split():
        for letter in group.replace(".", ""):
            rig.hand_in(1, packet_of(letter))
        rig.beat(4)
    rig.beat(32)
    letters = ""
    for block in rig.blocks:
        first = int(block.spoken[0, 120])  # past where a frame is faded in after a gap
        if block.present[0]:
            letters += VALUES[first]
        else:
            letters += "~" if first else "_"
    return letters.strip("_")


@pytest.mark.parametrize(
    ("arrivals", "expected"),
    [
        ("a b c d e f", "abcdef"),
        ("a b d c e f", "abcdef"),
        ("a b d e c f", "ab~def"),  # c came after its time
        ("a c b d e f", "abcdef"),
        ("ab c d e f", "abcdef"),
        ("a cb d e f", "abcdef"),
        ("ba c d e f", "abcdef"),  # a came after b had begun the timeline
        ("abc d e f", "abcdef"),
        ("ab abc c d", "abcd"),
        ("a . c d . . g", "a~cd~~g"),
        ("abcdef", "abcdef"),  # a burst waits its turn
    ],
)
def test_order_loss_and_duplicates(rig, arrivals: str, expected: str) -> None:
    result = played(rig, arrivals)
    assert result.rstrip("~_") == expected


@pytest.mark.parametrize(
    ("arrivals", "counts"),
    [
        ("a b c d", {"received": 4, "lost": 0, "late": 0, "duplicate": 0, "reordered": 0}),
        ("a b . d", {"received": 3, "lost": 1, "late": 0, "concealed": 1}),
        ("a b d e c", {"received": 5, "lost": 0, "late": 1, "reordered": 1}),
        ("a bb c cc d", {"received": 4, "duplicate": 3, "lost": 0}),
        ("ab dc e", {"received": 5, "reordered": 1, "late": 0, "lost": 0}),
    ],
)
def test_what_happened_is_counted(rig, arrivals: str, counts: dict[str, int]) -> None:
    rig.open(1)
    for group in arrivals.split():
        for letter in group.replace(".", ""):
            rig.hand_in(1, packet_of(letter))
        rig.beat(4)
    stats = rig.engine.leg_stats(1)
    assert {name: getattr(stats, name) for name in counts} == counts


def test_frame_is_played_at_the_first_tick_after_the_jitter_delay(make_rig) -> None:
    """Added by the buffer: the delay asked for, and less than one ptime until the tick."""
    for beat in range(4):
        rig = make_rig()
        rig.open(1, jitter_ms=10)
        rig.engine.submit(Record(1))
        rig.beat(8 + beat)
        arrived = rig.engine.sample
        rig.hand_in(1, packet_of("a"))
        rig.beat(12)
        at = next(block.sample for block in rig.blocks if block.present[0])
        assert 80 <= at - arrived < 80 + FRAME


def delay_ms(rig, leg: int, frames: int) -> float:
    """Arrival to playout of the newest packet, by its payload, in a steady stream."""
    rig.blocks.clear()
    for number in range(frames):
        rig.say(leg, bytes([0x80 + number % 64]) * FRAME)
        arrived, value = rig.engine.sample, 0x80 + number % 64
        rig.beat(4)
    rig.beat(80)
    wanted = int(g711.decode(np.array([value], np.uint8), g711.PCMU)[0])
    at = next(
        b.sample
        for b in rig.blocks
        if b.present[0] and b.spoken[0, 120] == wanted and b.sample >= arrived
    )
    return (at - arrived) / 8


def test_delay_comes_back_after_a_peer_was_early_for_a_while(rig) -> None:
    """A timeline begun by a late packet leaves delay behind; it is cut within a second."""
    rig.open(1)
    rig.engine.submit(Record(1))
    rig.say(1, b"\x80" * FRAME)
    for _ in range(10):
        rig.say(1, b"\x80" * FRAME)  # ten frames come at once
    rig.beat(4)
    for _ in range(60):
        rig.say(1, b"\x80" * FRAME)
        rig.beat(4)
    assert delay_ms(rig, 1, 5) < 30
    assert rig.engine.snapshot()["trimmed"] >= 9


@pytest.mark.parametrize("jump", [16 * FRAME + 7, 10_000_000, 1 << 31, -160_000, -(1 << 30)])
def test_timestamp_jump_starts_a_new_timeline_at_once(rig, jump: int) -> None:
    rig.open(1)
    rig.engine.submit(Record(1))
    for _ in range(10):
        rig.say(1, b"\x80" * FRAME)
        rig.beat(4)
    sequence, timestamp = rig._next[1]
    rig.place(1, sequence, timestamp + jump)
    rig.blocks.clear()
    for _ in range(3):
        rig.say(1, b"\x90" * FRAME)
        rig.beat(4)
    wanted = int(g711.decode(np.array([0x90], np.uint8), g711.PCMU)[0])
    assert any(b.present[0] and b.spoken[0, 120] == wanted for b in rig.blocks)
    assert delay_ms(rig, 1, 3) <= 30


def test_peer_that_stops_its_clock_while_silent_is_heard_again_at_once(rig) -> None:
    """Hold at the peer: time passes here, its timestamps go on where they were."""
    rig.open(1)
    rig.engine.submit(Record(1))
    for _ in range(5):
        rig.say(1, b"\x80" * FRAME)
        rig.beat(4)
    rig.beat(4 * 30)
    rig.blocks.clear()
    for _ in range(4):
        rig.say(1, b"\x90" * FRAME)
        rig.beat(4)
    assert sum(bool(b.present[0]) for b in rig.blocks) >= 3


def test_peer_whose_clock_falls_behind_is_followed_after_a_tenth_of_a_second(rig) -> None:
    rig.open(1)
    for _ in range(5):
        rig.say(1, b"\x80" * FRAME)
        rig.beat(4)
    sequence, timestamp = rig._next[1]
    rig.place(1, sequence, timestamp - 3 * FRAME)
    for _ in range(20):
        rig.say(1, b"\x90" * FRAME)
        rig.beat(4)
    stats = rig.engine.leg_stats(1)
    assert 0 < stats.late <= 7
    assert stats.lost == 0


def test_new_ssrc_is_taken_after_two_packets_while_the_old_one_runs(rig, speech) -> None:
    """RFC 3550 appendix A.1: one stray packet of another source changes nothing."""
    rig.open(1)
    for number in range(5):
        rig.frame({1: speech(number)})
    stray = RtpPacket(
        payload_type=0, sequence_number=4000, timestamp=99, ssrc=0xBAD, payload=speech(9)
    ).to_bytes()
    rig.hand_in(1, stray)
    rig.frame({1: speech(6)})
    assert rig.engine.leg_stats(1).dropped == 1
    assert rig.engine.leg_stats(1).played >= 4
    rig.place(1, 7000, 123456)
    for number in range(4):
        rig.say(1, speech(number), ssrc=0xCAFE)
        rig.beat(4)
    stats = rig.engine.leg_stats(1)
    assert (stats.dropped, stats.received, stats.lost) == (2, 9, 0)


def test_sequence_restart_begins_a_new_stream(rig, speech) -> None:
    rig.open(1)
    for number in range(5):
        rig.frame({1: speech(number)})
    rig.place(1, 40000, 9_000_000)
    for number in range(5):
        rig.frame({1: speech(number)})
    stats = rig.engine.leg_stats(1)
    assert (stats.received, stats.dropped, stats.lost) == (9, 1, 0)


@pytest.mark.parametrize("size", [40, 80, 240, 320, 480])
def test_packets_of_any_length_give_the_same_speech(rig, size: int) -> None:
    """5 to 60 ms: slots are filled in pieces, and nothing is concealed."""
    rig.open(1)
    rig.engine.submit(Record(1))
    random = np.random.default_rng(size)
    speech = random.integers(0, 256, 9600, dtype=np.uint8)
    sent = 0
    for beat in range(300):
        while sent + size <= len(speech) and sent <= beat * 40:
            rig.say(1, speech[sent : sent + size].tobytes())
            sent += size
        rig.beat()
    frames = [block.spoken[0] for block in rig.blocks if block.present[0]]
    expected = g711.decode(speech[:sent], g711.PCMU)
    assert np.array_equal(
        np.concatenate(frames)[: sent // FRAME * FRAME], expected[: sent // FRAME * FRAME]
    )
    assert rig.engine.leg_stats(1).late == 0


def test_silence_suppression_is_not_loss(rig, speech) -> None:
    """Time passes but no sequence number does: RFC 3551 section 4.1."""
    rig.open(1)
    for number in range(5):
        rig.frame({1: speech(number)})
    rig.pause(1, 8)
    rig.beat(4 * 8)
    for number in range(5):
        rig.frame({1: speech(number)})
    stats = rig.engine.leg_stats(1)
    assert (stats.lost, stats.concealed, stats.late) == (0, 0, 0)


def test_concealed_frames_fade_to_silence_and_are_counted(rig, level) -> None:
    rig.open(1)
    rig.engine.submit(Record(1))
    for _ in range(4):
        rig.frame({1: level(8000)})
    rig.blocks.clear()
    rig.lose(1, 10)
    rig.beat(4 * 10)
    rig.frame({1: level(8000)})
    loudest = [int(np.abs(block.spoken.astype(int)).max()) for block in rig.blocks]
    gone = [number for number, block in enumerate(rig.blocks) if not block.present[0]]
    fading = [loudest[number] for number in gone]
    assert fading == sorted(fading, reverse=True)
    assert fading[0] > 4000
    assert fading[6] > 0
    assert fading[7:] == [0] * (len(gone) - 7)
    assert rig.engine.leg_stats(1).concealed == len(gone)
    assert rig.engine.leg_stats(1).lost == 10


def test_leg_that_moves_between_phases_loses_no_frame_of_its_timeline(rig, speech) -> None:
    """What is due is a function of the clock: the unbridged phase leaves no trace."""
    results = []
    for first in (1, 2, 3):
        other = type(rig)()
        for leg in range(20, 20 + first):
            other.open(leg)
        other.open(1)
        other.engine.submit(Record(1))
        for number in range(6):
            other.frame({1: speech(number)})
        other.bridge(7, (1,))
        other.blocks.clear()
        for number in range(6, 20):
            other.frame({1: speech(number)})
        results.append([block.spoken[0].tobytes() for block in other.blocks[4:14]])
    assert results[0] == results[1] == results[2]


def test_delay_is_reckoned_from_arrival_when_the_host_runs_late(rig) -> None:
    """A packet read while missed beats are made up for has arrived after them."""
    rig.open(1)
    rig.engine.submit(Record(1))
    rig.engine.behind = 6
    rig.hand_in(1, packet_of("a"))
    rig.beat(6)
    rig.engine.behind = 0
    arrived = rig.engine.sample
    rig.beat(12)
    at = next(block.sample for block in rig.blocks if block.present[0])
    assert 80 <= at - arrived < 80 + FRAME


def test_way_that_grew_longer_gets_more_delay(rig) -> None:
    """Every fourth packet comes 15 ms late for good: that is more than the delay can take."""
    rig.open(1, jitter_ms=0)
    for number in range(200):
        late = 3 if number > 20 and number % 4 == 0 else 0
        rig.beat(late)
        rig.say(1, b"\x80" * FRAME)
        rig.beat(4 - late)
    before = rig.engine.leg_stats(1)
    assert before.late == 1  # the first shows nothing yet; the second is played all the same
    assert rig.engine.snapshot()["stretched"] >= 1
    for number in range(100):
        late = 3 if number % 4 == 0 else 0
        rig.beat(late)
        rig.say(1, b"\x80" * FRAME)
        rig.beat(4 - late)
    assert rig.engine.leg_stats(1).late == before.late
    assert rig.engine.snapshot()["stretched"] <= 2
