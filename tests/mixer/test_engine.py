"""A whole engine in virtual time: who hears whom, exactly, and what goes on the wire."""

import gc
import itertools
import tracemalloc

import numpy as np
import pytest

from rtpmix.errors import UsageError
from rtpmix.mixer import g711
from rtpmix.mixer.commands import (
    CloseBridge,
    CloseLeg,
    CloseSeat,
    Command,
    CommandRefused,
    LegClosed,
    MatrixCommitted,
    MatrixReached,
    MediaLost,
    MediaSeen,
    OpenLeg,
    OpenSource,
    OpenTap,
    Play,
    Played,
    Record,
    SendDigits,
    SetMatrix,
    StopPlaying,
    TapFrame,
    UpdateLeg,
)
from rtpmix.mixer.engine import Engine
from rtpmix.rtp.packet import RtpPacket

UNITY = 32768
SILENCE = b"\xff" * 160


def decoded(payload: bytes) -> list[int]:
    return g711.decode(np.frombuffer(payload, np.uint8), g711.PCMU).tolist()


def constant(payload: bytes) -> int | None:
    """The sample value of a frame that has only one."""
    values = set(decoded(payload))
    return values.pop() if len(values) == 1 else None


def near(value: int) -> int:
    """A sample value after one trip through PCMU."""
    code = g711.encode(np.array([value], np.int16), g711.PCMU)
    return int(g711.decode(code, g711.PCMU)[0])


# ------------------------------------------------------------------------------ who hears whom


def test_everybody_hears_the_sum_of_the_others(rig, level) -> None:
    for leg in (1, 2, 3):
        rig.open(leg)
    rig.bridge(7, (1, 2, 3))
    for _ in range(6):
        rig.frame({1: level(1000), 2: level(2000), 3: level(4000)})
    values = {leg: near(value) for leg, value in ((1, 1000), (2, 2000), (3, 4000))}
    for leg in (1, 2, 3):
        others = sum(value for other, value in values.items() if other != leg)
        assert constant(rig.heard(leg)[-1]) == near(others)


def test_legs_are_born_silent(rig, speech) -> None:
    """Nobody hears a seat, and it hears nobody, before a matrix names it."""
    for leg in (1, 2, 3):
        rig.open(leg)
    rig.bridge(7, (1, 2))
    for number in range(10):
        rig.frame({1: speech(number), 2: speech(100 + number), 3: speech(200 + number)})
    assert set(rig.heard(3)) == {SILENCE}
    assert SILENCE not in rig.heard(1)[4:]


def test_zero_gain_seat_hears_and_is_not_heard(rig, level) -> None:
    for leg in (1, 2, 3):
        rig.open(leg)
    gains = [[0, UNITY, 0], [UNITY, 0, 0], [UNITY, UNITY, 0]]
    rig.bridge(7, (1, 2, 3), gains)
    for _ in range(6):
        rig.frame({1: level(1000), 2: level(2000), 3: level(8000)})
    assert constant(rig.heard(1)[-1]) == near(2000)
    assert constant(rig.heard(2)[-1]) == near(1000)
    assert constant(rig.heard(3)[-1]) == near(near(1000) + near(2000))


def test_bridges_do_not_hear_each_other(make_rig, level) -> None:
    rig = make_rig(phases=1)
    for leg in range(8):
        rig.open(leg)
    rig.bridge(0, (0, 1))
    rig.bridge(1, (2, 3))
    rig.bridge(2, (4, 5, 6))
    for _ in range(5):
        rig.frame({leg: level(100 * (leg + 1)) for leg in range(8)})
    assert constant(rig.heard(0)[-1]) == near(200)
    assert constant(rig.heard(3)[-1]) == near(300)
    assert constant(rig.heard(4)[-1]) == near(near(600) + near(700))
    assert rig.heard(7)[-1] == SILENCE


@pytest.mark.parametrize("others", [0, 1, 5])
def test_packets_of_a_call_are_the_same_bytes_with_and_without_silent_seats(
    make_rig, speech, others: int
) -> None:
    """supervision.md, invariants 1 and 2: header, payload and beat of sending."""

    def call(silent: int) -> list[tuple[int, bytes]]:
        rig = make_rig()
        rig.open(1)
        rig.open(2)
        rig.bridge(7, (1, 2))
        for number in range(40):
            if number == 10 and silent:
                seats = (1, 2, *range(3, 3 + silent))
                for leg in seats[2:]:
                    rig.open(leg)
                gains = np.zeros((len(seats), len(seats)), int)
                gains[0, 1] = gains[1, 0] = UNITY
                gains[2:, :2] = UNITY
                rig.bridge(7, seats, gains)
            spoken = {leg: speech(1000 * leg + number) for leg in rig.sent}
            if number % 9 == 4:
                del spoken[2]
                rig.lose(2)
            rig.frame(spoken)
        return rig.sent[1]

    assert call(others) == call(0)


