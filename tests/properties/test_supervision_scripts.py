"""Random scripts of a supervised call against a second, simpler model, and the invariants.

The reference gives everybody a *standing* and looks pairs up in a flat dictionary; it shares no
code and no table with `rtpmix.supervision`.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from rtpmix.errors import SupervisionRefused
from rtpmix.supervision import (
    UNITY,
    Change,
    CustomerOrphaned,
    Fate,
    Mode,
    Role,
    RoutingLog,
    SupervisedCall,
    fold,
    verify_chain,
)

SCRIPTS = 400
STEPS = 40
VOICES = {"customer", "agent", "monitor", "whisper", "barge", "takeover"}
#: standing of the listener -> standings it hears
HEARS = {
    "customer": {"customer", "agent", "barge", "takeover"},
    "agent": {"customer", "agent", "whisper", "barge", "takeover"},
    "listen": {"customer", "whisper", "barge", "takeover"},
    "leave": set(),
    "consult": {"takeover"},
    "monitor": VOICES,
    "whisper": VOICES,
    "barge": VOICES,
    "takeover": VOICES | {"consult"},
}
SUPERVISORS = {"monitor", "whisper", "barge", "takeover"}
AGENTS = {"agent", "listen", "consult"}


@dataclass
class Reference:
    """The whole model: who stands where, and what is pending."""

    standing: dict[int, str] = field(default_factory=dict)
    held: set[int] = field(default_factory=set)
    over: bool = False
    pending: tuple[int, str] | None = None  # who overlaps, and their mode before
    fate: str = "listen"
    undo: tuple[int, str, int | None] | None = None  # taker, mode before, whom they displaced

    def hears(self) -> dict[int, set[int]]:
        def pair(listener: int, talker: int) -> bool:
            if listener == talker or self.over or listener in self.held:
                return False
            if talker in self.held and self.standing[listener] not in SUPERVISORS:
                return False
            return self.standing[talker] in HEARS[self.standing[listener]]

        return {seat: {o for o in self.standing if pair(seat, o)} for seat in self.standing}

    def settle(self) -> None:
        taken = "takeover" in self.standing.values()
        for seat, standing in self.standing.items():
            if taken and standing == "agent":
                self.standing[seat] = "listen"
            if not taken and standing in ("listen", "consult"):
                self.standing[seat] = "agent"

    def commit(self, seat: int, before: str) -> None:
        displaced = None
        for other, standing in self.standing.items():
            if standing in AGENTS:
                self.standing[other] = self.fate
            if standing == "takeover":
                self.standing[other], displaced = "monitor", other
        self.standing[seat] = "takeover"
        self.pending, self.undo = None, (seat, before, displaced)

    def withdraw(self, seat: int) -> str | None:
        """Undo whatever this supervisor had taken; the mode from before, if there was any."""
        if self.pending and self.pending[0] == seat:
            before, self.pending = self.pending[1], None
            return before
        if self.undo and self.undo[0] == seat:
            _, before, displaced = self.undo
            self.undo = None
            self.standing.pop(seat, None)
            if displaced in self.standing:
                self.standing[displaced] = "takeover"
            return before
        return None

    def leave(self, seat: int) -> None:
        was = self.standing[seat]
        if was in SUPERVISORS:
            self.withdraw(seat)
        self.standing.pop(seat, None)
        self.held.discard(seat)
        if self.undo and self.undo[2] == seat:
            self.undo = (*self.undo[:2], None)
        left = set(self.standing.values())
        if self.pending and was in AGENTS and not left & AGENTS:
            taker, before = self.pending
            self.commit(taker, before)
        if was == "customer" and "customer" not in left and left:
            self.over = True


class Run:
    """One random script, played to both models."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.call = SupervisedCall()
        self.reference = Reference()
        self.log = RoutingLog()
        self.now = 0.0
        self.seats = 0
        self.refusals = 0

    def commit(self, change: Change) -> Change:
        if change.commit is not None:
            self.log.append(int(self.now * 8000), change.commit, why=change.why)
        return change

    def attempt(self, act: Callable[[], Change]) -> bool:
        """Play one command; True unless it was refused, in which case nothing changed."""
        before = (self.call.parties, self.call.routing, self.call.phase, self.call.taker)
        try:
            self.commit(act())
        except SupervisionRefused:
            assert (
                self.call.parties,
                self.call.routing,
                self.call.phase,
                self.call.taker,
            ) == before
            self.refusals += 1
            return False
        return True

    def steps(self) -> Iterator[str]:
        self.join("customer")
        self.join("agent")
        for _ in range(STEPS):
            self.now += self.rng.choice((0.01, 1.0, 6.0))
            self.advance()
            name = self.rng.choice(
                ("join", "attach", "attach", "leave", *["mode"] * 4, *["take"] * 2, "back", "hold")
            )
            getattr(self, name)()
            self.reference.settle()
            yield name

    # -------------------------------------------------------------- the steps

    def join(self, standing: str | None = None) -> None:
        standing = standing or self.rng.choice(("customer", "agent"))
        self.seats += 1
        seat, role = self.seats, Role(standing)
        if self.attempt(lambda: self.call.join(seat, role)):
            self.reference.standing[seat] = standing

    def attach(self) -> None:
        mode = self.rng.choice((Mode.MONITOR, Mode.WHISPER, Mode.BARGE))
        self.seats += 1
        seat = self.seats
        if self.attempt(lambda: self.call.attach(seat, mode, self.now, media_seen=True)):
            self.reference.standing[seat] = mode.value

    def anybody(self, among: set[str]) -> int | None:
        seats = [seat for seat, standing in self.reference.standing.items() if standing in among]
        return self.rng.choice(seats) if seats else None

    def leave(self) -> None:
        seat = self.anybody(SUPERVISORS | AGENTS | {"leave", "customer"})
        if seat is not None:
            self.commit(self.call.leave(seat, self.now))
            self.reference.leave(seat)

    def mode(self) -> None:
        seat = self.anybody(SUPERVISORS)
        mode = self.rng.choice(list(Mode))
        if seat is None:
            return
        before = self.reference.standing[seat]
        if not self.attempt(lambda: self.call.set_mode(seat, mode, self.now)):
            return
        if mode is Mode.TAKEOVER:
            if before != "takeover":
                self.reference.fate = "listen"
                self.reference.commit(seat, before)
        else:
            self.reference.withdraw(seat)
            self.reference.standing[seat] = mode.value

    def take(self) -> None:
        seat = self.anybody(SUPERVISORS)
        if seat is None:
            return
        fate, overlap_s = self.rng.choice(list(Fate)), self.rng.choice((0.0, 3.0))
        before = self.reference.standing[seat]
        there = any(standing in AGENTS for standing in self.reference.standing.values())
        if not self.attempt(
            lambda: self.call.takeover(seat, self.now, fate=fate, overlap_s=overlap_s)
        ):
            return
        self.reference.fate = fate.value
        if overlap_s and there:
            self.reference.pending = (seat, before)
            self.reference.standing[seat] = "barge"
        else:
            self.reference.commit(seat, before)

    def back(self) -> None:
        seat = self.anybody(SUPERVISORS)
        if seat is not None and self.attempt(lambda: self.call.hand_back(seat, self.now)):
            before = self.reference.withdraw(seat)
            assert before is not None
            self.reference.standing[seat] = before

    def hold(self) -> None:
        seat = self.anybody({"customer", "agent"})
        if seat is not None:
            on = self.rng.random() < 0.5
            self.commit(self.call.hold(seat, on))
            (self.reference.held.add if on else self.reference.held.discard)(seat)

    def advance(self) -> None:
        while (due := self.call.next_deadline()) is not None and due <= self.now:
            self.commit(self.call.advance(self.now))
            if self.reference.pending:
                self.reference.commit(*self.reference.pending)
            else:
                self.reference.undo = None
            self.reference.settle()


