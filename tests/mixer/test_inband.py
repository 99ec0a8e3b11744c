"""Digits as tones: recognised within the limits of ITU-T Q.24, and not in speech or music."""

from __future__ import annotations

import numpy as np
import pytest

from rtpmix.mixer import g711
from rtpmix.mixer.commands import DetectDigits, DigitPressed, Record
from rtpmix.mixer.inband import HIGH_HZ, KEYS, LOW_HZ, digits_in, tones_of

ALL = "0123456789*#ABCD"


def samples(pcm: bytes) -> np.ndarray:
    return np.frombuffer(pcm, "<i2").astype(np.int16)


def pair(low: float, high: float, *, level_db: float = -10, twist_db: float = 0) -> np.ndarray:
    """One frame of two tones, the high one stronger by `twist_db`."""
    t = np.arange(160) / 8000
    peak = 32767 * 10 ** (level_db / 20)
    loud = peak * 10 ** (twist_db / 20)
    wave = peak * np.sin(2 * np.pi * low * t + 1) + loud * np.sin(2 * np.pi * high * t + 2)
    return wave.round().astype(np.int16)[None, :]


def listen(rig, wave: np.ndarray) -> list[tuple[str, int]]:
    """Let a phone say these samples as PCMU; return the digits told, with their durations."""
    rig.open(1)
    rig.engine.submit(DetectDigits(1))
    wave = np.concatenate([wave, np.zeros(-len(wave) % 160 + 640, np.int16)])
    for frame in wave.reshape(-1, 160):
        rig.frame({1: g711.encode(frame, g711.PCMU).tobytes()})
    rig.beat(40)
    return [(event.digit, event.duration_ms) for event in rig.told(DigitPressed)]


@pytest.mark.parametrize("offset", [0, 31, 80, 117])
def test_every_digit_is_told_once_wherever_it_begins_in_a_frame(rig, offset: int) -> None:
    """Q.24: 40 ms of tone and 40 ms of pause suffice."""
    wave = samples(tones_of(ALL, duration_ms=40, pause_ms=40))
    told = listen(rig, np.concatenate([np.zeros(offset, np.int16), wave]))
    assert "".join(digit for digit, _ in told) == ALL


def test_the_same_key_pressed_twice_is_two_digits(rig) -> None:
    told = listen(rig, samples(tones_of("5551", duration_ms=60, pause_ms=40)))
    assert "".join(digit for digit, _ in told) == "5551"


def test_a_long_digit_is_told_once_with_its_duration(rig) -> None:
    [(digit, duration)] = listen(rig, samples(tones_of("7", duration_ms=1000)))
    assert digit == "7"
    assert abs(duration - 1000) <= 20


