"""The media engine's sockets in memory: the promises of `MediaIO`."""

from __future__ import annotations

import asyncio

import pytest

from rtpmix.errors import CapacityError
from rtpmix.mixer.boxes import Inbox, Outbox
from rtpmix.testing import VirtualMediaIO, VirtualNet, run

HOST = "192.0.2.1"
PHONE, PHONE_RTCP, STRANGER = ("192.0.2.9", 4000), ("192.0.2.9", 4001), ("192.0.2.66", 4000)


def take(io: VirtualMediaIO) -> list[tuple[int, bytes]]:
    """Return what one read gives: (code, datagram)."""
    inbox = Inbox(capacity=8)
    count = io.receive(inbox)
    return [(inbox.codes[i], bytes(inbox.views[i][: inbox.sizes[i]])) for i in range(count)]


async def connected(net: VirtualNet, *, mux: bool = False) -> VirtualMediaIO:
    """Return an I/O with leg 7 on row 3, connected to the phone."""
    io = VirtualMediaIO(net, HOST)
    assert io.reserve(7) == (HOST, 10000)
    io.attach(7, 3)
    io.connect(7, PHONE, None if mux else PHONE_RTCP, mux)
    return io


def test_ports_are_even_odd_pairs_and_run_out() -> None:
    """RFC 3550 section 11: RTP on the even port, RTCP on the next one."""

    async def main() -> None:
        io = VirtualMediaIO(net, HOST, range(5001, 5006))
        net.bind((HOST, 5003), lambda *_: None)  # somebody else's: 5002 is no pair
        assert io.reserve(1) == (HOST, 5004)
        with pytest.raises(CapacityError):
            io.reserve(2)
        io.release(1)
        io.release(99)
        assert io.reserve(2) == (HOST, 5004)

    net = VirtualNet()
    run(main(), net)


def test_rtp_and_rtcp_come_with_the_row_and_their_kind() -> None:
    async def main() -> list[tuple[int, bytes]]:
        io = await connected(net)
        net.transmit(b"rtp", PHONE, (HOST, 10000))
        net.transmit(b"rtcp", PHONE_RTCP, (HOST, 10001))
        await asyncio.sleep(0.01)
        return take(io)

    net = VirtualNet()
    assert run(main(), net) == [(6, b"rtp"), (7, b"rtcp")]


def test_one_read_gives_one_datagram_a_leg_and_kind_in_order() -> None:
    async def main() -> list[list[tuple[int, bytes]]]:
        io = await connected(net)
        for data in (b"1", b"2", b"3"):
            net.transmit(data, PHONE, (HOST, 10000))
        await asyncio.sleep(0.01)
        return [take(io) for _ in range(4)]

    net = VirtualNet()
    assert run(main(), net) == [[(6, b"1")], [(6, b"2")], [(6, b"3")], []]


def test_only_the_connected_source_is_heard() -> None:
    """And nothing that came before the leg was attached and connected."""

    async def main() -> list[tuple[int, bytes]]:
        io = VirtualMediaIO(net, HOST)
        io.reserve(7)
        net.transmit(b"early", PHONE, (HOST, 10000))
        await asyncio.sleep(0.01)
        io.attach(7, 3)
        io.connect(7, PHONE, PHONE_RTCP, False)
        net.transmit(b"forged", STRANGER, (HOST, 10000))
        net.transmit(b"crossed", PHONE_RTCP, (HOST, 10000))
        await asyncio.sleep(0.01)
        io.connect(7, None, None, False)  # hold with c=0.0.0.0
        net.transmit(b"held", PHONE, (HOST, 10000))
        await asyncio.sleep(0.01)
        return take(io)

    net = VirtualNet()
    assert run(main(), net) == []


def test_packets_leave_from_the_ports_of_their_leg() -> None:
    """RFC 5761: with rtcp-mux RTCP takes the RTP port at both ends."""

    async def main(mux: bool) -> list[tuple[bytes, tuple[str, int], tuple[str, int]]]:
        io = await connected(net, mux=mux)
        seen: list[tuple[bytes, tuple[str, int], tuple[str, int]]] = []
        net.observe(lambda p: seen.append((p.data, p.source, p.destination)))
        box = Outbox(rows=[3, 4], views=[memoryview(b"audio"), memoryview(b"nobody")])
        box.extra = [(3, b"digit", False), (3, b"report", True)]
        assert io.send(box) == []
        io.release(7)
        assert io.send(box) == []
        return seen

    net = VirtualNet()
    rtp = (HOST, 10000)
    assert run(main(False), net) == [
        (b"audio", rtp, PHONE),
        (b"digit", rtp, PHONE),
        (b"report", (HOST, 10001), PHONE_RTCP),
    ]
    net = VirtualNet()
    assert run(main(True), net)[-1] == (b"report", rtp, PHONE)


def test_a_flood_is_dropped_and_counted() -> None:
    async def main() -> None:
        io = await connected(net)
        for _ in range(1000):
            net.transmit(b"x", PHONE, (HOST, 10000))
        await asyncio.sleep(0.01)
        read = 0
        while take(io):
            read += 1
        assert read + io.dropped == 1000
        assert read < 100

    net = VirtualNet()
    run(main(), net)


def test_commands_for_a_leg_that_is_gone_change_nothing() -> None:
    async def main() -> None:
        io = VirtualMediaIO(net, HOST)
        io.attach(1, 1)
        io.connect(1, PHONE, PHONE_RTCP, False)
        assert take(io) == []

    net = VirtualNet()
    run(main(), net)


def test_rtcp_goes_to_the_port_above_where_nothing_else_was_said() -> None:
    """RFC 3550 section 11; RFC 3605 would name another."""

    async def main() -> list[tuple[str, int]]:
        io = VirtualMediaIO(net, HOST)
        io.reserve(7)
        io.attach(7, 3)
        io.connect(7, PHONE, None, False)
        seen: list[tuple[str, int]] = []
        net.observe(lambda passage: seen.append(passage.destination))
        io.send(Outbox(extra=[(3, b"report", True)]))
        return seen

    net = VirtualNet()
    assert run(main(), net) == [PHONE_RTCP]
