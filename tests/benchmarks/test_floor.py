"""The floor that is loaded as a server is carries what it says: a packet a leg and ptime."""

from __future__ import annotations

import socket

import pytest

from benchmarks.floor_calls import Caller
from benchmarks.floor_server import PHASES, Floor
from benchmarks.uac import CallState


def bound() -> socket.socket:
    one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    one.bind(("127.0.0.1", 0))
    one.setblocking(False)
    return one


def all_of(one: socket.socket) -> list[bytes]:
    found = []
    while True:
        try:
            found.append(one.recv(2048))
        except BlockingIOError:
            return found


def frames(floor: Floor, first: int, count: int) -> None:
    for floor.frame in range(first, first + count):
        for phase in range(PHASES):
            floor.beat(phase)


def test_each_leg_is_sent_a_packet_a_ptime_until_it_is_over() -> None:
    floor = Floor(legs_per_port=2)
    caller = Caller(floor.asked.getsockname())
    phones = [bound() for _ in range(70)]  # more than the first array of packets has room for
    for phone in phones:
        caller.invite(caller.add("conf-1", phone.getsockname()[1]))
    floor.ask()
    assert [change.state for change in caller.receive()] == [CallState.UP] * 70
    assert len({call.remote_rtp for call in caller.calls}) == 35
    frames(floor, 5, 3)
    for phone in phones:
        packets = all_of(phone)
        assert [packet[:4] for packet in packets] == [bytes([0x80, 0, 0, n]) for n in (5, 6, 7)]
        assert {len(packet) for packet in packets} == {172}
    caller.bye(caller.calls[0])
    floor.ask()
    frames(floor, 8, 2)
    assert [len(all_of(phone)) for phone in phones] == [0] + [2] * 69


def test_a_leg_that_is_asked_for_again_stays_the_same() -> None:
    floor = Floor(legs_per_port=2)
    caller = Caller(floor.asked.getsockname())
    phone = bound()
    call = caller.add("conf-1", phone.getsockname()[1])
    caller.invite(call)
    call.resend_at = 0.0
    caller.resend()
    floor.ask()
    assert len(caller.receive()) == 1
    frames(floor, 0, 1)
    assert len(all_of(phone)) == 1
    assert caller.retransmissions == 1


def test_what_comes_is_read() -> None:
    floor = Floor(legs_per_port=2)
    caller = Caller(floor.asked.getsockname())
    phone = bound()
    caller.invite(caller.add("conf-1", phone.getsockname()[1]))
    floor.ask()
    caller.receive()
    remote = caller.calls[0].remote_rtp
    assert remote is not None
    for _ in range(9):
        phone.sendto(bytes(172), remote)
    floor.beat(1)
    (port,) = floor._ports
    with pytest.raises(BlockingIOError):
        port.recv(2048)
