"""Requests and responses as objects, and how they are written."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from ..errors import UsageError
from .fields import (
    read_call_id,
    read_contacts,
    read_content_type,
    read_cseq,
    read_expires,
    read_from,
    read_max_forwards,
    read_name_addrs,
    read_to,
    read_vias,
)
from .grammar import ENCODING_ERRORS, is_token
from .headers import CSeq, Headers, NameAddr, Via
from .reasons import REASONS
from .uri import OpaqueUri, SipUri, parse_uri

if TYPE_CHECKING:
    from .session_id import SessionId

_REQUEST_URI = re.compile(r"[^\x00-\x20\x7f<>\"]++")
_LINE_BREAKING = re.compile("[\r\n\x00]")


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
        return self.headers.typed("Via", read_vias)[0]

    @property
    def vias(self) -> list[Via]:
        """All Vias, topmost first."""
        return list(self.headers.typed("Via", read_vias))

    @property
    def from_(self) -> NameAddr:
        """The From header."""
        return self.headers.typed("From", read_from)

    @property
    def to(self) -> NameAddr:
        """The To header."""
        return self.headers.typed("To", read_to)

    @property
    def call_id(self) -> str:
        """The Call-ID, compared byte by byte."""
        return self.headers.typed("Call-ID", read_call_id)

    @property
    def cseq(self) -> CSeq:
        """The CSeq header."""
        return self.headers.typed("CSeq", read_cseq)

    @property
    def contacts(self) -> list[NameAddr]:
        """All contacts; empty for ``Contact: *``, see `contact_is_star`."""
        return list(self.headers.typed("Contact", read_contacts))

    @property
    def contact_is_star(self) -> bool:
        """Whether the one Contact is ``*`` (RFC 3261 section 10.2.2)."""
        return self.headers.get("Contact") == "*"

    @property
    def routes(self) -> list[NameAddr]:
        """The Route headers, next hop first."""
        return list(self.headers.typed("Route", read_name_addrs))

    @property
    def record_routes(self) -> list[NameAddr]:
        """The Record-Route headers, topmost first."""
        return list(self.headers.typed("Record-Route", read_name_addrs))

    @property
    def max_forwards(self) -> int | None:
        """Hops left, 0 to 255; None where absent."""
        return self.headers.typed("Max-Forwards", read_max_forwards)

    @property
    def expires(self) -> int | None:
        """Seconds; None where absent. A malformed value counts as 3600, a huge one is cut."""
        return self.headers.typed("Expires", read_expires)

    @property
    def content_type(self) -> str | None:
        """The body's media type in lower case without its parameters, such as
        "application/sdp"; None where absent."""
        return self.headers.typed("Content-Type", read_content_type)

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

    __slots__ = ("_request_uri", "method", "session", "uri")

    def __init__(self, method: str, uri: str, headers: Headers, body: bytes = b"") -> None:
        self.headers = headers
        self.body = body
        self.method = method
        self.uri = uri
        self._request_uri: SipUri | OpaqueUri | None = None
        self.session: SessionId | None = None  # of a received one: for what answers it

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
        reason = checked_status(status, reason)
        return cls(status, reason, _headers(headers, body, content_type), body)

    def to_bytes(self) -> bytes:
        """Write the message; Content-Length is that of the body."""
        return self._to_bytes(f"SIP/2.0 {self.status} {self.reason}")

    def __repr__(self) -> str:
        return f"<Response {self.status}>"


def _headers(items: Iterable[tuple[str, str]], body: bytes, content_type: str | None) -> Headers:
    headers = Headers(items)
    add_content(headers, body, content_type)
    return headers


def add_content(headers: Headers, body: bytes, content_type: str | None) -> None:
    """Set Content-Length, and Content-Type where there is a body."""
    if content_type is not None and body:
        headers.set("Content-Type", content_type)
    headers.set("Content-Length", str(len(body)))


def checked_status(status: int, reason: str | None) -> str:
    """Return the reason phrase to send; `UsageError` for a bad status or phrase."""
    if not 100 <= status <= 699:
        raise UsageError(f"{status} is not a SIP status: use 100 to 699")
    if reason is None:
        return REASONS.get(status) or REASONS.get(status // 100 * 100, "Unknown")
    if _LINE_BREAKING.search(reason):
        raise UsageError("a reason phrase holds CR, LF or NUL: remove it")
    return reason
