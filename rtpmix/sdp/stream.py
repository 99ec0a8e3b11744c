"""One party's audio stream, read out of its description: codecs, address, direction.

References
----------
RFC 3551 section 6, RFC 4733 section 2.4, RFC 3605, RFC 5761 section 5.1.1, RFC 8866 section 6.7
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from ..audio.codecs import CODECS, Codec, codec_of
from ..errors import SdpError
from .description import (
    Connection,
    MediaDescription,
    RtpMap,
    SessionDescription,
)
from .texts import ip_literal

Address = tuple[str, int]

CLOCK_HZ = 8000
MAX_PTIME_MS = 1_000
MAX_FMTP = 256  # characters that are kept
EVENT_CLOCKS_HZ = frozenset(codec.clock_hz for codec in CODECS.values())
EVENTS = "TELEPHONE-EVENT"  # RFC 4733 section 2.4.1; upper case as in RtpMap

COMFORT_NOISE = RtpMap(13, "CN", CLOCK_HZ)  # RFC 3389 section 5.1

_STATIC_RTPMAPS = {
    codec.payload_type: RtpMap(codec.payload_type, codec.encoding, codec.clock_hz, codec.channels)
    for codec in CODECS.values()
    if codec.payload_type is not None  # RFC 3551 table 4
} | {COMFORT_NOISE.payload_type: COMFORT_NOISE}
# RFC 5761 section 4: with the marker bit set, these read as RTCP packet types.
RTCP_LOOKALIKES = range(64, 96)


class Direction(Enum):
    """Which way media flows, seen by the party that says it (RFC 8866 section 6.7)."""

    SENDRECV = "sendrecv"
    SENDONLY = "sendonly"
    RECVONLY = "recvonly"
    INACTIVE = "inactive"

    @classmethod
    def of(cls, *, sends: bool, receives: bool) -> Direction:
        """Return the direction of a party that sends and receives so."""
        if sends:
            return cls.SENDRECV if receives else cls.SENDONLY
        return cls.RECVONLY if receives else cls.INACTIVE

    @property
    def sends(self) -> bool:
        """True where this party sends media."""
        return self in (Direction.SENDRECV, Direction.SENDONLY)

    @property
    def receives(self) -> bool:
        """True where this party takes media."""
        return self in (Direction.SENDRECV, Direction.RECVONLY)

    @property
    def reversed(self) -> Direction:
        """The same flow seen from the other end."""
        return Direction.of(sends=self.receives, receives=self.sends)


_DIRECTION_NAMES = frozenset(direction.value for direction in Direction)


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioStream:
    """What a peer says about one audio stream, in its own view."""

    codecs: tuple[RtpMap, ...]  # those that we know, in the peer's order of preference
    events: tuple[RtpMap, ...]  # telephone events, each clock once
    fmtps: tuple[tuple[int, str], ...]  # payload type, what is said of it
    numbers: tuple[RtpMap, ...]  # what every payload type number stands for
    takes_noise: bool  # comfort noise, under its static number
    direction: Direction  # as it says; see also `is_black_hole`
    ptime_ms: int | None
    connection: Connection
    remote: Address | None
    remote_rtcp: Address | None
    rtcp_mux: bool
    reduced_rtcp: bool  # a=rtcp-rsize, RFC 5506

    @property
    def is_black_hole(self) -> bool:
        """True for ``c=0.0.0.0``, the hold of RFC 2543: nothing may be sent (RFC 3264 8.4)."""
        ip = self.connection.ip
        return ip is not None and ip.is_unspecified

    def codec(self, names: tuple[str, ...]) -> RtpMap | None:
        """Return the first of `names` that the peer knows, or None."""
        known: dict[str, RtpMap] = {}
        for mapping in self.codecs:
            known.setdefault(named(mapping).name, mapping)
        return next((known[name] for name in names if name in known), None)

    def first_codec(self, names: set[str]) -> RtpMap | None:
        """Return the peer's most preferred codec out of `names`, or None."""
        return next((each for each in self.codecs if named(each).name in names), None)

    def events_of(self, clock_hz: int) -> RtpMap | None:
        """Return the events for audio of this clock (RFC 4733 section 2.1), else of 8000 Hz."""
        by_clock = {mapping.clock_hz: mapping for mapping in self.events}
        return by_clock.get(clock_hz) or by_clock.get(CLOCK_HZ)

    def fmtp(self, payload_type: int) -> str:
        """Return what is said of a payload type; "" for nothing."""
        return dict(self.fmtps).get(payload_type, "")


def named(mapping: RtpMap) -> Codec:
    """Return the codec of an entry of `AudioStream.codecs`."""
    codec = codec_of(mapping.encoding, mapping.clock_hz, mapping.channels)
    assert codec is not None, "an AudioStream has known codecs only"
    return codec


