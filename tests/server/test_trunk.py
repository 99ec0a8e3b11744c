"""rtpmix.server.trunk: registering with providers, calling through them, losing them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

import rtpmix
from rtpmix import Trunk
from rtpmix.testing import VirtualNet, run
from rtpmix.testing.servers import HOST, virtual_server

DOMAIN = "provider.example"
FIRST, SECOND = "198.51.100.1", "198.51.100.2"
LOGIN = {"users": {"1000": "pw"}, "realm": DOMAIN, "require_login": True}


def trunk(*hosts: str, **changes: Any) -> Trunk:
    registrars = tuple(f"sip:{host}" for host in hosts or (FIRST,))
    values: dict[str, Any] = {
        "name": "provider",
        "registrars": registrars,
        "user": "1000",
        "password": "pw",
        "domain": DOMAIN,
        "expires": 60,
    }
    return Trunk(**(values | changes))


class Watch:
    """What a server told of its trunks, with the second it was told in."""

    def __init__(self, server: rtpmix.Server) -> None:
        self.told: list[tuple[int, str]] = []
        self._task = asyncio.ensure_future(self._read(server))

    async def _read(self, server: rtpmix.Server) -> None:
        async for event in server.events():
            if isinstance(event, rtpmix.TrunkRegistered):
                self.told.append((int(event.at), event.registrar))
            elif isinstance(event, rtpmix.TrunkFailed):
                self.told.append((int(event.at), f"failed {event.status}"))


Story = Callable[[VirtualNet, rtpmix.Server, rtpmix.Server, Watch], Awaitable[Any]]


def play(story: Story, *, trunks: tuple[Trunk, ...] = (), **provider: Any) -> Any:
    """Run a story with a server that has a trunk, and a provider at FIRST."""
    net = VirtualNet(seed=5, delay_ms=5)

    async def main() -> Any:
        far = virtual_server(net, host=FIRST, seed=2, phases=1, **(LOGIN | provider))
        near = virtual_server(net, phases=1, trunks=trunks or (trunk(),))
        async with far:
            await near.start()
            watch = Watch(near)
            try:
                return await story(net, near, far, watch)
            finally:
                await near.close()

    return run(main(), net, limit=20_000)


def test_a_trunk_is_registered_refreshed_and_taken_back() -> None:
    async def story(net: VirtualNet, near: rtpmix.Server, far: rtpmix.Server, watch: Watch) -> None:
        for _ in range(6):
            await asyncio.sleep(40)
            assert far.contacts("1000") == 1
        assert near.snapshot()["trunks"] == {"provider": "registered"}
        assert watch.told == [(0, f"sip:{FIRST}")]
        await near.close()
        assert far.contacts("1000") == 0

    play(story)


def test_calls_go_out_and_come_in_through_a_trunk() -> None:
    async def story(net: VirtualNet, near: rtpmix.Server, far: rtpmix.Server, watch: Watch) -> None:
        seen: list[tuple[str, str | None]] = []

        async def answer(call: rtpmix.IncomingCall) -> None:
            seen.append((call.target, call.identity))
            leg = await call.answer()
            await leg.closed()

        far.on_invite(answer)
        near.on_invite(answer)
        await asyncio.sleep(1)
        out = await near.invite("+4930123", trunk="provider")
        back = await far.invite(f"sip:1000@{DOMAIN}")
        assert seen == [("+4930123", "1000"), ("1000", None)]
        await out.hangup()
        await back.hangup()
        with pytest.raises(rtpmix.UsageError, match="has provider"):
            await near.invite("1", trunk="other")

    play(story)


def test_another_server_of_the_trunk_takes_over() -> None:
    """For the registration and for calls, when the first one is silent."""

    async def story(net: VirtualNet, near: rtpmix.Server, far: rtpmix.Server, watch: Watch) -> None:
        async with virtual_server(net, host=SECOND, seed=3, phases=1, **LOGIN) as backup:

            @backup.on_invite
            async def answer(call: rtpmix.IncomingCall) -> None:
                leg = await call.answer()
                await leg.closed()

            await asyncio.sleep(1)
            net.change_link(destination=(FIRST, 5060), loss=1.0)
            leg = await near.invite("1", trunk="provider", timeout_s=60)
            await leg.hangup()
            assert backup.contacts("1000") == 0  # its registration is not due yet
            await asyncio.sleep(100)
            assert backup.contacts("1000") == 1
        assert watch.told == [(0, f"sip:{FIRST}")]  # it moved, and was never lost

    play(story, trunks=(trunk(FIRST, SECOND),))


def test_a_trunk_that_is_away_is_told_of_once_and_found_again() -> None:
    async def story(net: VirtualNet, near: rtpmix.Server, far: rtpmix.Server, watch: Watch) -> None:
        await asyncio.sleep(1)
        net.change_link(destination=(FIRST, 5060), loss=1.0)
        await asyncio.sleep(150)
        net.change_link(destination=(FIRST, 5060), loss=0.0)
        await asyncio.sleep(150)
        assert near.snapshot()["trunks"] == {"provider": "registered"}
        facts = [what for _, what in watch.told]
        assert facts == [f"sip:{FIRST}", "failed 408", f"sip:{FIRST}"]

    play(story)


def test_a_wrong_password_is_not_tried_over_and_over() -> None:
    async def story(net: VirtualNet, near: rtpmix.Server, far: rtpmix.Server, watch: Watch) -> int:
        await asyncio.sleep(200)
        assert [what for _, what in watch.told] == ["failed 401"]
        return int(far.snapshot()["logins"]["wrong"])

    assert play(story, trunks=(trunk(password="guess"),)) < 5


def test_too_brief_an_interval_is_asked_for_again_longer() -> None:
    """RFC 3261 section 10.2.8."""

    async def story(net: VirtualNet, near: rtpmix.Server, far: rtpmix.Server, watch: Watch) -> int:
        await asyncio.sleep(1)
        return far.contacts("1000")

    settings = {"min_expires": 90, "max_expires": 3600}
    assert play(story, trunks=(trunk(expires=60),), **settings) == 1


def test_several_trunks_stand_beside_each_other() -> None:
    async def story(net: VirtualNet, near: rtpmix.Server, far: rtpmix.Server, watch: Watch) -> None:
        await asyncio.sleep(40)
        assert near.snapshot()["trunks"] == {
            "provider": "registered",
            "away": "failed",
            "peer": "idle",
        }
        assert near.sip_address == f"{HOST}:5060"

    away = trunk("198.51.100.99", name="away")
    play(story, trunks=(trunk(), away, trunk(name="peer", register=False)))
