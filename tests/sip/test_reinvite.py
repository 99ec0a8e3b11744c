"""Re-INVITEs in both directions, and when they meet (RFC 3261 section 14)."""

from __future__ import annotations

import pytest

from rtpmix.errors import UsageError
from rtpmix.sip.message import Request, respond
from rtpmix.sip.reinvite import MAX_ATTEMPTS
from tests.sip.agents import ALICE, ANSWER, BOB, OFFER, Bob, Pair, live, raw


def last_request(bob: Bob) -> Request:
    """Return the last request that it sent."""
    requests = [message for _, _, message in bob.sent if isinstance(message, Request)]
    return requests[-1]


@pytest.mark.parametrize("asker", [ALICE, BOB])
@pytest.mark.parametrize("status", [200, 488])
def test_a_reinvite_is_answered_and_acknowledged(asker: tuple[str, int], status: int) -> None:
    pair = Pair()
    calls = dict(zip((ALICE, BOB), pair.call(), strict=True))
    other = BOB if asker == ALICE else ALICE
    pair.agents[asker].reinvite(calls[asker], OFFER, 0.0)
    pair.settle()
    (event,) = pair.events(other, "Reinvited")
    assert (event.call, event.request.body) == (calls[other], OFFER)
    body = ANSWER if status == 200 else b""
    pair.agents[other].answer_reinvite(calls[other], status, 0.0, body)
    pair.settle()
    (answered,) = pair.events(asker, "ReinviteAnswered")
    assert (answered.status, answered.needs_ack) == (status, False)
    pair.agents[asker].bye(calls[asker], 0.0)
    pair.run(100.0)
    assert live(pair.alice) == live(pair.bob) == {}


def test_a_reinvite_without_an_offer_asks_for_one() -> None:
    pair = Pair()
    ours, theirs = pair.call()
    pair.alice.reinvite(ours, b"", 0.0)
    pair.settle()
    pair.bob.answer_reinvite(theirs, 200, 0.0, OFFER)
    pair.settle()
    assert pair.events(ALICE, "ReinviteAnswered")[0].needs_ack
    acks = len(pair.events(BOB, "Acked"))
    pair.alice.ack(ours, ANSWER, 0.0)
    pair.settle()
    assert [event.body for event in pair.events(BOB, "Acked")[acks:]] == [ANSWER]


def test_the_target_moves_with_a_reinvite_that_is_accepted_and_only_then() -> None:
    """Section 12.2.2: requests are atomic."""
    bob = Bob()
    number, tag = bob.answered()
    for cseq, (status, port) in enumerate(((488, 6001), (200, 6002)), 2):
        contact = f"<sip:alice@192.0.2.1:{port}>"
        branch = f"z9hG4bKre{cseq}"
        bob.take(raw("INVITE", branch=branch, to_tag=tag, cseq=cseq, contact=contact, body=OFFER))
        bob.agent.answer_reinvite(number, status, 0.0)
        bob.drain()
        bob.take(raw("ACK", branch=branch if status == 488 else "z9hG4bKa", to_tag=tag, cseq=cseq))
        bob.agent.request("INFO", call=number, now=0.0)
        bob.drain()
        expected = 5060 if status == 488 else 6002
        assert last_request(bob).uri == f"sip:alice@192.0.2.1:{expected}"
        assert bob.sent[-1][1].remote == ("192.0.2.1", expected)


