"""URIs: RFC 3261 sections 19.1 and 25.1."""

from __future__ import annotations

import dataclasses

import pytest

from rtpmix.errors import SipParseError
from rtpmix.sip.uri import (
    _LONGEST_REMEMBERED,
    _REMEMBERED,
    OpaqueUri,
    SipUri,
    _remembered_uri,
    escape_user,
    parse_uri,
)


def sip(text: str) -> SipUri:
    return SipUri.parse(text)


# RFC 3261 section 19.1.3, and forms that telephones send.
EXAMPLES: list[tuple[str, SipUri]] = [
    ("sip:alice@atlanta.com", SipUri("sip", "alice", None, "atlanta.com")),
    (
        "sip:alice:secretword@atlanta.com;transport=tcp",
        SipUri("sip", "alice", "secretword", "atlanta.com", None, (("transport", "tcp"),)),
    ),
    (
        "sips:alice@atlanta.com?subject=project%20x&priority=urgent",
        SipUri(
            *("sips", "alice", None, "atlanta.com", None, ()),
            (("subject", "project%20x"), ("priority", "urgent")),
        ),
    ),
    (
        "sip:+1-212-555-1212:1234@gateway.com;user=phone",
        SipUri("sip", "+1-212-555-1212", "1234", "gateway.com", None, (("user", "phone"),)),
    ),
    ("sips:1212@gateway.com", SipUri("sips", "1212", None, "gateway.com")),
    ("sip:alice@192.0.2.4", SipUri("sip", "alice", None, "192.0.2.4")),
    (
        "sip:atlanta.com;method=REGISTER?to=alice%40atlanta.com",
        SipUri(
            *("sip", None, None, "atlanta.com", None, (("method", "REGISTER"),)),
            (("to", "alice%40atlanta.com"),),
        ),
    ),
    (
        "sip:alice;day=tuesday@atlanta.com",
        SipUri("sip", "alice;day=tuesday", None, "atlanta.com"),
    ),
    ("SIP:pbx1:5080", SipUri("sip", None, None, "pbx1", 5080)),
    (
        "sip:*80@[2001:db8::1]:5060;lr",
        SipUri("sip", "*80", None, "2001:db8::1", 5060, (("lr", None),)),
    ),
    ("sip:x@y?Replaces=a%3Bb", SipUri("sip", "x", None, "y", None, (), (("Replaces", "a%3Bb"),))),
    ("sip:a:@b", SipUri("sip", "a", "", "b")),
]


@pytest.mark.parametrize(("text", "uri"), EXAMPLES)
def test_sip_uris_are_read_and_written(text: str, uri: SipUri) -> None:
    assert parse_uri(text) == uri
    assert str(uri) == text.replace("SIP:", "sip:")


@pytest.mark.parametrize(
    "text",
    [
        *("", "sip", "sip:", "sip:@b", "sip:a@", "sip:a@b@c", "sip:a b@c", "sip: a@b", "sip:a@b "),
        *("sip:a@b:", "sip:a@b:x", "sip:a@b:65536", "sip:a@b:123456", "sip:a@b;", "sip:a@b;;c"),
        *("sip:a@b;c=", "sip:a@b?", "sip:a@b?c", "sip:a@b?=c", "sip:a@b?c=d&", "sip:%@b"),
        *("sip:%4@b", "sip:%zz@b", "sip:a@[::1", "sip:a@1.2.3", "sip:é@b", "sip:a@b\r\n"),
        *("sip:a\x00@b", "<sip:a@b>", 'sip:"a"@b', "sip:a@2001:db8::1", "sip:a#b@c", "//b", ":b"),
        *("1tel:2", "tel:", "tel:a b", "x:é"),
    ],
)
def test_other_text_is_no_uri(text: str) -> None:
    with pytest.raises(SipParseError) as caught:
        parse_uri(text)
    assert caught.value.status_hint == 400


def test_other_schemes_stay_opaque() -> None:
    uri = parse_uri("TEL:+358-555-1234567;phone-context=x")
    assert uri == OpaqueUri("tel", "+358-555-1234567;phone-context=x")
    assert str(uri) == "tel:+358-555-1234567;phone-context=x"
    assert uri.equals(OpaqueUri("tel", "+358-555-1234567;phone-context=x"))
    assert not uri.equals(sip("sip:a@b"))
    assert not sip("sip:a@b").equals(uri)


def test_a_sip_uri_of_another_scheme_is_refused() -> None:
    """RFC 3261 section 21.4.14."""
    with pytest.raises(SipParseError) as caught:
        SipUri.parse("tel:1")
    assert caught.value.status_hint == 416


