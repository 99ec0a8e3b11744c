"""SIP requests and responses: reading, building and writing.

A message is read in one pass: the head is decoded once and cut into lines, and then every header
that a user agent relies on is parsed strictly and kept, so that the accessors of a message that
`parse_message` returned never raise. Everything else stays text.

References
----------
RFC 3261 sections 7, 18.3, 20 and 25; RFC 4475
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

from ..errors import SipParseError, UsageError
from .grammar import ENCODING_ERRORS, is_call_id, is_token, parse_number
from .headers import CSeq, Headers, NameAddr, Via, parse_name_addr_list, parse_via_list
from .reasons import REASONS
from .uri import OpaqueUri, SipUri, parse_uri

__all__ = [
    "REASONS",
    "MessageError",
    "Request",
    "Response",
    "mark_received",
    "parse_message",
    "respond",
]

MAX_MESSAGE: Final = 65535  # bytes, RFC 3261 section 18.1.1
MAX_HEADER_LINES: Final = 256
MAX_LINE: Final = 8192  # characters, after unfolding
MAX_VIAS: Final = 100  # more hops than Max-Forwards' usual 70
MAX_DELTA_SECONDS: Final = 2**32 - 1
MALFORMED_EXPIRES: Final = 3600  # seconds; RFC 3261 sections 10.2.1.1 and 20.19

_FOLD = re.compile(r"\r\n[ \t]++")
_BARE_NUL = re.compile(r"(?<!\\)\x00")
_REQUEST_URI = re.compile(r"[^\x00-\x20\x7f<>\"]++")
_LINE_BREAKING = re.compile("[\r\n\x00]")


class MessageError(SipParseError):
    """A message that can't be taken.

    Parameters
    ----------
    partial
        The request as far as it could be read, when `respond` can answer it with `status_hint`;
        None when it can only be dropped. The accessors of a partial request may raise
        `SipParseError`.
    """

    def __init__(
        self, message: str, *, status_hint: int | None = None, partial: Request | None = None
    ) -> None:
        super().__init__(message, status_hint=status_hint)
        self.partial = partial


class Message:
    """What requests and responses share. Typed accessors raise `SipParseError` for a header that
    is missing or malformed, which can't be in a message that `parse_message` returned."""

    __slots__ = ("body", "headers")

    def __init__(self, headers: Headers, body: bytes) -> None:
        self.headers = headers
        self.body = body

    @property
    def via(self) -> Via:
        """The topmost Via."""
        return self.headers.typed("Via", _read_vias)[0]

    @property
    def vias(self) -> list[Via]:
        """All Vias, topmost first."""
        return list(self.headers.typed("Via", _read_vias))

    @property
    def from_(self) -> NameAddr:
        """The From header."""
        return self.headers.typed("From", _read_from)

    @property
    def to(self) -> NameAddr:
        """The To header."""
        return self.headers.typed("To", _read_to)

    @property
    def call_id(self) -> str:
        """The Call-ID, compared byte by byte."""
        return self.headers.typed("Call-ID", _read_call_id)

    @property
    def cseq(self) -> CSeq:
        """The CSeq header."""
        return self.headers.typed("CSeq", _read_cseq)

    @property
    def contacts(self) -> list[NameAddr]:
        """All contacts; empty for ``Contact: *``, see `contact_is_star`."""
        return list(self.headers.typed("Contact", _read_contacts))

    @property
    def contact_is_star(self) -> bool:
        """Whether the one Contact is ``*`` (RFC 3261 section 10.2.2)."""
        return self.headers.get("Contact") == "*"

    @property
    def routes(self) -> list[NameAddr]:
        """The Route headers, next hop first."""
        return list(self.headers.typed("Route", _read_name_addrs))

    @property
    def record_routes(self) -> list[NameAddr]:
        """The Record-Route headers, topmost first."""
        return list(self.headers.typed("Record-Route", _read_name_addrs))

    @property
    def max_forwards(self) -> int | None:
        """Hops left, 0 to 255; None where absent."""
        return self.headers.typed("Max-Forwards", _read_max_forwards)

    @property
    def expires(self) -> int | None:
        """Seconds; None where absent. A malformed value counts as 3600, a huge one is cut."""
        return self.headers.typed("Expires", _read_expires)

    @property
    def content_type(self) -> str | None:
        """The body's media type in lower case without its parameters, such as
        "application/sdp"; None where absent."""
        return self.headers.typed("Content-Type", _read_content_type)

    @property
    def require(self) -> list[str]:
        """Option tags that the peer demands."""
        return self.headers.get_all("Require")

    @property
    def supported(self) -> list[str]:
        """Option tags that the peer knows."""
        return self.headers.get_all("Supported")

    @property
    def allow(self) -> list[str]:
        """Methods that the peer takes."""
        return self.headers.get_all("Allow")

    def _to_bytes(self, start_line: str) -> bytes:
        lines = [start_line]
        for name, value in self.headers.items():
            if name != "Content-Length":
                lines.append(f"{name}: {value}")
        lines.append(f"Content-Length: {len(self.body)}\r\n\r\n")
        return "\r\n".join(lines).encode("utf-8", ENCODING_ERRORS) + self.body


