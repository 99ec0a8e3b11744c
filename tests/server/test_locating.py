"""Calls to names: a resolver that answers at once, fail-over, proxies, large requests."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any

import pytest

import rtpmix
from rtpmix.server.inline_host import InlineHost
from rtpmix.server.resolver import DnsResolver
from rtpmix.sip.locating import Naptr, Srv
from rtpmix.testing import TonePhone, VirtualNet, run
from rtpmix.testing.media import VirtualMediaIO
from rtpmix.testing.net import Passage
from rtpmix.testing.servers import HOST

DEAD, ALIVE = "192.0.2.66", "192.0.2.20"


class Names:
    """A resolver with a few names."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def naptr(self, name: str) -> list[Naptr]:
        self.asked.append(name)
        return []

    async def srv(self, name: str) -> list[Srv]:
        if name != "_sip._udp.example.com":
            return []
        return [Srv(1, 0, 5060, "dead.example.com"), Srv(2, 0, 5060, "alive.example.com")]

    async def addresses(self, name: str) -> list[str]:
        return {"dead.example.com": [DEAD], "alive.example.com": [ALIVE]}.get(name, [])


Story = Callable[[rtpmix.Server, TonePhone, list[Passage]], Awaitable[None]]


def play(story: Story, **config: Any) -> None:
    net = VirtualNet(seed=1, delay_ms=5)
    sent: list[Passage] = []
    net.observe(lambda passage: sent.append(passage) if passage.source[0] == HOST else None)
    settings = rtpmix.Config(
        sip_listen=(f"udp:{HOST}:5060", f"tcp:{HOST}:5060"), media_address=HOST, seed=1, **config
    )
    host = InlineHost(VirtualMediaIO(net, HOST, settings.rtp_ports), source=Random(1))

    async def main() -> None:
        phone = TonePhone("bob", host=ALIVE, proxy=(HOST, 5060), port=5060)
        async with rtpmix.Server(settings, media_host=host, resolver=Names()) as server, phone:
            await story(server, phone, sent)
            await asyncio.sleep(80)
            live = server.snapshot()["sip"]
            assert live["calls"] == live["dialogs"] == live["timers"] == 0

    run(main(), net, limit=500)


def first_line(sent: list[Passage], number: int) -> bytes:
    return [one.data for one in sent if one.data[:6] == b"INVITE"][number].split(b"\r\n")[0]


def test_a_silent_server_is_left_for_the_next_one_and_tried_last_from_then_on() -> None:
    """RFC 3263 section 4.3."""

    async def story(server: rtpmix.Server, phone: TonePhone, sent: list[Passage]) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        leg = await server.invite("sip:bob@example.com")
        assert 4 < loop.time() - began < 5
        await leg.hangup()
        sent.clear()
        began = loop.time()
        leg = await server.invite("sip:bob@example.com")
        assert loop.time() - began < 1
        assert DEAD not in {one.destination[0] for one in sent}
        await leg.hangup()

    play(story)


def test_a_name_that_nobody_knows_fails_with_503() -> None:
    async def story(server: rtpmix.Server, phone: TonePhone, sent: list[Passage]) -> None:
        with pytest.raises(rtpmix.CallFailed) as failed:
            await server.invite("sip:bob@unknown.example")
        assert failed.value.status == 503

    play(story)


def test_calls_to_others_pass_the_outbound_proxy_and_the_routes_behind_it() -> None:
    """RFC 3261 section 8.1.2: the Request-URI stays, Route leads, the first one is the next hop."""

    async def story(server: rtpmix.Server, phone: TonePhone, sent: list[Passage]) -> None:
        leg = await server.invite("sip:carol@elsewhere.example")
        await leg.hangup()
        invite = next(one for one in sent if one.data[:6] == b"INVITE")
        assert invite.destination == (ALIVE, 5060)
        lines = invite.data.decode().split("\r\n")
        assert lines[0] == "INVITE sip:carol@elsewhere.example SIP/2.0"
        routes = [line for line in lines if line.startswith("Route:")]
        assert routes == ["Route: <sip:alive.example.com;lr>", "Route: <sip:edge.example;lr>"]

    proxies = {"outbound_proxy": "sip:alive.example.com;lr", "routes": ("sip:edge.example;lr",)}
    play(story, **proxies)


@pytest.mark.parametrize(("over_tcp", "connected"), [(True, True), (False, False)])
def test_a_large_request_goes_over_tcp_and_over_udp_after_all_where_nobody_listens(
    over_tcp: bool, connected: bool
) -> None:
    """RFC 3261 section 18.1.1: more than 1300 bytes; a refused connection is no failed call."""

    async def story(server: rtpmix.Server, phone: TonePhone, sent: list[Passage]) -> None:
        headers = (("X-Note", "x" * 1000),)
        leg = await server.invite("sip:bob@alive.example.com", headers=headers)
        await leg.hangup()
        assert (server.snapshot()["streams"].get("failed", 0) == 1) is connected
        assert first_line(sent, 0).startswith(b"INVITE sip:bob@alive.example.com")

    play(story, large_requests_over_tcp=over_tcp)


def test_a_large_request_is_sent_over_tcp_alone_where_somebody_listens() -> None:
    net = VirtualNet(seed=1, delay_ms=5)
    sent: list[Passage] = []
    net.observe(sent.append)

    def server(host: str) -> rtpmix.Server:
        config = rtpmix.Config(
            sip_listen=(f"udp:{host}:5060", f"tcp:{host}:5060"), media_address=host, seed=1
        )
        io = VirtualMediaIO(net, host, config.rtp_ports)
        return rtpmix.Server(config, media_host=InlineHost(io, source=Random(1)))

    async def main() -> None:
        async with server(HOST) as near, server(ALIVE) as far:
            seen: list[str | None] = []

            @far.on_invite
            async def answer(call: rtpmix.IncomingCall) -> None:
                seen.append(call.header("Via"))
                await (await call.answer()).closed()

            leg = await near.invite(f"sip:bob@{ALIVE}", headers=(("X-Note", "x" * 1000),))
            await leg.hangup()
            assert (seen[0] or "").startswith("SIP/2.0/TCP ")
            assert not [one for one in sent if one.data[:6] == b"INVITE"]

    run(main(), net, limit=100)


async def test_names_of_this_machine_alone_are_asked_of_the_system() -> None:
    """RFC 6761 section 6.3: no name server has anything to say about localhost."""
    resolver = DnsResolver()
    assert "127.0.0.1" in await resolver.addresses("localhost")
    assert await resolver.naptr("localhost") == await resolver.srv("localhost") == []
