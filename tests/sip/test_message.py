"""Reading messages and building responses: RFC 3261 sections 7, 8.2.6, 18.2.1 and 18.3."""

from __future__ import annotations

import pytest

from rtpmix.errors import UsageError
from rtpmix.sip.message import (
    MAX_HEADER_LINES,
    MAX_LINE,
    MAX_MESSAGE,
    MessageError,
    Request,
    Response,
    mark_received,
    parse_message,
    respond,
)
from tests.sip.agents import raw

HEAD = (
    b"INVITE sip:bob@biloxi.com SIP/2.0\r\n"
    b"Via: SIP/2.0/UDP pc33.atlanta.com;branch=z9hG4bK776asdhds\r\n"
    b"Max-Forwards: 70\r\n"
    b"To: Bob <sip:bob@biloxi.com>\r\n"
    b"From: Alice <sip:alice@atlanta.com>;tag=1928301774\r\n"
    b"Call-ID: a84b4c76e66710@pc33.atlanta.com\r\n"
    b"CSeq: 314159 INVITE\r\n"
    b"Contact: <sip:alice@pc33.atlanta.com>\r\n"
)
INVITE = HEAD + b"Content-Type: application/sdp\r\nContent-Length: 4\r\n\r\nv=0\n"


def request(data: bytes) -> Request:
    message = parse_message(data)
    assert isinstance(message, Request)
    return message


def refusal(data: bytes) -> MessageError:
    with pytest.raises(MessageError) as caught:
        parse_message(data)
    return caught.value


def test_the_invite_of_rfc_3261_is_read() -> None:
    """Section 4."""
    message = request(INVITE)
    assert message.method == "INVITE"
    assert message.uri == str(message.request_uri) == "sip:bob@biloxi.com"
    assert (message.via.host, message.via.branch) == ("pc33.atlanta.com", "z9hG4bK776asdhds")
    assert (message.to.display_name, message.to.tag) == ("Bob", None)
    assert (message.from_.display_name, message.from_.tag) == ("Alice", "1928301774")
    assert message.call_id == "a84b4c76e66710@pc33.atlanta.com"
    assert message.cseq == (314159, "INVITE")
    assert message.max_forwards == 70
    assert str(message.contacts[0].uri) == "sip:alice@pc33.atlanta.com"
    assert message.content_type == "application/sdp"
    assert message.body == b"v=0\n"
    assert message.routes == message.record_routes == message.require == message.allow == []
    assert message.expires is None
    assert not message.contact_is_star
    assert message.to_bytes() == INVITE


def test_options_and_methods_are_listed() -> None:
    """Sections 20.5, 20.32 and 20.37."""
    message = request(HEAD + b"Allow: INVITE, ACK\r\nk: 100rel\r\nSupported: timer,\r\n\r\n")
    assert message.allow == ["INVITE", "ACK"]
    assert message.supported == ["100rel", "timer"]


def test_a_response_is_read() -> None:
    """Section 7.2."""
    data = b"SIP/2.0 486 Busy Here" + HEAD[HEAD.index(b"\r\n") :] + b"\r\n"
    message = parse_message(data)
    assert isinstance(message, Response)
    assert (message.status, message.reason) == (486, "Busy Here")
    assert message.cseq.method == "INVITE"
    assert message.to_bytes() == data[:-2] + b"Content-Length: 0\r\n\r\n"


def test_line_ends_before_a_message_are_skipped() -> None:
    """Section 7.5."""
    assert request(b"\r\n\r\n\r\n" + INVITE).method == "INVITE"


def test_a_body_ends_at_its_length_or_with_the_datagram() -> None:
    """Section 18.3."""
    assert request(INVITE + b"INVITE sip:x SIP/2.0\r\n\r\n").body == b"v=0\n"
    assert request(HEAD + b"\r\nabc").body == b"abc"
    assert request(HEAD + b"l: 0\r\n\r\nabc").body == b""
    assert refusal(HEAD + b"l: 4\r\n\r\nabc").status_hint == 400


def test_bytes_that_are_not_utf_8_come_back() -> None:
    data = INVITE.replace(b"Bob", b'"B\xf6b \xc3\xb6"')
    message = request(data)
    assert message.to.display_name == "B\udcf6b ö"
    assert message.to_bytes() == data


