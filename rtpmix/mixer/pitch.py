"""How far speech repeats itself: lags at which a piece of a signal looks most like itself.

Sums of products of 16-bit samples are whole numbers below 2**53, exact in float64 in any order;
quotients and roots are rounded the same way everywhere. So is whatever is decided by them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Exact = NDArray[np.float64]


def likeness(signal: Exact, at: int, first: int, count: int, size: int) -> Exact:
    """Compare a piece of each signal with the pieces before or after it.

    Parameters
    ----------
    signal : (n, samples) float64 ndarray
        Whole numbers of 16 bits.
    at
        Where the piece of ``size`` samples begins.
    first, count
        Where the first of ``count`` pieces begins with which it is compared, each one sample later.

    Returns
    -------
    (n, count) float64 ndarray
        Normalised cross-correlation, -1 to 1; 1 where both are silent.
    """
    piece = signal[:, at : at + size]
    products = np.empty((len(signal), count))
    for product, line in zip(products, signal, strict=True):  # faster than one call for all
        others = line[first : first + count + size - 1]
        product[:] = np.correlate(others, line[at : at + size], "valid")
    squares = np.cumsum(
        np.pad(signal[:, first : first + count + size - 1] ** 2, ((0, 0), (1, 0))), 1
    )
    energy = squares[:, size:] - squares[:, :-size]
    norm = np.sqrt(energy * np.sum(piece * piece, axis=1)[:, None])
    alike: Exact = np.where(norm > 0, products / np.maximum(norm, 1.0), energy == energy[:, :1])
    return alike
