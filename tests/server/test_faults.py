"""Invariant 4: a fault at any await of attaching a supervisor leaves who hears whom as it was.

The operation is driven step by step and broken off at its first await, its second, and so on until
it runs to its end without reaching another.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import Any

import pytest

import rtpmix
from rtpmix.supervision import fold
from rtpmix.testing import PhoneState, TonePhone, VirtualNet, run
from rtpmix.testing.servers import virtual_server

AGENT, CUSTOMER, COACH = TONES = (437.0, 1013.0, 1693.0)
FAULTS = [asyncio.CancelledError, OSError, RuntimeError]


class Break:
    """Awaits something, and raises a fault inside it in place of its n-th wait."""

    def __init__(self, work: Coroutine[Any, Any, Any], nth: int, fault: type[BaseException]):
        self._work = work
        self._nth = nth
        self._fault = fault
        self.waits = 0

    def __await__(self) -> Generator[Any, Any, Any]:
        work = self._work
        try:
            waiting = work.send(None)
            while True:
                if self.waits == self._nth:
                    if self._fault is asyncio.CancelledError and waiting is not None:
                        waiting.cancel()  # as a task that is cancelled does
                    self.waits += 1
                    waiting = work.throw(self._fault())
                else:
                    self.waits += 1
                    # What is waited for may fail, or this task may be cancelled: it must know.
                    try:
                        value = yield waiting
                    except BaseException as error:
                        waiting = work.throw(error)
                    else:
                        waiting = work.send(value)
        except StopIteration as end:
            return end.value


class Scene:
    """A customer and an agent who talk, and a coach whose phone is there."""

    def __init__(self) -> None:
        self.net = VirtualNet(seed=3, delay_ms=8)
        self.server = virtual_server(self.net)
        self.agent = TonePhone("agent", host="192.0.2.10", port=5060, frequency=AGENT)
        self.customer = TonePhone("customer", host="192.0.2.20", port=5060, frequency=CUSTOMER)
        self.coach = TonePhone("coach", host="192.0.2.30", port=5060, frequency=COACH)

    async def connect(self) -> None:
        self.customer_leg = await self.server.invite(self.customer.uri)
        self.agent_leg = await self.server.invite(self.agent.uri)
        self.bridge = await self.server.bridge(self.customer_leg, self.agent_leg)
        await asyncio.sleep(1)
        self.before = self.state()

    def state(self) -> Any:
        """Who hears whom: as asked for, as committed by the mixer, as a program sees it."""
        bridge = self.bridge
        return (
            bridge.matrix(),
            bridge.call.routing.seats,
            bridge.call.routing.gains,
            fold(bridge.routing_log.entries, 1 << 60),
            bridge.legs,
            bridge.supervisions,
        )

    async def check(self) -> None:
        """After a second everything is as it was, and so is what is heard."""
        await asyncio.sleep(1.5)
        assert self.state() == self.before
        assert self.agent.hears(*TONES) == {CUSTOMER}
        assert self.customer.hears(*TONES) == {AGENT}


def act(play: Callable[[Scene], Awaitable[int]]) -> int:
    scene = Scene()

    async def main() -> int:
        async with scene.server, scene.agent, scene.customer, scene.coach:
            await scene.connect()
            return await play(scene)

    return run(main(), scene.net, limit=600)


@pytest.mark.parametrize("mode", [rtpmix.Mode.MONITOR, rtpmix.Mode.WHISPER, rtpmix.Mode.BARGE])
@pytest.mark.parametrize("fault", FAULTS)
def test_fault_at_any_await_of_supervise_leaves_the_matrix_as_it_was(
    mode: rtpmix.Mode, fault: type[BaseException]
) -> None:
    async def play(scene: Scene) -> int:
        coach = await scene.server.invite(scene.coach.uri)
        await asyncio.sleep(0.5)
        for nth in range(20):
            work = scene.bridge.supervise(coach, agent=scene.agent_leg, mode=mode)
            attempt = Break(work, nth, fault)
            try:
                supervision = await attempt
            except fault:
                await scene.check()
                assert coach.bridge is None
                continue
            assert attempt.waits <= nth
            await supervision.stop()
            await scene.check()
            return nth
        raise AssertionError("supervise never came to its end")

    assert act(play) >= 1


@pytest.mark.parametrize("fault", FAULTS)
def test_fault_at_any_await_of_invite_leaves_no_leg_and_no_matrix_behind(
    fault: type[BaseException],
) -> None:
    async def play(scene: Scene) -> int:
        legs = scene.server.legs
        for nth in range(50):
            attempt = Break(scene.server.invite(scene.coach.uri), nth, fault)
            try:
                leg = await attempt
            except fault:
                await scene.check()
                assert scene.server.legs == legs
                assert scene.coach.state is PhoneState.IDLE
                continue
            assert attempt.waits <= nth
            await leg.hangup()
            await scene.check()
            return nth
        raise AssertionError("invite never came to its end")

    assert act(play) >= 1


def test_invite_cancelled_at_any_moment_leaves_no_leg_and_no_matrix_behind() -> None:
    """Every 2 ms of a call that takes 40 to be answered."""

    async def play(scene: Scene) -> int:
        legs, answered = scene.server.legs, 0
        for moment in range(0, 80, 2):
            task = asyncio.ensure_future(scene.server.invite(scene.coach.uri))
            await asyncio.sleep(moment / 1000)
            if task.cancel():
                with pytest.raises(asyncio.CancelledError):
                    await task
            else:
                answered += 1
                await (await task).hangup()
            await scene.check()
            assert scene.server.legs == legs
            assert scene.coach.state is PhoneState.IDLE
        return answered

    assert 0 < act(play) < 39
