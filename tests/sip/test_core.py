"""What requests and responses are composed of."""

from __future__ import annotations

from rtpmix.sip.acknowledgement import ack_for_failure, cancel_for
from rtpmix.sip.core import Core, UserAgentConfig
from rtpmix.sip.flow import Flow
from rtpmix.sip.message import Request, parse_message, respond
from tests.sip.agents import ALICE, BOB, raw, tokens

UDP = Flow("UDP", ALICE, BOB)


def core(seed: object = 1) -> Core:
    return Core(UserAgentConfig(), tokens(seed))


def invite(headers: str = "") -> Request:
    message = parse_message(raw("INVITE", headers=headers))
    assert isinstance(message, Request)
    return message


def test_a_contact_names_address_and_transport() -> None:
    assert core().contact(UDP) == ("Contact", "<sip:rtpmix@192.0.2.2:5060>")
    tcp = Flow("TCP", ("2001:db8::1", 5060), ("2001:db8::2", 5060))
    assert core().contact(tcp) == ("Contact", "<sip:rtpmix@[2001:db8::2]:5060;transport=tcp>")


def test_a_tag_without_state_is_the_same_for_copies_and_not_to_be_guessed() -> None:
    """RFC 3261 section 8.2.7."""
    ours, other = core(1), core(2)
    assert ours.stateless_tag(invite()) == ours.stateless_tag(invite())
    assert ours.stateless_tag(invite()) != other.stateless_tag(invite())


def test_the_ack_for_a_failure_is_built_from_the_request_and_the_responses_to() -> None:
    """Section 17.1.1.3."""
    request = invite("Route: <sip:192.0.2.9;lr>, <sip:192.0.2.8;lr>")
    ack = parse_message(ack_for_failure(request, respond(request, 486, to_tag="bob")))
    assert isinstance(ack, Request)
    assert (ack.method, ack.uri) == ("ACK", request.uri)
    assert [via.branch for via in ack.vias] == [request.via.branch]
    assert (ack.from_.tag, ack.to.tag) == ("alice1", "bob")
    assert (ack.call_id, str(ack.cseq)) == (request.call_id, "1 ACK")
    assert [str(route) for route in ack.routes] == [str(route) for route in request.routes]


def test_a_cancel_repeats_the_request_it_cancels() -> None:
    """Section 9.1: the Route too, but neither Require nor a second Via."""
    request = invite("Route: <sip:192.0.2.9;lr>\r\nRequire: timer")
    cancel = parse_message(cancel_for(request).to_bytes())
    assert str(cancel.cseq) == "1 CANCEL"
    assert len(cancel.routes) == 1
    assert cancel.require == []
    assert cancel.to.tag is None


def test_numbers_are_never_given_twice() -> None:
    ours = core()
    assert len({ours.next_number() for _ in range(1000)}) == 1000


def test_a_branch_has_the_magic_cookie() -> None:
    """Section 8.1.1.7."""
    assert core().new_branch().startswith("z9hG4bK")
