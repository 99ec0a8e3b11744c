"""Who sits in a bridge: coming, going, taking another's place, and moving to another bridge."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from ..errors import SupervisionRefused, UsageError
from ..supervision import Anchor, Change, Follow, Mode, Role, SupervisedCall
from ..supervision.anchor import FOLLOW, moved
from .router import Router
from .supervising import Supervision

if TYPE_CHECKING:
    from .leg import Leg
    from .recording import Recording
    from .scope import Scope
    from .switchboard import Switchboard

TRANSFERRED = 'SIP;cause=200;text="Call transferred"'  # RFC 3326
ALONE = 'SIP;cause=200;text="Call completed"'


class Seating(ABC):
    """The seats of a bridge; `Bridge` is what programs hold."""

    def __init__(
        self, board: Switchboard, number: int, *, until_empty: bool, limiter: bool | None = None
    ) -> None:
        self.id = f"bridge-{number}"
        self.number = number
        self.call = SupervisedCall()
        self.recording: Recording | None = None
        self._board = board
        self._until_empty = until_empty
        self._until_alone = False
        self._expected = 0  # transfers under way that bring somebody here
        self._ending: asyncio.Task[None] | None = None
        self._legs: dict[int, Leg] = {}
        self._names: dict[int, str] = {}  # of seats, until their leaving has been told
        self._supervisions: dict[int, Supervision] = {}
        limited = board.config.soft_limiter if limiter is None else limiter
        self.router = Router(board, number, self.call, self._tell, limited=limited)
        self._closed = False
        self._measuring = False

    @abstractmethod
    def _tell(self, change: Change, who: str, sample: int) -> None:
        """Publish what a change did."""

    @abstractmethod
    async def supervise(
        self, supervisor: Leg, *, agent: Leg | None = None, mode: Mode = Mode.MONITOR, who: str = ""
    ) -> Supervision:
        """Attach a supervisor."""

    @abstractmethod
    def _measure(self, leg: Leg, on: bool) -> None:
        """Begin or end to measure how loud a leg is."""

    @abstractmethod
    async def close(self) -> None:
        """End recording and supervision; the legs live on and hear nobody."""

    # -------------------------------------------------------------------- reading

    @property
    def legs(self) -> tuple[Leg, ...]:
        """The legs in the bridge, in the order in which they came."""
        return tuple(self._legs.values())

    @property
    def supervisions(self) -> tuple[Supervision, ...]:
        """The supervisors at work here."""
        return tuple(self._supervisions.values())

    @property
    def is_shared(self) -> bool:
        """True for a room: a named bridge that belongs to everybody who finds it."""
        return self._until_empty

    @property
    def has_limiter(self) -> bool:
        """Whether who talks too loudly together is turned down here, instead of clipped."""
        return self.router.limited

    @property
    def is_closed(self) -> bool:
        """True once the bridge has been closed."""
        return self._closed

    def role(self, leg: Leg) -> Role:
        """Return what a leg is in this conversation."""
        return self.call.party(leg.number).role

    def speakers(self, *, without: Leg | None = None) -> list[Leg]:
        """Return who is in the conversation, supervisors left out."""
        return [
            leg
            for leg in self._legs.values()
            if leg is not without and leg.number not in self._supervisions
        ]

    # ----------------------------------------------------------------- membership

    def check(self, leg: Leg) -> None:
        """Raise a `UsageError` for a leg that can't be in this bridge."""
        if self._closed:
            raise UsageError(f"{self.id} is closed")
        if not leg.is_open:
            raise UsageError(f"{leg.id} is closed: it can't join a bridge")
        if leg.bridge is not None:
            raise UsageError(f"{leg.id} is in {leg.bridge.id}: remove it there first")

    async def add(self, *legs: Leg, role: Role = Role.CUSTOMER) -> None:
        """Let legs in, at one tick; returns when they are heard.

        Parameters
        ----------
        role
            What they are in the conversation. Legs in one role hear each other.
        """
        change = Change(None)
        for leg in legs:
            self.check(leg)
            change = change.then(self.call.join(leg.number, role))
            self._seat(leg)
        await self.apply(change)

    async def remove(self, leg: Leg) -> None:
        """Take a leg out; its call goes on and it hears nobody."""
        if leg.number not in self._legs:
            raise UsageError(f"{leg.id} is not in {self.id}")
        self._unseat(leg, "removed")
        await self.router.settled()

    async def replace(self, leg: Leg, by: Leg, *, who: str = "") -> None:
        """Give a leg's place to another: its role, mode and levels, in one matrix at one tick.

        The call of the leg before goes on, and hears nobody.

        Raises
        ------
        SupervisionRefused
            The place can't be taken: an agent who is being sent away, a receive-only leg for a
            supervisor who speaks. Nothing has changed.
        """
        if leg.number not in self._legs:
            raise UsageError(f"{leg.id} is not in {self.id}")
        self.check(by)
        now, talks = self._board.now, can_talk(by)
        change = self.call.replace(
            leg.number, by.number, now, can_talk=talks, media_seen=by.media_seen
        )
        supervision = self._supervisions.pop(leg.number, None)
        if supervision is not None:
            supervision.moved(by)
            self._supervisions[by.number] = supervision
        self._forget_seat(leg)
        self._seat(by)
        reached = self.apply(change, who)
        for watching in tuple(self._supervisions.values()):
            if watching.follow_replaced(leg, by) is Follow.END:
                self._spawn(watching.finish(TRANSFERRED))
        await reached

    def leg_lost(self, leg: Leg, cause: str) -> None:
        """A leg hung up or vanished."""
        if leg.number in self._legs:
            self._unseat(leg, cause)

    def media_seen(self, leg: Leg) -> None:
        """A leg in the bridge has been heard for the first time."""
        self.apply(self.call.media_seen(leg.number, self._board.now))

    def apply(self, change: Change, who: str = "") -> asyncio.Future[int]:
        """Send a change to the mixer; the future gives the sample at which it was in force."""
        return self.router.apply(change, who)

    def _seat(self, leg: Leg) -> None:
        self._legs[leg.number] = leg
        self._names[leg.number] = leg.id
        leg.bridge = self  # type: ignore[assignment]
        if self.recording is not None:
            self.recording.add_leg(leg)
        if self._measuring:
            self._measure(leg, True)

    def _forget_seat(self, leg: Leg) -> None:
        if self.recording is not None:
            self.recording.remove_leg(leg)
        self._legs.pop(leg.number, None)
        leg.bridge = None
        if self._measuring and leg.is_open:
            self._measure(leg, False)

    def _unseat(self, leg: Leg, cause: str) -> None:
        supervision = self._supervisions.pop(leg.number, None)
        if supervision is not None:
            supervision.ended(cause)
        lost = cause not in ("removed", "remote-bye", "local-bye")
        change = (self.call.lost if lost else self.call.leave)(leg.number, self._board.now)
        self._forget_seat(leg)
        self.apply(change)
        self._consider_ending()

    # -------------------------------------------------------------------- endings

    def outlive(self, scope: Scope | None) -> None:
        """Belong to the conversation from now on, no longer to the handler that made it.

        A transfer takes the one away for whom the handler waits. The bridge and those of its legs
        that this handler owns stay, until only one leg is left.
        """
        if not self._until_empty:
            self._until_alone = True
        if scope is None:
            return
        scope.let_go(self)
        for leg in self._legs.values():
            leg.leave_scope(scope)

    def expect(self) -> None:
        """Wait for somebody who is being called, even with nobody but one left here."""
        self._expected += 1

    def expected(self) -> None:
        """Who was waited for is here, or will not come."""
        self._expected -= 1
        self._consider_ending()

    def _consider_ending(self) -> None:
        if self._ending is not None or self._closed or self._expected:
            return
        if not self._legs and (self._until_empty or self._until_alone):
            self._board.bridges.remove(self.number)  # nobody may find it any more
            self._ending = asyncio.get_running_loop().create_task(self.close())
        elif self._until_alone and len(self._legs) == 1:
            (last,) = self._legs.values()
            self._spawn(last.hangup(ALONE))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        self._board.spawn(work)

    # --------------------------------------------------------------------- moving

    async def absorb(
        self, other: Seating, *, place: Leg | None, leaving: Leg, who: str = ""
    ) -> None:
        """Let the conversation of another bridge go on in this one.

        Parameters
        ----------
        place
            A leg here whose place, role and all, goes to the first who comes. None: all come with
            the role that they had.
        leaving
            The leg of the other bridge that does not come along.

        Raises
        ------
        UsageError
            There is nobody to come, or this bridge is closed.
        """
        coming = other.speakers(without=leaving)
        if not coming or self._closed:
            raise UsageError(f"nobody can go from {other.id} to {self.id}")
        roles = {leg.number: other.role(leg) for leg in coming}
        watching = other.take_supervisors(coming)
        recording = other.hand_over_recording(self)
        for leg in sorted(coming, key=lambda leg: roles[leg.number] is Role.CUSTOMER):
            other.give_away(leg)  # customers last: without them the conversation there is over
        if recording is not None:
            recording.go_on_in(self)
        if place is not None and place.number in self._legs:
            await self.replace(place, coming[0], who=who)
            coming = coming[1:]
        change = Change(None)
        for leg in coming:
            if leg.is_open:
                change = change.then(self.call.join(leg.number, roles[leg.number]))
                self._seat(leg)
        reached = self.apply(change, who)
        for supervision, mode in watching:
            self._take_in(supervision, mode)
        await reached

    def give_away(self, leg: Leg) -> None:
        """Let a leg go to another bridge."""
        self._unseat(leg, "removed")

    def take_supervisors(self, going: list[Leg]) -> list[tuple[Supervision, Mode]]:
        """Let go the supervisors who go along with those who go, and end those who are done."""
        roles = {self.role(leg) for leg in going}
        happened = moved(agent=Role.AGENT in roles, customer=Role.CUSTOMER in roles)
        along = []
        for seat, supervision in tuple(self._supervisions.items()):
            mode = supervision.mode
            if happened is None or mode is None:
                continue
            follow = FOLLOW[supervision.anchor, happened]
            if follow is Follow.END:
                self._spawn(supervision.finish(TRANSFERRED))
            elif follow is Follow.MOVE:
                del self._supervisions[seat]
                self._unseat(supervision.leg, "removed")
                along.append((supervision, mode))
        return along

    def hand_over_recording(self, other: Seating) -> Recording | None:
        """Give the recording of a conversation that goes on elsewhere to where it goes on."""
        if other.recording is not None or self.recording is None:
            return None
        recording, self.recording = self.recording, None
        return recording

    def _take_in(self, supervision: Supervision, mode: Mode) -> None:
        """Attach a supervisor who came along, in the mode that was; never heard by more people."""
        leg = supervision.leg
        if not leg.is_open:
            supervision.ended("gone")
            return
        # A takeover silences agents; those of another conversation have not been taken over.
        start = Mode.BARGE if mode is Mode.TAKEOVER else mode
        try:
            change = self.call.attach(
                leg.number,
                start,
                self._board.now,
                can_talk=can_talk(leg),
                media_seen=leg.media_seen,
            )
        except SupervisionRefused as refused:
            supervision.ended(str(refused))
            self._spawn(leg.hangup(TRANSFERRED))
            return
        supervision.bridge = self  # type: ignore[assignment]
        self._supervisions[leg.number] = supervision
        self._seat(leg)
        self.apply(change, supervision.who)


def can_talk(leg: Leg) -> bool:
    """Tell whether a leg's session lets us hear it."""
    negotiated = leg.media.negotiated
    return negotiated is None or negotiated.direction.receives


def anchored(bridge: Seating, anchor: Anchor, agent: Leg | None) -> set[int]:
    """Return the seats to which a supervision is anchored."""
    if anchor is Anchor.AGENT and agent is not None:
        return {agent.number}
    role = {Anchor.AGENT: Role.AGENT, Anchor.CUSTOMER: Role.CUSTOMER}.get(anchor)
    return {party.seat for party in bridge.call.parties if party.role is role}
