"""A user agent in mid-call, under spoilt copies of its own conversation."""

from __future__ import annotations

import itertools
from contextlib import suppress

import pytest

from rtpmix.errors import UsageError
from rtpmix.sip import events
from rtpmix.sip.flow import Flow
from rtpmix.sip.user_agent import UserAgent, UserAgentConfig
from tests.fuzz.corpus import MESSAGES, OFFER, SIP_WORDS
from tests.fuzz.mutation import SEED, Mutator, attack

UDP = Flow("UDP", ("192.0.2.1", 5060), ("192.0.2.2", 5060))
LIVE = ("calls", "dialogs", "requests", "timers")
MOST_CALLS = 50
RECENT = 24  # messages of the conversation that are spoilt and sent back


class Victim:
    """A user agent that answers, refuses, calls and hangs up at random, in virtual time."""

    def __init__(self, mutator: Mutator) -> None:
        numbers = itertools.count()
        config = UserAgentConfig(
            max_calls=MOST_CALLS,
            max_transactions=500,
            session_ids=True,
            info_packages=("x-notes",),
        )
        self.agent = UserAgent(config, token=lambda: f"token{next(numbers)}")
        self.mutator = mutator
        self.random = mutator.random
        self.now = 0.0
        self.connections = itertools.count(1)
        self.stream = self.new_stream()
        self.calls: set[int] = set()

    def new_stream(self) -> Flow:
        return Flow("TCP", ("192.0.2.1", 5060), ("192.0.2.2", 5060), next(self.connections))

    def receive(self, data: bytes) -> None:
        """Take one spoilt message, and go on with the conversation."""
        if self.random.random() < 0.8:
            self.agent.receive_datagram(data[:65507], UDP, self.now)
        else:
            self.agent.receive_stream(data, self.stream, self.now)
        if self.random.random() < 0.02:
            self.place_call()
        self.drain()
        self.now += self.random.choice((0.0, 0.01, 0.3, 4.0))
        deadline = self.agent.next_deadline()
        if deadline is not None and deadline <= self.now:
            self.agent.advance(self.now)
            self.drain()

    def place_call(self) -> None:
        if len(self.calls) < MOST_CALLS // 2:
            body = OFFER if self.random.random() < 0.8 else b""
            call = self.agent.invite(
                "sip:bob@192.0.2.1", flow=UDP, from_uri="sip:x@192.0.2.2", body=body, now=self.now
            )
            self.calls.add(call)

    def drain(self) -> None:
        while (event := self.agent.next_event()) is not None:
            with suppress(UsageError):  # the call it is about may have ended since
                self.react(event)
        for message in self.agent.datagrams_to_send():
            self.mutator.corpus.append(message.data)
            self.mutator.corpus.append(self.answer(message.data))
        del self.mutator.corpus[len(MESSAGES) : -RECENT]

    def answer(self, request: bytes) -> bytes:
        """Return a response to a request of ours, so that spoilt answers match as well."""
        _, _, rest = request.partition(b"\r\n")
        status = self.random.choice((b"100 T", b"183 P", b"200 OK", b"302 M", b"401 U", b"491 P"))
        tag = b";tag=r%d\r\n" % self.random.randrange(3)
        head, to, tail = rest.partition(b"\r\nTo: ")
        address, _, tail = tail.partition(b"\r\n")
        contact = b"Contact: <sip:bob@192.0.2.1>\r\n"
        return b"SIP/2.0 " + status + b"\r\n" + head + to + address + tag + contact + tail

    def react(self, event: events.Event) -> None:
        agent, now, roll = self.agent, self.now, self.random.random()
        match event:
            case events.Invited(call=call):
                self.calls.add(call)
                if roll < 0.5:
                    agent.accept(call, now, OFFER)
                elif roll < 0.8:
                    agent.ring(call, now)
                else:
                    agent.reject(call, 486, now)
            case events.Answered(call=call, needs_ack=needs_ack):
                if needs_ack:
                    agent.ack(call, OFFER, now)
            case events.Reinvited(call=call):
                agent.answer_reinvite(call, 200 if roll < 0.5 else 488, now, OFFER)
            case events.Acked(call=call):
                if roll < 0.5:
                    agent.reinvite(call, OFFER, now)
            case events.Requested(request=request):
                agent.respond(request, 200, now)
            case events.StreamBroken():
                agent.connection_closed(self.stream, now)
                self.stream = self.new_stream()
            case events.Ended(call=call) | events.Failed(call=call) | events.Cancelled(call=call):
                self.calls.discard(call)

    def go_home(self) -> None:
        """End everything that is still there, and let every timer run out."""
        self.agent.connection_closed(self.stream, self.now)
        for call in sorted(self.calls):
            with suppress(UsageError):
                self.agent.bye(call, self.now)
        for _ in range(100_000):
            self.drain()
            deadline = self.agent.next_deadline()
            if deadline is None:
                return
            self.now = max(self.now, deadline)
            self.agent.advance(self.now)
        raise AssertionError("timers are still armed after 100,000 of them")


def test_a_user_agent_survives_its_conversation_spoilt(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Nothing raises, nothing grows past its limit, and in the end nothing is left."""
    mutator = Mutator(SEED, MESSAGES, SIP_WORDS)
    victim = Victim(mutator)
    most = dict.fromkeys(LIVE, 0)

    def target(data: bytes) -> None:
        victim.receive(data)
        for name, value in victim.agent.snapshot().items():
            if name in most:
                most[name] = max(most[name], value)

    count = attack(target, mutator)
    assert most["calls"] > 5, "no call was ever set up: this test would pass without looking"
    assert most["calls"] <= MOST_CALLS
    assert most["dialogs"] <= 4 * MOST_CALLS
    victim.go_home()
    left = {name: n for name, n in victim.agent.snapshot().items() if name in LIVE}
    assert not any(left.values()), left
    with capsys.disabled():
        print(f"\nfuzz: {count:,} inputs to a user agent", end=" ")
