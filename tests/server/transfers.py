"""A server with phones that transfer calls, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import rtpmix
from rtpmix.testing import PhoneState, TonePhone, VirtualNet, run
from rtpmix.testing.servers import HOST, virtual_server

AGENT, CUSTOMER, TARGET, COACH = TONES = (437.0, 1013.0, 1693.0, 2411.0)


class Stage:
    """A customer who was connected to an agent, a target to transfer to, and a coach.

    The agent has two telephones at one address, since a test phone has one line.
    """

    def __init__(self, **config: Any) -> None:
        self.net = VirtualNet(seed=11, delay_ms=6)
        self.server = virtual_server(self.net, **config)
        self.agent = TonePhone("agent", host="192.0.2.10", port=5060, frequency=AGENT)
        self.second = TonePhone("agent", host="192.0.2.10", port=5070, frequency=AGENT, seed=2)
        self.customer = TonePhone("customer", host="192.0.2.20", port=5060, frequency=CUSTOMER)
        self.target = TonePhone("target", host="192.0.2.30", port=5060, frequency=TARGET)
        self.coach = TonePhone("coach", host="192.0.2.40", port=5060, frequency=COACH)
        self.phones = (self.agent, self.second, self.customer, self.target, self.coach)
        self.events: list[rtpmix.Event] = []
        self.owner = "customer"  # whose handler owns the call

    async def connect(self, *, roles: bool = False) -> None:
        """Connect customer and agent; the call belongs to the handler of `owner`."""
        ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        caller, callee = (
            (self.customer, self.agent) if self.owner == "customer" else (self.agent, self.customer)
        )

        @self.server.on_invite
        async def answer(call: rtpmix.IncomingCall) -> None:
            if call.target != "help":
                await self.consult(call)
                return
            first = await call.answer()
            second = await self.server.invite(callee.uri)
            legs = (first, second) if self.owner == "customer" else (second, first)
            self.customer_leg, self.agent_leg = legs
            if roles:
                self.bridge = await self.server.bridge(self.customer_leg)
                await self.bridge.add(self.agent_leg, role=rtpmix.Role.AGENT)
            else:
                self.bridge = await self.server.bridge(*legs)
            ready.set_result(None)
            await first.closed()

        self.server.bus.call(self.events.append)
        await caller.call(f"sip:help@{HOST}")
        await ready
        await asyncio.sleep(0.5)

    async def consult(self, call: rtpmix.IncomingCall) -> None:
        """Connect the agent's second call to the target, or anybody to a room."""
        if call.target.startswith("room"):
            leg = await call.answer()
            bridge = self.server.find_bridge(call.target)
            if bridge is None:
                bridge = await self.server.bridge(name=call.target)
            await bridge.add(leg)
            await leg.closed()
            return
        target = await self.server.invite(self.target.uri)
        leg = await call.answer()
        await self.server.bridge(leg, target)
        await leg.closed()

    async def supervise(
        self, mode: rtpmix.Mode, anchor: rtpmix.Anchor = rtpmix.Anchor.CONVERSATION
    ) -> rtpmix.Supervision:
        """Let the coach in."""
        leg = await self.server.invite(self.coach.uri)
        await asyncio.sleep(0.2)
        return await self.bridge.supervise(leg, agent=self.agent_leg, mode=mode, anchor=anchor)

    def heard(self, *phones: TonePhone) -> tuple[set[float], ...]:
        """Return the tones that these phones heard in the last second."""
        return tuple(phone.hears(*TONES) for phone in phones)

    def facts(self) -> list[str]:
        """Return the supervision facts so far."""
        return [e.fact for e in self.events if isinstance(e, rtpmix.SupervisionEvent)]

    def of(self, kind: type[Any]) -> list[Any]:
        """Return the events of one kind so far."""
        return [event for event in self.events if isinstance(event, kind)]

    def server_dialogs(self) -> dict[Any, Any]:
        """Return the dialogs of the server's user agent, by their identity."""
        board = self.server._started()
        return dict(board.agent._core.dialogs)

    def invites_to(self, phone: TonePhone) -> list[bytes]:
        """Return the INVITEs that a phone is sent from now on."""
        seen: list[bytes] = []
        self.net.observe(
            lambda sent: (
                seen.append(sent.data)
                if sent.destination == (phone.host, phone.port) and sent.data[:6] == b"INVITE"
                else None
            )
        )
        return seen


def allow_all(request: rtpmix.TransferRequest) -> bool:
    return True


def perform(
    play: Callable[[Stage], Awaitable[Any]],
    *,
    policy: Callable[[rtpmix.TransferRequest], bool] | None = allow_all,
    stage: Stage | None = None,
    **config: Any,
) -> Any:
    """Play to the end; when the customer has hung up nothing at all may be left."""
    stage = stage or Stage(**config)
    if policy is not None:
        stage.server.on_transfer(policy)

    async def main() -> Any:
        async with stage.server:
            for phone in stage.phones:
                await phone.open()
            try:
                result = await play(stage)
                if stage.customer.state is not PhoneState.IDLE:
                    stage.customer.bye()
                await asyncio.sleep(45)  # longer than any transaction lives
                left = stage.server.snapshot()
                assert left["legs"] == left["bridges"] == left["handlers"] == 0, left
                assert left["media"]["legs"] == 0
                assert left["transfers"]["under_way"] == left["sip"]["subscriptions"] == 0
                assert not any(left["sip"][name] for name in ("calls", "dialogs", "requests"))
                assert [phone.state for phone in stage.phones] == [PhoneState.IDLE] * 5
            finally:
                for phone in stage.phones:
                    await phone.close()
        return result

    return run(main(), stage.net, limit=900)
