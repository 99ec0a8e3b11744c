"""Connect every caller with one phone and record the call, a directory each.

Run it as ``python examples/record.py sip:agent7@192.0.2.20 calls/``; look at what it wrote with
``rtpmix recording verify calls/0001`` and ``rtpmix recording export calls/0001``.
"""

from __future__ import annotations

import asyncio
import itertools
import sys
from pathlib import Path

import rtpmix


def record_calls(server: rtpmix.Server, agent_address: str, directory: Path) -> None:
    """Serve each incoming call by calling the agent, and record both."""
    directory.mkdir(parents=True, exist_ok=True)
    numbers = itertools.count(1)

    @server.on_invite
    async def recorded(call: rtpmix.IncomingCall) -> None:
        customer = await call.answer()
        agent = await server.invite(agent_address)
        bridge = await server.bridge(customer, agent)
        recording = await bridge.record(
            directory / f"{next(numbers):04d}", metadata={"dialled": call.target}
        )
        await customer.closed()
        # It would be stopped when the handler ends; here its figures are wanted.
        stopped = await recording.stop()
        state = "sealed" if stopped.sealed else "not sealed"
        print(f"{stopped.path}: {stopped.duration_s:.1f} s, {stopped.gaps} gaps, {state}")


async def main(agent_address: str, directory: Path) -> None:
    server = rtpmix.Server(rtpmix.Config())
    record_calls(server, agent_address, directory)
    async with server:
        print(f"call sip:anybody@{server.sip_address}")
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2])))
