"""Legs that share sockets, on loopback: nobody hears, or sends as, another."""

import asyncio
import socket
import time
from collections.abc import Iterator

import numpy as np
import pytest

import rtpmix
from rtpmix.errors import CapacityError
from rtpmix.mixer.boxes import Inbox, Outbox
from rtpmix.server import shared_io
from rtpmix.server.arriving import WAITING
from rtpmix.server.media_io import Address
from rtpmix.server.shared_io import SharedIO, media_io
from rtpmix.server.socket_io import SocketIO

PORTS = range(13440, 13448)


@pytest.fixture
def io() -> Iterator[SharedIO]:
    one = media_io("127.0.0.1", PORTS, legs_per_port=3)
    assert isinstance(one, SharedIO)
    yield one
    one.close()


@pytest.fixture
def peers() -> Iterator[list[socket.socket]]:
    made = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(4)]
    for one in made:
        one.bind(("127.0.0.1", 0))
        one.settimeout(2)
    yield made
    for one in made:
        one.close()


INBOX = Inbox(64)


def received(io: SharedIO) -> list[tuple[int, bytes]]:
    count = io.receive(INBOX)
    return [(INBOX.codes[i], bytes(INBOX.data[i, : INBOX.sizes[i]])) for i in range(count)]


def opened(io: SharedIO, leg: int, peer: socket.socket, *, mux: bool = False) -> Address:
    """Reserve, connect and attach a leg; its row is 10 more than its number."""
    remote = peer.getsockname()
    address = io.reserve(leg, remote=remote)
    io.attach(leg, 10 + leg)
    io.connect(leg, remote, remote if mux else None, mux)
    return address


def test_legs_on_one_port_are_told_apart_by_where_they_send_from(
    io: SharedIO, peers: list[socket.socket]
) -> None:
    addresses = {opened(io, leg, peers[leg]) for leg in range(3)}
    (address,) = addresses
    for number, peer in enumerate(peers):  # the fourth is a stranger
        peer.sendto(bytes([number]), address)
    assert sorted(received(io)) == [(20, b"\0"), (22, b"\1"), (24, b"\2")]
    assert io.counts()["unknown_source"] == 1
    assert received(io) == []


def test_each_packet_goes_to_its_own_leg_from_the_shared_port(
    io: SharedIO, peers: list[socket.socket]
) -> None:
    (address,) = {opened(io, leg, peers[leg]) for leg in range(3)}
    packets = [bytearray([leg] * 172) for leg in range(3)]
    box = Outbox(0, 1, [10, 11, 12], [memoryview(packet) for packet in packets])
    for beat in range(2):
        for leg, packet in enumerate(packets):
            packet[0] = 10 * beat + leg
        assert io.send(box) == []
        for leg in range(3):
            data, source = peers[leg].recvfrom(2000)
            assert (data, source) == (bytes(packets[leg]), address)


def test_a_full_port_and_an_address_that_is_taken_lead_to_another_port(
    io: SharedIO, peers: list[socket.socket]
) -> None:
    first = [opened(io, leg, peers[leg]) for leg in range(2)]
    twin = opened(io, 2, peers[0])
    assert first[0] == first[1] != twin
    peers[0].sendto(b"first", first[0])
    peers[0].sendto(b"twin", twin)
    assert sorted(received(io)) == [(20, b"first"), (24, b"twin")]
    ports = [io.reserve(leg, remote=("127.0.0.1", leg))[1] for leg in range(10, 14)]
    assert ports == [first[0][1], twin[1], twin[1], PORTS[4]]


def test_a_leg_that_moves_to_the_address_of_another_takes_nothing_from_it(
    io: SharedIO, peers: list[socket.socket]
) -> None:
    address = opened(io, 0, peers[0])
    opened(io, 1, peers[1])
    victim: Address = peers[0].getsockname()
    io.connect(1, victim, None, False)
    peers[0].sendto(b"for leg 0", address)
    peers[1].sendto(b"left", address)
    assert received(io) == [(20, b"for leg 0")]
    assert io.send(Outbox(0, 1, [11], [memoryview(bytearray(b"to the victim"))])) == []
    peers[0].settimeout(0.05)
    with pytest.raises(TimeoutError):
        peers[0].recvfrom(2000)
    io.connect(1, peers[1].getsockname(), None, False)
    peers[1].sendto(b"back", address)
    assert received(io) == [(22, b"back")]


def test_a_reserved_address_is_claimed_before_it_is_connected(
    io: SharedIO, peers: list[socket.socket]
) -> None:
    remote: Address = peers[0].getsockname()
    assert io.reserve(0, remote=remote) != io.reserve(1, remote=remote)


