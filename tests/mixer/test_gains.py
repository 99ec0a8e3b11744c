"""Mixing against an oracle in Python integers: exact, so compared with ==."""

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from rtpmix.audio.resample import MOST_PRODUCTS
from rtpmix.mixer.gains import (
    MAX_RAMP_MS,
    MAX_SEATS,
    UNITY,
    coefficients_of_frame,
    gains_within,
    mix,
    mix_ramp,
    product,
    ramp_coefficients,
    ramps_exactly,
    refusal,
    to_samples,
)
from rtpmix.testing.audio import click_db


def rounded(value: Fraction) -> int:
    """Nearest integer, ties to even, limited to 16 bits."""
    return max(-32768, min(32767, round(value)))


def oracle(
    spoken: np.ndarray, old: np.ndarray, new: np.ndarray, coefficients: list[int]
) -> list[list[int]]:
    """The mix in exact fractions, one sample after the other."""
    result = []
    for row in range(len(old)):
        heard = []
        for at, r in enumerate(coefficients):
            total = sum(
                (int(o) * UNITY + r * (int(n) - int(o))) * int(spoken[talker, at])
                for talker, (o, n) in enumerate(zip(old[row], new[row], strict=True))
            )
            heard.append(rounded(Fraction(total, UNITY * UNITY)))
        result.append(heard)
    return result


def samples_of(heard: np.ndarray) -> np.ndarray:
    out = np.zeros(heard.shape, np.int16)
    to_samples(heard.copy(), out)
    return out


@pytest.mark.parametrize("seed", range(8))
def test_mix_and_ramp_equal_the_integer_oracle(seed: int) -> None:
    random = np.random.default_rng(seed)
    seats = int(random.integers(2, 7))
    spoken = random.integers(-32768, 32768, (seats, 160)).astype(np.float64)
    old, new = random.integers(0, 2 * UNITY, (2, seats, seats)).astype(np.float64)
    ramp = coefficients_of_frame(10, 0, 160)
    exact = [int(r) for r in ramp]
    assert samples_of(mix_ramp(spoken, old, new, ramp)).tolist() == oracle(spoken, old, new, exact)
    assert samples_of(mix(spoken, new)).tolist() == oracle(spoken, new, new, [0] * 160)


def test_256_talkers_at_full_scale_stay_exact() -> None:
    """The largest bridge, everybody at -32768: sums reach 2**53 and no further."""
    spoken = np.full((MAX_SEATS, 160), -32768.0)
    old = np.full((2, MAX_SEATS), float(UNITY))
    new = old.copy()
    new[0] = 0
    heard = mix_ramp(spoken, old, new, coefficients_of_frame(10, 0, 160))
    first = int(ramp_coefficients(10)[0])
    expected = MAX_SEATS * -32768 * (UNITY * UNITY - first * UNITY)
    assert Fraction(heard[0, 0]) == Fraction(expected, UNITY)
    assert heard[0, -1] == 0
    assert (heard[1] == MAX_SEATS * -32768 * UNITY).all()


def test_the_order_of_the_talkers_does_not_matter() -> None:
    random = np.random.default_rng(3)
    spoken = random.integers(-32768, 32768, (40, 160)).astype(np.float64)
    gains = random.integers(0, UNITY, (40, 40)).astype(np.float64)
    order = random.permutation(40)
    assert np.array_equal(mix(spoken, gains), mix(spoken[order], gains[:, order]))


def test_sum_is_clipped_once_and_counted() -> None:
    """Two talkers at 30,000: the sum is limited, but the third loses nothing to a subtraction."""
    spoken = np.array([[30000.0] * 160, [30000.0] * 160, [0.0] * 160])
    gains = UNITY * (1 - np.eye(3))
    out = np.zeros((3, 160), np.int16)
    clipped = to_samples(mix(spoken, gains), out)
    assert clipped is not None
    assert clipped.tolist() == [0, 0, 160]
    assert out[:, 0].tolist() == [30000, 30000, 32767]


def test_ramp_ends_exactly_on_target_and_stays_there() -> None:
    spoken = np.full((1, 160), 12345.0)
    ramp = coefficients_of_frame(10, 0, 160)
    heard = mix_ramp(spoken, np.array([[float(UNITY)]]), np.zeros((1, 1)), ramp)
    assert heard[0, 78] != 0
    assert (heard[0, 79:] == 0).all()


def test_row_whose_gains_stay_is_not_touched_by_a_ramp() -> None:
    """Not even in the last bit: supervision.md, invariant 1."""
    random = np.random.default_rng(5)
    spoken = random.integers(-32768, 32768, (3, 160)).astype(np.float64)
    old = random.integers(0, UNITY, (3, 3)).astype(np.float64)
    new = old.copy()
    new[0] = random.integers(0, UNITY, 3)
    heard = mix_ramp(spoken, old, new, coefficients_of_frame(10, 0, 160))
    assert np.array_equal(heard[1:], mix(spoken, old)[1:])
    assert not np.array_equal(heard[0], mix(spoken, old)[0])


