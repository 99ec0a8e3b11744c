"""Mouth to ear, as added by the server: the 99th percentile at a number of legs.

With ``--supervised`` the third of each room is a supervisor who monitors, and the details have the
latencies at the legs of each role.
"""

from __future__ import annotations

import argparse
from statistics import median

from benchmarks.density import add_media_options, trial
from benchmarks.result import Result
from benchmarks.rooms import PER_ROOM, ROLES


def run(arguments: list[str]) -> Result:
    """Measure several times, each with a fresh server."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks latency")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--legs", type=int, default=300)
    parser.add_argument("--seconds", type=float, default=10.0, help="measured in each run")
    add_media_options(parser)
    options = parser.parse_args(arguments)
    legs = -(-options.legs // PER_ROOM) * PER_ROOM  # whole rooms
    trials = [trial(legs, options) for _ in range(options.runs)]
    return Result(
        benchmark="latency",
        unit="ms, 99th percentile",
        runs=tuple(each["p99_ms"] for each in trials),
        details={
            "p50": median(each["p50_ms"] for each in trials),
            "p95": median(each["p95_ms"] for each in trials),
            "legs": legs,
            "legs_per_port": options.legs_per_port,
            "workers": options.workers,
            "suite": options.suite or "none",
            **{
                f"{role}_p{rank}": median(each[f"{role}_p{rank}_ms"] for each in trials)
                for role in (ROLES if options.supervised else ())
                for rank in (50, 99)
            },
            "markers": sum(each["markers_found"] for each in trials),
            "server_cpu_pct": median(each["server_cpu_pct"] for each in trials),
            "server_waited_pct": median(each["server_waited_pct"] for each in trials),
        },
    )
