"""Session timers (RFC 4028), both roles."""

from __future__ import annotations

from typing import Any

import pytest

from rtpmix.errors import UsageError
from rtpmix.sip.agent_config import UserAgentConfig
from rtpmix.sip.message import Request, Response, parse_message, respond
from rtpmix.sip.session_timer import SessionExpires
from rtpmix.sip.user_agent import UserAgent
from tests.sip.agents import ALICE, ANSWER, BOB, OFFER, Bob, Pair, live, raw, tokens

ALLOW = ("INVITE", "ACK", "CANCEL", "BYE", "OPTIONS", "UPDATE")


def pair_of(**more: Any) -> Pair:
    return Pair(**{"allow": ALLOW, "session_expires": 300} | more)


def configure(pair: Pair, address: tuple[str, int], **config: Any) -> None:
    """Give one of the two a configuration of its own."""
    agent = UserAgent(UserAgentConfig(**config), token=tokens(f"other {address}"))
    pair.agents[address] = agent
    if address == ALICE:
        pair.alice = agent
    else:
        pair.bob = agent


def finish(pair: Pair, call: int) -> None:
    pair.alice.bye(call, pair.now)
    pair.run(pair.now + 400)
    assert live(pair.alice) == live(pair.bob) == {}


def test_the_caller_refreshes_by_update_at_half_the_interval() -> None:
    """Sections 7.2, 9 and 10: the callee leaves it to a caller who can."""
    pair = pair_of()
    call, _ = pair.call()
    ok = parse_message(pair.sent_by(BOB, "SIP/2.0 200")[0])
    assert ok.headers.get("Session-Expires") == "300;refresher=uac"
    assert ok.require == ["timer"]
    pair.run(1000.0)
    assert pair.times(ALICE, "UPDATE") == [150_000 * n for n in range(1, 7)]
    assert pair.events(ALICE, "Ended") == pair.events(ALICE, "OfferAnswered") == []
    finish(pair, call)


def test_a_callee_refreshes_for_a_caller_who_does_not_know_the_timer() -> None:
    """Section 9, table 2."""
    pair = pair_of()
    configure(pair, ALICE, allow=ALLOW)
    call, _ = pair.call()
    pair.run(1000.0)
    assert pair.times(BOB, "UPDATE")[:2] == [150_000, 300_000]
    assert pair.sent_by(ALICE, "UPDATE") == []
    finish(pair, call)


def test_a_caller_without_an_answer_about_timers_has_none() -> None:
    """Section 7.2."""
    pair = pair_of()
    configure(pair, BOB, allow=ALLOW)
    call, _ = pair.call()
    pair.run(2000.0)
    assert pair.sent_by(ALICE, "UPDATE") == pair.events(ALICE, "Ended") == []
    finish(pair, call)


def test_a_peer_without_update_is_refreshed_by_re_invite() -> None:
    pair = pair_of(allow=("INVITE", "ACK", "CANCEL", "BYE"))
    call, theirs = pair.call()
    for round_ in range(1, 4):
        pair.run(150.0 * round_)
        assert len(pair.events(ALICE, "RefreshDue")) == round_
        pair.alice.reinvite(call, OFFER, pair.now)
        pair.settle()
        pair.bob.answer_reinvite(theirs, 200, pair.now, ANSWER)
        pair.settle()
    assert pair.events(ALICE, "Ended") == []
    finish(pair, call)


@pytest.mark.parametrize("silent", [ALICE, BOB])
def test_a_session_that_nobody_refreshes_is_left_shortly_before_its_end(
    silent: tuple[str, int],
) -> None:
    """Section 10: min(32, interval/3) seconds before."""
    pair = pair_of()
    pair.call()
    pair.drop = lambda sent: sent.source == silent
    pair.run(1000.0)
    # The refresher's UPDATE times out after 32 s; the other waits until 300 - 32.
    assert pair.times(BOB, "BYE")[0] == 268_000 if silent == ALICE else 182_000
    causes = {ALICE: "dialog-lost", BOB: "session-expired"}
    assert pair.events(BOB, "Ended")[0].cause == causes[BOB] if silent == ALICE else True
    assert pair.events(ALICE, "Ended")[0].cause == causes[ALICE]
    assert live(pair.alice) == live(pair.bob) == {}


def test_an_interval_below_our_least_is_refused_with_it_and_then_taken() -> None:
    """Sections 7.3 and 9: 422, Min-SE, the same Call-ID and a CSeq one higher."""
    pair = pair_of(session_expires=120)
    configure(pair, BOB, allow=ALLOW, session_expires=1800, min_se=600)
    call = pair.invite()
    pair.settle()
    first, second = (parse_message(data) for data in pair.sent_by(ALICE, "INVITE"))
    assert first.call_id == second.call_id
    assert (second.cseq.number, second.headers.get("Min-SE")) == (2, "600")
    assert second.headers.get("Session-Expires") == "600"
    pair.bob.accept(pair.events(BOB, "Invited")[0].call, 0.0, ANSWER)
    pair.settle()
    pair.run(700.0)
    assert pair.times(ALICE, "UPDATE") == [300_000, 600_000]
    finish(pair, call)