@pytest.mark.parametrize(("ramp_ms", "quiet"), [(10, True), (20, True), (0, False)])
def test_switch_of_a_tone_makes_no_click(ramp_ms: int, quiet: bool) -> None:
    """Energy above 2 kHz stays below -80 dB; a switch without a ramp is caught."""
    tone = np.rint(10000 * np.sin(2 * np.pi * 440 * np.arange(4800) / 8000)).reshape(30, 1, 160)
    full, zero = np.array([[float(UNITY)]]), np.zeros((1, 1))
    frames = []
    for number, spoken in enumerate(tone):
        old, new = (full, zero) if number == 15 else (zero, zero) if number > 15 else (full, full)
        frames.append(mix_ramp(spoken, old, new, coefficients_of_frame(ramp_ms, 0, 160))[0] / UNITY)
    assert (click_db(np.concatenate(frames)[1600:3600]) < -80) is quiet


def test_no_coefficient_depends_on_the_maths_library() -> None:
    """A cosine that differs in the last bits rounds to the same Q15 integer: none is near a tie."""
    for ramp_ms in range(1, MAX_RAMP_MS + 1):
        count = ramp_ms * 8
        values = UNITY * (1 - np.cos(np.pi * np.arange(1, count + 1) / count)) / 2
        middle = values[: count - 1]
        ties = np.abs(middle - np.floor(middle) - 0.5)
        assert ties.min() > 1e-9  # the error of a cosine, in these units, is below 1e-11
        assert ramp_coefficients(ramp_ms)[-1] == UNITY


def test_ramp_goes_on_in_the_next_frame() -> None:
    whole = ramp_coefficients(50)
    frames = [coefficients_of_frame(50, at, 160) for at in (0, 160, 320)]
    assert np.array_equal(np.concatenate(frames)[:400], whole)
    assert (frames[2][80:] == UNITY).all()
    assert (np.diff(whole) >= 0).all()


def test_interrupted_ramp_leaves_zero_where_both_ends_are_zero() -> None:
    old, new = np.array([[0.0, 100.0]]), np.array([[0.0, 32768.0]])
    within = gains_within(old, new, ramp_coefficients(50)[10])
    assert within[0, 0] == 0
    assert 100 < within[0, 1] < 32768
    assert within[0, 1] == int(within[0, 1])


@pytest.mark.parametrize(
    ("gains", "word"),
    [
        (np.zeros((257, 257)), "257 seats"),
        (np.array([[0.0, -1.0], [0.0, 0.0]]), "below 0"),
        (np.array([[5.0]]), "itself"),
        (np.array([[0.0, 257.0 * UNITY], [0.0, 0.0]]), "sum"),
    ],
)
def test_matrix_that_cannot_be_mixed_exactly_is_refused(gains: np.ndarray, word: str) -> None:
    assert word in (refusal(gains) or "")


def test_largest_bridge_and_an_empty_one_are_allowed() -> None:
    assert refusal(UNITY * (1 - np.eye(MAX_SEATS))) is None
    assert refusal(np.zeros((0, 0))) is None


def test_change_of_too_many_seats_at_once_does_not_ramp() -> None:
    row = np.zeros((1, 512))
    old, new = row.copy(), row.copy()
    old[0, :256], new[0, 256:] = UNITY, UNITY
    assert ramps_exactly(old, row)
    assert not ramps_exactly(old, new)
    assert math.isclose(float(np.maximum(old, new).sum()), 512 * UNITY)


@pytest.mark.parametrize(("seats", "samples"), [(3, 160), (80, 160), (200, 160), (256, 960)])
def test_a_large_product_is_made_in_parts_that_blas_needs_no_threads_for(
    monkeypatch: pytest.MonkeyPatch, seats: int, samples: int
) -> None:
    source = np.random.default_rng(seats)
    left = source.integers(0, UNITY + 1, (seats, seats)).astype(np.float64)
    right = source.integers(-32768, 32768, (seats, samples)).astype(np.float64)
    whole = left.astype(np.int64) @ right.astype(np.int64)
    sizes: list[int] = []
    matmul = np.matmul

    def measured(one: np.ndarray, other: np.ndarray, **options: Any) -> np.ndarray:
        sizes.append(one.shape[-2] * one.shape[-1] * other.shape[-1])
        return matmul(one, other, **options)

    monkeypatch.setattr(np, "matmul", measured)
    assert (product(left, right) == whole).all()
    assert (mix_ramp(right, left, left, np.full(samples, 7.0)) == whole).all()
    stacked = product(left[None], np.stack([right, -right]))
    assert (stacked == np.stack([whole, -whole])).all()
    assert max(sizes) <= MOST_PRODUCTS