def test_reinvites_that_meet_are_491_and_tried_again_by_section_14_1() -> None:
    """The owner of the Call-ID waits 2.1 to 4 s, the other 0 to 2 s: they can't meet again."""
    waits: dict[tuple[str, int], list[int]] = {ALICE: [], BOB: []}
    for seed in range(40):
        pair = Pair(seed=seed)
        ours, theirs = pair.call()
        pair.alice.reinvite(ours, OFFER, 0.0)
        pair.bob.reinvite(theirs, OFFER, 0.0)
        pair.settle()
        assert len(pair.sent_by(ALICE, "SIP/2.0 491")) == 1
        assert len(pair.sent_by(BOB, "SIP/2.0 491")) == 1
        for _ in range(60):
            pair.run(pair.now + 0.1)
            for address, agent, call in ((ALICE, pair.alice, ours), (BOB, pair.bob, theirs)):
                seen = pair.events(address, "Reinvited")
                if seen:
                    pair.told.remove((address, seen[0]))
                    agent.answer_reinvite(call, 200, pair.now, ANSWER)
                    pair.settle()
        for address in waits:
            assert [event.status for event in pair.events(address, "ReinviteAnswered")] == [200]
            again = [at for at in pair.times(address, "INVITE") if at > 0]
            waits[address] += again
    assert all(2100 <= at <= 4000 and at % 10 == 0 for at in waits[ALICE])
    assert all(0 <= at <= 2000 and at % 10 == 0 for at in waits[BOB])
    assert len(set(waits[ALICE])) > 20
    assert len(set(waits[BOB])) > 20


def test_a_peer_that_always_says_491_is_asked_a_bounded_number_of_times() -> None:
    bob = Bob()
    number, _ = bob.answered()
    bob.agent.reinvite(number, OFFER, 0.0)
    for _ in range(MAX_ATTEMPTS + 3):
        bob.drain()
        request = last_request(bob)
        if request.method == "INVITE":
            bob.take(respond(request, 491).to_bytes())
        bob.run(bob.now + 5.0)
    invites = [m for _, _, m in bob.sent if getattr(m, "method", "") == "INVITE"]
    assert len({message.cseq.number for message in invites}) == MAX_ATTEMPTS
    assert [event.status for event in bob.events("ReinviteAnswered")] == [491]


def test_only_one_reinvite_of_ours_at_a_time() -> None:
    """Section 14.1."""
    pair = Pair()
    ours, _ = pair.call()
    pair.alice.reinvite(ours, OFFER, 0.0)
    with pytest.raises(UsageError, match="wait for ReinviteAnswered"):
        pair.alice.reinvite(ours, OFFER, 0.0)


@pytest.mark.parametrize("status", [200, 488])
def test_ours_waits_until_theirs_is_confirmed(status: int) -> None:
    """Section 14.1 item 2: until the server transaction is confirmed or terminated."""
    bob = Bob()
    number, tag = bob.answered()
    bob.take(raw("INVITE", branch="z9hG4bKre", to_tag=tag, cseq=2, body=OFFER))
    bob.agent.reinvite(number, OFFER, 0.0)
    assert bob.drain() == []
    bob.agent.answer_reinvite(number, status, 0.0)
    assert len(bob.drain()) == 1
    branch = "z9hG4bKre" if status == 488 else "z9hG4bKack"
    (invite,) = bob.take(raw("ACK", branch=branch, to_tag=tag, cseq=2))
    assert invite.method == "INVITE"  # type: ignore[union-attr]


def test_a_second_invite_before_our_answer_to_the_first_is_500() -> None:
    """Section 14.2: with Retry-After between 0 and 10 seconds."""
    bob = Bob()
    _, tag = bob.answered()
    pauses = set()
    bob.take(raw("INVITE", branch="z9hG4bKre", to_tag=tag, cseq=2, body=OFFER))
    for cseq in range(3, 60):
        (answer,) = bob.take(raw("INVITE", branch=f"z9hG4bK{cseq}", to_tag=tag, cseq=cseq))
        assert answer.status == 500  # type: ignore[union-attr]
        pauses.add(int(answer.headers.get("Retry-After") or -1))
    assert pauses == set(range(11))
    assert len(bob.events("Reinvited")) == 1


def test_a_repeated_refusal_is_the_same_refusal() -> None:
    """A copy of a refused INVITE gets the same 491 again, not an out-of-order 500."""
    bob = Bob()
    number, tag = bob.answered()
    bob.agent.reinvite(number, OFFER, 0.0)
    bob.drain()
    data = raw("INVITE", branch="z9hG4bKre", to_tag=tag, cseq=2, body=OFFER)
    assert [bob.status(data), bob.status(data)] == [491, 491]


