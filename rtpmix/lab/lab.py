"""The lab: what happens to each call, and what supervisors and the control socket can do."""

from __future__ import annotations

import asyncio
import contextvars
import secrets
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

import rtpmix
from rtpmix import Bridge, CallFailed, IncomingCall, Leg, Mode, Role, Supervision

from . import dialplan, sounds
from .calls import CallBook, LabCall
from .config import LabConfig, QueueConfig, User
from .queue import Queue

T = TypeVar("T")

RESCUE_S = 15.0  # in which an attached supervisor can save a customer whose agent has vanished
AUDIBLE_TO_CUSTOMERS = (Mode.BARGE, Mode.TAKEOVER)
#: Causes with which a leg ends that nobody chose: its customer goes back to the queue.
VANISHED = ("media-timeout", "dialog-lost", "transport", "ack-timeout")


class Lab:
    """A small PBX on one `rtpmix.Server`.

    Parameters
    ----------
    config
        Who is here and which numbers mean what.
    server
        The server; not started yet.
    say
        Gets one line for everything that whoever runs the lab should know.
    """

    def __init__(
        self,
        config: LabConfig,
        server: rtpmix.Server,
        say: Callable[[str], None] = lambda line: None,
    ) -> None:
        self.config = config
        self.server = server
        self.calls = CallBook()
        self._say = say
        self._rooms: dict[str, asyncio.Task[LabCall]] = {}
        self._queues = {name: self._make_queue(queue) for name, queue in config.queues.items()}
        self._coaching: set[asyncio.Task[None]] = set()
        self._happened = asyncio.Event()
        server.on_invite(self.serve)

    def watch(self) -> None:
        """Begin to follow the started server's events."""
        self.server.bus.call(self._on_event)

    async def close(self) -> None:
        """End what runs outside of calls; the server itself is closed by its owner."""
        for task in tuple(self._coaching):
            task.cancel()
        await asyncio.gather(*self._coaching, return_exceptions=True)

    def _on_event(self, event: rtpmix.Event) -> None:
        self._happened.set()
        if isinstance(event, rtpmix.RecordingStopped):
            state = "sealed" if event.sealed else "NOT sealed"
            gaps = f", {event.gaps} gaps" if event.gaps else ""
            self._say(f"recorded {event.path}: {event.duration_s:.0f} s, {state}{gaps}")
        elif isinstance(event, rtpmix.RecordingGap):
            self._say(f"recording lost {event.frames} frames: {event.reason}")

    async def until(self, true: Callable[[], bool]) -> None:
        """Wait until something is true that can only become so with an event."""
        while not true():
            self._happened.clear()
            await self._happened.wait()

    # ----------------------------------------------------------------- the dial plan

    async def serve(self, call: IncomingCall) -> None:
        """Serve one incoming call, from its INVITE to its end."""
        caller = self.config.users.get(call.identity) if call.identity else None
        match dialplan.plan(call.target, caller, self.config):
            case dialplan.EnterQueue(queue=queue):
                await self._enter_queue(call, self.config.queues[queue])
            case dialplan.EnterRoom(room=room):
                await self._enter_room(call, room)
            case dialplan.CallUser(user=user):
                await self._call_user(call, user)
            case dialplan.Supervise(user=user, mode=mode):
                await self._supervise_by_code(call, user, mode)
            case dialplan.Login():
                await call.challenge()
            case dialplan.Refuse(status=status, reason=reason):
                await call.reject(status, reason)

    def address_of(self, user: str) -> str:
        """Return a user's address of record."""
        return f"sip:{user}@{self.config.server.realm}"

    async def _call_user(self, call: IncomingCall, user: str) -> None:
        await call.ring()
        try:
            callee = await self.server.invite(self.address_of(user), caller=call.caller)
        except CallFailed as failed:
            await call.reject(failed.status, failed.reason or None)
            return
        caller = await call.answer()
        bridge = await self.server.bridge(caller, callee)
        entry = self.calls.open(bridge, "direct")
        entry.names[callee.id] = user
        try:
            await self._record(bridge, f"{entry.name_of(caller)}-{user}")
            await self.until(lambda: not _is_conversation(bridge))
        finally:
            self.calls.close(entry)

    # --------------------------------------------------------------------- the queue

    def _make_queue(self, queue: QueueConfig) -> Queue:
        def invite(agent: str) -> Awaitable[Leg]:
            return self.server.invite(self.address_of(agent), timeout_s=queue.ring_s)

        return Queue(queue.agents, invite, lambda agent: self.calls.call_of(agent) is not None)

    async def _enter_queue(self, call: IncomingCall, queue: QueueConfig) -> None:
        customer = await call.answer()
        bridge = await self.server.bridge(customer)
        entry = self.calls.open(bridge, f"queue {queue.name}")
        try:
            waiting = True
            while waiting and customer.is_open:
                waiting = await self._serve_customer(entry, customer, self._queues[queue.name])
        finally:
            self.calls.close(entry)

    async def _serve_customer(self, entry: LabCall, customer: Leg, queue: Queue) -> bool:
        """Find an agent and let them talk; True when the customer should wait for another."""
        bridge = entry.bridge
        music = await bridge.play(sounds.waiting_music(), to=customer, loop=True)
        agent = await self._while_open(customer, queue.next_agent())
        if agent is None:
            return False
        if bridge.recording is None:
            await self._record(bridge, agent.user or "queue")
        await music.stop()
        await bridge.add(agent, role=Role.AGENT)
        await self.until(lambda: not customer.is_open or not agent.is_open)
        if not customer.is_open:
            return False
        cause = (await agent.closed()).cause
        await self._be_served_by_supervisors(bridge, customer)
        return customer.is_open and cause in VANISHED

    async def _be_served_by_supervisors(self, bridge: Bridge, customer: Leg) -> None:
        """After the agent is gone: go on for as long as a supervisor talks to the customer."""
        if bridge.supervisions and not _is_served(bridge):
            try:
                async with asyncio.timeout(RESCUE_S):
                    await self.until(lambda: not customer.is_open or _is_served(bridge))
            except TimeoutError:
                return
        await self.until(lambda: not customer.is_open or not _is_served(bridge))

    async def _while_open(self, leg: Leg, work: Coroutine[Any, Any, T]) -> T | None:
        """Do something for as long as a leg is open; None when it closes first."""
        task = asyncio.ensure_future(work)
        try:
            await self._either(task, leg)
            return await task if task.done() else None
        finally:
            task.cancel()

    @staticmethod
    async def _either(task: asyncio.Future[Any], leg: Leg) -> None:
        closed = asyncio.ensure_future(leg.closed())
        try:
            await asyncio.wait({task, closed}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            closed.cancel()

    async def _record(self, bridge: Bridge, name: str) -> None:
        if not self.config.record:
            return
        plain = "".join(char if char.isalnum() else "-" for char in name)[:40]
        stamp = time.strftime("%Y%m%d-%H%M%S")
        path = self.config.recordings / f"{stamp}-{plain}-{secrets.token_hex(3)}"
        try:
            await bridge.record(path)
        except rtpmix.RecordingError as error:
            # The call is worth more than its recording, but nobody shall think there is one.
            self._say(f"NOT recording {bridge.id}: {error}")

    # --------------------------------------------------------------------- the rooms

    async def _enter_room(self, call: IncomingCall, room: str) -> None:
        leg = await call.answer()
        if room not in self._rooms:
            # In a context of its own: the bridge must not end with the first caller's handler.
            self._rooms[room] = asyncio.get_running_loop().create_task(
                self._open_room(room), context=contextvars.Context()
            )
        opening = self._rooms[room]
        entry = await asyncio.shield(opening)
        await entry.bridge.add(leg)
        await leg.closed()
        if not entry.bridge.legs and self._rooms.get(room) is opening:
            del self._rooms[room]
            self.calls.close(entry)
            await entry.bridge.close()

    async def _open_room(self, room: str) -> LabCall:
        bridge = await self.server.bridge(name=f"conf-{room}")
        return self.calls.open(bridge, f"room {room}")

    # --------------------------------------------------------------------- supervision

    async def _supervise_by_code(self, call: IncomingCall, user: str, mode: Mode) -> None:
        found = self.calls.call_of(user)
        if found is None:
            await call.reject(404, "Not On A Call")
            return
        entry, agent = found
        leg = await call.answer()
        try:
            supervision = await self._attach(entry, leg, agent, mode, who=call.caller)
        except rtpmix.SupervisionRefused as refused:
            self._say(f"supervision refused: {refused}")
            return
        await self._coach(leg, supervision)

    async def _attach(
        self, entry: LabCall, leg: Leg, agent: Leg, mode: Mode, *, who: str
    ) -> Supervision:
        start = Mode.MONITOR if mode is Mode.TAKEOVER else mode
        supervision = await entry.bridge.supervise(leg, agent=agent, mode=start, who=who)
        if mode is Mode.TAKEOVER:
            await supervision.takeover()
        return supervision

    async def _coach(self, leg: Leg, supervision: Supervision) -> None:
        """Follow a supervisor's keys until the call or the supervision ends."""
        keys = asyncio.ensure_future(self._follow_keys(leg, supervision))
        try:
            await self.until(lambda: not leg.is_open or leg.bridge is None)
        finally:
            keys.cancel()

    async def _follow_keys(self, leg: Leg, supervision: Supervision) -> None:
        async for key in leg.digits():
            mode = dialplan.MODE_KEYS.get(key)
            if mode is None:
                continue
            try:
                await supervision.set_mode(mode)
            except rtpmix.SupervisionRefused as refused:
                self._say(f"{supervision.id}: {mode.value} refused: {refused}")

    def _supervisor_called(self, address: str) -> User | None:
        """Return the user behind an address, None for somebody from elsewhere."""
        name, _, host = address.removeprefix("sip:").partition("@")
        known = {self.config.server.realm, self.server.sip_address.rpartition(":")[0]}
        if host.partition(";")[0] in known or not host:
            return self.config.user_called(name)
        return None

    async def supervise(self, call: str, address: str, mode: Mode) -> Supervision:
        """Call a supervisor, and attach them to a call once they answer.

        Raises
        ------
        UsageError, CallFailed, SupervisionRefused
        """
        entry = self.calls.find(call)
        user = self._supervisor_called(address)
        if user is not None and not user.may_supervise:
            raise rtpmix.SupervisionRefused(f"{user.name} has no supervisor role", status=403)
        target = self.address_of(user.name) if user is not None else address
        leg = await self.server.invite(target, auto_answer=True)
        try:
            # An address can be one of ours without looking like it: this machine has several.
            called = self.config.users.get(leg.user or "")
            if called is not None and not called.may_supervise:
                raise rtpmix.SupervisionRefused(f"{called.name} has no supervisor role")
            agent = entry.agent()
            if agent is None:
                raise rtpmix.SupervisionRefused("nobody is left in that call", status=404)
            supervision = await self._attach(entry, leg, agent, mode, who=target)
        except BaseException:
            await leg.hangup()
            raise
        task = asyncio.get_running_loop().create_task(self._coach_then_hang_up(leg, supervision))
        self._coaching.add(task)
        task.add_done_callback(self._coaching.discard)
        return supervision

    async def _coach_then_hang_up(self, leg: Leg, supervision: Supervision) -> None:
        try:
            await self._coach(leg, supervision)
        finally:
            await leg.hangup()

    async def hang_up(self, call: str) -> None:
        """End every leg of a call."""
        for leg in self.calls.find(call).bridge.legs:
            await leg.hangup()


def _is_served(bridge: Bridge) -> bool:
    """Say whether somebody talks to the customer."""
    agents = any(bridge.role(leg) is Role.AGENT for leg in bridge.legs)
    return agents or any(each.mode in AUDIBLE_TO_CUSTOMERS for each in bridge.supervisions)


def _is_conversation(bridge: Bridge) -> bool:
    """Say whether a bridge still holds somebody to serve, and somebody else."""
    roles = [bridge.role(leg) for leg in bridge.legs]
    return len(roles) > 1 and any(role is not Role.SUPERVISOR for role in roles)
