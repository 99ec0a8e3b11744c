"""Who hears whom: the table of the design, read against the code's."""

from __future__ import annotations

import itertools
import random
import sys
from dataclasses import replace
from types import FrameType

import pytest

from rtpmix.errors import UsageError
from rtpmix.supervision import UNITY, Fate, Mode, Party, Role, dtmf_for, gains_for, validate
from rtpmix.supervision.policy import hears

C, A, V, P = Role.CUSTOMER, Role.AGENT, Role.SUPERVISOR, Role.PROMPT
CUSTOMER, AGENT, SUPERVISOR, SECOND = 1, 2, 3, 4


def call(*modes: Mode) -> list[Party]:
    """A customer, an agent, and a supervisor per mode."""
    people = [Party(seat=CUSTOMER, role=C), Party(seat=AGENT, role=A)]
    return people + [
        Party(seat=SUPERVISOR + index, role=V, mode=mode) for index, mode in enumerate(modes)
    ]


def heard(parties: list[Party]) -> dict[int, set[int]]:
    """Listener -> the seats it hears, read back from the matrix."""
    seats = [party.seat for party in parties]
    return {
        seat: {other for other, gain in zip(seats, row, strict=True) if gain}
        for seat, row in zip(seats, gains_for(parties), strict=True)
    }


@pytest.mark.parametrize(
    ("mode", "customer", "agent", "supervisor"),
    [
        (Mode.MONITOR, {AGENT}, {CUSTOMER}, {CUSTOMER, AGENT}),
        (Mode.WHISPER, {AGENT}, {CUSTOMER, SUPERVISOR}, {CUSTOMER, AGENT}),
        (Mode.BARGE, {AGENT, SUPERVISOR}, {CUSTOMER, SUPERVISOR}, {CUSTOMER, AGENT}),
        (Mode.TAKEOVER, {SUPERVISOR}, {CUSTOMER, SUPERVISOR}, {CUSTOMER}),
    ],
)
def test_each_mode_opens_exactly_the_pairs_of_the_design(
    mode: Mode, customer: set[int], agent: set[int], supervisor: set[int]
) -> None:
    """Copied by hand from the design's table, not from the code's."""
    assert heard(call(mode)) == {CUSTOMER: customer, AGENT: agent, SUPERVISOR: supervisor}


def test_two_parties_without_a_supervisor_hear_each_other() -> None:
    assert heard(call()) == {CUSTOMER: {AGENT}, AGENT: {CUSTOMER}}


def test_a_conference_of_equals_is_a_full_mesh_with_a_zero_diagonal() -> None:
    parties = [Party(seat=seat, role=C) for seat in range(5)]
    assert heard(parties) == {seat: set(range(5)) - {seat} for seat in range(5)}


@pytest.mark.parametrize(("first", "second"), list(itertools.product(Mode, repeat=2)))
def test_two_supervisors_hear_each_other_and_keep_their_own_mode(first: Mode, second: Mode) -> None:
    """Each is heard by customer and agent as alone; a whisperer reaches the agent only."""
    both = heard(call(first, second))
    assert SECOND in both[SUPERVISOR]
    assert SUPERVISOR in both[SECOND]
    for seat, mode in ((SUPERVISOR, first), (SECOND, second)):
        assert (seat in both[CUSTOMER]) == (mode in (Mode.BARGE, Mode.TAKEOVER))
        assert (seat in both[AGENT]) == (mode is not Mode.MONITOR)


@pytest.mark.parametrize("other", [Mode.MONITOR, Mode.WHISPER, Mode.BARGE])
def test_a_takeover_silences_the_agent_for_everybody(other: Mode) -> None:
    for modes in ((Mode.TAKEOVER, other), (other, Mode.TAKEOVER)):
        rows = heard(call(*modes))
        assert all(AGENT not in row for row in rows.values())
        assert CUSTOMER in rows[AGENT]  # who still listens


def test_an_agent_who_leaves_is_out_at_once_and_hears_only_the_goodbye() -> None:
    parties = call(Mode.TAKEOVER)
    parties[1] = replace(parties[1], fate=Fate.LEAVE)
    parties.append(Party(seat=9, role=P, to=frozenset({AGENT})))
    rows = heard(parties)
    assert rows[AGENT] == {9}
    assert rows[CUSTOMER] == {SUPERVISOR}
    assert rows[SUPERVISOR] == {CUSTOMER}
    assert rows[9] == set()


def test_a_consulted_agent_talks_with_the_supervisor_who_took_over_alone() -> None:
    parties = call(Mode.TAKEOVER, Mode.MONITOR)
    parties[1] = replace(parties[1], fate=Fate.CONSULT)
    rows = heard(parties)
    assert rows[AGENT] == {SUPERVISOR}
    assert rows[SUPERVISOR] == {CUSTOMER, AGENT, SECOND}
    assert rows[SECOND] == {CUSTOMER, SUPERVISOR}
    assert rows[CUSTOMER] == {SUPERVISOR}


