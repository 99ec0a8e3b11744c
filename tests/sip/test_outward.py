"""rtpmix.sip.outward: which registrar is asked, and when."""

from __future__ import annotations

import random

import pytest

from rtpmix.errors import UsageError
from rtpmix.sip.outward import Attempt, OutwardRegistration, Standing


def started(registrars: int = 3, seed: int = 1) -> OutwardRegistration:
    machine = OutwardRegistration(registrars, 600, random.Random(seed))
    machine.start(100.0)
    return machine


def ask(machine: OutwardRegistration, now: float | None = None) -> tuple[Attempt, float]:
    """Let time pass until something is sent."""
    due = machine.next_deadline()
    assert due is not None
    now = due if now is None else now
    attempt = machine.due(now)
    assert attempt is not None
    assert machine.next_deadline() is None  # one at a time
    return attempt, now


def test_a_registration_is_refreshed_before_it_runs_out() -> None:
    machine = started()
    for seed in range(20):
        machine = started(seed=seed)
        assert ask(machine) == (Attempt(0, 600), 100.0)
        assert machine.accepted(400, 100.0)
        attempt, now = ask(machine)
        assert attempt == Attempt(0, 600)
        assert 100 + 300 <= now <= 100 + 360
        assert not machine.accepted(400, now)  # no news
        assert machine.standing is Standing.REGISTERED


@pytest.mark.parametrize(("granted", "least"), [(0, 7.5), (1, 7.5), (None, 450.0), (10**9, 60_000)])
def test_a_registrar_cannot_make_us_ask_all_the_time_or_never(
    granted: int | None, least: float
) -> None:
    machine = started()
    ask(machine)
    machine.accepted(granted, 100.0)
    due = machine.next_deadline()
    assert due is not None
    assert least <= due - 100 <= 86_400


def test_the_next_registrar_is_asked_at_once_and_a_round_that_failed_is_told_once() -> None:
    machine = started()
    for number in range(3):
        attempt, now = ask(machine)
        assert (attempt.registrar, now) == (number, 100.0)
        assert machine.failed(now) == (number == 2)
    assert machine.standing is Standing.FAILED
    for number in range(3):
        attempt, now = ask(machine)
        assert attempt.registrar == number
        assert not machine.failed(now)


def test_pauses_grow_with_jitter_to_half_an_hour() -> None:
    """RFC 5626 section 4.5: between half and all of min(1800, 30 * 2^failures)."""
    pauses: dict[int, set[float]] = {}
    for seed in range(30):
        machine = started(1, seed)
        for round_ in range(9):
            _, now = ask(machine)
            machine.failed(now)
            due = machine.next_deadline()
            assert due is not None
            longest = min(1800.0, 30 * 2.0**round_)
            assert longest / 2 <= due - now <= longest
            pauses.setdefault(round_, set()).add(due - now)
    assert all(len(each) == 30 for each in pauses.values())


def test_retry_after_is_kept_to_within_reason() -> None:
    machine = started(2)
    _, now = ask(machine)
    machine.failed(now, 500.0)
    ask(machine)
    machine.failed(now, 3.0)
    assert machine.next_deadline() == now + 500.0
    machine = started(1)
    _, now = ask(machine)
    machine.failed(now, 1e9)
    assert machine.next_deadline() == now + 1800.0


def test_it_stays_with_the_registrar_that_works() -> None:
    machine = started()
    _, now = ask(machine)
    machine.failed(now)
    attempt, now = ask(machine)
    machine.accepted(600, now)
    assert attempt.registrar == machine.current == 1
    assert ask(machine)[0].registrar == 1


def test_more_seconds_are_asked_for_where_they_were_too_few_and_once_only() -> None:
    machine = started()
    _, now = ask(machine)
    assert machine.too_brief(1800, now)
    assert ask(machine)[0] == Attempt(0, 1800)
    assert not machine.too_brief(1800, now)  # it says the same again: that is a failure
    assert not machine.too_brief(None, now)
    assert not machine.failed(now)


def test_a_lost_connection_registers_anew_at_once() -> None:
    machine = started()
    machine.flow_failed(100.0)
    ask(machine)
    machine.flow_failed(100.0)  # one is under way
    assert machine.next_deadline() is None
    machine.accepted(600, 100.0)
    machine.flow_failed(130.0)
    assert ask(machine)[1] == 130.0


def test_it_is_taken_back_only_where_it_is_there() -> None:
    machine = started()
    assert machine.stop() is None
    machine.start(0.0)
    ask(machine)
    machine.accepted(600, 0.0)
    assert machine.stop() == Attempt(0, 0)
    assert machine.next_deadline() is None


def test_an_answer_that_nobody_waits_for_changes_nothing() -> None:
    machine = started()
    assert not machine.accepted(600, 0.0)
    assert not machine.failed(0.0)
    assert not machine.too_brief(999, 0.0)
    assert machine.standing is Standing.TRYING


@pytest.mark.parametrize(("registrars", "expires"), [(0, 600), (1, 0)])
def test_nothing_to_ask_is_refused(registrars: int, expires: int) -> None:
    with pytest.raises(UsageError):
        OutwardRegistration(registrars, expires, random.Random(1))
