"""The load generator: legs in rooms of three that all talk, and what comes back, checked.

Runs in a process of its own (``python -m benchmarks.generator``), because what it measures must
not wait for the server's interpreter.  Theory of operation: one loop wakes each millisecond; it
reads every socket that is ready, with the kernel's own arrival times, then sends the packets of
its slot.  Legs are spread over the 20 slots of a packet time, like phones that know nothing of
each other.  What was read is judged in batches with numpy.

Three things are measured. **Packets missing**: of the 50 a second that each leg is owed.
**Audio missing**: frames in which a talker's tone is too weak to have been mixed. **Added
latency**: from sending a burst to receiving its first loud sample, at each listener.
"""

from __future__ import annotations

import argparse
import gc
import json
import select
import socket
import struct
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from benchmarks import signals
from benchmarks.processes import Usage, pin, usage
from benchmarks.uac import Caller, CallState, LoadCall

PER_ROOM = 3
SLOTS = 20  # milliseconds in a packet time
PTIME_S = 0.020
_SO_TIMESTAMPNS = 35
_ANCILLARY = socket.CMSG_SPACE(16)
_TIMESPEC = struct.Struct("qq")
_BATCH = 1024
_MARK_HOLD_S = 0.1  # after a burst was heard its tail is still in the frames
_MARK_LIVE_S = 0.45


@dataclass(frozen=True, kw_only=True)
class Load:
    """What to generate."""

    server: tuple[str, int]
    pid: int  # of the server, to read its processor time
    legs: int
    seconds: float = 10.0
    warm_up_s: float = 3.0
    calls_per_second: float = 100.0
    marker_s: float = 0.5


class Rooms:
    """Legs as arrays: what is sent, what was heard."""

    def __init__(self, legs: int) -> None:
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
    ) -> None:
        """Judge received RTP packets, at most one a leg: (n,) legs, (n, 172) octets, (n,) times."""
        decoded = signals.MULAW[frames[:, 12:]]
        self._find_bursts(legs, decoded, times)
        inside = (times >= window[0]) & (times <= window[1])
        if not inside.any():
            self.heard_sequence[legs] = frames[:, 2].astype(np.int64) << 8 | frames[:, 3]
            return
        self._count(legs, frames, times, inside)
        self._check_tones(legs[inside], decoded[inside], times[inside], up)

    def _find_bursts(self, legs: np.ndarray, decoded: np.ndarray, times: np.ndarray) -> None:
        rooms = self.room[legs]
        sent_at = self.sent_at[rooms]
        waits = (
            ~self.found[legs] & (sent_at > 0) & (times > sent_at) & (times < sent_at + _MARK_LIVE_S)
        )
        loud = np.abs(decoded) > signals.BURST_SEEN
        hit = waits & loud.any(axis=1)
        if not hit.any():
            return
        who = legs[hit]
        self.found[who] = True
        self.odd_until[who] = times[hit] + _MARK_HOLD_S
        offset = loud[hit].argmax(axis=1) / 8000
        timed = self.timed[rooms[hit]] & (self.talker[who] != self.source[rooms[hit]])
        latency = times[hit] - sent_at[hit] + offset
        self.latencies.append(latency[timed])
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
            speaks = (self.talker[legs] != talker) & up[base + talker]
            self.tones_checked += int(speaks.sum())
            self.tones_missed += int((amplitudes[speaks, talker] < signals.TONE_MISSED).sum())

    def begin_burst(self, room: int, up: np.ndarray, *, timed: bool) -> None:
        """Let the next talker of a room send a burst with its next packet."""
        self.source[room] = (self.source[room] + 1) % PER_ROOM
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
            self.found[members] = members == leg
            self.odd_until[leg] = 0.0
            self.sent_at[room] = now
            if self.timed[room]:
                self.markers_expected += int(up[members].sum()) - 1
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


