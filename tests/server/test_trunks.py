"""Calls between two servers: one of them a trunk that asks for a login."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

import rtpmix
from rtpmix.server import switchboard
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
            await asyncio.sleep(40)
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


@pytest.mark.parametrize(
    ("reliable", "end"),
    [
        *[("on", "answer"), ("off", "answer"), ("required", "answer")],
        *[("on", "reject"), ("on", "cancel"), ("on", "nothing")],
    ],
)
def test_early_media_flows_before_the_answer_and_ends_with_it_or_without(
    reliable: str, end: str
) -> None:
    """RFC 3262 and RFC 3960: 183 with the answer; the 2xx, a refusal or CANCEL comes later."""

    async def story(server: rtpmix.Server, trunk: rtpmix.Server) -> None:
        opened: list[rtpmix.Leg] = []

        @trunk.on_invite
        async def early(call: rtpmix.IncomingCall) -> None:
            leg = await call.progress()
            opened.append(leg)
            assert leg.early
            with pytest.raises(rtpmix.UsageError, match="early media already"):
                await call.progress()
            await asyncio.sleep(2)
            if end == "answer":
                assert await call.answer() is leg
                assert not leg.early
                await leg.closed()
            elif end == "reject":
                await call.reject(486)
            elif end == "cancel":
                await asyncio.sleep(100)

        said: list[int] = []
        got: list[rtpmix.Leg] = []
        more: dict[str, Any] = {
            "on_progress": lambda status, reason: said.append(status),
            "early_media": got.append,
        }
        if end == "answer":
            leg = await server.invite(f"sip:x@{TRUNK}", **more)
            assert got == [leg]
            assert said == [183]
            await asyncio.sleep(1)
            await leg.hangup()
        else:
            with pytest.raises(rtpmix.CallFailed) as failed:
                await server.invite(f"sip:x@{TRUNK}", timeout_s=3, **more)
            assert failed.value.status == {"reject": 486, "cancel": 408, "nothing": 480}[end]
        await asyncio.sleep(1)
        assert not opened[0].is_open
        assert not got[0].is_open

    play(story, {"require_login": False, "reliable": reliable}, reliable=reliable)


@pytest.mark.parametrize("update", [True, False])
def test_a_long_call_is_refreshed_and_held_and_resumed_meanwhile(
    update: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RFC 4028: by UPDATE, or by re-INVITE where the peer takes none."""
    if not update:
        less = tuple(method for method in switchboard.METHODS if method != "UPDATE")
        monkeypatch.setattr(switchboard, "METHODS", less)

    async def story(server: rtpmix.Server, trunk: rtpmix.Server) -> None:
        answering(trunk)
        leg = await server.invite(f"sip:x@{TRUNK}")
        await asyncio.sleep(44.99)  # the moment of the refresh
        await leg.hold()
        await leg.resume()
        await asyncio.sleep(50)
        assert leg.is_open
        await leg.hangup()

    timers = {"session_expires": 90}
    play(story, {"require_login": False, **timers}, **timers)
