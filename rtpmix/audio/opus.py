"""Opus through libopus itself: PyAV can neither conceal a loss nor read forward error correction.

The library is the system's, or the one that PyAV's wheel brings along. Calls release the GIL.
Everything here is mono at 48 kHz: the decoder folds stereo.

References
----------
RFC 6716 section 4.4; RFC 7587 sections 3 and 4
"""

from __future__ import annotations

import ctypes
import ctypes.util
import importlib.util
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import UsageError
from .codecs import OpusWishes

RATE_HZ = 48000
MOST_SAMPLES = 5760  # 120 ms: the longest packet there is
MOST_OCTETS = 1275
BITRATE = 32_000
COMPLEXITY = 5
HUSH_MEAN_SQUARE = 32**2  # -60 dBov: quieter than the noise of any microphone in use
HUSH_FRAMES = 10  # 200 ms of it before packets may stop
EXPECTED_LOSS = 10  # per cent: how much of the bit rate goes to error correction

_VOIP = 2048
_SET_BITRATE, _SET_COMPLEXITY, _SET_FEC = 4002, 4010, 4012
_SET_LOSS, _SET_DTX, _SET_MAX_BANDWIDTH = 4014, 4016, 4004
_BANDWIDTHS = ((8000, 1101), (12000, 1102), (16000, 1103), (24000, 1104))  # up to a rate

Linear = NDArray[np.int16]
Numbers = NDArray[np.int64]


def _candidates() -> list[str]:
    found = ctypes.util.find_library("opus")
    names = [found] if found else []
    spec = importlib.util.find_spec("av")
    if spec is not None and spec.origin is not None:
        beside = Path(spec.origin).parent
        for folder in (beside.parent / "av.libs", beside / ".dylibs", beside):
            names += [str(path) for path in sorted(folder.glob("libopus*"))]
            names += [str(path) for path in sorted(folder.glob("opus*.dll"))]
    return names


@lru_cache(maxsize=1)
def _library() -> ctypes.CDLL | None:
    for name in _candidates():
        try:
            library = ctypes.CDLL(name)
        except OSError:
            continue
        number, pointer = ctypes.c_int, ctypes.c_void_p
        library.opus_encoder_create.restype = pointer
        library.opus_encoder_create.argtypes = [ctypes.c_int32, number, number, pointer]
        library.opus_decoder_create.restype = pointer
        library.opus_decoder_create.argtypes = [ctypes.c_int32, number, pointer]
        library.opus_encoder_destroy.argtypes = [pointer]
        library.opus_decoder_destroy.argtypes = [pointer]
        library.opus_encode.restype = ctypes.c_int32
        library.opus_encode.argtypes = [pointer, pointer, number, pointer, ctypes.c_int32]
        library.opus_decode.restype = number
        library.opus_decode.argtypes = [
            pointer, ctypes.c_char_p, ctypes.c_int32, pointer, number, number,
        ]  # fmt: skip
        library.opus_packet_get_nb_samples.restype = number
        library.opus_packet_get_nb_samples.argtypes = [
            ctypes.c_char_p, ctypes.c_int32, ctypes.c_int32,
        ]  # fmt: skip
        return library
    return None


def is_available() -> bool:
    """Whether there is a libopus on this machine."""
    return _library() is not None


def _loaded() -> ctypes.CDLL:
    library = _library()
    if library is None:
        raise UsageError(
            "no libopus: install it (Debian: libopus0), or pip install 'rtpmix[codecs]'"
        )
    return library


def _samples_by_first_octet() -> Numbers:
    """RFC 6716 section 3.1: configurations 0 to 11 are SILK, to 15 hybrid, to 31 CELT."""
    silk, hybrid, celt = (480, 960, 1920, 2880), (480, 960), (120, 240, 480, 960)
    frames = silk * 3 + hybrid * 2 + celt * 4
    counts = (1, 2, 2, 0)  # code 3 tells the number of frames in the next octet
    return np.array([frames[toc >> 3] * counts[toc & 3] for toc in range(256)], np.int64)


# By the first octet of a packet: samples at 48 kHz; 0 where that octet alone does not tell.
SAMPLES = _samples_by_first_octet()


