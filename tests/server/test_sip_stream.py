"""Connections: how many are borne, how slow a peer may be, and what keeps a flow alive."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest

import rtpmix
from rtpmix import StreamLimits
from rtpmix.server.connection import Patience
from rtpmix.server.sip_stream import source_of
from rtpmix.testing import VirtualNet, run
from rtpmix.testing.servers import HOST, virtual_server

LIMITS = StreamLimits(
    connections=5,
    per_source=3,
    opening=4,
    handshake_s=10,
    first_message_s=20,
    message_s=15,
    idle_s=100,
    keep_alive_s=0,
)
OPTIONS = (
    b"OPTIONS sip:x SIP/2.0\r\nVia: SIP/2.0/TCP 192.0.2.9;branch=z9hG4bK1\r\nFrom: <sip:x@y>;tag=1"
    b"\r\nTo: <sip:x@y>\r\nCall-ID: 1\r\nCSeq: 1 OPTIONS\r\nMax-Forwards: 70\r\n"
    b"Content-Length: 0\r\n\r\n"
)


class Peer(asyncio.Protocol):
    """One connection to the server."""

    def __init__(self) -> None:
        self.heard = b""
        self.closed_at: float | None = None
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self.heard += data

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed_at = asyncio.get_running_loop().time()

    @property
    def is_open(self) -> bool:
        return self.closed_at is None


Connect = Callable[[str], Awaitable[Peer]]


def play(story: Callable[[rtpmix.Server, Connect], Awaitable[None]], **limits: Any) -> None:
    net = VirtualNet(seed=1, delay_ms=1)
    settings = dataclasses.replace(LIMITS, **limits)

    async def main() -> None:
        loop = asyncio.get_running_loop()

        async def connect(host: str = "192.0.2.9") -> Peer:
            _, peer = await loop.create_connection(Peer, HOST, 5060, local_addr=(host, 0))
            await asyncio.sleep(0.1)
            return peer

        async with virtual_server(net, stream_limits=settings) as server:
            await story(server, connect)

    run(main(), net, limit=2000)


def test_one_source_has_no_more_than_its_share_of_connections() -> None:
    async def story(server: rtpmix.Server, connect: Connect) -> None:
        peers = [await connect("192.0.2.9") for _ in range(4)]
        assert [peer.is_open for peer in peers] == [True, True, True, False]
        assert (await connect("192.0.2.10")).is_open
        peers[0].transport.close()
        await asyncio.sleep(1)
        assert (await connect("192.0.2.9")).is_open
        assert server.snapshot()["streams"]["refused"] == 1

    play(story)


def test_no_more_than_so_many_connections_are_open_at_a_time() -> None:
    async def story(server: rtpmix.Server, connect: Connect) -> None:
        peers = [await connect(f"192.0.2.{100 + number}") for number in range(6)]
        assert [peer.is_open for peer in peers] == [True] * 5 + [False]

    play(story, opening=99)


def test_of_those_who_say_nothing_the_oldest_makes_room() -> None:
    """An honest client says something within a round trip; a flood of silent ones does not."""

    async def story(server: rtpmix.Server, connect: Connect) -> None:
        honest = await connect("192.0.2.50")
        honest.transport.write(OPTIONS)
        await asyncio.sleep(0.1)
        silent = [await connect(f"192.0.2.{100 + number}") for number in range(5)]
        assert honest.is_open
        assert [peer.is_open for peer in silent] == [False, True, True, True, True]
        assert server.snapshot()["streams"]["opening_dropped"] == 1

    play(story, connections=99)


def test_who_never_says_anything_is_dropped() -> None:
    async def story(server: rtpmix.Server, connect: Connect) -> None:
        peer = await connect("192.0.2.9")
        await asyncio.sleep(30)
        assert 20 <= (peer.closed_at or 0) <= 21.5
        assert server.snapshot()["streams"]["too_slow"] == 1

    play(story)


def test_a_message_that_drips_in_octet_by_octet_ends_its_connection() -> None:
    """Slowloris: each octet is in time, the message is not."""

    async def story(server: rtpmix.Server, connect: Connect) -> None:
        peer = await connect("192.0.2.9")
        peer.transport.write(OPTIONS)
        await asyncio.sleep(5)
        began = asyncio.get_running_loop().time()
        for octet in OPTIONS[:40]:
            peer.transport.write(bytes([octet]))
            await asyncio.sleep(1)
        assert 14 <= (peer.closed_at or 0) - began <= 17
        assert server.snapshot()["sip"]["streams"] == 0

    play(story)


def test_an_idle_connection_is_closed_unless_it_sends_keep_alives() -> None:
    """RFC 5626 section 4.4.1: a double CRLF gets a single one, and counts as life."""

    async def story(server: rtpmix.Server, connect: Connect) -> None:
        idle, alive = await connect("192.0.2.9"), await connect("192.0.2.10")
        for peer in (idle, alive):
            peer.transport.write(OPTIONS)
        await asyncio.sleep(1)
        alive.heard = b""
        for _ in range(3):
            alive.transport.write(b"\r\n\r\n")
            await asyncio.sleep(60)
        assert alive.is_open
        assert alive.heard == b"\r\n" * 3
        assert 100 <= (idle.closed_at or 0) <= 103
        assert server.snapshot()["streams"]["idle"] == 1

    play(story)


def test_a_stream_that_cannot_be_read_any_more_is_closed() -> None:
    """RFC 3261 section 18.3: without Content-Length nobody knows where the next one begins."""

    async def story(server: rtpmix.Server, connect: Connect) -> None:
        peer = await connect("192.0.2.9")
        peer.transport.write(OPTIONS.replace(b"Content-Length: 0\r\n", b""))
        await asyncio.sleep(1)
        assert not peer.is_open

    play(story)


def test_a_connection_that_we_opened_gets_keep_alives() -> None:
    async def story(server: rtpmix.Server, connect: Connect) -> None:
        loop = asyncio.get_running_loop()
        peers: list[Peer] = []

        def accept() -> Peer:
            peers.append(Peer())
            return peers[-1]

        await loop.create_server(accept, "192.0.2.30", 5060)
        with pytest.raises(rtpmix.CallFailed):
            await server.invite("sip:x@192.0.2.30;transport=tcp", timeout_s=40)
        assert peers[0].heard.startswith(b"INVITE ")
        assert peers[0].heard.endswith(b"a=sendrecv\r\n" + b"\r\n\r\n")

    play(story, keep_alive_s=25)


def test_a_peer_that_refuses_the_connection_fails_the_call_at_once() -> None:
    async def story(server: rtpmix.Server, connect: Connect) -> None:
        began = asyncio.get_running_loop().time()
        with pytest.raises(rtpmix.CallFailed) as failed:
            await server.invite("sip:x@192.0.2.30;transport=tcp")
        assert failed.value.status == 503
        assert asyncio.get_running_loop().time() - began < 1

    play(story)


def test_patience_ends_where_each_limit_says() -> None:
    patience = Patience(LIMITS, 0.0, LIMITS.handshake_s)
    assert patience.deadline == 10
    patience.established(5.0)
    assert patience.deadline == 25
    patience.heard(20.0, whole=False, begun=True)
    assert patience.deadline == 25  # the first message has no more time because it has begun
    patience.heard(22.0, whole=True, begun=True)
    assert patience.deadline == 37
    patience.heard(30.0, whole=False, begun=True)
    assert patience.deadline == 37
    assert patience.is_waiting
    patience.heard(31.0, whole=True, begun=False)
    assert patience.deadline == 131
    assert not patience.is_waiting


@pytest.mark.parametrize(
    ("host", "source"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("fe80::1%eth0", str(0xFE80 << 48)),
    ],
)
def test_a_source_is_an_address_of_ipv4_or_a_network_of_ipv6(host: str, source: str) -> None:
    assert source_of(host) == source


def test_two_addresses_of_one_subscriber_are_one_source() -> None:
    assert source_of("2001:db8::1") == source_of("2001:db8::ffff:2")
    assert source_of("2001:db8::1") != source_of("2001:db8:0:1::1")