def test_pcma_leg_hears_a_pcmu_leg(rig, level) -> None:
    rig.open(1)
    rig.open(2, codec="PCMA", payload_type=8)
    rig.bridge(7, (1, 2))
    alaw = g711.encode(np.full(160, 3000, np.int16), g711.PCMA)
    for _ in range(6):
        rig.say(1, level(1000))
        rig.say(2, alaw.tobytes(), payload_type=8)
        rig.beat(4)
    spoken = int(g711.decode(alaw, g711.PCMA)[0])
    assert constant(rig.heard(1)[-1]) == near(spoken)
    last = np.frombuffer(rig.heard(2)[-1], np.uint8)
    expected = g711.encode(np.full(160, near(1000), np.int16), g711.PCMA)
    assert np.array_equal(last, expected)
    assert rig.sent[2][-1][1][1] == 8


# --------------------------------------------------------------------------- changes of a matrix


def test_matrix_takes_effect_at_one_tick_and_says_when(rig, level) -> None:
    rig.open(1)
    rig.open(2)
    rig.bridge(7, (1, 2), token=1)
    for _ in range(5):
        rig.frame({1: level(8000), 2: level(8000)})
    rig.bridge(7, (1, 2), [[0, 0], [0, 0]], token=2)
    for _ in range(3):
        rig.frame({1: level(8000), 2: level(8000)})
    committed = rig.told(MatrixCommitted)[-1]
    reached = rig.told(MatrixReached)[-1]
    assert (committed.token, reached.token) == (2, 2)
    assert reached.at - committed.at == 80  # 10 ms
    beat = committed.at // rig.engine.beat_samples
    for leg in (1, 2):
        frames = {at: packet[12:] for at, packet in rig.sent[leg]}
        assert constant(frames[beat - 4]) == near(8000)
        assert constant(frames[beat]) is None
        assert set(decoded(frames[beat])[79:]) == {0}
        assert frames[beat + 4] == SILENCE


def test_revoked_talker_leaves_nothing_in_the_next_frame_at_any_ramp(rig, speech) -> None:
    for leg in (1, 2, 3):
        rig.open(leg)
    rig.bridge(7, (1, 2, 3))
    for number in range(5):
        rig.frame({leg: speech(10 * leg + number) for leg in (1, 2, 3)})
    gains = [[0, 0, 0], [0, 0, 0], [UNITY, UNITY, 0]]
    rig.bridge(7, (1, 2, 3), gains)
    rig.frame({leg: speech(900 + leg) for leg in (1, 2, 3)})
    rig.frame({leg: speech(800 + leg) for leg in (1, 2, 3)})
    assert rig.heard(1)[-1] == rig.heard(2)[-1] == SILENCE
    assert rig.heard(3)[-1] != SILENCE


def test_two_matrices_in_one_tick_are_both_told_and_the_last_one_rules(rig, level) -> None:
    rig.open(1)
    rig.open(2)
    rig.bridge(7, (1, 2), token=1)
    rig.bridge(7, (1, 2), [[0, 0], [UNITY, 0]], token=2)
    for _ in range(5):
        rig.frame({1: level(1000), 2: level(2000)})
    assert [event.token for event in rig.told(MatrixCommitted)] == [1, 2]
    assert [event.token for event in rig.told(MatrixReached)] == [1, 2]
    assert rig.heard(1)[-1] == SILENCE
    assert constant(rig.heard(2)[-1]) == near(1000)


def test_long_ramp_moves_on_over_frames_and_can_be_interrupted(rig, level) -> None:
    rig.open(1)
    rig.open(2)
    rig.bridge(7, (1, 2), ramp_ms=200, token=1)
    for _ in range(5):
        rig.frame({1: level(8000), 2: level(8000)})
    middle = decoded(rig.heard(1)[-1])
    assert 0 < middle[0] <= middle[-1] < near(8000)
    rig.bridge(7, (1, 2), [[0, 0], [0, 0]], token=2)
    rig.frame({1: level(8000), 2: level(8000)})
    assert abs(decoded(rig.heard(1)[-1])[0] - middle[-1]) < 300  # from where it was
    rig.frame({1: level(8000), 2: level(8000)})
    assert rig.heard(1)[-1] == SILENCE
    assert [event.token for event in rig.told(MatrixReached)] == [1, 2]


