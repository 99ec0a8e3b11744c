"""Digits as tones in the audio: found in what legs say, where a program asked for it.

Two of eight frequencies at once make a digit (ITU-T Q.23). Each frame of a watched leg is measured
at the eight; the strongest of either group must stand out from its group, be about as strong as the
other, and the two must hold most of the frame's energy, which speech seldom does. A digit counts
after two such frames, 40 ms, the least that Q.24 wants recognised, and is told when it is over.

*Masking.* Where a program wants that, a frame that holds a digit is silent for everybody, in the
mix, for taps and in recordings, and so are the two after the last; the digit itself goes where the
matrix of digits says, as an event. What is left of a tone is the part of a frame before the first
whole one, too short for any receiver (Q.24 lets 23 ms pass).

Samples, tables and sums are integers below 2**53: the same audio gives the same digits anywhere.

References
----------
ITU-T Q.23; Q.24 annex A
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .gains import product
from .layout import Layout
from .rows import FRAME

CLOCK_HZ = 8000
LOW_HZ = (697, 770, 852, 941)
HIGH_HZ = (1209, 1336, 1477, 1633)
KEYS = ("123A", "456B", "789C", "*0#D")  # by low frequency, then by high

LEAST_FRAMES = 2  # of a digit
QUIETEST = 260  # amplitude of a tone: 42 dB below full scale
OUTSTANDING = 4  # times the power of the next in its group
TWIST = 8  # the most that one group may be stronger than the other, in power: 9 dB
SHARE = 2  # at least one part in so many of the energy is the two tones', to begin
SHARE_ON = 4  # and to go on
MASKED_AFTER = 2  # frames after the last with a digit: 40 ms

_SCALE = 1 << 14
_SHIFT = 14  # of the sums, so that their squares stay exact

_ANGLES = 2 * np.pi * np.outer(np.arange(FRAME), LOW_HZ + HIGH_HZ) / CLOCK_HZ
_TABLE = np.rint(_SCALE * np.hstack([np.cos(_ANGLES), np.sin(_ANGLES)]))
_EDGE = 40
_RISING = np.arange(_EDGE)
_LEAST_POWER = (QUIETEST * FRAME // 2) ** 2

OnDigit = Callable[[int, str, int], None]


@dataclass(slots=True)
class _Heard:
    """The digit that a leg is saying."""

    digit: str = ""
    frames: int = 0
    masks: bool = False
    silent: int = 0  # frames still to be masked


class InbandDigits:
    """Listens to the legs that it was told to.

    Parameters
    ----------
    on_digit
        Gets ``(row, digit, samples)`` when a digit is over.
    """

    def __init__(self, on_digit: OnDigit) -> None:
        self._on_digit = on_digit
        self._heard: dict[int, _Heard] = {}  # by row

    def watch(self, row: int, on: bool, *, mask: bool = False) -> None:
        """Begin or end to listen to a leg; with ``mask`` nobody else hears its digits."""
        if on:
            self._heard.setdefault(row, _Heard()).masks = mask
        else:
            self._heard.pop(row, None)

    def take(self, layout: Layout, spoken: NDArray[np.int16]) -> None:
        """Take one frame of a phase: (rows, 160) samples in the order of its layout.

        Frames with digits that are to be masked are changed.
        """
        if not self._heard:
            return
        watched = [row for row in self._heard if row in layout.positions]
        if not watched:
            return
        frames = spoken[[layout.positions[row] for row in watched]]
        for row, (digit, clear) in zip(watched, digits_in(frames), strict=True):
            heard = self._heard[row]
            self._follow(row, heard, digit, clear)
            if heard.masks:
                _mask(heard, spoken[layout.positions[row]], clear or heard.digit != "")

    def _follow(self, row: int, heard: _Heard, digit: str, clear: bool) -> None:
        if heard.digit and digit == heard.digit:
            heard.frames += 1
            return
        if heard.frames >= LEAST_FRAMES:
            self._on_digit(row, heard.digit, heard.frames * FRAME)
        heard.digit, heard.frames = (digit, 1) if clear else ("", 0)


def _mask(heard: _Heard, frame: NDArray[np.int16], holds_digit: bool) -> None:
    """Silence a frame that holds a digit, or comes soon after one; fade at the edges, 5 ms."""
    was_silent = heard.silent > 0
    heard.silent = MASKED_AFTER + 1 if holds_digit else max(heard.silent - 1, 0)
    if heard.silent:
        edge = frame[:_EDGE].astype(np.int64)
        frame[:] = 0
        if not was_silent:
            frame[:_EDGE] = edge * _RISING[::-1] // _EDGE
    elif was_silent:
        frame[:_EDGE] = frame[:_EDGE].astype(np.int64) * _RISING // _EDGE


def digits_in(frames: NDArray[np.int16]) -> list[tuple[str, bool]]:
    """Return for each frame its digit, "" for none, and whether it is clear enough to begin one.

    Parameters
    ----------
    frames : (n, 160) int16 ndarray
        At 8000 Hz.
    """
    samples = frames.astype(np.float64)
    sums = np.floor(product(samples, _TABLE) / (1 << _SHIFT))
    power = sums[:, :8] ** 2 + sums[:, 8:] ** 2
    energy = (samples**2).sum(axis=1) * (FRAME // 2)  # in the measure of power
    places = np.arange(len(frames))
    low, high = power[:, :4], power[:, 4:]
    at_low, at_high = low.argmax(axis=1), high.argmax(axis=1)
    strong_low, strong_high = low[places, at_low], high[places, at_high]
    other_low = np.partition(low, 2, axis=1)[:, 2]
    other_high = np.partition(high, 2, axis=1)[:, 2]
    found = np.minimum(strong_low, strong_high) >= _LEAST_POWER
    found &= (strong_low >= OUTSTANDING * other_low) & (strong_high >= OUTSTANDING * other_high)
    found &= (strong_low <= TWIST * strong_high) & (strong_high <= TWIST * strong_low)
    share = strong_low + strong_high
    found &= SHARE_ON * share >= energy
    clear = found & (SHARE * share >= energy)
    return [
        (KEYS[row][column], bool(begins)) if is_digit else ("", False)
        for row, column, is_digit, begins in zip(at_low, at_high, found, clear, strict=True)
    ]


def tones_of(
    digits: str, *, duration_ms: int = 100, pause_ms: int = 100, level_db: float = -10.0
) -> bytes:
    """Return digits as tones: int16 little endian PCM at 8000 Hz, a pause after each.

    Parameters
    ----------
    level_db
        Peak of each of the two tones, relative to full scale.
    """
    t = np.arange(duration_ms * CLOCK_HZ // 1000) / CLOCK_HZ
    pause = np.zeros(pause_ms * CLOCK_HZ // 1000)
    peak = 32767 * 10 ** (level_db / 20)
    parts: list[NDArray[np.float64]] = []
    for digit in digits.upper():
        row = next(index for index, keys in enumerate(KEYS) if digit in keys)
        pair = (LOW_HZ[row], HIGH_HZ[KEYS[row].index(digit)])
        low, high = (np.sin(2 * np.pi * hz * t) for hz in pair)
        parts += [peak * (low + high), pause]
    wave = np.concatenate(parts) if parts else pause
    return bytes(np.rint(wave).clip(-32768, 32767).astype("<i2").tobytes())
