"""RFC 6026: the Accepted state, and what no longer reaches the transaction user."""

from __future__ import annotations

import pytest

from rtpmix.sip.client_transaction import InviteClientTransaction
from rtpmix.sip.flow import Flow
from rtpmix.sip.server_transaction import InviteServerTransaction
from rtpmix.sip.transaction import Input, State
from tests.sip.agents import ALICE, BOB, Pair
from tests.sip.machines import TCP, UDP, Bench

BOTH = pytest.mark.parametrize("flow", [UDP, TCP], ids=["UDP", "TCP"])


@BOTH
def test_timer_l_keeps_an_accepted_invite_for_64_t1(flow: Flow) -> None:
    """Section 8.7: for all transports."""
    bench = Bench(InviteServerTransaction, flow)
    bench.feed(Input.TU_2XX, at=0.5)
    bench.run(32.499)
    assert bench.transaction.state is State.ACCEPTED
    bench.run(32.5)
    assert bench.transaction.state is State.TERMINATED
    assert bench.user.told == ["ended"]


@BOTH
def test_timer_m_keeps_an_accepted_invite_of_ours_for_64_t1(flow: Flow) -> None:
    """Section 8.4."""
    bench = Bench(InviteClientTransaction, flow)
    bench.feed(Input.RECEIVED_2XX, at=0.5)
    bench.run(32.499)
    assert bench.transaction.state is State.ACCEPTED
    bench.run(32.5)
    assert bench.transaction.state is State.TERMINATED


def test_a_repeated_invite_is_absorbed_in_accepted() -> None:
    """Section 8.7: not sent again by the transaction, not passed up as a new call."""
    bench = Bench(InviteServerTransaction)
    bench.feed(Input.TU_2XX)
    for _ in range(5):
        assert bench.feed(Input.REQUEST)
    assert len(bench.sent) == 1
    assert bench.user.told == []


def test_the_user_repeats_its_2xx_through_the_transaction() -> None:
    bench = Bench(InviteServerTransaction)
    for _ in range(3):
        bench.feed(Input.TU_2XX, message=b"200")
    assert [data for _, data in bench.sent] == [b"200"] * 3


def test_an_ack_in_accepted_is_passed_up() -> None:
    bench = Bench(InviteServerTransaction)
    bench.feed(Input.TU_2XX)
    bench.feed(Input.ACK)
    assert bench.user.told == ["ACK"]
    assert bench.transaction.state is State.ACCEPTED


def test_every_2xx_is_passed_up_in_accepted_and_none_is_acknowledged_here() -> None:
    """Section 8.4: copies, and the answers of other forks."""
    bench = Bench(InviteClientTransaction)
    for _ in range(3):
        bench.feed(Input.RECEIVED_2XX)
    assert len(bench.user.told) == 3
    assert bench.times(b"ACK") == []
    assert not bench.feed(Input.RECEIVED_300_699)


def test_a_transport_error_leaves_a_server_transaction_in_its_state() -> None:
    """Section 8.8."""
    bench = Bench(InviteServerTransaction)
    for what, state in (
        (None, State.PROCEEDING),
        (Input.TU_300_699, State.COMPLETED),
    ):
        if what is not None:
            bench.feed(what)
        bench.feed(Input.TRANSPORT_ERROR)
        assert bench.transaction.state is state
    assert bench.user.told == ["transport error"] * 2


def test_an_invite_repeated_after_our_200_makes_no_second_call() -> None:
    """Section 3: the fault in RFC 3261 that all of this repairs."""
    pair = Pair()
    pair.call()
    invite = pair.sent_by(ALICE, "INVITE")[0]
    pair.deliver(BOB, invite)
    pair.settle()
    assert len(pair.events(BOB, "Invited")) == 1
    assert pair.bob.snapshot()["calls"] == 1


def test_a_response_without_a_transaction_is_dropped_silently() -> None:
    """Section 8.9."""
    pair = Pair()
    pair.call()
    pair.run(40.0)
    answer = pair.sent_by(BOB, "SIP/2.0 200")[0]
    sent = len(pair.log)
    pair.deliver(ALICE, answer)
    pair.settle()
    assert len(pair.log) == sent
    assert pair.alice.snapshot()["stray_responses"] == 1
