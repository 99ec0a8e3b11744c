"""What a supervision policy orders the shell to do: goodbyes, comfort tones, hanging up."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from ..errors import UsageError
from ..supervision import Comfort, EndComfort, Goodbye, HangUp, Order
from .playing import Playback, silence, tone

if TYPE_CHECKING:
    from .bridge import Bridge
    from .leg import Leg
    from .switchboard import Switchboard

# Two falling notes: what an agent hears whose call was taken over.
GOODBYE = tone(660, 0.25) + silence(0.05) + tone(495, 0.4) + silence(0.1)
# One soft beep in four seconds: what a customer hears whose agent is gone, so that the line is
# not taken for dead.
COMFORT = tone(425, 0.3, -26.0) + silence(3.7)


class Orders:
    """Carries out the orders of one bridge's policy, each in a task of its own."""

    def __init__(self, board: Switchboard, bridge: Bridge) -> None:
        self._board = board
        self._bridge = bridge
        self._comfort: list[Playback] = []
        self._tasks: set[asyncio.Task[None]] = set()

    def carry_out(self, order: Order) -> None:
        """Begin to do what was ordered."""
        if isinstance(order, Goodbye):
            self._spawn(self._goodbye(order))
        elif isinstance(order, Comfort):
            self._spawn(self._begin_comfort(order))
        elif isinstance(order, EndComfort):
            self._spawn(self._end_comfort())
        elif isinstance(order, HangUp) and (leg := self._leg(order.seat)) is not None:
            self._spawn(leg.hangup(order.reason))

    def _leg(self, seat: int) -> Leg | None:
        return self._board.legs.get(seat)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _goodbye(self, order: Goodbye) -> None:
        leg = self._leg(order.seat)
        if leg is None:
            return
        try:
            async with asyncio.timeout(order.within_s):
                playback = await self._bridge.play(GOODBYE, to=leg)
                await playback.finished()
        except (TimeoutError, UsageError):
            pass  # the prompt is a courtesy; the BYE must come either way
        await leg.hangup(order.reason)

    async def _begin_comfort(self, order: Comfort) -> None:
        await self._end_comfort()
        for seat in order.seats:
            leg = self._leg(seat)
            if leg is not None and leg.bridge is self._bridge:
                self._comfort.append(await self._bridge.play(COMFORT, to=leg, loop=True))

    async def _end_comfort(self) -> None:
        while self._comfort:
            await self._comfort.pop().stop()

    async def close(self) -> None:
        """Stop whatever is still being done."""
        for task in tuple(self._tasks):
            if task is not asyncio.current_task():
                task.cancel()
        await asyncio.gather(
            *(task for task in self._tasks if task is not asyncio.current_task()),
            return_exceptions=True,
        )
