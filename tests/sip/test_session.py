"""A confirmed dialog: the ACK, requests within, and every way to end (RFC 3261 12, 13.3, 15)."""

from __future__ import annotations

import pytest

from rtpmix.errors import UsageError
from rtpmix.sip.message import Request, respond
from rtpmix.sip.transaction import NOBODY
from tests.sip.agents import ALICE, ANSWER, BOB, OFFER, Bob, Pair, live, raw


@pytest.mark.parametrize("transport", ["UDP", "TCP"])
def test_a_2xx_is_repeated_until_64_t1_and_then_the_call_is_left(transport: str) -> None:
    """Section 13.3.1.4: T1 doubling to T2, whatever the transport; then BYE."""
    pair = Pair(transport)
    pair.invite()
    pair.settle()
    pair.drop = lambda sent: sent.data.startswith(b"ACK")
    pair.bob.accept(pair.events(BOB, "Invited")[0].call, 0.0, ANSWER)
    pair.run(100.0)
    assert pair.times(BOB, "SIP/2.0 200")[:11] == [
        *(0, 500, 1500, 3500, 7500, 11500, 15500, 19500, 23500, 27500, 31500),
    ]
    assert pair.times(BOB, "BYE") == [32000]
    assert [event.cause for event in pair.events(BOB, "Ended")] == ["ack-timeout"]
    assert [event.cause for event in pair.events(ALICE, "Ended")] == ["remote-bye"]
    assert len(pair.sent_by(ALICE, "ACK")) == 11
    assert live(pair.alice) == live(pair.bob) == {}


def test_the_ack_stops_the_2xx_and_is_told_once() -> None:
    pair = Pair()
    pair.call()
    ack = pair.sent_by(ALICE, "ACK")[0]
    pair.deliver(BOB, ack)
    pair.run(100.0)
    assert len(pair.sent_by(BOB, "SIP/2.0 200")) == 1
    assert len(pair.events(BOB, "Acked")) == 1


def test_the_answer_to_our_late_offer_comes_with_the_ack() -> None:
    pair = Pair()
    ours = pair.invite(body=b"")
    pair.settle()
    pair.bob.accept(pair.events(BOB, "Invited")[0].call, 0.0, OFFER)
    pair.settle()
    pair.alice.ack(ours, ANSWER, 0.0)
    pair.settle()
    (acked,) = pair.events(BOB, "Acked")
    assert (acked.body, acked.content_type) == (ANSWER, "application/sdp")


def test_an_ack_with_another_number_is_not_ours() -> None:
    bob = Bob()
    number = bob.invited()
    bob.agent.accept(number, 0.0, ANSWER)
    tag = bob.drain()[0].to.tag
    bob.take(raw("ACK", branch="z9hG4bKack", to_tag=tag, cseq=7))
    assert bob.events("Acked") == []
    bob.take(raw("ACK", branch="z9hG4bKack", to_tag=tag))
    assert len(bob.events("Acked")) == 1


@pytest.mark.parametrize("leaver", [ALICE, BOB])
@pytest.mark.parametrize("transport", ["UDP", "TCP"])
def test_bye_ends_both_sides_once(leaver: tuple[str, int], transport: str) -> None:
    """Section 15."""
    pair = Pair(transport)
    calls = dict(zip((ALICE, BOB), pair.call(), strict=True))
    reason = 'Q.850;cause=16;text="done"'
    pair.agents[leaver].bye(calls[leaver], 0.0, headers=[("Reason", reason)])
    pair.settle()
    other = BOB if leaver == ALICE else ALICE
    assert [event.cause for event in pair.events(leaver, "Ended")] == ["local-bye"]
    assert [(event.cause, event.reason) for event in pair.events(other, "Ended")] == [
        ("remote-bye", reason)
    ]
    for agent, call in ((pair.alice, calls[ALICE]), (pair.bob, calls[BOB])):
        with pytest.raises(UsageError, match="is over"):
            agent.bye(call, 0.0)
    pair.run(100.0)
    assert live(pair.alice) == live(pair.bob) == {}


def test_two_byes_that_cross_are_both_answered_with_200() -> None:
    pair = Pair()
    ours, theirs = pair.call()
    pair.alice.bye(ours, 0.0)
    pair.bob.bye(theirs, 0.0)
    pair.settle()
    assert len(pair.sent_by(ALICE, "SIP/2.0 200")) == 1
    assert len(pair.sent_by(BOB, "SIP/2.0 200")) == 2  # the INVITE's and the BYE's
    assert len(pair.events(ALICE, "Ended")) == len(pair.events(BOB, "Ended")) == 1
    pair.run(100.0)
    assert live(pair.alice) == live(pair.bob) == {}


def test_a_callees_bye_waits_for_the_ack() -> None:
    """Section 15: MUST NOT send BYE until the ACK, or until the server transaction times out."""
    pair = Pair()
    pair.invite()
    pair.settle()
    lost = 2

    def drop(sent: object) -> bool:
        nonlocal lost
        lost -= sent.data.startswith(b"ACK") and lost > 0  # type: ignore[attr-defined]
        return sent.data.startswith(b"ACK") and lost > 0  # type: ignore[attr-defined, no-any-return]

    pair.drop = drop
    theirs = pair.events(BOB, "Invited")[0].call
    pair.bob.accept(theirs, 0.0, ANSWER)
    pair.bob.bye(theirs, 0.0, headers=[("Reason", "SIP;cause=200")])
    pair.run(100.0)
    assert pair.times(BOB, "BYE") == [500]
    assert pair.events(ALICE, "Ended")[0].reason == "SIP;cause=200"
    assert len(pair.events(BOB, "Ended")) == 1
    assert live(pair.alice) == live(pair.bob) == {}


