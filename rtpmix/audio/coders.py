"""One interface to the codecs that have a state, or a rate, of their own: all but G.711."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import UsageError
from . import g722, opus
from .codecs import CODECS, Codec, OpusWishes
from .g722 import G722Decoder, G722Encoder
from .opus import OpusDecoder, OpusEncoder

Linear = NDArray[np.int16]


class Encoder(Protocol):
    """Makes packets out of frames, in order."""

    def encode(self, frame: Linear) -> list[bytes]:
        """Return the payloads of one frame of 20 ms; none for silence that need not be sent."""


class Decoder(Protocol):
    """Makes samples out of packets, in order. Nothing that a payload holds raises."""

    has_concealment: bool

    def samples(self, payload: bytes) -> int:
        """Return how many samples a payload holds; 0 when it can't be read."""

    def decode(self, payload: bytes) -> Linear | None:
        """Return its samples; None when it can't be read."""

    def decode_into(self, payload: bytes, out: Linear) -> bool:
        """Write the samples of a payload that fills ``out``; False when it can't be read."""

    def recover(self, following: bytes, samples: int) -> Linear | None:
        """Return samples whose packet was lost, by help of the one after it; None: can't."""

    def conceal(self, samples: int) -> Linear | None:
        """Return samples whose packet was lost; None: the codec has no way of its own."""


class L16Encoder:
    """Samples as they are, in network order (RFC 3551 section 4.5.11)."""

    def __init__(self, codec: Codec) -> None:
        self._samples = codec.rate_hz * codec.packet_ms // 1000

    def encode(self, frame: Linear) -> list[bytes]:
        """Return the payloads of one frame."""
        octets = frame.astype(">i2").tobytes()
        size = 2 * self._samples
        return [octets[start : start + size] for start in range(0, len(octets), size)]


class L16Decoder:
    """Samples as they are."""

    has_concealment = False

    def samples(self, payload: bytes) -> int:
        """Return how many samples a payload holds; 0 for half ones."""
        return 0 if len(payload) % 2 else len(payload) // 2

    def decode(self, payload: bytes) -> Linear | None:
        """Return its samples."""
        if len(payload) % 2:
            return None
        return np.frombuffer(payload, ">i2").astype(np.int16)

    def decode_into(self, payload: bytes, out: Linear) -> bool:
        """Write its samples; False when they don't fill ``out``."""
        if len(payload) != 2 * len(out):
            return False
        out[:] = np.frombuffer(payload, ">i2")
        return True

    def recover(self, following: bytes, samples: int) -> Linear | None:
        """Return nothing: a packet tells nothing of the one before it."""
        return None

    def conceal(self, samples: int) -> Linear | None:
        """Return nothing: the codec has no concealment of its own."""
        return None


def unavailable(codec: Codec) -> str | None:
    """Return what is missing on this machine for a codec, and the remedy; None: nothing."""
    if codec.encoding == "G722" and not g722.is_available():
        return "G722 needs PyAV: pip install 'rtpmix[codecs]'"
    if codec.encoding == "OPUS" and not opus.is_available():
        return "opus needs libopus: install it (Debian: libopus0) or pip install 'rtpmix[codecs]'"
    return None


def check_names(names: tuple[str, ...]) -> None:
    """Raise a `UsageError` for what is no order of codecs, or not to be had on this machine."""
    if isinstance(names, str) or not names or not set(names) <= CODECS.keys():
        known = ", ".join(CODECS)
        raise UsageError(f"codecs {names!r}: choose one or more of {known}, in a tuple")
    for name in names:
        if (missing := unavailable(CODECS[name])) is not None:
            raise UsageError(missing)


def encoder_of(codec: Codec, fmtp: str = "") -> Encoder:
    """Return a new encoder.

    Parameters
    ----------
    fmtp
        What the peer says in ``a=fmtp`` that it would like to get.

    Raises
    ------
    UsageError
        For G.711, and for what this machine has no library for.
    """
    _check(codec)
    if codec.encoding == "G722":
        return G722Encoder()
    if codec.encoding == "OPUS":
        return OpusEncoder(OpusWishes.parse(fmtp))
    return L16Encoder(codec)


def decoder_of(codec: Codec) -> Decoder:
    """Return a new decoder; raises as `encoder_of`."""
    _check(codec)
    if codec.encoding == "G722":
        return G722Decoder()
    if codec.encoding == "OPUS":
        return OpusDecoder()
    return L16Decoder()


def _check(codec: Codec) -> None:
    if codec.is_g711 or codec.name not in CODECS:
        raise UsageError(f"{codec.name} has no coder: the mixer codes G.711 itself")
    missing = unavailable(codec)
    if missing is not None:
        raise UsageError(missing)
