"""Requests other than INVITE, received and sent (RFC 3261 section 17, RFC 4320)."""

from __future__ import annotations

import pytest

from rtpmix.errors import CapacityError, UsageError
from rtpmix.sip.flow import Flow
from rtpmix.sip.message import Request, respond
from tests.sip.agents import ALICE, BOB, Bob, Pair, live, raw


def message(bob: Bob) -> int:
    """Send it a MESSAGE by hand; return the request's number."""
    bob.take(raw("MESSAGE"))
    number: int = bob.events("Requested")[-1].request
    return number


def test_the_users_answer_goes_out_and_is_repeated_for_copies() -> None:
    bob = Bob()
    number = message(bob)
    bob.agent.respond(
        number, 200, 0.0, headers=[("X-Answer", "42")], body=b"hello", content_type="text/plain"
    )
    (answer,) = bob.drain()
    assert (answer.status, answer.body, answer.headers.get("X-Answer")) == (200, b"hello", "42")  # type: ignore[union-attr]
    assert answer.to.tag
    (again,) = bob.take(raw("MESSAGE"))
    assert again.to_bytes() == answer.to_bytes()
    assert len(bob.events("Requested")) == 1
    bob.run(40.0)
    assert live(bob.agent) == {}


def test_a_slow_answer_is_announced_by_a_100_once_timer_e_has_reached_t2() -> None:
    """RFC 4320 section 4.1: neither before nor after 3.5 seconds."""
    bob = Bob()
    number = message(bob)
    bob.run(10.0)
    assert [(at, m.status) for at, _, m in bob.sent] == [(3.5, 100)]  # type: ignore[union-attr]
    bob.agent.respond(number, 200, bob.now)
    bob.drain()
    assert bob.statuses() == [100, 200]


def test_a_request_that_nobody_answers_is_let_go_without_a_408() -> None:
    """RFC 4320 section 4.2."""
    bob = Bob()
    number = message(bob)
    bob.run(32.0)
    assert bob.statuses() == [100]
    assert live(bob.agent) == {}
    with pytest.raises(UsageError, match="given up"):
        bob.agent.respond(number, 200, 32.0)


@pytest.mark.parametrize("status", [100, 180, 199, 408])
def test_statuses_that_rfc_4320_forbids_are_refused(status: int) -> None:
    bob = Bob()
    number = message(bob)
    with pytest.raises(UsageError, match="RFC 4320"):
        bob.agent.respond(number, status, 0.0)


def test_a_request_is_answered_once() -> None:
    bob = Bob()
    number = message(bob)
    bob.agent.respond(number, 403, 0.0)
    with pytest.raises(UsageError, match="waits for no answer"):
        bob.agent.respond(number, 200, 0.0)


def test_a_request_of_ours_reports_its_final_response() -> None:
    pair = Pair()
    number = pair.alice.request(
        "OPTIONS", "sip:bob@192.0.2.2", flow=pair.flow(ALICE), from_uri="sip:a@192.0.2.1", now=0.0
    )
    pair.settle()
    (event,) = pair.events(ALICE, "Responded")
    assert (event.request, event.status) == (number, 200)
    assert event.response.headers.get("Accept") == "application/sdp"
    pair.run(40.0)
    assert live(pair.alice) == live(pair.bob) == {}


def test_silence_is_a_408_and_a_transport_error_a_503() -> None:
    """RFC 3261 section 8.1.3.1."""
    for fails, status in ((False, 408), (True, 503)):
        bob = Bob()
        bob.agent.request(
            "MESSAGE", "sip:a@192.0.2.1", flow=bob.flow, from_uri="sip:b@192.0.2.2", now=0.0
        )
        if fails:
            bob.agent.transport_failed(bob.flow, 0.0)
        bob.run(60.0)
        assert [event.status for event in bob.events("Responded")] == [status]
        assert live(bob.agent) == {}


def test_a_request_in_a_call_goes_the_dialogs_way() -> None:
    """Section 12.2.1.1."""
    bob = Bob()
    number, tag = bob.answered(headers="Record-Route: <sip:192.0.2.9:5070;lr>")
    bob.agent.request("INFO", call=number, body=b"x", content_type="text/plain", now=0.0)
    (info,) = bob.drain()
    assert isinstance(info, Request)
    assert (info.from_.tag, info.to.tag, info.call_id) == (tag, "alice1", "raw-call-1")
    assert info.headers.get("Route") == "<sip:192.0.2.9:5070;lr>"
    assert bob.sent[-1][1].remote == ("192.0.2.9", 5070)
    bob.take(respond(info, 200).to_bytes())
    bob.take(respond(info, 200).to_bytes())
    assert len(bob.events("Responded")) == 1


@pytest.mark.parametrize("method", ["INVITE", "ACK", "CANCEL", "BYE"])
def test_methods_with_commands_of_their_own_are_refused(method: str) -> None:
    with pytest.raises(UsageError, match="use invite, ack, cancel or bye"):
        Bob().agent.request(method, "sip:a@b", now=0.0)


def test_a_request_outside_of_a_call_needs_to_know_where_to_go() -> None:
    with pytest.raises(UsageError, match="target, flow and from_uri"):
        Bob().agent.request("MESSAGE", "sip:a@192.0.2.1", now=0.0)
    with pytest.raises(UsageError, match="call 7"):
        Bob().agent.request("INFO", call=7, now=0.0)


def test_limits_hold_for_our_own_requests_too() -> None:
    bob = Bob(max_transactions=1)
    flow = Flow("UDP", ALICE, BOB)
    bob.agent.request("MESSAGE", "sip:a@192.0.2.1", flow=flow, from_uri="sip:b@c", now=0.0)
    with pytest.raises(CapacityError):
        bob.agent.request("MESSAGE", "sip:a@192.0.2.1", flow=flow, from_uri="sip:b@c", now=0.0)


def test_a_method_that_is_no_token_is_refused_and_leaves_nothing() -> None:
    bob = Bob()
    number, _ = bob.answered()
    for method, content_type in (("A B", None), ("INFO", "text/plain\r\nX: y")):
        with pytest.raises(UsageError):
            bob.agent.request(method, call=number, content_type=content_type, now=0.0)
    assert bob.agent.snapshot()["requests"] == 0
