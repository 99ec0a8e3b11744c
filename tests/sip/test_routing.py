"""Where messages go: RFC 3261 section 18.2.2, RFC 3581, and never a resolver."""

from __future__ import annotations

import pytest

from rtpmix.sip.flow import Flow
from rtpmix.sip.headers import Via
from rtpmix.sip.routing import (
    bracketed,
    is_ip_literal,
    next_hop_flow,
    reopened_flow,
    response_flow,
    sent_by,
)
from rtpmix.sip.uri import parse_uri

SOURCE = ("198.51.100.7", 40000)
UDP = Flow("UDP", SOURCE, ("192.0.2.2", 5060))
TCP = Flow("TCP", SOURCE, ("192.0.2.2", 5060), 3)


@pytest.mark.parametrize(
    ("via", "expected"),
    [
        ("SIP/2.0/UDP 10.0.0.1:5070;branch=z9hG4bKa", ("198.51.100.7", 5070)),
        ("SIP/2.0/UDP 10.0.0.1;branch=z9hG4bKa", ("198.51.100.7", 5060)),
        ("SIP/2.0/UDP pc.example.com:5080;branch=z9hG4bKa", ("198.51.100.7", 5080)),
        ("SIP/2.0/UDP 10.0.0.1:5070;rport=40000;received=198.51.100.7", SOURCE),
        ("SIP/2.0/UDP 10.0.0.1:5070;rport", SOURCE),
        ("SIP/2.0/UDP 10.0.0.1:5070;maddr=203.0.113.9", ("198.51.100.7", 5070)),
    ],
)
def test_a_response_goes_to_the_source_and_to_nobody_else(
    via: str, expected: tuple[str, int]
) -> None:
    """A response to an address that the request only names would reach whom a stranger picks."""
    assert response_flow(Via.parse(via), UDP).remote == expected


def test_over_a_connection_a_response_goes_back_on_it() -> None:
    assert response_flow(Via.parse("SIP/2.0/TCP 10.0.0.1:5070;branch=z9hG4bKa"), TCP) == TCP


def test_a_lost_connection_is_opened_again_to_the_port_of_the_via() -> None:
    """Section 18.2.2."""
    assert reopened_flow(5070, TCP) == Flow("TCP", ("198.51.100.7", 5070), TCP.local)
    assert reopened_flow(None, TCP).remote == ("198.51.100.7", 5060)


def test_a_request_stays_on_an_open_connection() -> None:
    """A client behind a NAT can't be connected to."""
    target = parse_uri("sip:alice@203.0.113.1:5070;transport=tcp")
    assert next_hop_flow(target, TCP) == TCP
    gone = TCP._replace(connection=0)
    assert next_hop_flow(target, gone).remote == ("203.0.113.1", 5070)


def test_names_and_other_schemes_go_where_the_peer_was_heard() -> None:
    for text in ("sip:alice@pc.example.com", "tel:+123"):
        assert next_hop_flow(parse_uri(text), UDP) == UDP


@pytest.mark.parametrize(
    ("host", "is_one"),
    [
        *(("192.0.2.1", True), ("2001:db8::1", True), ("pc.example.com", False)),
        *(("192.0.2", False), ("0x7f000001", False), ("192.0.2.01", False), ("", False)),
    ],
)
def test_what_counts_as_an_address(host: str, is_one: bool) -> None:
    assert is_ip_literal(host) is is_one


def test_ipv6_hosts_are_bracketed() -> None:
    assert bracketed("2001:db8::1") == "[2001:db8::1]"
    flow = Flow("UDP", ("2001:db8::2", 5060), ("2001:db8::1", 5060))
    assert sent_by(flow) == "[2001:db8::1]:5060"


@pytest.mark.parametrize(
    ("contact", "heard", "expected"),
    [
        ("sip:a@10.0.0.5:5070", "198.51.100.7", ("198.51.100.7", 40000)),
        ("sip:a@[fd00::5]:5070", "2001:db8::7", ("2001:db8::7", 40000)),
        ("sip:a@10.0.0.5:5070", "10.0.0.9", ("10.0.0.5", 5070)),
        ("sip:a@127.0.0.1:5070", "127.0.0.1", ("127.0.0.1", 5070)),
        ("sip:a@203.0.113.5:5070", "10.0.0.9", ("203.0.113.5", 5070)),
    ],
)
def test_a_contact_inside_a_network_is_no_way_to_a_peer_outside(
    contact: str, heard: str, expected: tuple[str, int]
) -> None:
    """A client behind a NAT writes its inner address into Contact."""
    flow = Flow("UDP", (heard, 40000), ("192.0.2.2", 5060))
    assert next_hop_flow(parse_uri(contact), flow).remote == expected
