"""Reliable provisional responses and PRACK (RFC 3262), both roles."""

from __future__ import annotations

from typing import Any

import pytest

from rtpmix.errors import UsageError
from rtpmix.sip.message import Request, Response, parse_message, respond
from rtpmix.sip.reliable import MAX_WAITING, Rack
from tests.sip.agents import ALICE, ANSWER, BOB, OFFER, Bob, Pair, live, raw

EARLY = b"v=0 early\r\n"


def pair_of(reliable: str = "on", **more: Any) -> Pair:
    return Pair(reliable=reliable, **more)


def ring(pair: Pair, status: int = 183, body: bytes = ANSWER, **more: Any) -> int:
    """Let Bob answer Alice's INVITE with a provisional response."""
    call: int = pair.events(BOB, "Invited")[-1].call
    pair.bob.ring(call, pair.now, status, body=body, **more)
    return call


def responses(pair: Pair, status: int) -> list[Response]:
    found = [parse_message(data) for data in pair.sent_by(BOB, f"SIP/2.0 {status}")]
    return [message for message in found if isinstance(message, Response)]


def end(pair: Pair, call: int) -> None:
    pair.alice.bye(call, pair.now)
    pair.run(pair.now + 200)
    assert live(pair.alice) == live(pair.bob) == {}


def test_early_media_is_acknowledged_and_the_answer_stands() -> None:
    """Sections 3 and 4: Require, RSeq, a PRACK with RAck, 200; then the 2xx without a body."""
    pair = pair_of()
    call = pair.invite()
    pair.settle()
    theirs = ring(pair)
    pair.settle()
    (progress,) = responses(pair, 183)
    assert progress.require == ["100rel"]
    assert 1 <= int(progress.headers.get("RSeq") or 0) < 2**31
    (prack,) = (parse_message(data) for data in pair.sent_by(ALICE, "PRACK"))
    assert prack.headers.get("RAck") == f"{progress.headers.get('RSeq')} 1 INVITE"
    assert (prack.cseq.number, prack.to.tag) == (2, progress.to.tag)
    assert len(pair.events(BOB, "Pracked")) == 1
    assert [event.needs_prack for event in pair.events(ALICE, "Progressed")] == [False]
    pair.bob.accept(theirs, pair.now)
    pair.settle()
    assert len(pair.events(ALICE, "Answered")) == 1
    end(pair, call)


def test_a_response_without_its_prack_is_repeated_at_intervals_that_double_until_504() -> None:
    """Section 3: T1 doubling without the bound T2; a 5xx after 64*T1."""
    pair = pair_of()
    pair.invite()
    pair.settle()
    pair.drop = lambda sent: sent.data.startswith(b"PRACK")
    ring(pair)
    pair.run(200.0)
    assert pair.times(BOB, "SIP/2.0 183") == [0, 500, 1500, 3500, 7500, 15500, 31500]
    assert pair.times(BOB, "SIP/2.0 504")[0] == 32000
    assert [event.timed_out for event in pair.events(BOB, "Cancelled")] == [True]
    assert [event.status for event in pair.events(ALICE, "Failed")] == [504]
    assert live(pair.alice) == live(pair.bob) == {}


def test_a_copy_is_not_acknowledged_again_and_not_told_again() -> None:
    pair = pair_of()
    call = pair.invite()
    pair.settle()
    ring(pair)
    pair.settle()
    pair.deliver(ALICE, pair.sent_by(BOB, "SIP/2.0 183")[0])
    pair.settle()
    assert len(pair.sent_by(ALICE, "PRACK")) == len(pair.events(ALICE, "Progressed")) == 1
    end(pair, call)


def test_a_response_that_overtook_another_is_dropped() -> None:
    """Section 4: one whose RSeq is not the next MUST NOT be acknowledged."""
    bob = Bob(reliable="on")
    bob.agent.invite(
        "sip:a@192.0.2.1", flow=bob.flow, from_uri="sip:b@192.0.2.2", body=OFFER, now=0.0
    )
    invite = bob.drain()[0]
    for rseq, wanted in ((7, 1), (9, 1), (8, 2), (9, 3), (9, 3), (8, 3)):
        assert isinstance(invite, Request)
        bob.take(provisional(invite, rseq))
        assert len(bob.events("Progressed")) == wanted


