"""The server that is measured: callers of ``conf-NAME`` meet in the bridge of that name.

Callers of ``spy-NAME-N`` do, too: 0 is the customer, 1 the agent, 2 a supervisor who monitors.

``python -m benchmarks.server [--sip udp:127.0.0.1:0] [--core N] [--workers N]`` prints one line
of JSON with its SIP address and process number, and serves until its standard input ends.
With ``--record DIRECTORY`` every bridge is recorded there.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from pathlib import Path

import rtpmix
from benchmarks.recordings import key_file


async def meet(server: rtpmix.Server, call: rtpmix.IncomingCall, record: Path | None) -> None:
    """Serve one call until it ends; callers of another name than ``conf-`` are only answered."""
    leg = await call.answer()
    if call.target.startswith("conf-"):
        known = server.find_bridge(call.target)
        bridge = known or await server.bridge(name=call.target)
        await bridge.add(leg)
        if known is None and record is not None:
            await bridge.record(record / call.target)
    await leg.closed()


async def supervise(
    server: rtpmix.Server, call: rtpmix.IncomingCall, agents: dict[str, asyncio.Future[rtpmix.Leg]]
) -> None:
    """Serve one call of a supervised bridge; a supervisor waits for the agent to be there."""
    _, name, place = call.target.split("-")
    leg = await call.answer()
    bridge = server.find_bridge(name) or await server.bridge(name=name)
    agent = agents.setdefault(name, asyncio.get_running_loop().create_future())
    if place == "2":
        await bridge.supervise(leg, agent=await agent, mode=rtpmix.Mode.MONITOR)
    elif place == "1":
        await bridge.add(leg, role=rtpmix.Role.AGENT)
        agent.set_result(leg)
    else:
        await bridge.add(leg)
    await leg.closed()


async def serve(options: argparse.Namespace) -> None:
    """Serve until standard input ends."""
    config = rtpmix.Config(
        sip_listen=(options.sip,),
        media_address="127.0.0.1",
        rtp_ports=range(30000, 60000),
        max_calls=10_000,
        workers=options.workers,
        legs_per_port=options.legs_per_port,
        recording_key=None if options.record is None else str(key_file(options.record)),
    )
    agents: dict[str, asyncio.Future[rtpmix.Leg]] = {}
    async with rtpmix.Server(config) as server:

        @server.on_invite
        async def handler(call: rtpmix.IncomingCall) -> None:
            if call.target.startswith("spy-"):
                await supervise(server, call, agents)
            else:
                await meet(server, call, options.record)

        print(json.dumps({"sip": server.sip_address, "pid": os.getpid()}), flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
        print(json.dumps(server.snapshot()), flush=True)


def main() -> None:
    """Read the command line, take one core, serve."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.server")
    parser.add_argument("--sip", default="udp:127.0.0.1:0")
    parser.add_argument("--core", type=int, help="run on this core alone")
    parser.add_argument("--workers", type=int, default=0, help="processes that carry media")
    parser.add_argument("--legs-per-port", type=int, default=1)
    parser.add_argument("--record", type=Path, help="record every bridge into this directory")
    options = parser.parse_args()
    if options.core is not None:
        os.sched_setaffinity(0, {options.core})
    asyncio.run(serve(options))


if __name__ == "__main__":
    main()
