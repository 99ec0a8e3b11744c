"""Messages and descriptors between two ends of a socket."""

from __future__ import annotations

import os
import socket

from rtpmix.server.channel import Channel


def pair() -> tuple[Channel, Channel]:
    one, other = socket.socketpair()
    return Channel(one), Channel(other)


def test_messages_come_in_order_and_whole_however_large() -> None:
    here, there = pair()
    large = os.urandom(3_000_000)
    here.send("first")
    here.send(large)
    here.send("last")
    assert here.waiting > 0  # more than the kernel takes
    got: list[object] = []
    while len(got) < 3:
        here.flush()
        got += [message for message, _ in there.receive()]
    assert got == ["first", large, "last"]
    assert here.waiting == 0
    assert here.flush()


def test_descriptors_arrive_with_their_message_even_behind_a_backlog() -> None:
    here, there = pair()
    files = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(4)]
    for one in files:
        one.bind(("127.0.0.1", 0))
    names = [one.getsockname() for one in files]
    here.send(os.urandom(1_000_000))
    here.send("a", (files[0].fileno(), files[1].fileno()))
    here.send("nothing")
    here.send("b", (files[2].fileno(), files[3].fileno()))
    for one in files:
        one.close()  # the channel has duplicates until they are sent
    got: list[tuple[object, tuple[int, ...]]] = []
    while len(got) < 4:
        here.flush()
        got += there.receive()
    found = {}
    for message, descriptors in got[1:]:
        sockets = [socket.socket(fileno=one) for one in descriptors]
        found[message] = [one.getsockname() for one in sockets]
        for one in sockets:
            one.close()
    assert found == {"a": names[:2], "nothing": [], "b": names[2:]}


def test_each_message_is_read_once() -> None:
    here, there = pair()
    here.send("one")
    here.send("two")
    assert next(iter(there.receive()))[0] == "one"  # whatever the reader leaves, it has had
    assert there.receive() == []


def test_the_end_of_the_other_side_is_noticed_and_what_came_before_is_read() -> None:
    here, there = pair()
    here.send("goodbye")
    here.close()
    assert [message for message, _ in there.receive()] == ["goodbye"]
    assert there.closed
    there.send("too late")
    assert there.waiting == 0
