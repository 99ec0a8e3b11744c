"""A day of calls in virtual time: nothing drifts, nothing grows, nothing is left behind.

An engine carries bridges whose legs come and go, over a network that loses, delays, reorders and
stalls, with clocks up to 200 ppm apart, silence that is suppressed, streams that restart, digits,
prompts, and a new routing every few seconds. Two legs stay for the whole day, at +200 and -200 ppm.
The day is cut into laps; after each the delays of these two, every table of the engine, the
interpreter's blocks and the process's memory are noted. ``value`` is the hours that were carried;
the process ends with status 1 when anything drifted, grew or was left.
"""

from __future__ import annotations

import argparse
import gc
import heapq
import json
import math
import random
import sys
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.result import Result
from benchmarks.soak_peer import EVENTS, NOISE, Peer
from rtpmix.mixer.commands import (
    CloseLeg,
    CloseSeat,
    Command,
    CommandRefused,
    DetectDigits,
    LegClosed,
    MeasureLevels,
    OpenLeg,
    OpenSource,
    Play,
    Record,
    SendDigits,
    SetAutoGain,
    SetMatrix,
)
from rtpmix.mixer.engine import Engine

UNITY = 32768
LAPS = 24
SKEW = 200e-6
BRIDGES, SEATS = 3, 4
DELAY_MS = (
    45.0  # of a steady leg: its jitter, a frame and a beat of grace; 24 h at 200 ppm are 17 s
)
CALLS_S = 90.0  # mean length of a call


@dataclass
class Lap:
    """What was noted at the end of one."""

    hours: float
    delay_ms: dict[str, float]  # the worst of the lap, of each leg that stays
    mean_delay_ms: dict[str, float]
    played: float  # of what arrived
    tables: dict[str, int]
    blocks: int
    rss_kb: int


