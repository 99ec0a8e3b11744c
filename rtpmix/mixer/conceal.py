"""What is played where no frame came: the last frame again, fading out.

Integer arithmetic, so that a recording replays to the same bits anywhere.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .rows import FRAME, Numbers, Rows

FADE_FRAMES = 3  # 60 ms from full level to silence
GIVE_UP_FRAMES = 50  # 1 s: the stream has stopped, there is nothing to invent any more

_FADE = np.linspace(32768, 0, FADE_FRAMES * FRAME + 1)[1:].astype(np.int32)
_FADE_OF_RUN = np.concatenate([_FADE.reshape(FADE_FRAMES, FRAME), np.zeros((1, FRAME), np.int32)])


def conceal(
    rows: Rows,
    index: Numbers,
    spoken: NDArray[np.int16],
    present: NDArray[np.bool_],
    missing: NDArray[np.bool_],
    beat: int,
) -> None:
    """Fill the frames that did not come, and remember those that did.

    Parameters
    ----------
    index : (n,) ndarray
        The rows.
    spoken : (n, 160) int16 ndarray
        Their frames; changed where ``present`` is false.
    present, missing : (n,) bool ndarray
        From `Playout.take`. Neither: the stream has not begun, or its frame was played before.

    Notes
    -----
    Silence while digits or comfort noise come in is the sender's own and not counted.
    """
    if present.all():
        rows.last_frame[index] = spoken
        rows.missing_run[index] = 0
        rows.played[index] += 1
        return
    here = np.flatnonzero(present)
    rows.last_frame[index[here]] = spoken[here]
    rows.missing_run[index[here]] = 0
    rows.played[index[here]] += 1
    gone = np.flatnonzero(~present)
    spoken[gone] = 0
    quiet = rows.quiet_until[index] > beat
    gap = np.flatnonzero(missing)
    at = index[gap]
    run = rows.missing_run[at]
    rows.missing_run[at] = run + 1
    fade = _FADE_OF_RUN[np.minimum(run, FADE_FRAMES)]
    spoken[gap] = (rows.last_frame[at] * fade) >> 15
    rows.concealed[at] += (run < GIVE_UP_FRAMES) & ~quiet[gap]
