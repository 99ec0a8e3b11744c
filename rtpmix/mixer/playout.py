"""The playout buffer: which frame of a leg is due at which beat.

A slot is one ptime of a leg's timeline; slot 0 begins at ``slot_timestamp``. At a beat the slot
due is ``(beat - origin) // phases``, a function of the clock alone: a stalled host, a leg that
moves to a bridge of another phase and a lost packet change nothing about what is due when. Delay
therefore can't creep in; it changes only where this module moves ``origin``, on purpose:

* `anchor`: a new stream, or a jump of its timestamps; at once.
* `regain`: a packet that came too late, when it is not the only one, is played all the same: what
  was invented in its place has become delay (*put-in*), and nothing is left out.
* `adjust`, at the end of a window: delay that the slowest packets of the last seconds did not need
  is handed to `timescale`, which cuts it out a pitch period at a time.

What a packet's delay is measured by is its *transit*: the beat of its arrival less its slot. The
target is the second highest of the last 32 windows' highest transits: one burst or stall does not
count, jitter and a clock that drifts do. A clean network needs no frame of delay, and gets none.
``lead`` is the least delay, a number of each leg.

The ring keeps G.711 codes, undecoded; for legs of other codecs it is only marked (see `wide`).
Positions here are samples of 8 kHz, whatever a leg's RTP clock counts.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from .g711 import SILENCE
from .rows import FRAME, NEVER, SLOTS, WINDOWS, Numbers, Rows
from .wide import WideLegs

MAX_REGAIN = 4  # frames of delay that one late packet can add
MAX_DEPTH_MS = 200  # delay is not added beyond this; the ring holds 320
EVENTS_MS = 500  # packets late at two times within this: the delay is too small
JUMP_SLOTS = 50  # so far behind, a packet is no late packet but another timeline: 1 s
FEW = 2  # frames that may be given up for a timeline that has leapt
LATE_MS = 100  # packets late for so long: the timeline has moved


class Playout:
    """Places payloads in rings and takes the frames that are due.

    Parameters
    ----------
    phases
        Beats in a ptime; a beat is ``160 // phases`` samples.

    Attributes
    ----------
    early
        Beats that the datagram in hand came before the time that ``beat + behind`` tells.
    behind
        Beats that the host runs late now. A packet read at such a beat has arrived at a later
        one: its delay must not be reckoned from the beat that is only now being made up for.
    wide
        Legs whose codec is not G.711.
    grown
        Rows whose delay has grown since `placing` looked.
    cutting
        Whether any row may have delay to lose, or samples that wait.
    blind_until
        Beat until which what is late is the host's doing, not the network's.
    """

    def __init__(self, rows: Rows, phases: int) -> None:
        self._rows = rows
        self.wide = WideLegs(rows)
        self.phases = phases
        self.beat_samples = FRAME // phases
        self.behind = 0
        self.early = 0
        self.cutting = False  # whether any row has delay to lose
        self.grown: list[int] = []  # rows whose delay grew, since somebody looked
        self.blind_until = 0
        self._grace = int(phases > 2)  # arrival is known to a beat; one of 20 ms is no grace
        self._events_beats = self.beats(EVENTS_MS)
        self._max_depth = self.beats(MAX_DEPTH_MS)
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
        rows.latest[row] = -NEVER
        rows.transits[row] = -NEVER
        rows.windows[row] = rows.to_cut[row] = 0
        rows.transit[row] = -1  # that of the old timeline says nothing about this one
        rows.late_at[row] = -NEVER
        rows.late_since[row] = NEVER
        wide = self.wide.get(row)
        if wide is not None:
            wide.restart()

    def has_leapt(self, row: int, timestamp: int, beat: int) -> bool:
        """Whether a packet after a gap would wait, for longer than jitter can need, for nothing.

        A jump of the timestamps within the ring must not become delay. What a network held back
        and then let go looks alike, but for the packets that came with it.
        """
        rows = self._rows
        if rows.origin[row] == NEVER:
            return False
        frame = FRAME * int(rows.clock_scale[row])
        slot = (timestamp - int(rows.slot_timestamp[row])) // frame
        due = self.next_slot(row, beat)
        most = max(self._max_depth, int(rows.lead[row]) + self.phases) + self.behind
        if (slot - due) * self.phases < most:
            return False
        held = rows.ring_slot[row]
        return int(np.count_nonzero((held >= due) & (held < slot))) <= FEW

    def size(self, row: int, payload: bytes) -> int:
        """Return how long a payload of a row is, in samples of 8 kHz."""
        wide = self.wide.get(row)
        return len(payload) if wide is None else wide.size(payload)

    def place(self, row: int, timestamp: int, payload: bytes, beat: int, newest: bool) -> bool:
        """Put a payload of any size where its timestamp says; False when it came too late.

        ``newest``: no packet with a higher sequence number came before it. Only such a packet may
        move the timeline.
        """
        rows = self._rows
        wide, scale = self.wide.get(row), int(rows.clock_scale[row])
        size = self.size(row, payload)
        if rows.origin[row] == NEVER:
            self.anchor(row, timestamp, beat, size)
        offset = (timestamp - int(rows.slot_timestamp[row])) // scale
        ahead = offset // FRAME - self.next_slot(row, beat)
        last = (offset + size - 1) // FRAME - self.next_slot(row, beat)
        if newest and (ahead >= SLOTS or last < 0):
            rows.late_since[row] = min(int(rows.late_since[row]), beat)
            if self.has_moved(np.array([row]), np.array([last]), beat)[0]:
                self.anchor(row, timestamp, beat, size)
                offset = ahead = last = 0
        elif last >= 0:
            rows.late_since[row] = NEVER
        if last < 0 and newest:
            late = np.array([row]), np.array([offset // FRAME]), np.array([ahead])
            if self.regain(*late, np.array([beat - self.early]), beat)[0]:
                ahead = last = 0
        if last < 0 or ahead >= SLOTS:
            if -MAX_REGAIN <= ahead < 0:  # reordered: more delay would have saved it
                transit = beat - self.early - offset // FRAME * self.phases
                rows.latest[row] = max(int(rows.latest[row]), transit)
            return False
        transit = beat + self.behind - self.early - offset // FRAME * self.phases
        rows.latest[row] = max(int(rows.latest[row]), transit)
        if wide is None:
            self._write(row, offset, payload, self.next_slot(row, beat))
        else:
            wide.put(timestamp - int(rows.slot_timestamp[row]), payload)
            self._mark(row, offset, size, self.next_slot(row, beat))
        return True

    def _mark(self, row: int, offset: int, size: int, first: int) -> None:
        """Mark the slots for which a payload holds something."""
        for slot in range(max(offset // FRAME, first), (offset + size - 1) // FRAME + 1):
            if slot < first + SLOTS:
                self._rows.ring_slot[row, slot % SLOTS] = slot

    def regain(
        self, index: Numbers, slots: Numbers, ahead: Numbers, came: Numbers, beat: int
    ) -> NDArray[np.bool_]:
        """Take late packets in where the delay should grow; return which.

        Their slots are due again at the next tick. Nothing that is newer than them has come.

        Parameters
        ----------
        index, slots, ahead, came : (n,) ndarray
            Rows, slots of their packets, how many slots they are from the first not too late
            (negative), and the beats at which they came.
        """
        rows = self._rows
        if self.behind or beat < self.blind_until:
            return np.zeros(len(index), np.bool_)
        transit = came - slots * self.phases
        again = came - rows.late_at[index]
        rows.late_at[index] = np.where(again >= self.phases, came, rows.late_at[index])
        rows.latest[index] = np.maximum(rows.latest[index], transit)
        start = self.start(index)
        known = rows.transits[index]
        deeper = start - ahead * self.phases - np.where(known > -NEVER, known, NEVER).min(axis=1)
        often = (again >= self.phases) & (again <= self._events_beats)
        needed = self.needed(index, rows.latest[index]) + self._grace > start
        grows: NDArray[np.bool_] = (
            (often | needed) & (ahead >= -MAX_REGAIN) & (deeper <= self._max_depth)
        )
        at = index[grows]
        rows.origin[at] -= ahead[grows] * self.phases
        rows.stretched[at] -= ahead[grows]
        rows.played_slot[at] = slots[grows] - 1
        rows.late_since[at] = NEVER
        rows.to_cut[at] = 0
        self.grown += at.tolist()
        return grows

    def start(self, index: Numbers) -> Numbers:
        """Return the beats at which rows really play slot 0: on their phase."""
        origin = self._rows.origin[index]
        return origin + (self._rows.phase[index] - origin) % self.phases

    def needed(self, index: Numbers, latest: Numbers) -> Numbers:
        """Return the second highest transit of the windows, the present one included."""
        known = np.column_stack([self._rows.transits[index], latest])
        needed: Numbers = np.partition(known, WINDOWS - 1, axis=1)[:, WINDOWS - 1]
        return needed

    def shift(self, index: Numbers, beats: int) -> None:
        """Let rows play ``beats`` later (negative: earlier), at the phase that this leads to.

        Every row goes on with the frame that it would have played next.
        """
        rows = self._rows
        begun = index[rows.origin[index] < NEVER]
        start = self.start(begun) + beats
        rows.origin[begun] = np.clip(rows.origin[begun], start - self.phases + 1, start)

    def delay_ms(self, row: int) -> float:
        """Return how long the newest packet of a row waits to be played."""
        return float(self.delays_ms(np.array([row]))[0])

    def delays_ms(self, index: Numbers) -> NDArray[np.float64]:
        """Return how long the newest packet of each of some rows waits to be played."""
        rows = self._rows
        scale = rows.clock_scale[index]
        start = self.start(index) * self.beat_samples * scale
        wait = start - rows.slot_timestamp[index] - rows.transit[index]
        wait = (wait + (1 << 31)) % (1 << 32) - (1 << 31)
        delay = np.maximum(0, wait // scale + rows.carry[index])
        unknown = (rows.origin[index] == NEVER) | (rows.transit[index] < 0)
        return np.where(unknown, rows.lead[index] * self.beat_samples, delay) / 8

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
    ) -> tuple[NDArray[np.uint8], NDArray[np.bool_], NDArray[np.bool_], NDArray[np.bool_]]:
        """Take the frames due at this beat.

        Returns
        -------
        codes : (n, 160) uint8 ndarray
            Undefined where ``present`` is false.
        present : (n,) bool ndarray
            Whether the frame had come.
        missing : (n,) bool ndarray
            Whether it should have: the stream has begun, and the frame was not played before.
        idle : (n,) bool ndarray
            Whether the stream has begun and its next frame is not due yet.
        """
        rows = self._rows
        slot = (beat - rows.origin[index]) // self.phases
        place = slot % SLOTS
        played = rows.played_slot[index]
        fresh = slot > played
        present = (rows.ring_slot[index, place] == slot) & fresh
        started = slot >= 0  # far below where no stream is anchored
        rows.played_slot[index] = np.maximum(slot, played)
        return rows.ring[index, place], present, started & fresh & ~present, started & ~fresh

    def has_next(self, index: Numbers) -> NDArray[np.bool_]:
        """Return which rows' next frame has come already."""
        slot = self._rows.played_slot[index] + 1
        came: NDArray[np.bool_] = self._rows.ring_slot[index, slot % SLOTS] == slot
        return came

    def take_next(self, index: Numbers) -> None:
        """Take one more frame, which has come, and shorten the delay by it."""
        rows = self._rows
        rows.played_slot[index] += 1
        rows.origin[index] -= self.phases
        rows.to_cut[index] -= 1
        rows.trimmed[index] += 1
        rows.played[index] += 1

    def adjust(self, beat: int) -> None:
        """Add delay that is missing, find delay that nobody needs; at the end of a window."""
        rows = self._rows
        if beat < self.blind_until:
            rows.latest[:] = -NEVER
            return
        heard = np.flatnonzero((rows.latest > -NEVER) & (rows.origin < NEVER))
        latest, start = rows.latest[heard], self.start(heard)
        rows.transits[heard, rows.windows[heard] % WINDOWS] = latest
        rows.windows[heard] += 1
        rows.latest[heard] = -NEVER
        # What is being cut is cut to the end where there is still so much; to begin takes grace.
        kept = (start - latest - rows.lead[heard]) // self.phases
        rows.to_cut[heard] = np.clip(kept, 0, rows.to_cut[heard])
        # Only who has a frame to spare now can have one in all windows.
        enough = start - latest - rows.lead[heard] >= self.phases
        at = heard[enough & (rows.windows[heard] > 1)]
        if at.size:
            needed = self.needed(at, np.full(at.size, -NEVER))
            spare = self.start(at) - rows.lead[at]
            excess = (spare - needed - self._grace) // self.phases
            # Without grace where for 8 s not one packet has come later than that.
            calm = rows.windows[at] >= WINDOWS
            sure = (spare - rows.transits[at].max(axis=1)) // self.phases
            excess = np.where(calm, np.maximum(excess, sure), excess)
            kept = np.minimum(rows.to_cut[at], (spare - needed) // self.phases)
            rows.to_cut[at] = np.maximum(np.maximum(excess, kept), 0)
            self.cutting = self.cutting or bool((excess > 0).any())
        late = heard[(latest > start) & (rows.windows[heard] > 1)]
        if late.size:
            self._put_in(late)

    def _put_in(self, at: Numbers) -> None:
        """Hold the next frame back where packets were late in two windows and did not regain it."""
        rows = self._rows
        short = self.needed(at, np.full(at.size, -NEVER)) - self.start(at)
        frames = np.clip(-(-short // self.phases), 0, MAX_REGAIN)
        rows.origin[at] += frames * self.phases
        rows.stretched[at] += frames
        self.grown += at.tolist()

    def cut_in_silence(self, row: int, slot: int, beat: int) -> None:
        """Cut delay between two talk spurts, where it can't be heard.

        ``slot`` is the first of the new one; what is before it has been played or never comes.
        """
        rows = self._rows
        cut = min(int(rows.to_cut[row]), slot - self.next_slot(row, beat))
        if cut > 0:
            rows.origin[row] -= cut * self.phases
            rows.trimmed[row] += cut
            rows.to_cut[row] -= cut
