"""UPDATE (RFC 3311): who may offer when, glare, and its ends."""

from __future__ import annotations

from typing import Any

import pytest

from rtpmix.errors import UsageError
from rtpmix.sip.message import Request
from tests.sip.agents import ALICE, ANSWER, BOB, OFFER, Bob, Pair, live, raw

ALLOW = ("INVITE", "ACK", "CANCEL", "BYE", "OPTIONS", "UPDATE")
SECOND = b"v=0 second\r\n"


def pair_of(**more: Any) -> Pair:
    return Pair(allow=ALLOW, reliable="on", **more)


def update(tag: str | None, cseq: int, body: bytes = SECOND, headers: str = "") -> bytes:
    return raw(
        "UPDATE", branch=f"z9hG4bKu{cseq}", to_tag=tag, cseq=cseq, body=body, headers=headers
    )


def test_an_update_without_an_offer_moves_the_target_and_is_answered_inside() -> None:
    """Section 5.2: UPDATE is a target refresh request."""
    bob = Bob(allow=ALLOW)
    number, tag = bob.answered()
    answer = bob.take(
        raw("UPDATE", branch="z9hG4bKu", to_tag=tag, cseq=2, contact="<sip:moved@192.0.2.7:5070>")
    )[0]
    assert answer.status == 200  # type: ignore[union-attr]
    assert answer.contacts
    bob.agent.bye(number, 0.0)
    bye = bob.drain()[0]
    assert isinstance(bye, Request)
    assert bye.uri == "sip:moved@192.0.2.7:5070"


def test_two_updates_that_cross_get_491_and_both_come_through_later() -> None:
    """Section 5.2 and 5.3: glare, then the two pauses that never meet."""
    for seed in range(10):
        pair = pair_of(seed=seed)
        ours, theirs = pair.call()
        pair.alice.update(ours, 0.0, OFFER)
        pair.bob.update(theirs, 0.0, SECOND)
        answered: set[int] = set()
        pair.settle()
        assert len(pair.sent_by(ALICE, "SIP/2.0 491")) == len(pair.sent_by(BOB, "SIP/2.0 491")) == 1
        for at in range(1, 60):
            pair.run(at / 10)
            for address, call in ((ALICE, ours), (BOB, theirs)):
                for event in pair.events(address, "Offered"):
                    if id(event) not in answered:
                        answered.add(id(event))
                        pair.agents[address].answer_offer(call, 200, pair.now, ANSWER)
                        pair.settle()
        for address in (ALICE, BOB):
            assert [event.status for event in pair.events(address, "OfferAnswered")] == [200]
        pair.alice.bye(ours, pair.now)
        pair.run(200.0)
        assert live(pair.alice) == live(pair.bob) == {}


def test_an_update_that_crosses_a_re_invite_gets_491_both_ways() -> None:
    pair = pair_of()
    ours, theirs = pair.call()
    pair.alice.update(ours, 0.0, OFFER)
    pair.bob.reinvite(theirs, SECOND, 0.0)
    pair.settle()
    assert len(pair.sent_by(ALICE, "SIP/2.0 491")) == len(pair.sent_by(BOB, "SIP/2.0 491")) == 1


def test_an_offer_before_the_last_one_is_answered_gets_500_with_retry_after() -> None:
    """Section 5.2: 0 to 10 seconds, drawn at random."""
    bob = Bob(allow=ALLOW)
    number, tag = bob.answered()
    assert bob.take(update(tag, 2)) == []
    pauses = set()
    for cseq in range(3, 40):
        answer = bob.take(update(tag, cseq))[0]
        assert answer.status == 500  # type: ignore[union-attr]
        pauses.add(int(answer.headers.get("Retry-After") or -1))
    assert pauses <= set(range(11))
    assert len(pauses) > 3
    assert bob.status(raw("INVITE", branch="z9hG4bKi", to_tag=tag, cseq=40, body=OFFER)) == 500
    bob.agent.answer_offer(number, 488, 0.0)
    assert bob.drain()[0].status == 488  # type: ignore[union-attr]
    assert len(bob.events("Offered")) == 1


def test_an_offer_while_the_invites_own_is_open_gets_500_at_the_callee() -> None:
    bob = Bob(allow=ALLOW, reliable="on")
    number = bob.invited(body=OFFER)
    bob.agent.ring(number, 0.0)
    tag = bob.drain()[0].to.tag
    assert bob.status(update(tag, 2)) == 500
    assert bob.status(update(tag, 3, body=b"")) == 200


def test_an_update_that_nobody_answers_gets_504_before_the_client_gives_up() -> None:
    """Section 5.2: one that would have to ask a person."""
    pair = pair_of()
    ours, theirs = pair.call()
    pair.alice.update(ours, 0.0, OFFER)
    pair.run(100.0)
    assert [event.status for event in pair.events(ALICE, "OfferAnswered")] == [504]
    with pytest.raises(UsageError, match="no offer to answer"):
        pair.bob.answer_offer(theirs, 200, pair.now, ANSWER)


@pytest.mark.parametrize(("status", "lost"), [(408, True), (481, True), (488, False), (603, False)])
def test_what_the_peer_answers_decides_whether_the_call_goes_on(status: int, lost: bool) -> None:
    """RFC 3261 section 12.2.1.2."""
    pair = pair_of()
    ours, theirs = pair.call()
    pair.alice.update(ours, 0.0, OFFER)
    pair.settle()
    pair.bob.answer_offer(theirs, status, 0.0)
    pair.settle()
    assert pair.events(ALICE, "OfferAnswered")[0].status == status
    assert bool(pair.events(ALICE, "Ended")) is lost


def test_a_call_that_ends_takes_its_updates_along() -> None:
    for leaver in (ALICE, BOB):
        pair = pair_of()
        calls = dict(zip((ALICE, BOB), pair.call(), strict=True))
        pair.alice.update(calls[ALICE], 0.0, OFFER)
        pair.settle()
        pair.agents[leaver].bye(calls[leaver], 0.0)
        pair.run(200.0)
        assert len(pair.sent_by(BOB, "SIP/2.0 487")) == 1
        told = [event.status for event in pair.events(ALICE, "OfferAnswered")]
        assert told == ([] if leaver == ALICE else [487])  # the 487 may come before the BYE
        assert live(pair.alice) == live(pair.bob) == {}


def test_the_user_hears_why_an_update_can_not_go_now() -> None:
    pair = pair_of()
    ours = pair.invite()
    with pytest.raises(UsageError, match="no early dialog"):
        pair.alice.update(ours, 0.0)
    pair.settle()
    theirs = pair.events(BOB, "Invited")[0].call
    pair.bob.ring(theirs, 0.0)
    pair.settle()
    for agent, call in ((pair.alice, ours), (pair.bob, theirs)):
        with pytest.raises(UsageError, match="not answered yet"):
            agent.update(call, 0.0, OFFER)
    pair.bob.accept(theirs, 0.0, ANSWER)
    pair.settle()
    pair.alice.update(ours, 0.0, OFFER)
    with pytest.raises(UsageError, match="under way"):
        pair.alice.update(ours, 0.0, OFFER)
    with pytest.raises(UsageError, match="under way"):
        pair.alice.reinvite(ours, OFFER, 0.0)
    deaf = Pair()
    ours, _ = deaf.call()
    with pytest.raises(UsageError, match="takes no UPDATE"):
        deaf.alice.update(ours, 0.0)
