"""Comfort noise in the engine: played while a talker is silent, sent where a leg hears nothing."""

import random

import numpy as np
import pytest

from rtpmix.mixer import g711
from rtpmix.mixer.commands import CommandRefused, OpenLeg, Record, SendDigits, UpdateLeg
from rtpmix.rtp.comfort_noise import OVERLOAD
from rtpmix.rtp.packet import RtpPacket

FRAME = 160
SILENT = bytes([0xFF]) * FRAME


def noise(rig, leg: int, payload: bytes, *, frames: int = 1) -> None:
    """Let a description take the place of the next packet, and time pass."""
    sequence, timestamp = rig._next[leg]
    rig.say(leg, payload, payload_type=13)
    rig.place(leg, sequence + 1, timestamp + FRAME * frames)
    rig.beat(4 * frames)


def spoken(rig) -> np.ndarray:
    return np.concatenate([block.spoken[0] for block in rig.blocks]).astype(float)


def begun(rig, speech, *, frames: int = 10) -> None:
    rig.open(1)
    rig.engine.submit(Record(1))
    for seed in range(frames):
        rig.frame({1: speech(seed)})


def decibels(samples: np.ndarray) -> float:
    return float(10 * np.log10(np.mean(samples**2) / OVERLOAD**2))


@pytest.mark.parametrize("level", [20, 40, 60])
@pytest.mark.parametrize("colour", [b"", bytes((40, 160, 127)), bytes((250, 3, 250, 3))])
def test_noise_of_the_level_told_is_played_until_speech_comes_back(
    rig, speech, level: int, colour: bytes
) -> None:
    begun(rig, speech)
    noise(rig, 1, bytes((level, *colour)), frames=100)
    rig.frame({1: speech(90)})
    rig.frame({1: speech(91)})
    sound = spoken(rig)
    steady = sound[16 * FRAME : 109 * FRAME]
    assert decibels(steady) == pytest.approx(-level, abs=1.5 if level < 60 else 2.5)
    frames = steady.reshape(-1, FRAME)
    assert all(len(set(frame)) > 3 for frame in frames)  # noise, everywhere
    assert len({frame.tobytes() for frame in frames}) == len(frames)  # which never repeats
    exact = g711.decode(np.frombuffer(speech(91), np.uint8), g711.PCMU)
    assert np.array_equal(sound[-FRAME:], exact)


def test_the_spectrum_is_the_one_told(rig, speech) -> None:
    begun(rig, speech)
    noise(rig, 1, bytes((30, 50)), frames=200)  # k = -0.61: low frequencies prevail
    steady = spoken(rig)[20 * FRAME : 200 * FRAME]
    power = np.abs(np.fft.rfft(steady.reshape(-1, 2 * FRAME), axis=1)) ** 2
    low, high = power[:, 5:40].mean(), power[:, -40:-5].mean()
    k = 258 * (50 - 127) / 32768
    shape = 1 / np.abs(1 + k * np.exp(-1j * np.pi * np.arange(161) / 160)) ** 2
    wanted = 10 * np.log10(shape[5:40].mean() / shape[-40:-5].mean())
    assert 10 * np.log10(low / high) == pytest.approx(wanted, abs=1)


def test_silence_that_was_told_is_not_loss(rig, speech) -> None:
    begun(rig, speech)
    rig.lose(1)
    rig.frame()
    rig.frame({1: speech(11)})
    noise(rig, 1, bytes((50,)), frames=100)
    rig.frame({1: speech(12)})
    stats = rig.engine.leg_stats(1)
    assert (stats.concealed, stats.lost, stats.bursts) == (1, 1, 0)


def test_a_voice_does_not_go_on_into_the_silence_that_it_told(rig, speech) -> None:
    """Concealment fades out within the first frame of noise, not in 140 ms as over a loss."""
    begun(rig, speech)
    noise(rig, 1, bytes((70,)), frames=10)
    sound = spoken(rig)
    assert np.abs(sound[10 * FRAME : 11 * FRAME]).max() > 1000
    assert np.abs(sound[11 * FRAME : 15 * FRAME]).max() < 100


def test_noise_comes_and_goes_without_a_step(rig, level) -> None:
    begun(rig, lambda seed: level(0))
    noise(rig, 1, bytes((20,)), frames=30)
    for _ in range(3):
        rig.frame({1: level(0)})
    sound = spoken(rig)
    edges = np.concatenate([sound[10 * FRAME : 10 * FRAME + 16], sound[41 * FRAME - 16 :]])
    assert np.abs(edges).max() < 0.2 * np.abs(sound).max()


