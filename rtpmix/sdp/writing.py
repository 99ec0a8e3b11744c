"""Our own session descriptions: one audio stream, and the session around it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..audio.codecs import PTIME_MS, codec_of
from ..errors import UsageError
from .description import (
    Attribute,
    Connection,
    MediaDescription,
    Origin,
    RtpMap,
    SessionDescription,
)
from .security import IN_THE_CLEAR, Security
from .stream import EVENTS, Direction
from .texts import ip_literal


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalMedia:
    """Our end of the stream: where we receive, and the identity that goes into ``o=``."""

    address: str  # an IP literal
    port: int  # RTP; RTCP is on the next port
    session_id: int
    version: int
    direction: Direction = Direction.SENDRECV  # what we would like
    security: Security = IN_THE_CLEAR

    def __post_init__(self) -> None:
        if ip_literal(self.address) is None:
            raise UsageError(f"media address {self.address!r} must be an IP address, not a name")
        if not 1 <= self.port <= 65_535:
            raise UsageError(f"media port {self.port} must be 1 to 65535")

    def revised(self, direction: Direction | None = None) -> LocalMedia:
        """Return the next revision: each version is one above the last (RFC 3264 section 8)."""
        return replace(self, version=self.version + 1, direction=direction or self.direction)


def write_audio(
    local: LocalMedia,
    direction: Direction,
    formats: list[RtpMap],
    ptime_ms: int,
    mux: bool,
    protocol: str,
    more: list[Attribute],
) -> MediaDescription:
    """Write our audio stream; ``more`` is what is said about keys."""
    attributes: list[Attribute] = []
    for mapping in formats:
        # Static numbers get an rtpmap too (RFC 3264 section 5.1, SHOULD).
        codec = codec_of(mapping.encoding, mapping.clock_hz, mapping.channels)
        text = str(mapping).replace(EVENTS, EVENTS.lower()).replace("OPUS", "opus")
        attributes.append(Attribute("rtpmap", text))
        if codec is not None and codec.fmtp:
            attributes.append(Attribute("fmtp", f"{mapping.payload_type} {codec.fmtp}"))
        if mapping is formats[0] and codec is not None and codec.packet_ms < PTIME_MS:
            ptime_ms = min(ptime_ms, codec.packet_ms)
        if mapping.encoding == EVENTS:
            attributes.append(Attribute("fmtp", f"{mapping.payload_type} 0-15"))
    attributes.append(Attribute("ptime", str(ptime_ms)))
    attributes.append(Attribute(direction.value))
    if mux:
        attributes.append(Attribute("rtcp-mux"))
    attributes += more
    numbers = tuple(str(mapping.payload_type) for mapping in formats)
    return MediaDescription("audio", local.port, protocol, numbers, attributes=tuple(attributes))


def describe(
    local: LocalMedia,
    media: list[MediaDescription],
    times: tuple[tuple[str, str], ...] = (("t", "0 0"),),
    session: tuple[Attribute, ...] = (),
) -> SessionDescription:
    """Write our description; an answer repeats the offer's ``t=`` (RFC 3264 section 6)."""
    return SessionDescription(
        origin=Origin(local.session_id, local.version, local.address),
        connection=Connection(local.address),
        media=tuple(media),
        times=times,
        attributes=session,
    )
