"""Identities asserted by trusted peers: read, withheld and written."""

from __future__ import annotations

import pytest

from rtpmix.errors import UsageError
from rtpmix.sip.identity import (
    CallerIdentity,
    identity_headers,
    read_identity,
    read_preferred,
    strike,
)
from rtpmix.sip.message import Request, parse_message
from tests.sip.agents import raw


def invite(headers: str) -> Request:
    message = parse_message(raw("INVITE", headers=headers))
    assert isinstance(message, Request)
    return message


def test_a_sip_and_a_tel_uri_are_one_identity() -> None:
    """RFC 3325 section 9.1: at most two values, one a SIP URI and one a tel URI."""
    found = read_identity(
        invite(
            'P-Asserted-Identity: "Cullen Jennings" <sip:fluffy@cisco.com>, tel:+14085264000\n'
            "Privacy: id"
        )
    )
    assert found == CallerIdentity(
        "sip:fluffy@cisco.com", "Cullen Jennings", frozenset({"id"}), "+14085264000"
    )
    assert found.is_private


def test_a_tel_uri_alone_is_an_identity_with_a_number() -> None:
    """RFC 3325 section 9.1; RFC 3966."""
    found = read_identity(invite("P-Asserted-Identity: tel:+14085264000"))
    assert found is not None
    assert (found.uri, found.number, found.is_private) == (
        "tel:+14085264000",
        "+14085264000",
        False,
    )


@pytest.mark.parametrize(
    ("privacy", "private"),
    [("full", True), ("uri", True), ("name", True), ("off", False)],
)
def test_the_calling_remote_party_is_read(privacy: str, private: bool) -> None:
    """draft-ietf-sip-privacy-04 section 4: party, screen and privacy."""
    found = read_identity(
        invite(
            "Remote-Party-ID: <sip:boss@example.com>;party=called, "
            f'"John" <sip:john@example.com>;party=calling;screen=yes;privacy={privacy}'
        )
    )
    assert found is not None
    assert (found.uri, found.display_name, found.screened) == (
        "sip:john@example.com",
        "John",
        True,
    )
    assert found.is_private is private


def test_an_asserted_identity_goes_before_a_remote_party() -> None:
    found = read_identity(
        invite("Remote-Party-ID: <sip:a@example.com>\nP-Asserted-Identity: <sip:b@example.com>")
    )
    assert found is not None
    assert found.uri == "sip:b@example.com"


@pytest.mark.parametrize(
    "value",
    [
        "",
        "mailto:a@example.com",
        "<sip:a@example.com",
        "<sip:a@example.com?Replaces=x>",
        "<tel:alice>",
        "<sip:" + "a" * 2000 + "@example.com>",
        "\udcff\udcfe",
    ],
)
def test_what_is_malformed_asserts_nothing(value: str) -> None:
    """Reading never raises, whatever a peer sends (RFC 3325 section 9.1)."""
    request = invite("")
    request.headers.add("P-Asserted-Identity", value)
    assert read_identity(request) is None


def test_what_is_asserted_is_struck_from_a_stranger_and_the_wish_for_privacy_stays() -> None:
    """RFC 3325 section 5: a node must remove it when it comes from one that is not trusted."""
    request = invite(
        "P-Asserted-Identity: <sip:a@example.com>\nRemote-Party-ID: <sip:a@example.com>\n"
        "Privacy: id"
    )
    strike(request)
    assert read_identity(request) is None
    assert request.headers.get("Privacy") == "id"


def test_a_caller_of_ours_says_which_identity_it_prefers() -> None:
    """RFC 3325 section 9.2."""
    found = read_preferred(invite('P-Preferred-Identity: "Sales" <sip:sales@example.com>'))
    assert found is not None
    assert found.display_name == "Sales"


def test_a_trusted_peer_is_told_a_private_identity_and_from_is_anonymous() -> None:
    """RFC 3323 section 4.1.1.3; RFC 3325 section 7 and 9.3."""
    identity = CallerIdentity(
        "sip:+4930123@example.net", "Ana", frozenset({"id", "critical"}), number="+4930123"
    )
    assert str(identity.sender) == '"Anonymous" <sip:anonymous@anonymous.invalid>'
    assert identity_headers(identity, trusted=True, form="both") == (
        ("P-Asserted-Identity", '"Ana" <sip:+4930123@example.net>, <tel:+4930123>'),
        (
            "Remote-Party-ID",
            '"Ana" <sip:+4930123@example.net>;party=calling;screen=yes;privacy=full',
        ),
        ("Privacy", "critical;id"),
    )
    assert identity_headers(identity, trusted=False) == (("Privacy", "critical;id"),)


def test_an_open_identity_stands_in_from_too() -> None:
    identity = CallerIdentity("sip:ana@example.net", "Ana")
    assert str(identity.sender) == '"Ana" <sip:ana@example.net>'
    assert identity_headers(identity, trusted=False) == ()


@pytest.mark.parametrize(
    ("uri", "more"),
    [
        ("sip:a@example.com\r\nX: y", {}),
        ("http://example.com", {}),
        ("sip:a@example.com?Subject=x", {}),
        ("sip:a@example.com", {"privacy": frozenset({"id\r\nX: y"})}),
        ("sip:a@example.com", {"number": "+49\r\nX: y"}),
        ("sip:a@example.com", {"display_name": "x" * 2000}),
    ],
)
def test_nothing_that_could_break_a_header_is_an_identity(
    uri: str, more: dict[str, object]
) -> None:
    with pytest.raises(UsageError):
        CallerIdentity(uri, **more)  # type: ignore[arg-type]


def test_a_display_name_can_not_leave_its_quotes() -> None:
    """RFC 3261 section 25.1: quotes and backslashes are escaped, line ends left out."""
    identity = CallerIdentity("sip:a@example.com", 'A" <sip:boss@example.com>\r\nX: y\\')
    (header,) = identity_headers(identity, trusted=True)
    message = invite(f"{header[0]}: {header[1]}")
    assert "X" not in message.headers
    found = read_identity(message)
    assert found is not None
    assert found.uri == "sip:a@example.com"