def test_a_lost_packet_after_the_silence_is_concealed(rig, speech) -> None:
    begun(rig, speech)
    noise(rig, 1, bytes((20,)), frames=10)
    for seed in range(5):
        rig.frame({1: speech(seed)})
    rig.lose(1)
    rig.frame()
    rig.frame({1: speech(6)})
    assert rig.engine.leg_stats(1).concealed == 1


def test_noise_may_come_first(rig, speech) -> None:
    rig.open(1)
    rig.engine.submit(Record(1))
    noise(rig, 1, bytes((30,)), frames=20)
    for seed in range(5):
        rig.frame({1: speech(seed)})
    assert decibels(spoken(rig)[5 * FRAME : 19 * FRAME]) == pytest.approx(-30, abs=1.5)
    assert rig.engine.leg_stats(1).played == 5


def test_noise_ends_with_its_stream(rig, speech) -> None:
    begun(rig, speech)
    noise(rig, 1, bytes((20,)), frames=20)
    rig.place(1, 1000, 70000)
    rig.say(1, speech(1), ssrc=99)  # silent for long enough: taken at once
    rig.beat(40)
    assert not spoken(rig)[-FRAME:].any()


def test_noise_is_the_same_whoever_else_is_there(make_rig, speech) -> None:
    alone, crowd = make_rig(), make_rig()
    for leg in range(5, 9):
        crowd.open(leg)
    for rig in (alone, crowd):
        begun(rig, speech)
    noise(crowd, 5, bytes((10, 30)), frames=1)
    crowd.pause(1)
    crowd.pause(5)
    alone.beat(4)
    alone.pause(1)
    for rig in (alone, crowd):
        noise(rig, 1, bytes((30, 50, 90)), frames=20)
    assert np.array_equal(spoken(alone), spoken(crowd))


def test_hostile_descriptions_raise_nothing(rig, speech) -> None:
    """Any octets, at any timestamp, mixed with speech and gaps."""
    begun(rig, speech)
    dice = random.Random(7)
    for _ in range(300):
        sequence, timestamp = rig._next[1]
        size = dice.choice((0, 1, 2, 5, 11, 12, 160, 1200, 1400))
        packet = RtpPacket(
            payload_type=13,
            sequence_number=sequence & 0xFFFF,
            timestamp=dice.choice((timestamp, dice.getrandbits(32))) & 0xFFFF_FFFF,
            ssrc=0x5001,
            payload=dice.randbytes(size),
            marker=dice.random() < 0.5,
        )
        rig.place(1, sequence + 1, timestamp + FRAME)
        rig.hand_in(1, packet.to_bytes())
        rig.beat(dice.choice((1, 4, 8)))
        if dice.random() < 0.3:
            rig.frame({1: speech(3)})
    assert np.abs(spoken(rig)).max() <= 32768


# ------------------------------------------------------------------------------------- out


def types(rig, leg: int) -> str:
    """What was sent: ``a`` audio, ``n`` noise, in capitals with the marker bit."""
    letters = ""
    for _, packet in rig.sent[leg]:
        letter = {0: "a", 13: "n"}.get(packet[1] & 0x7F, "e")
        letters += letter.upper() if packet[1] & 0x80 else letter
    return letters


def hushed(rig, speech, *, frames: int = 60, payload: bytes = SILENT) -> None:
    """Leg 2 says something, then little; leg 1 hears it."""
    rig.open(1, noise_payload_type=13)
    rig.open(2)
    rig.bridge(1, [1, 2])
    for seed in range(10):
        rig.frame({2: speech(seed)})
    for _ in range(frames):
        rig.frame({2: payload})


def test_a_leg_that_hears_nothing_gets_a_description_instead(rig, speech) -> None:
    hushed(rig, speech, frames=80)
    letters = types(rig, 1)
    first = letters.index("n")
    assert 10 + 10 <= first <= 10 + 13  # 200 ms of silence are sent as they are
    assert letters[0] == "A"
    assert set(letters[1:first]) == {"a"}
    assert letters[first:] == "nn"  # then once a second
    assert rig.sent[1][-1][1][12:] == bytes((127,))


