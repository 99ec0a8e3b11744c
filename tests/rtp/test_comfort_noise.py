"""rtpmix.rtp.comfort_noise: RFC 3389 section 3, both ways."""

import random

import numpy as np
import pytest

from rtpmix.rtp.comfort_noise import MAX_ORDER, OVERLOAD, Noise, describe, level_of


def test_a_level_and_the_quantised_coefficients_are_read() -> None:
    """Section 3.2: k = 258 (N - 127) / 32768."""
    noise = Noise.parse(bytes((40, 127, 254, 0)))
    assert noise.level == 40
    assert noise.reflection == (0.0, 258 * 127 / 32768, -258 * 127 / 32768)
    assert noise.amplitude == round(OVERLOAD / 100)


def test_the_unused_bit_and_a_reserved_index_are_passed_over() -> None:
    assert Noise.parse(bytes((0x80 | 50, 100, 255, 100))) == Noise(50, (258 * -27 / 32768,))


@pytest.mark.parametrize("size", [0, 1, 2, 10, 11, 12, 100, 1000])
def test_payloads_of_any_length_are_read(size: int) -> None:
    noise = Noise.parse(random.Random(size).randbytes(size))
    assert 0 <= noise.level <= 127
    assert len(noise.reflection) <= MAX_ORDER
    response = noise.impulse_response(32, 4096)
    assert sum(h * h for h in response) == pytest.approx(4096**2, rel=0.01)


def test_what_is_written_is_read_again() -> None:
    payload = bytes((63, 1, 127, 200, 254))
    assert Noise.parse(payload).to_bytes() == payload


def test_white_noise_has_one_tap() -> None:
    assert Noise.parse(bytes((40,))).impulse_response(4, 4096) == [4096, 0, 0, 0]


def test_level_is_relative_to_overload() -> None:
    """Section 3.1: a square wave of +/- 8031 (14 bits) is 0 dBov."""
    assert level_of(OVERLOAD**2) == 0
    assert level_of((OVERLOAD / 10) ** 2) == 20
    assert level_of(0) == 127


def correlation(signal: np.ndarray, order: int) -> list[int]:
    signal = np.rint(signal).astype(np.int64)
    return [int(signal[: signal.size - lag] @ signal[lag:]) for lag in range(order + 1)]


def test_the_colour_of_a_noise_is_found_and_given_back() -> None:
    """Analysis of a filtered noise gives its filter; the synthesis filter has its spectrum."""
    white = np.random.default_rng(3).normal(0, 300, 20000)
    signal = np.zeros(white.size)
    for n in range(2, white.size):  # 1 / (1 - 0.9 z^-1 + 0.5 z^-2)
        signal[n] = white[n] + 0.9 * signal[n - 1] - 0.5 * signal[n - 2]
    noise = describe(correlation(signal, 2), signal.size)
    assert noise.reflection == pytest.approx((-0.6, 0.5), abs=0.02)
    rms = float(np.sqrt(np.mean(signal**2)))
    assert abs(noise.level - 20 * np.log10(OVERLOAD / rms)) <= 1
    heard = np.abs(np.fft.rfft(noise.impulse_response(32, 4096), 256))
    z = np.exp(-2j * np.pi * np.arange(129) / 256)
    wanted = 1 / np.abs(1 - 0.9 * z + 0.5 * z**2)
    ratio = 20 * np.log10(heard / wanted)
    assert ratio.std() < 0.5


def test_digital_silence_is_a_level_alone() -> None:
    assert describe([0, 0, 0], 160).to_bytes() == bytes((127,))
