"""An outgoing call: forks, CANCEL and its races, time-outs (RFC 3261 sections 9.1 and 13.2)."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from rtpmix.errors import CapacityError, UsageError
from rtpmix.sip.flow import Flow
from rtpmix.sip.message import Request, Response, respond
from rtpmix.sip.uac import MAX_FORKS
from tests.sip.agents import ALICE, ANSWER, BOB, OFFER, Bob, Pair, live, raw

TO_BOB = Flow("UDP", ALICE, BOB)


def outgoing(body: bytes = OFFER) -> tuple[Bob, int, Request]:
    """Let an agent call; return it, the call's number and its INVITE."""
    caller = Bob()
    number = caller.agent.invite(
        "sip:carol@192.0.2.1", flow=caller.flow, from_uri="sip:bob@192.0.2.2", body=body, now=0.0
    )
    (invite,) = caller.drain()
    assert isinstance(invite, Request)
    return caller, number, invite


def answer(
    invite: Request,
    status: int,
    tag: str,
    *,
    headers: Iterable[tuple[str, str]] = (("Contact", "<sip:carol@192.0.2.1:5070>"),),
    body: bytes = b"",
) -> bytes:
    """Write a response to the INVITE by hand."""
    response = respond(
        invite, status, to_tag=tag, headers=headers, body=body, content_type="application/sdp"
    )
    return response.to_bytes()


def methods(messages: Iterable[Request | Response]) -> list[str]:
    """Return the methods of requests, the statuses of responses."""
    return [
        message.method if isinstance(message, Request) else str(message.status)
        for message in messages
    ]


def test_the_invite_says_who_calls_and_where_to_answer() -> None:
    """Section 8.1.1: the mandatory headers, and Contact."""
    _, _, invite = outgoing()
    assert invite.uri == "sip:carol@192.0.2.1"
    assert (str(invite.from_.uri), invite.to.tag) == ("sip:bob@192.0.2.2", None)
    assert invite.from_.tag
    assert invite.via.branch.startswith("z9hG4bK")  # type: ignore[union-attr]
    assert invite.via.rport == ""
    assert invite.max_forwards == 70
    assert str(invite.contacts[0].uri) == "sip:rtpmix@192.0.2.2:5060"


def test_each_fork_is_an_early_dialog_and_the_first_2xx_wins() -> None:
    """Sections 13.2.2.1 and 13.2.2.4: ACK for each 2xx, BYE to those that lose."""
    caller, number, invite = outgoing()
    for tag in ("a", "b", "c"):
        caller.take(answer(invite, 180, tag))
    assert [event.tag for event in caller.events("Progressed")] == ["a", "b", "c"]
    assert caller.agent.snapshot()["dialogs"] == 3
    first = caller.take(answer(invite, 200, "b", body=ANSWER))
    assert methods(first) == ["ACK"]
    second = caller.take(answer(invite, 200, "a", body=ANSWER))
    assert methods(second) == ["ACK", "BYE"]
    assert [message.to.tag for message in (*first, *second)] == ["b", "a", "a"]
    assert second[1].cseq.number == 2
    assert len(caller.events("Answered")) == 1
    assert caller.agent.snapshot()["calls"] == 1
    caller.agent.bye(number, 0.0)
    caller.run(100.0)
    assert live(caller.agent) == {}


def test_every_copy_of_a_2xx_is_acknowledged_by_the_same_ack() -> None:
    """Section 13.2.2.4."""
    caller, _, invite = outgoing()
    (ack,) = caller.take(answer(invite, 200, "a", body=ANSWER))
    for _ in range(3):
        (again,) = caller.take(answer(invite, 200, "a", body=ANSWER))
        assert again.to_bytes() == ack.to_bytes()
    assert ack.cseq.number == invite.cseq.number
    assert ack.via.branch != invite.via.branch
    assert len(caller.events("Answered")) == 1


def test_the_ack_goes_to_the_contact_and_carries_the_credentials() -> None:
    """Section 13.2.2.4."""
    caller = Bob()
    caller.agent.invite(
        "sip:carol@192.0.2.1",
        flow=caller.flow,
        from_uri="sip:bob@192.0.2.2",
        body=OFFER,
        headers=[("Authorization", 'Digest username="bob"')],
        now=0.0,
    )
    (invite,) = caller.drain()
    assert isinstance(invite, Request)
    (ack,) = caller.take(answer(invite, 200, "a", body=ANSWER))
    assert isinstance(ack, Request)
    assert ack.uri == "sip:carol@192.0.2.1:5070"
    assert caller.sent[-1][1].remote == ("192.0.2.1", 5070)
    assert ack.headers.get("Authorization") == 'Digest username="bob"'


