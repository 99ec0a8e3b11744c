"""Taps and sources at 16 and 48 kHz: exact, and nobody else is touched by them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from rtpmix.audio.codecs import CODECS
from rtpmix.audio.coders import encoder_of
from rtpmix.audio.resample import Stream
from rtpmix.mixer import g711
from rtpmix.mixer.commands import (
    CloseLeg,
    CloseSeat,
    CommandRefused,
    OpenSource,
    OpenTap,
    Play,
    Played,
    TapFrame,
)
from rtpmix.rtp.packet import RtpPacket

Array = NDArray[Any]
UNITY = 32768
NUMBER = 96
PHONES = {1: "PCMU", 2: "L16/48000", 3: "G722", 4: "L16/16000"}
TAP = 50


def noise(seed: int, samples: int, peak: int = 9000) -> Array:
    return np.random.default_rng(seed).integers(-peak, peak, samples).astype(np.int16)


class Talk:
    """Four legs of four codecs in one bridge, everybody talking."""

    def __init__(self, rig: Any, *, limited: bool = False) -> None:
        self.rig = rig
        self.limited = limited
        self.encoders: dict[int, Any] = {}
        self.at = dict.fromkeys(PHONES, (7, 1000))
        for leg, name in PHONES.items():
            number = 0 if name == "PCMU" else NUMBER
            rig.open(leg, codec=name, payload_type=number)
            if name != "PCMU":
                self.encoders[leg] = encoder_of(CODECS[name])
        rig.bridge(1, list(PHONES), ramp_ms=0, limited=limited)

    def frame(self, number: int) -> None:
        for leg, name in PHONES.items():
            codec = CODECS[name]
            sound = noise(100 * leg + number, codec.frame)
            coded = (
                self.encoders[leg].encode(sound)
                if leg in self.encoders
                else [g711.encode(sound, g711.PCMU).tobytes()]
            )
            for payload in coded:
                sequence, stamp = self.at[leg]
                self.at[leg] = sequence + 1, stamp + codec.packet_ms * codec.clock_hz // 1000
                packet = RtpPacket(
                    payload_type=NUMBER if leg in self.encoders else 0,
                    sequence_number=sequence,
                    timestamp=stamp,
                    ssrc=0x7000 + leg,
                    payload=payload,
                )
                self.rig.hand_in(leg, packet.to_bytes())
        self.rig.beat(self.rig.engine.phases)

    def change(self, number: int) -> None:
        """Change the gains with a ramp over some frames."""
        gains = [
            [0 if i == j else UNITY * (1 + (i + number) % 3) // 2 for j in range(4)]
            for i in range(4)
        ]
        self.rig.bridge(1, list(PHONES), gains, ramp_ms=30, limited=self.limited)


def tapped(rig: Any, tap: int = TAP) -> Array:
    frames = [event.pcm for event in rig.told(TapFrame) if event.tap == tap]
    return np.frombuffer(b"".join(frames), "<i2").astype(np.int64)


@pytest.mark.parametrize("limited", [False, True])
@pytest.mark.parametrize("leg", [2, 4])
def test_what_is_heard_at_a_legs_own_rate_is_what_it_is_sent(
    make_rig: Callable[..., Any], leg: int, limited: bool
) -> None:
    """With ramps, with talkers of four rates, with a limiter at work; L16 tells every bit."""
    rig = make_rig()
    talk = Talk(rig, limited=limited)
    rig.engine.submit(OpenTap(TAP, leg, "heard", CODECS[PHONES[leg]].rate_hz))
    for number in range(40):
        if number % 7 == 5:
            talk.change(number)
        talk.frame(number)
    heard = tapped(rig)
    sent = np.frombuffer(b"".join(rig.heard(leg)), ">i2").astype(np.int64)
    assert len(heard) == len(sent)
    assert np.count_nonzero(heard) > len(heard) * 0.9
    assert np.array_equal(heard, sent)


@pytest.mark.parametrize("rate_hz", [16000, 48000])
@pytest.mark.parametrize("leg", PHONES)
def test_what_is_spoken_comes_at_the_rate_that_was_asked_for(
    rig: Any, leg: int, rate_hz: int
) -> None:
    """Against what an 8 kHz tap or the codec gave, resampled in one piece."""
    talk = Talk(rig)
    own = CODECS[PHONES[leg]].rate_hz
    rig.engine.submit(OpenTap(TAP, leg, "spoken", rate_hz))
    rig.engine.submit(OpenTap(TAP + 1, leg, "spoken", max(own, 8000)))
    for number in range(20):
        talk.frame(number)
    native = tapped(rig, TAP + 1).astype(np.int16)
    assert np.count_nonzero(native) > len(native) * 0.8
    expected = Stream(own, rate_hz).process(native)
    assert np.array_equal(tapped(rig), expected)


def test_taps_and_sources_change_no_bit_of_what_others_are_sent(
    make_rig: Callable[..., Any],
) -> None:
    def sent(tapping: bool) -> dict[int, list[tuple[int, bytes]]]:
        rig = make_rig()
        talk = Talk(rig)
        for number in range(30):
            if tapping and number == 6:
                for tap, (leg, side, rate) in enumerate(
                    (leg, side, rate)
                    for leg in PHONES
                    for side in ("heard", "spoken")
                    for rate in (16000, 48000)
                ):
                    rig.engine.submit(OpenTap(TAP + tap, leg, side, rate))
                rig.engine.submit(OpenSource(99, 48000))  # in no bridge
                rig.engine.submit(Play(99, noise(1, 48000).tobytes()))
            if tapping and number == 20:
                for tap in range(0, 16, 2):
                    rig.engine.submit(CloseSeat(TAP + tap))
            talk.frame(number)
        if tapping:
            assert len(tapped(rig)) == 14 * 320
            assert len(tapped(rig, TAP + 1)) == 24 * 960
        return {leg: rig.sent[leg] for leg in PHONES}

    assert sent(tapping=True) == sent(tapping=False)


def test_a_tap_ends_with_its_leg(rig: Any) -> None:
    talk = Talk(rig)
    rig.engine.submit(OpenTap(TAP, 2, "heard", 48000))
    talk.frame(0)
    rig.engine.submit(CloseLeg(2))
    rig.beat(12)
    assert rig.engine._copies._wide_taps.taps == {}
    rig.engine.submit(OpenTap(TAP, 1, "heard", 16000))  # its number is free again
    assert not rig.told(CommandRefused)


@pytest.mark.parametrize("rate_hz", [16000, 48000])
def test_a_source_is_heard_at_its_own_rate_bit_for_bit(rig: Any, rate_hz: int) -> None:
    """By a leg of that rate; by others resampled, and by 8 kHz as its view."""
    names = {1: f"L16/{rate_hz}", 2: "PCMU", 3: "L16/16000", 4: "L16/48000"}
    for leg, name in names.items():
        rig.open(leg, codec=name, payload_type=0 if name == "PCMU" else NUMBER)
    rig.engine.submit(OpenSource(9, rate_hz))
    gains = [[0, 0, 0, 0, UNITY]] * 4 + [[0] * 5]
    rig.bridge(1, [1, 2, 3, 4, 9], gains, ramp_ms=0)
    rig.beat(4)
    size = rate_hz // 50
    said = noise(3, 10 * size + size // 2)  # the last frame is half full
    rig.engine.submit(Play(9, said.tobytes(), token=5))
    rig.beat(4 * 14)
    (played,) = rig.told(Played)
    assert played.token == 5
    padded = np.append(said, np.zeros(size // 2 + 3 * size, np.int16))
    for leg, name in names.items():
        rate = CODECS[name].rate_hz
        expected = Stream(rate_hz, rate).process(padded)
        if name == "PCMU":
            heard = g711.decode(np.frombuffer(b"".join(rig.heard(leg)), np.uint8), g711.PCMU)
            expected = g711.decode(g711.encode(expected, g711.PCMU), g711.PCMU)
        else:
            heard = np.frombuffer(b"".join(rig.heard(leg)), ">i2").astype(np.int16)
        begin = next(
            at
            for at in range(0, len(heard), rate // 50)
            if np.array_equal(heard[at : at + len(expected)], expected)
        )
        assert begin <= rate // 10


def test_other_rates_are_refused(rig: Any) -> None:
    rig.open(1)
    for command in (OpenSource(9, 44100), OpenTap(8, 1, "heard", 32000), OpenTap(7, rate_hz=16000)):
        rig.engine.submit(command)
        (refused,) = rig.engine.take_events()
        assert isinstance(refused, CommandRefused)
        assert "000" in refused.why
