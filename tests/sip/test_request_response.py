"""Requests and responses that are built here."""

from __future__ import annotations

import pytest

from rtpmix.errors import SipParseError, UsageError
from rtpmix.sip.message import Request, Response, parse_message
from rtpmix.sip.reasons import REASONS
from rtpmix.sip.uri import SipUri

HEADERS = [
    ("Via", "SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1"),
    ("From", "<sip:a@b>;tag=1"),
    ("To", "<sip:c@d>"),
    ("Call-ID", "x"),
    ("CSeq", "1 MESSAGE"),
]


def test_a_built_request_is_read_again() -> None:
    message = Request.create("MESSAGE", "sip:c@d", HEADERS, "grüß".encode(), "text/plain")
    again = parse_message(message.to_bytes())
    assert isinstance(again, Request)
    assert list(again.headers.items()) == list(message.headers.items())
    assert (again.method, again.uri, again.body) == ("MESSAGE", "sip:c@d", "grüß".encode())
    assert again.content_type == "text/plain"
    assert message.headers.get("Content-Length") == "6"
    assert repr(message) == "<Request MESSAGE>"


def test_a_request_uri_may_be_a_value() -> None:
    message = Request.create("OPTIONS", SipUri("sip", "a", None, "::1"), HEADERS)
    assert message.to_bytes().startswith(b"OPTIONS sip:a@[::1] SIP/2.0\r\n")
    assert message.headers.get("Content-Length") == "0"
    assert message.content_type is None


@pytest.mark.parametrize("uri", ["", "sip:a b", "sip:a\r\nVia: x", "sip:a\x00", "<sip:a>", "sip:é"])
def test_a_request_uri_that_would_break_the_line_is_refused(uri: str) -> None:
    with pytest.raises(UsageError):
        Request.create("OPTIONS", uri, HEADERS)


@pytest.mark.parametrize("method", ["", "A B", "A\r\n", "é"])
def test_a_method_that_would_break_the_line_is_refused(method: str) -> None:
    with pytest.raises(UsageError):
        Request.create(method, "sip:a", HEADERS)


def test_a_built_response_is_read_again() -> None:
    message = Response.create(488, None, HEADERS)
    assert message.reason == "Not Acceptable Here"
    again = parse_message(message.to_bytes())
    assert isinstance(again, Response)
    assert (again.status, again.reason) == (488, "Not Acceptable Here")
    assert repr(message) == "<Response 488>"


@pytest.mark.parametrize("reason", ["a\r\nb", "\n", "\x00"])
def test_a_reason_that_would_break_the_line_is_refused(reason: str) -> None:
    with pytest.raises(UsageError):
        Response.create(200, reason, HEADERS)


def test_an_unknown_status_takes_the_reason_of_its_class() -> None:
    """RFC 3261 section 8.1.3.2: x00."""
    assert Response.create(299, None, HEADERS).reason == REASONS[200]
    assert Response.create(699, None, HEADERS).reason == REASONS[600]
    assert all(100 <= status <= 699 for status in REASONS)


def test_content_length_is_always_that_of_the_body() -> None:
    message = Request.create("MESSAGE", "sip:c@d", [*HEADERS, ("Content-Length", "99")], b"abc")
    message.body = b"abcd"
    assert message.to_bytes().endswith(b"\r\nContent-Length: 4\r\n\r\nabcd")
    assert message.to_bytes().count(b"Content-Length") == 1


def test_a_header_that_is_missing_is_named() -> None:
    message = Request.create("OPTIONS", "sip:a", [])
    for name in ("via", "from_", "to", "call_id", "cseq"):
        with pytest.raises(SipParseError, match="missing"):
            getattr(message, name)
    assert message.max_forwards is None


def test_accessors_follow_the_headers() -> None:
    message = Request.create("OPTIONS", "sip:a", HEADERS)
    assert message.to.tag is None
    message.headers.set("To", "<sip:c@d>;tag=2")
    assert message.to.tag == "2"
    message.contacts.append(message.to)
    assert message.contacts == []
