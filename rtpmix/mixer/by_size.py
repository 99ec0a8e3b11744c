"""The bridges of one phase by their size, in arrays that are kept up to date as bridges change.

Whoever sets calls up on a busy server changes a phase of a hundred bridges dozens of times a
second. Only the bridge that changed is looked at seat by seat.
"""

from __future__ import annotations

import numpy as np

from .bridge import Bridge
from .crowd import Crowd, crowd_of
from .gains import Exact
from .rows import Numbers, Rows


class BridgesOfSize:
    """Bridges with one number of seats, in no particular order.

    Attributes
    ----------
    members : list of Bridge
    places : dict
        Number of a bridge -> its place in ``members``, ``rows`` and ``gains``.
    rows : (>= members, size) int64 ndarray
        Of the seats of each.
    gains : (>= members, size, size) float64 ndarray
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.members: list[Bridge] = []
        self.places: dict[int, int] = {}
        self.rows: Numbers = np.zeros((1, size), np.int64)
        self.gains: Exact = np.zeros((1, size, size))
        self._crowd: Crowd | None = None
        self._crowd_known = False

    @property
    def crowd(self) -> Crowd | None:
        """The gains of a single large bridge, taken apart."""
        if not self._crowd_known:
            self._crowd = crowd_of(self.gains[0]) if len(self.members) == 1 else None
            self._crowd_known = True
        return self._crowd

    def put(self, bridge: Bridge, rows: list[int]) -> None:
        """Take a bridge in, or over what has changed of it."""
        place = self.places.get(bridge.number)
        if place is None:
            place = self.places[bridge.number] = len(self.members)
            self.members.append(bridge)
            if place == len(self.rows):
                self.rows = np.concatenate([self.rows, np.zeros_like(self.rows)])
                self.gains = np.concatenate([self.gains, np.zeros_like(self.gains)])
        self.rows[place] = rows
        self.gains[place] = bridge.gains
        self._crowd_known = False

    def drop(self, number: int) -> None:
        """Take a bridge out; the last one takes its place."""
        place, last = self.places.pop(number), self.members.pop()
        end = len(self.members)
        if place < end:
            self.members[place] = last
            self.places[last.number] = place
            self.rows[place] = self.rows[end]
            self.gains[place] = self.gains[end]
        self._crowd_known = False


class BySize:
    """The bridges of a phase that have seats.

    Attributes
    ----------
    changing, limited : dict
        Number -> bridge: those with a ramp under way, and those with a limiter.
    """

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self._of_size: dict[int, BridgesOfSize] = {}
        self._size_of: dict[int, int] = {}  # number of a bridge -> seats that it is kept with
        self.changing: dict[int, Bridge] = {}
        self.limited: dict[int, Bridge] = {}

    def put(self, bridge: Bridge) -> None:
        """Take a bridge in, or over what has changed of it: seats, gains, ramp, limiter."""
        number, size = bridge.number, len(bridge.seats)
        if self._size_of.get(number, size) != size:
            self.drop(number)
        if not size:
            return
        if self._size_of.get(number) is None:
            self._size_of[number] = size
            if size not in self._of_size:
                self._of_size[size] = BridgesOfSize(size)
        row_of = self._rows.of_seat
        self._of_size[size].put(bridge, [row_of[seat] for seat in bridge.seats])
        _note(self.changing, bridge, bridge.ramp is not None)
        _note(self.limited, bridge, bridge.limited)

    def drop(self, number: int) -> None:
        """Take a bridge out, if it is here."""
        size = self._size_of.pop(number, None)
        if size is None:
            return
        same = self._of_size[size]
        same.drop(number)
        if not same.members:
            del self._of_size[size]
        self.changing.pop(number, None)
        self.limited.pop(number, None)

    def groups(self) -> list[BridgesOfSize]:
        """Return what is here, the smallest bridges first."""
        return [same for _, same in sorted(self._of_size.items())]

    def of(self, number: int) -> BridgesOfSize | None:
        """Return a bridge's group; None where it is not here."""
        size = self._size_of.get(number)
        return None if size is None else self._of_size[size]


def _note(notes: dict[int, Bridge], bridge: Bridge, is_so: bool) -> None:
    if is_so:
        notes[bridge.number] = bridge
    else:
        notes.pop(bridge.number, None)
