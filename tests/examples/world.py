"""A server and phones on one virtual network, for the examples."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path

from rtpmix.testing import TonePhone, VirtualNet, run
from rtpmix.testing.servers import virtual_server

SERVER = "192.0.2.10"
CUSTOMER, AGENT, COACH = TONES = 437, 1013, 1693


class World:
    """What a scenario has at hand; phones are at rest until they are opened."""

    def __init__(self, net: VirtualNet, key: Path | None) -> None:
        self.server = virtual_server(net, host=SERVER, recording_key=key)
        self.customer = TonePhone("customer", host="192.0.2.30", frequency=CUSTOMER)
        self.agent = TonePhone("agent7", host="192.0.2.20", port=5060, frequency=AGENT)
        self.coach = TonePhone("coach", host="192.0.2.21", port=5060, frequency=COACH)

    def address(self, user: str) -> str:
        """Return what a customer dials."""
        return f"sip:{user}@{self.server.sip_address}"

    def heard(self) -> dict[str, set[float]]:
        """Return which of the tones each phone in a call has heard in the last half second."""
        phones = (self.customer, self.agent, self.coach)
        talking = [phone for phone in phones if phone.received]
        return {phone.user: phone.hears(*TONES, seconds=0.5) for phone in talking}

    async def left(self) -> dict[str, int]:
        """Return what is still there after every timer of the calls has run out."""
        await asyncio.sleep(40)
        snapshot = self.server.snapshot()
        return {
            "legs": snapshot["legs"],
            "handlers": snapshot["handlers"],
            "calls": snapshot["sip"]["calls"],
            "timers": snapshot["sip"]["timers"],
        }


NOTHING = {"legs": 0, "handlers": 0, "calls": 0, "timers": 0}


def in_world(
    scenario: Callable[[World], Coroutine[None, None, None]], key: Path | None = None
) -> None:
    """Run a scenario with a started server and open phones, in virtual time."""
    net = VirtualNet(seed=1)

    async def main() -> None:
        world = World(net, key)
        async with world.server, world.customer, world.agent, world.coach:
            await scenario(world)

    run(main(), net)