def provisional(invite: Request, rseq: object, body: bytes = b"") -> bytes:
    headers = [("Require", "100rel"), ("RSeq", str(rseq)), ("Contact", "<sip:a@192.0.2.1>")]
    return respond(invite, 183, to_tag="a1", headers=headers, body=body).to_bytes()


@pytest.mark.parametrize("rseq", ["0", "-1", "x", "", str(2**32), "1 2", "9" * 500])
def test_a_response_with_a_bad_rseq_is_an_ordinary_one(rseq: str) -> None:
    bob = Bob(reliable="on")
    bob.agent.invite(
        "sip:a@192.0.2.1", flow=bob.flow, from_uri="sip:b@192.0.2.2", body=OFFER, now=0.0
    )
    invite = bob.drain()[0]
    assert isinstance(invite, Request)
    assert bob.take(provisional(invite, rseq)) == []
    assert len(bob.events("Progressed")) == 1


def test_one_response_waits_for_the_prack_of_the_one_before() -> None:
    """Section 3: MUST NOT send a second one until the first is acknowledged."""
    pair = pair_of("required")
    call = pair.invite()
    pair.settle()
    pair.drop = lambda sent: sent.data.startswith(b"PRACK") and pair.now < 1
    ring(pair, 180, b"")
    ring(pair, 183, b"")
    pair.run(0.9)
    assert len(responses(pair, 183)) == 0
    pair.run(10.0)
    sent = (responses(pair, 180)[0], responses(pair, 183)[0])
    first, second = (int(each.headers.get("RSeq") or 0) for each in sent)
    assert second == first + 1
    assert [event.response.status for event in pair.events(ALICE, "Progressed")] == [180, 183]
    pair.alice.cancel(call, pair.now)
    pair.run(200.0)
    assert live(pair.alice) == live(pair.bob) == {}


def test_responses_that_wait_are_bounded() -> None:
    pair = pair_of("required")
    pair.invite()
    pair.settle()
    for _ in range(MAX_WAITING + 1):
        ring(pair, 180, b"")
    with pytest.raises(UsageError, match="wait for a PRACK"):
        ring(pair, 180, b"")


def test_a_2xx_waits_for_the_prack_of_an_answer() -> None:
    """Section 3: a UAS MUST NOT send a 2xx while a description waits to be acknowledged."""
    pair = pair_of()
    call = pair.invite()
    pair.settle()
    pair.drop = lambda sent: sent.data.startswith(b"PRACK") and pair.now < 1
    theirs = ring(pair)
    pair.bob.accept(theirs, 0.0, b"")
    with pytest.raises(UsageError, match="has been accepted"):
        pair.bob.accept(theirs, 0.0, b"")
    pair.run(1.4)
    assert len(pair.events(ALICE, "Answered")) == 0
    pair.run(10.0)
    assert len(pair.events(ALICE, "Answered")) == 1
    end(pair, call)


@pytest.mark.parametrize("how", ["timeout", "cancel", "bye"])
def test_an_accepted_call_whose_prack_never_comes_ends_as_a_call(how: str) -> None:
    pair = pair_of()
    call = pair.invite()
    pair.settle()
    pair.drop = lambda sent: sent.data.startswith(b"PRACK")
    theirs = ring(pair)
    pair.settle()
    pair.bob.accept(theirs, 0.0, b"")
    if how == "cancel":
        pair.alice.cancel(call, 0.0)
    elif how == "bye":
        pair.bob.bye(theirs, 0.0)
    pair.run(200.0)
    cause = {"timeout": "prack-timeout", "cancel": "cancelled", "bye": "local-bye"}[how]
    assert [event.cause for event in pair.events(BOB, "Ended")] == [cause]
    assert pair.events(BOB, "Cancelled") == []
    assert len(pair.events(ALICE, "Failed")) == 1
    assert live(pair.alice) == live(pair.bob) == {}


