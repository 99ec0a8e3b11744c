"""Twice as many calls as a server can serve: how many does it still complete?

The load is open: a caller does not wait for another one to be served, as callers don't. A call
counts when it was answered, acknowledged, and its BYE was answered, all within the measured time;
one that is refused is acknowledged, and does not count.
"""

from __future__ import annotations

import select
import time
from typing import Any

from benchmarks.processes import ServerProcess, Usage, usage
from benchmarks.uac import Caller, CallState, Change

RTP_PORT = 9
TICK_S = 0.002


class OpenLoad:
    """Calls that come at a rate, whatever becomes of those before them."""

    def __init__(self, caller: Caller, rate: float) -> None:
        self.caller = caller
        self.rate = rate
        self.completed = 0
        self.refused = 0
        self.failed = 0
        self.offered = 0
        self.setups: list[float] = []
        self._poll = select.poll()
        self._poll.register(caller.socket.fileno(), select.POLLIN)

    def run(self, seconds: float) -> None:
        """Offer calls for so long."""
        began = last_resend = time.monotonic()
        before = self.offered
        while (now := time.monotonic()) - began < seconds:
            due = int((now - began) * self.rate) - (self.offered - before)
            for _ in range(due):
                self.caller.invite(self.caller.add("answer", RTP_PORT))
            self.offered += due
            self._poll.poll(1000 * TICK_S)
            for change in self.caller.receive():
                self._take(change)
            if now - last_resend > 0.1:
                last_resend = now
                self.failed += len(self.caller.resend())

    def _take(self, change: Change) -> None:
        call = change.call
        if change.state is CallState.UP:
            self.setups.append(call.answered - call.began)
            self.caller.bye(call)
        elif change.state is CallState.OVER:
            self.completed += 1
        elif call.status == 503:
            self.refused += 1
        else:
            self.failed += 1


def offer(rate: float, seconds: float) -> dict[str, Any]:
    """Offer a fresh server calls at a rate, and tell what became of them."""
    with ServerProcess() as server:
        caller = Caller(server.sip)
        OpenLoad(caller, 100.0).run(1.0)  # what is made but once is made now
        load = OpenLoad(caller, rate)
        before, began = usage(server.pid), time.monotonic()
        load.run(seconds)
        elapsed = time.monotonic() - began
        spent: Usage = usage(server.pid).since(before)
        sent = caller.retransmissions
        caller.close()
    setups = sorted(load.setups) or [float("nan")]
    counts = server.snapshot
    return {
        "offered": round(load.offered / elapsed, 1),
        "completed": round(load.completed / elapsed, 1),
        "refused": round(load.refused / elapsed, 1),
        "failed": load.failed,
        "retransmissions": sent,
        "setup_p50_ms": round(1000 * setups[len(setups) // 2], 1),
        "setup_p99_ms": round(1000 * setups[len(setups) * 99 // 100], 1),
        "completed_per_cpu_s": round(load.completed / max(spent.ran, 1e-9), 1),
        "server_waited_pct": round(100 * spent.waited / elapsed, 1),
        "late_beats_pct": _late_beats_pct(counts),
        "udp": counts.get("sip_udp", {}),
        "overload": counts.get("overload", {}),
    }


def _late_beats_pct(counts: dict[str, Any]) -> float:
    media = counts.get("media", {})
    late, beats = int(media.get("late_ticks", 0)), int(media.get("ticks", 0))
    return round(100 * late / max(1, beats), 2)
