"""The state of a supervised call, and the actions that the takeover table names."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from ..errors import UsageError
from . import changes
from .policy import ADDRESSES_CUSTOMER, PRIVATE, Fate, Mode, Party, Role, dtmf_for, gains_for
from .takeover import TAKEOVER, Input, Phase

FRAME_MS = 20


@dataclass(frozen=True, slots=True)
class Limits:
    """Times of a takeover in seconds, and how long a gain change takes.

    A ramp ends within the frame in which it begins. A longer one could be interrupted by the next
    commit, and a supervisor who comes in the middle of it would show in what the others hear.
    """

    prepare_s: float = 5.0  # for the supervisor's first packet
    undo_s: float = 10.0  # in which the call can be handed back
    goodbye_s: float = 3.0  # what an agent who leaves still hears
    ramp_ms: int = 10

    def __post_init__(self) -> None:
        if not 0 <= self.ramp_ms <= FRAME_MS:
            raise UsageError(f"ramp_ms is {self.ramp_ms}: use 0 to {FRAME_MS}, within a frame")
        if min(self.prepare_s, self.undo_s, self.goodbye_s) < 0:
            raise UsageError("a time limit of a takeover can't be negative")


@dataclass(slots=True)
class State:
    """Everything that a supervised call knows. A step works on a `draft`, kept if it succeeds."""

    limits: Limits = Limits()
    parties: dict[int, Party] = field(default_factory=dict)
    levels: dict[tuple[int, int], int] = field(default_factory=dict)
    media_seen: set[int] = field(default_factory=set)
    phase: Phase = Phase.IDLE
    taker: int | None = None
    taker_before: Mode = Mode.MONITOR
    fate: Fate = Fate.LISTEN
    overlap_s: float = 0.0
    deadline: float | None = None
    displaced: dict[int, Mode] = field(default_factory=dict)  # supervisors who had the call
    served: bool = False  # somebody has talked to the customers
    orphans: tuple[int, ...] = ()  # customers to whom nobody talks any more
    facts: list[changes.Fact] = field(default_factory=list)
    orders: list[changes.Order] = field(default_factory=list)

    def draft(self) -> State:
        """Return a copy to work on, with no facts or orders yet."""
        return replace(
            self,
            parties=dict(self.parties),
            levels=dict(self.levels),
            media_seen=set(self.media_seen),
            displaced=dict(self.displaced),
            facts=[],
            orders=[],
        )

    # ----------------------------------------------------------------- reading

    def in_role(self, role: Role) -> list[Party]:
        """Return the parties in a role, in seat order."""
        return [party for party in self.parties.values() if party.role is role]

    def agent_is_there(self) -> bool:
        """Say whether an agent is in the call who is not being sent away."""
        return any(party.fate is not Fate.LEAVE for party in self.in_role(Role.AGENT))

    def somebody_serves(self) -> bool:
        """Say whether anybody may talk to the customers."""
        return any(party.fate is None for party in self.in_role(Role.AGENT)) or any(
            party.mode in ADDRESSES_CUSTOMER for party in self.parties.values()
        )

    def routing(self) -> changes.Routing:
        """Return the routing that follows from the parties; silence once the call is over."""
        parties = tuple(self.parties.values())
        private = frozenset(party.seat for party in parties if party.mode in PRIVATE)
        if self.phase is Phase.OVER:
            silent = ((0,) * len(parties),) * len(parties)
            none = ((False,) * len(parties),) * len(parties)
            return changes.Routing(tuple(self.parties), silent, none, self.limits.ramp_ms, private)
        return changes.Routing(
            tuple(self.parties),
            gains_for(parties, self.levels),
            dtmf_for(parties),
            self.limits.ramp_ms,
            private,
        )

    # ---------------------------------------------------------------- changing

    def set_mode(self, seat: int, mode: Mode) -> None:
        """Give a supervisor a mode."""
        self.parties[seat] = replace(self.parties[seat], mode=mode)

    def modes_since(self, earlier: State) -> list[changes.Fact]:
        """Return whose mode is another one than before this step, however many it went through."""
        modes = {seat: party.mode for seat, party in earlier.parties.items()}
        return [
            changes.ModeChanged(party.seat, before, party.mode)
            for party in self.parties.values()
            if (before := modes.get(party.seat)) and party.mode and before is not party.mode
        ]

    def remove(self, seat: int, cause: str, now: float) -> None:
        """Take somebody out of the call, and the takeover through what that means."""
        party = self.parties.pop(seat)
        self.media_seen.discard(seat)
        self.displaced.pop(seat, None)
        self.levels = {pair: level for pair, level in self.levels.items() if seat not in pair}
        self.facts.append(changes.Left(seat, party.role, cause))
        if seat == self.taker:
            self.step(Input.TAKER_GONE, now, "the supervisor is gone")
        if party.role is Role.AGENT and not self.agent_is_there():
            self.step(Input.AGENT_GONE, now)
        others = self.in_role(Role.AGENT) or self.in_role(Role.SUPERVISOR)
        if party.role is Role.CUSTOMER and others and not self.in_role(Role.CUSTOMER):
            self.step(Input.CUSTOMER_GONE, now, "the customer is gone")

    def put_in_place(self, seat: int, by: int, *, can_talk: bool) -> None:
        """Give a party's place, with all that belongs to it, to another seat."""
        party = self.parties[seat]
        heir = replace(party, seat=by, can_talk=can_talk, held=False)
        self.parties = {
            by if other == seat else other: heir if other == seat else _readdress(who, seat, by)
            for other, who in self.parties.items()
        }
        self.levels = {
            (by if listener == seat else listener, by if talker == seat else talker): level
            for (listener, talker), level in self.levels.items()
        }
        self.media_seen.discard(seat)
        self.taker = by if self.taker == seat else self.taker
        if seat in self.displaced:
            self.displaced[by] = self.displaced.pop(seat)
        self.facts.append(changes.Joined(by, heir.role, heir.mode))
        self.facts.append(changes.Replaced(by, seat, heir.role))
        self.facts.append(changes.Left(seat, party.role, "replaced"))

    def step(self, happened: Input, now: float, why: str = "") -> bool:
        """Take one step of the takeover table; False where the table has none."""
        step = TAKEOVER.get((self.phase, happened))
        if step is None:
            return False
        self.phase = step.phase
        for action in step.actions:
            ACTIONS[action](self, now, why)
        return True

    def settle(self) -> None:
        """Draw the conclusions that hold whatever happened: restored agents, orphans."""
        if self.phase is Phase.OVER:
            return
        if not any(party.mode is Mode.TAKEOVER for party in self.parties.values()):
            for party in self.in_role(Role.AGENT):
                if party.fate in (Fate.LISTEN, Fate.CONSULT):
                    self.parties[party.seat] = replace(party, fate=None)
                    self.facts.append(changes.AgentRestored(party.seat))
        self._settle_orphans()

    def _settle_orphans(self) -> None:
        customers = tuple(party.seat for party in self.in_role(Role.CUSTOMER))
        serves = self.somebody_serves()
        self.served = bool(self.parties) and (self.served or serves)
        orphans = customers if self.served and not serves else ()
        if orphans == self.orphans:
            return
        if orphans:
            self.facts.append(changes.CustomerOrphaned(orphans))
            self.orders.append(changes.Comfort(orphans))
        else:
            if serves and customers:
                self.facts.append(changes.CustomerRescued(self.orphans))
            self.orders.append(changes.EndComfort())
        self.orphans = orphans


