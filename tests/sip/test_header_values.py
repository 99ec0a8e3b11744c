"""Via, name-addr and CSeq: RFC 3261 sections 20.10, 20.16, 20.42 and 25.1."""

from __future__ import annotations

import pytest

from rtpmix.errors import SipParseError
from rtpmix.sip.header_values import CSeq, NameAddr, Via, parse_name_addr_list, parse_via_list
from rtpmix.sip.message import marked_via
from rtpmix.sip.uri import OpaqueUri, SipUri


@pytest.mark.parametrize(
    ("text", "facts"),
    [
        (
            "SIP/2.0/UDP erlang.bell-telephone.com:5060;branch=z9hG4bK87asdks7",
            ("SIP/2.0", "UDP", "erlang.bell-telephone.com", 5060, "z9hG4bK87asdks7"),
        ),
        (
            "SIP / 2.0 / UDP first.example.com: 4000;ttl=16 ;maddr=224.2.0.1 ;branch=z9hG4bKa7",
            ("SIP/2.0", "UDP", "first.example.com", 4000, "z9hG4bKa7"),
        ),
        ("sip/2.0/tcp [2001:db8::1]:5061", ("SIP/2.0", "TCP", "2001:db8::1", 5061, None)),
        ("SIP/2.0/TLS pbx1 ; branch = x", ("SIP/2.0", "TLS", "pbx1", None, "x")),
    ],
)
def test_vias_are_read(text: str, facts: tuple[object, ...]) -> None:
    via = Via.parse(text)
    assert (via.protocol, via.transport, via.host, via.port, via.branch) == facts
    assert Via.parse(str(via)) == via


@pytest.mark.parametrize(
    "text",
    [
        *("", "SIP/2.0/UDP", "SIP/2.0 host", "SIP/2.0/UDP host:", "SIP/2.0/UDP host:99999"),
        *("SIP/2.0/UDP host;", "SIP/2.0/UDP host branch=x", "SIP/2.0/UDPhost", "SIP//UDP host"),
        *("SIP/2.0/UDP 1.2.3", "SIP/2.0/UDP [::1", "SIP/2.0/UDP a,b", "SIP/2.0/UDP é"),
    ],
)
def test_malformed_vias_are_refused(text: str) -> None:
    with pytest.raises(SipParseError) as caught:
        Via.parse(text)
    assert caught.value.status_hint == 400


def test_rport_is_absent_asked_for_or_a_number() -> None:
    """RFC 3581."""
    assert Via.parse("SIP/2.0/UDP a").rport is None
    assert Via.parse("SIP/2.0/UDP a;rport").rport == ""
    assert Via.parse("SIP/2.0/UDP a;rport=5070").rport == "5070"


def test_a_via_parameter_is_set_in_its_place() -> None:
    via = Via.parse("SIP/2.0/UDP a;rport;branch=x").with_parameter("rport", "1")
    assert str(via.with_parameter("received", "::1")) == (
        "SIP/2.0/UDP a;rport=1;branch=x;received=::1"
    )


PARTIES: list[tuple[str, str | None, str, str | None]] = [
    ("<sip:a@b>;tag=x", None, "sip:a@b", "x"),
    ("sip:a@b;tag=x", None, "sip:a@b", "x"),
    ("sip:a@b", None, "sip:a@b", None),
    ("Bob Smith <sip:a@b;lr>", "Bob Smith", "sip:a@b;lr", None),
    ('"A. \\"G\\" <Bell>" <sip:a@b>;tag="q"', 'A. "G" <Bell>', "sip:a@b", "q"),
    ('"" <sip:a@b>', "", "sip:a@b", None),
    ("caller<sip:a@b>", "caller", "sip:a@b", None),
    ("Jörg <sip:a@b> ; x = y", "Jörg", "sip:a@b", None),
    ("<tel:+1>", None, "tel:+1", None),
    ("<sip:a@b?Replaces=x%3By>", None, "sip:a@b?Replaces=x%3By", None),
]