def read_audio(session: SessionDescription, media: MediaDescription) -> AudioStream:
    """Read an audio stream; what can't be understood about it is left out.

    Raises
    ------
    SdpError
        There is no ``c=`` for the stream, `status_hint` 400 (RFC 8866 section 5.7).
    """
    connection, remote = _read_connection(session, media)
    mux = media.attribute("rtcp-mux") is not None
    codecs, events = _read_formats(media)
    return AudioStream(
        codecs=codecs,
        events=events,
        fmtps=_read_fmtps(media),
        numbers=tuple(media.rtpmaps().values()),
        takes_noise=_takes_noise(media),
        direction=_read_direction(session, media),
        ptime_ms=_read_ptime(session, media),
        connection=connection,
        remote=remote,
        remote_rtcp=_read_rtcp(remote[0], media) if remote is not None else None,
        rtcp_mux=mux,
        reduced_rtcp=media.attribute("rtcp-rsize") is not None,
    )


def remote_of(session: SessionDescription, media: MediaDescription) -> tuple[str, int] | None:
    """Return the address that a stream's RTP comes from, as `read_audio` finds it.

    Raises
    ------
    SdpError
        There is no ``c=`` for the stream, `status_hint` 400 (RFC 8866 section 5.7).
    """
    return _read_connection(session, media)[1]


def _read_connection(
    session: SessionDescription, media: MediaDescription
) -> tuple[Connection, tuple[str, int] | None]:
    connection = media.connection or session.connection
    if connection is None:
        raise SdpError("the audio stream has no c= line", status_hint=400)
    ip = connection.ip
    usable = ip is not None and not ip.is_unspecified
    return connection, (str(ip), media.port) if usable else None


def _read_formats(media: MediaDescription) -> tuple[tuple[RtpMap, ...], tuple[RtpMap, ...]]:
    maps = media.rtpmaps()
    codecs: list[RtpMap] = []
    events: dict[int, RtpMap] = {}
    for number in media.payload_types():
        mapping = maps.get(number) or _STATIC_RTPMAPS.get(number)
        if mapping is None:
            continue
        static = _STATIC_RTPMAPS.get(number)
        if number in RTCP_LOOKALIKES or (static and static.encoding != mapping.encoding):
            continue  # the profile's own numbers can't be given another meaning
        if codec_of(mapping.encoding, mapping.clock_hz, mapping.channels) is not None:
            codecs.append(mapping)
        elif mapping.encoding == EVENTS and mapping.clock_hz in EVENT_CLOCKS_HZ:
            events.setdefault(mapping.clock_hz, mapping)
    return tuple(codecs), tuple(events.values())


def _read_fmtps(media: MediaDescription) -> tuple[tuple[int, str], ...]:
    found: dict[int, str] = {}
    for attribute in media.attributes:
        if attribute.name == "fmtp" and attribute.value is not None:
            number, _, text = attribute.value.strip().partition(" ")
            if number.isascii() and number.isdigit() and len(number) <= 3:
                found.setdefault(int(number), text.strip()[:MAX_FMTP])
    return tuple(found.items())


def _takes_noise(media: MediaDescription) -> bool:
    number = COMFORT_NOISE.payload_type
    mapping = media.rtpmaps().get(number, COMFORT_NOISE)
    return number in media.payload_types() and mapping == COMFORT_NOISE


def _read_direction(session: SessionDescription, media: MediaDescription) -> Direction:
    for attributes in (media.attributes, session.attributes):
        for attribute in attributes:
            if attribute.value is None and attribute.name in _DIRECTION_NAMES:
                return Direction(attribute.name)
    return Direction.SENDRECV


def _read_ptime(session: SessionDescription, media: MediaDescription) -> int | None:
    wanted, most = (
        _milliseconds(media, name) or _milliseconds(session, name) for name in ("ptime", "maxptime")
    )
    if wanted is None or most is None:
        return wanted
    return min(wanted, most)


def _milliseconds(level: SessionDescription | MediaDescription, name: str) -> int | None:
    attribute = level.attribute(name)
    text = (attribute.value or "").strip() if attribute else ""
    if not (text.isascii() and text.isdigit() and len(text) <= 4):
        return None
    return int(text) if 1 <= int(text) <= MAX_PTIME_MS else None


def _read_rtcp(ip: str, media: MediaDescription) -> Address | None:
    """Where RTCP goes: ``a=rtcp`` (RFC 3605) or the next port (RFC 3550 section 11)."""
    attribute = media.attribute("rtcp")
    fields = (attribute.value or "").split() if attribute else []
    if not fields:
        return (ip, media.port + 1) if 0 < media.port < 65_535 else None
    port = (
        int(fields[0]) if fields[0].isascii() and fields[0].isdigit() and len(fields[0]) <= 5 else 0
    )
    if not 1 <= port <= 65_535 or len(fields) not in (1, 4):
        return None
    if len(fields) == 1:
        return ip, port
    literal = ip_literal(fields[3])
    # Reports to a third machine would make us a reflector: only the stream's own address counts.
    return (ip, port) if literal is not None and str(literal) == ip else None