def test_a_late_offer_is_answered_in_the_ack() -> None:
    """Section 13.2.1: the 2xx makes the offer; its copies wait for our answer."""
    caller, number, invite = outgoing(body=b"")
    assert caller.take(answer(invite, 200, "a", body=OFFER)) == []
    assert caller.events("Answered")[0].needs_ack
    assert caller.take(answer(invite, 200, "a", body=OFFER)) == []
    caller.agent.ack(number, ANSWER, 0.0)
    (ack,) = caller.drain()
    assert (methods([ack]), ack.body) == (["ACK"], ANSWER)
    (again,) = caller.take(answer(invite, 200, "a", body=OFFER))
    assert again.body == ANSWER
    with pytest.raises(UsageError, match="late offer"):
        caller.agent.ack(number, ANSWER, 0.0)


def test_a_late_offer_that_is_hung_up_on_is_acknowledged_first() -> None:
    caller, number, invite = outgoing(body=b"")
    caller.take(answer(invite, 200, "a", body=OFFER))
    caller.agent.bye(number, 0.0)
    assert methods(caller.drain()) == ["ACK", "BYE"]


def test_a_failure_ends_all_early_dialogs() -> None:
    """Section 13.2.2.3."""
    caller, _, invite = outgoing()
    caller.take(answer(invite, 180, "a"))
    caller.take(answer(invite, 183, "b"))
    (ack,) = caller.take(answer(invite, 486, "a"))
    assert isinstance(ack, Request)
    assert (ack.method, ack.via.branch, ack.to.tag) == ("ACK", invite.via.branch, "a")
    assert caller.events("Failed")[0].status == 486
    assert caller.agent.snapshot()["dialogs"] == 0
    caller.run(40.0)
    assert live(caller.agent) == {}


def test_forks_that_never_answer_are_forgotten_64_t1_after_the_first_2xx() -> None:
    """Section 13.2.2.4."""
    caller, number, invite = outgoing()
    caller.take(answer(invite, 180, "a"))
    caller.take(answer(invite, 180, "b"))
    caller.take(answer(invite, 200, "a", body=ANSWER))
    assert caller.agent.snapshot()["dialogs"] == 2
    caller.run(31.9)
    assert caller.agent.snapshot()["dialogs"] == 2
    caller.run(32.0)
    assert caller.agent.snapshot()["dialogs"] == 1
    caller.agent.bye(number, caller.now)


def test_no_number_of_forks_grows_memory_without_bound() -> None:
    caller, _, invite = outgoing()
    for tag in range(1000):
        caller.take(answer(invite, 180, f"early{tag}"))
    assert caller.agent.snapshot()["dialogs"] == MAX_FORKS
    for tag in range(1000):
        caller.take(answer(invite, 200, f"final{tag}", body=ANSWER))
    assert caller.agent.snapshot()["non_invite_client"] == MAX_FORKS - 1
    assert caller.agent.snapshot()["forks_ignored"] == 1000 - MAX_FORKS


def test_cancel_waits_for_a_provisional_response() -> None:
    """Section 9.1: MUST NOT be sent before."""
    caller, number, invite = outgoing()
    caller.agent.cancel(number, 0.0, reason="SIP;cause=600")
    assert caller.drain() == []
    (cancel,) = caller.take(answer(invite, 100, "t"))
    assert isinstance(cancel, Request)
    assert cancel.method == "CANCEL"
    assert (cancel.uri, cancel.via.branch) == (invite.uri, invite.via.branch)
    assert len(cancel.vias) == 1
    assert (cancel.cseq.number, cancel.cseq.method) == (invite.cseq.number, "CANCEL")
    for name in ("From", "To", "Call-ID"):
        assert cancel.headers.get(name) == invite.headers.get(name)
    assert "Require" not in cancel.headers
    assert cancel.headers.get("Reason") == "SIP;cause=600"
    # More provisional responses, and the user again, send no second CANCEL.
    assert caller.take(answer(invite, 180, "a")) == []
    caller.agent.cancel(number, 0.0)
    assert caller.drain() == []
    caller.take(answer(invite, 487, "a"))
    assert [event.status for event in caller.events("Failed")] == [487]
    caller.run(100.0)
    assert live(caller.agent) == {}


def test_a_200_that_crosses_our_cancel_is_taken_and_left() -> None:
    """The 200/CANCEL race from the client's side: ACK, then BYE (section 15)."""
    caller, number, invite = outgoing()
    caller.take(answer(invite, 180, "a"))
    caller.agent.cancel(number, 0.0)
    caller.drain()
    assert methods(caller.take(answer(invite, 200, "a", body=ANSWER))) == ["ACK", "BYE"]
    assert caller.events("Answered") == []
    assert [event.status for event in caller.events("Failed")] == [487]
    assert methods(caller.take(answer(invite, 200, "a", body=ANSWER))) == ["ACK"]
    caller.run(100.0)
    assert live(caller.agent) == {}
    assert len(caller.events("Failed")) == 1


