"""Offers and answers wherever RFC 6337 table 1 lets them travel, both roles."""

from __future__ import annotations

from typing import Any

from tests.sip.agents import ALICE, ANSWER, BOB, OFFER, Pair, live

SECOND, SECOND_ANSWER = b"v=0 second offer\r\n", b"v=0 second answer\r\n"


def pair_of(**more: Any) -> Pair:
    allow = ("INVITE", "ACK", "CANCEL", "BYE", "UPDATE")
    return Pair(reliable="on", allow=allow, **more)


def invited(pair: Pair) -> int:
    pair.settle()
    call: int = pair.events(BOB, "Invited")[-1].call
    return call


def finish(pair: Pair, call: int) -> None:
    pair.alice.bye(call, pair.now)
    pair.run(pair.now + 200)
    assert live(pair.alice) == live(pair.bob) == {}


def test_pattern_1_and_2_the_offer_in_invite_the_answer_in_2xx_or_reliable_1xx() -> None:
    for early in (False, True):
        pair = pair_of()
        call, theirs = pair.invite(), invited(pair)
        if early:
            pair.bob.ring(theirs, 0.0, 183, body=ANSWER)
            pair.settle()
            assert pair.events(ALICE, "Progressed")[0].response.body == ANSWER
        pair.bob.accept(theirs, 0.0, b"" if early else ANSWER)
        pair.settle()
        (answered,) = pair.events(ALICE, "Answered")
        assert (answered.response.body, answered.needs_ack) == (b"" if early else ANSWER, False)
        finish(pair, call)


def test_pattern_3_the_offer_in_2xx_the_answer_in_ack() -> None:
    pair = pair_of()
    call, theirs = pair.invite(body=b""), invited(pair)
    pair.bob.accept(theirs, 0.0, OFFER)
    pair.settle()
    pair.alice.ack(call, ANSWER, 0.0)
    pair.settle()
    assert [event.body for event in pair.events(BOB, "Acked")] == [ANSWER]
    finish(pair, call)


def test_pattern_4_the_offer_in_reliable_1xx_the_answer_in_prack() -> None:
    pair = pair_of()
    call, theirs = pair.invite(body=b""), invited(pair)
    pair.bob.ring(theirs, 0.0, 183, body=OFFER)
    pair.settle()
    assert pair.events(ALICE, "Progressed")[0].needs_prack
    pair.alice.prack(call, 0.0, ANSWER)
    pair.settle()
    assert pair.events(BOB, "Pracked")[0].request.body == ANSWER
    pair.bob.accept(theirs, 0.0)
    pair.settle()
    assert not pair.events(ALICE, "Answered")[0].needs_ack
    finish(pair, call)


def test_pattern_5_the_second_offer_in_prack_the_answer_in_its_2xx() -> None:
    pair = pair_of()
    call = pair.invite(manual_prack=True)
    theirs = invited(pair)
    pair.bob.ring(theirs, 0.0, 183, body=ANSWER)
    pair.settle()
    pair.alice.prack(call, 0.0, SECOND)
    pair.settle()
    (offered,) = pair.events(BOB, "Offered")
    assert (offered.request.method, offered.request.body) == ("PRACK", SECOND)
    pair.bob.answer_offer(theirs, 200, 0.0, SECOND_ANSWER)
    pair.settle()
    (answered,) = pair.events(ALICE, "OfferAnswered")
    assert (answered.method, answered.status, answered.response.body) == (
        *("PRACK", 200, SECOND_ANSWER),
    )
    pair.bob.accept(theirs, 0.0)
    pair.settle()
    finish(pair, call)


def test_pattern_6_update_from_either_side_before_and_after_the_answer() -> None:
    for sender in (ALICE, BOB):
        for early in (True, False):
            pair = pair_of()
            call, theirs = pair.invite(), invited(pair)
            pair.bob.ring(theirs, 0.0, 183, body=ANSWER)
            pair.settle()
            if not early:
                pair.bob.accept(theirs, 0.0)
                pair.settle()
            numbers = {ALICE: call, BOB: theirs}
            other = BOB if sender == ALICE else ALICE
            pair.agents[sender].update(numbers[sender], 0.0, SECOND)
            pair.settle()
            assert pair.events(other, "Offered")[0].request.body == SECOND
            pair.agents[other].answer_offer(numbers[other], 200, 0.0, SECOND_ANSWER)
            pair.settle()
            (answered,) = pair.events(sender, "OfferAnswered")
            assert (answered.method, answered.response.body) == ("UPDATE", SECOND_ANSWER)
            if early:
                pair.bob.accept(theirs, 0.0)
                pair.settle()
            finish(pair, call)


def test_a_re_invite_may_ask_for_an_offer_from_either_side() -> None:
    for sender in (ALICE, BOB):
        pair = pair_of()
        calls = dict(zip((ALICE, BOB), pair.call(), strict=True))
        other = BOB if sender == ALICE else ALICE
        pair.agents[sender].reinvite(calls[sender], b"", 0.0)
        pair.settle()
        assert pair.events(other, "Reinvited")[0].request.body == b""
        pair.agents[other].answer_reinvite(calls[other], 200, 0.0, OFFER)
        pair.settle()
        (answered,) = pair.events(sender, "ReinviteAnswered")
        assert (answered.response.body, answered.needs_ack) == (OFFER, True)
        pair.agents[sender].ack(calls[sender], ANSWER, 0.0)
        pair.settle()
        assert pair.events(other, "Acked")[-1].body == ANSWER
        finish(pair, calls[ALICE])
