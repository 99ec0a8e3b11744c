"""What the engine hands to a recorder: one block of frames a beat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class TapBlock:
    """Input and output of every recorded leg that ticked at one beat; arrays are the receiver's.

    Attributes
    ----------
    sample
        Media position of the first sample of these frames.
    legs
        The recorded legs, one for each row of the arrays below.
    spoken : (n, 160) int16 ndarray
        What the mixer consumed from each leg, concealed frames included.
    heard : (n, 160) uint8 ndarray
        The payload for each leg, exactly as sent; of a leg whose codec is not G.711, what it hears
        at 8 kHz as PCMU.
    laws
        "PCMU" or "PCMA": how ``heard`` is coded.
    sent : (n,) bool ndarray
        Whether this frame went out as audio.
    present : (n,) bool ndarray
        False where ``spoken`` was concealed, or silence because nothing came.
    contributors
        For each leg the seats whose gain towards it was not zero anywhere in this frame.
    heard_mixed : (n, 160) int16 ndarray
        What each leg hears before encoding.
    """

    sample: int
    legs: tuple[int, ...]
    spoken: NDArray[np.int16]
    heard: NDArray[np.uint8]
    laws: tuple[str, ...]
    sent: NDArray[np.bool_]
    present: NDArray[np.bool_]
    contributors: tuple[tuple[int, ...], ...]
    heard_mixed: NDArray[np.int16]


class BlockSink(Protocol):
    """Takes blocks on the media thread. It must neither block nor raise."""

    def put_block(self, block: TapBlock) -> None:
        """Take one block."""
