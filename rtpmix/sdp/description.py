"""A session description as frozen values: parse what peers send, write what the grammar asks for.

The reader is lenient where nothing depends on it (bare LF, a missing ``s=`` or ``t=``, lines out of
order, line types it does not know) and strict where a guess could send media to the wrong place.
RFC 8866 section 5 has a parser ignore or reject a *description* with an unknown type letter; real
phones send such lines, so here only the *line* is set aside, in ``unknown_lines``, and never sent.

Text is UTF-8; octets that are not (``a=charset``) survive a round trip as surrogate escapes.  What
single lines hold is in `lines`.

References
----------
RFC 8866
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from ..errors import UsageError
from .lines import (
    SECRET,
    Attribute,
    Connection,
    Origin,
    RtpMap,
    is_number,
    malformed,
    number,
    parse_attribute,
    parse_rtpmap,
    wrong,
)

__all__ = [
    "SECRET",
    "Attribute",
    "Connection",
    "MediaDescription",
    "Origin",
    "RtpMap",
    "SessionDescription",
    "parse_sdp",
]

# What one description may cost. Generous for any phone, small for an attacker.
MAX_BYTES = 65_535
MAX_LINES = 512
MAX_LINE_BYTES = 4_096
MAX_MEDIA = 32
MAX_FORMATS = 128

_SESSION_OPTIONAL = frozenset("iuepbk")
_MEDIA_OPTIONAL = frozenset("ibk")
_TIME_LINES = frozenset("trz")


@dataclass(frozen=True, slots=True)
class MediaDescription:
    """One ``m=`` line and what belongs to it (RFC 8866 section 5.14).

    ``optional`` holds the ``i= b= k=`` lines as (type, value), for whoever wants them.
    """

    kind: str
    port: int
    protocol: str
    formats: tuple[str, ...]
    connection: Connection | None = None
    attributes: tuple[Attribute, ...] = ()
    port_count: int = 1
    optional: tuple[tuple[str, str], ...] = field(default=(), repr=False)  # k= is a key
    unknown_lines: tuple[tuple[str, str], ...] = field(default=(), repr=False)

    def attribute(self, name: str) -> Attribute | None:
        """Return the first attribute of that name, or None."""
        return _find(self.attributes, name)

    def payload_types(self) -> tuple[int, ...]:
        """Return the formats that are RTP payload types, in order, each once."""
        numbers = (int(text) for text in self.formats if is_number(text, 3))
        return tuple(dict.fromkeys(each for each in numbers if each <= 127))

    def rtpmaps(self) -> dict[int, RtpMap]:
        """Return the readable ``a=rtpmap`` lines by payload type; the first one of a number wins.

        A line that can't be read maps nothing: it must not cost the stream its other formats.
        """
        found: dict[int, RtpMap] = {}
        for attribute in self.attributes:
            if attribute.name == "rtpmap" and (mapping := parse_rtpmap(attribute.value or "")):
                found.setdefault(mapping.payload_type, mapping)
        return found

    def __str__(self) -> str:
        ports = str(self.port) if self.port_count == 1 else f"{self.port}/{self.port_count}"
        return f"{self.kind} {ports} {self.protocol} {' '.join(self.formats)}"


@dataclass(frozen=True, slots=True)
class SessionDescription:
    """A whole description (RFC 8866 section 5).

    ``times`` holds the ``t= r= z=`` lines and ``optional`` the ``i= u= e= p= b= k=`` lines, as
    (type, value) in the order received.
    """

    origin: Origin
    connection: Connection | None = None
    media: tuple[MediaDescription, ...] = ()
    attributes: tuple[Attribute, ...] = ()
    name: str = "-"
    times: tuple[tuple[str, str], ...] = (("t", "0 0"),)
    optional: tuple[tuple[str, str], ...] = field(default=(), repr=False)  # k= is a key
    unknown_lines: tuple[tuple[str, str], ...] = field(default=(), repr=False)

    def attribute(self, name: str) -> Attribute | None:
        """Return the first session-level attribute of that name, or None."""
        return _find(self.attributes, name)

    def lines(self) -> Iterator[tuple[str, str]]:
        """Give every line as (type, value), in the order of RFC 8866 section 9."""
        yield "v", "0"
        yield "o", str(self.origin)
        yield "s", self.name or "-"
        yield from _ordered(self.optional, "iuep")
        if self.connection is not None:
            yield "c", str(self.connection)
        yield from _ordered(self.optional, "b")
        yield from self.times
        yield from _ordered(self.optional, "k")
        yield from (("a", str(attribute)) for attribute in self.attributes)
        for media in self.media:
            yield "m", str(media)
            yield from _ordered(media.optional, "i")
            if media.connection is not None:
                yield "c", str(media.connection)
            yield from _ordered(media.optional, "bk")
            yield from (("a", str(attribute)) for attribute in media.attributes)

    def to_bytes(self) -> bytes:
        """Serialise; `UsageError` when a value holds CR, LF or NUL, which would forge a line."""
        text: list[str] = []
        for kind, value in self.lines():
            if not _is_one_line(value):
                raise UsageError(f"a session description can't hold a line break: {kind}={value!r}")
            text.append(f"{kind}={value}\r\n")
        return "".join(text).encode("utf-8", "surrogateescape")


def parse_sdp(data: bytes) -> SessionDescription:
    """Read a session description.

    Raises
    ------
    SdpError
        With `status_hint` 400: not SDP, a line that media would depend on is malformed, or one of
        the module's limits is exceeded.

    References
    ----------
    RFC 8866 sections 5 and 9
    """
    reader = _Reader()
    for kind, value in _split_lines(data):
        reader.take(kind, value)
    return reader.finish()


class _Reader:
    """Collects the lines of one description; the session level first, then one media at a time."""

    def __init__(self) -> None:
        self._seen_version = False
        self._origin: Origin | None = None
        self._name: str | None = None
        self._times: list[tuple[str, str]] = []
        self._session = _Level()
        self._media: list[tuple[MediaDescription, _Level]] = []

    def take(self, kind: str, value: str) -> None:
        if not self._seen_version:
            if (kind, value.strip()) != ("v", "0"):
                raise wrong("does not start with v=0")
            self._seen_version = True
        elif kind == "m":
            if len(self._media) == MAX_MEDIA:
                raise wrong(f"has more than {MAX_MEDIA} m= lines")
            self._media.append((_parse_media(value), _Level()))
        elif self._media:
            if kind in "vos":
                raise wrong(f"has {kind}= after m=")
            self._media[-1][1].take(kind, value, _MEDIA_OPTIONAL)
        elif kind in "vos":
            self._take_identity(kind, value)
        elif kind in _TIME_LINES:
            self._times.append((kind, value))
        else:
            self._session.take(kind, value, _SESSION_OPTIONAL)

    def _take_identity(self, kind: str, value: str) -> None:
        if kind == "o" and self._origin is None:
            self._origin = Origin.parse(value)
        elif kind == "s" and self._name is None:
            self._name = value
        else:
            raise wrong(f"has two {kind}= lines")

    def finish(self) -> SessionDescription:
        if self._origin is None:
            raise wrong("has no o= line")
        session = self._session
        return SessionDescription(
            origin=self._origin,
            connection=session.connection,
            media=tuple(level.complete(media) for media, level in self._media),
            attributes=tuple(session.attributes),
            name=self._name or "-",
            times=tuple(self._times) or (("t", "0 0"),),
            optional=tuple(session.optional),
            unknown_lines=tuple(session.unknown),
        )


class _Level:
    """The lines that may stand at session level and in a media description alike."""

    def __init__(self) -> None:
        self.connection: Connection | None = None
        self.attributes: list[Attribute] = []
        self.optional: list[tuple[str, str]] = []
        self.unknown: list[tuple[str, str]] = []

    def take(self, kind: str, value: str, optional: frozenset[str]) -> None:
        if kind == "c":
            # Several c= lines describe layered multicast (RFC 8866 section 5.7): the base counts.
            self.connection = self.connection or Connection.parse(value)
        elif kind == "a" and (attribute := parse_attribute(value)):
            self.attributes.append(attribute)
        elif kind in optional:
            self.optional.append((kind, value))
        else:
            self.unknown.append((kind, value))

    def complete(self, media: MediaDescription) -> MediaDescription:
        return MediaDescription(
            media.kind,
            media.port,
            media.protocol,
            media.formats,
            connection=self.connection,
            attributes=tuple(self.attributes),
            port_count=media.port_count,
            optional=tuple(self.optional),
            unknown_lines=tuple(self.unknown),
        )


def _split_lines(data: bytes) -> Iterator[tuple[str, str]]:
    if len(data) > MAX_BYTES:
        raise wrong(f"is longer than {MAX_BYTES} bytes")
    if data.count(b"\n") > MAX_LINES:
        raise wrong(f"has more than {MAX_LINES} lines")
    if b"\0" in data:
        raise wrong("holds a NUL")
    # RFC 8866 section 9: parsers SHOULD accept a bare LF as the end of a line.
    for raw in data.split(b"\n"):
        line = raw.removesuffix(b"\r")
        if len(line) > MAX_LINE_BYTES:
            raise wrong(f"has a line of more than {MAX_LINE_BYTES} bytes")
        if b"\r" in line:
            raise wrong("holds a CR inside a line")
        if not line:
            continue
        if line[1:2] != b"=" or not line[:1].isalpha():
            raise wrong("has a line that is not type=value")
        yield chr(line[0]), line[2:].decode("utf-8", "surrogateescape")


def _parse_media(value: str) -> MediaDescription:
    fields = value.split()
    if len(fields) < 4:
        raise malformed("m=")
    kind, ports, protocol, *formats = fields
    if len(formats) > MAX_FORMATS:
        raise wrong(f"has an m= line with more than {MAX_FORMATS} formats")
    port, slash, count = ports.partition("/")
    port_number = number(port, "m=")
    port_count = number(count, "m=") if slash else 1
    if port_number > 65_535 or not 1 <= port_count <= 65_535:
        raise malformed("m=")
    return MediaDescription(kind, port_number, protocol, tuple(formats), port_count=port_count)


def _ordered(lines: Iterable[tuple[str, str]], kinds: str) -> list[tuple[str, str]]:
    return sorted(
        (line for line in lines if line[0] in kinds), key=lambda line: kinds.index(line[0])
    )


def _find(attributes: tuple[Attribute, ...], name: str) -> Attribute | None:
    return next((attribute for attribute in attributes if attribute.name == name), None)


def _is_one_line(value: str) -> bool:
    return "\r" not in value and "\n" not in value and "\0" not in value