@dataclass
class World:
    """Everything that goes on around one engine."""

    seed: int = 1
    phases: int = 4
    now: float = 0.0
    packets: int = 0
    calls: int = 0
    matrices: int = 0
    refused: list[str] = field(default_factory=list)
    played: int = 0
    received: int = 0

    def __post_init__(self) -> None:
        self.dice = random.Random(self.seed)
        self.engine = Engine(phases=self.phases, capacity=32, source=random.Random(self.seed))
        self.peers: dict[int, Peer] = {}
        self.seats: list[list[int]] = [[] for _ in range(BRIDGES)]
        self._on_the_way: list[tuple[float, int, int, bytes]] = []
        self._sources: deque[tuple[float, int, int]] = deque()  # when it ends, source, bridge
        self._number = 0
        self._beat_s = 0.02 / self.phases
        self.steady = {self._open(0, SKEW, True): "slow", self._open(0, -SKEW, True): "fast"}
        for bridge in range(BRIDGES):
            while len(self.seats[bridge]) < SEATS:
                self._open(bridge, self.dice.uniform(-SKEW, SKEW), False)
        self._due = [0.0] * BRIDGES

    # ----------------------------------------------------------------------------- what happens

    def _do(self, command: Command) -> None:
        self.engine.submit(command)

    def _open(self, bridge: int, skew: float, steady: bool) -> int:
        self._number += 1
        leg, dice = self._number, self.dice
        self._do(
            OpenLeg(
                leg=leg,
                ssrc=dice.getrandbits(32),
                first_sequence=dice.getrandbits(16),
                first_timestamp=dice.getrandbits(32),
                dtmf_payload_type=EVENTS,
                noise_payload_type=NOISE,
                media_timeout_ms=30_000,
            )
        )
        self.peers[leg] = Peer(dice, self.now, skew=skew, steady=steady)
        self.seats[bridge].append(leg)
        self.calls += 1
        for command in (Record, MeasureLevels, SetAutoGain, DetectDigits):
            if not steady and dice.random() < 0.3:
                self._do(command(leg))
        return leg

    def _hang_up(self, bridge: int, leg: int) -> None:
        self.seats[bridge].remove(leg)
        del self.peers[leg]
        self._do(CloseLeg(leg))

    def _route(self, bridge: int) -> None:
        seats, dice = self.seats[bridge], self.dice
        gains = [[dice.choice((0, UNITY, UNITY, 4 * UNITY)) for _ in seats] for _ in seats]
        for place in range(len(seats)):
            gains[place][place] = 0
        keys = tuple(tuple(gain > 0 for gain in row) for row in gains)
        rows = tuple(map(tuple, gains))
        self._do(
            SetMatrix(bridge=bridge, seats=tuple(seats), gains=rows, dtmf=keys, limited=bridge == 1)
        )
        self.matrices += 1

    def _live(self) -> None:
        """Let a second's worth of things happen."""
        dice = self.dice
        for bridge, seats in enumerate(self.seats):
            leavers = [leg for leg in seats if leg in self.peers and leg not in self.steady]
            changed = dice.random() < 1 / 7
            for leg in leavers:
                if dice.random() < 1 / CALLS_S:
                    self._hang_up(bridge, leg)
                    self._open(dice.randrange(BRIDGES), dice.uniform(-SKEW, SKEW), False)
                    changed = True
                elif dice.random() < 1 / 60:
                    self._do(SendDigits(leg, "42#"))
            if dice.random() < 1 / 40:
                self._prompt(bridge)
                changed = True
            if changed or len(seats) != self._due[bridge]:
                self._due[bridge] = len(seats)
                self._route(bridge)
        while self._sources and self._sources[0][0] <= self.now:
            _, source, bridge = self._sources.popleft()
            self.seats[bridge].remove(source)
            self._do(CloseSeat(source))

    def _prompt(self, bridge: int) -> None:
        self._number += 1
        self._do(OpenSource(self._number))
        self._do(Play(self._number, bytes(2 * 8000)))
        self.seats[bridge].append(self._number)
        self._sources.append((self.now + 2, self._number, bridge))

    # ----------------------------------------------------------------------------- time goes on

    def beat(self) -> None:
        """Send, deliver, mix."""
        self.now += self._beat_s
        for leg, peer in self.peers.items():
            for at, packet in peer.sent(self.now):
                self.packets += 1
                heapq.heappush(self._on_the_way, (at, self.packets, leg, packet))
        engine, rows = self.engine, self.engine.rows.of_seat
        arrived: dict[int, list[bytes]] = {}
        while self._on_the_way and self._on_the_way[0][0] <= self.now:
            _, _, leg, packet = heapq.heappop(self._on_the_way)
            if leg in self.peers:  # else it hung up
                arrived.setdefault(rows[leg], []).append(packet)
        while arrived:  # at most one of a row at a time
            for row, packets in list(arrived.items()):
                engine.inbox.put(row, packets.pop(0))
                if not packets:
                    del arrived[row]
            engine.receive(engine.inbox.count)
        engine.tick()
        for event in engine.take_events():
            if isinstance(event, CommandRefused):
                self.refused.append(event.why)
            elif isinstance(event, LegClosed):
                self.played += event.stats.played
                self.received += event.stats.received - event.stats.duplicate
        engine.take_blocks()

    def second(self) -> dict[str, float]:
        """Let a second pass; return the delays of the legs that stay."""
        self._live()
        for _ in range(round(1 / self._beat_s)):
            self.beat()
        delays = {}
        for leg, name in self.steady.items():
            stats = self.engine.leg_stats(leg)
            assert stats is not None
            delays[name] = stats.playout_delay_ms
        return delays

    def lap(self, seconds: int) -> Lap:
        """Let this much time pass and note what became of it."""
        played, received = self.played, self.received
        delays = [self.second() for _ in range(seconds)]
        gc.collect()
        return Lap(
            hours=self.now / 3600,
            delay_ms={name: max(each[name] for each in delays) for name in delays[0]},
            mean_delay_ms={
                name: sum(each[name] for each in delays) / len(delays) for name in delays[0]
            },
            played=(self.played - played) / (self.received - received or 1),
            tables=table_sizes(self.engine),
            blocks=sys.getallocatedblocks(),
            rss_kb=rss_kb(),
        )

    def end(self) -> None:
        """Let everybody hang up."""
        for bridge, seats in enumerate(self.seats):
            for leg in [leg for leg in seats if leg in self.peers]:
                self._hang_up(bridge, leg)
        while self._sources:
            _, source, _ = self._sources.popleft()
            self._do(CloseSeat(source))
        for _ in range(round(2 / self._beat_s)):
            self.beat()


