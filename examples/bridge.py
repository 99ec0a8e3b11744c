"""Connect every caller with one phone, and tell the caller why when that fails.

Run it as ``python examples/bridge.py sip:agent7@192.0.2.20``.
"""

from __future__ import annotations

import asyncio
import sys

import rtpmix


def connect_calls(server: rtpmix.Server, agent_address: str) -> None:
    """Serve each incoming call by calling the agent."""

    @server.on_invite
    async def connect(call: rtpmix.IncomingCall) -> None:
        await call.ring()
        try:
            agent = await server.invite(agent_address, timeout_s=20)
        except rtpmix.CallFailed as failed:
            await call.reject(failed.status, failed.reason)
            return
        customer = await call.answer()
        await server.bridge(customer, agent)
        await first_to_leave(customer, agent)
        # The handler ends here, and with it every leg that it made.


async def first_to_leave(*legs: rtpmix.Leg) -> None:
    """Wait until one of the legs is gone."""
    waiting = [asyncio.ensure_future(leg.closed()) for leg in legs]
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waiting:
            wait.cancel()


async def main(agent_address: str) -> None:
    server = rtpmix.Server(rtpmix.Config())
    connect_calls(server, agent_address)
    async with server:
        print(f"call sip:anybody@{server.sip_address}")
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
