"""rtpmix.audio.resample: whole numbers, frame by frame as in one piece, nothing folded back."""

from __future__ import annotations

import itertools
import zlib
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from rtpmix.audio.resample import RATES_HZ, Stream, resampled, resampler
from rtpmix.errors import UsageError

PAIRS = list(itertools.permutations(RATES_HZ, 2))
Array = NDArray[Any]


def tone(frequency: float, rate_hz: int, seconds: float = 0.5) -> Array:
    n = np.arange(round(rate_hz * seconds))
    return np.rint(16000 * np.sin(2 * np.pi * frequency * n / rate_hz)).astype(np.int16)


def through(samples: Array, from_hz: int, to_hz: int, frame_ms: int = 20) -> Array:
    stream, size = Stream(from_hz, to_hz), from_hz * frame_ms // 1000
    frames = [samples[at : at + size] for at in range(0, len(samples), size)]
    return np.concatenate([stream.process(frame) for frame in frames])


def levels_db(samples: Array, rate_hz: int) -> tuple[Array, Array]:
    """Return frequencies, and their levels against a tone of 16,000."""
    window = np.blackman(len(samples))
    spectrum = np.abs(np.fft.rfft(samples * window)) * 2 / window.sum() / 16000
    return np.fft.rfftfreq(len(samples), 1 / rate_hz), 20 * np.log10(spectrum + 1e-9)


@pytest.mark.parametrize(("from_hz", "to_hz"), PAIRS)
def test_the_stop_band_is_60_db_down_and_the_delay_below_3_ms(from_hz: int, to_hz: int) -> None:
    """The response of the very coefficients that are used, from half the lower rate on."""
    one, high, low = resampler(from_hz, to_hz), max(from_hz, to_hz), min(from_hz, to_hz)
    response = np.abs(np.fft.rfft(one.taps, 1 << 16)) / abs(one.taps.sum())
    response_db = 20 * np.log10(response + 1e-12)
    frequencies = np.fft.rfftfreq(1 << 16, 1 / high)
    assert response_db[frequencies >= low / 2].max() < -63
    passed = frequencies <= {8000: 3300, 16000: 7000}[low]
    assert np.abs(response_db[passed]).max() < 0.01
    assert one.delay_ms < 3
    assert np.array_equal(one.taps, np.rint(one.taps))


