"""Between 8, 16 and 48 kHz: polyphase filters of whole numbers, in blocks, for many rows at once.

Theory of operation. One linear-phase low-pass filter per pair of rates, designed at the higher one
(Kaiser window), with Q15 coefficients. Going up by L, each of the L phases of the filter makes one
of L output samples; going down by M, one output sample in M is computed. Either way a block of
input samples gives a block of output samples by one matrix, and a frame is some blocks: one matrix
product does all blocks of all rows.

Samples, coefficients and sums are whole numbers below 2**53 in float64: exact, whatever the order
of summation. A sum is rounded once, to the nearest sample (half up), and limited to full scale.

A row's state is its last input samples, so that frames one by one give what the whole would.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ..errors import UsageError

Linear = NDArray[np.int16]
Exact = NDArray[np.float64]

RATES_HZ = (8000, 16000, 48000)
UNITY = 32768
_BETA = 6.3  # of the Kaiser window: stop-band at -66 dB or better
# By the lower rate: the edge of the pass-band. The stop-band begins at half the lower rate.
_PASS_HZ = {8000: 3300, 16000: 7000}
# A product of more multiplications is spread by BLAS over threads of its own, which a tick would
# wait for: on a busy machine a hundred times as long. Nor is it quicker in one thread.
MOST_PRODUCTS = 700_000
_PIECE = 100  # frames of a long signal at once
_TRANSITION = 4.06  # length of the filter times its transition band, for that window


def check_rate(name: str, rate_hz: int) -> None:
    """Raise a `UsageError` for a rate that the mixer does not know; ``name``: of what was given."""
    if rate_hz not in RATES_HZ:
        raise UsageError(f"{name} is {rate_hz}: give 8000, 16000 or 48000")


def _prototype(low_hz: int, high_hz: int) -> Exact:
    """Return the low-pass filter, symmetric, of an odd number of taps, summing to 1."""
    stop, passed = low_hz / 2, _PASS_HZ[low_hz]
    half = int(np.ceil(_TRANSITION * high_hz / (stop - passed) / 2))
    cut = (stop + passed) / high_hz  # as a part of the half of the higher rate, times 2
    time = np.arange(-half, half + 1)
    taps: Exact = np.sinc(cut * time) * np.kaiser(2 * half + 1, _BETA)
    taps /= taps.sum()
    return taps


class Resampler:
    """From one rate to another one; get it from `resampler`.

    Attributes
    ----------
    history : int
        Input samples before a frame that its output depends on.
    delay_ms : float
        Of the output behind the input; ``delay``: in samples of the output, rounded down.
    taps : (n,) int64 ndarray
        Q15 coefficients at the higher rate; going up, each phase of them sums to 32768.
    """

    def __init__(self, from_hz: int, to_hz: int) -> None:
        low, high = sorted((from_hz, to_hz))
        self.from_hz, self.to_hz = from_hz, to_hz
        self._ratio = ratio = high // low
        up = to_hz > from_hz
        exact = _prototype(low, high) * UNITY * (ratio if up else 1)
        taps = np.rint(exact).astype(np.int64)
        half = len(taps) // 2
        self.delay_ms = half * 1000 / high
        self.delay = half if up else half // ratio
        # A constant comes through unchanged: what rounding took is given to the largest tap.
        for phase in range(ratio if up else 1):
            of_phase = slice(phase, None, ratio) if up else slice(None)
            part = taps[of_phase]
            part[np.argmax(part)] += UNITY - part.sum()
        self.taps = taps
        self._block = 8 if up else 8 * ratio  # input samples
        if up:
            self.history = -(-(len(taps) - 1) // ratio)
        else:
            self.history = len(taps) - 1
        self._matrix = self._make(up)
        blocks = from_hz // 50 // self._block  # in a frame of 20 ms
        self._most = max(1, MOST_PRODUCTS // (blocks * self._matrix.size))

    def _make(self, up: bool) -> Exact:
        """Return the matrix from a block of input, with its history, to a block of output."""
        ratio, block, history = self._ratio, self._block, self.history
        outputs = block * ratio if up else block // ratio
        matrix = np.zeros((history + block, outputs))
        for out in range(outputs):
            for tap, value in enumerate(self.taps):
                if up:
                    place, rest = divmod(out - tap, ratio)
                    if rest:
                        continue
                else:
                    place = out * ratio - tap
                matrix[history + place, out] = value
        return matrix

    def process(self, samples: Linear, history: Linear) -> Linear:
        """Resample one stretch of some rows.

        Parameters
        ----------
        samples : (n, samples) int16 ndarray
            A multiple of 8 samples at the lower rate: a frame of 20 ms is one.
        history : (n, `history`) int16 ndarray
            The input samples before; zeros to begin with.

        Returns
        -------
        (n, samples * to_hz / from_hz) int16 ndarray
        """
        rows = len(samples)
        if rows > self._most:
            parts = range(0, rows, self._most)
            stretches = (
                (samples[at : at + self._most], history[at : at + self._most]) for at in parts
            )
            return np.concatenate([self._process(*stretch) for stretch in stretches])
        return self._process(samples, history)

    def _process(self, samples: Linear, history: Linear) -> Linear:
        rows, count = samples.shape
        line = np.empty((rows, self.history + count))
        line[:, : self.history] = history
        line[:, self.history :] = samples
        size = self.history + self._block
        blocks = count // self._block
        strides = (line.strides[0], self._block * line.itemsize, line.itemsize)
        windows = np.ndarray((rows, blocks, size), line.dtype, line, 0, strides)
        flat = windows.reshape(-1, size) @ self._matrix
        flat += UNITY // 2
        np.floor(np.multiply(flat, 1 / UNITY, out=flat), out=flat)
        np.clip(flat, -32768, 32767, out=flat)
        result: Linear = flat.astype(np.int16).reshape(rows, count * self.to_hz // self.from_hz)
        return result


@lru_cache(maxsize=8)
def resampler(from_hz: int, to_hz: int) -> Resampler:
    """Return the filter between two rates, made once.

    Raises
    ------
    UsageError
        For other rates than 8000, 16000 and 48000, or equal ones.
    """
    if {from_hz, to_hz} - set(RATES_HZ) or from_hz == to_hz:
        raise UsageError(
            f"no resampling from {from_hz} to {to_hz} Hz: give two of 8000, 16000 and 48000"
        )
    return Resampler(from_hz, to_hz)


def resampled(samples: Linear, from_hz: int, to_hz: int) -> Linear:
    """Return a whole signal at a higher rate, as long as before and without the filter's delay.

    Parameters
    ----------
    samples : (n,) int16 ndarray
        Of any length; equal rates give it back as it is.

    Raises
    ------
    UsageError
        See `resampler`.
    """
    if from_hz == to_hz:
        return samples
    stream, late = Stream(from_hz, to_hz), resampler(from_hz, to_hz).delay
    wanted = len(samples) * to_hz // from_hz
    frame = from_hz // 50
    silent = -len(samples) % frame + frame * -(-late * 50 // to_hz)
    line = np.concatenate([samples, np.zeros(silent, np.int16)])
    pieces = range(0, len(line), _PIECE * frame)
    parts = [stream.process(line[at : at + _PIECE * frame]) for at in pieces]
    return np.concatenate([np.zeros(0, np.int16), *parts])[late : late + wanted]


class Stream:
    """One signal that is resampled stretch by stretch; equal rates pass it on as it is."""

    def __init__(self, from_hz: int, to_hz: int) -> None:
        self._filter = None if from_hz == to_hz else resampler(from_hz, to_hz)
        self._past = np.zeros(0 if self._filter is None else self._filter.history, np.int16)

    def process(self, samples: Linear) -> Linear:
        """Return the next stretch at the other rate; see `Resampler.process` for its length."""
        if self._filter is None:
            return samples
        result: Linear = self._filter.process(samples[None], self._past[None])[0]
        self.remember(samples)
        return result

    def remember(self, samples: Linear) -> None:
        """Take a stretch as heard, without an output."""
        if self._past.size:
            self._past = np.concatenate([self._past, samples])[-self._past.size :]