def test_a_reinvite_before_the_ack_is_491() -> None:
    bob = Bob()
    number = bob.invited()
    bob.agent.accept(number, 0.0, ANSWER)
    tag = bob.drain()[0].to.tag
    assert bob.status(raw("INVITE", branch="z9hG4bKre", to_tag=tag, cseq=2, body=OFFER)) == 491


def test_a_reinvite_can_be_cancelled() -> None:
    """Section 9.2."""
    bob = Bob()
    number, tag = bob.answered()
    bob.take(raw("INVITE", branch="z9hG4bKre", to_tag=tag, cseq=2, body=OFFER))
    answers = bob.take(raw("CANCEL", branch="z9hG4bKre", to_tag=tag, cseq=2))
    assert [answer.status for answer in answers] == [200, 487]  # type: ignore[union-attr]
    assert bob.events("ReinviteCancelled")[0].call == number
    with pytest.raises(UsageError, match="wait for Reinvited"):
        bob.agent.answer_reinvite(number, 200, 0.0)


def test_a_reinvite_that_the_user_never_answers_is_500_at_last() -> None:
    bob = Bob(ring_timeout=30.0)
    _, tag = bob.answered()
    bob.take(raw("INVITE", branch="z9hG4bKre", to_tag=tag, cseq=2, body=OFFER))
    bob.run(30.0)
    assert bob.statuses()[-1] == 500


def test_a_2xx_to_a_reinvite_without_ack_ends_the_call() -> None:
    """Section 14.2."""
    bob = Bob()
    number, tag = bob.answered()
    bob.take(raw("INVITE", branch="z9hG4bKre", to_tag=tag, cseq=2, body=OFFER))
    bob.agent.answer_reinvite(number, 200, 0.0, ANSWER)
    bob.run(32.0)
    assert [event.cause for event in bob.events("Ended")] == ["ack-timeout"]


@pytest.mark.parametrize(("status", "ends"), [(488, False), (500, False), (481, True), (408, True)])
def test_what_the_answer_means_for_the_dialog(status: int, ends: bool) -> None:
    """Sections 12.2.1.2 and 14.1."""
    bob = Bob()
    number, _ = bob.answered()
    bob.agent.reinvite(number, OFFER, 0.0)
    bob.drain()
    bob.take(respond(last_request(bob), status).to_bytes())
    assert [event.status for event in bob.events("ReinviteAnswered")] == [status]
    assert [event.cause for event in bob.events("Ended")] == ["dialog-lost"] * ends


def test_a_reinvite_that_nobody_answers_ends_the_dialog() -> None:
    bob = Bob()
    number, _ = bob.answered()
    bob.agent.reinvite(number, OFFER, 0.0)
    bob.run(32.0)
    assert [event.status for event in bob.events("ReinviteAnswered")] == [408]
    assert [event.cause for event in bob.events("Ended")] == ["dialog-lost"]
    bob.run(100.0)
    assert live(bob.agent) == {}


def test_a_reinvite_that_only_rings_is_given_up() -> None:
    bob = Bob(ring_timeout=50.0)
    number, _ = bob.answered()
    bob.agent.reinvite(number, OFFER, 0.0)
    bob.drain()
    bob.take(respond(last_request(bob), 180).to_bytes())
    bob.run(49.9)
    assert bob.events("Ended") == []
    bob.run(50.0)
    assert [event.cause for event in bob.events("Ended")] == ["dialog-lost"]
    bob.run(200.0)
    assert live(bob.agent) == {}


def test_a_reinvite_that_can_not_be_sent_ends_the_dialog() -> None:
    bob = Bob()
    number, _ = bob.answered()
    bob.agent.reinvite(number, OFFER, 0.0)
    bob.drain()
    bob.agent.transport_failed(bob.flow, 0.0)
    bob.drain()
    assert [event.status for event in bob.events("ReinviteAnswered")] == [503]
    assert [event.cause for event in bob.events("Ended")] == ["transport"]