# RFC 3261 section 19.1.4.
SAME = [
    ("sip:%61lice@atlanta.com;transport=TCP", "sip:alice@AtlanTa.CoM;Transport=tcp"),
    ("sip:carol@chicago.com", "sip:carol@chicago.com;newparam=5"),
    ("sip:carol@chicago.com", "sip:carol@chicago.com;security=on"),
    (
        "sip:biloxi.com;transport=tcp;method=REGISTER?to=sip:bob%40biloxi.com",
        "sip:biloxi.com;method=REGISTER;transport=tcp?to=sip:bob%40biloxi.com",
    ),
    (
        "sip:alice@atlanta.com?subject=project%20x&priority=urgent",
        "sip:alice@atlanta.com?priority=urgent&subject=project%20x",
    ),
]
DIFFERENT = [
    ("SIP:ALICE@AtLanTa.CoM;Transport=udp", "sip:alice@AtLanTa.CoM;Transport=UDP"),
    ("sip:bob@biloxi.com", "sip:bob@biloxi.com:5060"),
    ("sip:bob@biloxi.com", "sip:bob@biloxi.com;transport=udp"),
    ("sip:bob@biloxi.com", "sip:bob@biloxi.com:6000;transport=tcp"),
    ("sip:carol@chicago.com", "sip:carol@chicago.com?Subject=next%20meeting"),
    ("sip:bob@phone21.boxesbybob.com", "sip:bob@192.0.2.4"),
    ("sip:carol@chicago.com;security=on", "sip:carol@chicago.com;security=off"),
    ("sip:bob@biloxi.com", "sips:bob@biloxi.com"),
    ("sip:bob@biloxi.com", "sip:bob:x@biloxi.com"),
    ("sip:a%3Bb@c", "sip:a;b@c"),
    ("sip:carol@chicago.com;security=on", "sip:carol@chicago.com;security"),
]


@pytest.mark.parametrize(("ours", "theirs"), SAME)
def test_equivalent_uris_are_equal(ours: str, theirs: str) -> None:
    assert sip(ours).equals(sip(theirs))
    assert sip(theirs).equals(sip(ours))


@pytest.mark.parametrize(("ours", "theirs"), DIFFERENT)
def test_different_uris_are_not_equal(ours: str, theirs: str) -> None:
    assert not sip(ours).equals(sip(theirs))
    assert not sip(theirs).equals(sip(ours))


def test_an_address_of_record_is_scheme_user_and_host() -> None:
    """RFC 3261 section 10.3 item 5."""
    uri = sip("sip:%61lice:pw@Atlanta.COM:5061;transport=tcp?Subject=x")
    assert uri.address_of_record == "sip:alice@atlanta.com"
    assert sip("sips:[2001:DB8::1]").address_of_record == "sips:[2001:db8::1]"


def test_a_user_is_escaped_and_unescaped() -> None:
    for text in ("alice", "*80", "#31#", "a b@c", "é", "a:b", "100%", "\x00", "<x>"):
        uri = SipUri("sip", escape_user(text), None, "b")
        assert parse_uri(str(uri)) == uri
        assert uri.decoded_user == text
    assert sip("sip:b").decoded_user is None


def test_parameters_are_found_in_any_case_and_escaped() -> None:
    uri = sip("sip:a@b;LR;x=%41;%6Cong=1;x=2")
    assert uri.parameter("lr") == ""
    assert uri.parameter("x") == "A"
    assert uri.parameter("long") == "1"
    assert uri.parameter("y") is None


def test_a_uri_is_a_frozen_value() -> None:
    uri = sip("sip:a@b")
    with pytest.raises(dataclasses.FrozenInstanceError):
        uri.user = "c"  # type: ignore[misc]
    assert str(dataclasses.replace(uri, port=5061)) == "sip:a@b:5061"
    assert len({uri, sip("sip:a@b")}) == 1


def test_strangers_can_make_us_remember_only_so_much() -> None:
    """URIs are remembered between messages: not too many, and no long ones."""
    for number in range(2 * _REMEMBERED):
        parse_uri(f"sip:{number}@example.com")
    before = _remembered_uri.cache_info()
    assert before.currsize == before.maxsize == _REMEMBERED
    for number in range(10):
        parse_uri(f"sip:{number}@{'x' * _LONGEST_REMEMBERED}.example.com")
    assert _remembered_uri.cache_info() == before
