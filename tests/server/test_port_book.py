"""Tests of `rtpmix.server.port_book`, on real sockets of the loopback interface."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest

from rtpmix.errors import CapacityError
from rtpmix.server.port_book import PortBook
from rtpmix.server.socket_io import SocketIO

HOST = "127.0.0.1"
PORTS = range(13900, 13920)


@pytest.fixture
def book() -> Iterator[PortBook]:
    plain = SocketIO(HOST, PORTS)
    made = PortBook(plain, 3)
    yield made
    for leg in range(10):
        made.release(leg)
    plain.close()


@pytest.fixture
def peers() -> Iterator[list[socket.socket]]:
    made = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(4)]
    for one in made:
        one.bind((HOST, 0))
    yield made
    for one in made:
        one.close()


def waiting(descriptor: int) -> set[bytes]:
    """Return what a socket of the book has got."""
    found = set()
    with socket.socket(fileno=os.dup(descriptor)) as one:
        one.setblocking(False)
        while True:
            try:
                found.add(one.recv(100))
            except BlockingIOError:
                return found


def test_a_worker_has_pairs_of_its_own_and_an_address_has_one_leg(book: PortBook) -> None:
    first = book.reserve(1, 0, (HOST, 5000))
    assert book.reserve(2, 0, (HOST, 5002)) == first
    assert book.reserve(3, 1, (HOST, 5004)) != first  # another worker reads it
    assert book.reserve(4, 0, (HOST, 5000)) != first  # the same address
    assert book.reserve(5, 0, (HOST, 5006)) == first
    assert book.reserve(6, 0, (HOST, 5008)) != first  # it has three legs
    assert book.reserve(7, 0, ("phone.example", 5010)) is None  # a name can't be told apart
    assert book.counts() == {"ports": 3, "legs": 6, "parted": 0}


def test_who_named_an_address_first_has_it(book: PortBook) -> None:
    for leg, port in ((1, 5000), (2, 5002)):
        book.reserve(leg, 0, (HOST, port))
    assert book.connect(1, (HOST, 5000), None)
    assert not book.connect(2, (HOST, 5000), None)
    assert book.connect(2, (HOST, 5010), None)
    assert not book.connect(1, (HOST, 5020), (HOST, 5011))  # the other one's RTCP
    book.release(2)
    assert book.connect(1, (HOST, 5010), None)


def test_a_leg_that_parts_hears_its_peer_and_the_others_theirs(
    book: PortBook, peers: list[socket.socket]
) -> None:
    """And on its port nobody else can bind a socket, before or after."""
    for leg, peer in enumerate(peers[:3], 1):
        address = book.reserve(leg, 0, peer.getsockname())
        assert address is not None
    place = book.place(1)
    assert place is not None
    own = {leg: book.part(leg) for leg in (1, 2)}
    for number, peer in enumerate(peers):
        peer.sendto(b"%d" % number, address)
    assert waiting(own[1][0]) == {b"0"}
    assert waiting(own[2][0]) == {b"1"}
    assert waiting(place.rtp) == {b"2", b"3"}  # who has no leg goes to where it is thrown away
    assert book.place(1) is None
    assert book.descriptors(1) == own[1]
    for reuse in (0, 1):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as intruder:
            intruder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, reuse)
            with pytest.raises(OSError, match="in use"):
                intruder.bind(address)
    assert not book.connect(3, peers[0].getsockname(), None)  # it is still the first leg's


def test_a_port_is_given_back_when_the_last_has_gone(book: PortBook) -> None:
    for leg, port in ((1, 5000), (2, 5002)):
        address = book.reserve(leg, 0, (HOST, port))
    assert address is not None
    book.part(1)
    book.release(2)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        with pytest.raises(OSError, match="in use"):
            other.bind(address)
        book.release(1)
        other.bind(address)
    assert book.counts() == {"ports": 0, "legs": 0, "parted": 0}


def test_a_leg_that_can_not_have_sockets_of_its_own_is_an_error(
    book: PortBook, monkeypatch: pytest.MonkeyPatch
) -> None:
    book.reserve(1, 0, (HOST, 5000))

    def refuse(*_: object) -> None:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(socket, "socket", refuse)
    with pytest.raises(CapacityError, match="Too many open files"):
        book.part(1)
