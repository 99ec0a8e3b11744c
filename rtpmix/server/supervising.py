"""A supervisor at work: the handle that programs hold, and the events that tell of it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from ..errors import SupervisionRefused
from ..events import Event, ModeChanged, SupervisionEvent
from ..supervision import (
    CALL_OVER_REASON,
    FOLLOW,
    AgentRestored,
    Anchor,
    Change,
    CustomerOrphaned,
    CustomerRescued,
    Fact,
    Fate,
    Follow,
    Joined,
    Left,
    Mode,
    Moved,
    Over,
    Replaced,
    Role,
    RoleChanged,
    TakenOver,
    TakeoverAborted,
    TakeoverBegan,
)
from ..supervision import ModeChanged as ModeFact

if TYPE_CHECKING:
    from .bridge import Bridge
    from .leg import Leg
    from .switchboard import Switchboard


class Supervision:
    """One supervisor in one bridge; made by `Bridge.supervise`.

    Attributes
    ----------
    id
        Name in events and on the command line, "supervision-12".
    leg
        The supervisor's leg.
    who
        Who asked for the supervision.
    anchor
        Whom it follows when the call is transferred.
    """

    def __init__(self, board: Switchboard, bridge: Bridge, leg: Leg, who: str) -> None:
        self.id = f"supervision-{leg.number}"
        self.leg = leg
        self.bridge = bridge
        self.who = who
        self._board = board
        self._changed: ModeChanged | None = None
        self._taking: asyncio.Future[None] | None = None
        self._ended = False
        self.anchor = Anchor.CONVERSATION
        self._anchored: set[int] = set()
        self.ends_with_leg = False  # hang the supervisor up when the supervision is over

    def __repr__(self) -> str:
        return f"<Supervision {self.id} {self.mode.value if self.mode else 'ended'}>"

    @property
    def mode(self) -> Mode | None:
        """The mode last asked for; None when the supervision is over."""
        return None if self._ended else self.bridge.call.party(self.leg.number).mode

    async def set_mode(self, mode: Mode) -> ModeChanged | None:
        """Change the mode; returns when it is in force, with the matrix that is.

        Returns None when that mode was in force already.  `Mode.TAKEOVER` here keeps the agent
        listening; `takeover` gives the choice.

        Raises
        ------
        SupervisionRefused
            Nothing has changed.
        """
        self._check()
        self._changed = None
        change = self.bridge.call.set_mode(self.leg.number, mode, self._board.now)
        await self.bridge.apply(change, self.who)
        return self._changed

    async def takeover(self, *, fate: Fate = Fate.LEAVE, overlap_s: float = 0.0) -> None:
        """Take the call over; returns when the supervisor speaks in the agent's place.

        Parameters
        ----------
        fate
            What becomes of the agent: `Fate.LEAVE` hears a goodbye and is hung up, `Fate.LISTEN`
            hears the call on.
        overlap_s
            Seconds in which both speak first, 0 to 10.

        Raises
        ------
        SupervisionRefused
            Not allowed, another takeover is in progress, or nothing was heard from the supervisor;
            nothing has changed.
        """
        self._check()
        now = self._board.now
        change = self.bridge.call.takeover(self.leg.number, now, fate=fate, overlap_s=overlap_s)
        self._taking = asyncio.get_running_loop().create_future()
        try:
            await self.bridge.apply(change, self.who)
            await self._taking
        finally:
            self._taking = None

    async def hand_back(self) -> None:
        """Undo a takeover while it can be undone: the agent, if still there, has the call again."""
        self._check()
        await self.bridge.apply(
            self.bridge.call.hand_back(self.leg.number, self._board.now), self.who
        )

    async def stop(self) -> None:
        """Leave the conversation; the supervisor's call goes on and hears nobody."""
        if not self._ended:
            self.bridge.detach(self.leg)

    def _check(self) -> None:
        if self._ended:
            raise SupervisionRefused(f"{self.id} has ended", status=410)

    # ------------------------------------------------------ what the bridge tells

    def note(self, fact: Fact, event: Event | None) -> None:
        """Hear what happened in the conversation."""
        seat = self.leg.number
        if isinstance(fact, ModeFact) and fact.seat == seat and isinstance(event, ModeChanged):
            self._changed = event
        taking = self._taking
        if taking is None or taking.done():
            return
        if isinstance(fact, TakenOver) and fact.seat == seat:
            taking.set_result(None)
        elif isinstance(fact, TakeoverAborted) and fact.seat == seat:
            taking.set_exception(SupervisionRefused(f"the takeover failed: {fact.why}", status=409))

    def ended(self, cause: str) -> None:
        """The supervisor's leg left the bridge."""
        self._ended = True
        if self._taking is not None and not self._taking.done():
            self._taking.set_exception(SupervisionRefused(f"the takeover failed: {cause}"))
        if self.ends_with_leg and self.leg.is_open:
            self._board.spawn(self.leg.hangup(CALL_OVER_REASON))

    # --------------------------------------------------------------- through transfers

    def anchor_to(self, anchor: Anchor, seats: set[int]) -> None:
        """Say whom the supervision follows, and in which seats they are."""
        self.anchor = anchor
        self._anchored = seats

    def moved(self, leg: Leg) -> None:
        """Go on with another leg of the supervisor's."""
        self.leg = leg
        self.id = f"supervision-{leg.number}"

    def follow_replaced(self, leg: Leg, by: Leg) -> Follow:
        """Return what to do now that another leg has the place of one."""
        if self.anchor is Anchor.CONVERSATION or leg.number not in self._anchored:
            return Follow.STAY
        same = is_same_party(leg, by)
        self._anchored.discard(leg.number)
        if same:
            self._anchored.add(by.number)
        if self._anchored:
            return Follow.STAY  # it was one of several, or is the same person
        agent = self.anchor is Anchor.AGENT
        replaced = Moved.AGENT_REPLACED if agent else Moved.CUSTOMER_REPLACED
        return FOLLOW[self.anchor, replaced]

    async def finish(self, reason: str) -> None:
        """End the supervision, and the supervisor's call with it: nobody is left to listen to."""
        await self.stop()
        await self.leg.hangup(reason)


