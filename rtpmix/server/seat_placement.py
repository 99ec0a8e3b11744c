"""Which worker carries which leg, bridge, source and tap; how a leg gets from one to another."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from weakref import WeakKeyDictionary

from ..mixer import commands as media
from ..mixer.commands import Command, LegStats, MixerEvent
from ..mixer.figures import LegCounts
from . import worker_messages as say
from .latching_io import MediaLatched
from .placed import PlacedBridge, PlacedLeg, PlacedSource
from .scope import Scope, current_scope
from .worker_process import WorkerProcess

_log = logging.getLogger(__name__)

HandOver = Callable[[int, bool, bool], tuple[object, tuple[int, int]] | None]


class SeatPlacement:
    """The seats of a `ProcessHost`.

    Parameters
    ----------
    workers
        The host's list, which it keeps up to date.
    hand_over
        Returns what to tell a worker that gets a leg, and the leg's sockets: given the leg, whether
        what waits in them may be anybody's, and whether it comes from another worker. None when
        it has none.
    emit
        Takes events that no worker can tell.
    """

    def __init__(
        self,
        workers: list[WorkerProcess],
        hand_over: HandOver,
        emit: Callable[[MixerEvent], None],
    ) -> None:
        self._workers = workers
        self._hand_over = hand_over
        self._emit = emit
        self._near: WeakKeyDictionary[Scope, WorkerProcess] = WeakKeyDictionary()
        self.of_leg: dict[int, WorkerProcess] = {}
        self.moves = 0
        self._legs: dict[int, PlacedLeg] = {}
        self._counts: dict[int, tuple[LegCounts, int]] = {}  # leg -> what was told last, its place
        self._fallen: dict[int, LegStats] = {}  # their worker died; not closed yet
        self._bridges: dict[int, PlacedBridge] = {}
        self._sources: dict[int, PlacedSource] = {}
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
            bridge = self._bridges[number] = PlacedBridge(self.choose() or self._workers[0])
        return bridge.worker

    # --------------------------------------------------------------------------------- legs

    def opened(self, leg: int, worker: WorkerProcess) -> None:
        """A leg has sockets, and a worker."""
        self._legs[leg] = PlacedLeg()
        self._give(leg, worker, fresh=True, moved=False)

    def _give(self, leg: int, worker: WorkerProcess, *, fresh: bool, moved: bool) -> None:
        self.of_leg[leg] = worker
        worker.legs.add(leg)
        handed = self._hand_over(leg, fresh, moved)
        if handed is not None:
            worker.send(*handed)

    def latched(self, event: MediaLatched) -> None:
        """A leg's peer was found elsewhere: so it is wherever the leg moves."""
        leg = self._legs.get(event.leg)
        if leg is not None and leg.connect is not None and leg.connect.remote == event.signalled:
            leg.connect = replace(leg.connect, learned=(event.remote, event.remote_rtcp))

    def closed(self, leg: int) -> None:
        """A leg is no more."""
        self._legs.pop(leg, None)
        self._forget_taps(leg)
        worker = self.of_leg.pop(leg, None)
        if worker is not None:
            worker.legs.discard(leg)
        self._counts.pop(leg, None)
        self._fallen.pop(leg, None)
        self._advance_all()

    def counted(self, worker: WorkerProcess, counts: LegCounts) -> None:
        """A worker told the counters of some of its legs."""
        for place, leg in enumerate(counts.legs):
            if leg in worker.legs:
                self._counts[leg] = counts, place

    def stats(self, leg: int) -> LegStats:
        """Return the counters of a leg as they were told last."""
        known = self._counts.get(leg)
        return LegStats() if known is None else known[0].stats(known[1])

    def to_leg(self, number: int, message: object) -> None:
        """Say something about a leg to who carries it, as soon as somebody does."""
        leg, worker = self._legs.get(number), self.of_leg.get(number)
        if leg is None or worker is None:
            return
        if leg.going_to is not None:
            leg.waiting.append(message)
        else:
            leg.note(message)
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
        if leg.keyed and leg.position is None:
            self._strand(number, worker, "a cipher's place was not to be found")
            return
        if not target.ready:
            target = self.choose() or worker
        self.moves += 1
        # Before it knew its peer, what waits in its sockets may be anybody's.
        known = leg.connect is not None and (leg.connect.remote or leg.connect.learned)
        fresh = not known
        self._give(number, target, fresh=fresh, moved=True)
        if leg.position is not None:
            target.send(say.Secure(number, leg.position))
            leg.position = None
        target.send(media.AdoptLeg(number, event.state))
        if leg.connect is not None:
            target.send(leg.connect)
        if leg.recorded is not None:
            target.send(leg.recorded)
        if leg.detects is not None:
            target.send(leg.detects)
        for tap in leg.taps.values():
            target.send(tap)
        waiting, leg.waiting = leg.waiting, []
        for message in waiting:
            leg.note(message)
            target.send(message)
        self._advance_all()

    def _strand(self, number: int, worker: WorkerProcess, why: str) -> None:
        """End a leg that is out of its worker and can't go on."""
        self._drop(number)
        self._emit(media.WorkerLost(self._sample, worker.number, why, (number,)))

    def carried(self, message: say.Carried) -> None:
        """A leg is about to part, and this is how far its keys were used."""
        leg = self._legs.get(message.leg)
        if leg is not None:
            leg.position = message.position

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
            self._sources[seat] = PlacedSource(command)
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
        self._tap_leg[command.tap] = leg

    def _to_source(self, seat: int, command: Command) -> None:
        source = self._sources.get(seat)
        if source is None:
            self._emit(media.CommandRefused(self._sample, command, f"no source {seat}"))
            return
        if isinstance(command, media.Play):
            source.plays.append(command)
        else:
            source.plays.clear()
        if source.worker is not None:
            source.worker.send(command)

    def _close_seat(self, command: media.CloseSeat) -> None:
        leg = self._tap_leg.pop(command.seat, None)
        if leg is not None:
            self.to_leg(leg, command)
            return
        source = self._sources.pop(command.seat, None)
        if source is not None and source.worker is not None:
            source.worker.send(command)

    def played(self, event: media.Played) -> None:
        """A source has said something."""
        source = self._sources.get(event.source)
        if source is None:
            return
        said = next((play for play in source.plays if play.token == event.token), None)
        if said is not None:
            source.plays.remove(said)

    # ------------------------------------------------------------------------------ bridges

    def _to_bridge(self, command: media.SetMatrix | media.CloseBridge) -> None:
        bridge = self._bridges.get(command.bridge)
        if bridge is None:
            if isinstance(command, media.CloseBridge):
                return  # it never had anybody, or its worker died
            bridge = self._bridges[command.bridge] = PlacedBridge(self._home(command.seats))
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

    def _advance(self, number: int, bridge: PlacedBridge) -> None:
        while bridge.held:
            command = bridge.held[0]
            if isinstance(command, media.SetMatrix):
                if not self._gathered(command, bridge.worker):
                    return
                if any(seat in self._fallen for seat in command.seats):
                    bridge.held.popleft()
                    self._pretend(number, {command.token: False})
                    continue
                bridge.tokens[command.token] = False
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
                    for told in (source.opening, *source.plays):
                        worker.send(told)
        return complete

    def matrix_event(self, event: media.MatrixCommitted | media.MatrixReached) -> None:
        """A matrix is in force, or its ramp is over."""
        bridge = self._bridges.get(event.bridge)
        if bridge is None or event.token not in bridge.tokens:
            return
        if isinstance(event, media.MatrixReached):
            del bridge.tokens[event.token]
        else:
            bridge.tokens[event.token] = True

    def _pretend(self, number: int, tokens: dict[int, bool]) -> None:
        """Tell that matrices are in force which nobody hears any more, so that nobody waits."""
        for token, committed in tokens.items():
            if not committed:
                self._emit(media.MatrixCommitted(self._sample, number, token))
            self._emit(media.MatrixReached(self._sample, number, token))

    # -------------------------------------------------------------------------------- death

    def lost(self, worker: WorkerProcess) -> None:
        """A worker died: whoever waits for it goes on."""
        for number in tuple(worker.legs):
            self._drop(number)
        for seat in [seat for seat, one in self._sources.items() if one.worker is worker]:
            for play in self._sources.pop(seat).plays:
                self._emit(media.Played(self._sample, seat, play.token))
        for number in [number for number, one in self._bridges.items() if one.worker is worker]:
            bridge = self._bridges.pop(number)
            for one in bridge.held:
                if isinstance(one, media.SetMatrix):
                    bridge.tokens[one.token] = False
            self._pretend(number, bridge.tokens)
        self._advance_all()

    def _drop(self, number: int) -> None:
        """A leg is gone with its worker; what is still said of it is for nobody."""
        self._fallen[number] = self.stats(number)
        self._counts.pop(number, None)
        self.of_leg.pop(number).legs.discard(number)
        del self._legs[number]
        self._forget_taps(number)

    def _forget_taps(self, leg: int) -> None:
        for tap in [tap for tap, followed in self._tap_leg.items() if followed == leg]:
            del self._tap_leg[tap]