@pytest.mark.parametrize("status", [None, 180, 200, 487, 491])
def test_a_bye_that_meets_our_reinvite_leaves_nothing_behind(status: int | None) -> None:
    bob = Bob()
    number, tag = bob.answered()
    bob.agent.reinvite(number, OFFER, 0.0)
    bob.drain()
    invite = last_request(bob)
    assert bob.status(raw("BYE", branch="z9hG4bKb", to_tag=tag, cseq=2)) == 200
    if status is not None:
        sent = bob.take(respond(invite, status).to_bytes())
        assert [message.method for message in sent] == ["ACK"] * (status >= 200)  # type: ignore[union-attr]
    assert bob.events("ReinviteAnswered") == []
    bob.run(32.0)  # not longer: it does not wait for the ring timeout
    assert live(bob.agent) == {}


def test_hanging_up_answers_the_peers_reinvite_first() -> None:
    bob = Bob()
    number, tag = bob.answered()
    bob.take(raw("INVITE", branch="z9hG4bKre", to_tag=tag, cseq=2, body=OFFER))
    bob.agent.bye(number, 0.0)
    refused, bye = bob.drain()
    assert (refused.status, bye.method) == (487, "BYE")  # type: ignore[union-attr]


@pytest.mark.parametrize("status", [100, 180])
def test_a_provisional_status_does_not_answer_a_reinvite(status: int) -> None:
    bob = Bob()
    number, tag = bob.answered()
    bob.take(raw("INVITE", branch="z9hG4bKre", to_tag=tag, cseq=2, body=OFFER))
    with pytest.raises(UsageError, match="final status"):
        bob.agent.answer_reinvite(number, status, 0.0)


def test_a_lost_ack_for_a_refusal_does_not_end_the_call() -> None:
    """The re-INVITE has its answer; only its transaction ends early (figure 5)."""
    bob = Bob()
    number, _ = bob.answered()
    bob.agent.reinvite(number, OFFER, 0.0)
    bob.drain()
    bob.take(respond(last_request(bob), 488).to_bytes())
    bob.agent.transport_failed(bob.flow, 0.0)
    bob.drain()
    assert [event.status for event in bob.events("ReinviteAnswered")] == [488]
    assert bob.events("Ended") == []


def test_a_retry_waits_while_the_peers_reinvite_is_open() -> None:
    """Section 14.1: no INVITE while another is in progress."""
    bob = Bob()
    number, tag = bob.answered()
    bob.agent.reinvite(number, OFFER, 0.0)
    bob.drain()
    bob.take(respond(last_request(bob), 491).to_bytes())
    bob.take(raw("INVITE", branch="z9hG4bKre", to_tag=tag, cseq=2, body=OFFER))
    bob.run(5.0)
    invites = {m.cseq.number for _, _, m in bob.sent if getattr(m, "method", "") == "INVITE"}
    assert len(invites) == 1
    bob.agent.answer_reinvite(number, 200, 5.0, ANSWER)
    bob.drain()
    bob.take(raw("ACK", branch="z9hG4bKack", to_tag=tag, cseq=2))
    bob.run(6.0)
    invites = {m.cseq.number for _, _, m in bob.sent if getattr(m, "method", "") == "INVITE"}
    assert len(invites) == 2


def test_every_copy_of_a_2xx_to_our_reinvite_is_acknowledged() -> None:
    """Section 14.1: as for the first INVITE."""
    bob = Bob()
    number, _ = bob.answered()
    bob.agent.reinvite(number, OFFER, 0.0)
    bob.drain()
    answer = respond(last_request(bob), 200, body=ANSWER, content_type="application/sdp")
    (ack,) = bob.take(answer.to_bytes())
    (again,) = bob.take(answer.to_bytes())
    assert again.to_bytes() == ack.to_bytes()
    assert len(bob.events("ReinviteAnswered")) == 1
