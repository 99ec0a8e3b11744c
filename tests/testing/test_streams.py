"""Connections in memory: what asyncio's own do, at virtual times."""

import asyncio

import pytest

from rtpmix.errors import UsageError
from rtpmix.testing.loop import run
from rtpmix.testing.net import VirtualNet

SERVER = ("192.0.2.1", 5060)


class Ear(asyncio.Protocol):
    """Keeps everything that happens to it, with the loop's time."""

    def __init__(self) -> None:
        self.events: list[tuple[float, object]] = []
        self.transport: asyncio.Transport | None = None
        self.keep_open = False

    def note(self, what: object) -> None:
        self.events.append((asyncio.get_running_loop().time(), what))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.note("made")

    def data_received(self, data: bytes) -> None:
        self.note(data)

    def eof_received(self) -> bool:
        self.note("eof")
        return self.keep_open

    def connection_lost(self, exc: Exception | None) -> None:
        self.note(exc if exc is None else type(exc))

    @property
    def data(self) -> bytes:
        return b"".join(what for _, what in self.events if isinstance(what, bytes))


async def pair() -> tuple[Ear, Ear]:
    """Return a connected client and server."""
    loop = asyncio.get_running_loop()
    accepted: list[Ear] = []

    def accept() -> Ear:
        accepted.append(Ear())
        return accepted[-1]

    await loop.create_server(accept, *SERVER)
    _, client = await loop.create_connection(Ear, *SERVER)
    return client, accepted[0]


def test_a_connection_takes_a_round_trip_and_data_half_of_one() -> None:
    async def main() -> tuple[Ear, Ear]:
        client, server = await pair()
        assert client.transport is not None
        client.transport.write(b"INVITE")
        await asyncio.sleep(1)
        assert client.transport.get_extra_info("peername") == SERVER
        assert client.transport.get_extra_info("sockname") == ("127.0.0.1", 49152)
        return client, server

    client, server = run(main(), VirtualNet(delay_ms=50))
    assert client.events == [(0.1, "made")]
    assert server.events == [(0.05, "made"), (0.15, b"INVITE")]


def test_long_data_comes_whole_and_in_order_through_jitter_and_loss() -> None:
    """TCP retransmits: loss costs time, never octets. Segments are at most 1,460 octets."""
    message = bytes(range(256)) * 100

    async def main() -> Ear:
        client, server = await pair()
        assert client.transport is not None
        for start in range(0, len(message), 5000):
            client.transport.writelines([message[start : start + 5000]])
            await asyncio.sleep(0.01)
        await asyncio.sleep(60)
        return server

    server = run(main(), VirtualNet(1, delay_ms=5, jitter_ms=20, loss=0.2))
    assert server.data == message
    pieces = [what for _, what in server.events if isinstance(what, bytes)]
    assert max(map(len, pieces)) <= 1460


def test_close_delivers_what_was_written_and_both_ends_are_told() -> None:
    async def main() -> tuple[Ear, Ear]:
        client, server = await pair()
        assert client.transport is not None
        client.transport.write(b"bye")
        client.transport.close()
        client.transport.write(b"too late")
        assert client.transport.is_closing()
        await asyncio.sleep(1)
        return client, server

    client, server = run(main(), VirtualNet(delay_ms=10))
    assert server.events[1:] == [(0.03, b"bye"), (0.03, "eof"), (0.03, None)]
    assert client.events[1:] == [(0.02, None)]


def test_a_half_closed_connection_still_carries_the_other_direction() -> None:
    async def main() -> Ear:
        client, server = await pair()
        assert client.transport is not None
        assert server.transport is not None
        server.keep_open = True
        client.transport.write_eof()
        await asyncio.sleep(1)
        server.transport.write(b"answer")
        await asyncio.sleep(1)
        client.transport.close()
        server.transport.close()
        return client

    assert run(main(), VirtualNet()).data == b"answer"


def test_abort_resets_the_other_end() -> None:
    async def main() -> tuple[Ear, Ear]:
        client, server = await pair()
        assert client.transport is not None
        client.transport.abort()
        await asyncio.sleep(1)
        return client, server

    client, server = run(main(), VirtualNet(delay_ms=10))
    assert client.events[-1] == (0.02, None)
    assert server.events[-1] == (0.03, ConnectionResetError)


def test_a_paused_reader_gets_everything_when_it_resumes() -> None:
    async def main() -> Ear:
        client, server = await pair()
        assert client.transport is not None
        assert server.transport is not None
        server.transport.pause_reading()
        client.transport.write(b"one")
        client.transport.write(b"two")
        await asyncio.sleep(1)
        assert server.data == b""
        assert not server.transport.is_reading()
        server.transport.resume_reading()
        await asyncio.sleep(1)
        return server

    assert run(main(), VirtualNet()).data == b"onetwo"


def test_nobody_listening_refuses_and_a_dead_link_times_out() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        with pytest.raises(ConnectionRefusedError):
            await loop.create_connection(Ear, *SERVER)
        net.change_link(loss=1.0)
        before = loop.time()
        with pytest.raises(TimeoutError):
            await loop.create_connection(Ear, *SERVER)
        assert loop.time() - before == 127.0

    net = VirtualNet()
    run(main(), net)


def test_data_on_a_dead_link_never_arrives() -> None:
    async def main() -> Ear:
        client, server = await pair()
        assert client.transport is not None
        net.change_link(loss=1.0)
        client.transport.write(b"lost")
        await asyncio.sleep(100)
        return server

    net = VirtualNet()
    assert run(main(), net).data == b""


def test_a_closed_server_gives_its_address_back_and_keeps_its_connections() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(Ear, "192.0.2.1", 0)
        address = server.sockets[0].getsockname()
        assert server.is_serving()
        with pytest.raises(OSError, match="taken"):
            await loop.create_server(Ear, *address)
        transport, _ = await loop.create_connection(Ear, *address)
        server.close()
        await server.wait_closed()
        assert not server.is_serving()
        assert server.sockets == ()
        with pytest.raises(ConnectionRefusedError):
            await loop.create_connection(Ear, *address)
        assert not transport.is_closing()
        with pytest.raises(UsageError):
            await loop.create_server(Ear, ["192.0.2.1", "192.0.2.2"], 0)

    run(main(), VirtualNet())


def test_asyncio_streams_work_on_top() -> None:
    """The reader and writer of asyncio need nothing else of a transport."""

    async def main() -> bytes:
        async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(await reader.readline())
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(echo, *SERVER)
        reader, writer = await asyncio.open_connection(*SERVER)
        writer.write(b"hello\n")
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
        server.close()
        return answer

    assert run(main(), VirtualNet(delay_ms=1)) == b"hello\n"
