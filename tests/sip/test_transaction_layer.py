"""The indexes of the transactions, and what a lost connection does to them."""

from __future__ import annotations

from rtpmix.sip.flow import Flow
from rtpmix.sip.message import Request, respond
from rtpmix.sip.transaction import State
from tests.sip.agents import ANSWER, BOB, OFFER, Bob, Pair, live, raw

TCP = Flow("TCP", ("192.0.2.1", 40000), BOB, 5)


def test_copies_of_a_request_reach_one_transaction_however_many_there_are() -> None:
    bob = Bob()
    for number in range(300):
        data = raw("INVITE", branch=f"z9hG4bK{number}", call_id=f"c{number}")
        bob.take(data)
        bob.take(data)
    assert bob.agent.snapshot()["invite_server"] == 300
    assert len(bob.events("Invited")) == 300
    bob.run(300.0)
    assert live(bob.agent) == {}


def test_a_lost_connection_fails_the_requests_on_it() -> None:
    """RFC 3261 section 17.1.4: 503."""
    bob = Bob(TCP)
    bob.take(b"\r\n")
    bob.agent.invite("sip:a@192.0.2.1", flow=TCP, from_uri="sip:b@192.0.2.2", body=OFFER, now=0.0)
    bob.agent.connection_closed(TCP, 0.0)
    bob.drain()
    assert [event.status for event in bob.events("Failed")] == [503]
    assert live(bob.agent) == {}
    assert bob.agent.snapshot()["streams"] == 0


def test_another_connection_to_the_same_peer_is_left_alone() -> None:
    bob = Bob(TCP)
    bob.agent.invite("sip:a@192.0.2.1", flow=TCP, from_uri="sip:b@192.0.2.2", body=OFFER, now=0.0)
    bob.agent.connection_closed(TCP._replace(connection=6), 0.0)
    bob.drain()
    assert bob.events("Failed") == []


def test_responses_to_a_lost_connection_open_a_new_one_to_the_port_of_the_via() -> None:
    """Section 18.2.2."""
    bob = Bob(TCP)
    number = bob.invited(via="SIP/2.0/TCP 192.0.2.1:5070")
    bob.agent.connection_closed(TCP, 0.0)
    bob.agent.accept(number, 0.0, ANSWER)
    bob.drain()
    assert bob.sent[-1][1] == Flow("TCP", ("192.0.2.1", 5070), BOB, 0)
    bob.agent.bye(number, 0.0)
    bob.run(200.0)
    assert live(bob.agent) == {}


def test_a_dialog_whose_connection_is_gone_is_reached_by_a_new_one() -> None:
    """Section 18.4: nothing is ever sent to a connection that is closed."""
    bob = Bob(TCP)
    number, _ = bob.answered(
        via="SIP/2.0/TCP 192.0.2.1:5070", contact="<sip:alice@192.0.2.1:5071;transport=tcp>"
    )
    bob.agent.connection_closed(TCP, 0.0)
    bob.agent.bye(number, 0.0)
    bob.drain()
    assert bob.sent[-1][1] == Flow("TCP", ("192.0.2.1", 5071), BOB, 0)


def test_a_connection_that_was_opened_for_us_is_kept_to() -> None:
    """What follows the first response goes over the same connection, not over a second one."""
    opened = Flow("TCP", ("192.0.2.1", 5060), BOB)
    bob = Bob(opened)
    bob.agent.invite(
        "sip:a@192.0.2.1;transport=tcp",
        flow=opened,
        from_uri="sip:b@192.0.2.2",
        body=OFFER,
        now=0.0,
    )
    (invite,) = bob.drain()
    assert isinstance(invite, Request)
    bob.flow = opened._replace(connection=9)
    contact = ("Contact", "<sip:a@192.0.2.1:5099;transport=tcp>")
    bob.take(respond(invite, 200, to_tag="a", headers=[contact], body=ANSWER).to_bytes())
    assert bob.sent[-1][2].method == "ACK"  # type: ignore[union-attr]
    assert bob.sent[-1][1].connection == 9


def test_a_server_transaction_stays_when_its_transport_fails() -> None:
    """RFC 6026 section 8.8."""
    bob = Bob(TCP)
    bob.invited()
    bob.agent.transport_failed(TCP, 0.0)
    assert bob.agent.snapshot()["invite_server"] == 1
    (transaction,) = bob.agent._core.layer._servers.values()
    assert transaction.state is State.PROCEEDING


def test_over_tcp_a_finished_call_leaves_only_what_waits_for_late_copies() -> None:
    """Timers I, J, K and D are zero; L and M hold on every transport."""
    pair = Pair("TCP")
    ours, _ = pair.call()
    pair.alice.bye(ours, 0.0)
    pair.run(0.001)
    assert live(pair.alice) == {"invite_client": 1, "timers": 1}
    assert live(pair.bob) == {"invite_server": 1, "timers": 1}
