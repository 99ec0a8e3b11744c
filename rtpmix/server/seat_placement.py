"""Which worker carries which leg, bridge, source and tap; how a leg gets from one to another."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

from ..mixer import commands as media
from ..mixer.commands import Command, LegStats, MixerEvent
from . import worker_messages as say
from .scope import Scope, current_scope
from .worker_process import WorkerProcess

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Bridge:
    """A bridge: who mixes it, and what has not been told yet."""

    worker: WorkerProcess
    held: deque[media.SetMatrix | media.CloseBridge] = field(default_factory=deque)
    tokens: list[int] = field(default_factory=list)  # told, and not reached yet


@dataclass(slots=True)
class _Leg:
    """What must be said again when a leg moves."""

    connect: say.Connect | None = None
    recorded: bool = False
    detects: bool = False
    taps: dict[int, media.OpenTap] = field(default_factory=dict)
    going_to: WorkerProcess | None = None
    waiting: list[object] = field(default_factory=list)  # for it to arrive


@dataclass(slots=True)
class _Source:
    """A source or a tap that sits in a bridge; ``told`` waits until one is known."""

    worker: WorkerProcess | None = None
    told: list[Command] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)  # of what it still has to say


class SeatPlacement:
    """The seats of a `ProcessHost`.

    Parameters
    ----------
    workers
        The host's list, which it keeps up to date.
    descriptors
        Returns a leg's sockets.
    emit
        Takes events that no worker can tell.
    """

    def __init__(
        self,
        workers: list[WorkerProcess],
        descriptors: Callable[[int], tuple[int, int] | None],
        emit: Callable[[MixerEvent], None],
    ) -> None:
        self._workers = workers
        self._descriptors = descriptors
        self._emit = emit
        self._near: WeakKeyDictionary[Scope, WorkerProcess] = WeakKeyDictionary()
        self.of_leg: dict[int, WorkerProcess] = {}
        self.stats: dict[int, LegStats] = {}
        self.moves = 0
        self._legs: dict[int, _Leg] = {}
        self._fallen: dict[int, LegStats] = {}  # their worker died; not closed yet
        self._bridges: dict[int, _Bridge] = {}
        self._sources: dict[int, _Source] = {}
        self._tap_leg: dict[int, int] = {}
        self._sample = 0

    # ------------------------------------------------------------------------------- choice

    def choose(self) -> WorkerProcess | None:
        """Return the worker for a new leg: that of its call handler, or the least busy one."""
        scope = current_scope.get()
        near = self._near.get(scope) if scope is not None else None
        if near is None or not near.ready:
            ready = [worker for worker in self._workers if worker.ready]
            near = min(ready, key=lambda worker: len(worker.legs)) if ready else None
            if scope is not None and near is not None:
                self._near[scope] = near
        return near

    def of_bridge(self, number: int) -> WorkerProcess:
        """Return who mixes a bridge; a new one is given to the least busy worker."""
        bridge = self._bridges.get(number)
        if bridge is None:
            bridge = self._bridges[number] = _Bridge(self.choose() or self._workers[0])
        return bridge.worker

    # --------------------------------------------------------------------------------- legs

    def opened(self, leg: int, worker: WorkerProcess) -> None:
        """A leg has sockets, and a worker."""
        self._legs[leg] = _Leg()
        self._give(leg, worker, fresh=True)

    def _give(self, leg: int, worker: WorkerProcess, *, fresh: bool) -> None:
        self.of_leg[leg] = worker
        worker.legs.add(leg)
        sockets = self._descriptors(leg)
        if sockets is not None:
            worker.send(say.Adopt(leg, fresh), sockets)

    def closed(self, leg: int) -> None:
        """A leg is no more."""
        known = self._legs.pop(leg, None)
        for tap in known.taps if known is not None else ():
            self._tap_leg.pop(tap, None)
        worker = self.of_leg.pop(leg, None)
        if worker is not None:
            worker.legs.discard(leg)
        self.stats.pop(leg, None)
        self._fallen.pop(leg, None)
        self._advance_all()

    def to_leg(self, number: int, message: object) -> None:
        """Say something about a leg to who carries it, as soon as somebody does."""
        leg, worker = self._legs.get(number), self.of_leg.get(number)
        if leg is None or worker is None:
            return
        if isinstance(message, say.Connect):
            leg.connect = message
        elif isinstance(message, media.Record):
            leg.recorded = message.on
        elif isinstance(message, media.DetectDigits):
            leg.detects = message.on
        if leg.going_to is not None:
            leg.waiting.append(message)
        else:
            worker.send(message)

    def _move(self, number: int, target: WorkerProcess) -> None:
        self._legs[number].going_to = target
        self.of_leg[number].send(media.PartLeg(number))

    def parted(self, worker: WorkerProcess, event: media.LegParted) -> None:
        """A leg is out of its worker: the next one goes on with it."""
        number = event.leg
        leg = self._legs.get(number)
        if leg is None or leg.going_to is None:
            return
        target, leg.going_to = leg.going_to, None
        worker.legs.discard(number)
        if not target.ready:
            target = self.choose() or target
        self.moves += 1
        self._give(number, target, fresh=False)
        target.send(media.AdoptLeg(number, event.state))
        if leg.connect is not None:
            target.send(leg.connect)
        if leg.recorded:
            target.send(media.Record(number))
        if leg.detects:
            target.send(media.DetectDigits(number))
        for tap in leg.taps.values():
            target.send(tap)
        waiting, leg.waiting = leg.waiting, []
        for message in waiting:
            if isinstance(message, media.OpenTap):
                leg.taps[message.tap] = message
            elif isinstance(message, media.CloseSeat):
                leg.taps.pop(message.seat, None)
            target.send(message)
        self._advance_all()

    # ----------------------------------------------------------------------------- commands

    def submit(self, command: Command, sample: int) -> None:
        """Hand a command to the worker that it concerns."""
        self._sample = sample
        if isinstance(command, media.SetMatrix | media.CloseBridge):
            self._to_bridge(command)
        elif isinstance(command, media.OpenTap) and command.follow is not None:
            self._follow(command, command.follow)
        elif isinstance(command, media.OpenSource | media.OpenTap):
            seat = command.source if isinstance(command, media.OpenSource) else command.tap
            self._sources[seat] = _Source(told=[command])
        elif isinstance(command, media.Play | media.StopPlaying):
            self._to_source(command.source, command)
        elif isinstance(command, media.CloseSeat):
            self._close_seat(command)
        elif (leg := getattr(command, "leg", None)) in self.of_leg:
            self.to_leg(leg, command)
        elif isinstance(command, media.CloseLeg) and command.leg in self._fallen:
            self._emit(media.LegClosed(sample, command.leg, self._fallen.pop(command.leg)))
        elif isinstance(command, media.OpenLeg) and command.leg in self._fallen:
            # It was being set up; by the time that this is told, it is a call that can be ended.
            lost = media.WorkerLost(sample, -1, "before the leg was opened", (command.leg,))
            asyncio.get_running_loop().call_soon(self._emit, lost)
        elif leg not in self._fallen:  # else its end is on its way, and nothing else matters
            self._emit(media.CommandRefused(sample, command, f"no leg {leg}"))

    def _follow(self, command: media.OpenTap, leg: int) -> None:
        known = self._legs.get(leg)
        if known is None:
            self._emit(media.CommandRefused(self._sample, command, f"no leg {leg} to follow"))
            return
        self.to_leg(leg, command)
        # Those on their way are told of it once: by what waits for them.
        if known.going_to is None:
            known.taps[command.tap] = command
        self._tap_leg[command.tap] = leg

    def _to_source(self, seat: int, command: Command) -> None:
        source = self._sources.get(seat)
        if source is None:
            self._emit(media.CommandRefused(self._sample, command, f"no source {seat}"))
            return
        if isinstance(command, media.Play) and not command.loop:
            source.tokens.append(command.token)
        if source.worker is None:
            source.told.append(command)
        else:
            source.worker.send(command)

    def _close_seat(self, command: media.CloseSeat) -> None:
        leg = self._tap_leg.pop(command.seat, None)
        if leg is not None:
            self._legs[leg].taps.pop(command.seat, None)
            self.to_leg(leg, command)
            return
        source = self._sources.pop(command.seat, None)
        if source is not None and source.worker is not None:
            source.worker.send(command)

    def played(self, event: media.Played) -> None:
        """A source has said something."""
        source = self._sources.get(event.source)
        if source is not None and event.token in source.tokens:
            source.tokens.remove(event.token)

    # ------------------------------------------------------------------------------ bridges

    def _to_bridge(self, command: media.SetMatrix | media.CloseBridge) -> None:
        bridge = self._bridges.get(command.bridge)
        if bridge is None:
            if isinstance(command, media.CloseBridge):
                return  # it never had anybody, or its worker died
            bridge = self._bridges[command.bridge] = _Bridge(self._home(command.seats))
        bridge.held.append(command)
        self._advance(command.bridge, bridge)

    def _home(self, seats: tuple[int, ...]) -> WorkerProcess:
        """Return the worker that carries most of these seats already."""
        carried = Counter(self.of_leg[seat] for seat in seats if seat in self.of_leg)
        best = max(carried, key=lambda worker: carried[worker], default=None)
        return best or self.choose() or self._workers[0]

    def _advance_all(self) -> None:
        for number, bridge in tuple(self._bridges.items()):
            if bridge.held:
                self._advance(number, bridge)

    def _advance(self, number: int, bridge: _Bridge) -> None:
        while bridge.held:
            command = bridge.held[0]
            if isinstance(command, media.SetMatrix):
                if not self._gathered(command, bridge.worker):
                    return
                if any(seat in self._fallen for seat in command.seats):
                    bridge.held.popleft()
                    self._pretend(number, [command.token])
                    continue
                bridge.tokens.append(command.token)
            bridge.held.popleft()
            bridge.worker.send(command)
            if isinstance(command, media.CloseBridge):
                self._bridges.pop(number, None)

    def _gathered(self, command: media.SetMatrix, worker: WorkerProcess) -> bool:
        """Tell whether all seats of a matrix are in its worker; call those that are not."""
        complete = True
        for seat in command.seats:
            leg = self._legs.get(seat)
            if leg is not None and (leg.going_to is not None or self.of_leg[seat] is not worker):
                complete = False
                if leg.going_to is None:
                    self._move(seat, worker)
        if complete:
            for seat in command.seats:
                source = self._sources.get(seat)
                if source is not None and source.worker is None:
                    source.worker = worker
                    told, source.told = source.told, []
                    for waiting in told:
                        worker.send(waiting)
        return complete

    def reached(self, event: media.MatrixReached) -> None:
        """A matrix is in force."""
        bridge = self._bridges.get(event.bridge)
        if bridge is not None and event.token in bridge.tokens:
            bridge.tokens.remove(event.token)

    def _pretend(self, number: int, tokens: list[int]) -> None:
        """Tell that matrices are in force which nobody hears any more, so that nobody waits."""
        for token in tokens:
            self._emit(media.MatrixCommitted(self._sample, number, token))
            self._emit(media.MatrixReached(self._sample, number, token))

    # -------------------------------------------------------------------------------- death

    def lost(self, worker: WorkerProcess) -> None:
        """A worker died: whoever waits for it goes on."""
        for number in tuple(worker.legs):
            self._fallen[number] = self.stats.pop(number, LegStats())
            del self.of_leg[number]
            leg = self._legs.pop(number)
            for tap in leg.taps:
                self._tap_leg.pop(tap, None)
        worker.legs.clear()
        for seat in [seat for seat, one in self._sources.items() if one.worker is worker]:
            for token in self._sources.pop(seat).tokens:
                self._emit(media.Played(self._sample, seat, token))
        for number in [number for number, one in self._bridges.items() if one.worker is worker]:
            bridge = self._bridges.pop(number)
            held = [one.token for one in bridge.held if isinstance(one, media.SetMatrix)]
            self._pretend(number, bridge.tokens + held)
        self._advance_all()
