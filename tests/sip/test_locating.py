"""RFC 3263 without DNS: which questions are asked, and what order comes out of the answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from random import Random

import pytest

from rtpmix.sip.locating import (
    MAX_HOPS,
    MAX_PENALTIES,
    Hop,
    Naptr,
    Penalties,
    Question,
    Srv,
    locate,
    srv_order,
)
from rtpmix.sip.uri import SipUri

Zone = dict[tuple[str, str], Sequence[Naptr | Srv | str]]
ALL = ("UDP", "TCP", "TLS")

# The example of RFC 3263 section 4.1 and 4.2, with addresses out of RFC 5737.
EXAMPLE: Zone = {
    ("NAPTR", "example.com"): [
        Naptr(90, 50, "s", "SIP+D2T", "_sip._tcp.example.com"),
        Naptr(100, 50, "s", "SIP+D2U", "_sip._udp.example.com"),
        Naptr(50, 50, "s", "SIPS+D2T", "_sips._tcp.example.com"),
        Naptr(10, 10, "s", "SIP+D2S", "_sip._sctp.example.com"),
        Naptr(10, 10, "u", "E2U+sip", "!^.*$!sip:x@example.com!"),
    ],
    ("SRV", "_sip._tcp.example.com"): [
        Srv(0, 1, 5060, "server1.example.com"),
        Srv(1, 2, 5070, "server2.example.com"),
    ],
    ("SRV", "_sip._udp.example.com"): [Srv(0, 0, 5060, "server2.example.com")],
    ("SRV", "_sips._tcp.example.com"): [Srv(0, 0, 5061, "server1.example.com")],
    ("ADDRESS", "example.com"): ["192.0.2.9"],
    ("ADDRESS", "server1.example.com"): ["2001:db8::1", "192.0.2.1"],
    ("ADDRESS", "server2.example.com"): ["192.0.2.2"],
}


def found(
    text: str, zone: Zone = EXAMPLE, transports: Sequence[str] = ALL
) -> tuple[list[str], list[Question]]:
    """Return the servers for a URI as text, and what was asked."""
    locating = locate(SipUri.parse(text), transports, Random(1))
    asked: list[Question] = []
    try:
        question = next(locating)
        while True:
            asked.append(question)
            question = locating.send(zone.get((question.kind, question.name), ()))
    except StopIteration as done:
        return [f"{hop.transport} {hop.address[0]} {hop.address[1]}" for hop in done.value], asked


@pytest.mark.parametrize(
    ("uri", "hops"),
    [
        ("sip:a@192.0.2.7", ["UDP 192.0.2.7 5060"]),
        ("sip:a@192.0.2.7:5099;transport=tcp", ["TCP 192.0.2.7 5099"]),
        ("sips:a@192.0.2.7", ["TLS 192.0.2.7 5061"]),
        ("sip:a@[2001:db8::7];transport=tls", ["TLS 2001:db8::7 5061"]),
    ],
)
def test_a_numeric_address_asks_nothing(uri: str, hops: list[str]) -> None:
    """RFC 3263 section 4.1: UDP for sip, TLS for sips, or what the URI says."""
    assert found(uri) == (hops, [])


@pytest.mark.parametrize(
    ("uri", "hops"),
    [
        ("sip:a@example.com:5080", ["UDP 192.0.2.9 5080"]),
        ("sips:a@example.com:5080", ["TLS 192.0.2.9 5080"]),
        ("sip:a@example.com:5080;transport=tcp", ["TCP 192.0.2.9 5080"]),
    ],
)
def test_a_port_asks_for_addresses_alone(uri: str, hops: list[str]) -> None:
    """RFC 3263 section 4.2."""
    assert found(uri) == (hops, [Question("ADDRESS", "example.com")])


def test_the_domain_says_which_transport_it_prefers() -> None:
    """RFC 3263 section 4.1: by order, and what we don't have is left out."""
    hops, asked = found("sip:a@example.com")
    assert hops == [
        *("TLS 2001:db8::1 5061", "TLS 192.0.2.1 5061"),
        *("TCP 2001:db8::1 5060", "TCP 192.0.2.1 5060", "TCP 192.0.2.2 5070"),
        "UDP 192.0.2.2 5060",
    ]
    assert asked[0] == Question("NAPTR", "example.com")
    assert found("sip:a@example.com", transports=("UDP",))[0] == ["UDP 192.0.2.2 5060"]


