"""Gain matrices: exact sums, raised-cosine ramps, one clip.

Rows listen, columns talk: ``heard = gains @ spoken``. Samples are int16 and gains Q15 integers
(32768 is 1.0), so every product and every sum is an integer. They are held in float64, where
integers below 2**53 are exact: the result does not depend on the order of summation, on the BLAS
kernel or on the machine, and a gain of zero is the same as a talker that is not there. A ramp is
``old + r * ((new - old) @ spoken)`` with Q15 coefficients ``r``, still exact, so a listener whose
gains stay is not touched by its neighbour's ramp, not even in the last bit.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ..audio.resample import MOST_PRODUCTS

UNITY = 32768  # Q15: 1.0
MAX_SEATS = 256  # of one bridge
# What the gains of one listener may sum to: with samples up to 2**15 and a ramp coefficient up to
# 2**15 every intermediate result stays within 2**53.
MAX_ROW_SUM = MAX_SEATS * UNITY
MAX_RAMP_MS = 1000
SAMPLES_A_MS = 8

Exact = NDArray[np.float64]  # integers, or integers over a power of two: never rounded
Linear = NDArray[np.int16]


@lru_cache(maxsize=64)
def ramp_coefficients(ramp_ms: int, samples_a_ms: int = SAMPLES_A_MS) -> Exact:
    """Return the Q15 coefficients of a raised cosine.

    Returns
    -------
    (samples,) float64 ndarray
        Integers from just above 0 to exactly 32768, which is the last one. Empty for 0 ms.
    """
    count = ramp_ms * samples_a_ms
    angles = (math.pi * (index + 1) / count for index in range(count))
    steps = [round(UNITY * (1 - math.cos(angle)) / 2) for angle in angles]
    coefficients = np.array(steps, np.float64)
    coefficients.flags.writeable = False
    return coefficients


def coefficients_of_frame(
    ramp_ms: int, position: int, samples: int, *, samples_a_ms: int = SAMPLES_A_MS
) -> Exact:
    """Return the coefficients of one frame that begins ``position`` samples into a ramp."""
    frame = np.full(samples, float(UNITY))
    part = ramp_coefficients(ramp_ms, samples_a_ms)[position : position + samples]
    frame[: part.size] = part
    return frame


def refusal(gains: Exact) -> str | None:
    """Say why a matrix can't be mixed exactly, or None when it can.

    Parameters
    ----------
    gains : (seats, seats) float64 ndarray
        Q15 integers.
    """
    seats = len(gains)
    if seats > MAX_SEATS:
        return f"{seats} seats in one bridge; it has room for {MAX_SEATS}"
    if not seats:
        return None
    if gains.min() < 0:
        return "a gain below 0; gains are Q15 integers from 0 up, 32768 is 1.0"
    if gains.diagonal().any():
        return "a seat that hears itself; the diagonal of the gains is 0"
    if gains.sum(axis=1).max() > MAX_ROW_SUM:
        return f"gains that sum to more than {MAX_SEATS} for one listener; lower them"
    return None


def ramps_exactly(gains: Exact, targets: Exact) -> bool:
    """Whether every sum on the way between two matrices stays within 2**53.

    A change of very many seats at once may not; without a ramp it is exact all the same, because
    then every number on the way is a multiple of 32768.
    """
    if not gains.size:
        return True
    return bool(np.maximum(gains, targets).sum(axis=1).max() <= MAX_ROW_SUM)


def mix(spoken: Exact, gains: Exact) -> Exact:
    """Return what each listener hears, in Q15.

    Parameters
    ----------
    spoken : (..., talkers, samples) float64 ndarray
        Integer samples.
    gains : (..., listeners, talkers) float64 ndarray
        Q15 integers.

    Returns
    -------
    (..., listeners, samples) float64 ndarray
        Exact integers, 32768 times the sample.
    """
    return product(gains, spoken)


def product(left: Exact, right: Exact, out: Exact | None = None) -> Exact:
    """Return ``left @ right``, a part at a time where BLAS would take threads of its own for it.

    A tick would wait for those: on a busy machine for 15 ms instead of 0.2, with 150 seats.

    Parameters
    ----------
    left : (..., n, k) float64 ndarray
    right : (..., k, m) float64 ndarray
    out : (..., n, m) float64 ndarray or None
        Where to write it.
    """
    rows, (inner, columns) = left.shape[-2], right.shape[-2:]
    if out is None:
        stack = np.broadcast_shapes(left.shape[:-2], right.shape[:-2])
        out = np.empty((*stack, rows, columns))
    if rows * inner * columns <= MOST_PRODUCTS:
        np.matmul(left, right, out=out)
        return out
    at_once = max(1, MOST_PRODUCTS // (inner * columns))
    for first in range(0, rows, at_once):
        part = slice(first, first + at_once)
        np.matmul(left[..., part, :], right, out=out[..., part, :])
    return out


def mix_ramp(spoken: Exact, gains: Exact, targets: Exact, coefficients: Exact) -> Exact:
    """Like `mix`, moving every gain from ``gains`` to ``targets`` along ``coefficients``."""
    heard = product(gains, spoken)
    change = product(targets - gains, spoken)
    # At most 2**53, exact; the scaling is by a power of two, exact too.
    ramped: Exact = (heard * UNITY + coefficients * change) / UNITY
    return ramped


def gains_within(gains: Exact, targets: Exact, coefficient: float) -> Exact:
    """Return the nearest Q15 gains at one moment of a ramp: where a newer ramp takes over."""
    return np.rint(gains + (targets - gains) * (coefficient / UNITY))


def to_samples(heard: Exact, out: Linear) -> NDArray[np.intp] | None:
    """Round to the nearest sample (ties to even) and limit to full scale, once.

    Parameters
    ----------
    heard : (listeners, samples) float64 ndarray
        Q15 sums from `mix`; overwritten.
    out : (listeners, samples) int16 ndarray
        Receives the samples.

    Returns
    -------
    (listeners,) ndarray or None
        How many samples of each listener had to be limited; None when none had to.
    """
    if not heard.size:
        return None
    np.multiply(heard, 1 / UNITY, out=heard)
    np.rint(heard, out=heard)
    clipped = None
    if heard.max() > 32767 or heard.min() < -32768:
        clipped = np.count_nonzero((heard > 32767) | (heard < -32768), axis=-1)
        np.clip(heard, -32768, 32767, out=heard)
    out[...] = heard
    return clipped
