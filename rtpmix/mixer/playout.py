"""The playout buffer: which frame of a leg is due at which beat.

A slot is one ptime of a leg's timeline; slot 0 begins at ``slot_timestamp``. At a beat the slot
due is ``(beat - origin) // phases``, a function of the clock alone: a stalled host, a leg that
moves to a bridge of another phase and a lost packet change nothing about what is due when. Delay
therefore can't creep in; it changes only where this module moves ``origin``, on purpose:

* `anchor`: a new stream, or a jump of its timestamps; at once.
* `adjust`, once a window: packets that were all earlier than they need to be show delay that a
  burst or a slow start left behind, and it is cut; several that were late show that there is too
  little (a clock that drifts, a longer way), and there is one frame more of it.

The ring keeps G.711 codes, undecoded. ``lead`` is the delay aimed at, a number of each leg: that is
where an adaptive depth will put its estimate.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from .g711 import SILENCE
from .rows import FRAME, NEVER, SLOTS, Numbers, Rows

LATE_TO_STRETCH = 3  # times that packets are late in a window of half a second
JUMP_SLOTS = 50  # so far behind, a packet is no late packet but another timeline: 1 s
LATE_MS = 100  # packets late for so long: the timeline has moved


class Playout:
    """Places payloads in rings and takes the frames that are due.

    Parameters
    ----------
    phases
        Beats in a ptime; a beat is ``160 // phases`` samples.

    Attributes
    ----------
    behind
        Beats that the host runs late now. A packet read at such a beat has arrived at a later
        one: its delay must not be reckoned from the beat that is only now being made up for.
    """

    def __init__(self, rows: Rows, phases: int) -> None:
        self._rows = rows
        self.phases = phases
        self.beat_samples = FRAME // phases
        self.behind = 0
        self._late_beats = LATE_MS * 8 // self.beat_samples

    def beats(self, ms: int) -> int:
        """Return a time in beats, rounded up."""
        return -(-ms * 8 // self.beat_samples)

    def next_slot(self, row: int, beat: int) -> int:
        """Return the first slot that a packet arriving now is not too late for."""
        rows = self._rows
        tick = beat + (int(rows.phase[row]) - beat) % self.phases
        due = (tick - int(rows.origin[row])) // self.phases
        return max(due, int(rows.played_slot[row]) + 1)

    def anchor(self, row: int, timestamp: int, beat: int, size: int) -> None:
        """Begin a timeline with the packet that has just arrived.

        Packets that don't fill whole frames need a longer lead: the end of a frame comes up to
        ``160 - gcd(size, 160)`` samples after its begin.
        """
        rows = self._rows
        extra = FRAME - math.gcd(size, FRAME)
        rows.slot_timestamp[row] = timestamp
        rows.anchored_at[row] = beat
        rows.origin[row] = beat + self.behind + rows.lead[row] - (-extra // self.beat_samples)
        rows.played_slot[row] = -NEVER
        rows.ring_slot[row] = -NEVER
        rows.least_slack[row] = NEVER
        rows.late_in_window[row] = 0
        rows.late_since[row] = NEVER

    def place(self, row: int, timestamp: int, payload: bytes, beat: int, newest: bool) -> bool:
        """Put a payload of any size where its timestamp says; False when it came too late.

        ``newest``: no packet with a higher sequence number came before it. Only such a packet may
        move the timeline.
        """
        rows = self._rows
        if rows.origin[row] == NEVER:
            self.anchor(row, timestamp, beat, len(payload))
        offset = timestamp - int(rows.slot_timestamp[row])
        ahead = offset // FRAME - self.next_slot(row, beat)
        last = (offset + len(payload) - 1) // FRAME - self.next_slot(row, beat)
        if newest and (ahead >= SLOTS or last < 0):
            rows.late_since[row] = min(int(rows.late_since[row]), beat)
            if self.has_moved(np.array([row]), np.array([last]), beat)[0]:
                self.anchor(row, timestamp, beat, len(payload))
                offset = ahead = last = 0
        elif last >= 0:
            rows.late_since[row] = NEVER
        if last < 0 and newest:
            self.count_late(np.array([row]), beat)
        if last < 0 or ahead >= SLOTS:
            return False
        slack = int(rows.origin[row]) + offset // FRAME * self.phases - beat - self.behind
        rows.least_slack[row] = min(int(rows.least_slack[row]), slack)
        self._write(row, offset, payload, self.next_slot(row, beat))
        return True

    def count_late(self, index: Numbers, beat: int) -> None:
        """Count newest packets that came too late; those of one burst count as one."""
        rows = self._rows
        rows.late_in_window[index] += beat - rows.late_at[index] >= self.phases
        rows.late_at[index] = beat

    def has_moved(self, index: Numbers, ahead: Numbers, beat: int) -> NDArray[np.bool_]:
        """Whether newest packets out of the window mean that their timelines have moved.

        Late packets in a row may also come out of a queue that filled while this host stalled;
        they are done with before `LATE_MS`. Where nothing else comes, there is no such queue.

        Parameters
        ----------
        index : (n,) ndarray
            The rows.
        ahead : (n,) ndarray
            Slots from the first that is not too late to that of the packet; negative: late.
        """
        rows = self._rows
        late_for = beat - rows.late_since[index]
        nothing_comes = rows.missing_run[index] * FRAME >= LATE_MS * 8
        moved: NDArray[np.bool_] = (late_for >= self._late_beats) | nothing_comes
        return moved | (ahead < -JUMP_SLOTS) | (ahead >= 0)

    def _write(self, row: int, offset: int, payload: bytes, first: int) -> None:
        """Copy the parts of a payload to the slots they belong to."""
        rows = self._rows
        codes = np.frombuffer(payload, np.uint8)
        position = 0
        while position < len(codes):
            slot, begin = divmod(offset + position, FRAME)
            part = codes[position : position + FRAME - begin]
            position += len(part)
            if not first <= slot < first + SLOTS:
                continue
            place = slot % SLOTS
            if rows.ring_slot[row, place] != slot:
                rows.ring_slot[row, place] = slot
                rows.ring[row, place] = SILENCE[int(rows.law[row])]
            rows.ring[row, place, begin : begin + len(part)] = part

    def take(
        self, index: Numbers, beat: int
    ) -> tuple[NDArray[np.uint8], NDArray[np.bool_], NDArray[np.bool_]]:
        """Take the frames due at this beat.

        Returns
        -------
        codes : (n, 160) uint8 ndarray
            Undefined where ``present`` is false.
        present : (n,) bool ndarray
            Whether the frame had come.
        missing : (n,) bool ndarray
            Whether it should have: the stream has begun, and the frame was not played before.
        """
        rows = self._rows
        slot = (beat - rows.origin[index]) // self.phases
        place = slot % SLOTS
        fresh = slot > rows.played_slot[index]
        present = (rows.ring_slot[index, place] == slot) & fresh
        started = slot >= 0  # far below where no stream is anchored
        rows.played_slot[index] = np.maximum(slot, rows.played_slot[index])
        return rows.ring[index, place], present, started & fresh & ~present

    def adjust(self, beat: int, window: int) -> None:
        """Cut delay that nobody needs, add what is missing; at the end of a window of beats."""
        rows = self._rows
        # A beat of grace: arrival is known to a beat, and one packet in the window may be unlucky.
        excess = (rows.least_slack + 1 - rows.lead) // self.phases
        whole = beat - rows.anchored_at >= window
        late = rows.late_in_window >= LATE_TO_STRETCH
        trim = np.flatnonzero((rows.least_slack < NEVER) & whole & (excess > 0) & ~late)
        rows.origin[trim] -= excess[trim] * self.phases
        rows.trimmed[trim] += excess[trim]
        stretch = np.flatnonzero(late & (rows.origin < NEVER))
        rows.origin[stretch] += self.phases
        rows.stretched[stretch] += 1
        self.forget_window()

    def forget_window(self) -> None:
        """Begin a window anew: what was seen in it was the host's doing, not the network's."""
        self._rows.least_slack[:] = NEVER
        self._rows.late_in_window[:] = 0
