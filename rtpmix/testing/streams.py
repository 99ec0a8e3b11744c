"""Connections of a `VirtualNet`, like TCP: whole, in order, in segments, delayed by the link."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, cast

from .net import Address, VirtualNet

SEGMENT = 1460  # octets: what one delivery carries at most
_RETRANSMIT_S = 0.2  # what the loss of a segment costs
_CONNECT_S = 127.0  # Linux gives up after six SYNs

ProtocolFactory = Callable[[], asyncio.BaseProtocol]


class VirtualStream(asyncio.Transport):
    """One end of a connection, for the protocol that talks over it."""

    def __init__(self, net: VirtualNet, local: Address, remote: Address) -> None:
        super().__init__({"sockname": local, "peername": remote})
        self._net = net
        self._loop = net.loop
        self._path = (local, remote)
        self._protocol: asyncio.Protocol | None = None
        self._peer: VirtualStream | None = None
        self._inbox: deque[Callable[[], None]] = deque()  # here, not read yet
        self._last_arrival = 0.0  # of what we sent
        self._reading = True
        self._closing = False
        self._eof_sent = False
        self._lost = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send octets; after `close` they go nowhere, as on a real transport."""
        if self._closing or self._eof_sent:
            return
        octets = bytes(data)
        for start in range(0, len(octets), SEGMENT):
            self._send(VirtualStream._hear, octets[start : start + SEGMENT])

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        """Send several pieces as one."""
        self.write(b"".join(list_of_data))

    def write_eof(self) -> None:
        """Say that nothing more will be sent."""
        if not self._eof_sent and not self._closing:
            self._eof_sent = True
            self._send(VirtualStream._hear_eof)

    def can_write_eof(self) -> bool:
        """A stream can be closed in one direction."""
        return True

    def close(self) -> None:
        """End both directions; what was written still arrives."""
        if not self._closing:
            self.write_eof()
            self._closing = True
            self._loop.call_soon(self._lose, None)

    def abort(self) -> None:
        """Reset the connection."""
        if not self._lost:
            self._closing = True
            self._send(VirtualStream._lose, ConnectionResetError("reset by the peer"))
            self._loop.call_soon(self._lose, None)

    def is_closing(self) -> bool:
        """True once either side has ended it."""
        return self._closing

    def is_reading(self) -> bool:
        """False between `pause_reading` and `resume_reading`."""
        return self._reading and not self._closing

    def pause_reading(self) -> None:
        """Keep what arrives until `resume_reading`."""
        self._reading = False

    def resume_reading(self) -> None:
        """Hand on what arrived meanwhile."""
        self._reading = True
        self._loop.call_soon(self._drain)

    def get_write_buffer_size(self) -> int:
        """Return 0: the wire takes everything at once."""
        return 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Do nothing: the wire takes everything at once."""

    def get_protocol(self) -> asyncio.BaseProtocol:
        """Return the protocol of this end."""
        if self._protocol is None:
            raise RuntimeError("this end of the connection is not made yet")
        return self._protocol

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Change the protocol of this end."""
        self._protocol = cast(asyncio.Protocol, protocol)

    def start(self, protocol: asyncio.BaseProtocol) -> None:
        """Tell the protocol of its connection, then what has arrived already."""
        self.set_protocol(protocol)
        protocol.connection_made(self)
        self._loop.call_soon(self._drain)

    def _send(self, deliver: Callable[..., None], *arguments: Any) -> None:
        travel = travel_time(self._net, *self._path)
        peer = self._peer
        if peer is None or self._lost or math.isinf(travel):
            return
        self._last_arrival = max(round(self._loop.time() + travel, 9), self._last_arrival)
        self._loop.call_at(self._last_arrival, peer._arrive, lambda: deliver(peer, *arguments))

    def _arrive(self, event: Callable[[], None]) -> None:
        self._inbox.append(event)
        self._drain()

    def _drain(self) -> None:
        while self._inbox and self._reading and self._protocol is not None:
            self._inbox.popleft()()

    def _hear(self, segment: bytes) -> None:
        if self._protocol is not None and not self._closing:
            self._protocol.data_received(segment)

    def _hear_eof(self) -> None:
        if self._protocol is not None and not self._closing and not self._protocol.eof_received():
            self.close()

    def _lose(self, reason: Exception | None) -> None:
        if not self._lost and self._protocol is not None:
            self._lost = self._closing = True
            self._protocol.connection_lost(reason)


