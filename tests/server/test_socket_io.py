"""Real sockets on loopback: who is heard, what is sent, what is given back."""

import errno
import socket
from collections.abc import Iterator

import pytest

from rtpmix.errors import CapacityError
from rtpmix.mixer.boxes import Inbox, Outbox
from rtpmix.server import socket_io
from rtpmix.server.socket_io import SocketIO

PORTS = range(13400, 13412)


@pytest.fixture
def io() -> Iterator[SocketIO]:
    one = SocketIO("127.0.0.1", PORTS)
    yield one
    one.close()


@pytest.fixture
def peer() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.bind(("127.0.0.1", 0))
        one.settimeout(2)
        yield one


def received(io: SocketIO) -> list[tuple[int, bytes]]:
    inbox = Inbox(16)
    count = io.receive(inbox)
    return [(inbox.codes[i], bytes(inbox.data[i, : inbox.sizes[i]])) for i in range(count)]


def outbox(row: int, packet: bytes, version: int = 1) -> Outbox:
    return Outbox(0, version, [row], [memoryview(packet)])


def test_only_the_connected_source_is_heard(io: SocketIO, peer: socket.socket) -> None:
    address = io.reserve(1)
    io.attach(1, 4)
    io.connect(1, peer.getsockname(), None, False)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.sendto(b"stranger", address)
    peer.sendto(b"peer", address)
    assert received(io) == [(8, b"peer")]


def test_what_came_before_the_peer_was_known_is_thrown_away(
    io: SocketIO, peer: socket.socket
) -> None:
    address = io.reserve(1)
    peer.sendto(b"early", address)
    io.attach(1, 0)
    assert received(io) == []
    io.connect(1, peer.getsockname(), None, False)
    assert received(io) == []
    peer.sendto(b"now", address)
    assert received(io) == [(0, b"now")]


def test_one_datagram_a_socket_and_read(io: SocketIO, peer: socket.socket) -> None:
    address = io.reserve(1)
    io.attach(1, 0)
    io.connect(1, peer.getsockname(), None, False)
    for number in range(3):
        peer.sendto(bytes([number]), address)
    assert [received(io) for _ in range(4)] == [[(0, b"\0")], [(0, b"\1")], [(0, b"\2")], []]


def test_rtcp_has_its_own_port_unless_it_is_multiplexed(io: SocketIO, peer: socket.socket) -> None:
    host, port = io.reserve(1)
    io.attach(1, 3)
    here = peer.getsockname()
    io.connect(1, here, here, False)
    peer.sendto(b"report", (host, port + 1))
    assert received(io) == [(7, b"report")]
    report = Outbox(extra=[(3, b"ours", True)])
    assert io.send(report) == []
    assert peer.recvfrom(100) == (b"ours", (host, port + 1))
    io.connect(1, here, None, True)
    assert io.send(report) == []
    assert peer.recvfrom(100) == (b"ours", (host, port))


def test_packets_go_to_the_peer_and_to_the_new_one_after_a_move(
    io: SocketIO, peer: socket.socket
) -> None:
    address = io.reserve(1)
    io.attach(1, 0)
    box = outbox(0, b"packet")
    assert io.send(box) == []
    io.connect(1, peer.getsockname(), None, False)
    assert io.send(box) == []
    assert peer.recvfrom(100) == (b"packet", address)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        other.settimeout(2)
        io.connect(1, other.getsockname(), None, False)
        assert io.send(box) == []
        assert other.recvfrom(100) == (b"packet", address)
    io.connect(1, None, None, False)
    assert io.send(box) == []
    peer.settimeout(0.05)
    with pytest.raises(TimeoutError):
        peer.recvfrom(100)


def test_send_that_fails_is_told_and_not_raised(io: SocketIO) -> None:
    """Nobody listens there: the kernel reports the ICMP error on a later call."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as gone:
        gone.bind(("127.0.0.1", 0))
        address = gone.getsockname()
    io.reserve(1)
    io.attach(1, 5)
    io.connect(1, address, None, False)
    failures = [io.send(outbox(5, b"packet")) for _ in range(4)]
    assert [5] in failures


def test_ports_come_back_and_run_out(io: SocketIO) -> None:
    ports = [io.reserve(leg)[1] for leg in range(6)]
    assert ports == list(PORTS)[::2]
    with pytest.raises(CapacityError, match="6 RTP port pairs") as caught:
        io.reserve(6)
    assert caught.value.limit == 6
    io.release(2)
    io.release(2)
    assert io.reserve(7)[1] == ports[2]


def test_port_of_somebody_else_is_passed_over(io: SocketIO) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", PORTS[1]))  # the RTCP port of the first pair
        assert io.reserve(1)[1] == PORTS[2]


def test_leg_beyond_the_open_files_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket_io, "raise_open_files", lambda: socket_io.SPARE_FILES + 2)
    io = SocketIO("127.0.0.1", PORTS)
    io.reserve(1)
    with pytest.raises(CapacityError, match="RLIMIT_NOFILE"):
        io.reserve(2)
    io.close()


def test_address_that_is_not_ours_is_a_capacity_error() -> None:
    io = SocketIO("192.0.2.1", PORTS)
    with pytest.raises(CapacityError, match=r"192\.0\.2\.1") as caught:
        io.reserve(1)
    assert isinstance(caught.value.__cause__, OSError)
    assert caught.value.__cause__.errno == errno.EADDRNOTAVAIL
    io.close()


def test_unknown_leg_is_no_error(io: SocketIO) -> None:
    io.release(9)
    io.attach(9, 1)
    io.connect(9, ("127.0.0.1", 9), None, False)
    assert io.send(outbox(1, b"packet")) == []
