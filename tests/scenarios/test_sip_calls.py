"""Random calls over a bad wire: every call ends exactly once, and nothing is left behind.

Ten thousand calls in all. For more: ``RTPMIX_SIP_CALLS=100000 pytest tests/scenarios``.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from typing import Any

import pytest

from rtpmix.sip import events
from rtpmix.sip.flow import Address, Flow
from rtpmix.sip.user_agent import UserAgent, UserAgentConfig
from tests.sip.agents import ALICE, ANSWER, BOB, OFFER, Wire, live, tokens

CALLS = int(os.environ.get("RTPMIX_SIP_CALLS", "10000"))
BATCH = 500
BATCHES = -(-CALLS // BATCH)

TERMINAL = (events.Ended, events.Failed, events.Cancelled)


class Person:
    """Someone who uses a user agent at random, and checks what it tells.

    The agent says what happens to a call in events that are drained after every input, so a
    command to a call that is over would be this program's mistake, not a race.
    """

    def __init__(self, wire: Wire, address: Address, chance: random.Random, tally: Counter[str]):
        self.wire = wire
        self.address = address
        self.chance = chance
        self.tally = tally
        config = UserAgentConfig(ring_timeout=60.0)
        self.agent = UserAgent(config, token=tokens(f"{address} {chance.random()}"))
        self.ringing: set[int] = set()
        self.calling: set[int] = set()
        self.talking: set[int] = set()
        self.reinviting: set[int] = set()
        self.asked: set[int] = set()  # re-INVITEs to answer
        self.over: set[int] = set()
        wire.add(address, self.agent, self.on_event)

    def later(self, longest: float, act: Any, *arguments: Any) -> None:
        """Do something within a time, if we are still on the wire."""

        def do() -> None:
            if self.address in self.wire.agents:
                act(*arguments)
                self.wire.pump(self.address)

        self.wire.at(self.wire.now + self.chance.random() * longest, do)

    def call(self, to: Address) -> None:
        """Call someone; perhaps without an offer, perhaps to give up soon."""
        number = self.agent.invite(
            f"sip:someone@{to[0]}",
            flow=Flow("UDP", to, self.address),
            from_uri=f"sip:caller@{self.address[0]}",
            body=OFFER if self.chance.random() < 0.8 else b"",
            now=self.wire.now,
        )
        self.calling.add(number)
        self.tally["calls"] += 1
        if self.chance.random() < 0.3:
            self.later(8.0, self.give_up, number)

    def give_up(self, number: int) -> None:
        if number in self.calling:
            self.tally["cancels"] += 1
            self.agent.cancel(number, self.wire.now)

    def on_event(self, event: Any) -> None:
        """Follow a call's life; each may end once only."""
        self.tally[type(event).__name__] += 1
        number = event.call
        assert number not in self.over, f"{event} after the end"
        if isinstance(event, TERMINAL):
            self.close(number)
        elif isinstance(event, events.Invited):
            self.ringing.add(number)
            self.later(6.0, self.decide, number)
        elif isinstance(event, events.Answered):
            self.calling.remove(number)
            if event.needs_ack:
                self.later(2.0, self.acknowledge, number)
            self.talk(number)
        elif isinstance(event, events.Reinvited):
            assert number in self.talking
            self.asked.add(number)
            self.later(3.0, self.answer, number)
        elif isinstance(event, events.ReinviteCancelled):
            self.asked.discard(number)
        elif isinstance(event, events.ReinviteAnswered):
            self.reinviting.discard(number)
            if event.needs_ack:
                self.later(2.0, self.acknowledge, number)

    def close(self, number: int) -> None:
        self.over.add(number)
        for state in (self.ringing, self.calling, self.talking, self.reinviting, self.asked):
            state.discard(number)

    def decide(self, number: int) -> None:
        """Answer, ring on, reject, or do nothing until the ring timeout."""
        if number not in self.ringing:
            return
        what = self.chance.random()
        if what < 0.3:
            self.agent.ring(number, self.wire.now)
            self.later(10.0, self.decide, number)
        elif what < 0.85:
            self.ringing.remove(number)
            self.agent.accept(number, self.wire.now, ANSWER)
            self.talk(number)
        elif what < 0.98:
            self.agent.reject(number, self.chance.choice([302, 486, 603]), self.wire.now)
            self.close(number)

    def talk(self, number: int) -> None:
        self.talking.add(number)
        for _ in range(self.chance.choice([0, 0, 1, 3])):
            self.later(8.0, self.reinvite, number)
        self.later(10.0, self.hang_up, number)

    def reinvite(self, number: int) -> None:
        if number in self.talking and number not in self.reinviting:
            self.reinviting.add(number)
            body = OFFER if self.chance.random() < 0.8 else b""
            self.agent.reinvite(number, body, self.wire.now)

    def answer(self, number: int) -> None:
        if number in self.asked and self.chance.random() < 0.97:
            self.asked.remove(number)
            status = self.chance.choice([200, 200, 200, 488])
            self.agent.answer_reinvite(number, status, self.wire.now, ANSWER)

    def acknowledge(self, number: int) -> None:
        if number in self.talking:
            self.agent.ack(number, ANSWER, self.wire.now)

    def hang_up(self, number: int) -> None:
        if number in self.talking:
            self.tally["hang-ups"] += 1
            self.agent.bye(number, self.wire.now)


@pytest.mark.parametrize("batch", range(BATCHES))
def test_random_calls_leave_nothing_behind(batch: int) -> None:
    """Answered, rejected, cancelled, re-invited, hung up and abandoned at any moment."""
    chance = random.Random(f"calls {batch}")
    tally: Counter[str] = Counter()
    wire = Wire(
        batch,
        delay=chance.choice([0.001, 0.05, 0.4]),
        loss=chance.choice([0.0, 0.05, 0.2]),
        duplicate=chance.choice([0.0, 0.1]),
    )
    people = [Person(wire, address, chance, tally) for address in (ALICE, BOB)]
    for number in range(BATCH):
        caller, callee = chance.sample(people, 2)
        to = callee.address
        if number % 20 == 0:  # someone who vanishes without a word
            to = (f"192.0.2.{10 + number // 20}", 5060)
            ghost = Person(wire, to, chance, tally)
            ghost.later(40.0, wire.remove, to)
            if chance.random() < 0.5:
                caller, to = ghost, caller.address
        caller.later(20.0, caller.call, to)
    wire.run()
    for person in people:
        assert live(person.agent) == {}
        assert not person.talking
        assert not person.calling
        assert not person.ringing
    assert tally["calls"] > BATCH * 0.9
    for kind in ("Ended", "Failed", "Cancelled", "Reinvited", "ReinviteAnswered", "Acked"):
        assert tally[kind] > 0, f"no {kind}: these calls prove less than they say"


def test_the_same_seed_gives_the_same_bytes() -> None:
    def transcript() -> list[bytes]:
        chance = random.Random("same")
        wire = Wire("same")
        people = [Person(wire, address, chance, Counter()) for address in (ALICE, BOB)]
        heard: list[bytes] = []
        original = wire._arrive

        def arrive(source: Address, flow: Flow, data: bytes) -> None:
            heard.append(data)
            original(source, flow, data)

        wire._arrive = arrive  # type: ignore[method-assign]
        for _ in range(20):
            caller, callee = chance.sample(people, 2)
            caller.later(5.0, caller.call, callee.address)
        wire.run()
        return heard

    first = transcript()
    assert len(first) > 100
    assert transcript() == first