def connected_pair(
    net: VirtualNet, client: Address, server: Address
) -> tuple[VirtualStream, VirtualStream]:
    """Return the two ends of a new connection; each begins to read when it is started."""
    near, far = VirtualStream(net, client, server), VirtualStream(net, server, client)
    near._peer, far._peer = far, near
    return near, far


def travel_time(net: VirtualNet, source: Address, destination: Address) -> float:
    """Seconds that one segment takes, its retransmissions included; infinite on a dead link."""
    link, rng = net.link_of(source, destination)
    if link.loss >= 1.0:
        return math.inf
    seconds = (link.delay_ms + rng.random() * link.jitter_ms) / 1000
    while rng.random() < link.loss:
        seconds += _RETRANSMIT_S
    return seconds


async def connect(
    net: VirtualNet, factory: ProtocolFactory, remote: Address, local: Address | None
) -> tuple[VirtualStream, asyncio.BaseProtocol]:
    """Open a connection: one way there, one way back.

    Raises
    ------
    ConnectionRefusedError, TimeoutError
        Nobody listens; the link is dead.
    """
    remote = net.check(remote)
    near = net.check(local) if local is not None else (net.host, 0)
    if not near[1]:
        near = net.free_address(near[0])
    there, back = travel_time(net, near, remote), travel_time(net, remote, near)
    if math.isinf(there + back):
        await asyncio.sleep(_CONNECT_S)
        raise TimeoutError(f"no answer from {remote[0]}:{remote[1]} in the virtual net")
    await asyncio.sleep(there)
    accept = net.listeners.get(remote) or net.listeners.get(("0.0.0.0", remote[1]))
    if accept is None:
        await asyncio.sleep(back)
        raise ConnectionRefusedError(
            f"nobody listens at {remote[0]}:{remote[1]} in the virtual net"
        )
    client_end, server_end = connected_pair(net, near, remote)
    server_end.start(accept())
    await asyncio.sleep(back)
    protocol = factory()
    client_end.start(protocol)
    return client_end, protocol


class _Listening:
    """What `asyncio.Server.sockets` gives: enough to ask for the address."""

    def __init__(self, address: Address) -> None:
        self._address = address

    def getsockname(self) -> Address:
        return self._address


class VirtualServer(asyncio.AbstractServer):
    """A listening address; closing it leaves its connections open, as in asyncio."""

    def __init__(self, net: VirtualNet, address: Address) -> None:
        self._net = net
        self._address = address
        self._serving = True

    @property
    def sockets(self) -> tuple[_Listening, ...]:
        """One object with ``getsockname()`` while serving."""
        return (_Listening(self._address),) if self._serving else ()

    def close(self) -> None:
        """Accept no more connections."""
        if self._serving:
            self._serving = False
            del self._net.listeners[self._address]

    async def wait_closed(self) -> None:
        """Return at once."""

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """Return the loop of the net."""
        return self._net.loop

    def is_serving(self) -> bool:
        """True until `close`."""
        return self._serving

    async def start_serving(self) -> None:
        """Do nothing: it serves from the beginning."""

    async def serve_forever(self) -> None:
        """Wait until cancelled, then close."""
        try:
            await self._net.loop.create_future()
        finally:
            self.close()


def listen(net: VirtualNet, factory: ProtocolFactory, address: Address) -> VirtualServer:
    """Accept connections; port 0 takes a free one. OSError when the address is taken."""
    checked = net.check(address)
    if not checked[1]:
        checked = net.free_address(checked[0])
    if checked in net.listeners:
        raise OSError(98, f"{checked[0]}:{checked[1]} is taken in the virtual net")
    net.listeners[checked] = factory
    return VirtualServer(net, checked)