def test_a_422_that_asks_for_no_more_than_we_offered_fails_the_call() -> None:
    bob = Bob(session_expires=1800)
    bob.agent.invite(
        "sip:a@192.0.2.1", flow=bob.flow, from_uri="sip:b@192.0.2.2", body=OFFER, now=0.0
    )
    for _ in range(2):
        invite = next(m for m in bob.drain() or [bob.sent[-1][2]] if isinstance(m, Request))
        bob.take(respond(invite, 422, to_tag="x", headers=[("Min-SE", "1900")]).to_bytes())
    assert [event.status for event in bob.events("Failed")] == [422]


@pytest.mark.parametrize(
    ("headers", "granted", "required"),
    [
        ("", "1800;refresher=uas", False),
        ("Supported: timer", "1800;refresher=uas", False),
        ("Supported: timer\r\nSession-Expires: 600", "600;refresher=uac", True),
        ("Supported: timer\r\nSession-Expires: 600;refresher=uas", "600;refresher=uas", False),
        ("Supported: timer\r\nx: 600 ;foo=1; refresher=UAC", "600;refresher=uac", True),
        ("Session-Expires: 600", "600;refresher=uas", False),
        ("Session-Expires: 600;refresher=uac", "600;refresher=uas", False),
        ("Supported: timer\r\nSession-Expires: 7200", "1800;refresher=uac", True),
        ("Supported: timer\r\nSession-Expires: 7200\r\nMin-SE: 3600", "3600;refresher=uac", True),
        ("Supported: timer\r\nSession-Expires: soon", "1800;refresher=uas", False),
        ("Session-Expires: 5", None, False),  # it can't read a 422, and we won't flood it
        (f"Session-Expires: {'9' * 10}", "1800;refresher=uas", False),
    ],
)
def test_what_the_caller_asks_for_decides_who_refreshes_and_when(
    headers: str, granted: str | None, required: bool
) -> None:
    """Section 9, table 2."""
    bob = Bob(session_expires=1800)
    number = bob.invited(headers=headers, body=OFFER)
    bob.agent.accept(number, 0.0, ANSWER)
    ok = bob.drain()[0]
    assert ok.headers.get("Session-Expires") == granted
    assert ("timer" in ok.require) is required


def test_an_update_and_a_re_invite_of_the_peers_start_the_interval_anew() -> None:
    bob = Bob(session_expires=300, allow=ALLOW)
    number, tag = bob.answered(headers="Supported: timer\r\nSession-Expires: 300;refresher=uac")
    bob.run(200.0)
    timer = "Supported: timer\r\nSession-Expires: 300;refresher=uac"
    answer = bob.take(raw("UPDATE", branch="z9hG4bKu", to_tag=tag, cseq=2, headers=timer))[0]
    assert answer.headers.get("Session-Expires") == "300;refresher=uac"
    bob.run(400.0)
    assert bob.events("Ended") == []
    bob.take(raw("INVITE", branch="z9hG4bKr", to_tag=tag, cseq=3, headers=timer, body=OFFER))
    bob.agent.answer_reinvite(number, 200, bob.now, ANSWER)
    assert bob.drain()[-1].headers.get("Session-Expires") == "300;refresher=uac"
    bob.take(raw("ACK", branch="z9hG4bKs", to_tag=tag, cseq=3))
    bob.run(660.0)
    assert bob.events("Ended") == []
    bob.run(669.0)
    assert [event.cause for event in bob.events("Ended")] == ["session-expired"]
    bye = bob.sent[-1][2]
    assert "cause=408" in (bye.headers.get("Reason") or "")


def test_a_users_update_waits_for_the_refresh_that_is_out() -> None:
    pair = pair_of()
    call, theirs = pair.call()
    pair.drop = lambda sent: sent.source == BOB
    pair.run(150.0)
    pair.alice.update(call, pair.now, OFFER)
    with pytest.raises(UsageError, match="under way"):
        pair.alice.update(call, pair.now, OFFER)
    pair.drop = lambda sent: False
    pair.run(152.0)
    pair.bob.answer_offer(theirs, 200, pair.now, ANSWER)
    pair.settle()
    assert [event.status for event in pair.events(ALICE, "OfferAnswered")] == [200]
    finish(pair, call)


def test_a_refused_refresh_is_tried_again_before_the_end() -> None:
    pair = pair_of(session_expires=1800)
    pair.call()
    refused = 0

    def drop(sent: Any) -> bool:
        nonlocal refused
        if sent.source == ALICE and sent.data.startswith(b"UPDATE") and not refused:
            refused += 1
            pair.deliver(ALICE, respond(parse_message(sent.data), 503).to_bytes())  # type: ignore[arg-type]
            return True
        return False

    pair.drop = drop
    pair.run(3000.0)
    assert pair.times(ALICE, "UPDATE")[:2] == [900_000, 1350_000]
    assert pair.events(ALICE, "Ended") == []


@pytest.mark.parametrize("wrong", [{"min_se": 89}, {"session_expires": 80}])
def test_a_configuration_below_the_floor_is_refused(wrong: dict[str, int]) -> None:
    """Section 5: 90 seconds."""
    with pytest.raises(UsageError, match="90"):
        UserAgentConfig(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["", "x", "-5", "1;", ";refresher=uac", "1 2", "9" * 11])
def test_a_malformed_interval_counts_as_none_or_by_its_digits(text: str) -> None:
    response = Response.create(200, None, [("Session-Expires", text)])
    assert SessionExpires.of(response) in (None, SessionExpires(1))
