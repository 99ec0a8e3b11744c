"""rtpmix.server.udp: all datagrams that wait are read at once. Real sockets, on loopback."""

from __future__ import annotations

import asyncio
import socket

import pytest

from rtpmix.server.udp import SocketDatagrams, bind, open_datagrams
from rtpmix.sip.flow import Address

HERE = ("127.0.0.1", 0)


def test_what_waits_is_taken_in_order_and_in_one_turn() -> None:
    taken: list[tuple[bytes, Address, Address]] = []
    turns: list[int] = []

    async def story() -> None:
        loop = asyncio.get_running_loop()
        done = loop.create_future()

        def all_taken() -> None:
            turns.append(len(taken))
            if len(taken) == 200 and not done.done():
                done.set_result(None)

        datagrams = await open_datagrams(loop, HERE, lambda *found: taken.append(found), all_taken)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
            peer.bind(HERE)
            for number in range(200):
                peer.sendto(b"%d" % number, datagrams.local)
            await done
            assert taken == [
                (b"%d" % number, peer.getsockname(), datagrams.local) for number in range(200)
            ]
            assert datagrams.send(b"answer", peer.getsockname())
            assert peer.recvfrom(100) == (b"answer", datagrams.local)
            assert not datagrams.send(b"x" * 70_000, peer.getsockname())  # larger than UDP takes
        datagrams.close()
        datagrams.close()
        assert datagrams.lost() == 0

    asyncio.run(story())
    assert turns == [200]


def test_what_the_kernel_drops_is_counted() -> None:
    async def story() -> int:
        sock = bind(HERE)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        datagrams = SocketDatagrams(
            asyncio.get_running_loop(), sock, lambda *found: None, lambda: None
        )
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
            for _ in range(100):
                peer.sendto(b"x" * 1000, datagrams.local)
        lost = datagrams.lost()
        datagrams.close()
        assert datagrams.lost() == lost  # what is known stays known
        return lost

    assert 50 < asyncio.run(story()) < 100


def test_a_datagram_whose_taking_fails_does_not_take_others_along(
    caplog: pytest.LogCaptureFixture,
) -> None:
    taken: list[bytes] = []

    async def story() -> None:
        done = asyncio.get_running_loop().create_future()

        def take(data: bytes, source: Address, local: Address) -> None:
            if data == b"bad":
                raise ZeroDivisionError
            taken.append(data)

        def all_taken() -> None:
            if len(taken) == 2 and not done.done():
                done.set_result(None)

        datagrams = await open_datagrams(asyncio.get_running_loop(), HERE, take, all_taken)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
            for data in (b"one", b"bad", b"two"):
                peer.sendto(data, datagrams.local)
            await done
        datagrams.close()

    asyncio.run(story())
    assert taken == [b"one", b"two"]
    assert "taking a datagram failed" in caplog.text


def test_an_address_that_is_taken_is_an_oserror_and_leaves_no_socket() -> None:
    with bind(HERE) as first, pytest.raises(OSError, match="in use"):
        bind(first.getsockname())
