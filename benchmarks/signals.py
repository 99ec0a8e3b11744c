"""What the load generator says and listens for: a tone per talker, and bursts that time the way.

Everything is mu-law at 8000 Hz in frames of 160 samples.  The tones are quiet enough that three
of them never clip and never look like a burst; a burst is a square wave near full scale.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FRAME = 160
TONE_AMPLITUDE = 600.0
BURST_AMPLITUDE = 12000
BURST_SEEN = 5000  # no mix of tones is as loud
TONE_MISSED = 0.6 * TONE_AMPLITUDE

_CODES = np.arange(256)
_BITS = ~_CODES & 0xFF
_SIZES = ((((_BITS & 15) << 3) + 132) << (_BITS >> 4 & 7)) - 132
MULAW = np.where(_BITS & 128, -_SIZES, _SIZES).astype(np.float32)

SILENCE = 0xFF


def encode(samples: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Return the nearest mu-law codes."""
    order = np.argsort(MULAW, kind="stable")
    values = MULAW[order]
    limits = (values[1:] + values[:-1]) / 2
    return order[np.searchsorted(limits, samples)].astype(np.uint8)


def tone_frequency(talker: int) -> int:
    """Whole periods of 50 Hz fit a frame, so every frame of a tone is alike."""
    return 350 + 100 * talker


def tone_frame(talker: int) -> NDArray[np.uint8]:
    """Return the frame that a talker says all the time."""
    turn = 2 * np.pi * tone_frequency(talker) * np.arange(FRAME) / 8000
    return encode(TONE_AMPLITUDE * np.sin(turn))


def burst_frame() -> NDArray[np.uint8]:
    """Return the frame that is looked for: a square wave of 1 kHz."""
    return encode(np.where(np.arange(FRAME) % 8 < 4, BURST_AMPLITUDE, -BURST_AMPLITUDE) * 1.0)


def tone_amplitudes(frames: NDArray[np.float32], talkers: int) -> NDArray[np.float32]:
    """Return (frames, talkers) amplitudes of the talkers' tones in decoded frames."""
    cosines, sines = _basis(talkers)
    return np.asarray(np.hypot(frames @ cosines, frames @ sines) * (2 / FRAME), np.float32)


def _basis(talkers: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    turns = np.stack(
        [2 * np.pi * tone_frequency(k) * np.arange(FRAME) / 8000 for k in range(talkers)], axis=1
    )
    return np.cos(turns).astype(np.float32), np.sin(turns).astype(np.float32)
