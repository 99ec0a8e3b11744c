"""PCMU and PCMA as tables: one look-up a sample, any number of frames at once.

The tables are built once from the integer definitions of the recommendation; encoding truncates
16-bit samples to the 14 (mu-law) or 13 (A-law) bits that the codec has, as every G.711 coder does.

References
----------
ITU-T G.711 (1988) tables 1a to 2b; RFC 3551 section 4.5.14
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

PCMU = 0  # the static payload types of RFC 3551 serve as numbers of the laws
PCMA = 8
LAWS = {"PCMU": PCMU, "PCMA": PCMA}
NAMES = {PCMU: "PCMU", PCMA: "PCMA"}
SILENCE = {PCMU: 0xFF, PCMA: 0xD5}  # the codes of 0 and of 8, the smallest that each law has

Codes = NDArray[np.uint8]
Linear = NDArray[np.int16]


def _decode_mulaw(code: int) -> int:
    """Return the 16-bit sample of a mu-law code (bits are sent inverted)."""
    inverted = code ^ 0xFF
    magnitude = (((inverted & 0x0F) << 3) + 0x84 << (inverted >> 4 & 7)) - 0x84
    return -magnitude if inverted & 0x80 else magnitude


def _decode_alaw(code: int) -> int:
    """Return the 16-bit sample of an A-law code (even bits are sent inverted)."""
    toggled = code ^ 0x55
    segment = toggled >> 4 & 7
    magnitude = (toggled & 0x0F) << 4 | 8
    if segment:
        magnitude = magnitude + 0x100 << segment - 1
    return magnitude if toggled & 0x80 else -magnitude


def _encode_mulaw(sample: int) -> int:
    """Return the mu-law code of a 16-bit sample."""
    mask = 0xFF
    if sample < 0:
        mask, sample = 0x7F, -sample
    biased = min(sample, 8158 << 2) + (33 << 2) >> 2  # 14 bits, bias 33
    segment = biased.bit_length() - 6
    return (segment << 4 | (biased >> segment + 1) & 0x0F) ^ mask


def _encode_alaw(sample: int) -> int:
    """Return the A-law code of a 16-bit sample."""
    mask = 0xD5
    value = sample >> 3  # 13 bits
    if value < 0:
        mask, value = 0x55, -value - 1
    segment = max(0, value.bit_length() - 5)
    return (segment << 4 | (value >> max(1, segment)) & 0x0F) ^ mask


_FINE = np.arange(-8192, 8192) * 4  # one sample of each 14-bit step

_TO_LINEAR = {
    PCMU: np.array([_decode_mulaw(code) for code in range(256)], np.int16),
    PCMA: np.array([_decode_alaw(code) for code in range(256)], np.int16),
}
# The samples of two codes at a time, in the order of memory: half as many to look up. 256 kB each.
_TWO_CODES = np.arange(1 << 16, dtype=np.uint16).view(np.uint8).reshape(-1, 2)
_TO_PAIR = {law: table[_TWO_CODES].view(np.uint32)[:, 0] for law, table in _TO_LINEAR.items()}
# Indexed by a sample's upper 14 bits as an unsigned number: 16 kB stay in the first-level cache.
_TO_CODE = {
    law: np.roll(np.array([encode(int(s)) for s in _FINE], np.uint8), 8192)
    for law, encode in ((PCMU, _encode_mulaw), (PCMA, _encode_alaw))
}


def decode(codes: Codes, law: int) -> Linear:
    """Return the samples of G.711 codes, same shape."""
    if codes.ndim and codes.shape[-1] % 2 == 0 and codes.flags.c_contiguous:
        return _TO_PAIR[law].take(codes.view(np.uint16)).view(np.int16)
    return _TO_LINEAR[law].take(codes)


def encode(samples: Linear, law: int) -> Codes:
    """Return the G.711 codes of samples, same shape."""
    return _TO_CODE[law].take(samples.view(np.uint16) >> 2)
