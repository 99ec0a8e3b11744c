"""What a beat costs while nothing changes: nothing that lives on, and no call for a packet."""

from __future__ import annotations

import gc
import sys
import tracemalloc
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np

import rtpmix
from rtpmix.mixer.boxes import Inbox, Outbox
from rtpmix.mixer.commands import OpenLeg, SetMatrix
from rtpmix.mixer.engine import Engine
from rtpmix.server.media_io import Address
from rtpmix.server.media_loop import MediaLoop

UNITY = 32768
PHASES = 4
LIBRARY = str(Path(rtpmix.__file__).parent / "*")


class Talkers:
    """A `MediaIO` on which every leg's next packet is there once a ptime, at its bridge's beat."""

    def __init__(self, legs: int) -> None:
        self.packets = np.zeros((legs, 172), np.uint8)
        self.packets[:, 0] = 0x80
        self.packets[:, 11] = 1  # the SSRC; there is one stream a leg
        self.frame = 0
        self.legs: list[int] = []  # rows, of those that talk at this beat

    def step(self, legs: list[int], frame: int) -> None:
        self.legs = legs
        self.packets[:, 2:4] = np.frombuffer((frame & 0xFFFF).to_bytes(2, "big"), np.uint8)
        self.packets[:, 4:8] = np.frombuffer((frame * 160).to_bytes(4, "big"), np.uint8)
        self.packets[:, 12:] = 0x80 + frame % 64

    def reserve(self, leg: int, *, ipv6: bool = False, remote: Address | None = None) -> Address:
        return ("192.0.2.9", 5000 + 2 * leg)

    def attach(self, leg: int, row: int) -> None:
        pass

    def connect(
        self, leg: int, remote: Address | None, remote_rtcp: Address | None, rtcp_mux: bool
    ) -> None:
        pass

    def release(self, leg: int) -> None:
        pass

    def receive(self, inbox: Inbox) -> int:
        inbox.more = False
        count = len(self.legs)
        inbox.data[:count, :172] = self.packets[self.legs]
        inbox.sizes[:count] = [172] * count
        inbox.codes[:count] = [2 * row for row in self.legs]
        return count

    def send(self, outbox: Outbox) -> list[int]:
        return []


class World:
    """Bridges of three in which all talk, spread over the phases."""

    def __init__(self, legs: int) -> None:
        self.engine = Engine(phases=PHASES, capacity=legs, batch=legs)
        self.io = Talkers(legs)
        self.media = MediaLoop(self.engine, self.io)
        self.frame = 0
        gains = tuple(tuple(0 if i == j else UNITY for j in range(3)) for i in range(3))
        for leg in range(legs):
            self.media.submit(OpenLeg(leg=leg, ssrc=leg, first_sequence=0, first_timestamp=0))
        for first in range(0, legs, 3):
            seats = (first, first + 1, first + 2)
            self.media.submit(SetMatrix(bridge=first, seats=seats, gains=gains))
        self.talks = [
            [row for row in range(legs) if row // 3 % PHASES == phase] for phase in range(PHASES)
        ]
        self.run(200)

    def run(self, ptimes: int) -> None:
        for _ in range(ptimes):
            for phase in range(PHASES):
                self.io.step(self.talks[phase], self.frame)
                self.media.beat()
            self.frame += 1

    def calls(self, ptimes: int) -> int:
        """Return the calls, of Python and of C, that the least busy of some ptimes makes."""
        least = sys.maxsize
        for _ in range(ptimes):
            found = 0

            def count(frame: FrameType, event: str, argument: Any) -> None:
                nonlocal found
                found += event in ("call", "c_call")

            sys.setprofile(count)
            try:
                self.run(1)
            finally:
                sys.setprofile(None)
            least = min(least, found)
        return least


def living(ptimes: int, world: World) -> tuple[int, int]:
    """Return the octets and blocks that the library has allocated and holds, after a while."""
    world.run(ptimes)
    gc.collect()
    traces = tracemalloc.take_snapshot().filter_traces([tracemalloc.Filter(True, LIBRARY)])
    blocks = traces.statistics("filename")
    return sum(each.size for each in blocks), sum(each.count for each in blocks)


def test_nothing_that_a_beat_allocates_lives_on() -> None:
    world = World(30)
    assert world.engine.snapshot()["played"] > 0
    tracemalloc.start()
    try:
        octets, blocks = living(500, world)
        more_octets, more_blocks = living(1000, world)
    finally:
        tracemalloc.stop()
    assert octets > 0
    # A packet that stayed would be 30,000 blocks. What grows are counters that become larger
    # integers, and what RTCP remembers of the last report of each leg.
    assert more_blocks - blocks < 30
    assert more_octets - octets < 8 * 1024


def test_no_packet_costs_a_call() -> None:
    few, many = World(60), World(600)
    assert many.engine.snapshot()["received"] >= 10 * few.engine.snapshot()["received"]
    # 540 legs more, 1,080 packets: not one call for each of them, nor for any ten.
    assert many.calls(20) - few.calls(20) < 54