def test_a_held_party_hears_prompts_only_and_only_supervisors_hear_it() -> None:
    parties = call(Mode.MONITOR)
    parties[0] = replace(parties[0], held=True)
    parties.append(Party(seat=9, role=P, to=frozenset({CUSTOMER})))
    assert heard(parties) == {CUSTOMER: {9}, AGENT: set(), SUPERVISOR: {CUSTOMER, AGENT}, 9: set()}


def test_a_prompt_for_nobody_in_particular_is_heard_by_all() -> None:
    rows = heard([*call(Mode.MONITOR), Party(seat=9, role=P)])
    assert all(9 in rows[seat] for seat in (CUSTOMER, AGENT, SUPERVISOR))


@pytest.mark.parametrize("mode", Mode)
def test_a_receive_only_leg_is_heard_by_nobody(mode: Mode) -> None:
    parties = call(mode)
    parties[2] = replace(parties[2], can_talk=False)
    assert all(SUPERVISOR not in row for row in heard(parties).values())


def test_two_customers_and_two_agents_hear_everybody_but_themselves() -> None:
    parties = [
        *(Party(seat=seat, role=C) for seat in (1, 2)),
        *(Party(seat=seat, role=A) for seat in (3, 4)),
    ]
    assert heard(parties) == {seat: {1, 2, 3, 4} - {seat} for seat in (1, 2, 3, 4)}


def test_a_level_applies_to_an_open_pair_and_cannot_open_a_closed_one() -> None:
    parties = call(Mode.MONITOR)
    gains = gains_for(parties, {(CUSTOMER, AGENT): 1234, (CUSTOMER, SUPERVISOR): UNITY})
    assert gains[0] == (0, 1234, 0)


# ------------------------------------------------------------------------- digits


@pytest.mark.parametrize("mode", Mode)
def test_a_supervisors_digits_are_consumed_in_every_mode(mode: Mode) -> None:
    assert all(not row[2] for row in dtmf_for(call(mode)))


@pytest.mark.parametrize("mode", Mode)
def test_customer_and_agent_exchange_digits_until_a_takeover(mode: Mode) -> None:
    forwarded = dtmf_for(call(mode))
    taken = mode is Mode.TAKEOVER
    assert forwarded[0] == (False, not taken, False)
    assert forwarded[1] == (True, False, False)
    assert forwarded[2] == (taken, False, False)  # card numbers are not for monitors


# ---------------------------------------------------------------------- validation


def opened(parties: list[Party], listener: int, talker: int) -> tuple[tuple[int, ...], ...]:
    """The right matrix with one more pair open."""
    seats = [party.seat for party in parties]
    rows = [list(row) for row in gains_for(parties)]
    rows[seats.index(listener)][seats.index(talker)] = 1
    return tuple(tuple(row) for row in rows)


@pytest.mark.parametrize(
    ("mode", "listener", "talker", "why"),
    [
        (Mode.MONITOR, CUSTOMER, SUPERVISOR, "customers never hear"),
        (Mode.WHISPER, CUSTOMER, SUPERVISOR, "customers never hear"),
        (Mode.MONITOR, AGENT, SUPERVISOR, "agents never hear"),
        (Mode.BARGE, CUSTOMER, CUSTOMER, "themselves"),
        (Mode.BARGE, SUPERVISOR, SUPERVISOR, "themselves"),
    ],
)
def test_a_matrix_that_leaks_by_the_smallest_gain_is_refused(
    mode: Mode, listener: int, talker: int, why: str
) -> None:
    parties = call(mode)
    validate(parties, gains_for(parties))
    with pytest.raises(UsageError, match=why):
        validate(parties, opened(parties, listener, talker))


def test_validation_refuses_what_no_party_can_do() -> None:
    parties = [*call(Mode.TAKEOVER), Party(seat=9, role=P, to=frozenset({CUSTOMER}))]
    parties[1] = replace(parties[1], fate=Fate.LEAVE)
    for listener, talker in ((AGENT, CUSTOMER), (CUSTOMER, AGENT), (AGENT, 9), (9, CUSTOMER)):
        with pytest.raises(UsageError, match="must not hear"):
            validate(parties, opened(parties, listener, talker))
    mute = replace(parties[2], can_talk=False)
    with pytest.raises(UsageError, match="receive-only"):
        validate([*parties[:2], mute], opened(call(Mode.TAKEOVER), CUSTOMER, SUPERVISOR))
    listening = replace(parties[1], fate=Fate.LISTEN)
    with pytest.raises(UsageError, match="taken over"):
        validate([parties[0], listening], ((0, UNITY), (UNITY, 0)))


