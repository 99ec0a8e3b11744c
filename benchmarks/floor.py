"""What the socket work of a media server costs with no media in it: the floor under `density`.

A socket a leg, connected, on loopback. Every 20 ms each leg's datagram of 172 octets is found with
epoll, read with `recv_into`, and one is sent back with `send`; the peer's side is not counted.
``value`` is microseconds a leg and ptime: what remains of `density`'s budget if all else were free.
"""

from __future__ import annotations

import argparse
import select
import socket
from statistics import median
from time import perf_counter

from benchmarks.result import Result

PTIME_US = 20_000


def pairs_of(count: int) -> list[tuple[socket.socket, socket.socket]]:
    """Return connected pairs: ours and the peer's."""
    found = []
    for _ in range(count):
        ours = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        theirs = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        for one in (ours, theirs):
            one.bind(("127.0.0.1", 0))
            one.setblocking(False)
        ours.connect(theirs.getsockname())
        theirs.connect(ours.getsockname())
        found.append((ours, theirs))
    return found


def one_run(legs: int, frames: int) -> tuple[float, float]:
    """Return the seconds that receiving and sending took."""
    pairs = pairs_of(legs)
    epoll = select.epoll()
    readers = {}
    for ours, _ in pairs:
        epoll.register(ours.fileno(), select.EPOLLIN)
        readers[ours.fileno()] = ours.recv_into
    packet = memoryview(bytes(172))
    view = memoryview(bytearray(1536))
    plan = [(ours.send, packet) for ours, _ in pairs]
    drain = memoryview(bytearray(1536))
    receiving = sending = 0.0
    for _ in range(frames):
        for _, theirs in pairs:
            theirs.send(packet)
        began = perf_counter()
        for descriptor, _ in epoll.poll(0, legs):
            readers[descriptor](view)
        middle = perf_counter()
        for send, what in plan:
            send(what)
        sending += perf_counter() - middle
        receiving += middle - began
        for _, theirs in pairs:
            theirs.recv_into(drain)
    epoll.close()
    for pair in pairs:
        for one in pair:
            one.close()
    return receiving, sending


def run(arguments: list[str]) -> Result:
    """Measure, with the median of the runs for each half."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks floor")
    parser.add_argument("--legs", type=int, default=400)
    parser.add_argument("--frames", type=int, default=50, help="ptimes in each run")
    parser.add_argument("--runs", type=int, default=7)
    options = parser.parse_args(arguments)
    if options.legs < 1 or options.runs < 1 or options.frames < 1:
        parser.error("give at least one leg, one frame and one run")
    each = 1e6 / (options.legs * options.frames)
    found = [one_run(options.legs, options.frames) for _ in range(options.runs)]
    runs = tuple((receiving + sending) * each for receiving, sending in found)
    return Result(
        benchmark="floor",
        unit="us per leg and ptime",
        runs=runs,
        details={
            "legs": options.legs,
            "receive": round(median(receiving for receiving, _ in found) * each, 3),
            "send": round(median(sending for _, sending in found) * each, 3),
            "legs_that_fill_a_core": int(PTIME_US / median(runs)),
        },
    )
