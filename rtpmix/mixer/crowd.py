"""Large bridges: one sum for all who hear the same, less what each says himself.

In a conference of *n* nearly all listeners hear each talker with the same gain, so the product of
a matrix of *n* x *n* repeats one sum *n* times. Here the sum is made once. All values are integers
below 2^53, so subtracting a talker from it gives the same bits as leaving him out: this is no other
mix, only a shorter way to it. Listeners who differ (muted, whispered to, with gains of their own)
are mixed by their own rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .gains import Exact, product
from .rows import Numbers

WORTH_IT = 24  # seats from which on this is the shorter way


@dataclass(frozen=True, slots=True)
class Crowd:
    """A gain matrix taken apart.

    Attributes
    ----------
    common : (n,) float64 ndarray
        The gain with which most hear each talker.
    own : (n,) float64 ndarray
        What each listener hears of himself less what the sum has of him.
    others : (k,) int64 ndarray
        Listeners who hear differently.
    gains : (k, n) float64 ndarray
        Their rows.
    """

    common: Exact
    own: Exact
    others: Numbers
    gains: Exact

    def mix(self, talk: Exact, heard: Exact) -> None:
        """Write what each listener hears.

        Parameters
        ----------
        talk, heard : (n, samples) float64 ndarray
            Integers of 16 bits in, Q15 sums out.
        """
        np.multiply(talk, self.own[:, None], out=heard)
        heard += self.common @ talk
        if self.others.size:
            heard[self.others] = product(self.gains, talk)


def crowd_of(gains: Exact) -> Crowd | None:
    """Take a matrix apart, or return None when most of its listeners hear differently.

    Parameters
    ----------
    gains : (n, n) float64 ndarray
        Q15 integers; rows listen, columns talk.
    """
    size = len(gains)
    if size < WORTH_IT:
        return None
    # The middle value of a column is the one of most listeners, if most agree.
    common = np.partition(gains, size // 2, axis=0)[size // 2]
    differs = gains != common
    np.fill_diagonal(differs, False)
    others = np.flatnonzero(differs.any(axis=1))
    if 4 * others.size > size:
        return None
    return Crowd(common, np.diagonal(gains) - common, others, gains[others])
