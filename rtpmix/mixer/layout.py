"""The order in which the rows of one phase are mixed: bridges of one size side by side.

Bridges of a size become one (bridges, seats, seats) stack, mixed by one call. A layout holds until
a bridge of its phase changes or a seat comes or goes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain, count, repeat
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..audio.codecs import BY_NUMBER, NARROW_HZ
from .bridge import Bridge
from .crowd import Crowd, crowd_of
from .g711 import PCMA
from .gains import Exact, coefficients_of_frame, mix_ramp, product
from .rows import FRAME, Kind, Numbers, Rows

_LEG, _SOURCE, _TAP = int(Kind.LEG), int(Kind.SOURCE), int(Kind.TAP)  # numpy is slow with enums
# Recorded legs, their places, their laws, who contributes to what each hears, those of higher rates
# (as `wide_records` groups them), and those whose codec has another rate than their recording
Recorded = tuple[
    tuple[int, ...],
    Numbers,
    tuple[str, ...],
    tuple[tuple[int, ...], ...],
    list[Any],
    tuple[int, ...],
]


@dataclass(slots=True)
class Group:
    """Bridges of one size: rows ``start`` to ``stop`` of the layout."""

    start: int
    stop: int
    size: int
    gains: Exact  # (bridges, size, size)
    crowd: Crowd | None = None  # the same, taken apart; of a single large bridge only


@dataclass(slots=True)
class Room:
    """Listeners of one bridge who hear at one rate above 8 kHz, and whom they hear.

    Attributes
    ----------
    listeners, talkers : list of int
        Places in the layout.
    listeners_of, talkers_of : list of int
        Their rows and columns in the bridge's matrix.
    """

    bridge: Bridge
    rate_hz: int
    listeners: list[int]
    talkers: list[int]
    listeners_of: list[int]
    talkers_of: list[int]


@dataclass(slots=True)
class Layout:
    """What one phase mixes.

    Attributes
    ----------
    rows : (n,) int64 ndarray
        Rows in mixing order: bridges by size, then those without a bridge.
    mixed
        How many of them sit in a bridge.
    legs, alaw, limited, wide : int64 ndarray
        Places in ``rows``: of legs, of rows whose law is A-law, of those in bridges with a limiter,
        of legs whose codec is not G.711.
    """

    rows: Numbers
    mixed: int
    groups: list[Group]
    ramping: list[tuple[Bridge, int]]  # with the place of the first seat
    spots: dict[int, tuple[Group, int, int]]  # bridge -> group, its place there, that of its seats
    legs: Numbers
    alaw: Numbers
    limited: Numbers
    wide: Numbers
    rooms: list[Room]
    sources: list[int] = field(default_factory=list)  # rows
    taps: list[int] = field(default_factory=list)
    recorded: Recorded | None = None  # filled in by whoever records
    parties: list[Any] | None = None  # filled in by `wide`
    stacks: Any = None  # filled in by `wide_mix`
    _positions: dict[int, int] | None = None

    @property
    def positions(self) -> dict[int, int]:
        """Row -> its place in ``rows``; few ask, so it is made when somebody does."""
        if self._positions is None:
            self._positions = {row: place for place, row in enumerate(self.rows.tolist())}
        return self._positions

    def retune(self, bridge: Bridge) -> bool:
        """Take over new gains of a bridge whose seats stay; False where that takes a new layout."""
        spot = self.spots.get(bridge.number)
        if spot is None or self.wide.size:
            return False
        group, place, start = spot
        group.gains[place] = bridge.gains
        if len(group.gains) == 1:
            group.crowd = crowd_of(group.gains[0])
        self.ramping = [changing for changing in self.ramping if changing[0] is not bridge]
        if bridge.ramp is not None:
            self.ramping.append((bridge, start))
        self.recorded = None
        return True

    def mix(self, spoken: NDArray[np.int16]) -> Exact:
        """Mix one frame of every bridge.

        Parameters
        ----------
        spoken : (n, 160) int16 ndarray
            One frame a row, in layout order.

        Returns
        -------
        (mixed, 160) float64 ndarray
            Q15 sums, exact.
        """
        talk = spoken[: self.mixed].astype(np.float64)
        heard = np.empty_like(talk)
        for group in self.groups:
            if group.crowd is not None:
                place = slice(group.start, group.stop)
                group.crowd.mix(talk[place], heard[place])
                continue
            shape = (-1, group.size, FRAME)
            part = talk[group.start : group.stop].reshape(shape)
            product(group.gains, part, heard[group.start : group.stop].reshape(shape))
        for bridge, start in self.ramping:
            ramp = bridge.ramp
            if ramp is not None:
                place = slice(start, start + len(bridge.seats))
                coefficients = coefficients_of_frame(ramp.ramp_ms, ramp.position, FRAME)
                heard[place] = mix_ramp(talk[place], bridge.gains, ramp.targets, coefficients)
        return heard


def build(rows: Rows, bridges: Iterable[Bridge], loose: Sequence[int]) -> Layout:
    """Arrange the bridges of a phase, and the rows of the phase that sit in none."""
    by_size: dict[int, list[Bridge]] = {}
    for bridge in bridges:
        if bridge.seats:
            by_size.setdefault(len(bridge.seats), []).append(bridge)
    row_of = rows.of_seat.__getitem__
    order: list[int] = []
    groups: list[Group] = []
    ramping: list[tuple[Bridge, int]] = []
    spots: dict[int, tuple[Group, int, int]] = {}
    limited: list[int] = []
    for size, members in sorted(by_size.items()):
        start = len(order)
        order.extend(map(row_of, chain.from_iterable([bridge.seats for bridge in members])))
        gains = np.concatenate([bridge.gains for bridge in members]).reshape(-1, size, size)
        crowd = crowd_of(gains[0]) if len(members) == 1 else None
        group = Group(start, len(order), size, gains, crowd)
        groups.append(group)
        # In bulk: whoever calls a busy server has this done for all the bridges of its phase.
        starts = range(start, len(order), size)
        numbers = [bridge.number for bridge in members]
        spots.update(zip(numbers, zip(repeat(group), count(), starts), strict=False))
        for bridge, at in zip(members, starts, strict=True):
            if bridge.ramp is not None:
                ramping.append((bridge, at))
            if bridge.limited:
                limited.extend(range(at, at + size))
    mixed = len(order)
    order.extend(loose)
    index = np.array(order, np.int64)
    kinds = rows.kind[index]
    wide = np.flatnonzero(rows.is_wide[index])
    return Layout(
        rows=index,
        mixed=mixed,
        groups=groups,
        ramping=ramping,
        spots=spots,
        legs=np.flatnonzero(kinds == _LEG),
        alaw=np.flatnonzero(rows.law[index] == PCMA),
        limited=np.array(limited, np.int64),
        wide=wide,
        rooms=_rooms(rows, by_size) if wide.size else [],
        sources=index[kinds == _SOURCE].tolist(),
        taps=index[kinds == _TAP].tolist(),
    )


def _rooms(rows: Rows, by_size: dict[int, list[Bridge]]) -> list[Room]:
    """Find who hears at a higher rate, in the order of `build`."""
    rooms: list[Room] = []
    start = 0
    for size, members in sorted(by_size.items()):
        for bridge in members:
            by_rate: dict[int, list[int]] = {}
            for at, seat in enumerate(bridge.seats):
                row = rows.of_seat[seat]
                rate_hz = BY_NUMBER[int(rows.law[row])].rate_hz
                if rate_hz > NARROW_HZ and rows.is_wide[row]:
                    by_rate.setdefault(rate_hz, []).append(at)
            for rate_hz, listeners in by_rate.items():
                rooms.append(_room(bridge, start, rate_hz, listeners))
            start += size
    return rooms


def _room(bridge: Bridge, start: int, rate_hz: int, listeners: list[int]) -> Room:
    gains = bridge.gains if bridge.ramp is None else bridge.gains + bridge.ramp.targets
    talkers = np.flatnonzero(gains[listeners].any(axis=0)).tolist()
    return Room(
        bridge,
        rate_hz,
        [start + at for at in listeners],
        [start + at for at in talkers],
        listeners,
        talkers,
    )