class Generator:
    """One run: set up calls, talk, measure, hang up."""

    def __init__(self, load: Load) -> None:
        self.load = load
        self.rooms = Rooms(load.legs)
        self.caller = Caller(load.server)
        self.epoll = select.epoll()
        self.sockets = [_rtp_socket() for _ in range(load.legs)]
        self.by_descriptor = {one.fileno(): i for i, one in enumerate(self.sockets)}
        self.sends: list[Any] = [one.send for one in self.sockets]
        self.receives = [one.recvmsg_into for one in self.sockets]
        self.packets = [row.data for row in self.rooms.packets]
        for i, one in enumerate(self.sockets):
            room = 1000 + i // PER_ROOM
            self.caller.add(f"conf-{room}", one.getsockname()[1])
        self.epoll.register(self.caller.socket.fileno(), select.EPOLLIN)
        self.up = np.zeros(load.legs, bool)
        self.slots: list[list[int]] = [[] for _ in range(SLOTS)]
        self.box = np.zeros((_BATCH, 2048), np.uint8)
        self.views = [[row.data] for row in self.box]
        self.window = (float("inf"), float("inf"))
        self.markers = False
        self.next_marker = np.zeros(len(self.rooms.source))
        self.lateness: list[float] = []

    def measure(self) -> dict[str, Any]:
        """Do everything; return the figures."""
        gc.collect()
        gc.freeze()
        gc.disable()
        began = time.monotonic()
        self._set_up()
        set_up_s = time.monotonic() - began
        self._talk(self.load.warm_up_s)
        start = time.time()
        self.window = (start, start + self.load.seconds)
        before = usage(self.load.pid)
        own = time.process_time()
        self.lateness.clear()
        self._talk(self.load.seconds)
        own = time.process_time() - own
        used = usage(self.load.pid).since(before)
        self._hang_up()
        return self._figures(used, own / self.load.seconds, set_up_s)

    def _set_up(self) -> None:
        """Call leg by leg, first all first members of rooms, at the load's rate."""
        order = sorted(range(self.load.legs), key=lambda i: (i % PER_ROOM, i))
        began, started = time.monotonic(), 0
        deadline = began + self.load.legs / self.load.calls_per_second + 20
        while time.monotonic() < deadline:
            due = (time.monotonic() - began) * self.load.calls_per_second
            while started < len(order) and started < due:
                self.caller.invite(self.caller.calls[order[started]])
                started += 1
            self._beat()
            states = {call.state for call in self.caller.calls}
            if states <= {CallState.UP, CallState.FAILED, CallState.OVER}:
                break
        self.next_marker[:] = time.time() + self.load.marker_s * (
            1 + np.arange(len(self.next_marker)) % 50 / 50
        )

    def _talk(self, seconds: float) -> None:
        self.markers = True
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self._beat()

    def _hang_up(self) -> None:
        self.markers = False
        calls = [call for call in self.caller.calls if call.state is CallState.UP]
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            for call in calls[:3]:  # about 200 a second with the talking between
                self.caller.bye(call)
                self.up[call.index] = False
            del calls[:3]
            self._beat()
            if not calls and all(c.state is not CallState.LEAVING for c in self.caller.calls):
                break

    # ---------------------------------------------------------------------------- each beat

    _tick = -1

    def _beat(self) -> None:
        """Wait for the next millisecond; send its slot, and late ones; then read."""
        now_ms = time.monotonic() * 1000
        if self._tick < 0:
            self._tick = int(now_ms)
        wait = (self._tick + 1 - now_ms) / 1000
        if wait > 0:
            time.sleep(wait)
        now_ms = time.monotonic() * 1000
        self.lateness.append(now_ms - self._tick - 1)
        target = int(now_ms)
        self._tick = max(self._tick, target - 200)  # never a burst of more than 200 ms
        while self._tick < target:
            self._tick += 1
            self._send(self._tick % SLOTS)
            if self._tick % 100 == 0:
                self.caller.resend()
        if self.markers:
            self._mark()
        self._read()

    def _send(self, slot: int) -> None:
        legs = [leg for leg in self.slots[slot] if self.up[leg]]
        if not legs:
            return
        rooms = self.rooms
        array = np.array(legs)
        rooms.write_headers(array)
        for leg in legs:
            try:
                self.sends[leg](self.packets[leg])
            except OSError:
                continue  # the server has closed this port already
        for leg in array[rooms.bursting[array] > 0]:
            rooms.burst_sent(int(leg), time.time(), self.up)

    def _mark(self) -> None:
        now = time.time()
        due = np.nonzero(self.next_marker <= now)[0]
        for room in due:
            self.next_marker[room] = max(self.next_marker[room] + self.load.marker_s, now)
            late = now > self.window[1] - _MARK_LIVE_S and now < self.window[1]
            if not late:
                timed = self.window[0] <= now <= self.window[1]
                self.rooms.begin_burst(int(room), self.up, timed=timed)

    def _read(self) -> None:
        sip = self.caller.socket.fileno()
        while True:
            ready = self.epoll.poll(0, _BATCH)
            legs: list[int] = []
            times: list[float] = []
            for descriptor, _ in ready:
                if descriptor == sip:
                    self._sip()
                    continue
                leg, row = self.by_descriptor[descriptor], len(legs)
                try:
                    size, ancillary, _, _ = self.receives[leg](self.views[row], _ANCILLARY)
                except OSError:
                    continue
                if size != 172 or self.box[row, 1] & 0x7F:
                    continue
                seconds, nanoseconds = _TIMESPEC.unpack(ancillary[0][2][:16])
                legs.append(leg)
                times.append(seconds + nanoseconds * 1e-9)
            if legs:
                self.rooms.judge(
                    np.array(legs),
                    self.box[: len(legs), :172],
                    np.array(times),
                    self.up,
                    self.window,
                )
            if len(ready) < _BATCH:
                return

    def _sip(self) -> None:
        for change in self.caller.receive():
            call = change.call
            if change.state is CallState.UP and call.remote_rtp is not None:
                self._talk_on(call, call.remote_rtp)
            elif change.state is CallState.OVER:
                self.up[call.index] = False

    def _talk_on(self, call: LoadCall, remote: tuple[str, int]) -> None:
        one = self.sockets[call.index]
        one.connect(remote)
        self.epoll.register(one.fileno(), select.EPOLLIN)
        self.up[call.index] = True
        self.slots[self.rooms.slot[call.index]].append(call.index)

    def _figures(self, used: Usage, own: float, set_up_s: float) -> dict[str, Any]:
        rooms, calls = self.rooms, self.caller.calls
        missing, expected = rooms.missing(self.window)
        heard = [chunk for chunk in rooms.latencies if len(chunk)]
        latency = np.concatenate(heard) * 1000 if heard else np.array([float("inf")])
        late = np.array(self.lateness)
        return {
            "legs": self.load.legs,
            "legs_up": sum(call.answered > 0 for call in calls),
            "failed": sum(call.state is CallState.FAILED for call in calls),
            "dropped_by_server": sum(call.dropped for call in calls),
            "set_up_s": round(set_up_s, 2),
            "packets_missing_pct": round(100 * missing / expected, 4),
            "sequence_lost": rooms.sequence_lost,
            "duplicates": rooms.duplicates,
            "audio_checked": rooms.tones_checked,
            "audio_missing_pct": round(100 * rooms.tones_missed / max(rooms.tones_checked, 1), 4),
            "markers_expected": rooms.markers_expected,
            "markers_found": rooms.markers_found,
            "p50_ms": round(float(np.percentile(latency, 50)), 2),
            "p95_ms": round(float(np.percentile(latency, 95)), 2),
            "p99_ms": round(float(np.percentile(latency, 99)), 2),
            "server_cpu_pct": round(100 * used.ran / self.load.seconds, 1),
            "server_waited_pct": round(100 * used.waited / self.load.seconds, 1),
            "generator_cpu_pct": round(100 * own, 1),
            "generator_late_p99_ms": round(float(np.percentile(late, 99)), 2),
            "sip_retransmissions": self.caller.retransmissions,
        }


def _rtp_socket() -> socket.socket:
    one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    one.bind(("127.0.0.1", 0))
    one.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
    one.setblocking(False)
    return one


def generate(load: Load) -> dict[str, Any]:
    """Run a load in a process of its own and return its figures."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.generator", json.dumps(asdict(load))],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    figures: dict[str, Any] = json.loads(done.stdout)
    return figures


def main() -> None:
    """Read a load as JSON, generate it, print the figures as JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.generator")
    parser.add_argument("load", help="the fields of Load, as JSON")
    fields = json.loads(parser.parse_args().load)
    pin()
    load = Load(**fields | {"server": tuple(fields["server"])})
    print(json.dumps(Generator(load).measure()))


if __name__ == "__main__":
    main()
