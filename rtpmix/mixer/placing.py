"""Which phase of the tick a bridge is mixed in: the one that comes soonest after its packets.

Theory of operation. Phones start when they like, so the packets of a leg come at some place of the
20 ms, and stay there. A frame waits from there to the tick of its bridge: half a ptime on average
where phases are dealt out, and a quarter of it for three legs where the phase is chosen. What a leg
needs is known from the playout buffer, jitter included: the *transit* of its slowest packets.

The cost of a phase is what its legs wait together, and once more what the longest waits. A bridge
is placed when it is made, by the legs that talk already, and looked at again every few seconds,
unless the host is late: it has better things to do then. It moves when that saves two beats of
this, or half a beat a leg; the playout buffer remembers what a leg needs for eight seconds, so that
is not often.

A move shifts the times at which frames are sent, by less than a ptime and once; no frame is lost,
said twice or changed. Towards an *earlier* tick that is so if every leg's packet is there by then;
else the bridge skips to a *later* one, and legs whose next packet comes before it have a frame too
much afterwards, which `timescale` cuts out.

Legs that are ``untimed`` in the matrix don't count: a supervisor who listens, or speaks to the
agent alone, must not show in the timing of others. Phases are filled up evenly, by those that do.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import numpy as np

from .bridge import Bridge
from .commands import BridgeMoved, MixerEvent, SetMatrix
from .playout import Playout
from .rows import NEVER, Kind, Numbers, Rows
from .switchboard import Switchboard

FIRST_LOOK_MS = 500  # after a bridge was made, or was last not ready: two windows of the playout
LOOK_MS = 2000  # from one look at a bridge to the next; twice as long after each two that it stays
MOST_STAYS = 6  # that count: 16 s
MOVE_FRAMES = 8  # moves are done together: each makes the lists of what is mixed and sent anew
CROWDED = 1.25  # times the average number of legs: such a phase takes no more
SPARE = 12  # legs that a phase may have beyond that
MOST_BEHIND = 1  # beats that the host may be late: past that, nothing is looked at
ALWAYS = 200  # legs that a phase may have in any case: a beat with so many is half filled

_LEG = int(Kind.LEG)  # numpy is slow with enums


class Placing:
    """Chooses phases, and moves bridges to them."""

    def __init__(
        self, rows: Rows, board: Switchboard, playout: Playout, events: list[MixerEvent]
    ) -> None:
        self._rows = rows
        self._board = board
        self._playout = playout
        self._events = events
        self.phases = playout.phases
        self._look_beats = playout.beats(LOOK_MS)
        self._turn: deque[int] = deque()  # bridge numbers
        self._rests: dict[int, int] = {}  # bridge -> beat until which it is left alone
        self._sizes: dict[int, int] = {}  # bridge -> seats with a say, when last looked at
        self._stays: dict[int, int] = {}  # bridge -> looks since then that moved nothing
        self._loads: dict[int, tuple[int, int]] = {}  # bridge -> phase, legs that count
        self._load = [0] * self.phases  # legs that count, by phase
        # By the phase after whose tick it is done: bridge -> phase to go to, beats to shift.
        self._moves: list[dict[int, tuple[int, int]]] = [{} for _ in range(self.phases)]
        self._beat = 0  # the next
        self.moves = 0  # done since the start
        board.first_phase = self._first

    # ------------------------------------------------------------------------ a new bridge

    def _first(self, command: SetMatrix) -> int | None:
        """Return the phase for a bridge that this matrix makes; None: nobody can tell."""
        number = command.bridge
        if number not in self._rests:
            self._turn.append(number)
        self._rests[number] = self._beat + self._playout.beats(FIRST_LOOK_MS)
        if self.phases == 1:
            return None
        rows = np.array(self._counting(command.seats, command.untimed), np.int64)
        needed = self._needed(rows)
        needed = needed[needed > -NEVER]
        if not needed.size:
            return None
        costs = self._waits(needed, np.zeros(1, np.int64))[0]
        self._leave_out_full(costs, rows.size, None)
        best = int(np.argmin(costs))
        return best if costs[best] < NEVER else None

    # --------------------------------------------------------------------------- each beat

    def step(self, beat: int, phase: int) -> None:
        """Do the moves that are due after this beat, and look at whose turn it is."""
        self._beat = beat + 1
        if self.phases == 1:
            self._playout.grown.clear()
            return
        moves = self._moves[phase]
        if moves and beat // self.phases % MOVE_FRAMES == 0:
            for number, (to, shift) in moves.items():
                self._move(number, to, shift, beat)
            moves.clear()
        if self._playout.grown:
            self._look_soon(beat)
        if beat % (self.phases + 1) == 0 and self._playout.behind <= MOST_BEHIND:
            due = self._whose_turn(beat)
            if due:
                self._look(due, beat)

    def _whose_turn(self, beat: int) -> list[Bridge]:
        """Return the bridges to look at now: several cost hardly more than one."""
        turn, due = self._turn, []
        rounds = 1 + len(turn) // self._look_beats
        for _ in range(min(len(turn), (self.phases + 1) * rounds)):
            number = turn.popleft()
            bridge = self._board.bridges.get(number)
            if bridge is None:
                self._forget(number)
                continue
            turn.append(number)
            size = len(bridge.seats) - len(bridge.untimed)
            if size != self._sizes.get(number):
                self._sizes[number], self._stays[number] = size, 0
                due.append(bridge)
            elif beat >= self._rests[number]:
                due.append(bridge)
        return due

    def _look_soon(self, beat: int) -> None:
        """Look at the bridges of legs that wait longer now: elsewhere they may not have to."""
        for row in set(self._playout.grown):
            seat = int(self._rows.seat[row])
            bridge = self._board.bridge_of.get(seat)
            if bridge is None or seat in bridge.untimed:
                continue  # who has no say must not show in when the others are looked at, either
            if bridge.number in self._stays:
                self._stays[bridge.number] = 0
                soon = beat + self._playout.beats(FIRST_LOOK_MS)
                self._rests[bridge.number] = min(self._rests[bridge.number], soon)
        self._playout.grown.clear()

    def _look(self, bridges: list[Bridge], beat: int) -> None:
        """Decide which of some bridges should move."""
        held, soon = self._rows, beat + self._playout.beats(FIRST_LOOK_MS)
        counted = [self._counting(bridge.seats, bridge.untimed) for bridge in bridges]
        rows = np.array([row for some in counted for row in some], np.int64)
        of = np.repeat(np.arange(len(bridges)), list(map(len, counted)))
        begun = held.origin[rows] < NEVER
        unready = set(of[begun & (held.windows[rows] <= 1)].tolist())  # somebody has only begun
        needed = self._needed(rows)
        known = np.flatnonzero(needed > -NEVER)
        costs: dict[int, Numbers] = {}
        if known.size:
            first = np.flatnonzero(np.diff(of[known], prepend=-1))
            costs = dict(
                zip(of[known[first]].tolist(), self._waits(needed[known], first), strict=True)
            )
        for place, (bridge, legs) in enumerate(zip(bridges, map(len, counted), strict=True)):
            self._count_load(bridge.number, bridge.phase, legs)
            if bridge.closing or place in unready or place not in costs:
                self._rests[bridge.number] = soon
            else:
                self._decide(bridge, costs[place], legs, beat)

    def _decide(self, bridge: Bridge, costs: Numbers, legs: int, beat: int) -> None:
        """Let a bridge move if that saves enough."""
        number, stays = bridge.number, self._stays[bridge.number]
        self._rests[number] = beat + (self._look_beats << stays // 2)
        self._leave_out_full(costs, legs, bridge.phase)
        best = int(np.argmin(costs))
        if costs[bridge.phase] - costs[best] < max(2, legs // 2):
            self._stays[number] = min(stays + 1, MOST_STAYS)
            return
        self._stays[number] = 0
        self._count_load(number, best, legs)
        earlier = (bridge.phase - best) % self.phases
        if self._least_wait(bridge) >= earlier:
            self._moves[bridge.phase][number] = (best, -earlier)
        else:
            self._moves[best][number] = (best, (best - bridge.phase) % self.phases)

    def _move(self, number: int, to: int, shift: int, beat: int) -> None:
        """Let a bridge tick at another phase; the beat just done was of the phase left or taken."""
        bridge = self._board.bridges.get(number)
        if bridge is None or (bridge.phase + shift) % self.phases != to:
            return  # closed, and perhaps made anew
        if -shift > self._least_wait(bridge):
            return  # since it was decided somebody has come later, or only come
        last = beat - (beat - bridge.phase) % self.phases
        following = last + self.phases + shift
        rows = np.array([self._rows.of_seat[seat] for seat in bridge.seats], np.int64)
        self._playout.shift(rows, shift)
        if following // self.phases - last // self.phases != 1:
            self._keep_order(rows)
        self._board.move(bridge, to)
        self._cut_what_waits(rows)
        samples = self._playout.beat_samples
        self._events.append(BridgeMoved(following * samples, number, last * samples))
        self.moves += 1

    def _least_wait(self, bridge: Bridge) -> int:
        """Return the beats that every leg's packets are there before they are needed."""
        rows = np.array(self._counting(bridge.seats, bridge.untimed), np.int64)
        needed = self._needed(rows)
        heard = needed > -NEVER
        waits = self._playout.start(rows[heard]) - needed[heard]
        return int(waits.min()) if waits.size else 0

    def _cut_what_waits(self, rows: Numbers) -> None:
        """Whoever waits for a whole frame too much now is to lose it soon."""
        needed = self._needed(rows)
        much = (needed > -NEVER) & (self._playout.start(rows) - needed >= self.phases)
        self._rows.to_cut[rows[much]] = 1
        self._playout.cutting = self._playout.cutting or bool(much.any())

    def _keep_order(self, rows: Numbers) -> None:
        """Which of the two last frames is the older goes by the ptime: two ticks are in one now."""
        held = self._rows
        held.even_frame[rows], held.odd_frame[rows] = (
            held.odd_frame[rows],
            held.even_frame[rows],
        )

    # ----------------------------------------------------------------------------- figures

    def snapshot(self) -> dict[str, int]:
        """Return how many bridges there are, and how often one has moved."""
        return {"bridges": len(self._board.bridges), "bridges_moved": self.moves}

    def _counting(self, seats: Sequence[int], untimed: frozenset[int]) -> list[int]:
        """Return the rows of the legs that have a say."""
        of_seat, kinds = self._rows.of_seat, self._rows.kind
        return [
            row for seat in seats if seat not in untimed and kinds[row := of_seat[seat]] == _LEG
        ]

    def _needed(self, rows: Numbers) -> Numbers:
        """Return the beat at which each row's slot 0 can be played at the earliest."""
        held = self._rows
        needed = self._playout.needed(rows, held.latest[rows])
        # In its first window a leg has no second highest transit.
        needed = np.where(held.windows[rows] == 0, held.latest[rows], needed)
        # Packets that come about when a beat begins are now in it, now in the next.
        needed += np.maximum(held.transits[rows].max(axis=1), held.latest[rows]) > needed
        known = (needed > -NEVER) & (held.origin[rows] < NEVER)
        return np.where(known, needed + held.lead[rows], -NEVER)

    def _waits(self, needed: Numbers, first: Numbers) -> Numbers:
        """Return what the legs of some bridges wait in each phase, in beats: (bridges, phases).

        ``first`` has the places in ``needed`` where the legs of each bridge begin.
        """
        waits = (np.arange(self.phases)[:, None] - needed) % self.phases
        together = np.add.reduceat(waits, first, axis=1)
        costs: Numbers = (together + np.maximum.reduceat(waits, first, axis=1)).T
        return costs

    def _leave_out_full(self, costs: Numbers, legs: int, present: int | None) -> None:
        """Make the phases that have no room for so many legs cost too much."""
        most = max((sum(self._load) + legs) * CROWDED / self.phases + SPARE, ALWAYS)
        for phase, load in enumerate(self._load):
            if phase != present and load + legs > max(most, legs):
                costs[phase] = NEVER

    def _count_load(self, number: int, phase: int, legs: int) -> None:
        old, before = self._loads.get(number, (0, 0))
        self._load[old] -= before
        self._load[phase] += legs
        self._loads[number] = (phase, legs)

    def _forget(self, number: int) -> None:
        phase, legs = self._loads.pop(number, (0, 0))
        self._load[phase] -= legs
        self._rests.pop(number, None)
        self._sizes.pop(number, None)
        self._stays.pop(number, None)
