"""Whatever arrives is answered, counted or dropped, and never raises."""

from __future__ import annotations

import random

import pytest

from rtpmix.sip.events import Invited
from rtpmix.sip.flow import Flow
from rtpmix.sip.message import respond
from tests.sip.agents import ALICE, ANSWER, BOB, OFFER, Bob, Pair, live, raw


def test_a_request_over_the_limits_is_503_without_any_state() -> None:
    """RFC 3261 section 21.5.4, with Retry-After."""
    bob = Bob(max_calls=2)
    for number in range(5):
        (answer,) = bob.take(raw("INVITE", call_id=f"c{number}", branch=f"z9hG4bK{number}"))
        assert answer.status == (100 if number < 2 else 503)  # type: ignore[union-attr]
    assert answer.headers.get("Retry-After")
    assert bob.agent.snapshot()["invite_server"] == 2
    bob = Bob(max_transactions=3)
    for number in range(5):
        bob.take(raw("MESSAGE", call_id=f"c{number}", branch=f"z9hG4bK{number}"))
    assert bob.statuses() == [503, 503]
    assert bob.agent.snapshot()["requests"] == 3


def test_a_call_in_progress_can_be_ended_when_the_limit_is_reached() -> None:
    bob = Bob(max_transactions=1)
    _, tag = bob.answered()
    assert bob.status(raw("OPTIONS", branch="z9hG4bKo", to_tag=tag, cseq=2)) == 503
    assert bob.status(raw("BYE", branch="z9hG4bKb", to_tag=tag, cseq=3)) == 200


def test_a_peer_in_a_call_can_not_fill_our_memory() -> None:
    bob = Bob(max_transactions=50)
    number, tag = bob.answered()
    bob.agent.bye(number, 0.0)
    for cseq in range(2, 500):
        method = ("OPTIONS", "INFO", "BYE")[cseq % 3]
        bob.take(raw(method, branch=f"z9hG4bK{cseq}", to_tag=tag, cseq=cseq))
    assert bob.agent.snapshot()["non_invite_server"] <= 50


def test_a_bad_request_is_answered_if_it_can_be() -> None:
    """RFC 3261 section 16.3, RFC 4475 section 3.1.2."""
    bob = Bob()
    assert bob.status(raw("INVITE", headers="Max-Forwards: many")) == 400
    assert bob.status(raw("INVITE").replace(b"SIP/2.0\r\nVia", b"SIP/7.0\r\nVia")) == 505
    assert bob.status(raw("INVITE").replace(b"CSeq: 1 INVITE", b"CSeq: 1 BYE")) == 400
    assert bob.status(b"no sip at all\r\n\r\n") is None
    assert bob.status(raw("ACK", headers="Max-Forwards: many")) is None
    assert bob.agent.snapshot()["malformed"] == 5
    assert live(bob.agent) == {}


def test_a_response_that_nobody_asked_for_is_dropped() -> None:
    """RFC 6026 section 8.9; RFC 3261 section 8.1.3.3 for two Vias."""
    pair = Pair()
    pair.invite()
    invite = pair.collect()[0].message
    stray = respond(invite, 200, to_tag="x", headers=[("Contact", "<sip:a@192.0.2.2>")])  # type: ignore[arg-type]
    stray.headers.add("Via", "SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKother")
    pair.deliver(ALICE, stray.to_bytes())
    pair.settle()
    assert pair.events(ALICE, "Answered") == []
    assert pair.alice.snapshot()["stray_responses"] == 1


def test_keep_alives_in_datagrams_are_counted_and_nothing_else() -> None:
    bob = Bob()
    for data in (b"", b"\r\n", b"\r\n\r\n", b"\0\0\0\0"):
        assert bob.take(data) == []
    assert bob.agent.snapshot()["keep_alives"] == 4
    assert "malformed" not in bob.agent.snapshot()