def test_more_than_one_of_a_leg_come_one_a_read_and_in_order(
    io: SharedIO, peers: list[socket.socket]
) -> None:
    address = opened(io, 0, peers[0])
    opened(io, 1, peers[1])
    for number in range(3):
        peers[0].sendto(bytes([number]), address)
    peers[1].sendto(b"other", address)
    assert sorted(received(io)) == [(20, b"\0"), (22, b"other")]
    peers[0].sendto(b"\3", address)
    peers[1].sendto(b"more", address)
    assert sorted(received(io)) == [(20, b"\1"), (22, b"more")]
    assert [received(io) for _ in range(3)] == [[(20, b"\2")], [(20, b"\3")], []]


def test_a_flood_of_one_leg_waits_within_bounds_and_holds_nobody_up(
    io: SharedIO, peers: list[socket.socket]
) -> None:
    address = opened(io, 0, peers[0])
    opened(io, 1, peers[1])
    for number in range(40):
        peers[0].sendto(bytes([number]), address)
    peers[1].sendto(b"other", address)
    assert sorted(received(io)) == [(20, b"\0"), (22, b"other")]
    assert [received(io)[0][1][0] for _ in range(WAITING)] == list(range(1, 1 + WAITING))
    assert received(io) == []
    assert io.counts()["overrun"] == 39 - WAITING


def test_what_waits_of_a_leg_is_gone_when_it_is_released(
    io: SharedIO, peers: list[socket.socket]
) -> None:
    address = opened(io, 0, peers[0])
    opened(io, 1, peers[1])
    for _ in range(3):
        peers[0].sendto(b"old", address)
    assert received(io) == [(20, b"old")]
    io.release(0)
    peers[0].sendto(b"late", address)
    assert received(io) == []


def test_rtcp_has_its_own_shared_port_unless_it_is_multiplexed(
    io: SharedIO, peers: list[socket.socket]
) -> None:
    remote, remote_rtcp = peers[0].getsockname(), peers[1].getsockname()
    host, port = io.reserve(0, remote=remote)
    io.attach(0, 10)
    io.connect(0, remote, remote_rtcp, False)
    opened(io, 1, peers[2], mux=True)
    peers[1].sendto(b"report", (host, port + 1))
    peers[2].sendto(b"muxed", (host, port + 1))
    assert received(io) == [(21, b"report")]
    assert io.send(Outbox(extra=[(10, b"ours", True), (11, b"mux", True)])) == []
    assert peers[1].recvfrom(100) == (b"ours", (host, port + 1))
    assert peers[2].recvfrom(100) == (b"mux", (host, port))


def test_legs_whose_peer_is_not_known_have_sockets_of_their_own(
    io: SharedIO, peers: list[socket.socket]
) -> None:
    shared = opened(io, 0, peers[0])
    alone = io.reserve(1)
    assert alone != shared
    io.attach(1, 11)
    io.connect(1, peers[1].getsockname(), None, False)
    for peer, address in ((peers[0], shared), (peers[1], alone)):
        peer.sendto(b"x", address)
    assert received(io) == [(20, b"x"), (22, b"x")]
    packets = [memoryview(bytearray(b"shared")), memoryview(bytearray(b"alone"))]
    assert io.send(Outbox(0, 1, [10, 11], packets)) == []
    assert peers[0].recvfrom(100) == (b"shared", shared)
    assert peers[1].recvfrom(100) == (b"alone", alone)


def test_ports_come_back_when_their_last_leg_goes(io: SharedIO, peers: list[socket.socket]) -> None:
    for leg in range(12):  # four pairs of three
        io.reserve(leg, remote=("127.0.0.1", 1024 + leg))
    with pytest.raises(CapacityError):
        io.reserve(12, remote=("127.0.0.1", 1024 + 12))
    for leg in (0, 1, 2):
        io.release(leg)
    io.release(2)  # twice is no error
    assert io.reserve(13)[1] == PORTS[0]


def test_packets_that_the_kernel_refuses_are_told_and_the_others_sent(
    io: SharedIO, peers: list[socket.socket]
) -> None:
    remote = ("255.255.255.255", 4000)  # broadcast: a socket must ask for it
    io.reserve(0, remote=remote)
    io.attach(0, 10)
    io.connect(0, remote, None, False)
    opened(io, 1, peers[1])
    packets = [memoryview(bytearray(b"refused")), memoryview(bytearray(b"sent"))]
    assert io.send(Outbox(0, 1, [10, 11], packets)) == [10]
    assert peers[1].recvfrom(100)[0] == b"sent"


