"""What a load of rooms sends and hears: legs as arrays, judged in batches.

Latencies run from the sending of a burst's first packet to the arrival of the packet in which a
listener hears its first loud sample, plus that sample's place in the packet.
"""

from __future__ import annotations

import numpy as np

from benchmarks import signals

PER_ROOM = 3
ROLES = ("customer", "agent", "supervisor")  # where a room is supervised
# Who hears whom, listeners in rows: a supervisor who monitors is heard by nobody.
MEETING = ~np.eye(PER_ROOM, dtype=bool)
SUPERVISED = np.array([[False, True, False], [True, False, False], [True, True, False]])
SLOTS = 20  # milliseconds in a packet time
PTIME_S = 0.020
_MARK_HOLD_S = 0.1  # after a burst was heard its tail is still in the frames
MARK_LIVE_S = 0.45


class Rooms:
    """Legs as arrays: what is sent, what was heard."""

    def __init__(self, legs: int, *, supervised: bool = False) -> None:
        self.hears = SUPERVISED if supervised else MEETING
        self.talkers = int(self.hears.any(axis=0).sum())  # the first ones
        self.talker = np.arange(legs) % PER_ROOM
        self.room = np.arange(legs) // PER_ROOM
        self.slot = (self.room * 7 + self.talker * 6 + self.room // SLOTS) % SLOTS
        self.packets = np.zeros((legs, 12 + signals.FRAME), np.uint8)
        self.packets[:, 0] = 0x80
        self.packets[:, 8:12] = (0x51000000 + np.arange(legs))[:, None] >> [24, 16, 8, 0] & 0xFF
        tones = np.stack([signals.tone_frame(k) for k in range(PER_ROOM)])
        self.packets[:, 12:] = tones[self.talker]
        self.tones = tones
        self.burst = signals.burst_frame()
        self.sequence = np.zeros(legs, np.int64)
        # By leg: arrivals in the window, and the last sequence number heard.
        self.first = np.zeros(legs)
        self.last = np.zeros(legs)
        self.count = np.zeros(legs, np.int64)
        self.heard_sequence = np.full(legs, -1, np.int64)
        self.sequence_lost = 0
        self.duplicates = 0
        self.tones_checked = 0
        self.tones_missed = 0
        self.latencies: list[np.ndarray] = []
        self.listeners: list[np.ndarray] = []  # of each latency, its place in its room
        # By room: the burst under way. By leg: whether it was heard, until when frames are odd.
        rooms = (legs + PER_ROOM - 1) // PER_ROOM
        self.source = np.full(rooms, -1)
        self.sent_at = np.zeros(rooms)  # 0: none under way
        self.timed = np.zeros(rooms, bool)  # sent within the window
        self.bursting = np.zeros(legs, np.int64)  # packets of a burst still to send
        self.found = np.ones(legs, bool)
        self.odd_until = np.zeros(legs)
        self.markers_expected = 0
        self.markers_found = 0

    def write_headers(self, legs: np.ndarray) -> None:
        """Put the next sequence number and timestamp into these legs' packets."""
        sequence = self.sequence[legs]
        self.packets[legs, 2] = sequence >> 8 & 0xFF
        self.packets[legs, 3] = sequence & 0xFF
        timestamp = sequence * signals.FRAME
        for i, shift in enumerate((24, 16, 8, 0)):
            self.packets[legs, 4 + i] = timestamp >> shift & 0xFF
        self.sequence[legs] = sequence + 1

    def judge(
        self,
        legs: np.ndarray,
        frames: np.ndarray,
        times: np.ndarray,
        up: np.ndarray,
        window: tuple[float, float],
        opened: np.ndarray | None = None,
    ) -> None:
        """Judge received RTP packets, at most one a leg: (n,) legs, (n, 172) octets, (n,) times.

        `opened` says whose payload can be listened to, which is so of all where it is None; of the
        others the number is read.
        """
        heard = slice(None) if opened is None else opened
        decoded = signals.MULAW[frames[heard, 12:]]
        self._find_bursts(legs[heard], decoded, times[heard])
        inside = (times >= window[0]) & (times <= window[1])
        if not inside.any():
            self.heard_sequence[legs] = frames[:, 2].astype(np.int64) << 8 | frames[:, 3]
            return
        self._count(legs, frames, times, inside)
        inside = inside[heard]
        self._check_tones(legs[heard][inside], decoded[inside], times[heard][inside], up)

    def awaits_burst(self, legs: np.ndarray) -> np.ndarray:
        """Return which of these legs' packets may have the burst that they listen for."""
        return np.asarray(~self.found[legs] & (self.sent_at[self.room[legs]] > 0))

    def _find_bursts(self, legs: np.ndarray, decoded: np.ndarray, times: np.ndarray) -> None:
        rooms = self.room[legs]
        sent_at = self.sent_at[rooms]
        waits = (
            ~self.found[legs] & (sent_at > 0) & (times > sent_at) & (times < sent_at + MARK_LIVE_S)
        )
        loud = np.abs(decoded) > signals.BURST_SEEN
        hit = waits & loud.any(axis=1)
        if not hit.any():
            return
        who = legs[hit]
        self.found[who] = True
        self.odd_until[who] = times[hit] + _MARK_HOLD_S
        offset = loud[hit].argmax(axis=1) / 8000
        timed = self.timed[rooms[hit]] & self.hears[self.talker[who], self.source[rooms[hit]]]
        latency = times[hit] - sent_at[hit] + offset
        self.latencies.append(latency[timed])
        self.listeners.append(self.talker[who][timed])
        self.markers_found += int(timed.sum())

    def _count(
        self, legs: np.ndarray, frames: np.ndarray, times: np.ndarray, inside: np.ndarray
    ) -> None:
        sequence = frames[:, 2].astype(np.int64) << 8 | frames[:, 3]
        before = self.heard_sequence[legs]
        step = (sequence - before + 32768) % 65536 - 32768
        known = (before >= 0) & inside
        self.sequence_lost += int((step[known & (step > 1)] - 1).sum())
        self.duplicates += int((known & (step <= 0)).sum())
        self.heard_sequence[legs] = sequence
        who, when = legs[inside], times[inside]
        fresh = self.first[who] == 0
        self.first[who[fresh]] = when[fresh]
        self.last[who] = when
        self.count[who] += 1

    def _check_tones(
        self, legs: np.ndarray, decoded: np.ndarray, times: np.ndarray, up: np.ndarray
    ) -> None:
        expects_burst = ~self.found[legs] & (self.sent_at[self.room[legs]] > 0)
        plain = ~expects_burst & (times > self.odd_until[legs])
        legs, decoded = legs[plain], decoded[plain]
        amplitudes = signals.tone_amplitudes(decoded, PER_ROOM)
        base = self.room[legs] * PER_ROOM
        for talker in range(PER_ROOM):
            speaks = self.hears[self.talker[legs], talker] & up[base + talker]
            self.tones_checked += int(speaks.sum())
            self.tones_missed += int((amplitudes[speaks, talker] < signals.TONE_MISSED).sum())

    def begin_burst(self, room: int, up: np.ndarray, *, timed: bool) -> None:
        """Let the next talker of a room send a burst with its next packet."""
        self.source[room] = (self.source[room] + 1) % self.talkers
        leg = room * PER_ROOM + self.source[room]
        if leg < len(self.talker) and up[leg]:
            self.bursting[leg] = 2
            self.packets[leg, 12:] = self.burst
            self.sent_at[room] = 0.0
            self.timed[room] = timed

    def burst_sent(self, leg: int, now: float, up: np.ndarray) -> None:
        """Note that one packet of a burst has gone out."""
        room = self.room[leg]
        if self.bursting[leg] == 2:
            members = np.arange(room * PER_ROOM, min((room + 1) * PER_ROOM, len(self.talker)))
            listening = self.hears[self.talker[members], self.talker[leg]]
            self.found[members] = ~listening
            self.odd_until[leg] = 0.0
            self.sent_at[room] = now
            if self.timed[room]:
                self.markers_expected += int((up[members] & listening).sum())
        self.bursting[leg] -= 1
        if self.bursting[leg] == 0:
            self.packets[leg, 12:] = self.tones[self.talker[leg]]

    def missing(self, window: tuple[float, float]) -> tuple[float, float]:
        """Return packets missing and expected: gaps between, and at both ends of the window."""
        length = window[1] - window[0]
        expected = length / PTIME_S * len(self.count)
        silent = self.count == 0
        lost = np.rint((self.last - self.first) / PTIME_S) + 1 - self.count
        head = (self.first - window[0]) / PTIME_S - 2
        tail = (window[1] - self.last) / PTIME_S - 2
        total = np.maximum(lost, 0) + np.maximum(head, 0) + np.maximum(tail, 0)
        return float(np.where(silent, length / PTIME_S, total).sum()), expected
