"""Every machine, every state, every input: the table decides, and nothing else does."""

from __future__ import annotations

import random
from itertools import product

import pytest

from rtpmix.sip.transaction import NOBODY, Input, State, Step, Transaction
from tests.sip.machines import MACHINES, TCP, UDP, Bench

EVERYTHING = [
    pytest.param(machine, state, what, id=f"{machine.MACHINE}-{state.name}-{what.name}")
    for machine, state, what in product(MACHINES, State, Input)
]


def bench_in(machine: type[Transaction], state: State) -> Bench:
    """Bring a machine into a state by the shortest way through its table."""
    bench = Bench(machine)
    ways: list[list[Input]] = [[]]
    start = bench.transaction.state
    reached = {start: ways[0]}
    queue = [start]
    while queue:
        here = queue.pop(0)
        for (source, what), step in machine.TABLE.items():
            if source is here and step.state not in reached:
                reached[step.state] = [*reached[here], what]
                queue.append(step.state)
    if state not in reached:
        bench.transaction.state = state  # not a state of this machine: it must ignore everything
        return bench
    for what in reached[state]:
        assert bench.feed(what)
    return bench


@pytest.mark.parametrize(("machine", "state", "what"), EVERYTHING)
def test_an_input_does_what_its_table_says_or_nothing(
    machine: type[Transaction], state: State, what: Input
) -> None:
    """RFC 3261 figures 5 to 8 as tables: what is absent is ignored."""
    bench = bench_in(machine, state)
    before = (bench.transaction.state, list(bench.sent), list(bench.user.told), len(bench.timers))
    step = machine.TABLE.get((state, what))
    assert bench.feed(what) is (step is not None)
    if step is None:
        after = (
            bench.transaction.state,
            list(bench.sent),
            list(bench.user.told),
            len(bench.timers),
        )
        assert after == before
        return
    assert bench.transaction.state is step.state
    new = bench.user.told[len(before[2]) :]
    for action, word in {
        "tell_timeout": "timeout",
        "tell_transport_error": "transport error",
        "tell_confirmed": "confirmed",
        "pass_ack": "ACK",
        "end": "ended",
    }.items():
        assert (word in new) is (action in step.actions)
    assert any(word.startswith("response") for word in new) is ("pass_response" in step.actions)
    sends = {"send", "resend", "send_ack", "resend_ack"} & set(step.actions)
    had_something = bool(before[1]) or "send" in step.actions
    assert (len(bench.sent) > len(before[1])) is bool(sends and had_something)


@pytest.mark.parametrize("machine", MACHINES)
def test_termination_stops_every_timer_and_is_told_once(machine: type[Transaction]) -> None:
    """RFC 3261 section 17: a transaction is destroyed the instant it is Terminated."""
    ends = [pair for pair, step in machine.TABLE.items() if step.state is State.TERMINATED]
    assert ends
    for state, what in ends:
        bench = bench_in(machine, state)
        bench.feed(what)
        assert len(bench.timers) == 0
        assert bench.forgotten == 1
        assert bench.user.told[-1] == "ended"
        assert bench.transaction.user is NOBODY
        for again in Input:
            assert not bench.feed(again)
        assert bench.forgotten == 1


@pytest.mark.parametrize("machine", MACHINES)
def test_every_row_can_be_reached_and_every_state_can_be_left(machine: type[Transaction]) -> None:
    for state in {state for state, _ in machine.TABLE}:
        assert bench_in(machine, state).transaction.state is state
        assert any(
            source is state and step.state is not state
            for (source, _), step in machine.TABLE.items()
        )


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("flow", [UDP, TCP], ids=["UDP", "TCP"])
@pytest.mark.parametrize("seed", range(50))
def test_random_inputs_always_end_once_the_user_has_answered(
    machine: type[Transaction], flow: object, seed: int
) -> None:
    chance = random.Random(f"{machine.MACHINE} {seed}")
    bench = Bench(machine, flow)  # type: ignore[arg-type]
    for _ in range(30):
        bench.run(bench.now + chance.random() * 3)
        bench.feed(chance.choice(list(Input)))
    for what in (Input.TU_300_699, Input.RECEIVED_300_699):
        bench.feed(what)
    bench.run(bench.now + 200)
    assert bench.transaction.state is State.TERMINATED
    assert len(bench.timers) == 0
    assert bench.forgotten == 1


def test_a_misspelt_action_fails_when_the_class_is_made() -> None:
    with pytest.raises(AttributeError, match="_dance"):
        type(
            "Wrong",
            (Transaction,),
            {"TABLE": {(State.TRYING, Input.ACK): Step(State.TRYING, ("dance",))}},
        )