def test_a_datagram_longer_than_the_inbox_is_cut_off(
    io: SharedIO, peers: list[socket.socket]
) -> None:
    address = opened(io, 0, peers[0])
    peers[0].sendto(bytes(3000), address)
    assert [(code, len(data)) for code, data in received(io)] == [(20, 2112)]


@pytest.mark.parametrize("remote", [("phone.example.com", 4000), ("::1", 4000)])
def test_only_numeric_ipv4_addresses_share(io: SharedIO, remote: Address) -> None:
    io.reserve(0, remote=("127.0.0.1", 1024))
    assert io.reserve(1, remote=remote)[1] == PORTS[2]


def test_without_the_calls_or_the_wish_each_leg_has_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = [media_io("127.0.0.1", PORTS)]
    monkeypatch.setattr(shared_io.mmsg, "available", lambda: False)
    made.append(media_io("127.0.0.1", PORTS, legs_per_port=100))
    assert all(type(one) is SocketIO for one in made)
    assert made[0].reserve(1, remote=("127.0.0.1", 1))[1] == PORTS[0]
    for one in made:
        one.close()


INVITE = """INVITE sip:a@127.0.0.1 SIP/2.0
Via: SIP/2.0/UDP 127.0.0.1:{sip};branch=z9hG4bK{media};rport
From: <sip:x@y>;tag={media}
To: <sip:a@127.0.0.1>
Call-ID: {media}-{number}
CSeq: 1 INVITE
Contact: <sip:x@127.0.0.1:{sip}>
Max-Forwards: 70
Content-Type: application/sdp
Content-Length: {length}

{body}"""
OFFER = """v=0
o=- 1 1 IN IP4 127.0.0.1
s=-
c=IN IP4 127.0.0.1
t=0 0
m=audio {media} RTP/AVP 0
"""


def answered_port(phone: socket.socket, server: Address, number: int, media: int) -> int:
    """Call with an offer of this media port; return the port in the answer."""
    body = OFFER.format(media=media).replace("\n", "\r\n")
    names = {"sip": phone.getsockname()[1], "media": media, "number": number}
    head = INVITE.format(**names, length=len(body), body="").replace("\n", "\r\n")
    head = head.replace(f"z9hG4bK{media}", f"z9hG4bK{media}-{number}")
    phone.sendto((head + body).encode(), server)
    while True:
        data = phone.recv(4000)
        if data.startswith(b"SIP/2.0 200") and f"Call-ID: {media}-{number}\r\n".encode() in data:
            return int(data.split(b"m=audio ")[1].split()[0])
        assert data.startswith((b"SIP/2.0 1", b"SIP/2.0 200"))


async def test_calls_that_offer_different_addresses_share_a_port_of_the_server() -> None:
    config = rtpmix.Config(
        sip_listen=("udp:127.0.0.1:0",),
        media_address="127.0.0.1",
        rtp_ports=range(13460, 13480),
        legs_per_port=10,
    )
    async with rtpmix.Server(config) as server:

        @server.on_invite
        async def answer(call: rtpmix.IncomingCall) -> None:
            await (await call.answer()).closed()

        host, _, port = server.sip_address.rpartition(":")
        loop = asyncio.get_running_loop()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as phone:
            phone.bind(("127.0.0.1", 0))
            phone.settimeout(5)
            calls = ((1, 4000), (2, 4002), (3, 4000))
            ports = [
                await loop.run_in_executor(
                    None, answered_port, phone, (host, int(port)), number, media
                )
                for number, media in calls
            ]
    assert ports == [13460, 13460, 13462]


def test_the_kernel_notes_when_what_comes_to_shared_ports_came(
    io: SharedIO, peers: list[socket.socket]
) -> None:
    address = opened(io, 0, peers[0])
    opened(io, 1, peers[1])
    for _ in range(3):
        before = time.monotonic()
        for peer in peers[:2]:
            peer.sendto(b"x", address)
        after = time.monotonic()
        assert io.receive(INBOX) == 2
        assert all(before - 0.001 < stamp < after + 0.001 for stamp in INBOX.stamps[:2])
    peers[0].sendto(b"x", address)
    peers[0].sendto(b"y", address)  # held back: when it came is not kept
    assert io.receive(INBOX) == 1
    assert not np.isnan(INBOX.stamps[0])
    assert io.receive(INBOX) == 1
    assert np.isnan(INBOX.stamps[:2]).all()


def test_times_are_told_while_all_legs_share(io: SharedIO, peers: list[socket.socket]) -> None:
    opened(io, 0, peers[0])
    assert io.tells_time
    io.reserve(1)  # nobody knows yet where its peer is
    assert not io.tells_time
    io.release(1)
    assert io.tells_time
    assert not SocketIO("127.0.0.1", PORTS).tells_time