def _readdress(party: Party, seat: int, by: int) -> Party:
    """Let a prompt that was for one seat be for another."""
    if party.to is None or seat not in party.to:
        return party
    return replace(party, to=(party.to - {seat}) | {by})


# ------------------------------------------------------- actions of the takeover table


def _begin(state: State, now: float, why: str) -> None:
    if state.taker is not None:
        state.taker_before = state.parties[state.taker].mode or Mode.MONITOR
        state.facts.append(changes.TakeoverBegan(state.taker, state.fate, state.overlap_s))


def _start_prepare(state: State, now: float, why: str) -> None:
    state.deadline = now + state.limits.prepare_s


def _start_overlap(state: State, now: float, why: str) -> None:
    state.deadline = now + state.overlap_s


def _start_undo(state: State, now: float, why: str) -> None:
    state.deadline = now + state.limits.undo_s


def _barge(state: State, now: float, why: str) -> None:
    if state.taker is not None:
        state.set_mode(state.taker, Mode.BARGE)


def _commit(state: State, now: float, why: str) -> None:
    """Change speakers: everything here becomes one matrix, in force at one tick."""
    if state.taker is None:
        return
    displaced: list[int] = []
    for agent in state.in_role(Role.AGENT):
        if agent.fate is Fate.LEAVE:
            continue
        displaced.append(agent.seat)
        state.parties[agent.seat] = replace(agent, fate=state.fate)
        if state.fate is Fate.LEAVE:
            goodbye = changes.Goodbye(agent.seat, within_s=state.limits.goodbye_s)
            state.orders.append(goodbye)
    for other in state.in_role(Role.SUPERVISOR):
        if other.mode is Mode.TAKEOVER and other.seat != state.taker:
            displaced.append(other.seat)
            state.displaced[other.seat] = Mode.TAKEOVER
            state.set_mode(other.seat, Mode.MONITOR)
    state.set_mode(state.taker, Mode.TAKEOVER)
    state.facts.append(changes.TakenOver(state.taker, state.fate, tuple(displaced)))


def _abort(state: State, now: float, why: str) -> None:
    if state.taker is not None:
        state.facts.append(changes.TakeoverAborted(state.taker, why))
        _step_down(state, now, why)
    _forget(state, now, why)


def _step_down(state: State, now: float, why: str) -> None:
    if state.taker in state.parties:
        state.set_mode(state.taker, state.taker_before)


def _restore(state: State, now: float, why: str) -> None:
    """Give the call back to a supervisor who had it; listening agents get theirs in `settle`."""
    if state.taker in state.parties:
        state.set_mode(state.taker, Mode.BARGE)  # one holder at a time
    for seat, mode in state.displaced.items():
        state.set_mode(seat, mode)
        state.facts.append(changes.AgentRestored(seat))


def _forget(state: State, now: float, why: str) -> None:
    state.taker = None
    state.deadline = None
    state.displaced = {}


def _end(state: State, now: float, why: str) -> None:
    state.facts.append(changes.Over())
    for party in state.parties.values():
        if party.role in (Role.AGENT, Role.SUPERVISOR):
            state.orders.append(changes.HangUp(party.seat))
    if state.orphans:
        state.orders.append(changes.EndComfort())
        state.orphans = ()


ACTIONS = {
    "begin": _begin,
    "start_prepare": _start_prepare,
    "start_overlap": _start_overlap,
    "start_undo": _start_undo,
    "barge": _barge,
    "commit": _commit,
    "abort": _abort,
    "step_down": _step_down,
    "restore": _restore,
    "forget": _forget,
    "end": _end,
}
