"""Every order of what can end or change a call, within one moment: nothing is left afterwards."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import suppress
from itertools import permutations
from typing import Any

import pytest

from rtpmix.errors import UsageError
from tests.sip.agents import ALICE, ANSWER, BOB, OFFER, Pair, live

ALLOW = ("INVITE", "ACK", "CANCEL", "BYE", "OPTIONS", "UPDATE")
ACTIONS = ("CANCEL", "200", "BYE", "re-INVITE", "transport loss", "timer")
FINAL = {"Ended", "Failed", "Cancelled"}


class Race:
    """One call between two agents, in which things happen at almost the same time."""

    def __init__(self, transport: str, seed: int, early: bool) -> None:
        self.pair = Pair(transport, seed=seed, allow=ALLOW, reliable="on", session_expires=90)
        self.ours = self.pair.invite()
        self.pair.settle()
        self.theirs: int = self.pair.events(BOB, "Invited")[0].call
        if early:
            self.pair.bob.ring(self.theirs, 0.0, 183, body=ANSWER)
        self.actions: dict[str, Callable[[], object]] = {
            "CANCEL": lambda: self.pair.alice.cancel(self.ours, self.pair.now),
            "200": lambda: self.pair.bob.accept(self.theirs, self.pair.now, ANSWER),
            "BYE": lambda: self.both(lambda agent, call: agent.bye(call, self.pair.now)),
            "re-INVITE": lambda: self.both(
                lambda agent, call: agent.reinvite(call, OFFER, self.pair.now)
            ),
            "transport loss": self.lose,
            "timer": lambda: self.pair.run(self.pair.now + 0.5),
        }

    def both(self, act: Callable[[Any, int], object]) -> None:
        """Let each side do something; a command that comes too late says so."""
        for agent, call in ((self.pair.alice, self.ours), (self.pair.bob, self.theirs)):
            with suppress(UsageError):
                act(agent, call)

    def lose(self) -> None:
        """Break the way for good: what is sent from now on does not arrive."""
        self.pair.drop = lambda sent: True
        for address, agent in self.pair.agents.items():
            flow = self.pair.flow(address)
            if flow.reliable:
                agent.connection_closed(flow, self.pair.now)
            agent.transport_failed(flow, self.pair.now)

    def act(self, name: str) -> None:
        """Let one thing happen; a command that comes too late says so."""
        with suppress(UsageError):
            self.actions[name]()

    def end(self) -> None:
        """Answer what waits, hang up, and let time pass."""
        self.pair.run(self.pair.now + 5)
        self.both(lambda agent, call: agent.answer_reinvite(call, 200, self.pair.now, ANSWER))
        self.pair.run(self.pair.now + 5)
        self.both(lambda agent, call: agent.bye(call, self.pair.now))
        self.pair.run(self.pair.now + 400)

    def check(self) -> None:
        """Nothing may be left, and each side has heard of at most one end."""
        assert live(self.pair.alice) == live(self.pair.bob) == {}
        for address in (ALICE, BOB):
            ends = [each for each in self.pair.events(address) if type(each).__name__ in FINAL]
            assert len(ends) <= 1, ends
        # A caller is always told how it ended.
        assert [type(each).__name__ for each in self.pair.events(ALICE)][-1] in FINAL


@pytest.mark.parametrize("transport", ["UDP", "TCP"])
@pytest.mark.parametrize("early", [False, True])
def test_every_order_of_what_can_happen_leaves_nothing(transport: str, early: bool) -> None:
    """All 720 orders; what is on the wire is delivered between two of them, or not, by seed."""
    for seed, order in enumerate(permutations(ACTIONS)):
        race = Race(transport, seed, early)
        chance = random.Random(seed)
        for name in order:
            race.act(name)
            if chance.random() < 0.5:
                race.pair.settle()
        race.end()
        try:
            race.check()
        except AssertionError as error:
            error.add_note(f"{transport}, early {early}, seed {seed}, order {order}")
            raise
