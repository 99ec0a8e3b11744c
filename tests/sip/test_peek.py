"""rtpmix.sip.peek: what is told of a message from its bytes alone."""

from __future__ import annotations

import pytest

from rtpmix.sip.flow import Flow
from rtpmix.sip.matching import server_key
from rtpmix.sip.message import Request, Response, parse_message
from rtpmix.sip.peek import is_new_call, peek_invite
from rtpmix.sip.user_agent import UserAgent, UserAgentConfig
from tests.sip.agents import ALICE, BOB, raw, tokens

UDP = Flow("UDP", ALICE, BOB)


def agent() -> UserAgent:
    return UserAgent(UserAgentConfig(), token=tokens(1))


def answers(ours: UserAgent) -> list[Response]:
    found = [parse_message(outgoing.data) for outgoing in ours.datagrams_to_send()]
    return [message for message in found if isinstance(message, Response)]


def test_only_an_invite_without_a_to_tag_is_a_new_call() -> None:
    invite = raw("INVITE")
    assert is_new_call(invite)
    assert is_new_call(invite.replace(b"\r\nTo:", b"\r\nt:"))
    assert not is_new_call(
        invite.replace(b"\r\nTo: <sip:bob@192.0.2.2>", b"\r\nTo: <sip:b@b>;tag=x")
    )
    assert not is_new_call(raw("BYE"))
    assert not is_new_call(invite.replace(b"\r\nTo:", b"\r\ntO:"))  # read as a whole
    assert not is_new_call(b"SIP/2.0 200 OK\r\nTo: x\r\n\r\n")
    assert not is_new_call(b"INVITE ")


def test_peeking_and_reading_agree() -> None:
    """RFC 3261 section 17.2.3: the same transaction, whichever way it is looked at."""
    data = raw("INVITE", headers="v: SIP/2.0/UDP 192.0.2.77;branch=z9hG4bKold")
    request, peeked = parse_message(data), peek_invite(data)
    assert isinstance(request, Request)
    assert peeked is not None
    assert peeked.key == server_key(request)
    assert peeked.call_id.decode() == request.call_id
    assert peeked.other_vias == (b"SIP/2.0/UDP 192.0.2.77;branch=z9hG4bKold",)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"\r\nCSeq: ", b"\r\nCSEQ : "),
        (b"\r\nContact", b"\r\n folded\r\nContact"),
        (b"\r\nContact", b"\rX: y\r\nContact"),
        (b"\r\nContact", b"\nX: y\r\nContact"),
        (b"\r\nContact", b"\r\nX: \0\r\nContact"),
        (b"\r\nContact", b"\r\nCSeq: 2 INVITE\r\nContact"),
        (b"branch=z9hG4bK", b"branch="),
        (b" INVITE\r\n", b" BYE\r\n"),
        (b"\r\n\r\n", b"\r\n"),
        (b"\r\nCall-ID: ", b"\r\nCall-ID: \xff"),
        (b"\r\nVia: SIP/2.0/UDP", b"\r\nVia: SIP/2.0 UDP"),
    ],
)
def test_what_is_unusual_is_left_to_a_whole_reading(old: bytes, new: bytes) -> None:
    data = raw("INVITE")
    assert peek_invite(data) is not None
    assert old in data
    assert peek_invite(data.replace(old, new, 1)) is None


@pytest.mark.parametrize("end", [b"", b"\r\n", b"INVITE", b"\r\n\r\n", b"\xff\r\n\r\n"])
def test_peeking_raises_for_nothing(end: bytes) -> None:
    data = raw("INVITE")
    for cut in range(0, len(data), 3):
        peek_invite(data[:cut] + end)
        is_new_call(data[:cut] + end)


def test_a_refusal_of_what_was_not_read_is_that_of_what_was() -> None:
    """RFC 3261 sections 8.2.6.2, 8.2.7, 18.2.1 and 21.5.4; RFC 3581."""
    for change in (
        (b"Contact", b"Contact"),
        (b";branch", b";rport;branch"),
        (b"192.0.2.1", b"host.example"),
        (b"\r\nContact", b"\r\nv: SIP/2.0/UDP a;branch=z9hG4bKold,SIP/2.0/UDP b\r\nContact"),
    ):
        data = raw("INVITE").replace(*change)
        read, unread = agent(), agent()
        read.admit_by(lambda request, flow, now: 7)
        read.receive_datagram(data, UDP, 0.0)
        unread.refuse_unread(data, UDP, 0.0, 7)
        one, other = read.datagrams_to_send(), unread.datagrams_to_send()
        assert [sent.flow for sent in one] == [sent.flow for sent in other]
        first, second = parse_message(one[0].data), parse_message(other[0].data)
        assert sorted(first.headers.items()) == sorted(second.headers.items())
        assert unread.snapshot()["refused_unread"] == 1
        assert unread.snapshot()["calls"] == unread.snapshot()["invite_server"] == 0


def test_a_copy_of_a_call_that_was_let_in_is_not_refused() -> None:
    """RFC 3261 section 17.2.1: it gets the last response again."""
    ours, data = agent(), raw("INVITE")
    ours.receive_datagram(data, UDP, 0.0, admitted=True)
    assert [response.status for response in answers(ours)] == [100]
    ours.refuse_unread(data, UDP, 0.5, 5)
    assert [response.status for response in answers(ours)] == [100]
    assert ours.snapshot()["calls"] == 1


def test_what_is_spelled_unusually_is_refused_all_the_same() -> None:
    ours = agent()
    ours.refuse_unread(raw("INVITE").replace(b"\r\nCSeq:", b"\r\ncSEQ:"), UDP, 0.0, 5)
    ours.refuse_unread(raw("INVITE").replace(b" INVITE\r\n", b" BYE\r\n"), UDP, 0.0, 5)
    assert [response.status for response in answers(ours)] == [503, 400]
    assert ours.snapshot()["calls"] == 0


def test_the_ack_for_a_refusal_is_not_read() -> None:
    """Section 8.2.7: there is no transaction that it could belong to."""
    ours = agent()
    ours.refuse_unread(raw("INVITE"), UDP, 0.0, 5)
    tag = answers(ours)[0].to.tag
    assert tag is not None
    ours.receive_datagram(
        raw("ACK").replace(
            b"To: <sip:bob@192.0.2.2>", b"To: <sip:bob@192.0.2.2>;tag=" + tag.encode()
        ),
        UDP,
        0.0,
    )
    counts = ours.snapshot()
    assert (counts["refusals_acknowledged"], counts.get("received", 0)) == (1, 0)


def test_a_new_call_that_was_let_in_is_not_asked_about_again() -> None:
    ours = agent()
    ours.admit_by(lambda request, flow, now: 5)
    ours.receive_datagram(raw("INVITE"), UDP, 0.0, admitted=True)
    assert ours.snapshot()["calls"] == 1
