"""What the engine hands to a recorder: one block of frames a beat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class WideFrames:
    """What some legs of a block said and heard at a higher rate; a frame is 20 ms.

    Attributes
    ----------
    legs
        One for each row of the arrays below, in the order of the block.
    spoken : (n, frame) int16 ndarray
        What the mixer consumed from each leg, as listeners of that rate heard it.
    heard : (n, frame) int16 ndarray
        What each leg hears before encoding.
    """

    rate_hz: int
    legs: tuple[int, ...]
    spoken: NDArray[np.int16]
    heard: NDArray[np.int16]

    def only(self, legs: set[int]) -> WideFrames:
        """Return those rows that belong to some legs."""
        places = [place for place, leg in enumerate(self.legs) if leg in legs]
        at = np.array(places, np.int64)
        chosen = tuple(self.legs[place] for place in places)
        return WideFrames(self.rate_hz, chosen, self.spoken[at], self.heard[at])


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
    wide
        The same legs' frames at a higher rate, where one was asked for; one entry a rate.
    resampled
        Legs whose codec has another rate now than they are recorded at.
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
    wide: tuple[WideFrames, ...] = ()
    resampled: tuple[int, ...] = ()

    def only(self, legs: set[int]) -> TapBlock:
        """Return those rows that belong to some legs."""
        places = [place for place, leg in enumerate(self.legs) if leg in legs]
        at = np.array(places, np.int64)
        wide = (frames.only(legs) for frames in self.wide if not legs.isdisjoint(frames.legs))
        return TapBlock(
            sample=self.sample,
            legs=tuple(self.legs[place] for place in places),
            spoken=self.spoken[at],
            heard=self.heard[at],
            laws=tuple(self.laws[place] for place in places),
            sent=self.sent[at],
            present=self.present[at],
            contributors=tuple(self.contributors[place] for place in places),
            heard_mixed=self.heard_mixed[at],
            wide=tuple(wide),
            resampled=tuple(leg for leg in self.resampled if leg in legs),
        )


class BlockSink(Protocol):
    """Takes blocks on the media thread. It must neither block nor raise."""

    def put_block(self, block: TapBlock) -> None:
        """Take one block."""
