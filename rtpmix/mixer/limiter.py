"""A limiter in place of the clip: what is too loud for a listener is turned down, not cut off.

Each listener has a gain, at most 1.0. Where a frame would pass the ceiling the gain falls within
2 ms to what the frame's peak bears, and afterwards comes back by the same small step a frame, at
most a second from nothing to all. What passes full scale in those 2 ms is clipped as without it.

A step that does not depend on the gain forgets: after `FORGETS` frames the gain is what those
frames made it, whatever it was before. A replay that begins in mid-call relies on that.

Sums, gains and products are whole numbers up to 2**53, exact in float64; the one quotient is
rounded the same way everywhere and then rounded down.
"""

from __future__ import annotations

import numpy as np

from .gains import UNITY, Exact
from .rows import FRAME, Numbers

CEILING = 29204  # 1 dB below full scale
ATTACK = 16  # samples: 2 ms
RELEASE = 656  # of 32768 in a frame
FORGETS = -(-UNITY // RELEASE)  # frames: 50, a second

_TIME = np.arange(1, FRAME + 1)
_FALLING = np.minimum(_TIME * (UNITY // ATTACK), UNITY)
_RISING = _TIME * UNITY // FRAME


def limit(heard: Exact, before: Numbers) -> Numbers:
    """Turn down the frames of some listeners.

    Parameters
    ----------
    heard : (n, 160 or a multiple) float64 ndarray
        Q15 sums from `gains.mix`, 20 ms; those that are too loud are changed.
    before : (n,) int64 ndarray
        Q15 gain of each listener at the end of the frame before; 32768 to begin with.

    Returns
    -------
    (n,) int64 ndarray
        Their gains at the end of this frame.
    """
    peak = np.maximum(heard.max(axis=1), -heard.min(axis=1))
    borne = np.floor(float(CEILING * UNITY * UNITY) / np.maximum(peak, CEILING * UNITY))
    after: Numbers = np.minimum(borne.astype(np.int64), before + RELEASE)
    busy = np.flatnonzero((after < UNITY) | (before < UNITY))
    if busy.size:
        begin, change = before[busy, None], (after - before)[busy, None]
        gains = begin + (change * np.where(change < 0, _FALLING, _RISING) >> 15)
        gains = np.repeat(gains, heard.shape[1] // FRAME, axis=1)
        heard[busy] = heard[busy] * gains / UNITY
    return after
