"""A supervised call: who is in it, what each supervisor does, and takeovers; pure.

Every method either returns a `Change` or raises `SupervisionRefused` and leaves everything as it
was.  Time is an argument, in monotonic seconds; wake at `next_deadline` and call `advance`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from ..errors import SupervisionRefused, UsageError
from . import changes
from .changes import Change, Routing
from .policy import LOUDEST, Fate, Mode, Party, Role, validate
from .state import Limits, State
from .takeover import Input, Phase

LONGEST_OVERLAP_S = 10.0

Authorise = Callable[[int, Mode], bool]
"""Says whether the supervisor in a seat may use a mode. Refused: 403, nothing changed."""


def _everybody_may(seat: int, mode: Mode) -> bool:
    return True


class SupervisedCall:
    """The policy of one bridge.

    Parameters
    ----------
    authorise
        Asked before a supervisor attaches, changes mode or takes over.
    limits
        Times of a takeover.

    Notes
    -----
    A bridge in which nobody was given a role is a conference: everybody is a customer, and equals
    hear each other.
    """

    def __init__(self, *, authorise: Authorise = _everybody_may, limits: Limits | None = None):
        self._authorise = authorise
        self._state = State(limits or Limits())
        self._routing = self._state.routing()

    # ----------------------------------------------------------------- reading

    @property
    def routing(self) -> Routing:
        """The routing that the last change asked for."""
        return self._routing

    @property
    def parties(self) -> tuple[Party, ...]:
        """Everybody in the call, in seat order."""
        return tuple(self._state.parties.values())

    @property
    def phase(self) -> Phase:
        """Where a takeover stands."""
        return self._state.phase

    @property
    def taker(self) -> int | None:
        """The supervisor whose takeover is under way or can still be undone."""
        return self._state.taker

    @property
    def orphans(self) -> tuple[int, ...]:
        """Customers to whom nobody talks any more."""
        return self._state.orphans

    def party(self, seat: int) -> Party:
        """Return who is in a seat; `SupervisionRefused` (404) for nobody."""
        found = self._state.parties.get(seat)
        if found is None:
            raise SupervisionRefused(f"seat {seat} is not in this call", status=404)
        return found

    def hears(self, seat: int) -> tuple[int, ...]:
        """Return the seats that this seat hears in the routing asked for."""
        self.party(seat)
        row = self._routing.gains[self._routing.seats.index(seat)]
        return tuple(other for other, gain in zip(self._routing.seats, row, strict=True) if gain)

    def next_deadline(self) -> float | None:
        """Return when `advance` must be called next, None for not at all."""
        return self._state.deadline

    # ------------------------------------------------------- coming and going

    def join(
        self,
        seat: int,
        role: Role = Role.CUSTOMER,
        *,
        can_talk: bool = True,
        to: frozenset[int] | None = None,
    ) -> Change:
        """Let a customer, an agent or a prompt in; `to` says who hears a prompt, None for all."""
        if role is Role.SUPERVISOR:
            raise UsageError("a supervisor has a mode: use attach")
        draft = self._begin_with_new(seat)
        draft.parties[seat] = Party(seat=seat, role=role, can_talk=can_talk, to=to)
        if role is not Role.PROMPT:
            draft.facts.append(changes.Joined(seat, role))
        return self._finish(draft, f"{role.value} {seat} joins")

    def attach(
        self,
        seat: int,
        mode: Mode,
        now: float,
        *,
        agent: int | None = None,
        can_talk: bool = True,
        media_seen: bool = False,
    ) -> Change:
        """Let a supervisor in.

        Parameters
        ----------
        agent
            The seat that is supervised; it gets the agent's role if it had none.
        can_talk
            False for a leg negotiated receive-only, which can only monitor.
        media_seen
            Whether RTP has been received from the supervisor. `Mode.TAKEOVER` waits for it, in
            monitor, and gives up after `Limits.prepare_s`.
        """
        draft = self._begin_with_new(seat)
        if agent is not None:
            self._make_agent(draft, agent)
        start = Mode.MONITOR if mode is Mode.TAKEOVER else mode
        party = Party(seat=seat, role=Role.SUPERVISOR, mode=start, can_talk=can_talk)
        self._check(party, mode)
        draft.parties[seat] = party
        draft.facts.append(changes.Joined(seat, Role.SUPERVISOR, start))
        if media_seen:
            draft.media_seen.add(seat)
        if mode is Mode.TAKEOVER:
            self._ask(draft, seat, now, Fate.LISTEN, 0.0)
        return self._finish(draft, f"supervisor {seat} attaches: {mode.value}")

    def leave(self, seat: int, now: float, *, cause: str = "left") -> Change:
        """Take somebody out. Unknown seats are no error: two sides may report the same end."""
        draft = self._state.draft()
        if seat not in draft.parties:
            return Change(None)
        name = draft.parties[seat].role.value
        draft.remove(seat, cause, now)
        return self._finish(draft, f"{name} {seat} {cause}")

    def replace(
        self, seat: int, by: int, now: float, *, can_talk: bool = True, media_seen: bool = False
    ) -> Change:
        """Give somebody's place to a newcomer, at one tick: role, mode, levels, takeovers.

        Raises
        ------
        SupervisionRefused
            404 nobody is there; 409 an agent who is being sent away, whose place is nobody's any
            more, or a receive-only leg for a supervisor who is not monitoring.
        """
        party = self.party(seat)
        if party.fate is Fate.LEAVE:
            raise SupervisionRefused("this agent is leaving: there is no place to take", status=409)
        if party.mode not in (None, Mode.MONITOR) and not can_talk:
            raise SupervisionRefused("a receive-only leg can only monitor", status=409)
        draft = self._begin_with_new(by)
        draft.put_in_place(seat, by, can_talk=can_talk)
        if media_seen:
            draft.media_seen.add(by)
            if by == draft.taker:
                self._ready(draft, now)
        return self._finish(draft, f"{party.role.value} {seat} replaced by {by}")

    def detach(self, seat: int, now: float) -> Change:
        """Let a supervisor go; an agent who was only listening has the call again."""
        if self.party(seat).role is not Role.SUPERVISOR:
            raise UsageError(f"seat {seat} is no supervisor: use leave")
        return self.leave(seat, now)

    def lost(self, seat: int, now: float) -> Change:
        """Take out somebody whose leg has vanished."""
        return self.leave(seat, now, cause="lost")

    # ------------------------------------------------------------ what changes

    def set_mode(self, seat: int, mode: Mode, now: float) -> Change:
        """Give a supervisor any mode, from any mode.

        `Mode.TAKEOVER` here is a cold takeover with the agent listening, so that any mode may
        follow; `takeover` sends the agent away unless told otherwise.

        Raises
        ------
        SupervisionRefused
            403 not authorised; 404 no such supervisor; 409 another takeover is under way, the leg
            is receive-only or silent so far, or the customer would be left with nobody.
        """
        party = self._supervisor(seat)
        draft = self._state.draft()
        if mode is party.mode and not (seat == draft.taker and draft.phase is not Phase.UNDOABLE):
            return Change(None)
        self._check(party, mode)
        if mode is Mode.TAKEOVER:
            if seat not in draft.media_seen:
                raise SupervisionRefused("nothing was heard from the supervisor yet", status=409)
            self._ask(draft, seat, now, Fate.LISTEN, 0.0)
        else:
            if seat == draft.taker:
                draft.step(Input.WITHDRAWN, now, "the supervisor chose another mode")
            draft.set_mode(seat, mode)
        before = party.mode.value if party.mode else ""
        return self._finish(draft, f"supervisor {seat}: {before} to {mode.value}", serve=True)

    def takeover(
        self, seat: int, now: float, *, fate: Fate = Fate.LEAVE, overlap_s: float = 0.0
    ) -> Change:
        """Begin to take the call over, or to rescue a customer whose agent is gone.

        Done at once when the supervisor has been heard, else when `media_seen` says so.

        Parameters
        ----------
        fate
            What becomes of the agent.
        overlap_s
            Seconds in which supervisor and agent both speak first; at most 10.
        """
        party = self._supervisor(seat)
        if not 0 <= overlap_s <= LONGEST_OVERLAP_S:
            raise UsageError(f"overlap_s is {overlap_s}: use 0 to {LONGEST_OVERLAP_S:g} seconds")
        if party.mode is Mode.TAKEOVER:
            raise SupervisionRefused("this supervisor already has the call", status=409)
        self._check(party, Mode.TAKEOVER)
        draft = self._state.draft()
        self._ask(draft, seat, now, fate, overlap_s)
        return self._finish(draft, f"supervisor {seat} takes over: agent to {fate.value}")

    def hand_back(self, seat: int, now: float) -> Change:
        """Undo a takeover within `Limits.undo_s`, or withdraw one that is under way."""
        self._supervisor(seat)
        draft = self._state.draft()
        if seat != draft.taker or not draft.step(Input.HAND_BACK, now, "handed back"):
            raise SupervisionRefused("there is no takeover to hand back (any more)", status=409)
        return self._finish(draft, f"supervisor {seat} hands back", serve=True)

    def set_role(self, seat: int, role: Role) -> Change:
        """Make a customer an agent, or an agent a customer."""
        party = self.party(seat)
        if {party.role, role} - {Role.CUSTOMER, Role.AGENT}:
            raise UsageError(f"a {party.role.value} can't become a {role.value}")
        draft = self._state.draft()
        if role is not party.role:
            draft.parties[seat] = replace(party, role=role, fate=None)
            draft.facts.append(changes.RoleChanged(seat, party.role, role))
        return self._finish(draft, f"seat {seat} is now {role.value}")

    def hold(self, seat: int, on: bool) -> Change:
        """Put somebody on hold: they hear prompts only, and only supervisors hear them."""
        party = self.party(seat)
        draft = self._state.draft()
        draft.parties[seat] = replace(party, held=on)
        return self._finish(draft, f"seat {seat} {'on hold' if on else 'resumed'}")

    def mute(self, seat: int, on: bool) -> Change:
        """Let nobody hear somebody, or let them be heard again."""
        party = self.party(seat)
        draft = self._state.draft()
        draft.parties[seat] = replace(party, muted=on)
        return self._finish(draft, f"seat {seat} {'muted' if on else 'unmuted'}")

    def set_can_talk(self, seat: int, can_talk: bool) -> Change:
        """Follow a leg's renegotiated direction."""
        party = self.party(seat)
        draft = self._state.draft()
        draft.parties[seat] = replace(party, can_talk=can_talk)
        return self._finish(draft, f"seat {seat} {'can' if can_talk else 'cannot'} talk")

    def set_level(self, listener: int, talker: int, gain: int) -> Change:
        """Set the Q15 gain of one pair for as long as the policy opens it; it can't open it."""
        self.party(listener)
        self.party(talker)
        if not 0 <= gain <= LOUDEST:
            raise UsageError(f"gain {gain} is outside 0 to {LOUDEST} (Q15, 32768 is 1.0)")
        draft = self._state.draft()
        draft.levels[listener, talker] = gain
        return self._finish(draft, f"level of {talker} for {listener}: {gain}")

    # ------------------------------------------------------------ what happens

    def media_seen(self, seat: int, now: float) -> Change:
        """Note that RTP has come from a leg; a takeover that waited for it goes on."""
        if seat not in self._state.parties:
            return Change(None)
        if seat != self._state.taker:  # nearly always: nothing waits for it
            self._state.media_seen.add(seat)
            return Change(None)
        draft = self._state.draft()
        draft.media_seen.add(seat)
        self._ready(draft, now)
        return self._finish(draft, f"media of {seat} seen")

    def advance(self, now: float) -> Change:
        """Do what was due by `now`."""
        draft = self._state.draft()
        if draft.deadline is None or now < draft.deadline:
            return Change(None)
        phase = draft.phase
        draft.step(Input.TIME_OUT, now, "nothing was heard from the supervisor")
        return self._finish(draft, f"takeover: {phase.value} is over")

    # ------------------------------------------------------------------ within

    def _begin_with_new(self, seat: int) -> State:
        draft = self._state.draft()
        if draft.phase is Phase.OVER:
            raise SupervisionRefused("the conversation is over", status=409)
        if seat in draft.parties:
            raise UsageError(f"seat {seat} is in this call already")
        return draft

    def _supervisor(self, seat: int) -> Party:
        party = self.party(seat)
        if party.role is not Role.SUPERVISOR:
            raise SupervisionRefused(f"seat {seat} is no supervisor", status=404)
        if self._state.phase is Phase.OVER:
            raise SupervisionRefused("the conversation is over", status=409)
        return party

    def _check(self, party: Party, mode: Mode) -> None:
        if not self._authorise(party.seat, mode):
            raise SupervisionRefused(f"not allowed to {mode.value}", status=403)
        if mode is not Mode.MONITOR and not party.can_talk:
            raise SupervisionRefused("a receive-only leg can only monitor", status=409)

    @staticmethod
    def _make_agent(draft: State, seat: int) -> None:
        party = draft.parties.get(seat)
        if party is None:
            raise SupervisionRefused(f"agent {seat} is not in this call", status=404)
        if party.role is Role.CUSTOMER:
            draft.parties[seat] = replace(party, role=Role.AGENT)
            draft.facts.append(changes.RoleChanged(seat, Role.CUSTOMER, Role.AGENT))
        elif party.role is not Role.AGENT:
            raise UsageError(f"seat {seat} is a {party.role.value} and can't be the agent")

    def _ask(self, draft: State, seat: int, now: float, fate: Fate, overlap_s: float) -> None:
        if draft.phase is not Phase.IDLE:
            raise SupervisionRefused("another takeover is in progress", status=409)
        draft.taker, draft.fate, draft.overlap_s = seat, fate, overlap_s
        draft.step(Input.ASKED, now)
        if seat in draft.media_seen:
            self._ready(draft, now)

    @staticmethod
    def _ready(draft: State, now: float) -> None:
        warm = draft.overlap_s > 0 and draft.agent_is_there()
        draft.step(Input.READY_WARM if warm else Input.READY, now)

    def _finish(self, draft: State, why: str, *, serve: bool = False) -> Change:
        """Settle the draft, check it, and make it the state.

        With `serve` set the change is refused if it would leave the customers with nobody.
        """
        draft.settle()
        if serve and draft.orphans and not self._state.orphans:
            text = "the customer would be left with nobody: stay in barge or takeover"
            raise SupervisionRefused(text, status=409)
        routing = draft.routing()
        validate(tuple(draft.parties.values()), routing.gains)
        facts = (*draft.facts, *draft.modes_since(self._state))
        orders = tuple(draft.orders)
        commit = None if routing == self._routing else routing
        self._state, self._routing = draft, routing
        return Change(commit, facts, orders, why)
