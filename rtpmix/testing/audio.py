"""What a party hears, measured: levels of tones, clicks, alignment, G.711.

Who hears whom is proved with tones: every party speaks a frequency of its own, and the level of
each frequency in what a party heard says whom it heard.  Good frequencies are not harmonics of
each other, like 437, 1013 and 1693 Hz: a clipped 440 Hz shows at 1,320.

G.711 is computed here from the Recommendation's formulas, on purpose not with the mixer's tables,
so that a test of the mixer compares two independent codecs.

All levels are in dBFS: 0 dB is a sine of full scale, 32,767.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from ..errors import UsageError

Samples = NDArray[np.int16]
Table = TypeVar("Table", NDArray[np.int16], NDArray[np.uint8])

CLOCK_HZ = 8000
FULL_SCALE = 32767
_HIGH_PASS_TAPS = 257
_CLICK_WINDOW = 160  # samples: 20 ms
SILENT_DB = -200.0  # what a level of nothing is called


def tone(
    frequency: float, seconds: float, *, level_db: float = -20.0, phase: float = 0.0
) -> Samples:
    """Return a sine; ``level_db`` is that of its peak against full scale."""
    n = np.arange(round(seconds * CLOCK_HZ))
    amplitude = FULL_SCALE * 10 ** (level_db / 20)
    sine = np.sin(2 * np.pi * frequency * n / CLOCK_HZ + phase)
    return np.rint(amplitude * sine).astype(np.int16)


# ---------------------------------------------------------------------------- measuring


def level_db(pcm: Samples, frequency: float) -> float:
    """Return the level of one frequency, -200 when there is nothing at all.

    A Goertzel filter over a Blackman-Harris window, whose side lobes are 92 dB down: a loud tone
    does not show at another frequency, if that is at least ``4 * 8000 / len(pcm)`` Hz away.

    Parameters
    ----------
    pcm : (samples,) int16 ndarray
        At 8000 Hz.
    """
    if not len(pcm):
        return SILENT_DB
    window = _blackman_harris(len(pcm))
    turning = np.exp(-2j * np.pi * frequency / CLOCK_HZ * np.arange(len(pcm)))
    amplitude = 2 * abs(np.dot(pcm * window, turning)) / window.sum()
    return _decibels(amplitude / FULL_SCALE)


def tones_heard(
    pcm: Samples, frequencies: Iterable[float], *, threshold_db: float = -50.0
) -> set[float]:
    """Return the frequencies whose level is above the threshold.

    G.711 itself makes noise of about -64 dBFS beside a loud tone; a threshold above it tells
    speech from that noise.
    """
    return {f for f in frequencies if level_db(pcm, f) > threshold_db}


def relative_levels(pcm: Samples, frequencies: Sequence[float]) -> dict[float, float]:
    """Return each frequency's level in dB relative to the loudest of them."""
    levels = {f: level_db(pcm, f) for f in frequencies}
    loudest = max(levels.values())
    return {f: level - loudest for f, level in levels.items()}


def click_db(pcm: Samples, *, above_hz: float = 2000.0) -> float:
    """Return the energy above a frequency in the worst 20 ms, against a full-scale sine's.

    Switching steady 440 Hz speech of full scale with a step makes -25 dB, with a linear ramp of
    5 ms -61, with a raised cosine of 10 ms -96.  The first and the last 16 ms are not measured:
    that a recording begins in the middle of a tone is no click.  Measure before encoding; the
    noise of G.711 alone is far above -80 dB.

    Raises
    ------
    UsageError
        Fewer than 416 samples: nothing would be measured.
    """
    if len(pcm) < _HIGH_PASS_TAPS + _CLICK_WINDOW - 1:
        raise UsageError(f"{len(pcm)} samples are too few to find a click; give 416 or more")
    high = np.convolve(pcm.astype(np.float64), _high_pass(above_hz), "valid")
    energy = np.convolve(high**2, np.ones(_CLICK_WINDOW), "valid").max()
    return _decibels(math.sqrt(energy / (_CLICK_WINDOW / 2)) / FULL_SCALE)


