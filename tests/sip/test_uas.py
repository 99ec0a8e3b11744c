"""An incoming call until its final response (RFC 3261 sections 9.2 and 13.3)."""

from __future__ import annotations

import pytest

from rtpmix.errors import UsageError
from tests.sip.agents import ALICE, ANSWER, BOB, OFFER, Bob, Pair, live, raw


def test_trying_goes_out_before_the_user_says_anything() -> None:
    """RFC 3261 section 17.2.1; a 100 carries no tag (section 8.2.6.2)."""
    bob = Bob()
    (trying,) = bob.take(raw("INVITE", headers="Timestamp: 54"))
    assert (trying.status, trying.to.tag) == (100, None)  # type: ignore[union-attr]
    assert trying.headers.get("Timestamp") == "54"


def test_every_response_has_the_same_tag_and_says_where_we_are() -> None:
    """Sections 12.1.1 and 13.3.1.4."""
    bob = Bob(supported=("timer",))
    number = bob.invited(headers="Record-Route: <sip:192.0.2.9;lr>", body=OFFER)
    bob.agent.ring(number, 0.0)
    bob.agent.ring(number, 0.0, 183, body=ANSWER)
    bob.agent.accept(number, 0.0, ANSWER, headers=[("Server", "x")])
    ringing, progress, ok = bob.drain()
    assert len({message.to.tag for message in (ringing, progress, ok)}) == 1
    for message in (ringing, progress, ok):
        assert str(message.contacts[0].uri) == "sip:rtpmix@192.0.2.2:5060"
        assert message.headers.get("Record-Route") == "<sip:192.0.2.9;lr>"
    assert progress.content_type == ok.content_type == "application/sdp"
    assert "BYE" in ok.allow
    assert ok.supported == ["timer"]
    assert ok.headers.get("Server") == "x"


def test_a_call_that_rings_says_so_every_minute() -> None:
    """Section 13.3.1.1: else a proxy cancels it after three minutes."""
    bob = Bob()
    number = bob.invited()
    bob.agent.ring(number, 0.0)
    bob.run(150.0)
    assert [at for at, _, message in bob.sent if getattr(message, "status", 0) == 180] == [
        0,
        60,
        120,
    ]


def test_nobody_answers_within_the_ring_timeout() -> None:
    bob = Bob(ring_timeout=20.0)
    bob.invited()
    bob.run(20.0)
    assert bob.statuses() == [100, 480]
    assert bob.events("Cancelled")[0].timed_out
    bob.run(100.0)
    assert live(bob.agent) == {}


def test_an_invitation_expires() -> None:
    """Section 13.3.1 item 1: 487."""
    bob = Bob()
    bob.invited(headers="Expires: 7")
    bob.run(6.9)
    assert bob.statuses() == [100]
    bob.run(7.0)
    assert bob.statuses() == [100, 487]
    assert not bob.events("Cancelled")[0].timed_out


def test_cancel_is_answered_itself_and_ends_the_invite_with_487() -> None:
    """Section 9.2: 200 to the CANCEL with the same To tag, 487 to the INVITE."""
    bob = Bob()
    bob.invited()
    done, terminated = bob.take(raw("CANCEL", headers='Reason: SIP;cause=200;text="elsewhere"'))
    assert (done.status, terminated.status) == (200, 487)  # type: ignore[union-attr]
    assert done.cseq.method == "CANCEL"
    assert done.to.tag == terminated.to.tag
    assert bob.events("Cancelled")[0].reason == 'SIP;cause=200;text="elsewhere"'
    # A copy of the CANCEL is answered again; the INVITE is not touched.
    assert bob.status(raw("CANCEL")) == 200
    bob.take(raw("ACK", to_tag=terminated.to.tag))
    bob.run(100.0)
    assert live(bob.agent) == {}


def test_cancel_without_its_invite_is_481() -> None:
    """Section 9.2."""
    assert Bob().status(raw("CANCEL")) == 481


