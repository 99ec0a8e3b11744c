"""The codecs there are, as data: what each is called in SDP, its clocks, and its parameters.

The *clock* counts RTP timestamps, the *rate* samples; they differ for G.722 alone, whose clock was
given as 8000 Hz by mistake and stays so.

References
----------
RFC 3551 sections 4.5.2, 4.5.11, 4.5.14 and 6; RFC 7587 sections 4, 6.1 and 7
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

NARROW_HZ = 8000
PTIME_MS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Codec:
    """One codec.

    Attributes
    ----------
    name
        What programs call it.
    encoding
        Its name in ``a=rtpmap``, in upper case; names there are not case-sensitive.
    number
        Of its own in the arrays of the mixer; for G.711 the static payload type.
    clock_hz, channels
        As ``a=rtpmap`` has them; Opus always says two channels.
    rate_hz
        Of the samples.
    payload_type
        Its static number, or None.
    fmtp
        Said in our ``a=fmtp``: what we would like to receive.
    packet_ms
        What we put into a packet.
    """

    name: str
    encoding: str
    number: int
    clock_hz: int
    rate_hz: int
    channels: int = 1
    payload_type: int | None = None
    fmtp: str = ""
    packet_ms: int = PTIME_MS

    @property
    def is_g711(self) -> bool:
        """Whether the mixer decodes and encodes it for all legs at once."""
        return self.encoding in ("PCMU", "PCMA")

    @property
    def scale(self) -> int:
        """Units of the RTP clock in 1/8000 s."""
        return self.clock_hz // NARROW_HZ

    @property
    def frame(self) -> int:
        """Samples in 20 ms."""
        return self.rate_hz * PTIME_MS // 1000


# RFC 7587 section 7: error correction is asked for; what the peer sends is folded to mono, so that
# it may as well send that. DTX is understood, but not asked for: libopus takes steady tones for
# noise and leaves them out, and a peer's encoder would do so to ring tones and music.
_OPUS = "useinbandfec=1;stereo=0"

CODECS: Mapping[str, Codec] = {
    codec.name: codec
    for codec in (
        Codec(name="PCMU", encoding="PCMU", number=0, clock_hz=8000, rate_hz=8000, payload_type=0),
        Codec(name="PCMA", encoding="PCMA", number=8, clock_hz=8000, rate_hz=8000, payload_type=8),
        Codec(name="G722", encoding="G722", number=9, clock_hz=8000, rate_hz=16000, payload_type=9),
        Codec(name="L16/8000", encoding="L16", number=100, clock_hz=8000, rate_hz=8000),
        Codec(name="L16/16000", encoding="L16", number=101, clock_hz=16000, rate_hz=16000),
        # 20 ms are 1,920 octets, more than an Ethernet frame carries.
        Codec(
            name="L16/48000",
            encoding="L16",
            number=102,
            clock_hz=48000,
            rate_hz=48000,
            packet_ms=10,
        ),
        Codec(
            name="opus",
            encoding="OPUS",
            number=103,
            clock_hz=48000,
            rate_hz=48000,
            channels=2,
            fmtp=_OPUS,
        ),
    )
}
BY_NUMBER: Mapping[int, Codec] = {codec.number: codec for codec in CODECS.values()}


def codec_of(encoding: str, clock_hz: int, channels: int) -> Codec | None:
    """Return the codec that an ``a=rtpmap`` means; None for one that we don't know."""
    wanted = (encoding.upper(), clock_hz, channels)
    for codec in CODECS.values():
        if (codec.encoding, codec.clock_hz, codec.channels) == wanted:
            return codec
    return None


@dataclass(frozen=True, slots=True)
class OpusWishes:
    """What a peer says in its ``a=fmtp`` that it would like from us (RFC 7587 section 6.1)."""

    fec: bool = False
    dtx: bool = False
    bitrate: int = 0  # the most, in bit/s; 0: no limit told
    playback_hz: int = field(default=48000)

    @classmethod
    def parse(cls, fmtp: str) -> OpusWishes:
        """Read the parameters; what is not understood, or out of range, counts as not said."""
        said: dict[str, str] = {}
        for part in fmtp.split(";"):
            name, _, value = part.partition("=")
            said[name.strip().lower()] = value.strip()

        def number(name: str, low: int, high: int, otherwise: int) -> int:
            text = said.get(name, "")
            if not (text.isascii() and text.isdigit() and len(text) <= 7):
                return otherwise
            return int(text) if low <= int(text) <= high else otherwise

        return cls(
            fec=said.get("useinbandfec") == "1",
            dtx=said.get("usedtx") == "1",
            bitrate=number("maxaveragebitrate", 6000, 510_000, 0),
            playback_hz=number("maxplaybackrate", 8000, 48_000, 48_000),
        )
