"""RFC 4475, SIP torture test messages: every message of its bit-exact archive (appendix A).

The files in ``rfc4475/`` are the archive decoded. Valid messages are read and their values
compared; invalid ones give the status that the RFC's text names.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from rtpmix.sip.message import (
    MessageError,
    Request,
    Response,
    parse_message,
    respond,
)
from rtpmix.sip.uri import OpaqueUri, SipUri

DIRECTORY = Path(__file__).parent / "rfc4475"
FILES = sorted(path.stem for path in DIRECTORY.glob("*.dat"))

VALID = frozenset(
    (
        *("wsinv", "intmeth", "esc01", "escnull", "esc02", "lwsdisp", "longreq"),
        *("dblreq", "semiuri", "transports", "mpart01", "unreason", "noreason", "baddate"),
        *("badbranch", "unkscm", "novelsc", "unksm2", "bext01", "invut", "regaut01"),
        *("bcast", "zeromf", "cparam01", "cparam02", "regescrt", "sdp01", "inv2543"),
    )
)
# Section 3.1.2 and 3.3: what the RFC lets an element answer; None is a drop.
REFUSED: dict[str, int | None] = {
    "badinv01": 400,
    "clerr": 400,
    "ncl": 400,
    "scalar02": 400,
    "scalarlg": None,
    "quotbal": 400,
    "ltgtruri": 400,
    "lwsruri": 400,
    "lwsstart": 400,
    "trws": 400,
    "escruri": 400,
    "regbadct": 400,
    "badaspec": 400,
    "baddn": 400,
    "badvers": 505,
    "mismatch01": 400,
    "mismatch02": 400,
    "bigcode": None,
    "insuf": 400,
    "multi01": 400,
    "mcl01": 400,
    "test": None,  # only in the archive: a start line without a version, which is no SIP
}


def read(name: str) -> bytes:
    return (DIRECTORY / f"{name}.dat").read_bytes()


def request(name: str) -> Request:
    message = parse_message(read(name))
    assert isinstance(message, Request)
    return message


def response(name: str) -> Response:
    message = parse_message(read(name))
    assert isinstance(message, Response)
    return message


def sip(text: str) -> SipUri:
    return SipUri.parse(text)


def test_the_archive_is_complete() -> None:
    """49 messages in the text, and one more in the archive."""
    assert len(FILES) == 50
    assert set(FILES) == VALID | set(REFUSED)


@pytest.mark.parametrize("name", sorted(VALID))
def test_a_valid_message_comes_back_as_it_was(name: str) -> None:
    """Writing and reading again changes no value."""
    message = parse_message(read(name))
    again = parse_message(message.to_bytes())
    ours = [item for item in message.headers.items() if item[0] != "Content-Length"]
    theirs = [item for item in again.headers.items() if item[0] != "Content-Length"]
    assert ours == theirs
    assert again.body == message.body


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_an_invalid_message_gives_its_status(name: str) -> None:
    with pytest.raises(MessageError) as caught:
        parse_message(read(name))
    assert caught.value.status_hint == REFUSED[name]


@pytest.mark.parametrize("name", sorted(n for n, status in REFUSED.items() if status))
def test_an_invalid_request_can_be_answered(name: str) -> None:
    """The answer repeats what identifies the request (RFC 3261 section 8.2.6.2)."""
    with pytest.raises(MessageError) as caught:
        parse_message(read(name))
    partial, status = caught.value.partial, caught.value.status_hint
    if name == "badinv01":
        assert partial is None  # its topmost Via can't be read, so nothing says where to answer
        return
    assert partial is not None
    assert status is not None
    answer = respond(partial, status, to_tag="x1")
    assert answer.status == REFUSED[name]
    assert answer.headers.lines("Via") == partial.headers.lines("Via")
    assert answer.headers.get("Call-ID") == partial.headers.get("Call-ID")


def test_wsinv_is_folded_and_spaced_in_every_way() -> None:
    """Section 3.1.1.1."""
    message = request("wsinv")
    assert message.request_uri == sip("sip:vivekg@chair-dnrc.example.com;unknownparam")
    assert isinstance(message.request_uri, SipUri)
    assert message.request_uri.parameter("unknownparam") == ""
    assert message.to.uri == sip("sip:vivekg@chair-dnrc.example.com")
    assert message.to.tag == "1918181833n"
    assert message.from_.display_name == 'J Rosenberg \\"'
    assert message.from_.tag == "98asjd8"
    assert message.max_forwards == 68
    assert message.call_id == "wsinv.ndaksdj@192.0.2.1"
    assert message.cseq == (9, "INVITE")
    assert [(via.transport, via.host, via.branch) for via in message.vias] == [
        ("UDP", "192.0.2.2", "390skdjuw"),
        ("TCP", "spindle.example.com", "z9hG4bK9ikj8"),
        ("UDP", "192.168.255.111", "z9hG4bK30239"),
    ]
    assert all(via.protocol == "SIP/2.0" for via in message.vias)
    assert message.headers.get("Subject") == ""
    assert message.headers.get("NewFangledHeader") == "newfangled value continued newfangled value"
    assert message.headers.get("UnknownHeaderWithUnusualValue") == ";;,,;;,;"
    route = message.routes[0].uri
    assert isinstance(route, SipUri)
    assert route.parameter("unknownwith") == "value"
    assert route.parameter("unknown-no-value") == ""
    contact = message.contacts[0]
    assert contact.display_name == 'Quoted string ""'
    assert contact.parameter("newparam") == "newvalue"
    assert contact.parameter("secondparam") == ""
    assert contact.parameter("q") == "0.33"
    assert len(message.body) == 150


def test_intmeth_uses_every_character_that_a_token_may_hold() -> None:
    """Section 3.1.1.2."""
    message = request("intmeth")
    method = "!interesting-Method0123456789_*+`.%indeed'~"
    assert message.method == method
    assert message.cseq == (139122385, method)
    assert isinstance(message.request_uri, SipUri)
    assert message.request_uri.user == ("1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*")
    assert message.request_uri.password == "&it+has=1,weird!*pas$wo~d_too.(doesn't-it)"
    assert message.request_uri.host == "example.com"
    assert message.to.display_name == "BEL:\x07 NUL:\x00 DEL:\x7f"
    assert message.from_.display_name == "token1~` token2'+_ token3*%!.-"
    assert message.from_.parameter("fromparam''~+*_!.-%") == "работающий"
    assert message.from_.tag == "_token~1'+`*%!-."
    assert message.call_id == "intmeth.word%ZK-!.*_+'@word`~)(><:\\/\"][?}{"
    assert message.max_forwards == 255
    assert message.headers.get("extensionHeader-!.%*+_`'~") == "\ufeff大停電"


def test_esc01_is_not_unescaped_before_it_is_understood() -> None:
    """Section 3.1.1.3."""
    message = request("esc01")
    assert isinstance(message.request_uri, SipUri)
    assert message.request_uri.scheme == "sip"
    assert message.request_uri.user == "sips%3Auser%40example.com"
    assert message.request_uri.decoded_user == "sips:user@example.com"
    assert message.request_uri.host == "example.net"
    assert message.to.uri.equals(sip("sip:user@example.com"))
    from_uri, contact = message.from_.uri, message.contacts[0].uri
    assert isinstance(from_uri, SipUri)
    assert isinstance(contact, SipUri)
    assert from_uri.decoded_user == "I have spaces"
    assert contact.parameter("lr") == ""
    assert contact.parameter("name") == "value%41"
    assert contact.equals(sip("sip:caller@host5.example.net;lr;name=value%2541"))


def test_escnull_does_not_end_at_an_escaped_nul() -> None:
    """Section 3.1.1.4."""
    message = request("escnull")
    first, second = (contact.uri for contact in message.contacts)
    assert not first.equals(second)
    assert isinstance(message.to.uri, SipUri)
    assert message.to.uri.user == "null-%00-null"


def test_esc02_is_not_a_register() -> None:
    """Section 3.1.1.5: a percent sign escapes nothing in a method, a name or a header."""
    message = request("esc02")
    assert message.method == "RE%47IST%45R"
    assert message.to.display_name == "%Z%45"
    assert [str(contact.uri) for contact in message.contacts] == [
        "sip:alias1@host1.example.com",
        "sip:alias3@host3.example.com",
    ]
    assert message.headers.get("C%6Fntact") == "<sip:alias2@host2.example.com>"


def test_lwsdisp_has_no_space_before_the_angle_bracket() -> None:
    """Section 3.1.1.6."""
    message = request("lwsdisp")
    assert message.from_.display_name == "caller"
    assert message.from_.tag == "323"


def test_longreq_has_long_values() -> None:
    """Section 3.1.1.7."""
    message = request("longreq")
    assert message.to.display_name == f"I have a user name of {'extreme' * 10} proportion"
    uri = message.to.uri
    assert isinstance(uri, SipUri)
    assert (uri.user, uri.host, uri.port) == ("user", "example.com", 6000)
    assert uri.parameter("unknownparam1") == f"very{'long' * 20}value"
    assert uri.parameter(f"longparam{'name' * 25}") == "shortvalue"
    assert uri.parameter(f"very{'long' * 25}parameternamewithnovalue") == ""
    assert message.from_.uri == sip(f"sip:{'amazinglylongcallername' * 5}@example.net")
    assert message.from_.tag == f"12{'982' * 50}424"
    assert message.from_.parameter(f"unknownvalueless{'paramname' * 10}") == ""
    assert message.call_id == f"longreq.one{'really' * 20}longcallid"
    assert message.cseq == (3882340, "INVITE")
    assert len(message.vias) == 34
    assert [via.host for via in message.vias[:33]] == [
        f"sip{number}.example.com" for number in range(33, 0, -1)
    ]
    assert message.vias[-1].host == "host.example.com"
    assert message.vias[-1].received == "192.0.2.5"
    assert message.vias[-1].branch == f"very{'long' * 50}branchvalue"
    assert message.max_forwards == 70
    assert message.contacts[0].uri == sip(f"sip:{'amazinglylongcallername' * 5}@host5.example.net")
    assert message.content_type == "application/sdp"
    assert len(message.body) == 150


def test_dblreq_ends_at_its_content_length() -> None:
    """Section 3.1.1.8: the INVITE that follows in the datagram is ignored."""
    message = request("dblreq")
    assert message.method == "REGISTER"
    assert message.body == b""
    assert b"INVITE" not in message.to_bytes()


def test_semiuri_has_a_semicolon_in_its_user_part() -> None:
    """Section 3.1.1.9."""
    message = request("semiuri")
    assert isinstance(message.request_uri, SipUri)
    assert message.request_uri.user == "user;par=u%40example.net"
    assert message.request_uri.parameters == ()
    assert len(message.headers.get_all("Accept")) == 6


def test_transports_may_be_unknown() -> None:
    """Section 3.1.1.10."""
    message = request("transports")
    assert [via.transport for via in message.vias] == ["UDP", "SCTP", "TLS", "UNKNOWN", "TCP"]
    assert message.via.branch == "z9hG4bKkdjuw"


def test_mpart01_has_a_binary_body() -> None:
    """Section 3.1.1.11."""
    message = request("mpart01")
    assert message.content_type == "multipart/mixed"
    assert message.body.startswith(b"--7a9cbec02ceef655\r\n")
    assert message.body.rstrip().endswith(b"--7a9cbec02ceef655--")
    assert message.via.rport == ""


def test_unreason_has_a_reason_phrase_in_utf_8() -> None:
    """Section 3.1.1.12."""
    message = response("unreason")
    assert message.status == 200
    assert message.reason == "= 2**3 * 5**2 но сто девяносто девять - простое"
    assert message.reason.encode() in message.to_bytes()


def test_noreason_has_an_empty_reason_phrase() -> None:
    """Section 3.1.1.13."""
    message = response("noreason")
    assert (message.status, message.reason) == (100, "")
    assert message.to_bytes().startswith(b"SIP/2.0 100 \r\n")


def test_baddate_is_read_without_its_date() -> None:
    """Section 3.1.2.12: a header that is not needed may be malformed (RFC 3261 section 8.2)."""
    assert request("baddate").headers.get("Date") == "Fri, 01 Jan 2010 16:00:00 EST"


def test_badbranch_has_nothing_after_the_magic_cookie() -> None:
    """Section 3.2.1: left to the transaction layer, which must not take it for unique."""
    assert request("badbranch").via.branch == "z9hG4bK"


@pytest.mark.parametrize(
    ("name", "scheme"), [("unkscm", "nobodyknowsthisscheme"), ("novelsc", "soap.beep")]
)
def test_a_request_uri_of_another_scheme_is_read(name: str, scheme: str) -> None:
    """Sections 3.3.2 and 3.3.3: for a 416."""
    uri = request(name).request_uri
    assert isinstance(uri, OpaqueUri)
    assert uri.scheme == scheme


def test_unksm2_has_other_schemes_in_to_from_and_contact() -> None:
    """Section 3.3.4."""
    message = request("unksm2")
    assert message.to.uri == OpaqueUri("isbn", "2983792873")
    assert message.from_.uri == OpaqueUri("http", "//www.example.com")
    assert message.contacts[0].uri == OpaqueUri("name", "John_Smith")


def test_bext01_requires_what_nobody_supports() -> None:
    """Section 3.3.5."""
    message = request("bext01")
    assert message.require == ["nothingSupportsThis", "nothingSupportsThisEither"]
    assert message.headers.get_all("Proxy-Require") == [
        "noProxiesSupportThis",
        "norDoAnyProxiesSupportThis",
    ]


def test_invut_has_an_unknown_content_type() -> None:
    """Section 3.3.6: for a 415."""
    assert request("invut").content_type == "application/unknownformat"


def test_regaut01_has_an_unknown_scheme_of_credentials() -> None:
    """Section 3.3.7."""
    assert request("regaut01").headers.get("Authorization") == (
        "NoOneKnowsThisScheme opaque-data=here"
    )


def test_bcast_is_a_response_with_two_vias() -> None:
    """Section 3.3.10: for an element to drop, the second Via being a broadcast address."""
    assert [via.host for via in response("bcast").vias] == ["192.0.2.198", "255.255.255.255"]


def test_zeromf_has_no_hops_left() -> None:
    """Section 3.3.11."""
    assert request("zeromf").max_forwards == 0


def test_cparam_is_of_the_header_or_of_the_uri() -> None:
    """Sections 3.3.12 and 3.3.13: the angle brackets decide."""
    of_header, of_uri = request("cparam01").contacts[0], request("cparam02").contacts[0]
    assert of_header.parameter("unknownparam") == ""
    assert of_header.uri == sip("sip:+19725552222@gw1.example.net")
    assert of_uri.parameters == ()
    assert of_uri.uri == sip("sip:+19725552222@gw1.example.net;unknownparam")


def test_regescrt_keeps_the_header_in_the_contact() -> None:
    """Section 3.3.14."""
    uri = request("regescrt").contacts[0].uri
    assert isinstance(uri, SipUri)
    assert uri.headers == (("Route", "%3Csip:sip.example.com%3E"),)
    assert str(uri) == "sip:user@example.com?Route=%3Csip:sip.example.com%3E"


def test_sdp01_does_not_accept_sdp() -> None:
    """Section 3.3.15."""
    assert request("sdp01").headers.get_all("Accept") == ["text/nobodyKnowsThis"]


def test_inv2543_is_of_the_older_protocol() -> None:
    """Section 3.4.1: no branch, no From tag, no Max-Forwards, no Content-Length."""
    message = request("inv2543")
    assert message.via.branch is None
    assert message.from_.tag is None
    assert message.max_forwards is None
    assert message.content_type == "application/sdp"
    assert message.body.startswith(b"v=0\r\n")
    uri = message.record_routes[0].uri
    assert isinstance(uri, SipUri)
    assert uri.parameter("maddr") == "ss1.example.com"