def test_a_prack_that_the_2xx_overtook_is_still_answered() -> None:
    """Section 3, last paragraph but one."""
    bob = Bob(reliable="required")
    number = bob.invited(body=OFFER, headers="Supported: 100rel")
    bob.agent.ring(number, 0.0)
    ringing = bob.drain()[0]
    bob.agent.accept(number, 0.0, ANSWER)
    ok = bob.drain()[0]
    prack = raw(
        "PRACK",
        branch="z9hG4bKp",
        to_tag=ok.to.tag,
        cseq=2,
        headers=f"RAck: {ringing.headers.get('RSeq')} 1 INVITE",
    )
    assert bob.status(prack) == 200
    again = prack.replace(b"z9hG4bKp", b"z9hG4bKq").replace(b"2 PRACK", b"3 PRACK")
    assert bob.status(again) == 481


@pytest.mark.parametrize(
    "rack", ["", "1", "x 1 INVITE", "{0} 2 INVITE", "{0} 1 BYE", "{1} 1 INVITE"]
)
def test_a_prack_that_acknowledges_nothing_is_answered_with_481(rack: str) -> None:
    bob = Bob(reliable="on")
    number = bob.invited(body=OFFER, headers="Supported: 100rel")
    bob.agent.ring(number, 0.0, 183, body=ANSWER)
    progress = bob.drain()[0]
    rseq = int(progress.headers.get("RSeq") or 0)
    value = rack.format(rseq, rseq + 1)
    prack = raw(
        "PRACK", branch="z9hG4bKp", to_tag=progress.to.tag, cseq=2, headers=f"RAck: {value}"
    )
    assert bob.status(prack) == 481
    assert bob.events("Pracked") == []


@pytest.mark.parametrize(
    ("policy", "headers", "answer", "reliable"),
    [
        ("off", "", None, False),
        ("off", "Supported: 100rel", None, False),
        ("off", "Require: 100rel", 420, False),
        ("on", "", None, False),
        ("on", "Supported: 100rel", None, False),  # nothing that needs it
        ("on", "Require: 100rel", None, True),
        ("required", "", 421, False),
        ("required", "Supported: 100rel", None, True),
        ("required", "Require: 100rel", None, True),
    ],
)
def test_policy_and_the_caller_decide_how_ringing_is_sent(
    policy: str, headers: str, answer: int | None, reliable: bool
) -> None:
    """Section 3: Require means all of them; 421 and 420 where the two can't agree."""
    bob = Bob(reliable=policy)
    if answer is not None:
        assert bob.status(raw("INVITE", headers=headers, body=OFFER)) == answer
        return
    number = bob.invited(headers=headers, body=OFFER)
    bob.agent.ring(number, 0.0)
    ringing = bob.drain()[0]
    assert ("RSeq" in ringing.headers) is reliable


def test_an_offer_without_reliability_is_refused_to_the_user() -> None:
    """Section 5: an offer in a provisional response has to arrive."""
    bob = Bob(reliable="on")
    number = bob.invited()
    with pytest.raises(UsageError, match="offer needs a reliable"):
        bob.agent.ring(number, 0.0, 183, body=OFFER)
    with pytest.raises(UsageError, match="can't acknowledge"):
        bob.agent.ring(number, 0.0, 180, reliable=True)


def test_ringing_goes_on_reliably_every_minute() -> None:
    pair = pair_of("required")
    pair.invite()
    pair.settle()
    ring(pair, 180, b"")
    pair.run(130.0)
    assert pair.times(BOB, "SIP/2.0 180") == [0, 60000, 120000]
    assert len(pair.sent_by(ALICE, "PRACK")) == 3


def test_the_user_who_owes_no_prack_is_told_so() -> None:
    pair = pair_of()
    call = pair.invite()
    pair.settle()
    with pytest.raises(UsageError, match="waits for no PRACK"):
        pair.alice.prack(call, 0.0, ANSWER)


def test_rack_is_read_as_section_7_2_writes_it() -> None:
    assert Rack.of(Request.create("PRACK", "sip:a@b", [("RAck", "776656 1 INVITE")])) == Rack(
        776656, 1, "INVITE"
    )
