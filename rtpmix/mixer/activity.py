"""Whether somebody speaks: a frame that stands out from the quietest of the last seconds.

The floor follows the quietest frames at once and rises by 3 dB a second, so that a noise that
stays is floor soon. Mean squares and the floor are whole numbers.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .rows import Numbers, Rows

OUTSTANDING = 8  # times the floor, in power: 9 dB
LEAST = 3400  # mean square: -55 dBov, quieter is no speech
FLOOR_LEAST, FLOOR_MOST = 34, 34_000  # -75 and -45 dBov: louder than that by 9 dB is always speech
RISE = 6  # the floor rises by 1/64 of itself a frame
HANG = 10  # frames that count as speech after the last one that was: 200 ms


def speech(rows: Rows, at: Numbers, power: Numbers) -> NDArray[np.bool_]:
    """Take a frame of some rows and return who speaks in it; `Rows.speaking` counts down after.

    Parameters
    ----------
    at : (n,) ndarray
        The rows.
    power : (n,) int64 ndarray
        Mean square of the frame of each, in 16-bit samples.
    """
    floor = rows.noise_floor[at]
    floor = np.minimum(power, floor + (floor >> RISE) + 1).clip(FLOOR_LEAST, FLOOR_MOST)
    rows.noise_floor[at] = floor
    speaks: NDArray[np.bool_] = (power >= LEAST) & (power > OUTSTANDING * floor)
    rows.speaking[at] = np.where(speaks, HANG + 1, np.maximum(rows.speaking[at] - 1, 0))
    return speaks
