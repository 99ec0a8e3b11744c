"""A lab and phones on one virtual network."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import rtpmix
from rtpmix.lab.config import parse
from rtpmix.lab.lab import Lab
from rtpmix.lab.table import CallView
from rtpmix.server.inline_host import InlineHost
from rtpmix.testing import TonePhone, VirtualMediaIO, VirtualNet, run

SERVER = "192.0.2.1"
TONES = {"dora": 437, "emil": 523, "alice": 1013, "bob": 1237, "coach": 1693}


def configuration(folder: Path | None = None) -> dict[str, Any]:
    """The lab's configuration, as the TOML file would give it."""
    people = {"alice": ("101", "agent"), "bob": ("102", "agent"), "coach": ("201", "supervisor")}
    server: dict[str, Any] = {
        "sip_listen": [f"udp:{SERVER}:5060"],
        "media_address": SERVER,
        "record": folder is not None,
    }
    if folder is not None:
        server |= {"recordings": str(folder / "calls"), "key_file": str(folder / "key")}
    return {
        "server": server,
        "users": {
            name: {"password": f"{name}'s", "extension": extension, "roles": [role]}
            for name, (extension, role) in people.items()
        },
        "queues": {"support": {"extension": "600", "agents": ["alice", "bob"]}},
    }


class World:
    """What a scenario has at hand."""

    def __init__(self, net: VirtualNet, folder: Path | None) -> None:
        self.net = net
        self.config = parse(configuration(folder))
        host = InlineHost(VirtualMediaIO(net, SERVER))
        self.server = rtpmix.Server(self.config.server, media_host=host)
        self.said: list[str] = []
        self.lab = Lab(self.config, self.server, say=self.said.append)
        self.phones: dict[str, TonePhone] = {}
        for number, (name, hz) in enumerate(TONES.items(), 10):
            user = self.config.users.get(name)
            self.phones[name] = TonePhone(
                name,
                host=f"192.0.2.{number}",
                frequency=hz,
                proxy=(SERVER, 5060),
                domain="rtpmix" if user is not None else None,
                password=user.password if user is not None else None,
                answer_after=0.5,
            )

    def __getitem__(self, name: str) -> TonePhone:
        return self.phones[name]

    async def open(self) -> None:
        for name, phone in self.phones.items():
            await phone.open()
            if name in self.config.users:
                await phone.register()

    async def dial(self, name: str, number: str) -> TonePhone:
        """Let somebody call a number of the lab, and return when the lab has answered."""
        await self.phones[name].call(f"sip:{number}@rtpmix")
        return self.phones[name]

    def cut_off(self, name: str) -> None:
        """Pull the cable out of a phone."""
        host = self.phones[name].host
        self.net.change_link(source=host, loss=1.0)
        self.net.change_link(destination=host, loss=1.0)

    def heard(self, *names: str) -> dict[str, set[str]]:
        """Return whose tones each of these phones has heard in the last half second."""
        by_tone = {hz: name for name, hz in TONES.items()}
        return {
            name: {by_tone[int(hz)] for hz in self.phones[name].hears(*by_tone, seconds=0.5)}
            for name in names
        }

    def views(self) -> list[CallView]:
        return self.lab.calls.views()

    async def nothing_is_left(self) -> None:
        """Check that every call, handler and timer is gone once all phones hung up."""
        for phone in self.phones.values():
            if phone.state.value != "idle":
                phone.bye()
        await asyncio.sleep(40)
        snapshot = self.server.snapshot()
        left = {name: snapshot[name] for name in ("legs", "bridges", "handlers")}
        assert left == {"legs": 0, "bridges": 0, "handlers": 0}
        assert snapshot["sip"]["calls"] == 0
        assert self.views() == []


def in_lab(
    scenario: Callable[[World], Coroutine[None, None, None]], folder: Path | None = None
) -> None:
    """Run a scenario with a started lab and registered phones, in virtual time."""
    net = VirtualNet(seed=1, delay_ms=5, host=SERVER)

    async def main() -> None:
        world = World(net, folder)
        async with world.server:
            world.lab.watch()
            await world.open()
            await scenario(world)
            await world.nothing_is_left()
            await world.lab.close()
            for phone in world.phones.values():
                await phone.close()

    run(main(), net)
