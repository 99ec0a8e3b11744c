"""Complete calls a second on one core: INVITE, 200, ACK, BYE, 200, with SDP and a media leg.

A fixed number of calls is always under way; when one is over the next begins.  So the figure is
what the server does when it is never idle and never swamped; `retransmissions` shows that, and
``server_us_per_call`` is what a call costs the server's processor where others compete for it.

``overload`` offers twice that rate after each run, whatever is answered, and tells what is still
completed: ``ratio`` of the rates, and ``ratio_per_cpu_s`` of the calls completed in a second that
the server ran, which other programs on its core do not spoil.
"""

from __future__ import annotations

import argparse
import math
import select
import time
from statistics import median
from typing import Any

from benchmarks.overload import offer
from benchmarks.processes import ServerProcess, pin, usage
from benchmarks.result import Result
from benchmarks.uac import Caller, CallState

RTP_PORT = 9  # discard: the calls are over before anybody speaks


def run(arguments: list[str]) -> Result:
    """Count calls for a while, several times."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks calls")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=8.0, help="measured in each run")
    parser.add_argument("--at-once", type=int, default=32, help="calls under way")
    parser.add_argument("--times", type=float, default=2.0, help="offered in the overload")
    options = parser.parse_args(arguments)
    pin()
    trials, swamped = [], []
    for _ in range(options.runs):
        best = trial(options.at_once, options.seconds)
        found = offer(options.times * best["rate"], options.seconds)
        found["ratio"] = round(found["completed"] / best["rate"], 3)
        in_a_second = 1e6 / best["server_us_per_call"]
        found["ratio_per_cpu_s"] = round(found["completed_per_cpu_s"] / in_a_second, 3)
        trials.append(best)
        swamped.append(found)
    swamped.sort(key=lambda found: found["ratio"])
    return Result(
        benchmark="calls",
        unit="calls a second on one core",
        runs=tuple(each["rate"] for each in trials),
        details={
            "setup_p50_ms": median(each["setup_p50_ms"] for each in trials),
            "setup_p99_ms": median(each["setup_p99_ms"] for each in trials),
            "retransmissions": sum(each["retransmissions"] for each in trials),
            "failed": sum(each["failed"] for each in trials),
            "server_us_per_call": median(each["server_us_per_call"] for each in trials),
            "server_cpu_pct": median(each["server_cpu_pct"] for each in trials),
            "server_waited_pct": median(each["server_waited_pct"] for each in trials),
            "overload": swamped[len(swamped) // 2],
            "overload_ratios": [found["ratio"] for found in swamped],
        },
    )


def trial(at_once: int, seconds: float) -> dict[str, Any]:
    """Count the calls that a fresh server completes."""
    with ServerProcess() as server:
        caller = Caller(server.sip)
        poll = select.poll()
        poll.register(caller.socket.fileno(), select.POLLIN)
        warm = time.monotonic() + 1.0
        call_until(caller, poll, at_once, warm)
        before, used = completed(caller), usage(server.pid)
        began = time.monotonic()
        setups = call_until(caller, poll, at_once, began + seconds)
        elapsed = time.monotonic() - began
        done = completed(caller) - before
        used = usage(server.pid).since(used)
        caller.close()
    setups = sorted(setups) or [math.nan]  # a server that answers nothing
    return {
        "rate": done / elapsed,
        "setup_p50_ms": round(1000 * setups[len(setups) // 2], 1),
        "setup_p99_ms": round(1000 * setups[len(setups) * 99 // 100], 1),
        "retransmissions": caller.retransmissions,
        "failed": sum(call.state is CallState.FAILED for call in caller.calls),
        "server_us_per_call": round(1e6 * used.ran / max(done, 1), 1),
        "server_cpu_pct": round(100 * used.ran / elapsed, 1),
        "server_waited_pct": round(100 * used.waited / elapsed, 1),
    }


def call_until(caller: Caller, poll: select.poll, at_once: int, until: float) -> list[float]:
    """Keep calls under way until a time; return how long each took to be answered."""
    setups: list[float] = []
    under_way = sum(c.state in (CallState.INVITING, CallState.LEAVING) for c in caller.calls)
    last_resend = time.monotonic()
    while (now := time.monotonic()) < until:
        while under_way < at_once:
            caller.invite(caller.add("answer", RTP_PORT))
            under_way += 1
        poll.poll(10)
        for change in caller.receive():
            if change.state is CallState.UP:
                setups.append(change.call.answered - change.call.began)
                caller.bye(change.call)
            else:
                under_way -= 1
        if now - last_resend > 0.25:
            last_resend = now
            under_way -= len(caller.resend())
    return setups


def completed(caller: Caller) -> int:
    return sum(call.state is CallState.OVER for call in caller.calls)
