"""Legs that one core holds: bridges of three, everybody talking, over real UDP.

A number of legs is held when fewer than 0.1 % of packets and of audio frames are missing and the
99th percentile of added latency is below 40 ms.  The search doubles or halves its step between a
number that was held and one that was not; every trial has a fresh server.

With ``--record`` every leg is recorded as well, what it says and what it hears, and after each
trial the files are verified: a number is held when no frame of them is missing.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.generator import Load, generate
from benchmarks.processes import ServerProcess, memory_kb
from benchmarks.recordings import judge
from benchmarks.result import Result
from benchmarks.rooms import PER_ROOM, ROLES
from rtpmix.rtp.srtp import SUITES

Figures = dict[str, Any]

_FAULTS_OF_FILES = ("captures_not_sealed", "frames_missing_in_files", "frames_declared_lost")
MISSING_PCT = 0.1
FLOOR_RUNS = 3
FULL_PCT = 90.0  # of its core: what is missing then may be the generator's fault
P99_MS = 40.0


def run(arguments: list[str]) -> Result:
    """Search for the most legs that are held, several times."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks density")
    add_search_options(parser, runs=3, start=450)
    add_media_options(parser)
    options = parser.parse_args(arguments)
    searches = [search(options, trial, is_held) for _ in range(options.runs)]
    best, broken = max(searches, key=lambda found: found[0].get("legs", 0))
    floor, floor_details = floor_of(best, options)
    return Result(
        benchmark="density",
        unit="legs on one core",
        runs=tuple(held.get("legs", 0) for held, _ in searches),
        floor=floor or None,
        details={
            "legs_per_port": options.legs_per_port,
            "workers": options.workers,
            "suite": options.suite or "none",
            "recorded": options.record,
            "calls_per_second": options.calls_per_second,
            "criterion": f"<{MISSING_PCT}% missing, p99<{P99_MS:g} ms",
            "held": best,
            "not_held": broken,
            **floor_details,
        },
    )


def floor_of(held: Figures, options: argparse.Namespace) -> tuple[float, Figures]:
    """Load the same sockets with no media behind them as the server was loaded (`floor_server`).

    Returns
    -------
    The legs that would fill a core with that, and what was measured.
    """
    if not held or options.record or options.suite or options.workers:
        return 0.0, {}
    found = [_floor_pct(held["legs"], options) for _ in range(FLOOR_RUNS)]
    pct = median(found)
    details = {
        "floor_cpu_pct": found,
        "processor_ratio": round(pct / held["server_cpu_pct"], 3),
    }
    return 100 * held["legs"] / pct, details


def _floor_pct(legs: int, options: argparse.Namespace) -> float:
    with ServerProcess(
        legs_per_port=options.legs_per_port, module="benchmarks.floor_server"
    ) as server:
        load = Load(
            server=server.sip,
            legs=legs,
            seconds=options.seconds,
            pid=server.pid,
            calls_per_second=500.0,
            caller="benchmarks.floor_calls",
        )
        figures = generate(load)
    print(
        f"floor: {figures['legs_up']} of {legs} legs, missing "
        f"{figures['packets_missing_pct']} % of packets; {figures['server_cpu_pct']} %",
        file=sys.stderr,
    )
    if figures["legs_up"] < legs or figures["packets_missing_pct"] >= MISSING_PCT:
        raise SystemExit("density: the floor itself did not hold; is the machine busy?")
    return float(figures["server_cpu_pct"])


def add_search_options(parser: argparse.ArgumentParser, *, runs: int, start: int) -> None:
    """Add what says how to look for the most legs."""
    parser.add_argument("--runs", type=int, default=runs)
    parser.add_argument("--start", type=int, default=start, help="legs to try first")
    parser.add_argument("--step", type=int, default=30, help="how exact the result is, in legs")
    parser.add_argument("--most", type=int, default=2400, help="legs not to exceed")
    parser.add_argument("--seconds", type=float, default=10.0, help="measured in each trial")


