"""Conference rooms: whoever dials a room's name is in it; ``*6`` mutes and unmutes oneself.

Run it as ``python examples/conference.py red blue``.
"""

from __future__ import annotations

import asyncio
import sys

import rtpmix

MUTED_DB = float("-inf")


async def open_rooms(server: rtpmix.Server, names: list[str]) -> None:
    """Open the rooms of a started server, and let callers in."""
    # A bridge that is made outside of any handler stays when its callers leave.
    rooms = {name: await server.bridge(name=name) for name in names}

    @server.on_invite
    async def let_in(call: rtpmix.IncomingCall) -> None:
        room = rooms.get(call.target)
        if room is None:
            await call.reject(404, "No Such Room")
            return
        leg = await call.answer()
        await room.add(leg)
        muted, before = False, ""
        async for digit in leg.digits():
            if before + digit == "*6":
                muted = not muted
                await set_level(room, leg, MUTED_DB if muted else 0)
            before = digit


async def set_level(room: rtpmix.Bridge, talker: rtpmix.Leg, gain_db: float) -> None:
    """Set how loudly everybody else hears a talker."""
    for listener in room.legs:
        if listener is not talker:
            await room.set_gain(listener=listener, talker=talker, gain_db=gain_db)


async def main(names: list[str]) -> None:
    async with rtpmix.Server(rtpmix.Config()) as server:
        await open_rooms(server, names)
        print("call " + " or ".join(f"sip:{name}@{server.sip_address}" for name in names))
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:] or ["room"]))
