"""The user agent's own doors: streams, the pump, its limits and its users' mistakes."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from rtpmix.errors import UsageError
from rtpmix.sip.flow import Flow
from rtpmix.sip.message import Response, parse_message
from rtpmix.sip.user_agent import UserAgent
from tests.sip.agents import ALICE, ANSWER, BOB, OFFER, Bob, live, raw

TCP = Flow("TCP", ALICE, BOB, 5)


@pytest.mark.parametrize("size", [1, 7, 100, 10_000])
def test_a_stream_is_cut_into_messages_however_it_arrives(size: int) -> None:
    """RFC 3261 section 18.3."""
    bob = Bob(TCP)
    stream = b"\r\n".join(
        raw("OPTIONS", branch=f"z9hG4bK{n}", body=b"x" * n, headers="Content-Type: a/b")
        for n in range(5)
    )
    for start in range(0, len(stream), size):
        bob.agent.receive_stream(stream[start : start + size], TCP, 0.0)
    bob.drain()
    assert bob.statuses() == [200] * 5


def test_a_ping_is_answered_with_a_pong() -> None:
    """RFC 5626 section 4.4.1."""
    agent = Bob(TCP).agent
    agent.receive_stream(b"\r\n\r\n", TCP, 0.0)
    assert [(out.flow, out.data) for out in agent.datagrams_to_send()] == [(TCP, b"\r\n")]


def test_a_stream_that_can_not_be_cut_is_broken_once_and_then_ignored() -> None:
    bob = Bob(TCP)
    good = raw("OPTIONS")
    bob.take(good + b"OPTIONS sip:x SIP/2.0\r\nContent-Length: -5\r\n\r\n")
    assert bob.statuses() == [200]
    assert [event.flow for event in bob.events("StreamBroken")] == [TCP]
    assert bob.take(good) == []
    assert len(bob.events("StreamBroken")) == 1
    bob.agent.connection_closed(TCP, 0.0)
    assert bob.agent.snapshot()["streams"] == 0


def test_the_deadline_is_the_earliest_timer_and_none_when_all_is_over() -> None:
    bob = Bob()
    assert bob.agent.next_deadline() is None
    bob.agent.request("MESSAGE", "sip:a@192.0.2.1", flow=bob.flow, from_uri="sip:b@c", now=10.0)
    assert bob.agent.next_deadline() == 10.5
    bob.agent.advance(10.4)
    assert len(bob.agent.datagrams_to_send()) == 1
    bob.agent.advance(10.5)
    assert len(bob.agent.datagrams_to_send()) == 1
    assert bob.agent.next_deadline() == 11.5


def test_draining_twice_gives_nothing_twice() -> None:
    bob = Bob()
    bob.agent.receive_datagram(raw("INVITE"), bob.flow, 0.0)
    assert len(bob.agent.datagrams_to_send()) == 1
    assert bob.agent.datagrams_to_send() == []
    assert bob.agent.next_event() is not None
    assert bob.agent.next_event() is None


def test_an_agent_that_wakes_late_sends_each_thing_once() -> None:
    """After a pause a transaction goes on, it does not make up for what it missed."""
    bob = Bob()
    bob.agent.request("MESSAGE", "sip:a@192.0.2.1", flow=bob.flow, from_uri="sip:b@c", now=0.0)
    bob.agent.datagrams_to_send()
    bob.agent.advance(20.0)
    assert len(bob.agent.datagrams_to_send()) == 1


COMMANDS: dict[str, Callable[[UserAgent, int], None]] = {
    "ring": lambda agent, call: agent.ring(call, 0.0),
    "accept": lambda agent, call: agent.accept(call, 0.0, ANSWER),
    "reject": lambda agent, call: agent.reject(call, 486, 0.0),
    "ack": lambda agent, call: agent.ack(call, ANSWER, 0.0),
    "cancel": lambda agent, call: agent.cancel(call, 0.0),
    "reinvite": lambda agent, call: agent.reinvite(call, OFFER, 0.0),
    "answer_reinvite": lambda agent, call: agent.answer_reinvite(call, 200, 0.0),
    "bye": lambda agent, call: agent.bye(call, 0.0),
    "request": lambda agent, call: agent.request("INFO", call=call, now=0.0) and None,
}
ALLOWED = {
    "incoming": {"ring", "accept", "reject", "bye"},
    "outgoing": {"cancel", "bye"},
    "answered": {"cancel", "reinvite", "bye", "request"},
    "over": set[str](),
    "unknown": set[str](),
}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("state", ALLOWED)
def test_every_command_in_every_state_works_or_says_why_not(command: str, state: str) -> None:
    bob = Bob()
    if state == "outgoing":
        call = bob.agent.invite(
            "sip:a@192.0.2.1", flow=bob.flow, from_uri="sip:b@192.0.2.2", body=OFFER, now=0.0
        )
    elif state == "incoming":
        call = bob.invited()
    elif state == "unknown":
        call = 99
    else:
        call, _ = bob.answered()
        if state == "over":
            bob.agent.bye(call, 0.0)
    before = bob.agent.snapshot()
    if command in ALLOWED[state]:
        COMMANDS[command](bob.agent, call)
    else:
        with pytest.raises(UsageError, match=f"call {call}"):
            COMMANDS[command](bob.agent, call)
        assert bob.agent.snapshot() == before
    bob.run(500.0)
    assert live(bob.agent) == (
        {} if state != "answered" or command in ("cancel", "bye", "request") else live(bob.agent)
    )


def test_what_the_user_writes_can_not_break_a_message() -> None:
    """CR and LF never reach the wire; the call is left as it was."""
    bob = Bob()
    call = bob.invited()
    evil = "x\r\nVia: SIP/2.0/UDP 203.0.113.1"
    for attempt in (
        lambda: bob.agent.ring(call, 0.0, headers=[("X", evil)]),
        lambda: bob.agent.accept(call, 0.0, ANSWER, headers=[("X", evil)]),
        lambda: bob.agent.reject(call, 486, 0.0, reason=evil),
        lambda: bob.agent.reject(call, 486, 0.0, headers=[(evil, "x")]),
        lambda: bob.agent.bye(call, 0.0, headers=[("X", evil)]),
    ):
        with pytest.raises(UsageError):
            attempt()
        assert bob.drain() == []
    bob.agent.accept(call, 0.0, ANSWER)
    (ok,) = bob.drain()
    assert isinstance(ok, Response)
    assert parse_message(ok.to_bytes()).body == ANSWER


def test_a_bad_header_for_bye_does_not_lose_the_call() -> None:
    bob = Bob()
    call, _ = bob.answered()
    with pytest.raises(UsageError):
        bob.agent.bye(call, 0.0, headers=[("X", "a\r\nb")])
    assert bob.events("Ended") == []
    bob.agent.bye(call, 0.0)
    assert bob.drain()[0].method == "BYE"  # type: ignore[union-attr]
    assert len(bob.events("Ended")) == 1