def is_same_party(one: Leg, other: Leg) -> bool:
    """Tell whether two legs are one person's: the same user, or, of strangers, the same host."""
    if one.user is not None or other.user is not None:
        return one.user == other.user
    return one.flow.remote[0] == other.flow.remote[0]


def fact_event(bridge: Bridge, fact: Fact, sample: int, change: Change) -> Event | None:
    """Return the public event for a fact of a change that is in force since ``sample``."""
    now = asyncio.get_running_loop().time()
    if isinstance(fact, ModeFact | Joined):
        return _mode_event(bridge, fact, sample, change, now)
    name, seat, detail = _describe(fact)
    if not name:
        return None
    leg = bridge.seat_name(seat) if seat is not None else None
    return SupervisionEvent(at=now, bridge=bridge.id, fact=name, leg=leg, detail=detail)


def _mode_event(
    bridge: Bridge, fact: ModeFact | Joined, sample: int, change: Change, now: float
) -> Event:
    if isinstance(fact, Joined) and fact.role is not Role.SUPERVISOR:
        leg = bridge.seat_name(fact.seat)
        return SupervisionEvent(
            at=now, bridge=bridge.id, fact="joined", leg=leg, detail=fact.role.value
        )
    routing = change.commit or bridge.call.routing
    return ModeChanged(
        at=now,
        bridge=bridge.id,
        supervision=f"supervision-{fact.seat}",
        supervisor=bridge.seat_name(fact.seat),
        before=None if isinstance(fact, Joined) else fact.before,
        after=fact.mode if isinstance(fact, Joined) else fact.after,
        sample=sample,
        legs=tuple(bridge.seat_name(seat) for seat in routing.seats),
        gains=routing.gains,
        why=change.why,
    )


def _describe(fact: Fact) -> tuple[str, int | None, str]:
    match fact:
        case Left(seat=seat, role=role, cause=cause):
            return "left", seat, f"{role.value} {cause}"
        case Replaced(seat=seat, before=former, role=role):
            return "replaced", seat, f"{role.value}, in the place of leg-{former}"
        case RoleChanged(seat=seat, before=before, after=after):
            return "role-changed", seat, f"{before.value} to {after.value}"
        case TakeoverBegan(seat=seat, fate=fate, overlap_s=overlap_s):
            return "takeover-began", seat, f"agent to {fate.value}, overlap {overlap_s:g} s"
        case TakeoverAborted(seat=seat, why=why):
            return "takeover-aborted", seat, why
        case TakenOver(seat=seat, fate=fate):
            return "taken-over", seat, f"agent to {fate.value}"
        case AgentRestored(seat=seat):
            return "agent-restored", seat, ""
        case CustomerOrphaned(seats=seats):
            return "customer-orphaned", seats[0] if seats else None, ""
        case CustomerRescued(seats=seats):
            return "customer-rescued", seats[0] if seats else None, ""
        case Over():
            return "over", None, ""
        case _:
            return "", None, ""
