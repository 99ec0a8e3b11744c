"""Checks of strangers on real sockets: what the kernel and the hosts do with them."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from rtpmix.mixer.commands import OpenLeg
from rtpmix.rtp.srtp import SrtpSession
from rtpmix.rtp.stun import is_stun
from rtpmix.sdp.ice import IceCredentials
from rtpmix.server.dtls import DtlsIdentity, DtlsTerms, Handshake, is_dtls
from rtpmix.server.latching_io import MediaLatched
from rtpmix.server.media_io import Address
from rtpmix.server.porch import READS
from rtpmix.server.shared_io import SharedIO
from rtpmix.server.socket_io import SocketIO
from rtpmix.server.thread_host import ThreadHost
from tests.rtp.test_stun import check
from tests.server.test_dtls import named
from tests.server.test_learning_sockets import NEVER, PORTS, bound, received
from tests.server.test_process_host import PATIENCE, Office, Peer, office

OURS, PEERS = DtlsIdentity.generate(), DtlsIdentity.generate()
TERMS = DtlsTerms(OURS, named(PEERS), is_client=False, ice=IceCredentials("ours", "p" * 22))
CHECK, RTP, HELLO = check(), b"\x80\x00" + bytes(170), b"\x16\xfe\xfd" + bytes(60)


@pytest.fixture(params=["127.0.0.1", "0.0.0.0"])
def io(request: pytest.FixtureRequest) -> Iterator[SocketIO]:
    one = SocketIO(request.param, PORTS)
    yield one
    one.close()


def reserved(io: SocketIO | SharedIO, remote: Address | None) -> Address:
    """Give leg 1 row 4 and a peer; return where its RTP is received."""
    _, port = io.reserve(1)
    io.attach(1, 4)
    io.expect_checks(1, True)
    io.connect(1, remote, remote, True)
    return "127.0.0.1", port


def test_beside_a_known_peer_strangers_are_heard_with_checks_alone(io: SocketIO) -> None:
    with bound("127.0.0.1") as peer, bound("127.0.0.2") as stranger:
        address = reserved(io, peer.getsockname())
        for datagram in (RTP, HELLO, CHECK, b""):
            stranger.sendto(datagram, address)
        peer.sendto(CHECK, address)
        assert received(io) == [(8, CHECK)]  # the peer's: by the socket that is connected to it
        assert received(io) == []
        assert io.take_checks() == [(1, CHECK, stranger.getsockname())]
        assert io.take_strays() == (3, 0)
        io.answer_check(1, b"answer", stranger.getsockname())
        assert stranger.recvfrom(100) == (b"answer", address)


def test_before_a_peer_is_known_nothing_but_checks_is_heard(io: SocketIO) -> None:
    with bound("127.0.0.1") as peer:
        address = reserved(io, None)
        for datagram in (RTP, HELLO, CHECK):
            peer.sendto(datagram, address)
        assert received(io) == []
        assert io.take_checks() == [(1, CHECK, peer.getsockname())]
        assert io.take_strays() == (2, 0)
        peer.sendto(RTP, address)
        io.connect(1, peer.getsockname(), peer.getsockname(), True)
        peer.sendto(HELLO, address)
        assert received(io) == [(8, HELLO)]  # what came before is anybody's


@pytest.mark.parametrize("nowhere", [("::1", 4000), ("127.0.0.1", 0), ("phone.example", 4000)])
def test_a_peer_whose_address_leads_nowhere_at_all_is_found_all_the_same(
    io: SocketIO, nowhere: Address
) -> None:
    with bound("127.0.0.1") as peer:
        address = reserved(io, nowhere)
        for datagram in (RTP, HELLO, CHECK):
            peer.sendto(datagram, address)
        assert received(io) == []
        assert io.take_checks() == [(1, CHECK, peer.getsockname())]
        io.connect(1, peer.getsockname(), peer.getsockname(), True)
        peer.sendto(HELLO, address)
        assert received(io) == [(8, HELLO)]
        io.connect(1, nowhere, nowhere, True)
        peer.sendto(RTP, address)
        peer.sendto(CHECK, address)
        assert received(io) == []
        assert io.take_checks() == [(1, CHECK, peer.getsockname())]


def test_when_the_peer_moves_the_old_address_is_a_strangers(io: SocketIO) -> None:
    with bound("127.0.0.1") as old, bound("127.0.0.3") as new:
        address = reserved(io, old.getsockname())
        old.sendto(RTP, address)
        io.connect(1, new.getsockname(), new.getsockname(), True)
        old.sendto(RTP, address)
        old.sendto(CHECK, address)
        new.sendto(HELLO, address)
        assert received(io) == [(8, HELLO)]
        assert io.take_checks() == [(1, CHECK, old.getsockname())]
        io.connect(1, None, None, True)
        for one in (old, new):
            one.sendto(RTP, address)
            one.sendto(CHECK, address)
        assert received(io) == []
        heard = io.take_checks()
        assert {source for _, _, source in heard} == {old.getsockname(), new.getsockname()}


@pytest.mark.parametrize("junk", [CHECK, RTP], ids=["checks", "rtp"])
def test_a_flood_of_strangers_is_read_a_little_and_takes_none_of_the_peers_packets(
    io: SocketIO, junk: bytes
) -> None:
    with bound("127.0.0.1") as peer, bound("127.0.0.2") as stranger:
        address = reserved(io, peer.getsockname())
        for _ in range(3000):  # many times what a socket's buffer holds
            stranger.sendto(junk, address)
        for number in range(20):
            peer.sendto(RTP + bytes([number]), address)
        assert [received(io) for _ in range(20)] == [[(8, RTP + bytes([n]))] for n in range(20)]
        checks, strays = io.take_checks(), io.take_strays()[0]
        assert len(checks) + strays == READS


def test_ipv6_is_no_different() -> None:
    io = SocketIO("127.0.0.1", PORTS, "::1")
    try:
        with (
            socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as peer,
            socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as stranger,
        ):
            for one in (peer, stranger):
                one.bind(("::1", 0))
                one.settimeout(2)
            address = io.reserve(1, ipv6=True)
            io.attach(1, 4)
            io.expect_checks(1, True)
            for remote in (None, peer.getsockname()[:2]):
                io.connect(1, remote, remote, True)
                stranger.sendto(RTP, address)
                stranger.sendto(CHECK, address)
                assert io.take_checks() == [(1, CHECK, stranger.getsockname()[:2])]
            peer.sendto(RTP, address)
            assert received(io) == [(8, RTP)]
            io.answer_check(1, b"answer", stranger.getsockname()[:2])
            assert stranger.recvfrom(100) == (b"answer", (*address, 0, 0))
    finally:
        io.close()


def test_nobody_else_can_bind_the_port_and_a_leg_leaves_nothing_behind(io: SocketIO) -> None:
    with bound("127.0.0.1") as peer:
        address = reserved(io, peer.getsockname())
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            with pytest.raises(OSError, match=os.strerror(errno.EADDRINUSE)):
                other.bind(address)
            io.release(1)
            other.bind(address)
        assert io.take_checks() == []


def test_when_no_more_checks_are_expected_the_kernel_keeps_strangers_out(io: SocketIO) -> None:
    with bound("127.0.0.1") as peer, bound("127.0.0.2") as stranger:
        address = reserved(io, peer.getsockname())
        io.expect_checks(1, False)
        io.connect(1, peer.getsockname(), peer.getsockname(), True)
        stranger.sendto(CHECK, address)
        peer.sendto(RTP, address)
        assert received(io) == [(8, RTP)]
        assert io.take_checks() == []


def test_a_leg_on_a_shared_port_expects_no_checks() -> None:
    shared = SharedIO(SocketIO("127.0.0.1", PORTS), 4)
    try:
        with bound("127.0.0.1") as peer, bound("127.0.0.2") as stranger:
            address = shared.reserve(1, remote=peer.getsockname())
            shared.attach(1, 4)
            shared.expect_checks(1, True)
            shared.connect(1, peer.getsockname(), None, True)
            stranger.sendto(CHECK, address)
            assert shared.take_checks() == []
            shared.release(1)
            own = reserved(shared, peer.getsockname())
            stranger.sendto(CHECK, own)
            assert shared.take_checks() == [(1, CHECK, stranger.getsockname())]
            assert shared.take_strays() == (0, 0)
    finally:
        shared.close()


# ---------------------------------------------------------------------------------- hosts


class Browser(Peer):
    """Checks, makes its handshake, and then speaks as any other."""

    def __init__(self) -> None:
        super().__init__()
        self.handshake = Handshake(DtlsTerms(PEERS, named(OURS), is_client=True))
        self.answers = 0

    def datagram_received(self, data: bytes, addr: Any) -> None:
        if is_stun(data):
            self.answers += 1
            self._came.set()
        elif is_dtls(data):
            self.handshake.receive(data)
            self.shake(addr)
            self._came.set()
        else:
            super().datagram_received(data, addr)

    def shake(self, to: Any) -> None:
        for datagram in self.handshake.datagrams():
            self.transport.sendto(datagram, to)
        keys = self.handshake.keys
        if keys is not None and self.sender is None:
            self.sender = SrtpSession.sender(keys.ours)
            self.receiver = SrtpSession.receiver(keys.theirs)

    async def is_answered(self, to: Any, datagram: bytes) -> None:
        """Send a check until it has an answer."""
        before = self.answers
        async with asyncio.timeout(PATIENCE):
            while self.answers == before:
                self.transport.sendto(datagram, to)
                await self.something(0.1)

    async def shakes_hands(self, to: Any) -> None:
        async with asyncio.timeout(PATIENCE):
            while self.sender is None:
                self.shake(to)
                await self.something(0.1)
                self.handshake.poll()

    async def something(self, seconds: float) -> None:
        self._came.clear()
        coming = asyncio.ensure_future(self._came.wait())
        await asyncio.wait({coming}, timeout=seconds)
        coming.cancel()


async def open_browser(here: Office, leg: int) -> Browser:
    """Open a leg by DTLS and ICE whose peer is not where signalling says."""
    loop = asyncio.get_running_loop()
    _, peer = await loop.create_datagram_endpoint(Browser, local_addr=("127.0.0.1", 0))
    here.peers[leg] = peer
    here.addresses[leg] = await here.host.reserve(leg)
    opening = OpenLeg(
        leg=leg, dtmf_payload_type=101, ssrc=100 + leg, first_sequence=0, first_timestamp=0
    )
    here.host.submit(opening)
    here.host.secure(leg, TERMS)
    here.host.connect(leg, NEVER, NEVER, True)
    return peer


async def test_a_leg_keeps_the_path_that_was_nominated_in_another_worker() -> None:
    """And what is known of old checks, and may be moved from there on."""
    async with office() as here:
        await here.open(1)
        peer, thief = await open_browser(here, 2), Browser()
        loop = asyncio.get_running_loop()
        await loop.create_datagram_endpoint(lambda: thief, local_addr=("127.0.0.1", 0))
        to, old = here.addresses[2], check(nominates=True)
        thief.shake(to)
        thief.transport.sendto(check("another", nominates=True), to)
        await peer.is_answered(to, old)
        await peer.shakes_hands(to)
        await here.heard.until(lambda: here.heard.of(MediaLatched))
        (found,) = here.heard.of(MediaLatched)
        assert (found.leg, found.remote, found.signalled) == (2, peer.address, NEVER)
        here.join(5, 1, 2, token=7)
        await here.reached(7)
        assert here.host.snapshot()["legs_moved"] == 1
        await here.hears(2, 1)
        await here.hears(1, 2)
        thief.transport.sendto(old, to)
        await here.hears(1, 2)
        await peer.is_answered(to, check(nominates=True))
        assert len(here.heard.of(MediaLatched)) == 1

        former, moved = peer.transport, asyncio.Event()
        peer.transport = (
            await loop.create_datagram_endpoint(
                lambda: Mover(peer, moved), local_addr=("127.0.0.1", 0)
            )
        )[0]
        await peer.is_answered(to, check(nominates=True))
        await here.heard.until(lambda: len(here.heard.of(MediaLatched)) == 2)
        await here.hears(2, 1)
        await here.hears(1, 2)
        assert moved.is_set()
        assert (thief.answers, thief.sender, thief.packets) == (0, None, [])
        former.close()
        thief.transport.close()


class Mover(asyncio.DatagramProtocol):
    """Another socket of the same browser."""

    def __init__(self, peer: Browser, moved: asyncio.Event) -> None:
        self._peer, self._moved = peer, moved

    def datagram_received(self, data: bytes, addr: Any) -> None:
        if not is_stun(data):
            self._moved.set()
        self._peer.datagram_received(data, addr)


async def test_the_thread_host_follows_checks_too() -> None:
    loop = asyncio.get_running_loop()
    host, told = ThreadHost(ports=PORTS), asyncio.Event()

    def hear(event: Any) -> None:
        if isinstance(event, MediaLatched):
            loop.call_soon_threadsafe(told.set)

    await host.start(hear)
    here = Office(host, hear)  # type: ignore[arg-type]
    peer = await open_browser(here, 1)
    await peer.is_answered(here.addresses[1], check(nominates=True))
    await peer.shakes_hands(here.addresses[1])
    async with asyncio.timeout(PATIENCE):
        await told.wait()
    await peer.until(lambda: peer.packets, lambda: None)
    counts = host.snapshot()["checks"]
    assert (counts["moved"], counts["listening"], counts["deaf"]) == (1, 1, 0)
    await host.stop()
    peer.transport.close()
