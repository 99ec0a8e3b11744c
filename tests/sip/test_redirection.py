"""Where a 3xx leads: by q, without loops, within a bound."""

from __future__ import annotations

import math

import pytest

from rtpmix.errors import UsageError
from rtpmix.sip.message import Response
from rtpmix.sip.redirection import Contact, Redirections, contact_value, read_contacts
from rtpmix.sip.uri import SipUri
from rtpmix.sip.user_to_user import UserToUser


def moved(*contacts: str) -> Response:
    return Response.create(302, None, [("Contact", each) for each in contacts])


def uris(response: Response) -> list[str]:
    return [str(contact.uri) for contact in read_contacts(response)]


def test_contacts_are_tried_by_q_and_equals_in_their_order() -> None:
    """RFC 3261 section 8.1.3.4; a missing or bad q is 1."""
    response = moved(
        "<sip:c@example.com>;q=0.2, <sip:a@example.com>;q=0.9",
        "<sip:z@example.com>;q=7",
        "<sip:b@example.com>;q=0.9",
    )
    assert uris(response) == [
        "sip:z@example.com",
        "sip:a@example.com",
        "sip:b@example.com",
        "sip:c@example.com",
    ]


def test_what_is_no_sip_address_is_not_called_and_headers_are_not_taken_over() -> None:
    """RFC 3261 section 19.1.5: a URI's headers would let a stranger write our INVITE."""
    response = moved(
        "<tel:+19005550199>",
        "<mailto:a@example.com>",
        "broken<",
        "<sip:a@example.com;method=REFER?Replaces=x&User-to-User=0041%3Bencoding%3Dhex>",
    )
    uri = SipUri("sip", "a", None, "example.com")
    assert read_contacts(response) == (Contact(uri, 1.0, UserToUser(b"\x00A")),)


def test_nobody_is_called_twice_and_no_more_than_allowed() -> None:
    """RFC 3261 section 8.1.3.4: a client must not add a URI that it has tried."""
    redirections = Redirections(SipUri.parse("sip:a@example.com"), limit=3)
    assert redirections.learn(read_contacts(moved("<sip:a@EXAMPLE.com>", "<sip:b@h>"))) == 1
    assert str(redirections.next().uri) == "sip:b@h"  # type: ignore[union-attr]
    assert redirections.learn(read_contacts(moved("<sip:a@example.com>", "<sip:b@h>"))) == 0
    assert redirections.next() is None
    redirections.learn(read_contacts(moved(*[f"<sip:n{n}@h>" for n in range(40)])))
    assert [redirections.next() is not None for _ in range(3)] == [True, True, False]


def test_a_call_to_a_sips_uri_stays_secure() -> None:
    """RFC 3261 section 26.4.4."""
    redirections = Redirections(SipUri.parse("sips:a@example.com"), limit=3)
    assert redirections.learn(read_contacts(moved("<sip:b@h>", "<sips:c@h>"))) == 1
    assert str(redirections.next().uri) == "sips:c@h"  # type: ignore[union-attr]


def test_contacts_of_ours_can_not_break_the_header() -> None:
    assert contact_value("sip:a@example.com", 0.5) == "<sip:a@example.com>;q=0.5"
    assert contact_value("tel:+4930123") == "<tel:+4930123>"
    for target, q in [("sip:a@h\r\nX: y", None), ("alice", None), ("sip:a@h", math.nan)]:
        with pytest.raises(UsageError):
            contact_value(target, q)