class Request(Message):
    """A SIP request. `uri` is the Request-URI as text, `request_uri` the same parsed."""

    __slots__ = ("_request_uri", "method", "uri")

    def __init__(self, method: str, uri: str, headers: Headers, body: bytes = b"") -> None:
        super().__init__(headers, body)
        self.method = method
        self.uri = uri
        self._request_uri: SipUri | OpaqueUri | None = None

    @classmethod
    def create(
        cls,
        method: str,
        uri: str | SipUri | OpaqueUri,
        headers: Iterable[tuple[str, str]],
        body: bytes = b"",
        content_type: str | None = None,
    ) -> Request:
        """Build a request; Content-Length is added. `UsageError` for what can't be sent."""
        if not is_token(method):
            raise UsageError(f"{method!r} is not a method: use a token of RFC 3261 section 25.1")
        uri = str(uri)
        if _REQUEST_URI.fullmatch(uri) is None or not uri.isascii():
            raise UsageError(f"{uri!r} is not a Request-URI: escape what RFC 3261 does not allow")
        return cls(method, uri, _headers(headers, body, content_type), body)

    @property
    def request_uri(self) -> SipUri | OpaqueUri:
        """The Request-URI, parsed."""
        if self._request_uri is None:
            self._request_uri = parse_uri(self.uri)
        return self._request_uri

    def to_bytes(self) -> bytes:
        """Write the message; Content-Length is that of the body."""
        return self._to_bytes(f"{self.method} {self.uri} SIP/2.0")

    def __repr__(self) -> str:
        return f"<Request {self.method}>"


class Response(Message):
    """A SIP response."""

    __slots__ = ("reason", "status")

    def __init__(self, status: int, reason: str, headers: Headers, body: bytes = b"") -> None:
        super().__init__(headers, body)
        self.status = status
        self.reason = reason

    @classmethod
    def create(
        cls,
        status: int,
        reason: str | None,
        headers: Iterable[tuple[str, str]],
        body: bytes = b"",
        content_type: str | None = None,
    ) -> Response:
        """Build a response; Content-Length is added. `UsageError` for what can't be sent."""
        reason = _checked_status(status, reason)
        return cls(status, reason, _headers(headers, body, content_type), body)

    def to_bytes(self) -> bytes:
        """Write the message; Content-Length is that of the body."""
        return self._to_bytes(f"SIP/2.0 {self.status} {self.reason}")

    def __repr__(self) -> str:
        return f"<Response {self.status}>"


def parse_message(data: bytes) -> Request | Response:
    """Read one message: a datagram, or what `StreamFramer` cut from a stream.

    Bytes after Content-Length are dropped (RFC 3261 section 18.3).

    Raises
    ------
    MessageError
        Whatever is wrong. `status_hint` is the status that answers it (400, 505, 513), None for
        a response or for what is no SIP at all; `partial` is set when an answer can be built.

    References
    ----------
    RFC 3261 sections 7, 18.3, 20, 25.1; RFC 4475
    """
    request: Request | None = None
    try:
        start_line, headers, body = _split(data)
        if start_line.startswith("SIP/"):
            response = _start_response(start_line, headers)
            _read_essentials(headers)
            response.body = _cut_body(headers, body)
            return response
        request = _start_request(start_line, headers)
        _check_request(request, start_line)
        request.body = _cut_body(headers, body)
        return request
    except SipParseError as error:
        answerable = request if request is not None and _is_answerable(request) else None
        hint = error.status_hint if answerable is not None else None
        raise MessageError(str(error), status_hint=hint, partial=answerable) from error


