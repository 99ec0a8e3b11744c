"""Calls between two servers: one of them a trunk that asks for a login."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

import rtpmix
from rtpmix.testing import VirtualNet, run
from rtpmix.testing.servers import HOST, virtual_server

TRUNK = "192.0.2.2"
LOGIN = rtpmix.Credential("acme", "s3cret")
Story = Callable[[rtpmix.Server, rtpmix.Server], Awaitable[Any]]


def play(story: Story, trunk: dict[str, Any] | None = None, **config: Any) -> Any:
    """Run a story with two servers; afterwards nothing of it may be left in either."""
    net = VirtualNet(seed=1, delay_ms=5)

    async def main() -> Any:
        settings = {"users": {"acme": "s3cret"}, "require_login": True} | (trunk or {})
        other = virtual_server(net, host=TRUNK, seed=2, **settings)
        async with virtual_server(net, **config) as server, other:
            result = await story(server, other)
            await asyncio.sleep(80)
            for each in (server, other):
                left = each.snapshot()
                assert left["legs"] == left["handlers"] == left["media"]["legs"] == 0, left
                assert not any(left["sip"][name] for name in ("calls", "dialogs", "timers")), left
        return result

    return run(main(), net, limit=5000)


def answering(server: rtpmix.Server) -> list[str | None]:
    identities: list[str | None] = []

    @server.on_invite
    async def answer(call: rtpmix.IncomingCall) -> None:
        identities.append(call.identity)
        await (await call.answer()).closed()

    return identities


@pytest.mark.parametrize("how", ["argument", "configuration"])
def test_a_call_over_a_trunk_logs_in_and_stays_logged_in(how: str) -> None:
    async def story(server: rtpmix.Server, trunk: rtpmix.Server) -> None:
        identities = answering(trunk)
        more = {"credentials": LOGIN} if how == "argument" else {}
        leg = await server.invite(f"sip:+4930123@{TRUNK}", **more)
        assert identities == ["acme"]
        await leg.hold()
        await leg.hangup()
        assert trunk.snapshot()["logins"]["ok"] == 1

    config = {"credentials": {TRUNK: LOGIN}} if how == "configuration" else {}
    play(story, **config)


def test_credentials_go_to_no_other_host() -> None:
    async def story(server: rtpmix.Server, trunk: rtpmix.Server) -> None:
        with pytest.raises(rtpmix.CallFailed) as failed:
            await server.invite(f"sip:+4930123@{TRUNK}")
        assert failed.value.status == 401
        assert trunk.snapshot()["logins"]["ok"] == 0

    play(story, credentials={"192.0.2.9": LOGIN, HOST: LOGIN})