def test_a_callees_bye_without_any_ack_goes_out_after_64_t1() -> None:
    pair = Pair()
    pair.invite()
    pair.settle()
    pair.drop = lambda sent: sent.data.startswith(b"ACK")
    theirs = pair.events(BOB, "Invited")[0].call
    pair.bob.accept(theirs, 0.0, ANSWER)
    pair.bob.bye(theirs, 0.0)
    pair.run(100.0)
    assert pair.times(BOB, "BYE") == [32000]
    assert [event.cause for event in pair.events(BOB, "Ended")] == ["local-bye"]
    assert live(pair.alice) == live(pair.bob) == {}


def test_a_bye_before_the_ack_ends_the_call_and_stops_the_2xx() -> None:
    bob = Bob()
    number = bob.invited()
    bob.agent.accept(number, 0.0, ANSWER)
    tag = bob.drain()[0].to.tag
    assert bob.status(raw("BYE", branch="z9hG4bKb", to_tag=tag, cseq=2)) == 200
    bob.run(60.0)
    assert bob.statuses().count(200) == 2
    assert [event.cause for event in bob.events("Ended")] == ["remote-bye"]
    assert live(bob.agent) == {}


def test_a_peer_that_is_gone_costs_one_bye_transaction() -> None:
    pair = Pair()
    ours, _ = pair.call()
    pair.drop = lambda sent: True
    pair.alice.bye(ours, 0.0)
    pair.run(100.0)
    assert len(pair.sent_by(ALICE, "BYE")) == 11
    assert live(pair.alice) == {}


@pytest.mark.parametrize(
    ("answer", "cause"), [(481, "dialog-lost"), (408, "dialog-lost"), (None, "dialog-lost")]
)
def test_a_dialog_that_the_peer_has_lost_ends_with_bye(answer: int | None, cause: str) -> None:
    """Section 12.2.1.2: 481, 408 or no answer at all."""
    bob = Bob()
    number, _ = bob.answered()
    bob.agent.request("INFO", call=number, now=0.0)
    (info,) = bob.drain()
    assert isinstance(info, Request)
    if answer is None:
        bob.run(32.0)
    else:
        bob.take(respond(info, answer).to_bytes())
    assert bob.events("Responded")[0].status == (answer or 408)
    assert [event.cause for event in bob.events("Ended")] == [cause]
    assert any(getattr(message, "method", "") == "BYE" for _, _, message in bob.sent)


def test_a_request_that_can_not_be_sent_ends_the_dialog() -> None:
    bob = Bob()
    number, _ = bob.answered()
    bob.agent.request("INFO", call=number, now=0.0)
    bob.agent.transport_failed(bob.flow, 0.0)
    bob.drain()
    assert bob.events("Responded")[0].status == 503
    assert [event.cause for event in bob.events("Ended")] == ["transport"]


def test_requests_out_of_order_are_500_and_gaps_are_fine() -> None:
    """Section 12.2.2."""
    bob = Bob()
    _, tag = bob.answered()
    assert bob.status(raw("OPTIONS", branch="z9hG4bKa", to_tag=tag, cseq=10)) == 200
    assert bob.status(raw("OPTIONS", branch="z9hG4bKb", to_tag=tag, cseq=9)) == 500
    assert bob.status(raw("OPTIONS", branch="z9hG4bKc", to_tag=tag, cseq=10)) == 500
    assert bob.status(raw("OPTIONS", branch="z9hG4bKd", to_tag=tag, cseq=11)) == 200


def test_only_the_exact_dialog_is_served() -> None:
    """Section 12.2.2: 481; Call-ID and both tags must be right."""
    bob = Bob()
    _, tag = bob.answered()
    right = {"to_tag": tag, "cseq": 2}
    for number, wrong in enumerate(
        ({"call_id": "other"}, {"from_tag": "mallory"}, {"to_tag": "guess"})
    ):
        data = raw("BYE", branch=f"z9hG4bKw{number}", **{**right, **wrong})  # type: ignore[arg-type]
        assert bob.status(data) == 481
    assert bob.events("Ended") == []
    assert bob.status(raw("BYE", branch="z9hG4bKr", **right)) == 200  # type: ignore[arg-type]


def test_other_requests_in_the_dialog_reach_the_user_with_their_call() -> None:
    bob = Bob()
    number, tag = bob.answered()
    bob.take(raw("INFO", branch="z9hG4bKi", to_tag=tag, cseq=2))
    (asked,) = bob.events("Requested")
    assert (asked.call, asked.message.method) == (number, "INFO")
    bob.agent.respond(asked.request, 200, 0.0)
    assert [message.status for message in bob.drain()] == [200]  # type: ignore[union-attr]


def test_after_hanging_up_only_bye_is_still_served() -> None:
    bob = Bob()
    number, tag = bob.answered()
    bob.agent.bye(number, 0.0)
    bob.drain()
    assert bob.status(raw("INFO", branch="z9hG4bKi", to_tag=tag, cseq=2)) == 481
    assert bob.status(raw("INVITE", branch="z9hG4bKj", to_tag=tag, cseq=3)) == 481
    assert bob.status(raw("BYE", branch="z9hG4bKk", to_tag=tag, cseq=4)) == 200


def test_a_finished_call_is_not_kept_alive_by_its_transactions() -> None:
    """They linger for 64*T1; at 500 calls a second that would be 16,000 dead sessions."""
    bob = Bob()
    _, tag = bob.answered()
    assert bob.status(raw("BYE", branch="z9hG4bKb", to_tag=tag, cseq=2)) == 200
    lingering = list(bob.agent._core.layer._servers.values())
    assert len(lingering) == 2
    assert {transaction.user for transaction in lingering} == {NOBODY}
