"""The frames of all legs of one rate, one row a leg, and what their filters remember."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..audio.codecs import NARROW_HZ
from ..audio.resample import RATES_HZ, resampler
from .gains import UNITY
from .rows import FRAME, Numbers

UNIT_GAIN = 4096  # Q12, as in `levels`
LEAN_MS = 5
_TIME = np.arange(1, FRAME + 1)

Linear = NDArray[np.int16]
Flags = NDArray[np.bool_]


@lru_cache(maxsize=8)
def _remembered(rate_hz: int) -> int:
    """Return how many samples of a rate the longest filter that begins there looks back."""
    return max(resampler(rate_hz, other).history for other in RATES_HZ if other != rate_hz)


class Pool:
    """Frames of 20 ms at one rate.

    Attributes
    ----------
    decoded : (rows, frame) int16 ndarray
        What was decoded for this tick, where ``has`` is true, and its ``view`` at 8 kHz.
    native : (rows, frame) int16 ndarray
        What a leg says this tick, after `settle`; ``before``: the tick before.
    limiter_gain : (rows,) int64 ndarray
        Q15, of what a leg hears at this rate.
    """

    def __init__(self, rate_hz: int) -> None:
        self.rate_hz, self.frame = rate_hz, rate_hz // 50
        self._ratio = rate_hz // NARROW_HZ
        self._down = None if self._ratio == 1 else resampler(rate_hz, NARROW_HZ)
        self._up = None if self._ratio == 1 else resampler(NARROW_HZ, rate_hz)
        self._free: list[int] = []
        self._arrays: dict[str, NDArray[Any]] = {}
        self._grow(0)

    def _grow(self, rows: int) -> None:
        """Make room for as many rows again, or the first ones."""
        size = 2 * rows or 8
        fed = 0 if self._down is None else self._down.history
        past = 0 if self._up is None else self._up.history
        for name, shape, dtype, value in (
            ("decoded", (self.frame,), np.int16, 0),
            ("native", (self.frame,), np.int16, 0),
            ("before", (_remembered(self.rate_hz),), np.int16, 0),
            ("view", (FRAME,), np.int16, 0),
            ("has", (), np.bool_, False),
            ("fed", (fed,), np.int16, 0),  # what the filter down has seen
            ("past", (past,), np.int16, 0),  # and the one up
            ("was_native", (), np.bool_, True),
            ("gain", (), np.int64, UNIT_GAIN),
            ("limiter_gain", (), np.int64, UNITY),
        ):
            fresh = np.full((size, *shape), value, dtype)
            if rows:
                fresh[:rows] = getattr(self, name)
            self._arrays[name] = fresh
            setattr(self, name, fresh)
        self._free[:0] = range(size - 1, rows - 1, -1)

    decoded: Linear
    native: Linear
    before: Linear
    view: Linear
    has: Flags
    fed: Linear
    past: Linear
    was_native: Flags
    gain: Numbers
    limiter_gain: Numbers

    def add(self) -> int:
        """Give a leg a fresh row."""
        if not self._free:
            self._grow(len(self.has))
        at = self._free.pop()
        for array in self._arrays.values():
            array[at] = 0
        self.was_native[at], self.gain[at], self.limiter_gain[at] = True, UNIT_GAIN, UNITY
        return at

    def remove(self, at: int) -> None:
        """Take a row back."""
        self._free.append(at)

    # ------------------------------------------------------------------------------- going down

    def look(self, at: Numbers) -> Linear:
        """Make the views of frames that have just been decoded; return them."""
        native = self.decoded[at]
        view = self.down(at, native)
        self.view[at] = view
        return view

    def down(self, at: Numbers, native: Linear) -> Linear:
        """Return the next frames of some rows at 8 kHz."""
        if self._down is None:
            return native
        view = self._down.process(native, self.fed[at])
        self.fed[at] = native[:, -self._down.history :]
        return view

    # ----------------------------------------------------------------------------- after the tick

    def settle(self, at: Numbers, spoken: Linear, gains: Numbers) -> None:
        """Find this tick's native frames, now that those at 8 kHz are final.

        Parameters
        ----------
        at : (n,) int64 ndarray
            Rows.
        spoken : (n, 160) int16 ndarray
            What they say, as everybody at 8 kHz hears it.
        gains : (n,) int64 ndarray
            Q12 gains at the end of the frame.
        """
        if self._up is None:
            self.native[at] = spoken
            return
        last = self.native[at, -1]
        self.before[at] = self.native[at, -self.before.shape[1] :]
        native, is_native = self._as_played(at, spoken, gains)
        if not is_native.all():
            other = np.flatnonzero(~is_native)
            native[other] = self._up.process(spoken[other], self.past[at[other]])
            unfed = other[~self.has[at[other]]]
            self.fed[at[unfed]] = native[unfed, -self.fed.shape[1] :]
        changed = np.flatnonzero(is_native != self.was_native[at])
        if changed.size:
            native[changed] = self._leaning(native[changed], last[changed])
        self.native[at] = native
        self.was_native[at], self.gain[at] = is_native, gains
        self.past[at] = spoken[:, -self.past.shape[1] :]

    def _as_played(self, at: Numbers, spoken: Linear, gains: Numbers) -> tuple[Linear, Flags]:
        """Return native frames, right where the view was played, if with a gain; and where."""
        native = self.decoded[at]
        before = self.gain[at]
        is_native: Flags = self.has[at] & (self.view[at] == spoken).all(axis=1)
        moved = np.flatnonzero((before != UNIT_GAIN) | (gains != UNIT_GAIN))
        if moved.size:
            begin, change = before[moved, None], (gains - before)[moved, None]
            course = begin + change * _TIME // FRAME
            view = amplified(self.view[at[moved]], course)
            is_native[moved] = self.has[at[moved]] & (view == spoken[moved]).all(axis=1)
            native[moved] = amplified(native[moved], np.repeat(course, self._ratio, axis=1))
        return native, is_native

    def _leaning(self, native: Linear, last: Linear) -> Linear:
        """Let frames begin where those before ended, and go over to what they are."""
        count = self.rate_hz * LEAN_MS // 1000
        fade = np.arange(count - 1, -1, -1, dtype=np.int64)
        leaning = native.astype(np.int64)
        step = last.astype(np.int64) - leaning[:, 0]
        leaning[:, :count] += step[:, None] * fade // count
        result: Linear = leaning.clip(-32768, 32767).astype(np.int16)
        return result

    def at_rate(self, at: Numbers, rate_hz: int) -> Linear:
        """Return this tick's frames of some rows at another rate than 8 kHz."""
        if rate_hz == self.rate_hz:
            return self.native[at]
        to = resampler(self.rate_hz, rate_hz)
        return to.process(self.native[at], self.before[at, -to.history :])


class Voice:
    """A row of a pool that says what it is given, without a codec."""

    def __init__(self, pool: Pool) -> None:
        self.pool, self.frame = pool, pool.frame
        self.at = pool.add()

    def say(self, native: Linear) -> Linear:
        """Say a frame at the pool's rate; return its view at 8 kHz."""
        pool, at = self.pool, np.array([self.at])
        pool.before[at] = pool.native[at, -pool.before.shape[1] :]
        pool.native[at] = native
        view: Linear = pool.down(at, native[None])[0]
        return view


def amplified(frames: Linear, gains: Numbers) -> Linear:
    """Return frames with Q12 gains, rounded as `levels` does."""
    louder = (frames.astype(np.int64) * gains + UNIT_GAIN // 2) >> 12
    result: Linear = louder.clip(-32768, 32767).astype(np.int16)
    return result