def search(
    options: argparse.Namespace,
    attempt: Callable[[int, argparse.Namespace], Figures],
    holds: Callable[[Figures], bool],
) -> tuple[Figures, Figures]:
    """Return the figures of the most legs that were held, and of the fewest that were not."""
    step = options.step
    held, broke = 0, 0
    best: Figures = {}
    worst: Figures = {}
    legs, stride = options.start, 4 * step
    while True:
        figures = attempt(legs, options)
        if holds(figures):
            held, best = legs, figures
        else:
            broke, worst = legs, figures
        if (broke and broke - held <= step) or held >= options.most:
            return best, worst
        if not broke:
            legs = min(held + stride, options.most)
        elif not held:
            legs = max(broke // 2, step)
            if legs == broke:
                return best, worst
        else:
            legs = (held + broke) // 2
        legs -= legs % PER_ROOM


def add_media_options(parser: argparse.ArgumentParser) -> None:
    """Add what says how the media goes."""
    parser.add_argument("--legs-per-port", type=int, default=100, help="1: sockets for each leg")
    parser.add_argument(
        "--workers", type=int, default=0, help="processes beside the server's that carry media"
    )
    parser.add_argument(
        "--suite", default="", choices=("", *SUITES), help="encrypt every leg (SRTP, SDES)"
    )
    parser.add_argument(
        "--calls-per-second", type=float, default=100.0, help="how fast calls are set up"
    )
    parser.add_argument(
        "--supervised", action="store_true", help="the third of each room only listens, to both"
    )
    parser.add_argument(
        "--record",
        action="store_true",
        help="record every leg on disk, and read the files back",
    )


def trial(legs: int, options: argparse.Namespace) -> dict[str, Any]:
    """Load a fresh server with so many legs; return the figures."""
    if not options.record:
        figures = _load(legs, options, None)
    else:
        with tempfile.TemporaryDirectory(prefix="density-") as name:
            directory = Path(name)
            figures = _load(legs, options, directory)
            figures |= judge(directory, legs, int(50 * options.seconds))
    print(f"density: {legs} legs: {describe(figures)}", file=sys.stderr)
    return figures


def _load(legs: int, options: argparse.Namespace, record: Path | None) -> dict[str, Any]:
    with ServerProcess(
        legs_per_port=options.legs_per_port, record=record, workers=options.workers
    ) as server:
        load = Load(
            server=server.sip,
            legs=legs,
            seconds=options.seconds,
            pid=server.pid,
            suite=options.suite,
            calls_per_second=options.calls_per_second,
            supervised=options.supervised,
        )
        figures = generate(load)
        figures["memory_mb"] = memory_kb(server.pid) // 1024
    return figures


def is_held(figures: dict[str, Any]) -> bool:
    """True when the criterion is met."""
    return bool(
        figures["legs_up"] == figures["legs"]
        and not figures["dropped_by_server"]
        and not figures.get("not_authentic")
        and not any(figures.get(name) for name in _FAULTS_OF_FILES)
        and figures["packets_missing_pct"] < MISSING_PCT
        and figures["audio_missing_pct"] < MISSING_PCT
        and figures["p99_ms"] < P99_MS
    )


def describe(figures: dict[str, Any]) -> str:
    """Return one line for people."""
    seen = figures
    return (
        f"{seen['legs_up']} up, missing {seen['packets_missing_pct']} % of packets and "
        f"{seen['audio_missing_pct']} % of audio, p99 {seen['p99_ms']} ms"
        f"{described_roles(seen)}; server "
        f"{seen['server_cpu_pct']} % (waited {seen['server_waited_pct']} %), generator "
        f"{seen['generator_cpu_pct']} % (late {seen['generator_late_p99_ms']} ms)"
        f"{described_secrecy(seen)}{described_files(seen)}"
        f"{'' if is_held(seen) else ' - not held'}"
        f"{' (the generator was at its own limit)' if seen['generator_cpu_pct'] > FULL_PCT else ''}"
    )


def described_roles(figures: dict[str, Any]) -> str:
    """Return the latencies of each role, where rooms were supervised."""
    shown = [
        f"{role} {figures[f'{role}_p50_ms']}/{figures[f'{role}_p99_ms']}"
        for role in ROLES
        if f"{role}_p99_ms" in figures
    ]
    return f" ({', '.join(shown)})" if shown else ""


def described_secrecy(figures: dict[str, Any]) -> str:
    """Return how much of what came back encrypted was decrypted and checked."""
    if "decrypted_pct" not in figures:
        return ""
    return (
        f"; {figures['decrypted_pct']} % of packets decrypted, "
        f"{figures['not_authentic']} not authentic"
    )


def described_files(figures: dict[str, Any]) -> str:
    """Return what is in the files, where legs were recorded."""
    if "tracks" not in figures:
        return ""
    return (
        f"; {figures['tracks']} tracks of {figures['captures']} captures, "
        f"{figures['frames_in_files']} frames, {figures['frames_missing_in_files']} missing, "
        f"{figures['frames_declared_lost']} declared lost, "
        f"{figures['captures_not_sealed']} captures not sealed"
    )