def _high_pass(above_hz: float) -> NDArray[np.float64]:
    """Return a linear-phase filter; its stop band is 140 dB down, for what 16 bits can tell."""
    n = np.arange(_HIGH_PASS_TAPS) - _HIGH_PASS_TAPS // 2
    low = 2 * above_hz / CLOCK_HZ * np.sinc(2 * above_hz / CLOCK_HZ * n)
    return np.asarray(np.where(n == 0, 1.0, 0.0) - low * np.kaiser(_HIGH_PASS_TAPS, 14.0))


def rms_db(pcm: Samples) -> float:
    """Return the power of everything; a sine of full scale is 0 dB."""
    if not len(pcm):
        return SILENT_DB
    return _decibels(math.sqrt(2 * float(np.mean(pcm.astype(np.float64) ** 2))) / FULL_SCALE)


def align(reference: Samples, heard: Samples) -> int:
    """Return at which sample of ``heard`` the reference begins (negative: before its start).

    The place where both correlate best; meant for speech and noise, as a tone fits at every
    period.
    """
    if not len(reference) or not len(heard):
        raise UsageError("nothing can be aligned with no samples")
    size = 1 << (len(reference) + len(heard) - 1).bit_length()
    spectrum = np.fft.rfft(heard, size) * np.conj(np.fft.rfft(reference, size))
    best = int(np.argmax(np.fft.irfft(spectrum, size)))
    return best if best < len(heard) else best - size


def _blackman_harris(n: int) -> NDArray[np.float64]:
    turn = 2 * np.pi * np.arange(n) / n
    return np.asarray(
        0.35875 - 0.48829 * np.cos(turn) + 0.14128 * np.cos(2 * turn) - 0.01168 * np.cos(3 * turn)
    )


def _decibels(ratio: float) -> float:
    return max(20 * math.log10(ratio), SILENT_DB) if ratio > 0 else SILENT_DB


# -------------------------------------------------------------------------------- G.711


def _mulaw_value(code: int) -> int:
    """ITU-T G.711 table 2: sign, three bits of segment, four of step; all bits inverted."""
    code = ~code & 0xFF
    magnitude = (((code & 0x0F) << 3) + 0x84 << (code >> 4 & 7)) - 0x84
    return -magnitude if code & 0x80 else magnitude


def _alaw_value(code: int) -> int:
    """ITU-T G.711 table 1: even bits inverted; the two lowest segments have the same step."""
    code ^= 0x55
    segment, step = code >> 4 & 7, code & 0x0F
    magnitude = (step << 4) + 8 if not segment else (step << 4) + 0x108 << segment - 1
    return magnitude if code & 0x80 else -magnitude


_VALUES: dict[str, NDArray[np.int16]] = {
    "PCMU": np.array([_mulaw_value(code) for code in range(256)], np.int16),
    "PCMA": np.array([_alaw_value(code) for code in range(256)], np.int16),
}


def _nearest_codes(values: NDArray[np.int16]) -> NDArray[np.uint8]:
    """For every 16-bit sample, the code whose value is nearest."""
    order = np.argsort(values, kind="stable")
    ordered = values[order].astype(np.int32)
    limits = (ordered[1:] + ordered[:-1]) / 2
    return order[np.searchsorted(limits, np.arange(-32768, 32768))].astype(np.uint8)


_CODES = {codec: _nearest_codes(values) for codec, values in _VALUES.items()}


def decode_g711(payload: bytes, codec: str = "PCMU") -> Samples:
    """Return the samples of a PCMU or PCMA payload."""
    return _known(_VALUES, codec)[np.frombuffer(payload, np.uint8)]


def encode_g711(pcm: Samples, codec: str = "PCMU") -> bytes:
    """Return the payload whose values are nearest to the samples."""
    return _known(_CODES, codec)[pcm.astype(np.int32) + 32768].tobytes()


def _known(tables: dict[str, Table], codec: str) -> Table:
    try:
        return tables[codec]
    except KeyError:
        raise UsageError(f"codec {codec!r}; there are {', '.join(tables)}") from None
