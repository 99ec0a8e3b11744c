"""Latching on real sockets: what the kernel and the hosts do with it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from rtpmix.mixer.boxes import Inbox, Outbox
from rtpmix.rtp.latching import RUN, Terms
from rtpmix.rtp.packet import RtpPacket
from rtpmix.server.latching_io import MediaLatched
from rtpmix.server.learning_sockets import MOST_READS, disconnect
from rtpmix.server.shared_io import SharedIO
from rtpmix.server.socket_io import SocketIO
from rtpmix.server.thread_host import ThreadHost
from tests.server.test_process_host import PATIENCE, Office, Peer, office

PORTS = range(13380, 13400)
NEVER = ("127.0.0.9", 9)  # what a phone behind NAT names: nothing comes from there
HOSTS = frozenset({"127.0.0.1"})


@pytest.fixture
def io() -> Iterator[SocketIO]:
    one = SocketIO("127.0.0.1", PORTS)
    yield one
    one.close()


def bound(host: str, port: int = 0) -> socket.socket:
    one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    one.bind((host, port))
    one.settimeout(2)
    return one


def received(io: SocketIO) -> list[tuple[int, bytes]]:
    inbox = Inbox(16)
    count = io.receive(inbox)
    return [(inbox.codes[i], bytes(inbox.data[i, : inbox.sizes[i]])) for i in range(count)]


def test_a_disconnected_socket_hears_everybody_on_the_same_port() -> None:
    port = PORTS[-1]  # one that was asked for: the kernel takes a port of its own choice back
    with bound("127.0.0.1", port) as one, bound("127.0.0.1") as friend, bound("127.0.0.2") as other:
        here = one.getsockname()
        one.connect(friend.getsockname())
        disconnect(one)
        assert one.getsockname() == here
        other.sendto(b"other", here)
        assert one.recvfrom(100) == (b"other", other.getsockname())


def test_while_a_leg_learns_its_hosts_are_heard_and_told_apart(io: SocketIO) -> None:
    address = io.reserve(1)
    io.attach(1, 4)
    io.learn(1, NEVER, None, False, hosts=HOSTS, media=True)
    with bound("127.0.0.1") as phone, bound("127.0.0.66") as stranger:
        for number in range(10):
            stranger.sendto(bytes([number]), address)
        phone.sendto(b"phone", address)
        assert received(io) == [(8, b"phone")]
        assert io.sources == {8: phone.getsockname()}
        assert io.take_refused() == [(4, 10)]
        assert io.take_refused() == []


def test_a_flood_of_strangers_costs_a_bounded_number_of_reads(io: SocketIO) -> None:
    address = io.reserve(1)
    io.attach(1, 4)
    io.learn(1, NEVER, None, False, hosts=HOSTS, media=True)
    with bound("127.0.0.66") as stranger:
        for _ in range(MOST_READS + 5):
            stranger.sendto(b"x", address)
        assert received(io) == []
        assert io.take_refused() == [(4, MOST_READS)]


def test_what_waits_when_a_leg_has_learned_is_thrown_away(io: SocketIO) -> None:
    """It may be anybody's: the kernel has not looked yet. And then it does."""
    address = io.reserve(1)
    io.attach(1, 4)
    io.learn(1, NEVER, None, False, hosts=HOSTS, media=True)
    with bound("127.0.0.1") as phone, bound("127.0.0.1") as thief:
        thief.sendto(b"thief", address)
        io.connect(1, phone.getsockname(), None, True)
        thief.sendto(b"again", address)
        phone.sendto(b"phone", address)
        assert received(io) == [(8, b"phone")]
        io.learn(1, phone.getsockname(), None, False, hosts=HOSTS, media=True)
        thief.sendto(b"later", address)
        assert received(io) == [(8, b"later")]


def test_packets_go_where_was_signalled_while_a_leg_learns(io: SocketIO) -> None:
    address = io.reserve(1)
    io.attach(1, 0)
    with bound("127.0.0.3") as signalled, bound("127.0.0.1") as tried:
        io.learn(1, signalled.getsockname(), None, False, hosts=HOSTS, media=True)
        tried.sendto(b"me", address)
        assert received(io) == [(0, b"me")]
        assert io.send(Outbox(0, 1, [0], [memoryview(b"packet")])) == []
        assert signalled.recvfrom(100) == (b"packet", address)
        tried.settimeout(0.05)
        with pytest.raises(TimeoutError):
            tried.recv(100)


