"""Changes of a bridge's policy on their way to the mixer, and what is told when in force."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..errors import SupervisionRefused
from ..mixer.commands import CloseBridge, MatrixCommitted, MatrixReached, SetMatrix
from ..supervision import Change, Routing, RoutingLog, SupervisedCall

if TYPE_CHECKING:
    from .switchboard import Switchboard

Tell = Callable[[Change, str, int], None]
"""Called as ``tell(change, who, sample)`` once a change is in force."""


class _Commit:
    """A routing on its way."""

    __slots__ = ("change", "reached", "routing", "told", "who")

    def __init__(
        self, change: Change, routing: Routing, who: str, reached: asyncio.Future[int]
    ) -> None:
        self.change = change
        self.routing = routing
        self.who = who
        self.reached = reached
        self.told = False


class Router:
    """Commits the routings of one bridge, in order, each at one tick.

    Parameters
    ----------
    bridge
        The bridge's number in the engine.
    call
        The policy; its deadlines are watched here.
    tell
        Called when a change is in force.
    limited
        Whether the bridge has a limiter.
    """

    def __init__(
        self, board: Switchboard, bridge: int, call: SupervisedCall, tell: Tell, *, limited: bool
    ) -> None:
        self.log = RoutingLog()
        self.limited = limited
        self._board = board
        self._bridge = bridge
        self._call = call
        self._tell = tell
        self._commits: dict[int, _Commit] = {}
        self._deadline: asyncio.TimerHandle | None = None
        self._closed = False

    def apply(self, change: Change, who: str = "") -> asyncio.Future[int]:
        """Send a change to the mixer; the future gives the sample at which its ramp was over."""
        reached: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._watch_deadline()
        routing = change.commit
        if routing is None or self._closed:
            sample = self._board.host.sample
            reached.set_result(sample)
            self._tell(change, who, sample)
            return reached
        token = self._board.next_seat()
        self._commits[token] = _Commit(change, routing, who, reached)
        self._board.host.submit(
            SetMatrix(
                bridge=self._bridge,
                seats=routing.seats,
                gains=routing.gains,
                dtmf=routing.dtmf,
                ramp_ms=routing.ramp_ms,
                token=token,
                untimed=routing.private,
                limited=self.limited,
            )
        )
        return reached

    def matrix_event(self, event: MatrixCommitted | MatrixReached) -> None:
        """The mixer put a routing in force, or finished the ramp to it."""
        commit = self._commits.get(event.token)
        if commit is None:
            return
        if isinstance(event, MatrixReached):
            del self._commits[event.token]
            if not commit.reached.done():
                commit.reached.set_result(event.at)
            return
        commit.told = True
        self.log.append(event.at, commit.routing, who=commit.who, why=commit.change.why)
        self._tell(commit.change, commit.who, event.at)

    @property
    def untold(self) -> int:
        """How many routings were asked for and have not been told of as in force."""
        return sum(not commit.told for commit in self._commits.values())

    async def settled(self) -> None:
        """Wait until every routing asked for so far is in force."""
        waiting = [commit.reached for commit in self._commits.values()]
        if waiting:
            await asyncio.wait(waiting)

    def close(self) -> None:
        """Silence the bridge; whoever waits for a routing learns that it will not come."""
        self._closed = True
        if self._deadline is not None:
            self._deadline.cancel()
        self._board.host.submit(CloseBridge(self._bridge))
        for commit in self._commits.values():
            if not commit.reached.done():
                commit.reached.set_exception(
                    SupervisionRefused("the bridge was closed", status=410)
                )
                commit.reached.exception()  # whoever waits sees it; nobody else need
        self._commits.clear()

    def _watch_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        deadline = self._call.next_deadline()
        if deadline is not None and not self._closed:
            loop = asyncio.get_running_loop()
            self._deadline = loop.call_at(deadline, self._deadline_reached)

    def _deadline_reached(self) -> None:
        self.apply(self._call.advance(self._board.now))
