"""Microseconds a leg and tick inside the engine, and where they go; no sockets.

Legs in bridges of three, all three always talking. ``value`` is one ptime of one leg: its packet
taken in, its frame mixed and encoded, its packet written. The floor is what numpy needs to move
the same octets twice, from the inbox to a ring and from there to a packet, doing nothing to them.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np

from benchmarks.result import Result
from rtpmix.mixer import g711
from rtpmix.mixer.commands import OpenLeg, SetMatrix
from rtpmix.mixer.engine import Engine
from rtpmix.server.memory import keep_freed_memory

PER_BRIDGE = 3
UNITY = 32768
TONE = g711.encode(
    np.rint(4000 * np.sin(2 * np.pi * 437 * np.arange(160) / 8000)).astype(np.int16), g711.PCMU
).tobytes()


def build(legs: int, phases: int) -> Engine:
    """Return an engine with its bridges set up and running."""
    engine = Engine(phases=phases, capacity=legs, batch=legs)
    for leg in range(legs):
        engine.submit(OpenLeg(leg=leg, ssrc=leg, first_sequence=0, first_timestamp=0))
    gains = tuple(tuple(0 if i == j else UNITY for j in range(PER_BRIDGE)) for i in range(3))
    for bridge in range(legs // PER_BRIDGE):
        seats = tuple(range(bridge * PER_BRIDGE, (bridge + 1) * PER_BRIDGE))
        engine.submit(SetMatrix(bridge=bridge, seats=seats, gains=gains))
    return engine


def fill(engine: Engine, legs: range, frame: int) -> int:
    """Put the next packet of these legs into the inbox, as a socket would."""
    inbox = engine.inbox
    head = frame.to_bytes(2, "big") + (frame * 160).to_bytes(4, "big")
    for count, leg in enumerate(legs):
        inbox.views[count][:12] = b"\x80\x00" + head + leg.to_bytes(4, "big")
        inbox.views[count][12:172] = TONE
        inbox.sizes[count], inbox.codes[count] = 172, 2 * leg
    return len(legs)


class Stages:
    """Adds up the time of methods by wrapping them."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def wrap(self, owner: Any, name: str, stage: str) -> None:
        inner: Callable[..., Any] = getattr(owner, name)

        def timed(*args: Any) -> Any:
            began = perf_counter()
            result = inner(*args)
            self.seconds[stage] = self.seconds.get(stage, 0.0) + perf_counter() - began
            return result

        setattr(owner, name, timed)


def one_run(legs: int, phases: int, frames: int) -> dict[str, float]:
    """Return seconds by stage for so many ptimes."""
    engine = build(legs, phases)
    stages = Stages()
    stages.wrap(engine, "receive", "receive")
    stages.wrap(engine, "tick", "tick")
    stages.wrap(engine, "_listen", "playout, decode")
    stages.wrap(engine, "_mix", "mix, clip")
    stages.wrap(engine, "_encode", "encode")
    stages.wrap(engine._packetiser, "write", "packetise")
    for frame in range(frames + 20):
        if frame == 20:
            stages.seconds.clear()
        for phase in range(phases):
            engine.receive(fill(engine, range(phase, legs, phases), frame))
            engine.tick()
    engine.take_events()
    return stages.seconds


def move_only(legs: int, frames: int) -> float:
    """Return the seconds that the same octets take when they are only moved."""
    inbox = np.zeros((legs, 1536), np.uint8)
    ring, packets = np.zeros((legs, 160), np.uint8), np.zeros((legs, 172), np.uint8)
    rows = np.arange(legs)
    began = perf_counter()
    for _ in range(frames):
        ring[rows] = inbox[rows, 12:172]
        packets[rows, 12:] = ring[rows]
    return perf_counter() - began


def run(arguments: list[str]) -> Result:
    """Measure, with the median of the runs by stage."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks tick")
    parser.add_argument("--legs", type=int, default=600)
    parser.add_argument("--phases", type=int, default=4)
    parser.add_argument("--frames", type=int, default=100, help="ptimes in each run")
    parser.add_argument("--runs", type=int, default=7)
    options = parser.parse_args(arguments)
    if options.legs < PER_BRIDGE or options.runs < 1 or options.frames < 1:
        parser.error(f"give at least {PER_BRIDGE} legs, one frame and one run")
    if options.phases not in (1, 2, 4, 5, 8, 10, 20):
        parser.error("phases divide 160 samples: 1, 2, 4, 5, 8, 10 or 20")
    keep_freed_memory()  # as the media thread of a server does
    each = 1e6 / (options.legs * options.frames)
    found = [one_run(options.legs, options.phases, options.frames) for _ in range(options.runs)]
    floors = [move_only(options.legs, options.frames) * each for _ in range(options.runs)]
    stages = {name: median(one[name] for one in found) * each for name in found[0]}
    stages["other"] = stages["tick"] - sum(
        value for name, value in stages.items() if name not in ("receive", "tick")
    )
    return Result(
        benchmark="tick",
        unit="us per leg and tick",
        runs=tuple((one["receive"] + one["tick"]) * each for one in found),
        floor=median(floors),
        details={
            "legs": options.legs,
            "phases": options.phases,
            "stages": {name: round(value, 3) for name, value in stages.items()},
        },
    )
