"""rtpmix.sip.backlog: new calls that wait, in virtual time, with a server of a given speed."""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass, field

import pytest

from rtpmix.sip import backlog as rules
from rtpmix.sip.backlog import Backlog

SOURCE, LOCAL = ("192.0.2.1", 5060), ("192.0.2.2", 5060)
REFUSAL_S = 0.00004  # what a refusal costs
T1 = 0.5


@dataclass
class World:
    """A server that takes so long for a call, and callers who ask again as RFC 3261 says.

    `stalls` are moments at which it does nothing for so many seconds.
    """

    call_s: float
    rate: float
    seconds: float
    stalls: tuple[tuple[float, float], ...] = ()
    seed: int = 1
    served: list[float] = field(default_factory=list)  # seconds that each waited
    refused: int = 0
    served_at: list[float] = field(default_factory=list)
    backlog: Backlog = field(default_factory=Backlog)

    def run(self) -> World:
        chance = random.Random(self.seed)
        arrivals: list[tuple[float, bytes]] = []
        at, number = 0.0, 0
        while at < self.seconds:
            at += chance.expovariate(self.rate)
            number += 1
            arrivals.append((at, b"INVITE %d" % number))
        began = {data: at for at, data in arrivals}
        waiting = deque(sorted(arrivals))
        unanswered = deque((at + T1, data, T1) for at, data in arrivals)
        answered: set[bytes] = set()
        stalls = deque(self.stalls)
        now = 0.0
        while now < self.seconds:
            if stalls and now >= stalls[0][0]:
                now += stalls.popleft()[1]
            while waiting and waiting[0][0] <= now:
                at, data = waiting.popleft()
                self.backlog.add(data, SOURCE, LOCAL, now)
            while unanswered and unanswered[0][0] <= now:
                _, data, _ = unanswered.popleft()
                if data not in answered:
                    self.backlog.add(data, SOURCE, LOCAL, now)
            found = self.backlog.next(now)
            if found is None:
                now += 0.001
                continue
            entry, late = found
            if entry.data in answered:
                continue
            answered.add(entry.data)
            if late:
                self.refused += 1
                now += REFUSAL_S
            else:
                now += self.call_s
                self.served.append(now - began[entry.data])
                self.served_at.append(now)
        return self


def test_nobody_is_refused_below_the_limit() -> None:
    world = World(call_s=0.001, rate=900, seconds=30).run()
    assert world.refused == 0
    assert len(world.served) > 26_000


def test_a_stall_of_a_second_in_a_burst_of_600_calls_refuses_nobody() -> None:
    """A busy moment is no overload, though callers have asked again by then."""
    for capacity in (1000, 500, 400):
        stalled = World(call_s=1 / capacity, rate=200, seconds=6, stalls=((1.5, 1.0),)).run()
        assert stalled.refused == 0
        assert max(stalled.served) > 0.9  # it was a stall
        assert stalled.backlog.snapshot()["late_refused"] == 0


@pytest.mark.parametrize("times", [1.5, 2.0, 4.0])
def test_beyond_its_limit_a_server_still_completes_four_fifths(times: float) -> None:
    world = World(call_s=0.001, rate=times * 1000, seconds=20).run()
    assert len(world.served) / 20 >= 0.8 * 1000
    later = [wait for wait, at in zip(world.served, world.served_at, strict=True) if at > 3]
    # Before the callers ask again: nothing is done twice, and nothing in vain.
    assert max(later) < rules.TARGET_S + 0.01 < T1
    assert world.refused > 0.9 * (times - 1) * 1000 * 17


def test_a_stall_in_an_overload_does_not_bring_long_waits_back() -> None:
    """A queue that refusals have emptied is no sign of an overload that is over."""
    world = World(call_s=0.001, rate=2000, seconds=20, stalls=((8.0, 0.4), (12.0, 1.0))).run()
    calm = [
        wait
        for wait, at in zip(world.served, world.served_at, strict=True)
        if 3 < at < 8 or 8.6 < at < 12 or at > 13.2
    ]
    assert max(calm) < rules.TARGET_S + 0.01


def test_when_the_load_goes_everybody_is_let_in_again() -> None:
    backlog = Backlog()
    now = 0.0
    for number in range(3000):  # none is read for three seconds
        now = number / 1000
        backlog.add(b"%d" % number, SOURCE, LOCAL, now)
    outcomes = []
    while (found := backlog.next(now)) is not None:
        outcomes.append(found[1])
    assert outcomes == sorted(outcomes, reverse=True)  # the oldest alone
    assert outcomes.count(False) == pytest.approx(100, abs=1)
    assert backlog.is_overloaded(now)
    now += rules.RECOVERED_S
    assert not backlog.is_overloaded(now)
    backlog.add(b"patient", SOURCE, LOCAL, now)
    found = backlog.next(now + 1.5)
    assert found is not None
    assert found[1] is False


def test_a_copy_that_waits_is_not_taken_twice_and_another_peer_is_no_copy() -> None:
    """RFC 3261 section 17.1.1.2: a request is sent again as it was."""
    backlog = Backlog()
    for _ in range(5):
        backlog.add(b"INVITE", SOURCE, LOCAL, 0.0)
    backlog.add(b"INVITE", ("192.0.2.9", 5060), LOCAL, 0.0)
    assert len(backlog) == 2
    assert backlog.snapshot()["repeated_dropped"] == 4
    backlog.next(0.0)
    backlog.add(b"INVITE", SOURCE, LOCAL, 0.0)  # what was read is the transactions' concern
    assert len(backlog) == 2


def test_what_waits_is_bounded_in_number_and_in_octets() -> None:
    backlog = Backlog()
    for number in range(3 * rules.MOST_WAITING):
        backlog.add(b"%d" % number, SOURCE, LOCAL, 0.0)
    assert len(backlog) == len(backlog._copies) == rules.MOST_WAITING
    assert backlog.snapshot()["full_dropped"] == 2 * rules.MOST_WAITING
    while backlog.next(0.0) is not None:
        pass
    assert len(backlog) == len(backlog._copies) == backlog._octets == 0
    for number in range(1000):
        backlog.add(b"%d" % number * 20_000, SOURCE, LOCAL, 0.0)
    assert backlog._octets <= rules.MOST_OCTETS
