"""Client transactions beyond their tables: what is kept, and what is passed on once."""

from __future__ import annotations

import pytest

from rtpmix.sip.client_transaction import InviteClientTransaction, NonInviteClientTransaction
from rtpmix.sip.transaction import State
from tests.sip.machines import Bench


@pytest.mark.parametrize(
    ("machine", "status", "state"),
    [
        (InviteClientTransaction, 199, State.PROCEEDING),
        (InviteClientTransaction, 200, State.ACCEPTED),
        (InviteClientTransaction, 299, State.ACCEPTED),
        (InviteClientTransaction, 300, State.COMPLETED),
        (InviteClientTransaction, 699, State.COMPLETED),
        (NonInviteClientTransaction, 100, State.PROCEEDING),
        (NonInviteClientTransaction, 200, State.COMPLETED),
        (NonInviteClientTransaction, 699, State.COMPLETED),
    ],
)
def test_the_class_of_a_status_decides_the_input(
    machine: type[InviteClientTransaction | NonInviteClientTransaction], status: int, state: State
) -> None:
    """RFC 3261 section 17.1: 1xx, 2xx, 300-699."""
    bench = Bench(machine)
    bench.transaction.receive(status, f"{status}", 0.0)
    assert bench.transaction.state is state
    assert bench.user.told == [f"response {status}"]


def test_a_second_final_response_to_another_request_is_not_passed_on() -> None:
    """Section 17.1.2.2: only a single one is ever delivered."""
    bench = Bench(NonInviteClientTransaction)
    for status in (200, 200, 486):
        bench.transaction.receive(status, status, 0.0)
    assert bench.user.told == ["response 200"]


def test_a_request_is_not_kept_once_it_can_not_be_sent_again() -> None:
    """Thousands of transactions linger for 32 seconds; a 1,200-byte INVITE each would add up."""
    for machine in (InviteClientTransaction, NonInviteClientTransaction):
        for status in (200, 486):
            bench = Bench(machine)
            bench.transaction.receive(status, "x", 0.0)
            assert bench.transaction._request == b""
            assert bench.transaction._message is None