@pytest.mark.parametrize(("from_hz", "to_hz"), PAIRS)
def test_what_is_above_the_band_neither_folds_back_nor_shows_as_an_image(
    from_hz: int, to_hz: int
) -> None:
    """Measured on samples: rounding to 16 bits included."""
    low = min(from_hz, to_hz)
    if from_hz > to_hz:
        for frequency in (low / 2 + 100, low * 0.8, from_hz * 0.47):
            out = through(tone(frequency, from_hz), from_hz, to_hz)[to_hz // 50 :]
            assert levels_db(out, to_hz)[1].max() < -60
    else:
        out = through(tone(low * 0.4, from_hz), from_hz, to_hz)[to_hz // 50 :]
        frequencies, found_db = levels_db(out, to_hz)
        assert found_db.max() == pytest.approx(0, abs=0.05)
        assert found_db[frequencies > low / 2].max() < -60


@pytest.mark.parametrize(("from_hz", "to_hz"), PAIRS)
def test_frame_by_frame_is_as_in_one_piece_whatever_the_frame(from_hz: int, to_hz: int) -> None:
    chance = np.random.default_rng(3)
    samples = chance.integers(-32768, 32768, from_hz // 5).astype(np.int16)
    whole = through(samples, from_hz, to_hz, frame_ms=200)
    for frame_ms in (1, 5, 20, 40):
        assert np.array_equal(through(samples, from_hz, to_hz, frame_ms), whole)


@pytest.mark.parametrize(("from_hz", "to_hz"), PAIRS)
def test_the_sums_are_exact(from_hz: int, to_hz: int) -> None:
    """The same as Python's own integers give, at full scale, limited once."""
    one = resampler(from_hz, to_hz)
    chance = np.random.default_rng(4)
    samples = chance.choice(np.array([-32768, 32767], np.int16), from_hz // 100)
    found = one.process(samples[None], np.zeros((1, one.history), np.int16))[0]
    taps, given = [int(tap) for tap in one.taps], [int(sample) for sample in samples]
    ratio, up = max(from_hz, to_hz) // min(from_hz, to_hz), to_hz > from_hz
    expected = []
    for out in range(len(found)):
        total = 0
        for tap, value in enumerate(taps):
            place, rest = divmod(out - tap, ratio) if up else (out * ratio - tap, 0)
            if rest == 0 and place >= 0:
                total += value * given[place]
        expected.append(max(-32768, min(32767, (total + 16384) >> 15)))
    assert found.tolist() == expected


@pytest.mark.parametrize(("from_hz", "to_hz"), PAIRS)
def test_a_constant_comes_through_unchanged(from_hz: int, to_hz: int) -> None:
    out = through(np.full(from_hz // 10, -12345, np.int16), from_hz, to_hz)
    assert set(out[to_hz // 50 :].tolist()) == {-12345}


@pytest.mark.parametrize(("from_hz", "to_hz"), PAIRS)
def test_many_rows_at_once_are_as_one_by_one(from_hz: int, to_hz: int) -> None:
    one, chance = resampler(from_hz, to_hz), np.random.default_rng(5)
    samples = chance.integers(-32768, 32768, (5, from_hz // 50)).astype(np.int16)
    past = chance.integers(-32768, 32768, (5, one.history)).astype(np.int16)
    together = one.process(samples, past)
    for row in range(5):
        alone = one.process(samples[row : row + 1], past[row : row + 1])[0]
        assert np.array_equal(together[row], alone)


def test_the_coefficients_are_the_same_everywhere() -> None:
    """They are designed in floating point, once; a machine that rounds otherwise shows here."""
    text = ",".join(str(tap) for pair in PAIRS for tap in resampler(*pair).taps)
    assert zlib.crc32(text.encode()) == 1228037383


@pytest.mark.parametrize("pair", [(8000, 8000), (44100, 8000), (16000, 32000)])
def test_other_rates_are_refused(pair: tuple[int, int]) -> None:
    with pytest.raises(UsageError, match="give two of 8000, 16000 and 48000"):
        resampler(*pair)


@pytest.mark.parametrize(("from_hz", "to_hz"), PAIRS)
def test_many_rows_are_resampled_as_one_by_one(from_hz: int, to_hz: int) -> None:
    """Forty rows are more than one product of matrices takes; none is one, too."""
    one, chance = resampler(from_hz, to_hz), np.random.default_rng(3)
    frames = chance.integers(-32768, 32768, (40, from_hz // 50)).astype(np.int16)
    past = chance.integers(-32768, 32768, (40, one.history)).astype(np.int16)
    rows = [
        one.process(frame[None], before[None]) for frame, before in zip(frames, past, strict=True)
    ]
    assert np.array_equal(one.process(frames, past), np.concatenate(rows))
    assert one.process(frames[:0], past[:0]).shape == (0, to_hz // 50)


@pytest.mark.parametrize(("from_hz", "to_hz"), [pair for pair in PAIRS if pair[0] < pair[1]])
def test_a_whole_signal_is_resampled_without_delay(from_hz: int, to_hz: int) -> None:
    """An impulse stays where it is in time, whatever the length of the signal, which is kept."""
    pcm = np.zeros(1234, np.int16)
    pcm[617] = 20_000
    there = resampled(pcm, from_hz, to_hz)
    assert len(there) == 1234 * to_hz // from_hz
    assert int(np.argmax(there)) == 617 * to_hz // from_hz
    assert len(resampled(pcm[:0], from_hz, to_hz)) == 0
    assert resampled(pcm, from_hz, from_hz) is pcm
    noise = np.random.default_rng(9).integers(-9000, 9000, 50_001).astype(np.int16)
    whole, late = resampled(noise, from_hz, to_hz), resampler(from_hz, to_hz).delay
    frame = from_hz // 50
    streamed = through(noise[: 140 * frame], from_hz, to_hz)  # more than is done at once
    assert np.array_equal(whole[: len(streamed) - late], streamed[late:])