def test_seat_moves_to_another_bridge_and_keeps_its_rtp(rig, level) -> None:
    """Sequence +1 and timestamp +160, across bridges of different phases."""
    for leg in (1, 2, 3):
        rig.open(leg)
    rig.bridge(7, (1, 2))
    rig.bridge(8, (3,))
    for _ in range(6):
        rig.frame({1: level(1000), 2: level(2000), 3: level(4000)})
    rig.bridge(8, (3, 2))
    for _ in range(6):
        rig.frame({1: level(1000), 2: level(2000), 3: level(4000)})
    assert constant(rig.heard(2)[-1]) == near(4000)
    assert constant(rig.heard(3)[-1]) == near(2000)
    assert rig.heard(1)[-1] == SILENCE
    packets = [RtpPacket.parse(packet) for _, packet in rig.sent[2]]
    steps = {
        (b.sequence_number - a.sequence_number, b.timestamp - a.timestamp)
        for a, b in itertools.pairwise(packets)
    }
    assert steps == {(1, 160)}


def test_two_bridges_swap_a_seat_each(rig, level) -> None:
    for leg in (1, 2, 3, 4):
        rig.open(leg)
    rig.bridge(7, (1, 2))
    rig.bridge(8, (3, 4))
    rig.frame()
    rig.bridge(7, (1, 4))
    rig.bridge(8, (3, 2))
    for _ in range(8):
        rig.frame({leg: level(1000 * leg) for leg in (1, 2, 3, 4)})
    assert constant(rig.heard(1)[-1]) == near(4000)
    assert constant(rig.heard(2)[-1]) == near(3000)


def test_closed_bridge_leaves_its_legs_alone_and_silent(rig, level) -> None:
    rig.open(1)
    rig.open(2)
    rig.bridge(7, (1, 2))
    for _ in range(4):
        rig.frame({1: level(1000), 2: level(2000)})
    rig.engine.submit(CloseBridge(7))
    for _ in range(4):
        rig.frame({1: level(1000), 2: level(2000)})
    assert rig.heard(1)[-2:] == [SILENCE, SILENCE]
    assert rig.engine.snapshot()["bridges"] == 0


def test_closed_leg_fades_out_and_its_number_can_be_used_again(rig, level) -> None:
    for leg in (1, 2, 3):
        rig.open(leg)
    rig.bridge(7, (1, 2, 3))
    for _ in range(5):
        rig.frame({leg: level(2000) for leg in (1, 2, 3)})
    rig.engine.submit(CloseLeg(3))
    rig.frame({1: level(2000), 2: level(2000)})
    [closed] = rig.told(LegClosed)
    assert closed.leg == 3
    assert closed.stats.received == 5
    assert rig.reports[3][-1][-8:-4] == bytes.fromhex("81cb0001")  # RTCP BYE, RFC 3550 6.6
    rig.frame({1: level(2000), 2: level(2000)})
    assert constant(rig.heard(1)[-1]) == near(2000)
    rig.open(3)
    assert not rig.told(CommandRefused)


# --------------------------------------------------------------------------------- RTP out


def test_leg_has_one_rtp_stream_for_its_whole_life(rig, speech) -> None:
    """RFC 3550 section 5.1: one SSRC, sequence +1, timestamp +160; a marker on the first packet."""
    rig.open(1, first_sequence=65530, first_timestamp=(1 << 32) - 800)
    rig.open(2)
    rig.frame()
    for change in range(12):
        rig.bridge(change % 3, (1, 2))
        rig.frame({1: speech(change), 2: speech(50 + change)})
    packets = [RtpPacket.parse(packet) for _, packet in rig.sent[1]]
    assert {packet.ssrc for packet in packets} == {0x1001}
    first = packets[0]
    assert (first.sequence_number, first.timestamp) == (65530, (1 << 32) - 800)
    for number, packet in enumerate(packets):
        assert packet.sequence_number == (65530 + number) % 65536
        assert packet.timestamp == ((1 << 32) - 800 + 160 * number) % (1 << 32)
        assert packet.marker is (number == 0)


