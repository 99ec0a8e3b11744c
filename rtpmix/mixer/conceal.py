"""What is played where no frame came: the last pitch period again and again, fading out.

The class of ITU-T G.711 Appendix I, without its delay of 3.75 ms: what was played stays as it is,
and the first repetition leans over from the last sample instead. From the second frame on two
periods are repeated, which buzzes less. The frame that comes after a gap is faded in over what the
gap would have gone on with. The recommendation fades to silence within 60 ms; by the spectral
distance of `benchmarks quality` a slower fade is nearer to what was said in bursts of loss (16 %
at 10 % loss), and no farther from it elsewhere.

Whole numbers throughout, so that the same input gives the same bits anywhere.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .pitch import likeness
from .rows import CYCLE, FRAME, Numbers, Rows

FADE_FRAMES = 7  # 140 ms from full level to silence
GIVE_UP_FRAMES = 50  # 1 s: the stream has stopped, there is nothing to invent any more
LOWEST, HIGHEST = 120, 40  # periods: 66 to 200 Hz, whose multiples are higher voices
COMPARED = 160  # samples that are compared to find the period
OVERLAP = 40  # samples in which the first frame after a gap is faded in; more for long gaps

_FALLING = np.linspace(32768, 0, (FADE_FRAMES - 1) * FRAME + 1)[1:]
_FADE = np.concatenate([np.full(FRAME, 32768), _FALLING]).astype(np.int64)
_FADE_OF_RUN = np.concatenate([_FADE.reshape(FADE_FRAMES, FRAME), np.zeros((1, FRAME), np.int64)])
_TIME = np.arange(FRAME)


def conceal(
    rows: Rows,
    index: Numbers,
    spoken: NDArray[np.int16],
    present: NDArray[np.bool_],
    missing: NDArray[np.bool_],
    idle: NDArray[np.bool_],
    beat: int,
    even: bool,
) -> None:
    """Fill the frames that did not come, and remember those that did.

    Parameters
    ----------
    index : (n,) ndarray
        The rows.
    spoken : (n, 160) int16 ndarray
        Their frames; changed where ``present`` is false, and where it is true again.
    present, missing, idle : (n,) bool ndarray
        From `Playout.take`. None of them: the stream has not begun.
    even
        Alternates from tick to tick: which of the two remembered frames is the older.

    Notes
    -----
    Silence while digits or comfort noise come in is the sender's own and not counted, and neither
    is a frame that is put in.
    """
    run = rows.missing_run[index]
    if run.any() or not present.all():
        back = np.flatnonzero(present & (run > 0))
        if back.size:
            _join(rows, index[back], spoken, back, run[back])
        rows.missing_run[index[present]] = 0
        gone = np.flatnonzero(~present)
        spoken[gone] = 0
        gap = np.flatnonzero(missing | idle)
        if gap.size:
            at, lost = index[gap], run[gap]
            _begin(rows, at[lost == 0], even)
            heard = lost < FADE_FRAMES  # the others have faded out: what stopped costs nothing
            if heard.any():
                spoken[gap[heard]] = _continue(rows, at[heard], lost[heard])
            rows.missing_run[at] = lost + 1
            quiet = (rows.quiet_until[at] > beat) | idle[gap]
            rows.concealed[at] += (lost < GIVE_UP_FRAMES) & ~quiet
    (rows.even_frame if even else rows.odd_frame)[index] = spoken
    rows.played[index] += present


def _begin(rows: Rows, at: Numbers, even: bool) -> None:
    """Find the pitch of rows whose gap begins, and cut out what is to be repeated."""
    if not at.size:
        return
    older, newer = rows.even_frame, rows.odd_frame
    if not even:
        older, newer = newer, older
    past = np.concatenate([older[at], newer[at]], axis=1).astype(np.int64)
    size = past.shape[1]
    first = size - COMPARED - LOWEST
    alike = likeness(
        past.astype(np.float64), size - COMPARED, first, LOWEST - HIGHEST + 1, COMPARED
    )
    # The shortest of the lags that fit about as well: a multiple of the period fits too.
    good = alike[:, ::-1] >= alike.max(axis=1)[:, None] - 0.05
    pitch = HIGHEST + np.argmax(good, axis=1)
    rows.pitch[at] = pitch
    rows.step[at] = past[:, -1] - np.take_along_axis(past, size - 1 - pitch[:, None], 1)[:, 0]
    # The last quarter of the cycle goes over to what precedes the cycle, so that it closes.
    time = np.arange(CYCLE) % (2 * pitch[:, None])
    now = np.take_along_axis(past, size - 2 * pitch[:, None] + time, 1)
    rows.cycle[at] = _closed(past, pitch, time, now)


def _closed(past: Numbers, pitch: Numbers, time: Numbers, now: Numbers) -> Numbers:
    """Blend the end of each period with the end of the one before it."""
    period = pitch[:, None]
    quarter = period // 4
    phase = time % period
    into = np.maximum(phase - (period - quarter) + 1, 0)  # 1 to quarter at the end of a period
    place = past.shape[1] - 2 * period + time - period
    earlier = np.take_along_axis(past, np.maximum(place, 0), 1)
    blended: Numbers = (now * (quarter - into) + earlier * into) // quarter
    return np.where((into > 0) & (place >= 0), blended, now)


def _continue(rows: Rows, at: Numbers, run: Numbers) -> NDArray[np.int16]:
    """Return the frame number ``run`` of the gaps of rows."""
    pitch = rows.pitch[at][:, None]
    time = run[:, None] * FRAME + _TIME
    within = np.where(run[:, None] == 0, pitch + time % pitch, (pitch + time) % (2 * pitch))
    frame = np.take_along_axis(rows.cycle[at].astype(np.int64), within, 1)
    quarter = pitch // 4
    lean = np.maximum(quarter - 1 - time, 0)
    frame = frame + rows.step[at][:, None] * lean // quarter
    frame = frame * _FADE_OF_RUN[np.minimum(run, FADE_FRAMES)] >> 15
    invented: NDArray[np.int16] = frame.clip(-32768, 32767).astype(np.int16)
    return invented


def _join(
    rows: Rows, at: Numbers, spoken: NDArray[np.int16], places: Numbers, run: Numbers
) -> None:
    """Fade the first frames after gaps in over what would have gone on."""
    going_on = _continue(rows, at, run).astype(np.int64)
    overlap = np.minimum(OVERLAP * run, 2 * OVERLAP)[:, None]
    weight = np.minimum((_TIME + 1) * 32768 // overlap, 32768)
    frame = spoken[places].astype(np.int64)
    spoken[places] = (frame * weight + going_on * (32768 - weight)) >> 15
