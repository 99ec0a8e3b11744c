"""Who sits where: bridges, the seats that sit in none, and when a change takes effect.

Every bridge belongs to a phase of the tick: the one that `placing` chose, else they are given out
in turn as bridges are made. Who only listens never counts in that: the presence of a supervisor
must not show in the timing of others.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .bridge import Bridge, shape_refusal, without
from .by_size import BySize
from .commands import UNITY, MatrixCommitted, MatrixReached, MixerEvent, SeatsLeaving, SetMatrix
from .gains import MAX_RAMP_MS, refusal
from .layout import Layout, build
from .rows import FRAME, Kind, Rows


class Switchboard:
    """Seats and bridges of one engine.

    Attributes
    ----------
    phases
        Of the tick.
    bridge_of
        Seat -> the bridge whose matrix it is in, fading out included.
    freed
        Seats of `closing` that are out of every bridge: their rows can be given back.
    first_phase
        Chooses the phase of a bridge that a matrix makes; None: the next in turn.
    """

    def __init__(self, rows: Rows, phases: int, events: list[MixerEvent]) -> None:
        self._rows = rows
        self.phases = phases
        self._events = events
        self.bridges: dict[int, Bridge] = {}
        self.bridge_of: dict[int, Bridge] = {}
        self.closing: set[int] = set()
        self.freed: list[int] = []
        self._at_phase = [BySize(rows) for _ in range(phases)]  # those that have seats
        self._unsettled: list[dict[int, Bridge]] = [{} for _ in range(phases)]
        self._loose: list[dict[int, None]] = [{} for _ in range(phases)]  # rows, in order
        self._layouts: list[Layout | None] = [None] * phases
        self._bridges_made = 0
        self.first_phase: Callable[[SetMatrix], int | None] = lambda command: None

    # ------------------------------------------------------------------------------- seats

    def enter(self, row: int) -> None:
        """Give a new leg's row a phase, until it sits in a bridge.

        Drawn from its random SSRC: dealt out in turn, it would tell of the legs opened before.
        """
        phase = int(self._rows.ssrc_out[row]) % self.phases
        self._rows.phase[row] = phase
        self._loose[phase][row] = None
        self.changed(phase)

    def remove(self, seat: int) -> None:
        """Take a seat out. It is in `freed` when that is done: it may have to fade out first."""
        self.closing.add(seat)
        self._withdraw(seat, None)
        bridge = self.bridge_of.get(seat)
        if bridge is not None:
            self._leave(bridge, seat)
            return
        row = self._rows.of_seat[seat]
        phase = int(self._rows.phase[row])
        self._loose[phase].pop(row, None)
        self.changed(phase)
        self.freed.append(seat)

    def changed(self, phase: int) -> None:
        """The rows of a phase, or what they do, changed."""
        self._layouts[phase] = None

    def _retuned(self, bridge: Bridge, seats: tuple[int, ...], limited: bool) -> None:
        """A bridge changed, perhaps in no more than its gains: ``seats`` and ``limited`` it had.

        Then the layout of its phase goes on, and with it what others have worked out from it.
        """
        self._at_phase[bridge.phase].put(bridge)
        layout = self._layouts[bridge.phase]
        same = (bridge.seats, bridge.limited) == (seats, limited)
        if layout is None or not same or not layout.retune():
            self.changed(bridge.phase)

    def changed_all(self) -> None:
        """The arrays have moved: nothing that points into them holds."""
        for phase in range(self.phases):
            self.changed(phase)

    def _leave(self, bridge: Bridge, seat: int) -> None:
        bridge.leaving.add(seat)
        self._unsettled[bridge.phase][bridge.number] = bridge

    def _withdraw(self, seat: int, but: Bridge | None) -> None:
        """Take a seat out of every matrix that still waits, but that of one bridge."""
        for unsettled in self._unsettled:
            for bridge in unsettled.values():
                waiting = bridge.pending
                if bridge is not but and waiting is not None and seat in waiting.seats:
                    bridge.pending = without(waiting, seat)

    # ----------------------------------------------------------------------------- commands

    def set_matrix(self, command: SetMatrix) -> str | None:
        """Queue a matrix for its bridge's next tick; return why not, or None."""
        why = shape_refusal(command) or self._seats_refusal(command)
        why = why or refusal(np.array(command.gains, np.float64).reshape(2 * (len(command.seats),)))
        if why is None and not 0 <= command.ramp_ms <= MAX_RAMP_MS:
            why = f"a ramp of {command.ramp_ms} ms; give 0 to {MAX_RAMP_MS}"
        if why is not None:
            return why
        bridge = self.bridges.get(command.bridge) or self._make(command)
        bridge.closing = False
        bridge.pending = command
        bridge.pending_tokens.append(command.token)
        bridge.leaving -= set(command.seats)
        self._unsettled[bridge.phase][bridge.number] = bridge
        for seat in command.seats:
            self._withdraw(seat, bridge)
            other = self.bridge_of.get(seat)
            if other is not None and other is not bridge:
                self._leave(other, seat)
        return None

    def close_bridge(self, number: int) -> str | None:
        """Let every seat fade out of a bridge and forget it; return why not, or None."""
        bridge = self.bridges.get(number)
        if bridge is None:
            return f"no bridge {number}"
        bridge.pending = None
        bridge.pending_tokens.clear()
        bridge.leaving.update(bridge.seats)
        bridge.closing = True
        self._unsettled[bridge.phase][number] = bridge
        if not bridge.seats:
            self._forget(bridge)
        return None

    def _seats_refusal(self, command: SetMatrix) -> str | None:
        for seat in command.seats:
            row = self._rows.of_seat.get(seat)
            if row is None or seat in self.closing:
                return f"no seat {seat}: open it first"
        return None

    def _make(self, command: SetMatrix) -> Bridge:
        number, phase = command.bridge, self.first_phase(command)
        if phase is None:
            phase = self._bridges_made % self.phases
            self._bridges_made += 1
        bridge = Bridge(number, phase)
        self.bridges[number] = bridge
        return bridge

    def move(self, bridge: Bridge, phase: int) -> None:
        """Let a bridge be mixed at another phase; a change under way goes on there."""
        self._at_phase[bridge.phase].drop(bridge.number)
        self._at_phase[phase].put(bridge)
        if self._unsettled[bridge.phase].pop(bridge.number, None) is not None:
            self._unsettled[phase][bridge.number] = bridge
        self.changed(bridge.phase)
        self.changed(phase)
        bridge.phase = phase
        self._rows.phase[[self._rows.of_seat[seat] for seat in bridge.seats]] = phase

    def _forget(self, bridge: Bridge) -> None:
        del self.bridges[bridge.number]
        self._at_phase[bridge.phase].drop(bridge.number)
        self._unsettled[bridge.phase].pop(bridge.number, None)
        self.changed(bridge.phase)

    # --------------------------------------------------------------------------------- ticks

    def commit(self, phase: int, at: int) -> None:
        """Before a phase is mixed: start the changes that are ready."""
        for bridge in list(self._unsettled[phase].values()):
            command, before = bridge.pending, (bridge.seats, bridge.limited)
            if command is not None and self._is_ready(bridge, command):
                for seat in command.seats:
                    self._claim(seat, bridge)
                for token in bridge.begin(leave_only=False):
                    self._events.append(MatrixCommitted(at, bridge.number, token))
                self._retuned(bridge, *before)
                continue
            if command is not None:
                bridge.leaving.update(set(bridge.seats) - set(command.seats))
            if bridge.leaving:
                leaving = tuple(seat for seat in bridge.seats if seat in bridge.leaving)
                bridge.begin(leave_only=True)
                if leaving:
                    self._events.append(SeatsLeaving(at, bridge.number, leaving))
                self._retuned(bridge, *before)

    def _is_ready(self, bridge: Bridge, command: SetMatrix) -> bool:
        return all(self.bridge_of.get(seat, bridge) is bridge for seat in command.seats)

    def _claim(self, seat: int, bridge: Bridge) -> None:
        if seat in self.bridge_of:
            return
        rows = self._rows
        row = rows.of_seat[seat]
        before = int(rows.phase[row])
        self._loose[before].pop(row, None)
        self.changed(before)
        rows.phase[row] = bridge.phase
        rows.limiter_gain[row] = UNITY
        self.bridge_of[seat] = bridge

    def layout(self, phase: int) -> tuple[Layout, bool]:
        """Return the layout of a phase, and whether it is a new one."""
        layout = self._layouts[phase]
        if layout is not None:
            return layout, False
        layout = build(self._rows, self._at_phase[phase], list(self._loose[phase]))
        self._layouts[phase] = layout
        return layout, True

    def rests(self, phase: int) -> bool:
        """Tell whether a phase has nobody to mix, and no change waits for it."""
        layout = self._layouts[phase]
        return layout is not None and not layout.rows.size and not self._unsettled[phase]

    def finish(self, phase: int, at: int) -> None:
        """After a phase was mixed: end the ramps that are done and let go who has faded out."""
        # Not those that the layout mixed: a change to or of a bridge without seats is done too.
        for bridge in list(self._unsettled[phase].values()):
            ramp = bridge.ramp
            if ramp is None or not bridge.advance(FRAME):
                continue
            reached = at + ramp.samples - (ramp.position - FRAME)
            for token in ramp.tokens:
                self._events.append(MatrixReached(reached, bridge.number, token))
            seats = bridge.seats
            for seat in bridge.settle():
                self._let_go(seat, phase)
            if bridge.closing and not bridge.seats:
                self._forget(bridge)
                continue
            if bridge.settled:
                del self._unsettled[phase][bridge.number]
            self._retuned(bridge, seats, bridge.limited)

    def _let_go(self, seat: int, phase: int) -> None:
        del self.bridge_of[seat]
        if seat in self.closing:
            self.freed.append(seat)
            return
        row = self._rows.of_seat[seat]
        if self._rows.kind[row] == Kind.LEG:
            self._loose[phase][row] = None
