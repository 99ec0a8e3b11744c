"""Levels and masked keys of legs at 16 kHz: what is done to their sound holds at every rate."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from rtpmix.mixer.commands import (
    DetectDigits,
    DigitPressed,
    LevelsMeasured,
    MeasureLevels,
    SetAutoGain,
)
from rtpmix.mixer.inband import digits_in
from rtpmix.rtp.packet import RtpPacket

UNITY = 32768
WIDE = 320  # samples of 20 ms


def tones(frames: int, *hz: float, peak: float = 9000) -> np.ndarray:
    time = np.arange(frames * WIDE) / 16_000
    return np.rint(sum(peak * np.sin(2 * np.pi * each * time) for each in hz)).astype(np.int16)


def heard(
    rig: Any, said: dict[int, np.ndarray], *, limited: bool = False, evened: bool = False
) -> np.ndarray:
    """Legs say these samples; return what leg 1 is sent, at 16 kHz."""
    for leg in (1, 2, 3):
        rig.open(leg, codec="L16/16000", payload_type=96)
    gains = UNITY * (1 - np.eye(3, dtype=int))
    rig.bridge(1, [1, 2, 3], gains, limited=limited)
    rig.engine.submit(DetectDigits(2, mask=True))
    rig.engine.submit(MeasureLevels(2))
    rig.engine.submit(SetAutoGain(2, on=evened))
    for number in range(len(said[2]) // WIDE):
        for leg, samples in said.items():
            packet = RtpPacket(
                payload_type=96,
                sequence_number=number,
                timestamp=number * WIDE,
                ssrc=0x5000 + leg,
                payload=samples[number * WIDE : (number + 1) * WIDE].astype(">i2").tobytes(),
            )
            rig.hand_in(leg, packet.to_bytes())
        rig.beat(4)
    payloads = [packet[12:] for _, packet in rig.sent[1]]
    return np.concatenate([np.frombuffer(payload, ">i2") for payload in payloads]).astype(int)


def strength(sound: np.ndarray, hz: float) -> float:
    """Amplitude of a frequency."""
    turning = np.exp(-2j * np.pi * hz / 16_000 * np.arange(sound.size))
    return float(2 * abs(np.dot(sound, turning)) / sound.size)


def test_masked_keys_are_not_heard_at_a_higher_rate_either(rig) -> None:
    silence = np.zeros(20 * WIDE, np.int16)
    key = tones(10, 770, 1336)
    sound = heard(rig, {2: np.concatenate([silence, key, silence])})
    assert [event.digit for event in rig.told(DigitPressed)] == ["5"]
    assert (np.abs(sound) > 100).sum() < WIDE  # less than a frame of ten
    view = sound[::2][: sound.size // WIDE * 160].reshape(-1, 160).astype(np.int16)
    assert not any(clear for _, clear in digits_in(view))


def test_what_is_no_key_is_heard_with_all_its_bandwidth(rig) -> None:
    sound = heard(rig, {2: tones(60, 440, 6000, peak=3000)})
    assert strength(sound[20 * WIDE : 50 * WIDE], 6000) == pytest.approx(3000, rel=0.05)
    told = rig.told(LevelsMeasured)
    assert told[-1].legs == (2,)
    assert told[-1].dbov[0] == pytest.approx(-23.5, abs=1)  # of the part below 4 kHz


def test_automatic_gain_is_for_the_whole_bandwidth(rig) -> None:
    sound = heard(rig, {2: tones(200, 440, 6000, peak=1200)}, evened=True)
    late = sound[-100 * WIDE :]
    low, high = strength(late, 440), strength(late, 6000)
    assert low > 1600
    assert high == pytest.approx(low, rel=0.05)


def test_the_limiter_works_at_a_higher_rate(rig) -> None:
    loud = {leg: tones(60, hz, peak=30_000) for leg, hz in ((2, 500.0), (3, 5500.0))}
    sound = heard(rig, loud, limited=True)
    late = sound[20 * WIDE :]
    assert np.abs(late).max() <= 29_300
    assert strength(late[: 30 * WIDE], 5500) > 12_000
