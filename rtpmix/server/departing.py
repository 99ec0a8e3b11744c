"""What legs on shared ports send in a beat: one call a port, from a plan that lasts.

A plan is laid out in columns, for whoever sets calls up on a busy server changes it all the time.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ..mixer.boxes import Outbox
from . import mmsg


@dataclass(frozen=True, slots=True, eq=False)
class _Plan:
    """What is sent in a phase: to whom, and on which descriptor which part of it."""

    version: int
    planned: frozenset[int]  # rows that have been looked at, whether they send here or not
    departures: mmsg.Departures
    rows: list[int]
    parts: list[tuple[int, int, int]]  # descriptor, first, stop


class Departing:
    """Knows from which descriptor each row sends its RTP, and where to."""

    def __init__(self) -> None:
        self._plans: dict[int, _Plan] = {}  # by phase
        # By row: the descriptor that sends its RTP, -1 for none, and where to.
        self._senders = np.full(64, -1, np.int64)
        self._targets = np.zeros((64, mmsg.SOCKADDR_IN), np.uint8)

    def speak(self, row: int, descriptor: int, name: bytes) -> None:
        """Send what a row says on this descriptor, to this ``sockaddr_in``."""
        self.silence(row)
        self._senders[row] = descriptor
        self._targets[row] = np.frombuffer(name, np.uint8)

    def silence(self, row: int) -> None:
        """Let nothing be sent for a row any more; plans that have it don't hold."""
        self._make_room(row)
        self._senders[row] = -1
        for phase in [phase for phase, plan in self._plans.items() if row in plan.planned]:
            del self._plans[phase]

    def send(self, outbox: Outbox) -> list[int]:
        """Send the packets of a phase that go from here; return the rows whose send failed."""
        plan = self._plan(outbox)
        failed: list[int] = []
        for descriptor, first, stop in plan.parts:
            places = plan.departures.send(descriptor, first, stop)
            failed += [plan.rows[place] for place in places]
        return failed

    def _make_room(self, row: int) -> None:
        more = row + 1 - self._senders.size
        if more > 0:
            more = max(more, self._senders.size)
            self._senders = np.pad(self._senders, (0, more), constant_values=-1)
            self._targets = np.pad(self._targets, ((0, more), (0, 0)))

    def _plan(self, outbox: Outbox) -> _Plan:
        """Return what to send on each port for a phase, made anew only after a change."""
        known = self._plans.get(outbox.phase)
        if known is not None and known.version == outbox.version:
            return known
        rows = np.array(outbox.rows, np.int64)
        if rows.size:
            self._make_room(int(rows.max()))
        senders = self._senders[rows]
        order = np.argsort(senders, kind="stable")[np.count_nonzero(senders < 0) :]
        rows, senders = rows[order], senders[order]
        targets, starts = self._targets[rows], outbox.starts
        if starts is None:
            views = [outbox.views[place] for place in order.tolist()]
            departures = mmsg.Departures(views, targets)
        else:
            departures = mmsg.Departures(outbox.views, targets, starts[order])
        edges = [0, *(np.flatnonzero(np.diff(senders)) + 1).tolist(), rows.size]
        parts = [
            (int(senders[first]), first, stop) for first, stop in pairwise(edges) if first < stop
        ]
        plan = _Plan(outbox.version, frozenset(outbox.rows), departures, rows.tolist(), parts)
        self._plans[outbox.phase] = plan
        return plan
