"""Deadlines come in order, can be replaced and stopped, and leave nothing behind."""

from __future__ import annotations

import random

import pytest

from rtpmix.sip.core import Timer
from rtpmix.sip.timers import Timers


class Owner:
    """Notes what fired."""

    def __init__(self) -> None:
        self.fired: list[tuple[Timer, float]] = []

    def timer_fired(self, name: Timer, now: float) -> None:
        self.fired.append((name, now))


def test_deadlines_come_in_order_of_time_and_equal_ones_in_order_of_start() -> None:
    timers, first, second = Timers(), Owner(), Owner()
    timers.start(first, Timer.RING, 2.0)
    timers.start(second, Timer.RING, 1.0)
    timers.start(first, Timer.REPEAT, 1.0)
    assert timers.next() == 1.0
    assert list(timers.due(2.0)) == [
        (second, Timer.RING),
        (first, Timer.REPEAT),
        (first, Timer.RING),
    ]
    assert timers.next() is None


def test_a_deadline_started_again_is_replaced() -> None:
    timers, owner = Timers(), Owner()
    timers.start(owner, Timer.RING, 1.0)
    timers.start(owner, Timer.RING, 3.0)
    assert len(timers) == 1
    assert list(timers.due(2.0)) == []
    assert list(timers.due(3.0)) == [(owner, Timer.RING)]


def test_a_stopped_deadline_never_fires_and_stopping_twice_is_harmless() -> None:
    timers, owner = Timers(), Owner()
    timers.start(owner, Timer.RING, 1.0)
    timers.stop(owner, Timer.RING)
    timers.stop(owner, Timer.RING)
    assert not timers.armed(owner, Timer.RING)
    assert timers.next() is None
    assert list(timers.due(9.0)) == []


def test_what_a_firing_timer_starts_in_the_past_fires_at_once() -> None:
    timers, owner = Timers(), Owner()
    timers.start(owner, Timer.RING, 1.0)
    seen = []
    for _, name in timers.due(5.0):
        seen.append(name)
        if name is Timer.RING:
            timers.start(owner, Timer.REPEAT, 4.0)
            timers.start(owner, Timer.RETRY, 6.0)
    assert seen == [Timer.RING, Timer.REPEAT]
    assert timers.next() == 6.0


def test_stopped_deadlines_do_not_pile_up() -> None:
    """A server that answers quickly stops nearly every timer that it starts."""
    timers, owner = Timers(), Owner()
    for number in range(100_000):
        timers.start(owner, Timer.RING, float(number + 32))
        timers.stop(owner, Timer.RING)
    assert len(timers) == 0
    assert timers.heap_size <= 128


@pytest.mark.parametrize("seed", range(20))
def test_random_use_agrees_with_a_plain_dictionary(seed: int) -> None:
    chance = random.Random(seed)
    timers, owners = Timers(), [Owner() for _ in range(10)]
    model: dict[tuple[Owner, Timer], float] = {}
    now = 0.0
    for _ in range(2000):
        owner, name = chance.choice(owners), chance.choice(list(Timer))
        action = chance.random()
        if action < 0.5:
            model[owner, name] = at = now + chance.random()
            timers.start(owner, name, at)
        elif action < 0.8:
            model.pop((owner, name), None)
            timers.stop(owner, name)
        else:
            now += chance.random() / 5
            due = [item for item in model.items() if item[1] <= now]
            expected = sorted(due, key=lambda item: item[1])
            assert list(timers.due(now)) == [key for key, _ in expected]
            for key, _ in expected:
                del model[key]
        assert len(timers) == len(model)
        assert timers.next() == min(model.values(), default=None)
        assert timers.heap_size <= 2 * len(model) + 65