def test_speech_after_the_silence_has_the_marker_and_the_right_time(rig, speech) -> None:
    """RFC 3551 section 4.1; timestamps run on, sequence numbers count packets."""
    hushed(rig, speech)
    for seed in range(20):
        rig.frame({2: speech(seed)})
    letters = types(rig, 1)
    assert letters.count("A") == 2
    back = letters.rindex("A")
    assert "n" not in letters[back:]
    assert set(letters[back + 1 :]) == {"a"}
    first = RtpPacket.parse(rig.sent[1][0][1])
    for beat, packet in rig.sent[1]:
        sent = RtpPacket.parse(packet)
        assert sent.timestamp - first.timestamp == (beat - rig.sent[1][0][0]) // 4 * FRAME
    numbers = [RtpPacket.parse(packet).sequence_number for _, packet in rig.sent[1]]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    assert rig.engine.leg_stats(1).sent == len(numbers)


def test_faint_noise_is_described_by_its_level(rig, speech) -> None:
    dice = np.random.default_rng(1)
    faint = np.rint(dice.normal(0, 16, FRAME)).astype(np.int16)
    hushed(rig, speech, payload=g711.encode(faint, g711.PCMU).tobytes())
    described = next(packet for _, packet in rig.sent[1] if packet[1] & 0x7F == 13)
    assert described[12] == pytest.approx(20 * np.log10(OVERLOAD / 16), abs=2)
    assert len(described) == 12 + 1 + 4


def test_a_change_of_level_is_told_soon(rig, speech, level) -> None:
    hushed(rig, speech, frames=25)
    before = types(rig, 1).count("n")
    for _ in range(15):
        rig.frame({2: level(20)})
    assert types(rig, 1).count("n") == before + 1


def test_voice_is_never_held_back(rig, speech) -> None:
    hushed(rig, speech)
    sent = len(rig.sent[1])
    samples = [g711.decode(np.frombuffer(speech(seed), np.uint8), g711.PCMU) for seed in range(30)]
    voices = [g711.encode(each, g711.PCMU).tobytes() for each in samples]
    for voice in voices:
        rig.frame({2: voice})
    heard = [packet[12:] for _, packet in rig.sent[1][sent:] if packet[1] & 0x7F == 0]
    first = voices.index(heard[1])  # the first frame of all is faded in
    assert first <= 2
    assert heard[1:] == voices[first : first + len(heard) - 1]
    assert len(heard) >= 29


def test_a_leg_that_has_not_agreed_gets_every_packet(rig, speech) -> None:
    hushed(rig, speech)
    assert set(types(rig, 2)) <= {"a", "A"}
    assert len(rig.sent[2]) == 70


def test_digits_are_said_into_the_silence(rig, speech) -> None:
    hushed(rig, speech)
    rig.engine.submit(UpdateLeg(leg=1, noise_payload_type=13, dtmf_payload_type=101))
    for _ in range(30):
        rig.frame()
    rig.engine.submit(SendDigits(1, "5"))
    for _ in range(30):
        rig.frame()
    letters = types(rig, 1)
    assert "e" in letters.lower()
    assert letters.endswith("n") or letters.lower().rstrip("a").endswith("e")


def test_whether_packets_stop_depends_on_what_the_leg_hears_alone(make_rig, speech) -> None:
    """A third leg that leg 1 can't hear changes nothing about what leg 1 is sent, or when."""
    found = []
    for third_speaks in (False, True):
        rig = make_rig()
        rig.open(3)
        rig.open(1, noise_payload_type=13)
        rig.open(2, noise_payload_type=13)
        unity = 32768
        rig.bridge(1, [1, 2, 3], [[0, unity, 0], [unity, 0, unity], [unity, unity, 0]])
        for frame in range(120):
            talk = {2: speech(frame) if frame // 30 % 2 else SILENT}
            if third_speaks:
                talk[3] = speech(1000 + frame)
            rig.frame(talk)
        found.append(rig.sent[1])
        assert ("n" in types(rig, 2)) is not third_speaks
    assert found[0] == found[1]
    assert any(packet[1] & 0x7F == 13 for _, packet in found[0])


def test_comfort_noise_needs_a_payload_type_of_its_own(rig) -> None:
    rig.engine.submit(
        OpenLeg(leg=9, ssrc=1, first_sequence=1, first_timestamp=1, noise_payload_type=0)
    )
    rig.beat()
    assert "payload type" in rig.told(CommandRefused)[0].why
