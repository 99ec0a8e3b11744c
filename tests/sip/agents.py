"""Two user agents and a wire between them, in virtual time: loss, delay and order by seed."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from itertools import count
from typing import Any, NamedTuple

from rtpmix.sip.flow import Address, Flow
from rtpmix.sip.message import Request, Response, parse_message
from rtpmix.sip.user_agent import UserAgent, UserAgentConfig

ALICE: Address = ("192.0.2.1", 5060)
BOB: Address = ("192.0.2.2", 5060)
OFFER = b"v=0 offer\r\n"
ANSWER = b"v=0 answer\r\n"

# What `snapshot` counts as alive.
LIVE = (
    *("invite_client", "non_invite_client", "invite_server", "non_invite_server"),
    *("calls", "dialogs", "requests", "timers"),
)


def tokens(seed: object) -> Callable[[], str]:
    """Return a source of tokens that the seed determines."""
    chance, number = random.Random(f"tokens {seed}"), count()
    return lambda: f"{next(number):x}x{chance.getrandbits(48):012x}"


def live(agent: UserAgent) -> dict[str, int]:
    """Return the live counts that are not zero."""
    counts = agent.snapshot()
    return {name: counts[name] for name in LIVE if counts[name]}


class Sent(NamedTuple):
    """One message on the wire."""

    at: float
    source: Address
    flow: Flow
    data: bytes

    @property
    def message(self) -> Request | Response:
        """The message, parsed."""
        return parse_message(self.data)


class Pair:
    """Alice and Bob over a wire without faults; `drop` decides what is lost.

    Parameters
    ----------
    transport
        "UDP", or "TCP" with one connection, number 1, for both ways.
    """

    def __init__(self, transport: str = "UDP", seed: int = 0, **config: Any) -> None:
        self.now = 0.0
        self.transport = transport
        self.log: list[Sent] = []
        self.told: list[tuple[Address, Any]] = []
        self.drop: Callable[[Sent], bool] = lambda sent: False
        self.agents = {
            ALICE: UserAgent(UserAgentConfig(**config), token=tokens(f"alice {seed}")),
            BOB: UserAgent(UserAgentConfig(**config), token=tokens(f"bob {seed}")),
        }
        self.alice, self.bob = self.agents[ALICE], self.agents[BOB]

    def flow(self, local: Address) -> Flow:
        """Return how one of them sees the wire."""
        remote = BOB if local == ALICE else ALICE
        return Flow(self.transport, remote, local, int(self.transport == "TCP"))

    def deliver(self, to: Address, data: bytes) -> None:
        """Hand bytes to one of them as from the other."""
        agent = self.agents[to]
        if self.transport == "TCP":
            agent.receive_stream(data, self.flow(to), self.now)
        else:
            agent.receive_datagram(data, self.flow(to), self.now)

    def collect(self) -> list[Sent]:
        """Drain both agents; return what is on the wire now."""
        fresh = []
        for address, agent in self.agents.items():
            for flow, data in agent.datagrams_to_send():
                fresh.append(Sent(self.now, address, flow, data))
            while (event := agent.next_event()) is not None:
                self.told.append((address, event))
        self.log += fresh
        return fresh

    def settle(self) -> None:
        """Deliver everything at once, and what it causes, until both are silent."""
        while fresh := self.collect():
            for sent in fresh:
                if not self.drop(sent):
                    self.deliver(BOB if sent.source == ALICE else ALICE, sent.data)

    def run(self, until: float) -> None:
        """Let time pass."""
        self.settle()
        while True:
            due = [
                at for agent in self.agents.values() if (at := agent.next_deadline()) is not None
            ]
            if not due or min(due) > until:
                break
            self.now = max(self.now, min(due))
            for agent in self.agents.values():
                agent.advance(self.now)
            self.settle()
        self.now = max(self.now, until)

    def invite(self, body: bytes = OFFER, **more: Any) -> int:
        """Let Alice call Bob; nothing is delivered yet."""
        return self.alice.invite(
            "sip:bob@192.0.2.2",
            flow=self.flow(ALICE),
            from_uri="sip:alice@192.0.2.1",
            body=body,
            now=self.now,
            **more,
        )

    def call(self) -> tuple[int, int]:
        """Set a whole call up; return Alice's and Bob's number of it."""
        ours = self.invite()
        self.settle()
        theirs: int = self.events(BOB, "Invited")[-1].call
        self.bob.accept(theirs, self.now, ANSWER)
        self.settle()
        return ours, theirs

    def events(self, address: Address, name: str = "") -> list[Any]:
        """Return what one of them was told, of one kind if named."""
        return [
            event
            for where, event in self.told
            if where == address and (not name or type(event).__name__ == name)
        ]

    def sent_by(self, address: Address, start: str = "") -> list[bytes]:
        """Return what one of them sent, by how it starts."""
        return [
            sent.data
            for sent in self.log
            if sent.source == address and sent.data.startswith(start.encode())
        ]

    def times(self, address: Address, start: str) -> list[int]:
        """Return when one of them sent that, in milliseconds."""
        return [
            round(sent.at * 1000)
            for sent in self.log
            if sent.source == address and sent.data.startswith(start.encode())
        ]


class Wire:
    """A wire that delays, loses, repeats and reorders datagrams, and calls back at given times."""

    def __init__(
        self, seed: object, *, delay: float = 0.05, loss: float = 0.1, duplicate: float = 0.05
    ) -> None:
        self.chance = random.Random(f"wire {seed}")
        self.now = 0.0
        self.agents: dict[Address, UserAgent] = {}
        self.on_event: dict[Address, Callable[[Any], None]] = {}
        self._delay, self._loss, self._duplicate = delay, loss, duplicate
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._serial = count()
        self._wakes: dict[Address, float] = {}

    def add(self, address: Address, agent: UserAgent, on_event: Callable[[Any], None]) -> None:
        """Put an agent on the wire."""
        self.agents[address] = agent
        self.on_event[address] = on_event

    def remove(self, address: Address) -> None:
        """Take an agent off the wire without a word."""
        self.agents.pop(address, None)

    def at(self, when: float, act: Callable[[], None]) -> None:
        """Do something at a time."""
        heapq.heappush(self._queue, (when, next(self._serial), act))

    def pump(self, address: Address) -> None:
        """Do what a shell does after every call into an agent."""
        agent = self.agents.get(address)
        while agent is not None:
            for flow, data in agent.datagrams_to_send():
                self._send(address, flow, data)
            event = agent.next_event()
            if event is None:
                break
            self.on_event[address](event)
        deadline = agent.next_deadline() if agent is not None else None
        if deadline is not None and deadline < self._wakes.get(address, float("inf")):
            self._wakes[address] = deadline
            self.at(deadline, lambda: self._wake(address, deadline))

    def run(self) -> None:
        """Run until nothing is left to happen."""
        while self._queue:
            when, _, act = heapq.heappop(self._queue)
            self.now = max(self.now, when)
            act()

    def _wake(self, address: Address, deadline: float) -> None:
        if self._wakes.get(address) == deadline:
            del self._wakes[address]
        if address in self.agents:
            self.agents[address].advance(self.now)
            self.pump(address)

    def _send(self, source: Address, flow: Flow, data: bytes) -> None:
        copies = 1 + (self.chance.random() < self._duplicate)
        for _ in range(copies):
            if flow.remote in self.agents and self.chance.random() >= self._loss:
                delay = self._delay * self.chance.random() * 2  # so datagrams overtake each other
                self.at(self.now + delay, lambda: self._arrive(source, flow, data))

    def _arrive(self, source: Address, flow: Flow, data: bytes) -> None:
        agent = self.agents.get(flow.remote)
        if agent is not None:
            agent.receive_datagram(data, Flow("UDP", source, flow.remote), self.now)
            self.pump(flow.remote)


def raw(
    method: str,
    *,
    uri: str = "sip:bob@192.0.2.2",
    branch: str | None = "z9hG4bKraw1",
    via: str = "SIP/2.0/UDP 192.0.2.1:5060",
    from_tag: str = "alice1",
    to_tag: str | None = None,
    call_id: str = "raw-call-1",
    cseq: int = 1,
    contact: str | None = "<sip:alice@192.0.2.1:5060>",
    headers: str = "",
    body: bytes = b"",
) -> bytes:
    """Write a request by hand, as a peer with ideas of its own would."""
    lines = [
        f"{method} {uri} SIP/2.0",
        f"Via: {via}" + (f";branch={branch}" if branch is not None else ""),
        f"From: <sip:alice@192.0.2.1>;tag={from_tag}",
        "To: <sip:bob@192.0.2.2>" + (f";tag={to_tag}" if to_tag is not None else ""),
        f"Call-ID: {call_id}",
        f"CSeq: {cseq} {method}",
        *([f"Contact: {contact}"] if contact is not None else []),
        *headers.splitlines(),
        *(["Content-Type: application/sdp"] if body and "Content-Type" not in headers else []),
        f"Content-Length: {len(body)}",
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


class Bob:
    """One user agent alone; the test is its peer and writes every byte itself."""

    def __init__(self, flow: Flow | None = None, **config: Any) -> None:
        self.agent = UserAgent(UserAgentConfig(**config), token=tokens("bob"))
        self.flow = flow or Flow("UDP", ALICE, BOB)
        self.now = 0.0
        self.sent: list[tuple[float, Flow, Request | Response]] = []
        self.told: list[Any] = []

    def take(self, data: bytes) -> list[Request | Response]:
        """Give it bytes; return what it sends at once."""
        if self.flow.reliable:
            self.agent.receive_stream(data, self.flow, self.now)
        else:
            self.agent.receive_datagram(data, self.flow, self.now)
        return self.drain()

    def drain(self) -> list[Request | Response]:
        """Collect what it sends and tells."""
        fresh = [
            (self.now, flow, parse_message(data))
            for flow, data in self.agent.datagrams_to_send()
            if data.strip()
        ]
        self.sent += fresh
        while (event := self.agent.next_event()) is not None:
            self.told.append(event)
        return [message for _, _, message in fresh]

    def status(self, data: bytes) -> int | None:
        """Give it bytes; return the status of its one answer."""
        answers = self.take(data)
        assert len(answers) <= 1
        if not answers:
            return None
        assert isinstance(answers[0], Response)
        return answers[0].status

    def run(self, until: float) -> None:
        """Let time pass."""
        self.drain()
        while (at := self.agent.next_deadline()) is not None and at <= until:
            self.now = max(self.now, at)
            self.agent.advance(self.now)
            self.drain()
        self.now = max(self.now, until)

    def invited(self, **more: Any) -> int:
        """Send it an INVITE by hand; return the call's number."""
        self.take(raw("INVITE", **more))
        number: int = self.told[-1].call
        return number

    def answered(self, **more: Any) -> tuple[int, str]:
        """Bring it into a call; return the call's number and its tag."""
        number = self.invited(**more)
        self.agent.accept(number, self.now, ANSWER)
        answer = self.drain()[-1]
        tag = answer.to.tag or ""
        self.take(raw("ACK", branch="z9hG4bKack", to_tag=tag, **more))
        return number, tag

    def events(self, name: str) -> list[Any]:
        """Return what it told, of one kind."""
        return [event for event in self.told if type(event).__name__ == name]

    def statuses(self) -> list[int]:
        """Return the status of every response so far."""
        return [message.status for _, _, message in self.sent if isinstance(message, Response)]
