"""A support line with a coach, who switches with the keys of the telephone.

Run it as ``python examples/supervise.py sip:agent7@192.0.2.20 sip:coach@192.0.2.21``. Then 4
listens, 5 whispers to the agent, 6 talks to both, 7 takes the call over, 0 hands it back.
"""

from __future__ import annotations

import asyncio
import sys

import rtpmix

MODES = {"4": rtpmix.Mode.MONITOR, "5": rtpmix.Mode.WHISPER, "6": rtpmix.Mode.BARGE}


def support_line(server: rtpmix.Server, agent_address: str, coach_address: str) -> None:
    """Serve each incoming call with an agent and a coach."""

    @server.on_invite
    async def support(call: rtpmix.IncomingCall) -> None:
        customer = await call.answer()
        agent = await server.invite(agent_address)
        bridge = await server.bridge(customer, agent)
        coach = await server.invite(coach_address, auto_answer=True)
        supervision = await bridge.supervise(coach, agent=agent, mode=rtpmix.Mode.MONITOR)
        async with asyncio.TaskGroup() as group:
            keys = group.create_task(follow_keys(coach, supervision))
            await customer.closed()
            keys.cancel()


async def follow_keys(coach: rtpmix.Leg, supervision: rtpmix.Supervision) -> None:
    """Do what the coach's keys say, until the coach hangs up."""
    async for key in coach.digits():
        try:
            if key in MODES:
                await supervision.set_mode(MODES[key])
            elif key == "7":
                await supervision.takeover(fate=rtpmix.Fate.LISTEN)
            elif key == "0":
                await supervision.hand_back()
        except rtpmix.SupervisionRefused as refused:
            print(f"key {key}: {refused}")


async def main(agent_address: str, coach_address: str) -> None:
    server = rtpmix.Server(rtpmix.Config())
    support_line(server, agent_address, coach_address)
    async with server:
        print(f"call sip:support@{server.sip_address}")
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:3]))