CHANGES: list[tuple[bytes, bytes]] = [
    (b"SIP/2.0\r\nVia", b"SIP/2\r\nVia"),
    (b"bob@biloxi.com SIP", b"bob@biloxi.com?a=b SIP"),
    (b"sip:bob@biloxi.com SIP", b"sip:b ob@biloxi.com SIP"),
    (b"To: Bob", b"To: Bob,"),
    (b"To: Bob <sip:bob@biloxi.com>\r\n", b""),
    (b"Max-Forwards: 70", b"Max-Forwards: 256"),
    (b"Max-Forwards: 70", b"Max-Forwards: -1"),
    (b"Max-Forwards: 70", b"Max-Forwards: 70\r\nMax-Forwards: 70"),
    (b"From: Alice", b"f: <sip:x@y>;tag=1\r\nFrom: Alice"),
    (b"Call-ID: a84b4c76e66710@pc33.atlanta.com", b"Call-ID: a b"),
    (b"Call-ID: a84b4c76e66710@pc33.atlanta.com", b"X: y"),
    (b"CSeq: 314159 INVITE", b"CSeq: 314159 invite"),
    (b"CSeq: 314159 INVITE", b"CSeq: 2147483648 INVITE"),
    (b"Contact: <sip:alice@pc33.atlanta.com>", b"Contact: <sip:alice@pc33.atlanta.com>, *"),
    (b"Contact: <sip:alice@pc33.atlanta.com>", b"Contact:"),
    (b"Contact: ", b"Route: x\r\nContact: "),
    (b"Contact: ", b"Record-Route: <sip:a;lr>,\r\nContact: "),
    (b"Content-Length: 4", b"Content-Length: 4\r\nl: 5"),
    (b"Content-Length: 4", b"Content-Length: 4, 4"),
    (b"Content-Length: 4", b"Content-Length: +4"),
]


@pytest.mark.parametrize(("old", "new"), CHANGES)
def test_what_a_user_agent_relies_on_is_strict(old: bytes, new: bytes) -> None:
    """Sections 8.1.1 and 20: 400, and the request can be answered."""
    assert INVITE.count(old) == 1
    error = refusal(INVITE.replace(old, new))
    assert error.status_hint == 400
    assert error.partial is not None
    assert respond(error.partial, 400).to_bytes().startswith(b"SIP/2.0 400 Bad Request\r\nVia:")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"Via: SIP/2.0/UDP pc33.atlanta.com;branch=z9hG4bK776asdhds\r\n", b""),
        (b"Via: ", b"Via: ,"),
        (b"Via: ", b"Via: x\r\nVia: "),
    ],
)
def test_a_request_without_a_good_topmost_via_has_no_answer(old: bytes, new: bytes) -> None:
    error = refusal(INVITE.replace(old, new))
    assert error.partial is None


@pytest.mark.parametrize(
    "data",
    [
        *(b"", b"\r\n", b"\r\n\r\n", b"\x00" * 50, b"hello\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n"),
        *(b"SIP/2.0 099 X\r\n\r\n", b"SIP/2.0 700 X\r\n\r\n", b"SIP/2.0 200\r\n\r\n"),
        *(b"SIP/3.0 200 OK\r\n\r\n", b"SIP/2.0 \xd9\xa2\xd9\xa0\xd9\xa0 OK\r\n\r\n"),
        INVITE.replace(b"INVITE sip", b"INVITE\tsip"),
        INVITE.replace(b"\r\n", b"\n"),
        INVITE.replace(b"Alice", b"Al\nice"),
        INVITE.replace(b"Alice", b"Al\rice"),
        INVITE.replace(b"Alice", b"Al\x00ice"),
        INVITE + b"x" * MAX_MESSAGE,
        HEAD + b"X: y\r\n" * MAX_HEADER_LINES + b"\r\n",
        HEAD + b"X: " + b"y" * (MAX_LINE + 1) + b"\r\n\r\n",
        HEAD + b"X: y\r\n" + (b" " + b"y" * 1000 + b"\r\n") * 9 + b"\r\n",
    ],
)
def test_what_is_no_message_is_dropped(data: bytes) -> None:
    error = refusal(data)
    assert error.partial is None


def test_only_so_many_vias_are_taken() -> None:
    assert len(request(HEAD + b"v: SIP/2.0/UDP a\r\n" * 99 + b"\r\n").vias) == 100
    assert refusal(HEAD + b"v: SIP/2.0/UDP a\r\n" * 100 + b"\r\n").status_hint == 400
    assert refusal(HEAD + b"v:" + b"SIP/2.0/UDP a," * 200 + b"\r\n\r\n").status_hint == 400


def test_a_message_needs_its_empty_line() -> None:
    error = refusal(HEAD)
    assert error.status_hint == 400
    assert error.partial is not None