def respond(
    request: Request,
    status: int,
    reason: str | None = None,
    *,
    to_tag: str | None = None,
    headers: Iterable[tuple[str, str]] = (),
    body: bytes = b"",
    content_type: str | None = None,
) -> Response:
    """Build the response to a request, also to the `partial` request of a `MessageError`.

    Via, From, To, Call-ID and CSeq are copied as they came; To gets `to_tag` where it has no
    tag; Record-Route goes into what can create a dialog, Timestamp into a 100.

    References
    ----------
    RFC 3261 sections 8.2.6, 8.2.6.1, 12.1.1
    """
    copied = Headers()
    for name in ("Via", "From", "To", "Call-ID", "CSeq"):
        copied.copy_lines(request.headers, name)
    if 100 < status < 300:
        copied.copy_lines(request.headers, "Record-Route")
    elif status == 100:
        copied.copy_lines(request.headers, "Timestamp")
    if to_tag is not None and not _has_to_tag(request):
        if not is_token(to_tag):
            raise UsageError(f"{to_tag!r} is not a tag: use a token of RFC 3261 section 25.1")
        copied.append_to_value("To", f";tag={to_tag}")
    for name, value in headers:
        copied.add(name, value)
    _add_content(copied, body, content_type)
    return Response(status, _checked_status(status, reason), copied, body)


def mark_received(request: Request, source: tuple[str, int]) -> None:
    """Note in the topmost Via where a request really came from.

    ``received`` is added when the sent-by is not the source address or when ``rport`` was asked
    for, and ``rport`` is then filled in. What the peer wrote there itself is overwritten.

    References
    ----------
    RFC 3261 section 18.2.1; RFC 3581 section 4
    """
    via = request.via
    asked = via.rport is not None
    if asked:
        via = via.with_parameter("rport", str(source[1]))
    if asked or via.received is not None or via.host != source[0]:
        via = via.with_parameter("received", source[0])
    request.headers.set_first("Via", str(via))


def _split(data: bytes) -> tuple[str, Headers, bytes]:
    """Cut a message into its start line, its headers and what follows them."""
    if len(data) > MAX_MESSAGE:
        raise SipParseError(f"a message is longer than {MAX_MESSAGE} bytes")
    if data[:2] == b"\r\n":
        data = data.lstrip(b"\r\n")  # RFC 3261 section 7.5
    head, blank_line, body = data.partition(b"\r\n\r\n")
    if not blank_line:
        # A message may end with its last header's line where no body can follow.
        head = head.removesuffix(b"\r\n")
    breaks = head.count(b"\r\n")
    if head.count(b"\n") != breaks or head.count(b"\r") != breaks:
        raise SipParseError("a line end is not CRLF")
    if breaks > MAX_HEADER_LINES:
        raise SipParseError(f"more than {MAX_HEADER_LINES} header lines")
    text = head.decode("utf-8", ENCODING_ERRORS)
    if "\r\n " in text or "\r\n\t" in text:
        text = _FOLD.sub(" ", text)
    if "\x00" in text and _BARE_NUL.search(text):
        raise SipParseError("a NUL stands outside a quoted pair")
    start_line, *lines = text.split("\r\n")
    if len(text) > MAX_LINE and max(map(len, lines), default=0) > MAX_LINE:
        raise SipParseError(f"a header line is longer than {MAX_LINE} characters")
    if not blank_line:
        raise SipParseError("the empty line after the headers is missing")
    return start_line, Headers.from_lines(lines), body


def _start_request(line: str, headers: Headers) -> Request:
    """Make a request of its start line as far as it can be read."""
    method, _, rest = line.partition(" ")
    uri, _, version = rest.rpartition(" ")
    if not is_token(method) or not version[:4].upper() == "SIP/":
        raise SipParseError("a start line is neither a request's nor a response's")
    return Request(method, uri, headers)


def _check_request(request: Request, line: str) -> None:
    """Hold a request to RFC 3261 sections 7.1, 8.1.1 and 19.1.1 (table 1)."""
    version = line.rpartition(" ")[2]
    if version.upper() != "SIP/2.0":
        raise SipParseError("the SIP version is not 2.0", status_hint=505)
    _read_essentials(request.headers)
    if request.cseq.method != request.method:
        raise SipParseError("the CSeq names another method", status_hint=400)
    uri = request.request_uri
    if isinstance(uri, SipUri) and uri.headers:
        raise SipParseError("a Request-URI can't have headers", status_hint=400)


def _start_response(line: str, headers: Headers) -> Response:
    version, _, rest = line.partition(" ")
    code, space, reason = rest.partition(" ")
    if version != "SIP/2.0" or len(code) != 3 or not space:
        raise SipParseError("a status line is malformed")
    status = parse_number(code, maximum=699, what="a status code")
    if status < 100:
        raise SipParseError("a status code is below 100")
    return Response(status, reason, headers)


