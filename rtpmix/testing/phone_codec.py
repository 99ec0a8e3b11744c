"""The codec of a test phone: payloads out of what it says, samples out of what it was sent.

G.711 is computed by `audio`, apart from the mixer; the other codecs are those of the library.
"""

from __future__ import annotations

import numpy as np

from ..audio.codecs import CODECS, NARROW_HZ, Codec
from ..audio.coders import decoder_of, encoder_of
from ..audio.resample import Stream
from ..rtp.packet import RtpPacket
from ..rtp.sequence import TIMESTAMP_MODULUS, unwrap
from .audio import Samples, decode_g711, encode_g711

FRAMES_A_SECOND = 50
_NEW_STREAM_S = 10  # a jump of the timestamp that is no pause


class Mouth:
    """Makes payloads of 20 ms frames, whatever the rate of the voice."""

    def __init__(self, codec: str, fmtp: str) -> None:
        self.codec, self._fmtp = CODECS[codec], fmtp
        self._coder = None if self.codec.is_g711 else encoder_of(self.codec, fmtp)
        self._rate_hz = 0
        self._stream = Stream(NARROW_HZ, NARROW_HZ)

    def is_for(self, codec: str, fmtp: str) -> bool:
        """Whether it speaks this."""
        return (self.codec.name, self._fmtp) == (codec, fmtp)

    def say(self, samples: Samples) -> list[tuple[int, bytes]]:
        """Return the payloads of one frame, each with its place in it in units of the RTP clock."""
        rate_hz = len(samples) * FRAMES_A_SECOND
        if rate_hz != self._rate_hz:
            self._rate_hz, self._stream = rate_hz, Stream(rate_hz, self.codec.rate_hz)
        frame = self._stream.process(samples)
        if self._coder is None:
            return [(0, encode_g711(frame, self.codec.name))]
        step = self.codec.packet_ms * self.codec.clock_hz // 1000
        return [(n * step, payload) for n, payload in enumerate(self._coder.encode(frame))]


class _Ear:
    """Decodes the packets of one codec, in order, to another rate."""

    def __init__(self, codec: Codec, rate_hz: int) -> None:
        self.codec = codec
        self._coder = None if codec.is_g711 else decoder_of(codec)
        self._stream = Stream(codec.rate_hz, rate_hz)

    def hear(self, payload: bytes) -> Samples:
        """Return the samples of a payload; none where it can't be read."""
        if self._coder is None:
            samples: Samples | None = decode_g711(payload, self.codec.name)
        else:
            samples = self._coder.decode(payload)
        if samples is None or not len(samples):
            return np.zeros(0, np.int16)
        return self._stream.process(samples)


def place_by_timestamp(
    packets: list[RtpPacket], codecs: dict[int, str], rate_hz: int = NARROW_HZ
) -> Samples:
    """Return the audio of packets, each where its timestamp says, zeros between.

    A source that starts its timestamps anew, or has another clock now, is heard right after what
    was before.

    Parameters
    ----------
    codecs
        By payload type.
    """
    ears = {kind: _Ear(CODECS[name], rate_hz) for kind, name in codecs.items()}
    placed: list[tuple[int, Samples]] = []
    origin, reference, ssrc, clock_hz, end = 0, 0, -1, 0, 0
    for packet in packets:
        ear = ears[packet.payload_type]
        clock = ear.codec.clock_hz
        position = unwrap(packet.timestamp, reference, TIMESTAMP_MODULUS)
        far = abs(position - reference) > _NEW_STREAM_S * clock
        if packet.ssrc != ssrc or clock != clock_hz or far:
            ssrc, clock_hz = packet.ssrc, clock
            position = packet.timestamp
            origin = end - position * rate_hz // clock
        reference = position
        start = position * rate_hz // clock + origin
        if start < 0:
            continue  # overtaken by the first packet of all
        samples = ear.hear(packet.payload)
        placed.append((start, samples))
        end = max(end, start + len(samples))
    pcm = np.zeros(end, np.int16)
    for start, samples in placed:
        pcm[start : start + len(samples)] = samples
    return pcm
