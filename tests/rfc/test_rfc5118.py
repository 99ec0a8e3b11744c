"""RFC 5118, SIP torture test messages for IPv6: every message of its archive (appendix A).

The files in ``rfc5118/`` are the archive decoded, with the CRLF line ends that it lacks.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from rtpmix.sip.message import MessageError, Request, parse_message
from rtpmix.sip.uri import SipUri

DIRECTORY = Path(__file__).parent / "rfc5118"


def read(name: str) -> bytes:
    return (DIRECTORY / f"{name}.dat").read_bytes()


def request(name: str) -> Request:
    message = parse_message(read(name))
    assert isinstance(message, Request)
    again = parse_message(message.to_bytes())
    assert list(again.headers.items()) == list(message.headers.items())
    return message


def request_uri(name: str) -> SipUri:
    uri = request(name).request_uri
    assert isinstance(uri, SipUri)
    return uri


def test_the_archive_is_complete() -> None:
    assert len(list(DIRECTORY.glob("*.dat"))) == 12


def test_an_ipv6_reference_stands_in_brackets() -> None:
    """Section 4.1."""
    message = request("ipv6-good")
    uri, contact = message.request_uri, message.contacts[0].uri
    assert isinstance(uri, SipUri)
    assert isinstance(contact, SipUri)
    assert (uri.host, uri.port) == ("2001:db8::10", None)
    assert str(uri) == "sip:[2001:db8::10]"
    assert message.via.host == "2001:db8::9:1"
    assert contact.host == "2001:db8::1"


def test_an_ipv6_address_without_brackets_is_refused() -> None:
    """Section 4.2: 400."""
    with pytest.raises(MessageError) as caught:
        parse_message(read("ipv6-bad"))
    assert caught.value.status_hint == 400
    assert caught.value.partial is not None


def test_a_port_within_the_brackets_is_part_of_the_address() -> None:
    """Section 4.3."""
    uri = request_uri("port-ambiguous")
    assert (uri.host, uri.port) == ("2001:db8::10:5070", None)


def test_a_port_after_the_brackets_is_a_port() -> None:
    """Section 4.4."""
    uri = request_uri("port-unambiguous")
    assert (uri.host, uri.port) == ("2001:db8::10", 5070)


@pytest.mark.parametrize("name", ["via-received-param-with-delim", "via-received-param-no-delim"])
def test_received_is_an_address_with_brackets_or_without(name: str) -> None:
    """Section 4.5: be liberal."""
    assert request(name).via.received == "2001:db8::9:255"


def test_ipv6_in_sdp_declares_more_than_it_brings() -> None:
    """Section 4.6: the archive's Content-Length of 268 is above its body's 251 bytes."""
    with pytest.raises(MessageError) as caught:
        parse_message(read("ipv6-in-sdp"))
    assert caught.value.status_hint == 400
    message = parse_message(read("ipv6-in-sdp").replace(b": 268", b": 251"))
    assert message.via.host == "2001:db8::20"
    assert len(message.body) == 251
    assert b"c=IN IP6 2001:db8::20\r\n" in message.body


def test_both_families_stand_in_one_header() -> None:
    """Section 4.7."""
    message = request("mult-ip-in-header")
    assert [(via.transport, via.host, via.port, via.received) for via in message.vias] == [
        ("UDP", "2001:db8::9:1", 6050, None),
        ("UDP", "192.0.2.1", None, None),
        ("TCP", "2001:db8::9:255", None, "192.0.2.200"),
    ]


def test_both_families_stand_in_one_description() -> None:
    """Section 4.8."""
    message = request("mult-ip-in-sdp")
    assert b"c=IN IP4 192.0.2.1\r\n" in message.body
    assert b"c=IN IP6 2001:db8::1\r\n" in message.body


def test_ipv4_mapped_addresses_are_read() -> None:
    """Section 4.9."""
    message = request("ipv4-mapped-ipv6")
    assert [(via.host, via.port) for via in message.vias] == [
        ("::ffff:192.0.2.10", 19823),
        ("::ffff:192.0.2.2", None),
    ]
    contact = message.contacts[0].uri
    assert isinstance(contact, SipUri)
    assert contact.host == "::ffff:192.0.2.2"


@pytest.mark.parametrize("name", ["ipv6-bug-abnf-3-colons", "ipv6-correct-abnf-2-colons"])
def test_a_colon_too_many_before_an_ipv4_address_is_taken(name: str) -> None:
    """Section 4.10: the grammar of RFC 3261 has a bug; both forms mean the same."""
    uri = request_uri(name)
    assert uri.host == "2001:db8::192.0.2.1"
    assert str(uri) == "sip:user@[2001:db8::192.0.2.1]"