def heard(call: SupervisedCall) -> dict[int, set[int]]:
    return {seat: set(call.hears(seat)) for seat in call.routing.seats}


@pytest.mark.parametrize("block", range(8))
def test_random_scripts_agree_with_the_reference_at_every_step(block: int) -> None:
    """Any order of joins, modes, takeovers, hand-backs, holds and ends; 40 steps each."""
    refusals = takeovers = 0
    for seed in range(block * SCRIPTS // 8, (block + 1) * SCRIPTS // 8):
        run = Run(seed)
        for name in run.steps():
            assert heard(run.call) == run.reference.hears(), f"seed {seed}, after {name}"
            takeovers += "takeover" in run.reference.standing.values()
        refusals += run.refusals
    assert takeovers > 100, "the scripts hardly ever took a call over: they prove little"
    assert refusals > 10, "nothing was ever refused: the scripts prove little"


@pytest.mark.parametrize("block", range(4))
def test_no_script_lets_a_private_supervisor_near_the_customer(block: int) -> None:
    """Invariant 1: the pair is zero before and after, so it is zero on every ramp between."""
    for seed in range(block * 50, (block + 1) * 50):
        run = Run(seed)
        for name in run.steps():
            routing = run.call.routing
            modes = {party.seat: party.mode for party in run.call.parties}
            roles = {party.seat: party.role for party in run.call.parties}
            for listener, row in zip(routing.seats, routing.gains, strict=True):
                for talker, gain in zip(routing.seats, row, strict=True):
                    assert gain in (0, UNITY)
                    if listener == talker:
                        assert gain == 0, f"seed {seed}, after {name}"
                    if roles[listener] is Role.CUSTOMER and modes[talker] in (
                        Mode.MONITOR,
                        Mode.WHISPER,
                    ):
                        assert gain == 0, f"seed {seed}, after {name}"
                    if roles[listener] is Role.AGENT and modes[talker] is Mode.MONITOR:
                        assert gain == 0, f"seed {seed}, after {name}"


def test_the_routing_log_of_every_script_folds_to_the_live_matrix() -> None:
    """Invariant 6."""
    for seed in range(100):
        run = Run(seed)
        for _ in run.steps():
            folded = fold(run.log.entries, int(run.now * 8000))
            assert folded == (run.call.routing.seats, run.call.routing.gains)
        assert verify_chain(run.log.entries, run.log.head) is None


def anything(call: SupervisedCall, rng: random.Random, now: int) -> Change:
    """One thing that can happen to supervisor 3 or agent 2."""
    name = rng.choice(("mode", "takeover", "hand back", "agent lost", "agent joins"))
    if name == "mode":
        return call.set_mode(3, rng.choice(list(Mode)), now)
    if name == "takeover":
        return call.takeover(3, now, fate=rng.choice(list(Fate)))
    if name == "hand back":
        return call.hand_back(3, now)
    if name == "agent lost":
        return call.lost(2, now)
    return Change(None) if 2 in call.routing.seats else call.join(2, Role.AGENT)


def test_a_served_customer_is_never_alone_without_an_orphans_notice() -> None:
    """Whoever talked to the customers is gone: that is told, and comfort is ordered."""
    notices = 0
    for seed in range(200):
        call = SupervisedCall()
        rng = random.Random(seed)
        call.join(1)
        call.join(2, Role.AGENT)
        call.attach(3, Mode.MONITOR, 0.0, media_seen=True)
        told: tuple[int, ...] = ()
        for now in range(20):
            try:
                facts = anything(call, rng, now).facts
            except SupervisionRefused:
                continue
            for fact in facts:
                if isinstance(fact, CustomerOrphaned):
                    told = fact.seats
                    notices += 1
            if not call.hears(1):
                assert call.orphans == told == (1,), f"seed {seed}"
            else:
                assert call.orphans == ()
    assert notices > 20


@pytest.mark.parametrize("private", [Mode.MONITOR, Mode.WHISPER])
def test_the_customers_row_is_the_same_with_and_without_a_private_supervisor(private: Mode) -> None:
    """Invariant 2 at the level of matrices: same talkers, same gains, at the same commits."""
    for seed in range(100):
        rows = []
        for with_supervisor in (False, True):
            rng, call = random.Random(seed), SupervisedCall()
            call.join(1)
            seen = []
            for step in range(30):
                seat, leaves = rng.randrange(2, 6), rng.random() < 0.4
                if seat in call.routing.seats:
                    if leaves:
                        call.leave(seat, step)
                    else:
                        call.hold(seat, rng.random() < 0.5)
                else:
                    call.join(seat, Role.AGENT)
                if with_supervisor and step % 7 == 2:
                    call.attach(100, private, step, media_seen=True)
                if with_supervisor and step % 7 == 5:
                    call.leave(100, step)
                seen.append((call.hears(1), call.orphans))
            rows.append(seen)
        assert rows[0] == rows[1], f"seed {seed}"
