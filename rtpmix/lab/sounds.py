"""What callers hear while they wait, computed: no sound files to carry."""

from __future__ import annotations

import numpy as np

RATE_HZ = 8000


def tone(hz: float, seconds: float, level_db: float = -20.0) -> bytes:
    """Return a sine with soft edges, as int16 PCM at 8000 Hz; ``level_db`` is its peak."""
    count = round(seconds * RATE_HZ)
    edge = min(160, count // 2)
    ramp = 0.5 - 0.5 * np.cos(np.pi * np.arange(edge) / max(edge, 1))
    shape = np.ones(count)
    shape[:edge], shape[count - edge :] = ramp, ramp[::-1]
    wave = 32767 * 10 ** (level_db / 20) * shape
    return (wave * np.sin(2 * np.pi * hz * np.arange(count) / RATE_HZ)).astype("<i2").tobytes()


def waiting_music() -> bytes:
    """Return a few bars of broken chords, to be repeated."""
    chords = (
        (262, 330, 392, 523),
        (220, 262, 330, 440),
        (175, 220, 262, 349),
        (196, 247, 294, 392),
    )
    return b"".join(tone(hz, 0.25, -24.0) for chord in chords for hz in (*chord, *chord[::-1]))
