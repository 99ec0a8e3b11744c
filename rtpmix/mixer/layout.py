"""The order in which the rows of one phase are mixed: bridges of one size side by side.

Bridges of a size become one (bridges, seats, seats) stack, mixed by one call. A layout holds until
a bridge of its phase changes or a seat comes or goes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..audio.codecs import BY_NUMBER, NARROW_HZ
from .bridge import Bridge
from .by_size import BridgesOfSize, BySize
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


@dataclass(frozen=True, slots=True)
class Group:
    """Bridges of one size: rows ``start`` to ``stop`` of the layout."""

    start: int
    stop: int
    bridges: BridgesOfSize


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
    groups : dict
        By the number of their seats.
    legs, alaw, limited, wide : int64 ndarray
        Places in ``rows``: of legs, of rows whose law is A-law, of those in bridges with a limiter,
        of legs whose codec is not G.711.
    """

    rows: Numbers
    mixed: int
    bridges: BySize  # as they are now: what may change in them while a layout holds is their gains
    groups: dict[int, Group]
    legs: Numbers
    alaw: Numbers
    limited: Numbers
    wide: Numbers
    rooms: list[Room] = field(default_factory=list)
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

    def start_of(self, bridge: Bridge) -> int:
        """Return the place in ``rows`` of a bridge's first seat."""
        size = len(bridge.seats)
        group = self.groups[size]
        return group.start + size * group.bridges.places[bridge.number]

    def retune(self) -> bool:
        """Go on with new gains of a bridge that keeps its seats; False where that takes another."""
        if self.wide.size:
            return False
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
        for size, group in self.groups.items():
            same, place = group.bridges, slice(group.start, group.stop)
            if same.crowd is not None:
                same.crowd.mix(talk[place], heard[place])
                continue
            shape = (-1, size, FRAME)
            gains = same.gains[: len(same.members)]
            product(gains, talk[place].reshape(shape), heard[place].reshape(shape))
        for bridge in self.bridges.changing.values():
            ramp = bridge.ramp
            if ramp is not None:
                start = self.start_of(bridge)
                place = slice(start, start + len(bridge.seats))
                coefficients = coefficients_of_frame(ramp.ramp_ms, ramp.position, FRAME)
                heard[place] = mix_ramp(talk[place], bridge.gains, ramp.targets, coefficients)
        return heard


def build(rows: Rows, bridges: BySize, loose: Sequence[int]) -> Layout:
    """Arrange the bridges of a phase, and the rows of the phase that sit in none."""
    groups: dict[int, Group] = {}
    order: list[Numbers] = []
    mixed = 0
    for same in bridges.groups():
        start, mixed = mixed, mixed + len(same.members) * same.size
        groups[same.size] = Group(start, mixed, same)
        order.append(same.rows[: len(same.members)].reshape(-1))
    index = np.concatenate([*order, np.array(loose, np.int64)])
    kinds = rows.kind[index]
    layout = Layout(
        rows=index,
        mixed=mixed,
        bridges=bridges,
        groups=groups,
        legs=np.flatnonzero(kinds == _LEG),
        alaw=np.flatnonzero(rows.law[index] == PCMA),
        limited=np.zeros(0, np.int64),
        wide=np.flatnonzero(rows.is_wide[index]),
        sources=index[kinds == _SOURCE].tolist(),
        taps=index[kinds == _TAP].tolist(),
    )
    if bridges.limited:
        starts = [
            (layout.start_of(bridge), len(bridge.seats)) for bridge in bridges.limited.values()
        ]
        limited = [place for start, size in starts for place in range(start, start + size)]
        layout.limited = np.array(limited, np.int64)
    if layout.wide.size:
        layout.rooms = _rooms(rows, layout)
    return layout


def _rooms(rows: Rows, layout: Layout) -> list[Room]:
    """Find who hears at a higher rate, in the order of `build`."""
    rooms: list[Room] = []
    for group in layout.groups.values():
        for bridge in group.bridges.members:
            by_rate: dict[int, list[int]] = {}
            for at, seat in enumerate(bridge.seats):
                row = rows.of_seat[seat]
                rate_hz = BY_NUMBER[int(rows.law[row])].rate_hz
                if rate_hz > NARROW_HZ and rows.is_wide[row]:
                    by_rate.setdefault(rate_hz, []).append(at)
            for rate_hz, listeners in by_rate.items():
                rooms.append(_room(bridge, layout.start_of(bridge), rate_hz, listeners))
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