def test_a_sips_uri_never_leads_to_what_is_not_secure() -> None:
    """RFC 3263 section 4.1: services other than SIPS are discarded."""
    assert {hop.split()[0] for hop in found("sips:a@example.com")[0]} == {"TLS"}
    assert found("sips:a@example.com", transports=("UDP", "TCP"))[0] == ["TLS 192.0.2.9 5061"]


def test_a_named_transport_asks_for_its_service_at_once() -> None:
    hops, asked = found("sip:a@example.com;transport=tcp")
    assert asked[0] == Question("SRV", "_sip._tcp.example.com")
    assert hops[-1] == "TCP 192.0.2.2 5070"


def test_without_naptr_each_transport_of_ours_is_asked_for() -> None:
    zone = {key: records for key, records in EXAMPLE.items() if key[0] != "NAPTR"}
    hops, asked = found("sip:a@example.com", zone, ("UDP", "TCP"))
    assert [one.name for one in asked if one.kind == "SRV"] == [
        "_sip._udp.example.com",
        "_sip._tcp.example.com",
    ]
    assert hops[0] == "UDP 192.0.2.2 5060"


def test_without_any_of_these_the_host_itself_is_tried() -> None:
    zone: Zone = {("ADDRESS", "example.com"): ["192.0.2.9"]}
    assert found("sip:a@example.com", zone)[0] == ["UDP 192.0.2.9 5060"]
    assert found("sip:a@example.com;transport=tls", zone)[0] == ["TLS 192.0.2.9 5061"]
    assert found("sip:a@example.com", {})[0] == []


def test_a_service_that_is_said_to_be_nowhere_is_not_looked_for_elsewhere() -> None:
    """RFC 2782: a target of "." means that the service is decidedly not available."""
    zone: Zone = {
        ("SRV", "_sip._udp.example.com"): [Srv(0, 0, 0, ".")],
        ("ADDRESS", "example.com"): ["192.0.2.9"],
    }
    assert found("sip:a@example.com", zone, ("UDP",))[0] == []


def test_a_domain_with_a_thousand_servers_costs_a_bounded_number_of_questions() -> None:
    zone: Zone = {("SRV", "_sip._udp.example.com"): [Srv(1, 1, 5060, "h")] * 1000}
    zone[("ADDRESS", "h")] = ["192.0.2.1", "192.0.2.2"]
    hops, asked = found("sip:a@example.com", zone, ("UDP",))
    assert len(hops) == MAX_HOPS
    assert len(asked) < MAX_HOPS


def test_priorities_are_kept_and_weights_are_drawn_in_proportion() -> None:
    """RFC 2782: a server of weight 300 comes first three times as often as one of 100."""
    records = [Srv(2, 0, 1, "last"), Srv(1, 100, 1, "one"), Srv(1, 300, 1, "three")]
    random = Random(7)
    first: Counter[str] = Counter()
    for _ in range(4000):
        order = [record.target for record in srv_order(records, random)]
        assert order[2] == "last"
        first[order[0]] += 1
    assert 2.5 < first["three"] / first["one"] < 3.6


def test_a_server_without_a_weight_is_seldom_first_but_never_left_out() -> None:
    random = Random(7)
    records = [Srv(1, 100, 1, "big"), Srv(1, 0, 1, "none")]
    first = Counter(srv_order(records, random)[0].target for _ in range(4000))
    assert 0 < first["none"] < 150


def test_a_server_that_failed_is_tried_last_until_its_penalty_is_over() -> None:
    """RFC 3263 section 4.3."""
    penalties = Penalties()
    a, b, c = (Hop("UDP", (f"192.0.2.{last}", 5060)) for last in (1, 2, 3))
    penalties.failed(a, 0.0)
    penalties.failed(b, 0.0, seconds=10.0)
    assert penalties.order([a, b, c], 1.0) == [c, b, a]
    assert penalties.order([a, b, c], 10.0) == [b, c, a]
    penalties.worked(a)
    assert penalties.order([a, b, c], 11.0) == [a, b, c]
    assert len(penalties) == 0


def test_penalties_stay_few_however_many_servers_fail() -> None:
    penalties = Penalties()
    for number in range(2 * MAX_PENALTIES):
        penalties.failed(Hop("UDP", ("192.0.2.1", number)), 0.0)
    assert len(penalties) == MAX_PENALTIES
