"""How loud legs are: measured where a program asks, and evened out where it wants that.

*Meter.* The mean square of what a leg says and whether that is speech, told of every `TELL_FRAMES`
frames. The unit is dBov, decibels below the overload of G.711, as RFC 6464 section 3 has it.

*Automatic gain.* The gain follows the power of speech, not of pauses, slowly: 7 dB a second down,
2 dB a second up, to -26 dBov, which ITU-T P.56 calls the nominal level of speech. A frame that
would pass full scale brings it down at once. It is part of what the leg says, for listeners, taps
and recordings alike, so a replay needs to know nothing about it.

Everything is whole numbers: the same audio gives the same bits anywhere. Who asks for nothing of
this costs one look a tick.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..rtp.comfort_noise import QUIETEST, mean_squares
from .activity import speech
from .commands import LevelsMeasured, MeasureLevels, MixerEvent, SetAutoGain
from .layout import Layout
from .limiter import limit
from .rows import FRAME, Kind, Numbers, Rows

TELL_FRAMES = 10  # 200 ms
UNIT = 4096  # Q12: 1.0
LOUDEST, SOFTEST = 23_034, 516  # +15 and -18 dB
PEAK = 29_204  # 1 dB below full scale
NOMINAL = 2_697_000  # mean square at -26 dBov
TOO_LOUD, TOO_SOFT = NOMINAL * 8 // 5, NOMINAL * 5 // 8  # 2 dB around it are left alone
DOWN, UP = 6, 8  # the gain changes by 1/64 or 1/256 of itself a frame of speech
SETTLE = 4  # the power is averaged over 16 frames

_TIME = np.arange(1, FRAME + 1)
_LEVELS = np.array(mean_squares())


class Levels:
    """Meters, automatic gains and limiters of one engine.

    Attributes
    ----------
    busy
        Whether any row is to be measured or has a gain of its own.
    """

    def __init__(self, rows: Rows, events: list[MixerEvent], phases: int) -> None:
        self._rows = rows
        self._events = events
        self._phases = phases
        self.busy = False

    def measure(self, command: MeasureLevels) -> str | None:
        """Begin or end to measure a leg; return why not, or None."""
        return self._switch("measured", command.leg, command.on)

    def set_auto_gain(self, command: SetAutoGain) -> str | None:
        """Even a leg out from now on, or let its gain go back to 1.0; why not, or None."""
        return self._switch("auto_gain", command.leg, command.on)

    def _switch(self, name: str, leg: int, on: bool) -> str | None:
        rows = self._rows
        row = rows.of_seat.get(leg)
        if row is None or rows.kind[row] != Kind.LEG:
            return f"no leg {leg}"
        getattr(rows, name)[row] = on
        self.busy = self.busy or on
        return None

    def spoken(
        self,
        layout: Layout,
        spoken: NDArray[np.int16],
        present: NDArray[np.bool_],
        beat: int,
        at: int,
    ) -> None:
        """Take what the rows of a phase say, after concealment; change and measure it.

        Parameters
        ----------
        spoken : (n, 160) int16 ndarray
            In layout order.
        present : (n,) bool ndarray
            Whose frame had come.
        at
            The media sample at which these frames begin.
        """
        rows = self._rows
        index = layout.rows
        asked = rows.measured[index] | rows.auto_gain[index] | (rows.gain_q12[index] != UNIT)
        places = np.flatnonzero(asked)
        if places.size:
            self._take(index[places], places, spoken, present[places])
        elif not self._anybody():
            self.busy = False
        if beat // self._phases % TELL_FRAMES == TELL_FRAMES - 1 and places.size:
            self._tell(index[places], at + FRAME)

    def _anybody(self) -> bool:
        rows = self._rows
        mine = rows.measured | rows.auto_gain | (rows.gain_q12 != UNIT)
        return bool((mine & (rows.kind == Kind.LEG)).any())

    def _take(
        self,
        at: Numbers,
        places: Numbers,
        spoken: NDArray[np.int16],
        present: NDArray[np.bool_],
    ) -> None:
        rows = self._rows
        frames = spoken[places].astype(np.int64)
        squares: Numbers = np.einsum("ij,ij->i", frames, frames)
        speaks = speech(rows, at, squares // FRAME) & present
        even = rows.auto_gain[at] | (rows.gain_q12[at] != UNIT)
        if even.any():
            self._follow(at[even], squares[even] // FRAME, speaks[even])
            frames[even] = self._evened(at[even], frames[even])
            spoken[places] = frames
            squares = np.einsum("ij,ij->i", frames, frames)
        rows.level_squares[at] += squares
        rows.level_frames[at] += 1

    def _follow(self, at: Numbers, power: Numbers, speaks: NDArray[np.bool_]) -> None:
        """Move the aims of the gains by one frame of speech."""
        rows = self._rows
        known = rows.speech_power[at]
        averaged = np.where(known > 0, known + ((power - known) >> SETTLE), power)
        known = np.where(speaks, averaged, known)
        rows.speech_power[at] = known
        aim = rows.gain_aim[at]
        now = known * aim * aim >> 24  # below 2**60
        aim = np.where(speaks & (now > TOO_LOUD), aim - (aim >> DOWN), aim)
        aim = np.where(speaks & (now < TOO_SOFT), aim + (aim >> UP), aim).clip(SOFTEST, LOUDEST)
        rows.gain_aim[at] = np.where(rows.auto_gain[at], aim, UNIT)

    def _evened(self, at: Numbers, frames: Numbers) -> Numbers:
        """Return frames with their gains, each moving evenly to its aim within the frame."""
        rows = self._rows
        borne = PEAK * UNIT // np.maximum(np.abs(frames).max(axis=1), 1)
        automatic = rows.auto_gain[at]
        after = np.where(automatic, np.minimum(rows.gain_aim[at], borne), UNIT)
        rows.gain_aim[at] = after
        before = rows.gain_q12[at][:, None]
        gains = before + (after[:, None] - before) * _TIME // FRAME
        rows.gain_q12[at] = after
        evened: Numbers = ((frames * gains + UNIT // 2) >> 12).clip(-32768, 32767)
        return evened

    def _tell(self, at: Numbers, sample: int) -> None:
        rows = self._rows
        told = at[rows.measured[at] & (rows.level_frames[at] > 0)]
        if not told.size:
            return
        power = rows.level_squares[told] // (rows.level_frames[told] * FRAME)
        levels = tuple((-np.minimum(np.searchsorted(-_LEVELS, -power), QUIETEST)).tolist())
        speaking = tuple((rows.speaking[told] > 0).tolist())
        legs = tuple(rows.seat[told].tolist())
        rows.level_squares[told] = rows.level_frames[told] = 0
        self._events.append(LevelsMeasured(sample, legs, levels, speaking))

    def limit(self, layout: Layout, heard: NDArray[np.float64]) -> None:
        """Turn down what is too loud for the listeners of the bridges that want it."""
        at = layout.rows[layout.limited]
        part = heard[layout.limited]
        self._rows.limiter_gain[at] = limit(part, self._rows.limiter_gain[at])
        heard[layout.limited] = part