def test_validation_refuses_wrong_shapes_gains_and_two_holders() -> None:
    parties = call()
    with pytest.raises(UsageError, match="rows and columns"):
        validate(parties, ((0, 1),))
    with pytest.raises(UsageError, match="outside"):
        validate(parties, ((0, 200_000), (0, 0)))
    with pytest.raises(UsageError, match="outside"):
        validate(parties, ((0, -1), (0, 0)))
    with pytest.raises(UsageError, match="twice"):
        validate([parties[0], parties[0]], ((0, 0), (0, 0)))
    both = call(Mode.TAKEOVER, Mode.TAKEOVER)
    with pytest.raises(UsageError, match="only one"):
        validate(both, gains_for(both))


def test_only_supervisors_have_a_mode() -> None:
    with pytest.raises(UsageError, match="supervisors have a mode"):
        Party(seat=1, role=V)
    with pytest.raises(UsageError, match="supervisors have a mode"):
        Party(seat=1, role=C, mode=Mode.MONITOR)


def _parties(seed: int) -> list[Party]:
    """Return parties of all kinds, many of them alike, in seats that are no places."""
    source = random.Random(seed)
    found = []
    for place in range(source.randrange(1, 14)):
        role = source.choice(list(Role))
        supervises = role is Role.SUPERVISOR
        modes = [Mode.MONITOR, Mode.WHISPER, Mode.BARGE]
        found.append(
            Party(
                seat=100 - 3 * place,
                role=role,
                mode=source.choice(modes) if supervises else None,
                can_talk=source.random() < 0.8,
                held=source.random() < 0.2,
                fate=source.choice([None, None, *Fate]) if role is Role.AGENT else None,
                to=frozenset({100, 97, 91}) if role is Role.PROMPT and place % 2 else None,
                muted=source.random() < 0.1,
            )
        )
    return found


@pytest.mark.parametrize("seed", range(200))
def test_the_matrix_is_what_each_pair_gives_alone(seed: int) -> None:
    """Pairs of the same kinds are asked about once; the result is as if each had been."""
    parties = _parties(seed)
    modes = frozenset(party.mode for party in parties if party.mode is not None)
    gains = gains_for(parties, {(100, 97): 5, (97, 100): 7})
    for listener, row in zip(parties, gains, strict=True):
        for talker, gain in zip(parties, row, strict=True):
            level = {(100, 97): 5, (97, 100): 7}.get((listener.seat, talker.seat), 32768)
            assert gain == (level if hears(listener, talker, modes) else 0)


def forbidden(listener: Party, talker: Party) -> str | None:
    """Say why a pair may never be open, if so: `validate` pair by pair, as an oracle."""
    if listener.seat == talker.seat:
        return "nobody hears themselves"
    if not talker.can_talk:
        return "the talker's leg is receive-only"
    if talker.muted:
        return "the talker is muted"
    if listener.role is Role.PROMPT:
        return "a source does not listen"
    if talker.role is Role.PROMPT:
        addressed = talker.to is None or listener.seat in talker.to
        return None if addressed else "the prompt is for others"
    if Fate.LEAVE in (listener.fate, talker.fate):
        return "an agent who is leaving is out of the conversation"
    if listener.role is Role.CUSTOMER and talker.role is Role.SUPERVISOR:
        private = talker.mode in (Mode.MONITOR, Mode.WHISPER)
        return "customers never hear a supervisor who monitors or whispers" if private else None
    if listener.role is Role.AGENT and talker.mode is Mode.MONITOR:
        return "agents never hear a supervisor who monitors"
    if listener.role is Role.CUSTOMER and talker.fate is not None:
        return "the agent's call was taken over"
    return None


@pytest.mark.parametrize("seed", range(200))
def test_each_pair_that_must_stay_shut_is_found(seed: int) -> None:
    parties = _parties(seed)
    size = len(parties)
    for i in range(size):
        for j in range(size):
            rows = [[0] * size for _ in range(size)]
            rows[i][j] = 1
            gains = tuple(map(tuple, rows))
            why = forbidden(parties[i], parties[j])
            if why is None:
                validate(parties, gains)
            else:
                with pytest.raises(UsageError, match=f"seat {parties[j].seat}: {why}"):
                    validate(parties, gains)


def test_a_room_of_two_hundred_is_worked_out_by_kinds() -> None:
    parties = [Party(seat=seat, role=Role.CUSTOMER) for seat in range(200)]
    asked = 0

    def count(frame: FrameType, event: str, argument: object) -> None:
        nonlocal asked
        asked += event == "call"

    sys.setprofile(count)
    try:
        validate(parties, gains_for(parties))
    finally:
        sys.setprofile(None)
    assert asked < 4000  # the pairs are 40,000
