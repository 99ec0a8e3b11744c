"""The ears of the tests: checked against known levels before anything is checked with them."""

import numpy as np
import pytest
from aiortc.codecs.g711 import PcmaDecoder, PcmuDecoder
from aiortc.jitterbuffer import JitterFrame
from numpy.typing import NDArray

from rtpmix.errors import UsageError
from rtpmix.testing.audio import (
    SILENT_DB,
    Samples,
    align,
    click_db,
    decode_g711,
    encode_g711,
    level_db,
    relative_levels,
    rms_db,
    tone,
    tones_heard,
)

PARTIES = (437.0, 1013.0, 1693.0)


@pytest.mark.parametrize("frequency", [300.0, 437.0, 1013.0, 1693.0, 3400.0])
@pytest.mark.parametrize("level", [0.0, -20.0, -40.0])
def test_the_level_of_a_tone_is_measured_to_a_tenth_of_a_decibel(
    frequency: float, level: float
) -> None:
    assert level_db(tone(frequency, 1, level_db=level), frequency) == pytest.approx(level, abs=0.1)


def test_a_loud_tone_does_not_show_at_another_partys_frequency() -> None:
    """The window's side lobes are 92 dB down."""
    heard = tone(437.3, 1.0, level_db=-3.0, phase=0.4)
    assert level_db(heard, 1013.0) < -90
    assert level_db(heard, 1693.0) < -90


def test_every_party_in_a_mix_is_found_and_nobody_else() -> None:
    mix = tone(437, 1) + tone(1693, 1, level_db=-30)
    assert tones_heard(mix, PARTIES) == {437.0, 1693.0}
    assert tones_heard(mix, PARTIES, threshold_db=-25) == {437.0}
    levels = relative_levels(mix, PARTIES)
    assert levels[437.0] == 0
    assert levels[1693.0] == pytest.approx(-10, abs=0.1)
    assert levels[1013.0] < -70


def test_nothing_has_the_lowest_level() -> None:
    nothing = np.zeros(0, np.int16)
    assert level_db(nothing, 437) == rms_db(nothing) == SILENT_DB
    assert level_db(np.zeros(800, np.int16), 437) == SILENT_DB


def test_g711_stays_under_the_threshold_of_a_tone() -> None:
    """Its noise beside a loud tone must not be taken for a second party."""
    heard = decode_g711(encode_g711(tone(437, 1, level_db=-6)))
    assert tones_heard(heard, PARTIES) == {437.0}
    assert tones_heard(heard, PARTIES, threshold_db=-75) != {437.0}


def switched_off(ramp: NDArray[np.float64]) -> Samples:
    """Return 440 Hz at full scale that goes off at its peak, along a ramp."""
    speech = tone(440, 0.5, level_db=0).astype(float)
    at = 2004  # the sine of 440 Hz is at 0.99 of its peak here
    gain = np.concatenate([np.ones(at), ramp, np.zeros(len(speech) - at - len(ramp))])
    return np.rint(speech * gain).astype(np.int16)


def test_a_click_is_told_from_a_ramp() -> None:
    """The figures of docs/explanation: step -25 dB, linear 5 ms -61, raised cosine 10 ms -96."""
    assert click_db(switched_off(np.ones(0))) == pytest.approx(-25, abs=3)
    assert click_db(switched_off(1 - np.arange(40) / 40)) == pytest.approx(-61, abs=4)
    cosine = 0.5 + 0.5 * np.cos(np.pi * np.arange(80) / 80)
    assert click_db(switched_off(cosine)) == pytest.approx(-96, abs=4)
    assert click_db(tone(440, 0.5, level_db=0)) < -98


def test_too_little_to_find_a_click_in_is_the_callers_error() -> None:
    with pytest.raises(UsageError, match="416"):
        click_db(tone(440, 0.05))


def test_the_power_of_a_sine_is_its_level() -> None:
    assert rms_db(tone(1000, 1, level_db=-10)) == pytest.approx(-10, abs=0.05)


def test_a_delayed_copy_is_found_where_it_begins() -> None:
    rng = np.random.default_rng(1)
    speech = rng.integers(-8000, 8000, 4000).astype(np.int16)
    for delay in (0, 1, 333, 3000):
        heard = np.concatenate([np.zeros(delay, np.int16), speech])[:5000]
        assert align(speech, heard) == delay
    assert align(speech, speech[700:]) == -700
    with pytest.raises(UsageError):
        align(speech, speech[:0])


@pytest.mark.parametrize(("codec", "oracle"), [("PCMU", PcmuDecoder()), ("PCMA", PcmaDecoder())])
def test_g711_decodes_as_an_independent_decoder_does(
    codec: str, oracle: PcmuDecoder | PcmaDecoder
) -> None:
    """All 256 codes, against FFmpeg's through aiortc."""
    payload = bytes(range(256))
    frame = oracle.decode(JitterFrame(data=payload, timestamp=0))[0]
    expected = np.frombuffer(bytes(frame.planes[0])[:512], np.int16)
    assert decode_g711(payload, codec).tolist() == expected.tolist()


@pytest.mark.parametrize("codec", ["PCMU", "PCMA"])
def test_what_a_codec_says_it_encodes_to_itself(codec: str) -> None:
    payload = bytes(range(256))
    values = decode_g711(payload, codec)
    assert decode_g711(encode_g711(values, codec), codec).tolist() == values.tolist()


@pytest.mark.parametrize("codec", ["PCMU", "PCMA"])
def test_encoding_takes_the_nearest_value(codec: str) -> None:
    every = np.arange(-32768, 32768).astype(np.int16)
    values = np.unique(decode_g711(bytes(range(256)), codec)).astype(int)
    error = np.abs(decode_g711(encode_g711(every, codec), codec).astype(int) - every)
    position = np.searchsorted(values, every.astype(int)).clip(1, len(values) - 1)
    nearest = np.minimum(np.abs(values[position] - every), np.abs(values[position - 1] - every))
    assert error.tolist() == nearest.tolist()


def test_an_unknown_codec_is_the_callers_error() -> None:
    with pytest.raises(UsageError, match="PCMU, PCMA"):
        decode_g711(b"", "G722")
