"""What listeners of a higher rate hear: their bridges once more, at their rate, for them alone.

Each talker is resampled to the rates that somebody hears it at, once a rate, and the rows of these
listeners in the matrix are applied to that, for all bridges of one shape at once. Nothing here
reads or changes what is mixed at 8 kHz.

References
----------
RFC 3550 section 5.1; RFC 3551 section 4.1; RFC 7587 section 4.1
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..audio.codecs import NARROW_HZ
from ..audio.resample import resampler
from .bridge import Bridge
from .gains import Exact, coefficients_of_frame, mix, mix_ramp, to_samples
from .layout import Layout, Room
from .limiter import limit
from .rows import FRAME, Numbers, Rows
from .wide import Party, WideLegs
from .wide_pool import Pool

Linear = NDArray[np.int16]


@dataclass(slots=True)
class Stack:
    """Rooms with as many listeners and talkers as each other; or a single one that ramps.

    Attributes
    ----------
    heard : (rooms * listeners,) int64 ndarray
        The listeners, as numbers in their party.
    talk : (rooms, talkers) int64 ndarray
        The talkers, as numbers among all talkers of the rate.
    gains : (rooms, listeners, talkers) float64 ndarray
        Q15.
    """

    heard: Numbers
    talk: Numbers
    gains: Exact
    limited: bool
    ramping: Room | None = None


@dataclass(slots=True)
class RatePlan:
    """How the listeners of one rate in a layout are mixed.

    Attributes
    ----------
    narrow : (n,) int64 ndarray
        Places of talkers of 8 kHz, in the order in which talkers are numbered.
    natives
        The other talkers, numbered after the narrow ones: their pools, and rows in them.
    """

    party: Party
    narrow: Numbers
    natives: list[tuple[Pool, Numbers]]
    stacks: list[Stack]


class WideMix:
    """Mixes for listeners whose codec has a higher rate than 8 kHz."""

    def __init__(self, rows: Rows, legs: WideLegs) -> None:
        self._rows = rows
        self._legs = legs
        self._past: dict[int, Linear] = {}  # rate -> (rows, n): last samples of talkers at 8 kHz

    def mix(self, layout: Layout, spoken: Linear) -> list[Linear | None]:
        """Return what each party of a layout hears.

        Returns
        -------
        list of (legs, frame) int16 ndarray
            One for each of `WideLegs.parties`; None for one of 8 kHz.
        """
        parties = self._legs.parties(layout)
        if layout.stacks is None:
            layout.stacks = [_plan(layout, self._legs, party) for party in parties]
        plans: list[RatePlan | None] = layout.stacks
        return [self._mix(layout, spoken, plan) if plan is not None else None for plan in plans]

    def _mix(self, layout: Layout, spoken: Linear, plan: RatePlan) -> Linear:
        pool = plan.party.pool
        heard = np.zeros((len(plan.party.legs), pool.frame), np.int16)
        talk = self._talkers(layout, spoken, plan)
        for stack in plan.stacks:
            exact = _gained(stack, talk, pool.rate_hz)
            exact = exact.reshape(-1, pool.frame)
            if stack.limited:
                at = plan.party.at[stack.heard]
                pool.limiter_gain[at] = limit(exact, pool.limiter_gain[at])
            out = np.empty(exact.shape, np.int16)
            clipped = to_samples(exact, out)
            heard[stack.heard] = out
            if clipped is not None:
                self._rows.clipped[plan.party.rows[stack.heard]] += clipped
        return heard

    def _talkers(self, layout: Layout, spoken: Linear, plan: RatePlan) -> Exact:
        """Return the frames of all talkers of a rate."""
        count = plan.narrow.size + sum(at.size for _, at in plan.natives)
        talk: Exact = np.empty((count, plan.party.pool.frame))
        done = plan.narrow.size
        if done:
            talk[:done] = self._resampled(
                layout.rows[plan.narrow], spoken[plan.narrow], plan.party.pool.rate_hz
            )
        for pool, at in plan.natives:
            talk[done : done + at.size] = pool.at_rate(at, plan.party.pool.rate_hz)
            done += at.size
        return talk

    def _resampled(self, rows: Numbers, spoken: Linear, rate_hz: int) -> Linear:
        """Resample talkers of 8 kHz."""
        up = resampler(NARROW_HZ, rate_hz)
        past = self._past.get(rate_hz)
        if past is None or len(past) < self._rows.capacity:
            grown = np.zeros((self._rows.capacity, up.history), np.int16)
            if past is not None:
                grown[: len(past)] = past
            past = self._past[rate_hz] = grown
        out = up.process(spoken, past[rows])
        past[rows] = spoken[:, -up.history :]
        return out

    def forget(self, row: int) -> None:
        """Drop what is known of a row that is given back."""
        for past in self._past.values():
            past[row : row + 1] = 0


def _plan(layout: Layout, legs: WideLegs, party: Party) -> RatePlan | None:
    """Find out once for a layout how the listeners of a party are mixed."""
    rate_hz = party.pool.rate_hz
    if rate_hz == NARROW_HZ:
        return None
    rooms = [room for room in layout.rooms if room.rate_hz == rate_hz and room.talkers]
    narrow: list[int] = []
    wide: dict[int, tuple[Pool, list[int], list[int]]] = {}
    for place in sorted({place for room in rooms for place in room.talkers}):
        found = legs.native(int(layout.rows[place]))
        if found is None:
            narrow.append(place)
        else:
            pool, at = found
            _, places, rows = wide.setdefault(pool.rate_hz, (pool, [], []))
            places.append(place)
            rows.append(at)
    order = narrow + [place for _, places, _ in wide.values() for place in places]
    numbers = {place: number for number, place in enumerate(order)}
    listeners = {place: number for number, place in enumerate(party.places.tolist())}
    natives = [(pool, np.array(rows, np.int64)) for pool, _, rows in wide.values()]
    stacks = _stacked(rooms, listeners, numbers)
    return RatePlan(party, np.array(narrow, np.int64), natives, stacks)


def _stacked(rooms: list[Room], listeners: dict[int, int], numbers: dict[int, int]) -> list[Stack]:
    alike: dict[tuple[object, ...], list[Room]] = {}
    for room in rooms:
        ramps = room.bridge.number if room.bridge.ramp is not None else None
        shape = (len(room.listeners), len(room.talkers), room.bridge.limited, ramps)
        alike.setdefault(shape, []).append(room)
    return [
        Stack(
            heard=np.array([listeners[p] for room in same for p in room.listeners], np.int64),
            talk=np.array([[numbers[p] for p in room.talkers] for room in same], np.int64),
            gains=np.array([_part(room, room.bridge.gains) for room in same]),
            limited=same[0].bridge.limited,
            ramping=same[0] if same[0].bridge.ramp is not None else None,
        )
        for same in alike.values()
    ]


def _part(room: Room, gains: Exact) -> Exact:
    """Return the part of a bridge's matrix that a room is about."""
    part: Exact = gains[np.ix_(room.listeners_of, room.talkers_of)]
    return part


def _gained(stack: Stack, talk: Exact, rate_hz: int) -> Exact:
    """Apply the gains of some rooms, a ramp included."""
    spoken: Exact = talk[stack.talk]
    bridge: Bridge | None = stack.ramping.bridge if stack.ramping is not None else None
    ramp = bridge.ramp if bridge is not None else None
    if bridge is None or ramp is None or stack.ramping is None:
        return mix(spoken, stack.gains)
    samples = talk.shape[1]
    position = ramp.position * (samples // FRAME)
    coefficients = coefficients_of_frame(
        ramp.ramp_ms, position, samples, samples_a_ms=rate_hz // 1000
    )
    targets = _part(stack.ramping, ramp.targets)
    return mix_ramp(spoken[0], _part(stack.ramping, bridge.gains), targets, coefficients)
