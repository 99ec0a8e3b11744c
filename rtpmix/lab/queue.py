"""A queue: customers wait in line, the free agents ring together, the first who answers wins."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection

from rtpmix import CallFailed, CapacityError, Leg

RETRY_S = 3.0  # between two rounds of ringing, when nobody answered

Invite = Callable[[str], Awaitable[Leg]]
"""Rings an agent's phones; cancelling it ends the ringing."""


class Queue:
    """One line, and who is busy on it.

    Parameters
    ----------
    agents
        Names of those who answer it.
    invite
        Rings one of them.
    is_busy
        Says whether an agent is in a call of any kind.
    """

    def __init__(
        self, agents: Collection[str], invite: Invite, is_busy: Callable[[str], bool]
    ) -> None:
        self._agents = tuple(agents)
        self._invite = invite
        self._is_busy = is_busy
        self._line = asyncio.Lock()  # its waiters are served in the order in which they came
        self.waiting = 0

    async def next_agent(self) -> Leg:
        """Wait for one's turn and for an agent, and return the agent's leg."""
        self.waiting += 1
        try:
            async with self._line:
                while True:
                    leg = await self._ring_everybody()
                    if leg is not None:
                        return leg
                    await asyncio.sleep(RETRY_S)
        finally:
            self.waiting -= 1

    async def _ring_everybody(self) -> Leg | None:
        """Ring all free agents; the first answer wins and the others stop ringing."""
        free = [agent for agent in self._agents if not self._is_busy(agent)]
        ringing = {asyncio.create_task(self._ring(agent)) for agent in free}
        try:
            while ringing:
                done, ringing = await asyncio.wait(ringing, return_when=asyncio.FIRST_COMPLETED)
                answered = [leg for task in done if (leg := task.result()) is not None]
                for late in answered[1:]:  # two answers in one turn of the loop
                    await late.hangup()
                if answered:
                    return answered[0]
            return None
        finally:
            await _stop(ringing)

    async def _ring(self, agent: str) -> Leg | None:
        try:
            return await self._invite(agent)
        except (CallFailed, CapacityError):
            return None  # busy, away, or not registered: the next round asks again


async def _stop(ringing: set[asyncio.Task[Leg | None]]) -> None:
    for task in ringing:
        task.cancel()
    for result in await asyncio.gather(*ringing, return_exceptions=True):
        if isinstance(result, Leg):  # answered in the moment in which it was cancelled
            await result.hangup()
