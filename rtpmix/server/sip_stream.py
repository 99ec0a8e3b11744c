"""SIP over TCP: listeners, connections, and reuse of what is open (RFC 3261 section 18)."""

from __future__ import annotations

import asyncio
import logging
from typing import Protocol, cast

from ..sip.flow import Address, Flow

logger = logging.getLogger(__name__)

MAX_CONNECTIONS = 10_000
MAX_UNSENT = 1 << 20  # bytes queued for one peer that does not read; past it the connection goes
CONNECT_TIMEOUT = 10.0  # seconds


class StreamUser(Protocol):
    """What the streams tell: the pump."""

    def stream_received(self, data: bytes, flow: Flow) -> None: ...

    def stream_closed(self, flow: Flow) -> None: ...

    def stream_failed(self, flow: Flow) -> None: ...


class _Connection(asyncio.Protocol):
    def __init__(self, streams: StreamTransports) -> None:
        self._streams = streams
        self.transport: asyncio.Transport | None = None
        self.flow = Flow("TCP", ("", 0), ("", 0))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self._streams.opened(self)

    def data_received(self, data: bytes) -> None:
        self._streams.user.stream_received(data, self.flow)

    def connection_lost(self, exc: Exception | None) -> None:
        self._streams.lost(self)


class StreamTransports:
    """All TCP connections of one shell, incoming and outgoing."""

    def __init__(self, loop: asyncio.AbstractEventLoop, user: StreamUser) -> None:
        self._loop = loop
        self.user = user
        self.local: list[Address] = []
        self._servers: list[asyncio.AbstractServer] = []
        self._connections: dict[int, _Connection] = {}
        self._by_remote: dict[Address, int] = {}
        self._opening: dict[Address, list[bytes]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._serial = 0
        self.refused = 0

    async def listen(self, host: str, port: int) -> None:
        """Accept connections on one address."""
        server = await self._loop.create_server(lambda: _Connection(self), host, port)
        self._servers.append(server)
        self.local.append(server.sockets[0].getsockname()[:2])

    def opened(self, connection: _Connection) -> None:
        """Number a new connection; refuse it when there are too many."""
        assert connection.transport is not None
        if len(self._connections) >= MAX_CONNECTIONS:
            self.refused += 1
            connection.transport.abort()
            return
        self._serial += 1
        remote = connection.transport.get_extra_info("peername")[:2]
        local = connection.transport.get_extra_info("sockname")[:2]
        # Contact and Via name the listener, not the ephemeral port of a connection we opened.
        port = next((bound[1] for bound in self.local), local[1])
        connection.flow = Flow("TCP", remote, (local[0], port), self._serial)
        self._connections[self._serial] = connection
        self._by_remote[remote] = self._serial

    def lost(self, connection: _Connection) -> None:
        """Forget a connection and tell the user agent."""
        flow = connection.flow
        if self._connections.pop(flow.connection, None) is None:
            return
        if self._by_remote.get(flow.remote) == flow.connection:
            del self._by_remote[flow.remote]
        self.user.stream_closed(flow)

    def send(self, flow: Flow, data: bytes) -> None:
        """Send over the flow's connection, over another one to the same peer, or over a new one."""
        number = flow.connection or self._by_remote.get(flow.remote, 0)
        connection = self._connections.get(number)
        if connection is None and flow.remote in self._by_remote:
            connection = self._connections.get(self._by_remote[flow.remote])
        if connection is not None and connection.transport is not None:
            connection.transport.write(data)
            if connection.transport.get_write_buffer_size() > MAX_UNSENT:
                connection.transport.abort()
            return
        waiting = self._opening.get(flow.remote)
        if waiting is not None:
            if sum(map(len, waiting)) < MAX_UNSENT:
                waiting.append(data)
            return
        self._opening[flow.remote] = [data]
        task = self._loop.create_task(self._open(flow))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _open(self, flow: Flow) -> None:
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                _, connection = await self._loop.create_connection(
                    lambda: _Connection(self), *flow.remote
                )
        except (OSError, TimeoutError) as exc:
            logger.debug("no TCP connection: %r", exc)
            self._opening.pop(flow.remote, None)
            self.user.stream_failed(flow)
            return
        assert connection.transport is not None
        for data in self._opening.pop(flow.remote, ()):
            connection.transport.write(data)

    async def close(self) -> None:
        """Close listeners and connections."""
        for server in self._servers:
            server.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for connection in tuple(self._connections.values()):
            if connection.transport is not None:
                connection.transport.close()
