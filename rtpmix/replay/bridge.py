"""One bridge of a capture, mixed again by the mixer's own bridge."""

from __future__ import annotations

from collections import defaultdict, deque
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..mixer.bridge import Bridge
from ..mixer.commands import UNITY, SetMatrix
from ..mixer.gains import coefficients_of_frame, mix, mix_ramp, to_samples
from ..mixer.limiter import FORGETS, limit
from .wide import WideMixes

FRAME = 160
Linear = NDArray[np.int16]


class ReplayedBridge:
    """The mixer's own bridge, driven by the matrix facts of one number."""

    def __init__(
        self, number: int, facts: list[dict[str, Any]], moves: deque[tuple[int, int]]
    ) -> None:
        self._bridge = Bridge(number, 0)
        self._moves = moves
        self._matrices, self._unsettled = _in_order(facts)
        self._next = 0
        self._ticked: int | None = None
        self._limiter: dict[int, int] = {}  # seat -> Q15 gain
        self._unsure: dict[int, int] = {}  # seat -> sample until which that gain may be another

    def ticks_at(self, sample: int, spoken: dict[int, Linear]) -> bool:
        """Whether the frames of this sample are of this bridge's phase."""
        self._take_in_force(sample)
        while self._moves and self._moves[0][0] <= sample:
            self._take_move(*self._moves.popleft())
        if self._ticked is not None and (sample - self._ticked) % FRAME:
            return False
        coming = set(self._bridge.seats)
        if self._next < len(self._matrices) and self._matrices[self._next]["sample"] <= sample:
            coming.update(self._matrices[self._next]["seats"])
        return bool(coming & spoken.keys())

    def is_unsettled(self, sample: int, seat: int) -> bool:
        """Whether a matrix told of as in force may still have been on its way, or a limiter."""
        if sample < self._unsure.get(seat, 0):
            return True
        return any(sample in window for window in self._unsettled)

    def mix(
        self, sample: int, spoken: dict[int, Linear], wide: WideMixes | None = None
    ) -> dict[int, Linear | None]:
        """Return what each seat hears; None where something is in it that is not here.

        ``wide`` compares what wide legs heard, by the same matrix.
        """
        self._miss_until(sample)
        self._begin(sample)
        self._ticked = sample
        bridge = self._bridge
        silence = np.zeros(FRAME, np.int16)
        talk = np.array([spoken.get(seat, silence) for seat in bridge.seats], np.float64)
        contributors = bridge.contributors()
        result: dict[int, Linear | None] = {}
        if bridge.seats:
            heard = np.zeros((len(bridge.seats), FRAME), np.int16)
            whole = [
                all(talker in spoken for talker in contributors[seat]) for seat in bridge.seats
            ]
            exact = self._mix(talk)
            if bridge.limited:
                self._limit(exact, whole, sample)
            to_samples(exact, heard)
            for row, seat in enumerate(bridge.seats):
                result[seat] = heard[row] if whole[row] else None
        if wide is not None:
            wide.mix(bridge, {seat for seat in bridge.seats if self.is_unsettled(sample, seat)})
        self._advance()
        return result

    def _limit(self, exact: NDArray[np.float64], whole: list[bool], sample: int) -> None:
        """Limit a frame as the mixer did, from where it was; a gain that is not known, from 1.0."""
        seats = self._bridge.seats
        gains = limit(exact, np.array([self._limiter.get(seat, UNITY) for seat in seats], np.int64))
        self._limiter = dict(zip(seats, gains.tolist(), strict=True))
        for seat, is_whole in zip(seats, whole, strict=True):
            if not is_whole:
                self._unsure[seat] = sample + (FORGETS + 1) * FRAME

    def _take_move(self, sample: int, last: int) -> None:
        """Take a new time of the ticks: after the one at ``last`` comes the one at ``sample``."""
        if self._ticked is not None:
            self._miss_until(last + FRAME)
            self._ticked = sample - FRAME

    def _miss_until(self, sample: int) -> None:
        """Ticks that were lost in a gap moved a ramp on all the same."""
        if self._ticked is not None:
            for tick in range(self._ticked + FRAME, sample, FRAME):
                self._begin(tick)
                self._advance()
                if self._bridge.limited:
                    sure = tick + (FORGETS + 1) * FRAME
                    self._unsure |= dict.fromkeys(self._bridge.seats, sure)

    def _mix(self, talk: NDArray[np.float64]) -> NDArray[np.float64]:
        bridge, ramp = self._bridge, self._bridge.ramp
        if ramp is None:
            return mix(talk, bridge.gains)
        coefficients = coefficients_of_frame(ramp.ramp_ms, ramp.position, FRAME)
        return mix_ramp(talk, bridge.gains, ramp.targets, coefficients)

    def _take_in_force(self, sample: int) -> None:
        """Take a matrix that was in force when the recording began: it does not ramp in."""
        if self._next == len(self._matrices):
            return
        matrix = self._matrices[self._next]
        if matrix.get("in_force") and matrix["sample"] <= sample:
            self._next += 1
            self._bridge.settle()
            self._bridge.seats = tuple(matrix["seats"])
            self._bridge.gains = np.array(matrix["gains"], np.float64)
            self._bridge.limited = bool(matrix.get("limited"))

    def _begin(self, sample: int) -> None:
        """Take the newest matrix that took effect by this tick, and who left without one."""
        while self._next < len(self._matrices) and self._matrices[self._next]["sample"] <= sample:
            matrix = self._matrices[self._next]
            if matrix.get("in_force"):
                self._take_in_force(sample)
                continue
            self._next += 1
            if matrix["event"] == "leaving":
                self._bridge.leaving.update(matrix["seats"])
                self._bridge.begin(leave_only=True)
                continue
            self._bridge.pending = SetMatrix(
                bridge=self._bridge.number,
                seats=tuple(matrix["seats"]),
                gains=tuple(tuple(row) for row in matrix["gains"]),
                ramp_ms=int(matrix["ramp_ms"]),
                limited=bool(matrix.get("limited")),
            )
        if self._bridge.pending is not None:
            self._bridge.begin(leave_only=False)

    def _advance(self) -> None:
        if self._bridge.advance(FRAME):
            for seat in self._bridge.settle():
                self._limiter.pop(seat, None)


