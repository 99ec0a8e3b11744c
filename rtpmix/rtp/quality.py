"""How good a call sounds: the E-model of ITU-T G.107, from loss and delay.

The transmission rating R starts at 93.2, what the model gives for a G.711 path with its default
values, and loses what delay (`Idd`) and lost frames (`Ie,eff`) cost. Echo is not measured by a
media server: its terms are left at zero, as behind a perfect echo canceller.

References
----------
ITU-T G.107 (2015) sections 7.1, 7.4, 7.5 and annex B; G.113 appendix I; RFC 3611 section 4.7.5
"""

from __future__ import annotations

import math
from dataclasses import dataclass

DEFAULT_R = 93.2  # G.107 table 3: all parameters at their default values


@dataclass(frozen=True, slots=True)
class Impairment:
    """What a codec costs (`equipment`, Ie) and how it bears random loss (`robustness`, Bpl)."""

    equipment: float
    robustness: float


# G.113 appendix I: G.711 with the packet loss concealment of its own Appendix I.
G711 = Impairment(0.0, 25.1)


def delay_impairment(one_way_ms: float) -> float:
    """Return Idd, the cost of a one-way delay without echo (G.107 section 7.4)."""
    if one_way_ms <= 100:
        return 0.0
    x = math.log2(one_way_ms / 100)
    return 25 * (math.pow(1 + x**6, 1 / 6) - 3 * math.pow(1 + (x / 3) ** 6, 1 / 6) + 2)


def loss_impairment(lost: float, burst_ratio: float = 1.0, codec: Impairment = G711) -> float:
    """Return Ie,eff, the cost of a codec under loss (G.107 section 7.5).

    Parameters
    ----------
    lost
        Fraction of frames that were not there when they were due, 0 to 1.
    burst_ratio
        Mean length of runs of lost frames over what random loss would give; 1 is random.
    """
    percent = 100 * lost
    share = percent / (percent / max(burst_ratio, 1.0) + codec.robustness) if percent else 0.0
    return codec.equipment + (95 - codec.equipment) * share


def r_factor(
    lost: float, one_way_ms: float, burst_ratio: float = 1.0, codec: Impairment = G711
) -> float:
    """Return the transmission rating R, 0 to 93.2."""
    rating = DEFAULT_R - delay_impairment(one_way_ms) - loss_impairment(lost, burst_ratio, codec)
    return max(0.0, rating)


def mos(rating: float) -> float:
    """Return the mean opinion score of a rating, 1 to 4.5 (G.107 annex B)."""
    if rating <= 0:
        return 1.0
    if rating >= 100:
        return 4.5
    return max(1.0, 1 + 0.035 * rating + rating * (rating - 60) * (100 - rating) * 7e-6)