@pytest.mark.parametrize(("text", "name", "uri", "tag"), PARTIES)
def test_parties_are_read(text: str, name: str | None, uri: str, tag: str | None) -> None:
    party = NameAddr.parse(text)
    assert party.display_name == name
    assert str(party.uri) == uri
    assert party.tag == tag
    again = NameAddr.parse(str(party))
    assert again == party
    assert hash(again) == hash(party)


@pytest.mark.parametrize(
    "text",
    [
        *("", "<>", "<sip:a@b", "sip:a@b>", "Bell, A <sip:a@b>", '"a <sip:a@b>', "< sip:a@b >"),
        *("<sip:a@b>x", "<sip:a@b>;", "a@b", "sip:a@b?x=y", "sip:a,b@c", '"a" "b" <sip:a@b>'),
        *("<sip:a@b> <sip:c@d>", "<sip:a@b:99999>", 'a"b" <sip:a@b>', "<sip:a@b>;tag=é"),
    ],
)
def test_malformed_parties_are_refused(text: str) -> None:
    """RFC 4475 sections 3.1.2.6, 3.1.2.13, 3.1.2.14, 3.1.2.15; RFC 3261 section 20.10."""
    with pytest.raises(SipParseError) as caught:
        NameAddr.parse(text)
    assert caught.value.status_hint == 400


def test_a_party_that_is_built_can_break_no_line() -> None:
    party = NameAddr('a\r\nVia: "x"\x00', SipUri("sip", "a", None, "b"), (("tag", "1"),))
    assert str(party) == '"aVia: \\"x\\"" <sip:a@b>;tag=1'


def test_a_tag_is_added_and_replaced() -> None:
    party = NameAddr.parse("<sip:a@b>;x=1")
    assert str(party.with_tag("t")) == "<sip:a@b>;x=1;tag=t"
    assert str(party.with_tag("t").with_tag("u")) == "<sip:a@b>;x=1;tag=u"
    assert party.tag is None


def test_values_differ_by_any_field() -> None:
    assert NameAddr.parse("<sip:a@b>") != NameAddr.parse("<sip:a@c>")
    assert NameAddr(None, OpaqueUri("tel", "1")) == NameAddr.parse("tel:1")
    assert Via.parse("SIP/2.0/UDP a") != Via.parse("SIP/2.0/TCP a")
    assert len({Via.parse("SIP/2.0/UDP a"), Via.parse("SIP/2.0/UDP a")}) == 1
    assert repr(Via.parse("SIP/2.0/UDP a")) == "<Via SIP/2.0/UDP a>"
    assert repr(NameAddr.parse("<sip:a@b>")) == "<NameAddr <sip:a@b>>"


def test_a_cseq_is_a_number_and_a_method() -> None:
    assert CSeq.parse("0009  INVITE") == CSeq(9, "INVITE")
    assert CSeq.parse("2147483647\tX") == (2**31 - 1, "X")
    assert str(CSeq(4711, "INVITE")) == "4711 INVITE"


@pytest.mark.parametrize(
    "text",
    [
        *("", "1", "INVITE", "1INVITE", "-1 A", "2147483648 A", "1 A B", "1 é", "٣ A"),
        "9" * 5000 + " A",
    ],
)
def test_malformed_cseqs_are_refused(text: str) -> None:
    """RFC 3261 section 8.1.1.5: below 2**31."""
    with pytest.raises(SipParseError):
        CSeq.parse(text)


def test_lists_may_be_cut_into_lines_anywhere() -> None:
    """RFC 3261 section 7.3.1."""
    assert [
        via.host for via in parse_via_list(["SIP/2.0/UDP a, SIP/2.0/UDP b", "SIP/2.0/TCP c"])
    ] == [
        "a",
        "b",
        "c",
    ]
    parties = parse_name_addr_list(['"x, y" <sip:a@b>, <sip:c@d>', "sip:e@f"])
    assert [str(party.uri) for party in parties] == ["sip:a@b", "sip:c@d", "sip:e@f"]
    with pytest.raises(SipParseError):
        parse_name_addr_list(["<sip:a@b>,,<sip:c@d>"])
    with pytest.raises(SipParseError):
        parse_via_list(["SIP/2.0/UDP a,"])


