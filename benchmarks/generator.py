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
import importlib
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

from benchmarks.processes import Usage, pin, usage
from benchmarks.rooms import MARK_LIVE_S, PER_ROOM, ROLES, SLOTS, Rooms
from benchmarks.sealed import SealedLegs
from benchmarks.uac import Caller, CallState, LoadCall
from rtpmix.rtp.srtp import MasterKey

_SO_TIMESTAMPNS = 35
_ANCILLARY = socket.CMSG_SPACE(16)
_TIMESPEC = struct.Struct("qq")
_BATCH = 1024


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
    suite: str = ""  # of SRTP; "": in the clear
    open_every: int = 4  # of what is encrypted for a leg, each so manyth packet is decrypted
    supervised: bool = False  # the third of each room is a supervisor who listens
    caller: str = "benchmarks.uac"  # the module whose `Caller` sets up the calls


class Generator:
    """One run: set up calls, talk, measure, hang up."""

    def __init__(self, load: Load) -> None:
        self.load = load
        self.rooms = Rooms(load.legs, supervised=load.supervised)
        self.caller: Caller = importlib.import_module(load.caller).Caller(load.server)
        self.epoll = select.epoll()
        self.sockets = [_rtp_socket() for _ in range(load.legs)]
        self.by_descriptor = {one.fileno(): i for i, one in enumerate(self.sockets)}
        self.sends: list[Any] = [one.send for one in self.sockets]
        self.receives = [one.recvmsg_into for one in self.sockets]
        self.packets: list[Any] = [row.data for row in self.rooms.packets]
        keys: list[MasterKey] = []
        for i, one in enumerate(self.sockets):
            room = 1000 + i // PER_ROOM
            key = MasterKey.generate(load.suite) if load.suite else None
            target = f"spy-{room}-{i % PER_ROOM}" if load.supervised else f"conf-{room}"
            self.caller.add(target, one.getsockname()[1], key=key)
            keys += [key] if key is not None else []
        longest = load.legs / load.calls_per_second + load.warm_up_s + load.seconds + 5
        self.sealed = (
            SealedLegs(keys, self.rooms.packets, int(longest * 50), load.open_every)
            if keys
            else None
        )
        self.epoll.register(self.caller.socket.fileno(), select.EPOLLIN)
        self.size = 172 if self.sealed is None else self.sealed.size  # octets of what comes
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
        """End all calls, at twice the rate at which they were set up at most."""
        self.markers = False
        calls = [call for call in self.caller.calls if call.state is CallState.UP]
        rate, number, ended = 2 * self.load.calls_per_second, len(calls), 0
        began = time.monotonic()
        deadline = began + 10 + number / rate
        while time.monotonic() < deadline:
            due = min(int((time.monotonic() - began) * rate), ended + 3, number)
            for call in calls[ended:due]:  # few at a time, with the talking between
                self.caller.bye(call)
                self.up[call.index] = False
            ended = max(ended, due)
            self._beat()
            over = all(c.state is not CallState.LEAVING for c in self.caller.calls)
            if ended == number and over:
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
        rooms, sealed = self.rooms, self.sealed
        array = np.array(legs)
        rooms.write_headers(array)
        for leg in legs:
            packet = self.packets[leg]
            if sealed is not None:
                number = int(rooms.sequence[leg]) - 1
                packet = sealed.packet(
                    leg, number, rooms.packets[leg], burst=bool(rooms.bursting[leg] > 0)
                )
            try:
                self.sends[leg](packet)
            except OSError:
                continue  # the server has closed this port already
        for leg in array[rooms.bursting[array] > 0]:
            rooms.burst_sent(int(leg), time.time(), self.up)

    def _mark(self) -> None:
        now = time.time()
        due = np.nonzero(self.next_marker <= now)[0]
        for room in due:
            self.next_marker[room] = max(self.next_marker[room] + self.load.marker_s, now)
            late = now > self.window[1] - MARK_LIVE_S and now < self.window[1]
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
                if size != self.size or self.box[row, 1] & 0x7F:
                    continue
                seconds, nanoseconds = _TIMESPEC.unpack(ancillary[0][2][:16])
                legs.append(leg)
                times.append(seconds + nanoseconds * 1e-9)
            if legs:
                self._judge(np.array(legs), np.array(times))
            if len(ready) < _BATCH:
                return

    def _judge(self, legs: np.ndarray, times: np.ndarray) -> None:
        opened = None
        if self.sealed is not None:
            opened = self.sealed.open(legs, self.box, self.rooms.awaits_burst(legs))
        frames = self.box[: len(legs), :172]
        self.rooms.judge(legs, frames, times, self.up, self.window, opened)

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
        if self.sealed is not None:
            if call.remote_key is None:
                raise SystemExit(f"call {call.index} was answered without a key")
            self.sealed.answered(call.index, call.remote_key)
        self.up[call.index] = True
        self.slots[self.rooms.slot[call.index]].append(call.index)

    def _secrecy(self) -> dict[str, Any]:
        sealed = self.sealed
        if sealed is None:
            return {}
        return {
            "not_authentic": sealed.forged,
            "decrypted_pct": round(100 * sealed.opened / max(sealed.seen, 1), 1),
            "encrypted_late": sealed.sealed_late,
        }

    def _by_role(self) -> dict[str, Any]:
        """Return the latencies at each role's legs, where rooms are supervised."""
        rooms = self.rooms
        if not self.load.supervised:
            return {}
        nothing = np.zeros(0)
        latency = np.concatenate([nothing, *rooms.latencies]) * 1000
        who = np.concatenate([nothing, *rooms.listeners])
        found = {role: latency[who == place] for place, role in enumerate(ROLES)}
        return {
            f"{role}_p{rank}_ms": round(float(np.percentile(heard, rank)), 2)
            if heard.size
            else float("inf")
            for role, heard in found.items()
            for rank in (50, 99)
        }

    def _figures(self, used: Usage, own: float, set_up_s: float) -> dict[str, Any]:
        rooms, calls = self.rooms, self.caller.calls
        missing, expected = rooms.missing(self.window)
        heard = np.concatenate([np.zeros(0), *rooms.latencies]) * 1000
        ranks = np.percentile(heard, (50, 95, 99)) if heard.size else np.full(3, np.inf)
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
            **self._secrecy(),
            "audio_checked": rooms.tones_checked,
            "audio_missing_pct": round(100 * rooms.tones_missed / max(rooms.tones_checked, 1), 4),
            "markers_expected": rooms.markers_expected,
            "markers_found": rooms.markers_found,
            "p50_ms": round(float(ranks[0]), 2),
            "p95_ms": round(float(ranks[1]), 2),
            "p99_ms": round(float(ranks[2]), 2),
            **self._by_role(),
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