def test_another_version_is_answered_505() -> None:
    """Section 21.5.6."""
    error = refusal(INVITE.replace(b"SIP/2.0\r\nVia", b"SIP/7.0\r\nVia"))
    assert error.status_hint == 505
    assert error.partial is not None


def test_a_version_is_read_in_any_case() -> None:
    """Section 7.1."""
    assert request(INVITE.replace(b"SIP/2.0\r\nVia", b"sip/2.0\r\nVia")).to_bytes() == INVITE


def test_a_method_is_compared_in_its_case() -> None:
    """Section 7.1."""
    data = INVITE.replace(b"INVITE", b"invite")
    assert request(data).method == "invite"


def test_contact_may_be_a_star() -> None:
    """Section 10.2.2."""
    message = request(INVITE.replace(b"<sip:alice@pc33.atlanta.com>\r", b"*\r"))
    assert message.contact_is_star
    assert message.contacts == []


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        *((b"0", 0), (b"7200", 7200), (b"4294967295", 2**32 - 1), (b"99999999999", 2**32 - 1)),
        *((b"", 3600), (b"-1", 3600), (b"Thu, 01 Dec 1994 16:00:00 GMT", 3600)),
        (b"9" * 5000, 2**32 - 1),
    ],
)
def test_expires_is_read_whatever_it_is(text: bytes, seconds: int) -> None:
    """Sections 10.2.1.1 and 20.19."""
    assert request(HEAD + b"Expires: " + text + b"\r\n\r\n").expires == seconds


@pytest.mark.parametrize(
    ("text", "media_type"),
    [
        (b"application/sdp", "application/sdp"),
        (b"Application / SDP ; charset=utf-8", "application/sdp"),
        (b'multipart/mixed;boundary="a;b"', "multipart/mixed"),
        (b"", ""),
    ],
)
def test_a_content_type_is_read_without_its_parameters(text: bytes, media_type: str) -> None:
    assert request(HEAD + b"c: " + text + b"\r\n\r\n").content_type == media_type


def test_a_response_copies_what_identifies_the_request() -> None:
    """Section 8.2.6.2."""
    data = HEAD + b"v: SIP/2.0/UDP b\r\nRecord-Route: <sip:p;lr>\r\nTimestamp: 54\r\n\r\n"
    message = request(data)
    response = respond(message, 180, to_tag="a6c85cf", headers=[("Server", "x")])
    assert response.reason == "Ringing"
    assert response.headers.lines("Via") == message.headers.lines("Via")
    assert response.headers.get("From") == message.headers.get("From")
    assert response.headers.get("To") == "Bob <sip:bob@biloxi.com>;tag=a6c85cf"
    assert response.to.tag == "a6c85cf"
    assert message.to.tag is None
    assert response.call_id == message.call_id
    assert response.cseq == message.cseq
    assert response.headers.get("Record-Route") == "<sip:p;lr>"
    assert "Timestamp" not in response.headers
    assert parse_message(response.to_bytes()).headers.get("Server") == "x"


def test_a_to_tag_that_is_there_is_kept() -> None:
    """Section 8.2.6.2."""
    message = request(INVITE.replace(b"biloxi.com>", b"biloxi.com>;tag=old"))
    assert respond(message, 200, to_tag="new").to.tag == "old"


def test_only_a_100_has_the_timestamp_and_only_a_success_the_routes() -> None:
    """Sections 8.2.6.1 and 12.1.1."""
    message = request(HEAD + b"Record-Route: <sip:p;lr>\r\nTimestamp: 54\r\n\r\n")
    trying, busy, ok = respond(message, 100), respond(message, 486), respond(message, 200)
    assert trying.headers.get("Timestamp") == "54"
    assert ["Record-Route" in answer.headers for answer in (trying, busy, ok)] == [
        False,
        False,
        True,
    ]


def test_a_response_has_a_body() -> None:
    response = respond(request(INVITE), 200, body=b"v=0\r\n", content_type="application/sdp")
    assert response.to_bytes().endswith(
        b"Content-Type: application/sdp\r\nContent-Length: 5\r\n\r\nv=0\r\n"
    )


def test_a_nul_that_the_peer_quoted_is_copied() -> None:
    """RFC 4475 section 3.1.1.2: nothing a peer may send keeps it from being answered."""
    message = request(INVITE.replace(b"Alice", b'"A\\\x00"'))
    assert b'From: "A\\\x00" <sip:alice' in respond(message, 200).to_bytes()