@pytest.mark.parametrize(
    ("parameters", "branch"),
    [
        (";branch=z9hG4bKa", "z9hG4bKa"),
        (";rport;branch=z9hG4bKa;received=192.0.2.1;rport=5", "z9hG4bKa"),
        (";Branch=first;branch=second", "first"),
        (";branch=first;branch=second", "first"),
        (' ; branch = "z9hG4bKa"', "z9hG4bKa"),
        (';x=";branch=no";branch=yes', "yes"),
        (";branch", ""),
        (";xbranch=a", None),
        ("", None),
    ],
)
def test_a_branch_is_the_same_however_it_is_found(parameters: str, branch: str | None) -> None:
    for _ in range(2):  # the second time from memory
        via = Via.parse(f"SIP/2.0/UDP 192.0.2.1:5060{parameters}")
        assert via.branch == via.parameter("branch") == branch


@pytest.mark.parametrize(
    ("parameters", "marked"),
    [
        (";branch=z9hG4bKa;rport", ";branch=z9hG4bKa;rport=5071;received=192.0.2.9"),
        (";rport;branch=z9hG4bKa", ";rport=5071;branch=z9hG4bKa;received=192.0.2.9"),
        (";RPORT;branch=z9hG4bKa", ";rport=5071;branch=z9hG4bKa;received=192.0.2.9"),
        (";branch=z9hG4bKa;rport=1", ";branch=z9hG4bKa;rport=5071;received=192.0.2.9"),
        (";branch=a;received=1.1.1.1;rport", ";branch=a;received=192.0.2.9;rport=5071"),
        (";branch=a;rport;rport", ";branch=a;rport=5071;received=192.0.2.9"),
        (";branch=z9hG4bKa", ";branch=z9hG4bKa;received=192.0.2.9"),
        ("", ";received=192.0.2.9"),
    ],
)
def test_where_a_request_came_from_is_noted_however_its_via_is_written(
    parameters: str, marked: str
) -> None:
    """RFC 3261 section 18.2.1; RFC 3581 section 4."""
    via = marked_via(Via.parse(f"SIP/2.0/UDP 192.0.2.1{parameters}"), ("192.0.2.9", 5071))
    assert str(via) == f"SIP/2.0/UDP 192.0.2.1{marked}"
    assert via == Via.parse(str(via))
    assert via.received == "192.0.2.9"


@pytest.mark.parametrize(
    ("text", "name", "tag"),
    [
        ("<sip:a@b>;tag=x", None, "x"),
        ('"a>b" <sip:a@b>;tag=x', "a>b", "x"),
        ('"a\\"> <b" <sip:a@b>;x=">";tag=y', 'a"> <b', "y"),
        ("<sip:a@b>;TAG=x;tag=y", None, "x"),
        ("A <sip:a@b> ; tag = x", "A", "x"),
        ("sip:a@b;tag=x", None, "x"),
        ("<sip:a@b;tag=no>", None, None),
    ],
)
def test_a_party_is_the_same_however_it_is_found(
    text: str, name: str | None, tag: str | None
) -> None:
    for _ in range(2):
        party = NameAddr.parse(text)
        assert (party.display_name, party.tag, party.parameter("tag")) == (name, tag, tag)
        assert str(party.uri).startswith("sip:a@b")


@pytest.mark.parametrize(
    "text", ["<sip:a@b>x", "<sip:a@b>;;", "<sip:a@b>>", '"<sip:a@b>', "<a>;=x"]
)
def test_what_is_no_party_stays_none_when_asked_again(text: str) -> None:
    for _ in range(2):
        with pytest.raises(SipParseError):
            NameAddr.parse(text)