def rss_kb() -> int:
    """Return the memory of this process that is in use, in kB."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * 4


def table_sizes(root: object) -> dict[str, int]:
    """Return how long every list, dict, set and queue is that an object of rtpmix holds."""
    found: dict[str, int] = {}
    seen: set[int] = set()

    def visit(owner: object, path: str) -> None:
        if id(owner) in seen:
            return
        seen.add(id(owner))
        names = list(getattr(owner, "__dict__", ()))
        for kind in type(owner).__mro__:
            names += getattr(kind, "__slots__", ())
        for name in names:
            value = getattr(owner, name, None)
            place = sys.intern(f"{path}.{name}")
            if isinstance(value, list | dict | set | deque):
                found[place] = len(value) + sum(
                    len(item) for item in value if isinstance(item, list | dict | set | deque)
                )
            elif isinstance(value, np.ndarray):
                found[place] = value.nbytes
            elif type(value).__module__.startswith("rtpmix"):
                visit(value, place)

    visit(root, "engine")
    return found


def problems(world: World, laps: list[Lap], left: dict[str, int]) -> list[str]:
    """Say what drifted, grew or was left behind."""
    found = [
        f"refused: {why}" for why in sorted(set(world.refused)) if "nothing is sent" not in why
    ]
    for lap in laps:
        for name, worst in lap.delay_ms.items():
            if worst > DELAY_MS:
                found.append(f"a delay of {worst:.1f} ms at hour {lap.hours:.2f}, leg {name}")
        if 0 < lap.played < 0.97:  # a call of a few seconds loses what waits at its end
            found.append(f"{lap.played:.4f} of what arrived was played until hour {lap.hours:.2f}")
    # At 200 ppm a delay goes up and down once in 100 s: a mean is steady over many of those.
    for name in laps[0].mean_delay_ms if laps[0].hours > 1 / 6 else ():
        drift = laps[-1].mean_delay_ms[name] - laps[0].mean_delay_ms[name]
        if abs(drift) > 15:
            found.append(f"the mean delay of leg {name} drifted by {drift:.1f} ms")
    half = laps[len(laps) // 2 :]
    for name in half[0].tables:
        before = max(lap.tables[name] for lap in laps[: len(laps) // 2 or 1])
        after = max(lap.tables.get(name, 0) for lap in half)
        if after > 2 * before + 64:
            found.append(f"{name} grew from {before} to {after}")
    for name in ("rows.of_seat", "_board.bridge_of", "_digits._senders", "_desk.sources"):
        if left[f"engine.{name}"]:
            found.append(f"{left[f'engine.{name}']} left in {name}")
    return found


def carry(
    hours: float,
    *,
    seed: int = 1,
    phases: int = 4,
    laps: int = LAPS,
    tell: bool = False,
    minutes: float = math.inf,
) -> tuple[World, list[Lap], list[str]]:
    """Carry calls for so long; return the world, its laps, and what was wrong.

    It ends early where another lap would end after so many minutes, and says of the laps that there
    were what it would have said of all.
    """
    world = World(seed=seed, phases=phases)
    seconds = max(1, round(hours * 3600 / laps))
    found = []
    began = time.monotonic()
    for number in range(laps):
        lap = world.lap(seconds)
        found.append(lap)
        if tell:
            shown = {
                "lap": number + 1,
                "hours": round(lap.hours, 3),
                "minutes": round((time.monotonic() - began) / 60, 1),
                "delay_ms": lap.delay_ms,
                "mean_ms": {name: round(mean, 2) for name, mean in lap.mean_delay_ms.items()},
                "played": round(lap.played, 5),
                "packets": world.packets,
                "calls": world.calls,
                "blocks": lap.blocks,
                "rss_kb": lap.rss_kb,
            }
            print(json.dumps(shown), file=sys.stderr, flush=True)
        if (time.monotonic() - began) * (number + 2) / (number + 1) > 60 * minutes:
            break
    world.end()
    left = table_sizes(world.engine)
    return world, found, problems(world, found, left)


def run(arguments: list[str]) -> Result:
    """Soak, and say how it went."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks soak")
    parser.add_argument("--hours", type=float, default=24.0, help="of virtual time")
    parser.add_argument("--phases", type=int, default=4)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=math.inf, help="end early after so many")
    options = parser.parse_args(arguments)
    began = time.monotonic()
    world, laps, wrong = carry(
        options.hours,
        seed=options.seed,
        phases=options.phases,
        tell=True,
        minutes=options.minutes,
    )
    details: dict[str, Any] = {
        "problems": wrong,
        "minutes": round((time.monotonic() - began) / 60, 1),
        "packets": world.packets,
        "calls": world.calls,
        "matrices": world.matrices,
        "worst_delay_ms": {n: max(lap.delay_ms[n] for lap in laps) for n in laps[0].delay_ms},
        "mean_delay_ms": {
            n: [round(lap.mean_delay_ms[n], 1) for lap in laps] for n in laps[0].delay_ms
        },
        "rss_kb": [laps[0].rss_kb, laps[-1].rss_kb],
        "blocks": [laps[0].blocks, laps[-1].blocks],
    }
    result = Result(
        benchmark="soak", unit="virtual hours", runs=(world.now / 3600,), details=details
    )
    if wrong:
        print(result.to_json())
        raise SystemExit("soak: " + "; ".join(wrong))
    return result