def test_the_source_of_a_request_is_noted_in_its_via() -> None:
    """RFC 3261 section 18.2.1 and RFC 3581."""
    flow = Flow("UDP", ("198.51.100.7", 40000), BOB)
    bob = Bob(flow)
    (trying,) = bob.take(raw("INVITE", via="SIP/2.0/UDP 10.0.0.1:5070;rport"))
    assert (trying.via.received, trying.via.rport) == ("198.51.100.7", "40000")
    assert bob.sent[0][1].remote == ("198.51.100.7", 40000)


def test_a_flood_of_refused_requests_keeps_nothing() -> None:
    bob = Bob()
    for number in range(2000):
        method = ("OPTIONS", "SUBSCRIBE", "BYE", "CANCEL", "FOO")[number % 5]
        bob.take(raw(method, branch=f"z9hG4bK{number}", call_id=f"c{number}"))
    assert live(bob.agent) == {}
    assert len(bob.statuses()) == 2000


SEEDS = [
    raw("INVITE", body=OFFER, headers="Record-Route: <sip:p1;lr>\r\nRequire: 100rel"),
    raw("INVITE", body=OFFER, branch=None),
    raw("CANCEL"),
    raw("ACK", to_tag="x"),
    raw("BYE", to_tag="x", cseq=2),
    raw("OPTIONS", headers="Max-Forwards: 0"),
    raw("REGISTER", contact="*", headers="Expires: 0"),
    b"SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 192.0.2.2:5060;branch=z9hG4bKx\r\n"
    b"From: <sip:a@b>;tag=1\r\nTo: <sip:c@d>;tag=2\r\n"
    b"Call-ID: x\r\nCSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n",
]


@pytest.mark.parametrize("seed", range(10))
def test_mutated_messages_never_raise_and_are_forgotten(seed: int) -> None:
    """What a peer sends never raises out of a receive path; after the timers nothing is left."""
    chance = random.Random(seed)
    bob = Bob(ring_timeout=5.0)
    number, tag = bob.answered(call_id="good")
    bob.agent.reinvite(number, OFFER, 0.0)
    bob.drain()
    answers = 0
    pieces = [
        b";",
        b",",
        b'"',
        b"<",
        b">",
        b"\r\n",
        b" ",
        b"=",
        b"tag",
        b"%",
        b"99999999999",
        b"\0",
    ]
    for _ in range(400):
        data = bytearray(chance.choice(SEEDS).replace(b"tag=x", f"tag={tag}".encode()))
        for _ in range(chance.choice([0, 1, 1, 2, 5])):
            place = chance.randrange(len(data))
            if chance.random() < 0.5:
                data[place : place + chance.choice([0, 1, 8])] = chance.choice(pieces)
            else:
                data[place] = chance.randrange(256)
        bob.agent.receive_datagram(bytes(data), bob.flow, bob.now)
        # What goes out repeats parts of what came in, so it is not parsed here.
        answers += len(bob.agent.datagrams_to_send())
        while (event := bob.agent.next_event()) is not None:
            if isinstance(event, Invited) and chance.random() < 0.5:
                bob.agent.bye(event.call, bob.now)
        bob.now += 0.02
        bob.agent.advance(bob.now)
    assert answers > 100
    while (at := bob.agent.next_deadline()) is not None:
        bob.agent.advance(at)
        bob.agent.datagrams_to_send()
    assert live(bob.agent) == {}


@pytest.mark.parametrize("transport", ["UDP", "TCP"])
def test_a_whole_call_over_each_transport(transport: str) -> None:
    pair = Pair(transport)
    ours, theirs = pair.call()
    assert pair.events(ALICE, "Answered")[0].response.body == ANSWER
    pair.bob.bye(theirs, 0.0)
    pair.settle()
    kinds = [sent.data.split(b" ")[0 if sent.data[:3] != b"SIP" else 1] for sent in pair.log]
    assert kinds == [b"INVITE", b"100", b"200", b"ACK", b"BYE", b"200"]
    pair.run(0.0 if transport == "TCP" else 5.0)
    assert pair.events(ALICE, "Ended")[0].call == ours
    pair.run(40.0)
    assert live(pair.alice) == live(pair.bob) == {}