def test_the_rtcp_port_alone_may_learn(io: SocketIO) -> None:
    host, port = io.reserve(1)
    io.attach(1, 4)
    with bound("127.0.0.1") as phone, bound("127.0.0.1") as other:
        io.learn(1, phone.getsockname(), None, False, hosts=HOSTS, media=False)
        other.sendto(b"rtp", (host, port))
        other.sendto(b"rtcp", (host, port + 1))
        assert received(io) == [(9, b"rtcp")]
        assert io.sources == {9: other.getsockname()}


def test_a_leg_on_a_shared_port_learns_nothing() -> None:
    shared = SharedIO(SocketIO("127.0.0.1", PORTS), 4)
    try:
        address = shared.reserve(1, remote=("127.0.0.3", 4000))
        shared.attach(1, 4)
        shared.learn(1, ("127.0.0.3", 4000), None, True, hosts=HOSTS, media=True)
        with bound("127.0.0.1") as phone:
            phone.sendto(b"phone", address)
            inbox = Inbox(16)
            assert shared.receive(inbox) == 0
            assert shared.counts()["unknown_source"] == 1
        own = shared.reserve(2)
        shared.attach(2, 5)
        shared.learn(2, NEVER, None, True, hosts=HOSTS, media=True)
        with bound("127.0.0.1") as phone:
            phone.sendto(b"phone", own)
            assert shared.receive(inbox) == 1
            assert shared.sources == {10: phone.getsockname()}
    finally:
        shared.close()


# ---------------------------------------------------------------------------------- hosts


def terms(own_ssrc: int) -> Terms:
    return Terms(hosts=HOSTS, payload_types=frozenset({0}), own_ssrc=own_ssrc)


async def learn(here: Office, leg: int) -> MediaLatched:
    """Have a leg's peer, whose address was never named, send until it is latched."""
    peer: Peer = here.peers[leg]
    here.host.connect(leg, NEVER, None, True, terms(100 + leg))
    assert peer.packets == []
    async with asyncio.timeout(PATIENCE):
        while not here.heard.of(MediaLatched):
            peer.say(here.addresses[leg], 0x90)
            await asyncio.wait({asyncio.create_task(peer._came.wait())}, timeout=0.02)
    found: MediaLatched = here.heard.of(MediaLatched)[0]
    return found


async def test_a_leg_that_has_learned_keeps_its_source_in_another_worker() -> None:
    async with office() as here:
        for leg in (1, 2):
            await here.open(leg)
        peer = here.peers[2]
        found = await learn(here, 2)
        assert (found.leg, found.remote, found.signalled) == (2, peer.address, NEVER)
        here.join(5, 1, 2, token=7)
        await here.reached(7)
        assert here.host.snapshot()["legs_moved"] == 1
        await here.hears(2, 1)
        await here.hears(1, 2)
        assert len(here.heard.of(MediaLatched)) == 1


async def test_the_thread_host_latches_too() -> None:
    loop = asyncio.get_running_loop()
    host, events, told = ThreadHost(ports=PORTS), [], asyncio.Event()

    def hear(event: Any) -> None:
        events.append(event)
        if isinstance(event, MediaLatched):
            told.set()

    await host.start(hear)
    opening = Office(host, hear)  # type: ignore[arg-type]
    peer = await opening.open(1)
    host.connect(1, NEVER, None, True, terms(101))
    async with asyncio.timeout(PATIENCE):
        sent = 0
        while not told.is_set():
            peer.say(opening.addresses[1], 0x90)
            sent += 1
            await asyncio.wait({loop.create_task(told.wait())}, timeout=0.02)
        assert sent >= RUN
        await peer.until(lambda: peer.packets, lambda: None)
    counts = host.snapshot()["latching"]
    assert (counts["latched"], counts["learning"]) == (1, 0)
    assert counts["refused"] >= RUN - 1
    await host.stop()
    assert all(isinstance(packet, RtpPacket) for packet in peer.packets)
    peer.transport.close()
