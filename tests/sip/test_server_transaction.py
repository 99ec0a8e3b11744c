"""Server transactions beyond their tables: what the user is told about its own answers."""

from __future__ import annotations

import pytest

from rtpmix.sip.server_transaction import InviteServerTransaction, NonInviteServerTransaction
from rtpmix.sip.transaction import Input, State
from tests.sip.machines import Bench

BOTH = pytest.mark.parametrize(
    "machine", [InviteServerTransaction, NonInviteServerTransaction], ids=["INVITE", "other"]
)


@BOTH
def test_a_final_response_answers_and_a_provisional_one_does_not(
    machine: type[InviteServerTransaction | NonInviteServerTransaction],
) -> None:
    bench = Bench(machine)
    assert not bench.transaction.answered
    assert bench.transaction.respond(100, b"100", 0.0)
    assert not bench.transaction.answered
    assert bench.transaction.respond(486, b"486", 0.0)
    assert bench.transaction.answered


@BOTH
def test_an_answer_that_comes_too_late_is_refused_and_not_sent(
    machine: type[InviteServerTransaction | NonInviteServerTransaction],
) -> None:
    bench = Bench(machine)
    bench.transaction.respond(486, b"486", 0.0)
    for status in (180, 200, 500):
        assert not bench.transaction.respond(status, b"late", 0.0)
    bench.feed(Input.REQUEST)
    assert [data for _, data in bench.sent] == [b"486", b"486"]


@pytest.mark.parametrize(
    ("status", "state"), [(200, State.ACCEPTED), (300, State.COMPLETED), (699, State.COMPLETED)]
)
def test_the_class_of_the_answer_decides_the_state(status: int, state: State) -> None:
    bench = Bench(InviteServerTransaction)
    bench.transaction.respond(status, b"x", 0.0)
    assert bench.transaction.state is state