def test_a_server_that_ignores_cancel_is_given_up_after_64_t1() -> None:
    """Section 9.1."""
    caller, number, invite = outgoing()
    caller.take(answer(invite, 180, "a"))
    caller.agent.cancel(number, 0.0)
    caller.run(31.9)
    assert caller.events("Failed") == []
    caller.run(32.0)
    assert [event.status for event in caller.events("Failed")] == [487]
    caller.run(100.0)
    assert live(caller.agent) == {}


def test_silence_is_a_408_of_our_own() -> None:
    """Section 13.2.2: timer B."""
    caller, _, _ = outgoing()
    caller.run(31.9)
    assert caller.events("Failed") == []
    caller.run(32.0)
    assert [(event.status, event.response) for event in caller.events("Failed")] == [(408, None)]
    assert live(caller.agent) == {}


def test_a_call_that_rings_too_long_is_cancelled_and_fails_with_408() -> None:
    caller, _, invite = outgoing()
    caller.take(answer(invite, 180, "a"))
    caller.run(180.0)
    assert methods(message for _, _, message in caller.sent)[-1] == "CANCEL"
    caller.run(300.0)
    assert [event.status for event in caller.events("Failed")] == [408]
    assert live(caller.agent) == {}


def test_a_transport_error_is_a_503_of_our_own() -> None:
    """Section 8.1.3.1."""
    caller, _, _ = outgoing()
    caller.agent.transport_failed(caller.flow, 0.1)
    caller.drain()
    assert [event.status for event in caller.events("Failed")] == [503]
    assert live(caller.agent) == {}


def test_requests_in_an_early_dialog_of_ours() -> None:
    """Sections 12.2.2, 14.2 and 15: no BYE from a callee here, no INVITE while ours is open."""
    pair = Pair()
    ours = pair.invite()
    pair.settle()
    pair.bob.ring(pair.events(BOB, "Invited")[0].call, 0.0)
    pair.settle()
    invite = pair.sent_by(ALICE, "INVITE")[0].decode()
    head = dict(line.split(": ", 1) for line in invite.split("\r\n")[1:8])
    tag = pair.events(ALICE, "Progressed")[0].tag
    statuses = []
    for number, method in enumerate(("OPTIONS", "INVITE", "BYE", "UPDATE", "INFO"), 1):
        pair.deliver(
            ALICE,
            (
                f"{method} sip:rtpmix@192.0.2.1 SIP/2.0\r\n"
                f"Via: SIP/2.0/UDP 192.0.2.2;branch=z9hG4bK{method}\r\n"
                f"From: {head['To']};tag={tag}\r\nTo: {head['From']}\r\n"
                f"Call-ID: {head['Call-ID']}\r\nCSeq: {number} {method}\r\n\r\n"
            ).encode(),
        )
        statuses += [sent.message.status for sent in pair.collect()]  # type: ignore[union-attr]
    assert statuses == [200, 491, 481, 405]
    assert pair.events(ALICE, "Requested")[0].call == ours


def test_a_limit_on_calls_is_a_capacity_error_for_our_own() -> None:
    caller = Bob(max_calls=1)

    def call() -> None:
        caller.agent.invite(
            "sip:a@192.0.2.1", flow=caller.flow, from_uri="sip:b@192.0.2.2", body=OFFER, now=0.0
        )

    call()
    with pytest.raises(CapacityError) as caught:
        call()
    assert caught.value.limit == 1


@pytest.mark.parametrize("target", ["", "bob", "sip:", "sip:a b@c", "sip:bob@192.0.2.1\r\nX: y"])
def test_a_target_that_is_no_uri_is_a_usage_error(target: str) -> None:
    caller = Bob()
    with pytest.raises(UsageError, match="write it like sip:alice"):
        caller.agent.invite(target, flow=TO_BOB, from_uri="sip:b@192.0.2.2", now=0.0)
    assert live(caller.agent) == {}


def test_an_early_dialog_of_ours_keeps_order_and_ends_with_the_call() -> None:
    caller, number, invite = outgoing()
    caller.take(answer(invite, 180, "a"))
    caller.take(answer(invite, 180, "b"))

    def ask(cseq: int) -> int | None:
        return caller.status(
            raw(
                "OPTIONS",
                branch=f"z9hG4bK{caller.agent.snapshot()['received']}",
                call_id=invite.call_id,
                from_tag="b",
                to_tag=invite.from_.tag,
                cseq=cseq,
            )
        )

    assert [ask(5), ask(4), ask(6)] == [200, 500, 200]
    caller.take(answer(invite, 200, "a", body=ANSWER))
    assert ask(7) == 481
    caller.agent.bye(number, 0.0)
