"""This library and a peer that anybody can install, under the same load in the same run.

The peer is the AudioBridge of Debian's Janus (``apt install janus``), whose participants come over
plain RTP: rooms of three, PCMU, everybody talking, on one core. A number of legs counts as carried
when fewer than 0.1 % of packets and of audio frames are missing; latency is shown beside, since
Janus's is above this project's own bound of 40 ms at any load.

Debian's baresip (1.0) has no mixer, and PJSUA2's wheel on PyPI is built for four calls: neither
can be measured as a bridge.
"""

from __future__ import annotations

import argparse
import sys
from functools import partial
from statistics import median
from typing import Any

from benchmarks.density import MISSING_PCT, Figures, add_search_options, search
from benchmarks.generator import Load, generate
from benchmarks.peers import janus
from benchmarks.processes import ServerProcess, memory_kb
from benchmarks.result import Result
from benchmarks.rooms import PER_ROOM

OURS, JANUS = "rtpmix", "janus"
SHOWN = (
    "p50_ms",
    "p99_ms",
    "server_cpu_pct",
    "memory_mb",
    "packets_missing_pct",
    "audio_missing_pct",
)


def run(arguments: list[str]) -> Result:
    """Measure both, several times in turn."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks peers")
    add_search_options(parser, runs=1, start=240)
    parser.add_argument("--legs", type=int, default=30, help="of the load that both get as well")
    parser.add_argument("--legs-per-port", type=int, default=100, help="of this library")
    parser.add_argument(
        "--prebuffering",
        type=int,
        default=2,
        help="packets that Janus keeps back: with its own 6 everybody waits 120 ms",
    )
    parser.add_argument("--no-search", action="store_true", help="compare at --legs alone")
    options = parser.parse_args(arguments)
    problem = janus.installed()
    if problem is not None:
        raise SystemExit(f"peers: {problem}")
    legs = -(-options.legs // PER_ROOM) * PER_ROOM  # whole rooms
    same: dict[str, list[Figures]] = {OURS: [], JANUS: []}
    most: dict[str, list[int]] = {OURS: [], JANUS: []}
    for _ in range(options.runs):
        for name in (OURS, JANUS):
            attempt = partial(trial, name=name)
            same[name].append(attempt(legs, options))
            if not options.no_search:
                held, _worst = search(options, attempt, carries)
                most[name].append(held.get("legs", 0))
    return _result(options, legs, same, most)


def trial(legs: int, options: argparse.Namespace, name: str) -> Figures:
    """Load a fresh server with so many legs; return the figures."""
    if name == OURS:
        with ServerProcess(legs_per_port=options.legs_per_port) as server:
            figures = _load(server.sip, server.pid, legs, options.seconds)
    else:
        with janus.JanusProcess(options.prebuffering) as peer:
            figures = _load(peer.address, peer.pid, legs, options.seconds, caller=janus.CALLER)
    shown = "  ".join(f"{key}={figures[key]}" for key in SHOWN)
    held = "" if carries(figures) else "  - not carried"
    print(f"peers: {name}: {legs} legs, {figures['legs_up']} up: {shown}{held}", file=sys.stderr)
    return figures


def _load(
    server: tuple[str, int], pid: int, legs: int, seconds: float, **more: Any
) -> dict[str, Any]:
    figures = generate(Load(server=server, legs=legs, seconds=seconds, pid=pid, **more))
    figures["memory_mb"] = memory_kb(pid) // 1024
    return figures


def carries(figures: Figures) -> bool:
    """True when nothing that counts is missing."""
    return bool(
        figures["legs_up"] == figures["legs"]
        and not figures["dropped_by_server"]
        and figures["packets_missing_pct"] < MISSING_PCT
        and figures["audio_missing_pct"] < MISSING_PCT
    )


def _result(
    options: argparse.Namespace,
    legs: int,
    same: dict[str, list[Figures]],
    most: dict[str, list[int]],
) -> Result:
    middle = {
        name: {key: median(each[key] for each in figures) for key in SHOWN}
        for name, figures in same.items()
    }
    details: dict[str, Any] = {
        "runs_of_both": options.runs,
        f"at_{legs}_legs": middle,
        "ratios": {
            key: _ratio(middle[OURS][key], middle[JANUS][key])
            for key in ("p50_ms", "p99_ms", "server_cpu_pct", "memory_mb")
        },
        "prebuffering_of_janus": options.prebuffering,
        "criterion": f"<{MISSING_PCT}% of packets and frames missing, any latency",
    }
    if options.no_search:
        runs = [
            _ratio(one["p99_ms"], other["p99_ms"])
            for one, other in zip(same[OURS], same[JANUS], strict=True)
        ]
        return Result(
            benchmark="peers", unit="of Janus's p99 latency", runs=tuple(runs), details=details
        )
    details["legs_on_one_core"] = most
    ratios = [_ratio(one, other) for one, other in zip(most[OURS], most[JANUS], strict=True)]
    return Result(benchmark="peers", unit="of Janus's legs", runs=tuple(ratios), details=details)


def _ratio(ours: float, theirs: float) -> float:
    return round(ours / theirs, 3) if theirs else float("inf")
