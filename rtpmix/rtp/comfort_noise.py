"""Comfort noise: how loud a silence is, and how it sounds, in a few octets.

The colour is an all-pole filter by its reflection coefficients; the first of them is negative where
low frequencies prevail, as in ITU-T G.711 Appendix II and in ffmpeg, whose coder a test compares.

References
----------
RFC 3389 sections 3 and 4
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

PAYLOAD_TYPE = 13  # static, for a clock of 8000 Hz
OVERLOAD = 32124  # 0 dBov, section 3.1: +/- 8031 of 14 bits
QUIETEST = 127  # -dBov
MAX_ORDER = 10  # what G.711 Appendix II sends; more is not read
ORDER = 4  # what we send
RESERVED = 255
STABLE = 0.97  # a pole nearer to the circle would ring for longer than the filter is

_ROOTS = tuple(OVERLOAD * 10 ** (-level / 20) for level in range(QUIETEST + 1))


@dataclass(frozen=True, slots=True)
class Noise:
    """A silence: its level in -dBov (0 to 127) and its reflection coefficients."""

    level: int = QUIETEST
    reflection: tuple[float, ...] = ()

    @classmethod
    def parse(cls, payload: bytes) -> Noise:
        """Read any payload; an empty one is silence.

        References
        ----------
        RFC 3389 section 3.3
        """
        if not payload:
            return cls()
        found = []
        for index in payload[1 : 1 + MAX_ORDER]:
            if index == RESERVED:
                break
            found.append(258 * (index - 127) / 32768)
        return cls(payload[0] & 0x7F, tuple(found))

    def to_bytes(self) -> bytes:
        """Return the payload."""
        indices = (min(max(round(k * 32768 / 258) + 127, 0), 254) for k in self.reflection)
        return bytes((min(max(self.level, 0), QUIETEST), *indices))

    @property
    def amplitude(self) -> int:
        """Root mean square, in 16-bit samples."""
        return round(_ROOTS[self.level])

    def impulse_response(self, taps: int, unit: int) -> list[int]:
        """Return the colour as a filter of so many taps, the sum of their squares ``unit**2``.

        Only sums, products, a quotient and a root: the same whole numbers on every machine.
        """
        predictor: list[float] = []
        for k in self.reflection:
            k = min(max(k, -STABLE), STABLE)
            mirrored = predictor[::-1]
            predictor = [a + k * b for a, b in zip(predictor, mirrored, strict=True)] + [k]
        response = [1.0]
        for n in range(1, taps):
            past = response[n - 1 :: -1]
            response.append(-sum(a * h for a, h in zip(predictor, past, strict=False)))
        norm = sum(h * h for h in response) ** 0.5
        return [round(h * unit / norm) for h in response]


def mean_squares() -> tuple[float, ...]:
    """Return the mean square that each level stands for, 0 to -127 dBov."""
    return tuple(root * root for root in _ROOTS)


def level_of(mean_square: float) -> int:
    """Return the level of a signal in -dBov, 0 to 127, by its mean square."""
    return next(
        (level for level, root in enumerate(_ROOTS) if root * root <= mean_square), QUIETEST
    )


def describe(correlation: Sequence[int], samples: int) -> Noise:
    """Describe a piece of silence.

    Parameters
    ----------
    correlation
        Sums of products of its samples with those 0, 1, ... later; one more than the order.
    samples
        How many samples it has.
    """
    level = level_of(correlation[0] / samples)
    if level == QUIETEST:
        return Noise()
    # Levinson and Durbin; a little white noise keeps it well conditioned.
    error = correlation[0] * 1.0001
    predictor: list[float] = []
    found: list[float] = []
    for order in range(1, len(correlation)):
        ahead = sum(a * correlation[order - 1 - i] for i, a in enumerate(predictor))
        k = -(correlation[order] + ahead) / error
        predictor = [a + k * b for a, b in zip(predictor, predictor[::-1], strict=True)] + [k]
        error *= 1 - k * k
        found.append(k)
    return Noise(level, tuple(found))
