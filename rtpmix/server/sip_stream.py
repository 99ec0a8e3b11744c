"""SIP over connections: listeners, limits, and reuse of what is open (RFC 3261 section 18).

Theory of operation
-------------------
Every connection, whoever opened it, is one `Connection` with layers for TLS and WebSocket. Asyncio
sees TCP alone, so that limits and time-outs begin with the first octet and not after a handshake.
One timer looks at all connections every `SWEEP_S`: who has taken too long is dropped, who has been
silent gets a keep-alive.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple, Protocol

from ..errors import UsageError
from ..sip.flow import Address, Flow
from ..transports import Listen, StreamLimits
from .connection import MAX_UNSENT, Connection, Patience
from .layers import Layer, LayerError
from .tls import TlsContexts, TlsLayer
from .websocket import WebSocketLayer

logger = logging.getLogger(__name__)

SWEEP_S = 1.0

Peer = tuple[str, Address, str]  # transport, address, the name that its certificate must prove


class Progress(NamedTuple):
    """How far the messages of one connection are."""

    whole: int  # messages and keep-alives so far
    buffered: int  # octets of the one that is not whole


class StreamUser(Protocol):
    """What the streams tell: the pump."""

    def stream_received(self, data: bytes, flow: Flow) -> Progress: ...

    def message_received(self, data: bytes, flow: Flow) -> None: ...

    def stream_closed(self, flow: Flow) -> None: ...

    def stream_failed(self, flow: Flow) -> None: ...


class StreamTransports:
    """All connections of one shell, incoming and outgoing.

    Parameters
    ----------
    tls
        Asked for a context for each connection: they may have been reloaded.
    origins
        Web pages whose scripts may connect by WebSocket; see `WebSocketLayer`.

    Attributes
    ----------
    user
        Told what comes; to be set before anything listens or sends.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        limits: StreamLimits | None = None,
        tls: TlsContexts | None = None,
        origins: tuple[str, ...] = (),
    ) -> None:
        self._loop = loop
        self._limits = limits or StreamLimits()
        self._tls = tls
        self._origins = origins
        self.user: StreamUser
        self.local: list[Listen] = []
        self.counters: Counter[str] = Counter()
        self._servers: list[asyncio.AbstractServer] = []
        self._connections: dict[int, Connection] = {}
        self._opening: dict[int, Connection] = {}  # nothing whole has come; oldest first
        self._by_peer: dict[Peer, int] = {}
        self._by_source: Counter[str] = Counter()
        self._unsent: dict[Peer, list[bytes]] = {}  # for peers that are being connected to
        self._tasks: set[asyncio.Task[None]] = set()
        self._sweeper: asyncio.TimerHandle | None = None
        self._serial = 0
        self._closed = False

    # ------------------------------------------------------------------ listening

    async def listen(self, listen: Listen) -> None:
        """Accept connections on one address."""
        make_layers = self._incoming_layers(listen.transport)
        server = await self._loop.create_server(
            lambda: Connection(self, listen.transport, make_layers()), listen.host, listen.port
        )
        self._servers.append(server)
        bound = server.sockets[0].getsockname()[:2]
        self.local.append(Listen(listen.transport, *bound))

    def _incoming_layers(self, transport: str) -> Callable[[], list[Layer]]:
        tls = self._tls
        if transport in ("TLS", "WSS") and tls is None:
            raise UsageError(f"{transport.lower()}: needs a certificate: set Config.tls")

        def layers() -> list[Layer]:
            made: list[Layer] = []
            if tls is not None and transport == "TLS":
                made.append(TlsLayer(tls.server))
            elif tls is not None and transport == "WSS":
                made.append(TlsLayer(tls.browsers))
            if transport in ("WS", "WSS"):
                made.append(WebSocketLayer(self._origins))
            return made

        return layers

    # ------------------------------------------------------------------ connections call these

    def opened(self, connection: Connection) -> bool:
        """Number a new connection; False where it is refused, since there are too many."""
        transport = connection.transport
        assert transport is not None
        peer = transport.get_extra_info("peername")
        source = source_of(peer[0]) if peer else ""
        if self._closed or not peer or not self._has_room(connection, source):
            self.counters["refused"] += 1
            connection.abort()
            return False
        self._serial += 1
        limits = self._limits
        wait = limits.connect_s if connection.is_ours else limits.handshake_s
        connection.adopt(
            self._serial,
            Patience(limits, self._loop.time(), wait),
            self._listener_port(connection.flow.transport, ":" in peer[0]),
        )
        self._connections[self._serial] = connection
        if not connection.is_ours:
            self._by_source[source] += 1
            self._opening[self._serial] = connection
        self._schedule_sweep()
        return True

    def established(self, connection: Connection) -> None:
        """The handshakes are done; what waited for the connection goes out."""
        assert connection.patience is not None
        now, peer = self._loop.time(), self._peer(connection.flow)
        connection.patience.established(now)
        self._by_peer[peer] = connection.flow.connection
        if connection.is_ours:
            connection.patience.heard(now, whole=True, begun=False)  # it is for us to speak
            for data in self._unsent.pop(peer, ()):
                connection.send(data)

    def received(self, connection: Connection, data: bytes) -> None:
        """Octets of SIP came, or with WebSocket one whole message."""
        patience = connection.patience
        assert patience is not None
        if connection.by_frames:
            patience.heard(self._loop.time(), whole=True, begun=False)
            self._opening.pop(connection.flow.connection, None)
            self.user.message_received(data, connection.flow)
            return
        before = connection.whole
        progress = self.user.stream_received(data, connection.flow)
        connection.whole = progress.whole
        whole = progress.whole > before or not data.strip(b"\r\n")  # a pong is one CRLF
        patience.heard(self._loop.time(), whole=whole, begun=progress.buffered > 0)
        if not patience.opening:
            self._opening.pop(connection.flow.connection, None)

    def broken(self, connection: Connection, error: LayerError) -> None:
        """A layer does not understand the peer."""
        self.counters["layer_errors"] += 1
        logger.debug("connection given up: %s", error)

    def lost(self, connection: Connection) -> None:
        """Forget a connection and tell the user agent."""
        flow = connection.flow
        if self._connections.pop(flow.connection, None) is None:
            return
        self._opening.pop(flow.connection, None)
        for peer in (self._peer(flow), *connection.aliases):
            if self._by_peer.get(peer) == flow.connection:
                del self._by_peer[peer]
        if not connection.is_ours:
            source = source_of(flow.remote[0])
            self._by_source[source] -= 1
            if self._by_source[source] <= 0:
                del self._by_source[source]
        if connection.is_ours and not connection.established:
            self._gave_up(flow)
        else:
            self.user.stream_closed(flow)

    # ------------------------------------------------------------------ sending

    def send(self, flow: Flow, data: bytes) -> None:
        """Send over the flow's connection, over another one to the same peer, or over a new one."""
        peer = self._peer(flow)
        number = flow.connection or self._by_peer.get(peer, 0)
        connection = self._connections.get(number) or self._connections.get(
            self._by_peer.get(peer, 0)
        )
        if connection is not None and connection.established and not connection.closing:
            connection.send(data)
            return
        waiting = self._unsent.get(peer)
        if waiting is not None:
            if sum(map(len, waiting)) < MAX_UNSENT:
                waiting.append(data)
            return
        self._unsent[peer] = [data]
        task = self._loop.create_task(self._open(flow._replace(connection=0)))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def close_flow(self, flow: Flow) -> None:
        """Close one connection, after what was sent."""
        connection = self._connections.get(flow.connection)
        if connection is not None:
            connection.close()

    def alias(self, flow: Flow, address: Address) -> bool:
        """Use a connection that a peer opened for requests to ``address`` as well.

        Only for the names that its certificate proves: without, anybody could have our requests
        to others sent to himself.

        References
        ----------
        RFC 5923 sections 8.2 and 9.1
        """
        connection = self._connections.get(flow.connection)
        if connection is None or connection.is_ours or address[0] != flow.remote[0]:
            return False
        peers = [(flow.transport, address, name) for name in connection.peer_names]
        for peer in peers:
            if self._by_peer.get(peer) not in self._connections:
                self._by_peer[peer] = flow.connection
                connection.aliases.add(peer)
        return bool(peers)

    def peer_names(self, flow: Flow) -> tuple[str, ...]:
        """The domains that the certificate of a flow's peer proves; none without one."""
        connection = self._connections.get(flow.connection)
        return connection.peer_names if connection is not None else ()

    def peer_identities(self, flow: Flow) -> tuple[str, ...]:
        """The SIP URIs, or else the host names, that the certificate of a flow's peer proves."""
        connection = self._connections.get(flow.connection)
        return connection.peer_identities if connection is not None else ()

    async def _open(self, flow: Flow) -> None:
        layers: list[Layer] = []
        try:
            if flow.transport in ("WS", "WSS"):
                raise ConnectionError("a browser can't be connected to")
            if flow.transport == "TLS":
                if self._tls is None:
                    raise ConnectionError("there is no Config.tls")
                layers.append(TlsLayer(self._tls.client, flow.name or flow.remote[0]))
            async with asyncio.timeout(self._limits.connect_s):
                await self._loop.create_connection(
                    lambda: Connection(self, flow.transport, layers, flow), *flow.remote
                )
        except (OSError, TimeoutError, ValueError) as exc:
            logger.debug("no %s connection: %r", flow.transport, exc)
            self._gave_up(flow)

    def _gave_up(self, flow: Flow) -> None:
        self._unsent.pop(self._peer(flow), None)
        self.counters["failed"] += 1
        self.user.stream_failed(flow._replace(connection=0))

    # ------------------------------------------------------------------ limits

    def _has_room(self, connection: Connection, source: str) -> bool:
        if len(self._connections) >= self._limits.connections:
            return False
        if connection.is_ours:
            return True
        if self._by_source[source] >= self._limits.per_source:
            return False
        if len(self._opening) >= self._limits.opening:
            # An honest peer says something within a round trip; the oldest has had its chance.
            self._drop(next(iter(self._opening.values())), "opening_dropped")
        return True

    def _schedule_sweep(self) -> None:
        if self._sweeper is None and self._connections and not self._closed:
            self._sweeper = self._loop.call_later(SWEEP_S, self._sweep)

    def _sweep(self) -> None:
        self._sweeper = None
        now = self._loop.time()
        pause = self._limits.keep_alive_s
        for connection in tuple(self._connections.values()):
            patience = connection.patience
            if patience is None or connection.closing:
                continue
            if now >= patience.deadline:
                self._drop(connection, "too_slow" if patience.is_waiting else "idle")
            elif pause and now - max(patience.heard_at, connection.pinged_at) >= pause:
                connection.pinged_at = now
                connection.ping()
        self._schedule_sweep()

    def _drop(self, connection: Connection, counter: str) -> None:
        self.counters[counter] += 1
        self._opening.pop(connection.flow.connection, None)
        connection.abort()

    # ------------------------------------------------------------------ names

    @staticmethod
    def _peer(flow: Flow) -> Peer:
        # Only TLS proves names, so only there they tell connections apart (RFC 5923 section 9.2).
        return flow.transport, flow.remote, flow.name if flow.transport == "TLS" else ""

    def _listener_port(self, transport: str, is_ipv6: bool) -> int | None:
        for listen in self.local:
            if listen.transport == transport and (":" in listen.host) == is_ipv6:
                return listen.port
        return None

    def snapshot(self) -> dict[str, int]:
        """Count connections, and what was not borne."""
        return {
            "connections": len(self._connections),
            "opening": len(self._opening),
            "sources": len(self._by_source),
            **self.counters,
        }

    async def close(self) -> None:
        """Close listeners and connections."""
        self._closed = True
        if self._sweeper is not None:
            self._sweeper.cancel()
        for server in self._servers:
            server.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for connection in tuple(self._connections.values()):
            connection.close()


def source_of(host: str) -> str:
    """Return what connections are counted by: an IPv4 address, or the /64 network of an IPv6 one.

    One subscriber has all addresses of a /64.
    """
    if ":" not in host:
        return host
    address = ipaddress.IPv6Address(host.partition("%")[0])
    mapped = address.ipv4_mapped
    return str(mapped) if mapped is not None else str(int(address) >> 64)
