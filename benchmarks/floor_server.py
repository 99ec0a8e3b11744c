"""Carries the packets of legs with no media in it: the floor that is loaded as a server is.

``python -m benchmarks.floor_server [--core N] [--legs-per-port N]`` prints one line of JSON with
the address where legs are asked for and its process number, and serves until its standard input
ends.

The sockets are those of the measured server: so many legs on a port, each port read with one
``recvmmsg`` and written with one ``sendmmsg`` a beat, four beats in a ptime, a quarter of the legs
in each. What comes is read and thrown away; every leg is sent a packet of silence a ptime, with
the next number. A leg is asked for with one datagram, ``INDEX PORT``, and answered with ``INDEX``
and the port to send to; ``INDEX 0`` ends it.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import select
import socket
import sys
import time

import numpy as np

from rtpmix.server import mmsg

PHASES = 4
BEAT_S = 0.020 / PHASES
BATCH = 1024
PACKET = 172
HOST = "127.0.0.1"


class Floor:
    """Legs, by their index, and what is sent to them."""

    def __init__(self, legs_per_port: int) -> None:
        self._legs_per_port = legs_per_port
        self.asked = _bound(1 << 20)
        self._ports: list[socket.socket] = []
        self._places: dict[int, int] = {}  # index of a leg -> its place; places are not used again
        self._names: list[bytes | None] = []  # by place; None: the leg is over
        self._epoll = select.epoll()
        self._arrivals = mmsg.Arrivals(np.zeros((BATCH, 2048), np.uint8))
        self._packets = np.zeros((0, PACKET), np.uint8)
        self._plans: list[list[tuple[int, mmsg.Departures, np.ndarray]] | None] = [None] * PHASES
        self.frame = 0

    def ask(self) -> None:
        """Read who wants a leg, and who wants none any more."""
        while True:
            try:
                text, source = self.asked.recvfrom(64)
            except BlockingIOError:
                return
            index, port = map(int, text.split())
            place = self._places.get(index)
            if not port:
                if place is not None:
                    self._names[place] = None
            else:
                if place is None:
                    place = self._places[index] = self._enter(port)
                own = self._ports[place // self._legs_per_port].getsockname()[1]
                self.asked.sendto(b"%d %d" % (index, own), source)
            if place is not None:
                self._plans[place % PHASES] = None

    def _enter(self, port: int) -> int:
        place = len(self._names)
        if place % self._legs_per_port == 0:
            one = _bound(4 << 20)
            self._ports.append(one)
            self._epoll.register(one.fileno(), select.EPOLLIN)
        if place == len(self._packets):
            more = np.zeros((max(64, place), PACKET), np.uint8)
            more[:, 0], more[:, 12:] = 0x80, 0xFF
            more[:, 8:12] = (np.arange(len(more)) + place)[:, None] >> [24, 16, 8, 0] & 0xFF
            self._packets = np.concatenate([self._packets, more])
            self._plans = [None] * PHASES  # they point into the old array
        self._names.append(mmsg.sockaddr((HOST, port)))
        return place

    def beat(self, phase: int) -> None:
        """Read all that has come; send to the legs of a phase."""
        for descriptor, _ in self._epoll.poll(0):
            while self._arrivals.take(descriptor, 0) == BATCH:
                pass
        plans = self._plans[phase]
        if plans is None:
            plans = self._plans[phase] = self._plan(phase)
        for descriptor, departures, places in plans:
            self._packets[places, 2] = self.frame >> 8 & 0xFF
            self._packets[places, 3] = self.frame & 0xFF
            stamp = self.frame * 160
            self._packets[places, 4:8] = [stamp >> shift & 0xFF for shift in (24, 16, 8, 0)]
            departures.send(descriptor)

    def _plan(self, phase: int) -> list[tuple[int, mmsg.Departures, np.ndarray]]:
        plans = []
        for at, one in enumerate(self._ports):
            first = at * self._legs_per_port
            here = range(first, min(first + self._legs_per_port, len(self._names)))
            names = {
                place: name
                for place in here
                if place % PHASES == phase and (name := self._names[place]) is not None
            }
            if names:
                views = [memoryview(self._packets[place]) for place in names]
                targets = np.frombuffer(b"".join(names.values()), np.uint8).reshape(-1, 16)
                departures = mmsg.Departures(views, targets)
                plans.append((one.fileno(), departures, np.array(list(names))))
        return plans


def _bound(buffer: int) -> socket.socket:
    one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    one.bind((HOST, 0))
    one.setblocking(False)
    return one


def serve(floor: Floor) -> None:
    """Beat until standard input ends."""
    ends = select.poll()
    ends.register(sys.stdin, select.POLLIN)
    start, beat = time.monotonic(), 0
    while not ends.poll(0):
        wait = start + beat * BEAT_S - time.monotonic()
        if wait > 0:
            time.sleep(wait)
        floor.ask()
        floor.frame = beat // PHASES
        floor.beat(beat % PHASES)
        beat += 1


def main() -> None:
    """Read the command line, take one core, serve."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.floor_server")
    parser.add_argument("--core", type=int, help="run on this core alone")
    parser.add_argument("--legs-per-port", type=int, default=100)
    options = parser.parse_args()
    if options.core is not None:
        os.sched_setaffinity(0, {options.core})
    floor = Floor(options.legs_per_port)
    host, port = floor.asked.getsockname()
    print(json.dumps({"sip": f"{host}:{port}", "pid": os.getpid()}), flush=True)
    gc.disable()
    serve(floor)


if __name__ == "__main__":
    main()