@pytest.mark.parametrize("index", range(16))
@pytest.mark.parametrize("off", [-0.015, 0.015])
def test_frequencies_may_be_off_by_a_percent_and_a_half(index: int, off: float) -> None:
    """Q.24 table A-1: tolerance of the frequencies."""
    low, high = LOW_HZ[index // 4], HIGH_HZ[index % 4]
    [(digit, _)] = digits_in(pair(low * (1 + off), high * (1 + off)))
    assert digit == KEYS[index // 4][index % 4]


@pytest.mark.parametrize("twist_db", [-8, -4, 4, 8])
def test_one_tone_may_be_stronger(twist_db: float) -> None:
    assert digits_in(pair(770, 1336, level_db=-20, twist_db=twist_db)) == [("5", True)]


@pytest.mark.parametrize("twist_db", [-12, 12])
def test_two_tones_of_very_different_strength_are_no_digit(twist_db: float) -> None:
    assert digits_in(pair(770, 1336, level_db=-20, twist_db=twist_db)) == [("", False)]


@pytest.mark.parametrize("tones", [(770,), (1336,), (697, 941), (1209, 1633), (440, 660)])
def test_other_tones_are_no_digit(tones: tuple[float, ...]) -> None:
    t = np.arange(160) / 8000
    wave = sum(6000 * np.sin(2 * np.pi * hz * t) for hz in tones)
    assert digits_in(np.asarray(wave).round().astype(np.int16)[None, :]) == [("", False)]


def test_noise_and_silence_are_no_digits() -> None:
    noise = np.random.default_rng(5).normal(0, 4000, (5000, 160)).astype(np.int16)
    found = [digit for digit, clear in digits_in(noise) if clear]
    assert len(found) <= 5  # single frames; a digit takes two alike in a row
    assert digits_in(np.zeros((3, 160), np.int16)) == [("", False)] * 3


def test_digits_are_found_in_noise() -> None:
    """Q.24: a signal to noise ratio of 15 dB."""
    source = np.random.default_rng(6)
    clean = pair(852, 1477, level_db=-12)
    power = float((clean.astype(float) ** 2).mean())
    noise = source.normal(0, (power / 10**1.5) ** 0.5, (500, 160))
    found = digits_in((clean + noise).round().astype(np.int16))
    assert sum(digit == "9" for digit, _ in found) >= 495


def test_legs_that_nobody_asked_about_are_not_listened_to(rig) -> None:
    rig.open(1)
    for frame in samples(tones_of("5", duration_ms=200, pause_ms=200)).reshape(-1, 160):
        rig.frame({1: g711.encode(frame, g711.PCMU).tobytes()})
    assert rig.told(DigitPressed) == []


def test_listening_ends_when_it_is_told_to(rig) -> None:
    rig.open(1)
    rig.engine.submit(DetectDigits(1))
    rig.engine.submit(DetectDigits(1, on=False))
    for frame in samples(tones_of("5", duration_ms=200, pause_ms=200)).reshape(-1, 160):
        rig.frame({1: g711.encode(frame, g711.PCMU).tobytes()})
    assert rig.told(DigitPressed) == []


# ---------------------------------------------------------------------------------- masked digits


def masked(rig, wave: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Leg 1 says these samples, its digits masked; return what leg 2 hears and what is recorded."""
    rig.open(1)
    rig.open(2, dtmf_payload_type=101)
    rig.bridge(1, [1, 2], dtmf=((False, True), (True, False)))
    rig.engine.submit(DetectDigits(1, mask=True))
    rig.engine.submit(Record(1))
    wave = np.concatenate([wave, np.zeros(-len(wave) % 160 + 640, np.int16)])
    for frame in wave.reshape(-1, 160):
        rig.frame({1: g711.encode(frame, g711.PCMU).tobytes()})
    rig.beat(40)
    audio = [packet[12:] for _, packet in rig.sent[2] if packet[1] & 0x7F == 0]
    heard = g711.decode(np.frombuffer(b"".join(audio), np.uint8), g711.PCMU)
    return heard, np.concatenate([block.spoken[0] for block in rig.blocks])


@pytest.mark.parametrize("offset", [0, 31, 80, 117])
def test_masked_digits_are_heard_by_nobody_and_in_no_recording(rig, offset: int) -> None:
    """What is left of a tone, no receiver takes for a digit."""
    wave = np.concatenate(
        [np.zeros(offset, np.int16), samples(tones_of(ALL, duration_ms=80, pause_ms=80))]
    )
    heard, recorded = masked(rig, wave)
    assert "".join(event.digit for event in rig.told(DigitPressed)) == ALL
    events = [packet for _, packet in rig.sent[2] if packet[1] & 0x7F == 101]
    assert len({packet[4:8] for packet in events}) == len(ALL)  # each goes on, as an event
    tone = np.abs(wave.astype(int)) > 100
    for sound in (heard, recorded):
        loud = np.abs(sound.astype(int)) > 100
        assert loud.sum() < 0.25 * tone.sum()  # less than 20 ms of each 80
        assert not any(
            clear for _, clear in digits_in(sound[: len(sound) // 160 * 160].reshape(-1, 160))
        )


def test_masking_leaves_speech_alone_and_has_no_edges(rig) -> None:
    time = np.arange(8000) / 8000
    voice = np.rint(6000 * np.sin(2 * np.pi * 440 * time)).astype(np.int16)
    plain = g711.decode(g711.encode(voice, g711.PCMU), g711.PCMU)
    _, recorded = masked(rig, voice)
    assert any(
        np.array_equal(recorded[at : at + 7000], plain[160:7160]) for at in range(0, 800, 160)
    )


def test_masked_or_not_is_up_to_the_last_command(rig) -> None:
    rig.open(1)
    rig.engine.submit(DetectDigits(1, mask=True))
    rig.engine.submit(DetectDigits(1))
    rig.engine.submit(Record(1))
    for frame in samples(tones_of("5", duration_ms=200)).reshape(-1, 160):
        rig.frame({1: g711.encode(frame, g711.PCMU).tobytes()})
    assert np.abs(np.concatenate([block.spoken[0] for block in rig.blocks])).max() > 5000