class OpusEncoder:
    """From 48 kHz mono to packets, one a frame."""

    def __init__(self, wishes: OpusWishes) -> None:
        self._library = library = _loaded()
        error = ctypes.c_int()
        self._state = library.opus_encoder_create(RATE_HZ, 1, _VOIP, ctypes.byref(error))
        if error.value or not self._state:
            raise MemoryError(f"opus_encoder_create: error {error.value}")
        self._out = ctypes.create_string_buffer(MOST_OCTETS)
        bitrate = min(BITRATE, wishes.bitrate or BITRATE)
        settings = [
            (_SET_BITRATE, bitrate),
            (_SET_COMPLEXITY, COMPLEXITY),
            (_SET_FEC, int(wishes.fec)),
            (_SET_LOSS, EXPECTED_LOSS if wishes.fec else 0),
            (_SET_DTX, 0),
        ]
        settings += [
            (_SET_MAX_BANDWIDTH, code)
            for rate, code in reversed(_BANDWIDTHS)
            if wishes.playback_hz <= rate
        ][-1:]
        for request, value in settings:
            self._set(request, value)
        self._dtx, self._silent = wishes.dtx, 0  # frames in a row

    def _set(self, request: int, value: int) -> None:
        self._library.opus_encoder_ctl(
            ctypes.c_void_p(self._state), ctypes.c_int(request), ctypes.c_int32(value)
        )

    def _look_for_silence(self, samples: Linear) -> None:
        """Let the encoder leave packets out in silence only.

        Left to itself it takes a steady tone for noise, and leaves that out too.
        """
        exact = samples.astype(np.float64)
        silent = float(exact @ exact) < HUSH_MEAN_SQUARE * len(samples)
        before = self._silent > HUSH_FRAMES
        self._silent = self._silent + 1 if silent else 0
        if before != (self._silent > HUSH_FRAMES):
            self._set(_SET_DTX, int(not before))

    def encode(self, frame: Linear) -> list[bytes]:
        """Return the packet of a frame; none where the peer need not be told of silence."""
        samples = np.ascontiguousarray(frame, np.int16)
        if self._dtx:
            self._look_for_silence(samples)
        size = self._library.opus_encode(
            self._state, samples.ctypes.data, len(samples), self._out, MOST_OCTETS
        )
        if size < 0:
            raise ValueError(f"opus_encode: error {size} for {len(samples)} samples")
        # RFC 6716 section 2.1.9: a packet of at most two octets need not be sent (DTX).
        return [ctypes.string_at(self._out, size)] if size > 2 else []

    def __del__(self) -> None:
        state, self._state = getattr(self, "_state", None), None
        if state:
            self._library.opus_encoder_destroy(state)


class OpusDecoder:
    """From packets to 48 kHz mono."""

    has_concealment = True

    def __init__(self) -> None:
        self._library = library = _loaded()
        error = ctypes.c_int()
        self._state = library.opus_decoder_create(RATE_HZ, 1, ctypes.byref(error))
        if error.value or not self._state:
            raise MemoryError(f"opus_decoder_create: error {error.value}")
        self._out = np.zeros(MOST_SAMPLES, np.int16)

    def samples(self, payload: bytes) -> int:
        """Return how many samples a packet holds; 0 for none that can be read."""
        count = self._library.opus_packet_get_nb_samples(payload, len(payload), RATE_HZ)
        return count if 0 < count <= MOST_SAMPLES else 0

    def decode(self, payload: bytes) -> Linear | None:
        """Return the samples of a packet; None when it can't be read."""
        return self._decode(payload, MOST_SAMPLES, fec=False)

    def decode_into(self, payload: bytes, out: Linear) -> bool:
        """Write the samples of a packet that fills ``out``; False, when it can't be read."""
        count = self._library.opus_decode(
            self._state, payload, len(payload), out.ctypes.data, len(out), 0
        )
        return bool(count == len(out))

    def recover(self, following: bytes, samples: int) -> Linear | None:
        """Return what came before a packet, out of its error correction, or else concealed."""
        return self._decode(following, samples, fec=True)

    def conceal(self, samples: int) -> Linear | None:
        """Return what might have come."""
        return self._decode(None, samples, fec=False)

    def _decode(self, payload: bytes | None, samples: int, *, fec: bool) -> Linear | None:
        size = len(payload) if payload is not None else 0
        out = self._out.ctypes.data
        count = self._library.opus_decode(self._state, payload, size, out, samples, int(fec))
        return self._out[:count].copy() if count > 0 else None

    def __del__(self) -> None:
        state, self._state = getattr(self, "_state", None), None
        if state:
            self._library.opus_decoder_destroy(state)
