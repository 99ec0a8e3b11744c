"""Plays a little faster: delay that nobody needs is cut out of the sound without a click.

Theory of operation. A row that has a frame too much takes two frames out of its ring at once,
finds the lag at which the sound repeats itself, and fades from the one period over to the next:
what lies between is gone, and the pitch stays (WSOLA). What is left of the second frame is
*carried* into the next ticks and is itself cut out at the next chances until nothing waits. A row
that has nothing to lose is not touched.

The ring, losses and what is due when are not concerned: they know whole frames only.

References
----------
W. Verhelst and M. Roelands, "An overlap-add technique based on waveform similarity (WSOLA) for
high quality time-scale modification of speech", ICASSP 1993
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from .pitch import likeness
from .playout import Playout
from .rows import FRAME, SLOTS, Numbers, Rows

SHORTEST = 20  # samples: the least that is cut out of voices, 2.5 ms
FADE = 80  # samples in which one period goes over to the next
ALIKE = 0.6  # what two periods of a voice have in common at least
QUIET = 200.0**2  # mean square below which anything may be cut, about -44 dBov
EVERY = 3  # ticks from one cut to the next
PATIENCE = 10  # ticks after which the best place has to do

Decode = Callable[[NDArray[np.uint8], Numbers], NDArray[np.int16]]

_PLACE = np.arange(FRAME)
_LINE = np.arange(3 * FRAME)
_LAGS = np.arange(2 * FRAME + 1)
_WEIGHT = (np.arange(FADE) + 1) * 32768 // FADE


class TimeScale:
    """Cuts delay out of the frames of a tick.

    Parameters
    ----------
    decode
        Turns ring codes of rows into samples.
    """

    def __init__(self, rows: Rows, playout: Playout, decode: Decode) -> None:
        self._rows = rows
        self._playout = playout
        self._decode = decode

    def apply(
        self, index: Numbers, spoken: NDArray[np.int16], present: NDArray[np.bool_], even: bool
    ) -> None:
        """Change the frames of the rows that have delay to lose.

        Parameters
        ----------
        index : (n,) ndarray
            The rows of a tick.
        spoken : (n, 160) int16 ndarray
            What they say, after concealment; changed.
        present : (n,) bool ndarray
            Whose frame had come.
        even
            As in `conceal`.
        """
        rows = self._rows
        busy = np.flatnonzero((rows.to_cut[index] > 0) | (rows.carry[index] > 0))
        if not busy.size:
            self._playout.cutting = bool((rows.to_cut > 0).any() or (rows.carry > 0).any())
            return
        at = index[busy]
        rows.waited[at] += 1
        ready = (rows.waited[at] >= EVERY) & (rows.to_cut[at] > 0) & present[busy]
        more = ready & self._playout.has_next(at)
        now = more | (rows.carry[at] > 0)  # else it goes on as it is
        if not now.all():
            busy, at, more = busy[now], at[now], more[now]
            if not busy.size:
                return
        line = self._line(at, spoken[busy], more)
        cuts = self._cuts(at, line, more)
        taken = more & (cuts > 0)
        if taken.any():
            self._playout.take_next(at[taken])
            carry = rows.carry[at[taken]][:, None]
            following = np.take_along_axis(line[taken], carry + FRAME + _PLACE, 1)
            self._remember(at[taken], following, even)
        spoken[busy] = self._play(at, line, cuts, taken)

    def _line(self, at: Numbers, frames: NDArray[np.int16], more: NDArray[np.bool_]) -> Numbers:
        """Put together what each row has: carried samples, its frame, the next one, then zeros."""
        rows = self._rows
        line = np.zeros((at.size, 3 * FRAME), np.int64)
        carry = rows.carry[at][:, None]
        line[:, :FRAME] = rows.carried[at]
        np.put_along_axis(line, carry + _PLACE, frames.astype(np.int64), 1)
        if more.any():
            which = at[more]
            codes = rows.ring[which, (rows.played_slot[which] + 1) % SLOTS]
            part = line[more]
            following = self._decode(codes, which).astype(np.int64)
            np.put_along_axis(part, carry[more] + FRAME + _PLACE, following, 1)
            line[more] = part
        return line

    def _remember(self, at: Numbers, frames: Numbers, even: bool) -> None:
        """Let concealment know the frames that were taken before their tick."""
        rows = self._rows
        newer, older = rows.even_frame, rows.odd_frame
        if not even:
            newer, older = older, newer
        older[at] = newer[at]
        newer[at] = frames

    def _cuts(self, at: Numbers, line: Numbers, more: NDArray[np.bool_]) -> Numbers:
        """Choose how many samples to cut out of each line; 0: not now.

        A row that takes a second frame has to cut more than it carries, for less than a frame can
        be carried; any other row can't cut more than it carries.
        """
        carry, waited = self._rows.carry[at], self._rows.waited[at]
        least = np.where(more, carry + 1, 1)
        most = np.where(more, carry + FRAME, carry)
        heard = np.where(more, 2 * FRAME, FRAME) + carry
        quiet = np.sum(line[:, : 3 * FRAME] ** 2 * (heard[:, None] > _LINE), axis=1) < QUIET * heard
        cuts = np.where(quiet, most, 0)
        voiced = np.flatnonzero(~quiet & (waited >= EVERY))
        if voiced.size:
            longest, best = _best_lags(line[voiced], least[voiced, None], most[voiced, None])
            patience = np.where(self._rows.to_cut[at[voiced]] > 2, EVERY, PATIENCE)
            cuts[voiced] = np.where((best >= ALIKE) | (waited[voiced] >= patience), longest, 0)
        return cuts

    def _play(self, at: Numbers, line: Numbers, cuts: Numbers, taken: NDArray[np.bool_]) -> Numbers:
        """Cut, return a frame a row, and keep the rest."""
        rows = self._rows
        time = np.arange(2 * FRAME)
        later = np.take_along_axis(line, np.minimum(cuts[:, None] + time, 3 * FRAME - 1), 1)
        weight = np.where(time < FADE, np.pad(_WEIGHT, (0, 2 * FRAME - FADE)), 32768)
        result = (later * weight + line[:, : 2 * FRAME] * (32768 - weight)) >> 15
        result = np.where(cuts[:, None] > 0, result, line[:, : 2 * FRAME])
        rows.carry[at] += np.where(taken, FRAME, 0) - cuts
        rows.carried[at] = result[:, FRAME:]
        rows.waited[at[cuts > 0]] = 0
        return result[:, :FRAME]


def _best_lags(line: Numbers, least: Numbers, most: Numbers) -> tuple[Numbers, NDArray[np.float64]]:
    """Return how many samples to cut out of each line, and how alike its two ends then are."""
    alike = likeness(np.pad(line, ((0, 0), (0, FADE))).astype(float), 0, 0, _LAGS.size, FADE)
    fits = (least <= _LAGS) & (most >= _LAGS) & ((_LAGS >= SHORTEST) | (most == _LAGS))
    alike = np.where(fits, alike, -2.0)
    best = alike.max(axis=1)
    # The longest that fits about as well as the best.
    longest = _LAGS[-1] - np.argmax(alike[:, ::-1] >= (best - 0.05)[:, None], axis=1)
    return longest, best