def test_misuse_names_its_remedy() -> None:
    message = request(INVITE)
    for wrong in (99, 700):
        with pytest.raises(UsageError, match="100 to 699"):
            respond(message, wrong)
    with pytest.raises(UsageError, match="tag"):
        respond(message, 200, to_tag="a b")
    with pytest.raises(UsageError, match="reason"):
        respond(message, 200, "OK\r\nVia: x")
    with pytest.raises(UsageError):
        respond(message, 200, headers=[("X", "a\r\nb")])


def test_the_source_of_a_request_is_noted() -> None:
    """RFC 3261 section 18.2.1: received where the sent-by is not the source address."""
    message = request(INVITE)
    mark_received(message, ("192.0.2.7", 5070))
    assert message.via.received == "192.0.2.7"
    assert message.via.rport is None
    assert message.via.branch == "z9hG4bK776asdhds"
    same = request(INVITE.replace(b"pc33.atlanta.com;branch", b"192.0.2.7;branch"))
    mark_received(same, ("192.0.2.7", 5070))
    assert same.via.received is None


def test_an_asked_for_source_port_is_noted() -> None:
    """RFC 3581 section 4: rport is filled in, and received is there even if it is the sent-by."""
    data = INVITE.replace(b"pc33.atlanta.com;branch", b"[2001:db8::1];rport;branch")
    message = request(data.replace(b"Max-F", b"v: SIP/2.0/UDP b;rport\r\nMax-F"))
    mark_received(message, ("2001:db8::1", 5070))
    assert str(message.via) == (
        "SIP/2.0/UDP [2001:db8::1];rport=5070;branch=z9hG4bK776asdhds;received=2001:db8::1"
    )
    assert message.vias[1].rport == ""


def test_a_source_that_the_peer_wrote_itself_is_not_believed() -> None:
    message = request(INVITE.replace(b";branch", b";received=203.0.113.9;rport=9;branch"))
    mark_received(message, ("192.0.2.7", 5070))
    assert (message.via.received, message.via.rport) == ("192.0.2.7", "5070")


def test_what_is_noted_in_the_via_reads_the_same_when_it_is_read_again() -> None:
    """RFC 3261 section 18.2.1: the accessors follow the text, the Vias below it with them."""
    below = b"Via: SIP/2.0/UDP a.example, SIP/2.0/TCP b.example:5070;branch=z9hG4bK2\r\n"
    message = request(INVITE.replace(b"Max-Forwards", below + b"Max-Forwards"))
    assert [via.host for via in message.vias] == ["pc33.atlanta.com", "a.example", "b.example"]
    mark_received(message, ("192.0.2.7", 5070))
    assert message.vias == request(message.to_bytes()).vias
    assert message.via.received == "192.0.2.7"


def test_a_via_with_nothing_to_note_stays_as_it_came() -> None:
    """RFC 3261 section 18.2.1: received is for a sent-by that is not the source address."""
    message = request(INVITE.replace(b"UDP pc33.atlanta.com;", b"udp  192.0.2.7 ; "))
    mark_received(message, ("192.0.2.7", 5070))
    assert message.headers.get("Via") == "SIP/2.0/udp  192.0.2.7 ; branch=z9hG4bK776asdhds"


def test_what_one_reader_does_to_a_list_of_contacts_no_other_sees() -> None:
    """Values are remembered between messages; lists of them are not shared."""
    request(INVITE).contacts.clear()
    first, second = request(INVITE), request(INVITE)
    first.contacts.clear()
    first.headers.typed("Contact", list).clear()
    assert [str(contact.uri) for contact in second.contacts] == ["sip:alice@pc33.atlanta.com"]


@pytest.mark.parametrize("break_", ["\x0b", "\x0c", "\x1c", "\x1e", "\x85", "\u2028", "\u2029"])
def test_only_crlf_ends_a_line(break_: str) -> None:
    """RFC 3261 section 7: what other texts take for the end of a line is part of a value."""
    message = parse_message(
        raw("OPTIONS", headers="Subject: a|Evil: b").replace(b"|", break_.encode())
    )
    assert message.headers.get("Subject") == f"a{break_}Evil: b"
    assert "Evil" not in message.headers


@pytest.mark.parametrize("break_", ["\r", "\n", "\n\r", "\r\r\n", "\n\n", "\r\x0b\n"])
def test_a_bare_cr_or_lf_is_refused(break_: str) -> None:
    with pytest.raises(MessageError):
        parse_message(raw("OPTIONS", headers="Subject: a|Evil: b").replace(b"|", break_.encode()))
