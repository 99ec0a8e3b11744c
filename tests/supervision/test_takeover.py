"""The takeover table: complete over every phase and input, and without dead ends."""

from __future__ import annotations

import itertools

import pytest

from rtpmix.supervision import TAKEOVER, Fate, Input, Limits, Mode, Phase, Role
from rtpmix.supervision.policy import Party
from rtpmix.supervision.state import ACTIONS, State

PAIRS = list(itertools.product(Phase, Input))


def state_in(phase: Phase) -> State:
    """A call with one supervisor, brought to a phase by hand."""
    state = State(Limits())
    for party in (
        Party(seat=1, role=Role.CUSTOMER),
        Party(seat=2, role=Role.AGENT),
        Party(seat=3, role=Role.SUPERVISOR, mode=Mode.MONITOR),
    ):
        state.parties[party.seat] = party
    state.phase = phase
    state.taker = 3
    state.fate = Fate.LISTEN
    return state


@pytest.mark.parametrize(("phase", "happened"), PAIRS)
def test_every_phase_takes_every_input_as_the_table_says(phase: Phase, happened: Input) -> None:
    """An absent pair changes nothing; a present one leads to its phase and runs its actions."""
    state = state_in(phase)
    before = state.draft()
    moved = state.step(happened, 100.0, "test")
    step = TAKEOVER.get((phase, happened))
    assert moved == (step is not None)
    if step is None:
        assert state == before
    else:
        assert state.phase is step.phase


def test_actions_of_the_table_and_actions_in_the_code_are_the_same() -> None:
    named = {action for step in TAKEOVER.values() for action in step.actions}
    assert named == set(ACTIONS)


def test_every_phase_is_reachable_and_only_the_end_has_no_way_out() -> None:
    reached, frontier = {Phase.IDLE}, [Phase.IDLE]
    while frontier:
        here = frontier.pop()
        for (phase, _), step in TAKEOVER.items():
            if phase is here and step.phase not in reached:
                reached.add(step.phase)
                frontier.append(step.phase)
    assert reached == set(Phase)
    assert {phase for phase, _ in TAKEOVER} == set(Phase) - {Phase.OVER}


@pytest.mark.parametrize("phase", [Phase.PREPARING, Phase.OVERLAPPING, Phase.UNDOABLE])
def test_every_phase_that_waits_ends_by_time_and_when_the_supervisor_is_gone(phase: Phase) -> None:
    """No takeover hangs: whoever falls silent, the next one can begin."""
    for happened in (Input.TIME_OUT, Input.TAKER_GONE, Input.CUSTOMER_GONE):
        assert (phase, happened) in TAKEOVER


@pytest.mark.parametrize(("phase", "happened"), PAIRS)
def test_back_in_idle_nobody_holds_the_takeover(phase: Phase, happened: Input) -> None:
    state = state_in(phase)
    if phase is not Phase.IDLE and state.step(happened, 0.0) and state.phase is Phase.IDLE:
        assert state.taker is None
        assert state.deadline is None
