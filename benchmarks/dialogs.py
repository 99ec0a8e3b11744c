"""What a complete call costs while others are up: the same whether 10, 1,000 or 5,000 are.

``value`` is the cost with the most up, to that with the fewest, and ``ratios`` has all of them: in
processor time of the whole server, both threads, less what it uses anyway for the calls that are
up; these have their media ``inactive``, so that no packets disturb.

The memory is that of a whole idle call: dialog, handler, leg, two sockets and a row of the mixer.
``sip_kb_per_dialog`` is the dialog alone, what Python has allocated for it, and
``sip_rss_kb_per_dialog`` what the process grew by.
"""

from __future__ import annotations

import argparse
import gc
import os
import random
import select
import time
import tracemalloc
from collections.abc import Callable
from statistics import median

from benchmarks.calls import RTP_PORT, call_until, completed
from benchmarks.processes import ServerProcess, memory_kb, pin, usage
from benchmarks.result import Result
from benchmarks.uac import Caller, CallState
from rtpmix.sip.events import Invited
from rtpmix.sip.flow import Flow
from rtpmix.sip.user_agent import UserAgent, UserAgentConfig

AT_ONCE = 16
HELD = b"inactive"
LINGERING_S = 64.0  # longer than any transaction stays behind its call


def run(arguments: list[str]) -> Result:
    """Measure with few and with many calls up, in turn."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks dialogs")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4.0, help="measured in each run")
    parser.add_argument("--up", type=int, nargs="+", default=[10, 1000, 5000], help="calls up")
    options = parser.parse_args(arguments)
    pin()
    costs: list[list[float]] = []
    memory = []
    for _ in range(options.runs):
        found = [cost(up, options.seconds) for up in options.up]
        costs.append([each for each, _ in found])
        memory.append(found[-1][1])
    allocated, resident = dialog_kb()
    return Result(
        benchmark="dialogs",
        unit="cost of a call with many up, to that with few",
        runs=tuple(run[-1] / run[0] for run in costs),
        details={
            "up": options.up,
            "us_per_call": [round(median(column)) for column in zip(*costs, strict=True)],
            "ratios": [
                round(median(run[at] / run[0] for run in costs), 3) for at in range(len(options.up))
            ],
            "kb_per_call_up": round(median(memory), 1),
            "sip_kb_per_dialog": round(allocated, 1),
            "sip_rss_kb_per_dialog": round(resident, 1),
        },
    )


def cost(held: int, seconds: float) -> tuple[float, float]:
    """Return microseconds a call and kB of a call that is up, of a fresh server."""
    with ServerProcess() as server:
        caller = Caller(server.sip)
        poll = select.poll()
        poll.register(caller.socket.fileno(), select.POLLIN)
        call_until(caller, poll, AT_ONCE, time.monotonic() + 0.5)
        before = memory_kb(server.pid)
        hold(caller, poll, held)
        memory = (memory_kb(server.pid) - before) / held
        anyway = usage(server.pid)
        time.sleep(1.0)
        rate = usage(server.pid).since(anyway).ran
        done, used, began = completed(caller), usage(server.pid), time.monotonic()
        call_until(caller, poll, AT_ONCE, began + seconds)
        elapsed = time.monotonic() - began
        spent = usage(server.pid).since(used).ran - rate * elapsed
        done = completed(caller) - done
        caller.close()
    return 1e6 * spent / max(done, 1), memory


def hold(caller: Caller, poll: select.poll, count: int) -> None:
    """Bring calls up and leave them; some at a time, so that none is lost."""
    waiting, up = 0, 0
    coming = iter([caller.add("answer", RTP_PORT, HELD) for _ in range(count)])
    last_resend = time.monotonic()
    while up < count:
        while waiting < AT_ONCE and (call := next(coming, None)) is not None:
            caller.invite(call)
            waiting += 1
        poll.poll(10)
        for change in caller.receive():
            if change.state is CallState.FAILED:
                if change.call.status != 503:
                    raise SystemExit(f"the server refused a call with {change.call.status}")
                # The machine was busy with something else: call again, later, as callers do.
                time.sleep(0.05)
                caller.invite(caller.add("answer", RTP_PORT, change.call.direction))
                continue
            if change.call.direction == HELD:
                waiting, up = waiting - 1, up + 1
            elif change.state is CallState.UP:
                caller.bye(change.call)
        if time.monotonic() - last_resend > 0.25:
            last_resend = time.monotonic()
            caller.resend()


def dialog_kb(count: int = 5000) -> tuple[float, float]:
    """Return the kB that one idle dialog of a user agent keeps alive, and makes resident."""
    resident = _grown(count, lambda: float(memory_kb(os.getpid())))
    tracemalloc.start()
    try:
        return _grown(count, lambda: tracemalloc.get_traced_memory()[0] / 1024), resident
    finally:
        tracemalloc.stop()


def _grown(count: int, kb: Callable[[], float]) -> float:
    tokens = random.Random(1)
    agent = UserAgent(UserAgentConfig(), token=lambda: f"{tokens.getrandbits(80):020x}")
    bring_up(agent, 0, 1000, now=0.0)  # what is kept but once is there now
    agent.advance(LINGERING_S)
    gc.collect()
    before = kb()
    bring_up(agent, 1000, 1000 + count, now=LINGERING_S)
    agent.advance(2 * LINGERING_S)
    gc.collect()
    return (kb() - before) / count


def bring_up(agent: UserAgent, first: int, last: int, *, now: float) -> None:
    """Have a user agent answer calls."""
    remote, local = ("127.0.0.1", 5070), ("127.0.0.1", 5060)
    for number in range(first, last):
        flow = Flow("UDP", remote, local)
        agent.receive_datagram(_request("INVITE", number, ""), flow, now)
        while (event := agent.next_event()) is not None:
            if isinstance(event, Invited):
                agent.accept(event.call, now, b"v=0\r\n")
        answer = agent.datagrams_to_send()[-1].data.decode()
        tag = answer.partition("\r\nTo: ")[2].partition("\r\n")[0].partition(";tag=")[2]
        agent.receive_datagram(_request("ACK", number, f";tag={tag}"), flow, now)
        while agent.next_event() is not None:
            pass


def _request(method: str, number: int, tag: str) -> bytes:
    return (
        f"{method} sip:x@127.0.0.1 SIP/2.0\r\n"
        f"Via: SIP/2.0/UDP 127.0.0.1:5070;branch=z9hG4bK{method}{number};rport\r\n"
        f"Max-Forwards: 70\r\nFrom: <sip:load{number}@127.0.0.1>;tag=f{number}\r\n"
        f"To: <sip:x@127.0.0.1>{tag}\r\nCall-ID: {number}-load\r\nCSeq: 1 {method}\r\n"
        f"Contact: <sip:load{number}@127.0.0.1:5070>\r\nContent-Length: 0\r\n\r\n"
    ).encode()
