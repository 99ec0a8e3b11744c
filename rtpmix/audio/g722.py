"""G.722 through PyAV: 16 kHz at 64 kbit/s, one octet for two samples.

References
----------
ITU-T G.722; RFC 3551 section 4.5.2
"""

from __future__ import annotations

import importlib.util
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import UsageError

RATE_HZ = 16000

Linear = NDArray[np.int16]


@lru_cache(maxsize=1)
def is_available() -> bool:
    """Whether PyAV is installed."""
    return importlib.util.find_spec("av") is not None


def _context(mode: Literal["r", "w"]) -> Any:
    if not is_available():
        raise UsageError("G.722 needs PyAV: pip install 'rtpmix[codecs]'")
    import av

    context = av.CodecContext.create("g722", mode)
    context.sample_rate, context.layout = RATE_HZ, "mono"
    if mode == "w":
        context.format = "s16"
    return context


class G722Encoder:
    """From 16 kHz mono to packets, one a frame."""

    def __init__(self) -> None:
        from av import AudioFrame

        self._context = _context("w")
        self._make = AudioFrame
        self._given = AudioFrame("s16", "mono", 0)

    def encode(self, frame: Linear) -> list[bytes]:
        """Return the packet of a frame of an even number of samples."""
        given = self._given
        if given.samples != len(frame):
            self._given = given = self._make("s16", "mono", len(frame))
            given.sample_rate = RATE_HZ
        given.make_writable()  # the encoder is done with the one before, but may say so later
        given.planes[0].update(frame.astype(np.int16, copy=False).tobytes())
        packets = self._context.encode(given)
        return [bytes(packets[0]) if len(packets) == 1 else b"".join(map(bytes, packets))]


class G722Decoder:
    """From packets to 16 kHz mono."""

    has_concealment = False

    def __init__(self) -> None:
        self._context = _context("r")
        from av import Packet

        self._packet = Packet

    def samples(self, payload: bytes) -> int:
        """Return how many samples a packet holds."""
        return 2 * len(payload)

    def decode(self, payload: bytes) -> Linear | None:
        """Return the samples of a packet: any octets are some."""
        frames = self._context.decode(self._packet(payload))
        parts = [np.frombuffer(frame.planes[0], np.int16, frame.samples) for frame in frames]
        return np.concatenate(parts) if parts else None

    def decode_into(self, payload: bytes, out: Linear) -> bool:
        """Write the samples of a packet that fills ``out``."""
        pcm = self.decode(payload)
        if pcm is None or len(pcm) != len(out):
            return False
        out[:] = pcm
        return True

    def recover(self, following: bytes, samples: int) -> Linear | None:
        """Return nothing: a packet tells nothing of the one before it."""
        return None

    def conceal(self, samples: int) -> Linear | None:
        """Return nothing: the codec has no concealment of its own."""
        return None