def test_a_day_of_sequence_numbers_and_timestamps(make_rig, speech) -> None:
    """24 h are 66 turns of the sequence number; the extended numbers go on counting."""
    rig = make_rig(phases=1)
    row = rig.open(1)
    rig.open(2)
    rig.bridge(7, (1, 2))
    rows, frames = rig.engine.rows, 24 * 3600 * 50
    for number in range(4):
        rig.frame({1: speech(number), 2: speech(9)})
    rows.extended_sequence[row] += frames
    rows.base_sequence[row] += frames
    rows.extended_timestamp[row] += 160 * frames
    rows.slot_timestamp[row] += 160 * frames
    rows.sequence_out[row] += frames
    rows.timestamp_out[row] += 160 * frames
    rig.place(1, 10 + 4 + frames, 1000 + 4 * 160 + 160 * frames)
    for number in range(20):
        rig.frame({1: speech(number), 2: speech(9)})
    stats = rig.engine.leg_stats(1)
    assert (stats.lost, stats.late, stats.dropped, stats.concealed) == (0, 0, 0, 0)
    last = RtpPacket.parse(rig.sent[1][-1][1])
    assert last.sequence_number == (100 + frames + 23) % 65536


def test_each_phase_of_the_tick_sends_its_own_bridges(make_rig) -> None:
    rig = make_rig(phases=4)
    for leg in range(8):
        rig.open(leg)
    for number in range(4):
        rig.bridge(number, (2 * number, 2 * number + 1))
    rig.frame()
    rig.frame()
    for leg in range(8):
        assert {beat % 4 for beat, _ in rig.sent[leg][1:]} == {leg // 2}


@pytest.mark.parametrize("phases", [1, 2, 5, 10, 20])
def test_any_number_of_phases_carries_the_same_frames(make_rig, level, phases: int) -> None:
    rig = make_rig(phases=phases)
    rig.open(1)
    rig.open(2)
    rig.bridge(7, (1, 2))
    for number in range(20):
        rig.frame({1: level(100 * (number + 1)), 2: level(1000)})
    heard = [constant(payload) for payload in rig.heard(2)]
    values = [near(100 * (number + 1)) for number in range(20)]
    first = heard.index(values[1])
    assert heard[first:] == values[1 : 1 + len(heard) - first]


def test_number_of_phases_must_divide_a_frame() -> None:
    with pytest.raises(UsageError, match="3 phases"):
        Engine(phases=3)


def test_held_leg_is_neither_sent_to_nor_heard(rig, level) -> None:
    rig.open(1)
    rig.open(2)
    rig.bridge(7, (1, 2))
    for _ in range(4):
        rig.frame({1: level(1000), 2: level(2000)})
    rig.engine.submit(UpdateLeg(leg=2, sends=False, receives=False))
    for _ in range(8):
        rig.frame({1: level(1000), 2: level(2000)})
    before = len(rig.sent[2])
    assert rig.heard(1)[-1] == SILENCE
    assert rig.engine.leg_stats(2).dropped >= 7
    rig.engine.submit(UpdateLeg(leg=2))
    for _ in range(4):
        rig.frame({1: level(1000), 2: level(2000)})
    assert constant(rig.heard(1)[-1]) == near(2000)
    packets = [RtpPacket.parse(packet) for _, packet in rig.sent[2][before - 1 :]]
    assert packets[1].sequence_number == packets[0].sequence_number + 1
    assert packets[1].timestamp - packets[0].timestamp >= 8 * 160  # the media clock went on
    assert packets[1].marker


def test_stall_of_the_host_keeps_rtp_timestamps_on_the_media_clock(rig, level) -> None:
    rig.open(1)
    rig.frame()
    rig.frame()
    rig.engine.skip(10)
    rig.frame()
    packets = [RtpPacket.parse(packet) for _, packet in rig.sent[1]]
    assert packets[2].sequence_number == packets[1].sequence_number + 1
    assert packets[2].timestamp == packets[1].timestamp + 11 * 160


# ------------------------------------------------------------------------- sources and taps


def test_source_plays_to_its_bridge_and_says_when_it_is_done(rig) -> None:
    rig.open(1)
    rig.engine.submit(OpenSource(50))
    rig.bridge(7, (1, 50), [[0, UNITY], [0, 0]])
    rig.frame()
    rig.frame()
    pcm = np.full(400, 4000, "<i2").tobytes()
    rig.engine.submit(Play(50, pcm, token=9))
    for _ in range(4):
        rig.frame()
    heard = [sample for payload in rig.heard(1) for sample in decoded(payload)]
    assert heard.count(near(4000)) == 400
    [played] = rig.told(Played)
    assert (played.source, played.token) == (50, 9)


def test_looped_source_repeats_until_it_is_stopped(rig) -> None:
    rig.open(1)
    rig.engine.submit(OpenSource(50))
    rig.bridge(7, (1, 50), [[0, UNITY], [0, 0]])
    rig.engine.submit(Play(50, np.full(100, 4000, "<i2").tobytes(), loop=True))
    for _ in range(9):
        rig.frame()
    assert constant(rig.heard(1)[-1]) == near(4000)
    rig.engine.submit(StopPlaying(50))
    rig.frame()
    assert rig.heard(1)[-1] == SILENCE
    assert not rig.told(Played)


def test_tap_in_a_bridge_hears_its_row_of_the_matrix(rig, level) -> None:
    rig.open(1)
    rig.open(2)
    rig.engine.submit(OpenTap(60))
    rig.bridge(7, (1, 2, 60), [[0, UNITY, 0], [UNITY, 0, 0], [UNITY, UNITY, 0]])
    for _ in range(5):
        rig.frame({1: level(1000), 2: level(2000)})
    frame = np.frombuffer(rig.told(TapFrame)[-1].pcm, "<i2")
    assert set(frame.tolist()) == {near(1000) + near(2000)}
    rig.engine.submit(CloseSeat(60))
    rig.frame()
    count = len(rig.told(TapFrame))
    rig.frame()
    assert len(rig.told(TapFrame)) == count


@pytest.mark.parametrize(("side", "value"), [("spoken", 1000), ("heard", 2000)])
def test_tap_follows_one_side_of_a_leg(rig, level, side: str, value: int) -> None:
    rig.open(1)
    rig.open(2)
    rig.bridge(7, (1, 2))
    rig.engine.submit(OpenTap(60, follow=1, side=side))
    for _ in range(5):
        rig.frame({1: level(1000), 2: level(2000)})
    frame = np.frombuffer(rig.told(TapFrame)[-1].pcm, "<i2")
    assert set(frame.tolist()) == {near(value)}


def test_recorded_leg_comes_out_as_it_was_sent(rig, speech) -> None:
    rig.open(1)
    rig.open(2)
    rig.bridge(7, (1, 2), [[0, UNITY], [0, 0]])
    rig.engine.submit(Record(1))
    for number in range(8):
        rig.frame({1: speech(number), 2: speech(100 + number)})
    last = rig.blocks[-1]
    beat = last.sample // rig.engine.beat_samples
    packets = dict(rig.sent[1])
    assert last.legs == (1,)
    assert last.laws == ("PCMU",)
    assert last.heard[0].tobytes() == packets[beat][12:]
    assert np.array_equal(last.heard[0], g711.encode(last.heard_mixed[0], g711.PCMU))
    assert last.contributors == ((2,),)
    assert last.sent.tolist() == [True]
    spoken = [decoded(speech(number)) for number in range(8)]
    assert last.spoken[0].tolist() in spoken
    samples = [block.sample for block in rig.blocks]
    assert set(np.diff(samples[1:]).tolist()) == {160}
    rig.engine.submit(Record(1, on=False))
    count = len(rig.blocks)
    rig.frame()
    assert len(rig.blocks) == count


# ---------------------------------------------------------------------- watching and refusing


def test_media_is_told_when_first_heard_and_when_lost(rig, speech) -> None:
    rig.open(1, media_timeout_ms=1000)
    for number in range(5):
        rig.frame({1: speech(number)})
    assert [event.leg for event in rig.told(MediaSeen)] == [1]
    for _ in range(60):
        rig.frame()
    [lost] = rig.told(MediaLost)
    assert 1000 <= lost.idle_ms <= 1100
    rig.place(1, 900, 90000)
    rig.frame({1: speech(1)})
    assert len(rig.told(MediaSeen)) == 2


@pytest.mark.parametrize(
    "command",
    [
        CloseLeg(9),
        UpdateLeg(leg=9),
        OpenLeg(leg=1, ssrc=1, first_sequence=0, first_timestamp=0),
        OpenLeg(leg=5, codec="G729", ssrc=1, first_sequence=0, first_timestamp=0),
        OpenLeg(leg=5, payload_type=72, ssrc=1, first_sequence=0, first_timestamp=0),
        OpenLeg(leg=5, dtmf_payload_type=0, ssrc=1, first_sequence=0, first_timestamp=0),
        OpenLeg(leg=5, jitter_ms=300, ssrc=1, first_sequence=0, first_timestamp=0),
        SetMatrix(bridge=7, seats=(1, 9), gains=((0, 0), (0, 0))),
        SetMatrix(bridge=7, seats=(1, 1), gains=((0, 0), (0, 0))),
        SetMatrix(bridge=7, seats=(1, 2), gains=((0, 0),)),
        SetMatrix(bridge=7, seats=(1, 2), gains=((0, 0), (0, 5))),
        SetMatrix(bridge=7, seats=(1, 2), gains=((0, -5), (0, 0))),
        SetMatrix(bridge=7, seats=(1, 2), gains=((0, 0), (0, 0)), dtmf=((True,),)),
        SetMatrix(bridge=7, seats=(1, 2), gains=((0, 0), (0, 0)), ramp_ms=5000),
        CloseBridge(9),
        OpenSource(1),
        Play(1, b"\0\0"),
        StopPlaying(1),
        OpenTap(1),
        OpenTap(60, follow=9),
        OpenTap(60, follow=1, side="both"),
        CloseSeat(1),
        Record(9),
        SendDigits(1, "5"),
        SendDigits(9, "5"),
        Command(),
    ],
    ids=lambda command: type(command).__name__,
)
def test_command_that_cannot_be_done_is_refused_and_changes_nothing(
    rig, level, command: Command
) -> None:
    rig.open(1)
    rig.open(2)
    rig.bridge(7, (1, 2))
    for _ in range(4):
        rig.frame({1: level(1000), 2: level(2000)})
    before = rig.engine.snapshot()
    rig.engine.submit(command)
    rig.frame({1: level(1000), 2: level(2000)})
    [refused] = rig.told(CommandRefused)
    assert refused.command == command
    assert refused.why
    after = rig.engine.snapshot()
    assert all(after[name] == before[name] for name in ("legs", "sources", "taps", "bridges"))
    assert constant(rig.heard(1)[-1]) == near(2000)


def test_bad_play_is_refused(rig) -> None:
    rig.engine.submit(OpenSource(50))
    rig.engine.submit(Play(50, b"\0"))
    rig.beat()
    assert len(rig.told(CommandRefused)) == 1


def test_rows_grow_without_a_gap(make_rig, level) -> None:
    rig = make_rig(capacity=2)
    rig.open(0)
    rig.open(1)
    rig.bridge(7, (0, 1))
    for _ in range(4):
        rig.frame({0: level(1000), 1: level(2000)})
    for leg in range(2, 40):
        rig.open(leg)
    for _ in range(4):
        rig.frame({0: level(1000), 1: level(2000)})
    heard = [constant(payload) for payload in rig.heard(0)]
    assert heard[-4:] == [near(2000)] * 4
    numbers = [int.from_bytes(packet[2:4], "big") for _, packet in rig.sent[0]]
    assert set(np.diff(numbers).tolist()) == {1}


def test_steady_state_allocates_nothing_that_lives_on(rig, speech) -> None:
    for leg in range(6):
        rig.open(leg)
    rig.bridge(0, (0, 1, 2))
    rig.bridge(1, (3, 4, 5))
    spoken = {leg: speech(leg) for leg in range(6)}

    def run(frames: int) -> None:
        for _ in range(frames):
            rig.frame(spoken)
            for leg in range(6):
                rig.sent[leg].clear()
                rig.reports[leg].clear()

    run(100)
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        run(400)
        gc.collect()
        growth = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert growth < 20_000


def test_a_change_of_a_bridge_without_seats_is_told_to_be_done() -> None:
    """Whoever waits for a routing must not wait for ever because its last leg has left."""
    engine = Engine()
    engine.submit(OpenLeg(leg=1, ssrc=1, first_sequence=0, first_timestamp=0))
    engine.submit(SetMatrix(bridge=1, seats=(1,), gains=((0,),), token=5))
    engine.submit(SetMatrix(bridge=1, seats=(), gains=(), token=6))
    engine.submit(CloseLeg(1))
    for _ in range(12):
        engine.tick()
    events = engine.take_events()
    assert [event.token for event in events if isinstance(event, MatrixReached)] == [5, 6]
