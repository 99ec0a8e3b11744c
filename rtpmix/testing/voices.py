"""What a test phone says: endless or finite series of 20 ms frames."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile

from ..errors import UsageError
from .audio import CLOCK_HZ, FULL_SCALE, Samples

FRAME = 160  # samples: 20 ms


def tone_voice(
    frequency: float, *, level_db: float = -20.0, rate_hz: int = CLOCK_HZ
) -> Iterator[Samples]:
    """Say one sine for ever, without a seam between frames."""
    amplitude = FULL_SCALE * 10 ** (level_db / 20)
    frame = FRAME * rate_hz // CLOCK_HZ
    for start in itertools.count(0, frame):
        n = np.arange(start, start + frame)
        yield np.rint(amplitude * np.sin(2 * np.pi * frequency * n / rate_hz)).astype(np.int16)


def pcm_voice(pcm: Samples, *, loop: bool = False) -> Iterator[Samples]:
    """Say these samples, the last frame filled up with silence; with ``loop`` for ever."""
    frames = [pcm[start : start + FRAME] for start in range(0, len(pcm), FRAME)]
    if frames and len(frames[-1]) < FRAME:
        frames[-1] = np.pad(frames[-1], (0, FRAME - len(frames[-1])))
    return itertools.cycle(frames) if loop else iter(frames)


def read_clip(path: Path | str) -> Samples:
    """Return the samples of a sound file.

    Raises
    ------
    UsageError
        It can't be read, or it is not mono at 8000 Hz.
    """
    try:
        pcm, rate = soundfile.read(str(path), dtype="int16")
    except (OSError, soundfile.SoundFileError) as exc:
        raise UsageError(f"{path} can't be read as a sound file: {exc}") from exc
    if rate != CLOCK_HZ or pcm.ndim != 1:
        raise UsageError(f"{path} is not mono at 8000 Hz; convert it: sox IN -r 8000 -c 1 OUT")
    return np.asarray(pcm, np.int16)
