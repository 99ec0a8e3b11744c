"""Which transaction a message belongs to (RFC 3261 sections 8.2.2.2, 17.1.3, 17.2.3)."""

from __future__ import annotations

from typing import Any

import pytest

from rtpmix.sip.matching import client_key, merge_key, server_key
from rtpmix.sip.message import Request, parse_message, respond
from tests.sip.agents import Bob, raw


def request(method: str = "INVITE", **more: Any) -> Request:
    message = parse_message(raw(method, **more))
    assert isinstance(message, Request)
    return message


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({}, True),
        ({"cseq": 9, "call_id": "x", "from_tag": "y", "to_tag": "z", "uri": "sip:q@r"}, True),
        ({"branch": "z9hG4bKother"}, False),
        ({"via": "SIP/2.0/UDP 192.0.2.1:5062"}, False),
        ({"via": "SIP/2.0/UDP 192.0.2.3:5060"}, False),
    ],
)
def test_branch_and_sent_by_identify_a_server_transaction(
    change: dict[str, Any], same: bool
) -> None:
    """Section 17.2.3: nothing else counts once the branch has the magic cookie."""
    assert (server_key(request(**change)) == server_key(request())) is same


def test_an_ack_matches_its_invite_and_a_cancel_finds_it() -> None:
    """Sections 17.2.3 and 9.2."""
    invite = server_key(request())
    assert server_key(request("ACK")) == invite
    assert server_key(request("CANCEL")) != invite
    assert server_key(request("CANCEL"), "INVITE") == invite
    assert server_key(request("BYE")) != invite


@pytest.mark.parametrize("branch", [None, "1", "z9hG4b"])
@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({}, True),
        ({"cseq": 2}, False),
        ({"call_id": "x"}, False),
        ({"from_tag": "y"}, False),
        ({"uri": "sip:carol@192.0.2.2"}, False),
        ({"via": "SIP/2.0/UDP 192.0.2.1:5062"}, False),
        ({"to_tag": "of-the-response"}, True),
    ],
)
def test_without_the_cookie_rfc_2543_rules_match(
    branch: str | None, change: dict[str, Any], same: bool
) -> None:
    original = request(branch=branch)
    assert (server_key(request(branch=branch, **change)) == server_key(original)) is same
    assert (server_key(request("ACK", branch=branch, **change)) == server_key(original)) is same


def test_a_client_of_rfc_2543_can_call() -> None:
    """The fall-back of section 17.2.3 in a whole call: copies, ACK and CANCEL are recognised."""
    bob = Bob()
    number = bob.invited(branch="1")
    assert bob.status(raw("INVITE", branch="1")) == 100
    assert len(bob.events("Invited")) == 1
    bob.agent.reject(number, 486, 0.0)
    (busy,) = bob.drain()
    bob.take(raw("ACK", branch="1", to_tag=busy.to.tag))
    bob.run(31.0)
    assert bob.statuses().count(486) == 1


def test_a_response_matches_by_branch_and_method() -> None:
    """Section 17.1.3: a CANCEL has the branch of the INVITE."""
    invite, cancel = request(), request("CANCEL")
    assert client_key(respond(invite, 200)) == ("z9hG4bKraw1", "INVITE")
    assert client_key(respond(cancel, 200)) == ("z9hG4bKraw1", "CANCEL")


def test_a_request_that_comes_by_two_ways_is_merged() -> None:
    """Section 8.2.2.2: same From tag, Call-ID and CSeq, another branch: 482."""
    assert merge_key(request()) == merge_key(request(branch="z9hG4bKfork2"))
    bob = Bob()
    bob.invited()
    assert bob.status(raw("INVITE", branch="z9hG4bKfork2")) == 482
    assert bob.status(raw("INVITE", branch="z9hG4bKfork3", cseq=2)) == 100
    assert len(bob.events("Invited")) == 2
