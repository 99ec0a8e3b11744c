"""One bridge: who sits in it, the gains in force, and the change under way.

A change is a step from one whole matrix to another, taken at one tick. While it ramps, the seats
are those of both matrices: who leaves fades out in the frame in which the others fade in. A bridge
whose new seats still sit elsewhere waits until they are free; who is to leave, leaves at once.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from .commands import SetMatrix
from .gains import (
    Exact,
    coefficients_of_frame,
    gains_within,
    ramp_coefficients,
    ramps_exactly,
)

LEAVE_RAMP_MS = 10


@dataclass(slots=True)
class Ramp:
    """A change under way: ``Bridge.gains`` moves to ``targets``."""

    targets: Exact
    staying: tuple[int, ...]  # the seats afterwards
    ramp_ms: int
    tokens: list[int]  # of the commands that it fulfils
    position: int = 0  # samples done

    @property
    def samples(self) -> int:
        return ramp_coefficients(self.ramp_ms).size


@dataclass(slots=True)
class Forwards:
    """Whose digits go to whom: the matrix as it came, for it is read much less often than set."""

    seats: tuple[int, ...] = ()
    rows: tuple[tuple[bool, ...], ...] = ()  # rows listen, columns press; () forwards nothing
    gone: set[int] = field(default_factory=set)  # seats that have left since

    def of(self, presser: int) -> list[int]:
        """Return the seats that hear of what one presses, in order."""
        if not self.rows or presser not in self.seats or presser in self.gone:
            return []
        column = self.seats.index(presser)
        found = zip(self.seats, self.rows, strict=True)
        return sorted(seat for seat, row in found if row[column] and seat not in self.gone)


@dataclass(slots=True)
class Bridge:
    """Membership and gains of one bridge.

    Attributes
    ----------
    seats
        Seat numbers in matrix order, those that are fading out included.
    gains : (seats, seats) float64 ndarray
        Q15 integers in force before the present ramp.
    limited
        Whether `limiter` works for its listeners.
    untimed
        Seats that have no say in when the bridge is mixed, see `placing`.
    leaving
        Seats that must go at the next tick, whatever else waits.
    pending
        The newest command that has not taken effect.
    """

    number: int
    phase: int
    seats: tuple[int, ...] = ()
    gains: Exact = field(default_factory=lambda: np.zeros((0, 0)))
    forwards: Forwards = field(default_factory=Forwards)
    untimed: frozenset[int] = frozenset()
    limited: bool = False
    leaving: set[int] = field(default_factory=set)
    pending: SetMatrix | None = None
    pending_tokens: list[int] = field(default_factory=list)  # of it, and of those it replaced
    ramp: Ramp | None = None
    closing: bool = False

    @property
    def settled(self) -> bool:
        """True when nothing is changing and nothing waits."""
        return self.ramp is None and self.pending is None and not self.leaving

    def begin(self, *, leave_only: bool) -> list[int]:
        """Start a ramp at this tick; return the tokens of the commands that take effect.

        Either to the pending matrix, or, while that one has to wait, to the matrix in force
        without the leaving seats.
        """
        targets, staying, tokens = self._interrupt()
        committed: list[int] = []
        ramp_ms = LEAVE_RAMP_MS
        command = self.pending
        if leave_only or command is None:
            gone = [i for i, seat in enumerate(self.seats) if seat in self.leaving]
            targets[gone, :] = 0
            targets[:, gone] = 0
            staying = tuple(seat for seat in staying if seat not in self.leaving)
            self.forwards.gone |= self.leaving
        else:
            staying = command.seats
            union = staying + tuple(seat for seat in self.seats if seat not in set(staying))
            targets = expanded(staying, np.array(command.gains, np.float64), union)
            self.gains = expanded(self.seats, self.gains, union)
            self.seats = union
            self.forwards = Forwards(command.seats, command.dtmf)
            going = self.untimed - set(staying)  # without a say until they are gone
            self.untimed = (command.untimed | going) & set(union)
            ramp_ms, self.limited = command.ramp_ms, command.limited
            committed, self.pending_tokens, self.pending = self.pending_tokens, [], None
        if not ramps_exactly(self.gains, targets):
            ramp_ms = 0
        self.ramp = Ramp(targets, staying, ramp_ms, tokens + committed)
        self.leaving.clear()
        return committed

    def _interrupt(self) -> tuple[Exact, tuple[int, ...], list[int]]:
        """End a ramp where it is; return where it was going, with whom, and its tokens."""
        ramp = self.ramp
        if ramp is None:
            return self.gains.copy(), self.seats, []
        coefficient = coefficients_of_frame(ramp.ramp_ms, ramp.position - 1, 1)[0]
        self.gains = gains_within(self.gains, ramp.targets, float(coefficient))
        self.ramp = None
        return ramp.targets.copy(), ramp.staying, ramp.tokens

    def advance(self, samples: int) -> bool:
        """Count a mixed frame; True when the ramp is done and the targets are in force."""
        ramp = self.ramp
        if ramp is None:
            return False
        ramp.position += samples
        if ramp.position < ramp.samples:
            return False
        self.gains = ramp.targets
        return True

    def settle(self) -> tuple[int, ...]:
        """Drop the seats that have faded out and return them."""
        if self.ramp is None:
            return ()
        staying = self.ramp.staying
        kept = set(staying)
        gone = tuple(seat for seat in self.seats if seat not in kept)
        self.gains = expanded(self.seats, self.gains, staying)
        self.seats = staying
        self.untimed &= kept
        self.ramp = None
        return gone

    def contributors(self) -> dict[int, tuple[int, ...]]:
        """For each listener the talkers whose gain is not zero somewhere in the next frame."""
        gains = self.gains if self.ramp is None else np.maximum(self.gains, self.ramp.targets)
        return {
            seat: tuple(self.seats[j] for j in np.flatnonzero(row).tolist())
            for seat, row in zip(self.seats, gains, strict=True)
        }


def expanded(seats: tuple[int, ...], gains: Exact, onto: tuple[int, ...]) -> Exact:
    """Return a matrix for other seats: zero for those it does not know."""
    result = np.zeros((len(onto), len(onto)))
    size = len(seats)
    if onto[:size] == seats:  # nearly always: who comes and who goes are put last
        result[:size, :size] = gains
        return result
    known = {seat: i for i, seat in enumerate(seats)}
    to = [i for i, seat in enumerate(onto) if seat in known]
    if to:
        at = [known[onto[i]] for i in to]
        result[np.ix_(to, to)] = gains[np.ix_(at, at)]
    return result


def shape_refusal(command: SetMatrix) -> str | None:
    """Say what is wrong with the form of a matrix command, or None."""
    count = len(command.seats)
    if len(set(command.seats)) != count:
        return "a seat is listed twice; each has one row and column"
    if len(command.gains) != count or any(len(row) != count for row in command.gains):
        return f"gains of another shape than {count} x {count}"
    dtmf = command.dtmf
    if dtmf and (len(dtmf) != count or any(len(row) != count for row in dtmf)):
        return f"dtmf of another shape than {count} x {count}; () forwards nothing"
    return None


def without(command: SetMatrix, seat: int) -> SetMatrix:
    """Return a matrix command that no longer names a seat."""
    at = command.seats.index(seat)

    def cut(row: tuple[Any, ...]) -> tuple[Any, ...]:
        return row[:at] + row[at + 1 :]

    return replace(
        command,
        seats=cut(command.seats),
        gains=tuple(cut(row) for row in cut(command.gains)),
        dtmf=tuple(cut(row) for row in cut(command.dtmf)),
    )
