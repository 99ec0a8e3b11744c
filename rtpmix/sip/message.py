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
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from ..errors import SipParseError, UsageError
from .fields import read_content_length, read_essentials, read_vias
from .grammar import ENCODING_ERRORS, is_token, parse_number
from .headers import Headers, Via
from .reasons import REASONS
from .request_response import Message, Request, Response, add_content, checked_status
from .uri import SipUri

__all__ = [
    "REASONS",
    "Message",
    "MessageError",
    "Request",
    "Response",
    "mark_received",
    "marked_via",
    "parse_message",
    "respond",
]

MAX_MESSAGE: Final = 65535  # bytes, RFC 3261 section 18.1.1
MAX_HEADER_LINES: Final = 256
MAX_LINE: Final = 8192  # characters, after unfolding

_SHORT: Final = 2048  # octets: a head that can be cut before its line ends are counted
_LONGEST_REMEMBERED = 128  # characters, of start lines
_BARE_NUL = re.compile(r"(?<!\\)\x00")
_SIP_VERSION = re.compile(r"SIP/[0-9]++\.[0-9]++")


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


def parse_message(data: bytes) -> Request | Response:
    """Read one message: a datagram, or what `StreamFramer` cut from a stream.

    Bytes after Content-Length are dropped (RFC 3261 section 18.3).

    Raises
    ------
    MessageError
        Whatever is wrong. `status_hint` is the status that answers it (400, 505), None for
        a response or for what is no SIP at all; `partial` is set when an answer can be built.

    References
    ----------
    RFC 3261 sections 7, 18.3, 20, 25.1; RFC 4475
    """
    request: Request | None = None
    try:
        start_line, headers, body = _split(data)
        if start_line[:4].upper() == "SIP/":
            response = _start_response(start_line, headers)
            read_essentials(headers)
            response.body = _cut_body(headers, body)
            return response
        request = _start_request(start_line, headers)
        _check_request(request, start_line)
        request.body = _cut_body(headers, body)
        return request
    except SipParseError as error:
        answerable = request if request is not None and _is_answerable(request) else None
        hint = None if request is None else error.status_hint or 400
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
    if request.session is not None:
        copied.set(*request.session.header)  # RFC 7989 section 6
    for name, value in headers:
        copied.add(name, value)
    add_content(copied, body, content_type)
    return Response(status, checked_status(status, reason), copied, body)


def mark_received(request: Request, source: tuple[str, int]) -> None:
    """Note in the topmost Via where a request really came from.

    ``received`` is added when the sent-by is not the source address or when ``rport`` was asked
    for, and ``rport`` is then filled in. What the peer wrote there itself is overwritten.

    References
    ----------
    RFC 3261 section 18.2.1; RFC 3581 section 4
    """
    first, *others = request.headers.typed("Via", read_vias)
    via = marked_via(first, source)
    if via is not first:
        request.headers.replace_first("Via", str(via), [via, *others])


def marked_via(via: Via, source: tuple[str, int]) -> Via:
    """Return a request's topmost Via with what `mark_received` notes in it."""
    quick = via.marked(*source)
    if quick is not None:
        return quick
    parameters = dict(via.parameters)
    if "rport" in parameters:
        parameters["rport"] = str(source[1])
    elif "received" not in parameters and via.host == source[0]:
        return via
    parameters["received"] = source[0]
    return Via(via.protocol, via.transport, via.host, via.port, tuple(parameters.items()))


def _split(data: bytes) -> tuple[str, Headers, bytes | None]:
    """Cut a message into its start line, its headers and what follows them."""
    if len(data) > MAX_MESSAGE:
        raise SipParseError(f"a message is longer than {MAX_MESSAGE} bytes")
    if data[:2] == b"\r\n":
        data = data.lstrip(b"\r\n")  # RFC 3261 section 7.5
    head, blank_line, body = data.partition(b"\r\n\r\n")
    if not blank_line:
        # Read on, so that a request can be told what is missing.
        head = head.removesuffix(b"\r\n")
    if len(head) > _SHORT and head.count(b"\n") > MAX_HEADER_LINES:
        # Counted first: a list of them takes memory.
        raise SipParseError(f"more than {MAX_HEADER_LINES} header lines")
    text = head.decode("utf-8", ENCODING_ERRORS)
    start_line, *lines = _cut_lines(text)
    if len(lines) > MAX_HEADER_LINES:
        raise SipParseError(f"more than {MAX_HEADER_LINES} header lines")
    if "\x00" in text and _BARE_NUL.search(text):
        raise SipParseError("a NUL stands outside a quoted pair")
    headers = Headers.from_lines(lines)
    if len(text) > MAX_LINE and headers.longest_value() > MAX_LINE:
        raise SipParseError(f"a header is longer than {MAX_LINE} characters")
    return start_line, headers, body if blank_line else None


def _cut_lines(text: str) -> list[str]:
    """Cut a head at its line ends, all of which are CRLF."""
    if len(text) <= _SHORT:
        lines = text.splitlines()  # more than twice as fast as split
        # It also cuts at CR, LF and rarer characters: then line ends are not two characters each.
        if len(text) == sum(map(len, lines)) + 2 * len(lines) - 2:
            return lines
    lines = text.split("\r\n")
    if text.count("\n") != len(lines) - 1 or text.count("\r") != len(lines) - 1:
        raise SipParseError("a line end is not CRLF")
    return lines


def _start_request(line: str, headers: Headers) -> Request:
    """Make a request of its start line as far as it can be read."""
    read = _remembered_start if len(line) <= _LONGEST_REMEMBERED else _read_start
    method, uri = read(line)
    return Request(method, uri, headers)


def _read_start(line: str) -> tuple[str, str]:
    method, _, rest = line.partition(" ")
    uri, _, version = rest.rpartition(" ")
    if not is_token(method) or (version != "SIP/2.0" and " SIP/" not in line.upper()):
        raise SipParseError("a start line is neither a request's nor a response's")
    return method, uri


_remembered_start = lru_cache(maxsize=1024)(_read_start)


def _check_request(request: Request, line: str) -> None:
    """Hold a request to RFC 3261 sections 7.1, 8.1.1 and 19.1.1 (table 1)."""
    if not line.endswith(" SIP/2.0") and not line.upper().endswith(" SIP/2.0"):
        other = _SIP_VERSION.fullmatch(line.rpartition(" ")[2].upper()) is not None
        raise SipParseError("the SIP version is not 2.0", status_hint=505 if other else 400)
    read_essentials(request.headers)
    if request.cseq.method != request.method:
        raise SipParseError("the CSeq names another method", status_hint=400)
    uri = request.request_uri
    if isinstance(uri, SipUri) and uri.headers:
        raise SipParseError("a Request-URI can't have headers", status_hint=400)


def _start_response(line: str, headers: Headers) -> Response:
    version, _, rest = line.partition(" ")
    code, space, reason = rest.partition(" ")
    if version.upper() != "SIP/2.0" or len(code) != 3 or not space:
        raise SipParseError("a status line is malformed")
    status = parse_number(code, maximum=699, what="a status code")
    if status < 100:
        raise SipParseError("a status code is below 100")
    return Response(status, reason, headers)


def _cut_body(headers: Headers, body: bytes | None) -> bytes:
    """Cut the body to Content-Length; without one it goes on to the datagram's end."""
    if body is None:
        raise SipParseError("the empty line after the headers is missing", status_hint=400)
    length = headers.typed("Content-Length", read_content_length)
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
