"""A synthetic speaker: vowels that glide, hisses and pauses, for measurements that need speech.

Harmonics of a pitch that rises and falls, weighted by the resonances of a mouth that moves from
vowel to vowel, hisses of shaped noise between them, and pauses between phrases. Nobody is said to
sound like this; but it has what codecs and concealment live on, and nobody's rights in it.

References
----------
G. E. Peterson and H. L. Barney, "Control methods used in a study of the vowels", JASA 24 (1952)
"""

from __future__ import annotations

import itertools

import numpy as np

from .audio import CLOCK_HZ, FULL_SCALE, Samples

# Means of three formants in Hz, men; other voices scale them.
VOWELS = (
    (270, 2290, 3010),
    (530, 1840, 2480),
    (730, 1090, 2440),
    (570, 840, 2410),
    (300, 870, 2240),
)
WIDTHS = (60.0, 90.0, 150.0)  # of the resonances, in Hz
SYLLABLE_S, HISS_S, PAUSE_S = 0.22, 0.09, 0.35
EDGE = 160  # samples in which a sound begins and ends
HIGHEST_HZ = 3600.0


def speech(
    seconds: float, *, pitch_hz: float = 120.0, level_db: float = -26.0, seed: int = 0
) -> Samples:
    """Return speech-like audio at 8000 Hz, whole frames of 20 ms, the same for the same seed.

    Parameters
    ----------
    level_db
        Of the sounds, pauses left out: root mean square against full scale.
    """
    dice = np.random.default_rng(seed)
    count = round(seconds * 50) * 160
    parts: list[np.ndarray] = []
    done = 0
    while done < count:
        for part in _phrase(dice, pitch_hz):
            parts.append(part)
            done += part.size
    wave: np.ndarray = np.concatenate(parts)[:count]
    loud = wave[np.abs(wave) > 0]
    wave *= FULL_SCALE * 10 ** (level_db / 20) / np.sqrt(np.mean(loud**2))
    sound: Samples = np.rint(wave.clip(-FULL_SCALE, FULL_SCALE)).astype(np.int16)
    return sound


def _phrase(dice: np.random.Generator, pitch_hz: float) -> list[np.ndarray]:
    """Some syllables, then a pause."""
    parts = []
    vowels = dice.integers(0, len(VOWELS), 8)
    for before, after in itertools.pairwise(vowels):
        if dice.random() < 0.4:
            parts.append(_hiss(dice))
        parts.append(_syllable(dice, pitch_hz, VOWELS[before], VOWELS[after]))
    parts.append(np.zeros(round(PAUSE_S * CLOCK_HZ * dice.uniform(0.5, 1.5))))
    return parts


def _syllable(
    dice: np.random.Generator,
    pitch_hz: float,
    before: tuple[int, ...],
    after: tuple[int, ...],
) -> np.ndarray:
    size = round(SYLLABLE_S * CLOCK_HZ * dice.uniform(0.6, 1.5))
    way = np.linspace(0, 1, size)
    pitch = pitch_hz * np.exp(dice.uniform(-0.15, 0.15) + dice.uniform(-0.2, 0.2) * way)
    phase = np.cumsum(pitch) / CLOCK_HZ
    glide = way**2 * (3 - 2 * way)
    formants = [
        first + (second - first) * glide for first, second in zip(before, after, strict=True)
    ]
    wave = np.zeros(size)
    for harmonic in range(1, int(HIGHEST_HZ / pitch.min()) + 1):
        hz = harmonic * pitch
        weight = np.ones(size)
        for centre, width in zip(formants, WIDTHS, strict=True):
            # A resonance, 1 at 0 Hz.
            weight *= centre**2 / np.hypot(centre**2 - hz**2, width * hz)
        weight *= (hz < HIGHEST_HZ) / harmonic
        wave += weight * np.sin(2 * np.pi * harmonic * phase)
    return _edged(wave + 0.01 * wave.std() * dice.standard_normal(size))


def _hiss(dice: np.random.Generator) -> np.ndarray:
    noise = np.diff(dice.standard_normal(round(HISS_S * CLOCK_HZ * dice.uniform(0.6, 1.4)) + 1))
    return _edged(0.15 * noise)


def _edged(wave: np.ndarray) -> np.ndarray:
    rise = 0.5 - 0.5 * np.cos(np.pi * np.arange(EDGE) / EDGE)
    wave[:EDGE] *= rise
    wave[-EDGE:] *= rise[::-1]
    return wave