def matrices(facts: list[dict[str, Any]]) -> dict[int, list[dict[str, Any]]]:
    """Return the matrices of each bridge and, in between, who left before a matrix said so."""
    found: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for fact in facts:
        bridge = int(fact.get("bridge", -1))
        if fact["event"] == "matrix" or (fact["event"] == "leaving" and bridge in found):
            found[bridge].append(fact)
    return found


def moves(facts: list[dict[str, Any]]) -> dict[int, deque[tuple[int, int]]]:
    """Return when the ticks of each bridge moved: the first tick, and the last one before."""
    found: dict[int, deque[tuple[int, int]]] = defaultdict(deque)
    for fact in facts:
        if fact["event"] == "moved":
            sample = int(fact["sample"])
            found[int(fact["bridge"])].append((sample, sample - int(fact["after"])))
    return found


def _in_order(facts: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[range]]:
    """Return the facts of one bridge by sample, and when its matrix was not settled.

    A recording that begins in mid-call tells the newest matrix as in force. It may still ramp then,
    or wait behind others; those that waited are told when they are in, perhaps at a sample before.
    Of several facts at one sample the last counts.
    """
    kept: dict[int, dict[str, Any]] = {}
    unsettled: list[range] = []
    begun, waiting = -1, 0
    for fact in facts:
        sample = int(fact["sample"])
        settled = sample + 8 * int(fact.get("ramp_ms", 0)) + 2 * FRAME
        if fact.get("limited") and fact.get("in_force"):
            settled += (FORGETS + 1) * FRAME  # where its gains were is not told
        if fact.get("in_force"):
            begun, waiting = sample, int(fact["waiting"])
            unsettled.append(range(begun, settled))
        elif fact["event"] == "matrix" and waiting:
            waiting -= 1
            unsettled[-1] = range(begun, max(settled, unsettled[-1].stop))
        elif fact["event"] == "matrix" and sample == begun and unsettled:
            # Newer than what was in force, and in at the same tick: from what was there before.
            unsettled[-1] = range(begun, max(settled, unsettled[-1].stop))
            kept[sample] = fact
        if sample > begun or fact.get("in_force"):
            kept[sample] = fact
    return [kept[sample] for sample in sorted(kept)], unsettled
