"""Frames of recorded legs at a higher rate than 8 kHz: what they say, and what they are sent.

A recording keeps one rate for a leg, the one that its codec had when it began. As long as the
codec has that rate, both frames are there already: the native one of the leg's row, and what its
encoder gets. Behind another codec (RFC 3264 section 8.3.2) they are made for the recording alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..audio.codecs import NARROW_HZ
from .layout import Layout
from .rows import Numbers, Rows
from .switchboard import Switchboard
from .tap import WideFrames
from .wide import Party, WideLegs
from .wide_ear import Ear, Hearing

Linear = NDArray[np.int16]


@dataclass(slots=True)
class WideGroup:
    """The recorded legs of one rate in a layout.

    Attributes
    ----------
    legs, rows
        Seats and rows, in the order of the layout's recorded legs.
    own, numbers : (n,) int64 ndarray
        Those whose codec has this rate: their numbers here, and in their party.
    party
        Which one, and its number; None where no leg has the rate any more.
    others
        The numbers here of those that have another codec now.
    """

    rate_hz: int
    legs: list[int] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)
    own: Numbers = field(default_factory=lambda: np.zeros(0, np.int64))
    numbers: Numbers = field(default_factory=lambda: np.zeros(0, np.int64))
    party: tuple[int, Party] | None = None
    others: list[int] = field(default_factory=list)


class WideRecords:
    """Makes the frames of the legs that are recorded at a higher rate."""

    def __init__(self, rows: Rows, board: Switchboard, wide: WideLegs) -> None:
        self._rows = rows
        self._wide = wide
        self._hearing = Hearing(rows, board, wide)
        self._ears: dict[int, Ear] = {}  # by leg

    def forget(self, leg: int) -> None:
        """Drop what is known of a leg that is no longer recorded."""
        self._ears.pop(leg, None)

    def arrange(
        self, layout: Layout, legs: tuple[int, ...], rates: Mapping[int, int]
    ) -> list[WideGroup]:
        """Find the legs of each higher rate; it holds as long as the layout does.

        Parameters
        ----------
        legs
            The recorded ones of a layout.
        rates
            Of all recorded legs, by seat.
        """
        groups: dict[int, WideGroup] = {}
        for leg in legs:
            rate_hz = rates[leg]
            if rate_hz != NARROW_HZ:
                group = groups.setdefault(rate_hz, WideGroup(rate_hz))
                group.legs.append(leg)
                group.rows.append(self._rows.of_seat[leg])
        for group in groups.values():
            self._split(layout, group)
        return list(groups.values())

    def _split(self, layout: Layout, group: WideGroup) -> None:
        """Tell those who have the rate themselves from the others."""
        places: dict[int, int] = {}
        for number, party in enumerate(self._wide.parties(layout)):
            if party.pool.rate_hz == group.rate_hz:
                group.party = number, party
                places = {row: place for place, row in enumerate(party.rows.tolist())}
        own = [number for number, row in enumerate(group.rows) if row in places]
        group.own = np.array(own, np.int64)
        group.numbers = np.array([places[group.rows[number]] for number in own], np.int64)
        group.others = [number for number, row in enumerate(group.rows) if row not in places]

    def take(
        self,
        layout: Layout,
        groups: list[WideGroup],
        spoken: Linear,
        heard: list[Linear | None],
    ) -> tuple[WideFrames, ...]:
        """Return this frame of every group.

        Parameters
        ----------
        spoken : (n, 160) int16 ndarray
            What everybody says at 8 kHz, in layout order.
        heard
            What each of the layout's parties hears at its rate.
        """
        self._hearing.begin()
        made = tuple(self._frames(layout, group, spoken, heard) for group in groups)
        self._hearing.end(layout)
        return made

    def _frames(
        self, layout: Layout, group: WideGroup, spoken: Linear, heard: list[Linear | None]
    ) -> WideFrames:
        said = np.zeros((len(group.legs), group.rate_hz // 50), np.int16)
        got = np.zeros_like(said)
        if group.party is not None and group.own.size:
            number, party = group.party
            said[group.own] = party.pool.native[party.at[group.numbers]]
            mixed = heard[number]
            assert mixed is not None  # None is for parties of 8 kHz
            got[group.own] = mixed[group.numbers]
        for number in group.others:
            leg, row = group.legs[number], group.rows[number]
            ear = self._ears.setdefault(leg, Ear(leg, group.rate_hz))
            said[number] = self._hearing.spoken(layout, spoken, row, group.rate_hz)
            got[number] = self._hearing.heard(layout, spoken, ear)
        return WideFrames(group.rate_hz, tuple(group.legs), said, got)