def test_cancel_after_the_final_response_changes_nothing() -> None:
    """Section 9.2: the 200/CANCEL race from the server's side; one To tag for both answers."""
    bob = Bob()
    number, tag = bob.answered()
    (done,) = bob.take(raw("CANCEL"))
    assert (done.status, done.to.tag) == (200, tag)  # type: ignore[union-attr]
    assert bob.events("Cancelled") == []
    bob.agent.bye(number, 0.0)
    assert bob.drain()[0].method == "BYE"  # type: ignore[union-attr]


def test_a_caller_may_end_an_early_dialog_with_bye() -> None:
    """Section 15: 200 to the BYE, 487 to the INVITE."""
    bob = Bob()
    number = bob.invited()
    bob.agent.ring(number, 0.0)
    tag = bob.drain()[0].to.tag
    answers = bob.take(raw("BYE", branch="z9hG4bKb", to_tag=tag, cseq=2))
    assert [answer.status for answer in answers] == [200, 487]  # type: ignore[union-attr]
    assert len(bob.events("Cancelled")) == 1


def test_a_second_invite_in_an_early_dialog_is_500_with_retry_after() -> None:
    """Section 14.2."""
    bob = Bob()
    number = bob.invited()
    bob.agent.ring(number, 0.0)
    tag = bob.drain()[0].to.tag
    (answer,) = bob.take(raw("INVITE", branch="z9hG4bK2", to_tag=tag, cseq=2))
    assert answer.status == 500  # type: ignore[union-attr]
    assert 0 <= int(answer.headers.get("Retry-After") or -1) <= 10


def test_bye_of_the_user_on_an_early_call_is_a_rejection() -> None:
    """Section 15: a callee MUST NOT send BYE on an early dialog."""
    bob = Bob()
    number = bob.invited()
    bob.agent.bye(number, 0.0)
    assert [message.status for message in bob.drain()] == [480]  # type: ignore[union-attr]


def test_a_rejection_is_repeated_until_its_ack() -> None:
    """Section 13.3.1.3: that is the transaction's part."""
    pair = Pair()
    pair.invite()
    pair.settle()
    lost = 2

    def drop(sent: object) -> bool:
        nonlocal lost
        if b"486 Busy" in sent.data and lost:  # type: ignore[attr-defined]
            lost -= 1
            return True
        return False

    pair.drop = drop
    pair.bob.reject(pair.events(BOB, "Invited")[0].call, 486, 0.0)
    pair.run(60.0)
    assert pair.times(BOB, "SIP/2.0 486") == [0, 500, 1500]
    assert [event.status for event in pair.events(ALICE, "Failed")] == [486]
    assert live(pair.alice) == live(pair.bob) == {}


@pytest.mark.parametrize("status", [99, 100, 200, 299, 700])
def test_a_status_that_does_not_reject_is_refused(status: int) -> None:
    bob = Bob()
    number = bob.invited()
    with pytest.raises(UsageError, match="300 to 699"):
        bob.agent.reject(number, status, 0.0)


@pytest.mark.parametrize("status", [100, 200, 486])
def test_a_status_that_does_not_ring_is_refused(status: int) -> None:
    bob = Bob()
    number = bob.invited()
    with pytest.raises(UsageError, match="way to ring"):
        bob.agent.ring(number, 0.0, status)


def test_options_and_other_requests_work_in_an_early_dialog() -> None:
    bob = Bob()
    number = bob.invited()
    bob.agent.ring(number, 0.0)
    tag = bob.drain()[0].to.tag
    assert bob.status(raw("OPTIONS", branch="z9hG4bK2", to_tag=tag, cseq=2)) == 200
    bob.take(raw("INFO", branch="z9hG4bK3", to_tag=tag, cseq=3))
    assert bob.events("Requested")[0].call == number
    assert bob.status(raw("INFO", branch="z9hG4bK4", to_tag=tag, cseq=2)) == 500