def _read_essentials(headers: Headers) -> None:
    """Parse and keep every header that has a typed accessor which can fail."""
    headers.typed("Via", _read_vias)
    headers.typed("From", _read_from)
    headers.typed("To", _read_to)
    headers.typed("Call-ID", _read_call_id)
    headers.typed("CSeq", _read_cseq)
    headers.typed("Max-Forwards", _read_max_forwards)
    headers.typed("Contact", _read_contacts)
    if "Route" in headers:
        headers.typed("Route", _read_name_addrs)
    if "Record-Route" in headers:
        headers.typed("Record-Route", _read_name_addrs)


def _cut_body(headers: Headers, body: bytes) -> bytes:
    """Cut the body to Content-Length; without one it goes on to the datagram's end."""
    length = headers.typed("Content-Length", _read_content_length)
    if length is None:
        return body
    if length > len(body):
        raise SipParseError("the body is shorter than Content-Length", status_hint=400)
    return body[:length]


def _is_answerable(request: Request) -> bool:
    """Whether a response to a broken request could reach its sender: its topmost Via is good."""
    try:
        return bool(request.via)
    except SipParseError:
        return False


def _has_to_tag(request: Request) -> bool:
    try:
        return request.to.tag is not None
    except SipParseError:
        return False


def _headers(items: Iterable[tuple[str, str]], body: bytes, content_type: str | None) -> Headers:
    headers = Headers(items)
    _add_content(headers, body, content_type)
    return headers


def _add_content(headers: Headers, body: bytes, content_type: str | None) -> None:
    if content_type is not None and body:
        headers.set("Content-Type", content_type)
    headers.set("Content-Length", str(len(body)))


def _checked_status(status: int, reason: str | None) -> str:
    if not 100 <= status <= 699:
        raise UsageError(f"{status} is not a SIP status: use 100 to 699")
    if reason is None:
        return REASONS.get(status) or REASONS.get(status // 100 * 100, "Unknown")
    if _LINE_BREAKING.search(reason):
        raise UsageError("a reason phrase holds CR, LF or NUL: remove it")
    return reason


def _single(lines: Sequence[str], name: str) -> str:
    if len(lines) != 1:
        raise SipParseError(f"{name} is {'missing' if not lines else 'repeated'}", status_hint=400)
    return lines[0]


def _read_vias(lines: Sequence[str]) -> list[Via]:
    vias = parse_via_list(lines)
    if not vias:
        raise SipParseError("Via is missing")
    if len(vias) > MAX_VIAS:
        raise SipParseError(f"more than {MAX_VIAS} Vias")
    return vias


def _read_from(lines: Sequence[str]) -> NameAddr:
    return NameAddr.parse(_single(lines, "From"))


def _read_to(lines: Sequence[str]) -> NameAddr:
    return NameAddr.parse(_single(lines, "To"))


def _read_call_id(lines: Sequence[str]) -> str:
    call_id = _single(lines, "Call-ID")
    if not is_call_id(call_id):
        raise SipParseError("the Call-ID is malformed", status_hint=400)
    return call_id


def _read_cseq(lines: Sequence[str]) -> CSeq:
    return CSeq.parse(_single(lines, "CSeq"))


def _read_contacts(lines: Sequence[str]) -> list[NameAddr]:
    if len(lines) == 1 and lines[0] == "*":
        return []
    return parse_name_addr_list(lines)


def _read_name_addrs(lines: Sequence[str]) -> list[NameAddr]:
    return parse_name_addr_list(lines)


def _read_max_forwards(lines: Sequence[str]) -> int | None:
    if not lines:
        return None
    return parse_number(_single(lines, "Max-Forwards"), maximum=255, what="Max-Forwards")


def _read_content_length(lines: Sequence[str]) -> int | None:
    if not lines:
        return None
    return parse_number(_single(lines, "Content-Length"), maximum=2**32, what="Content-Length")


def _read_expires(lines: Sequence[str]) -> int | None:
    if not lines:
        return None
    text = lines[0]
    if not (text.isascii() and text.isdigit()):
        return MALFORMED_EXPIRES
    return min(int(text), MAX_DELTA_SECONDS) if len(text) < 64 else MAX_DELTA_SECONDS


def _read_content_type(lines: Sequence[str]) -> str | None:
    if not lines:
        return None
    media_type = lines[0].partition(";")[0]
    return "".join(media_type.split()).lower()
