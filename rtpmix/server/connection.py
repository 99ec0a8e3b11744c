"""One connection that carries SIP: its layers, and how long its peer may take."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from ..sip.flow import Address, Flow
from ..transports import StreamLimits
from .layers import Layer, LayerError
from .tls import TlsLayer

if TYPE_CHECKING:
    from .sip_stream import StreamTransports

MAX_UNSENT = 1 << 20  # octets queued for one peer that does not read; past it the connection goes
CRLF_PING = b"\r\n\r\n"  # RFC 5626 section 4.4.1


class Patience:
    """Until when a peer must have done something, or its connection is closed.

    Attributes
    ----------
    opening
        True until the first whole message or keep-alive.
    heard_at
        When the last whole one came.
    deadline
        When the peer will have taken too long, on the loop's clock.
    """

    __slots__ = ("_limits", "_within", "deadline", "heard_at", "opening")

    def __init__(self, limits: StreamLimits, now: float, handshake_s: float) -> None:
        self._limits = limits
        self._within = False  # a message has begun and is not whole
        self.opening = True
        self.heard_at = now
        self.deadline = now + handshake_s

    @property
    def is_waiting(self) -> bool:
        """True while the peer is in the middle of something, rather than idle."""
        return self.opening or self._within

    def established(self, now: float) -> None:
        """The handshakes are done."""
        self.deadline = now + self._limits.first_message_s

    def heard(self, now: float, *, whole: bool, begun: bool) -> None:
        """Octets came.

        Parameters
        ----------
        whole
            They completed a message, or were a keep-alive.
        begun
            After them a message is incomplete.
        """
        if whole:
            self.opening = False
            self.heard_at = now
        if begun and (whole or not self._within):
            self.deadline = min(
                now + self._limits.message_s, self.deadline if self.opening else math.inf
            )
        elif not begun and not self.opening:
            self.deadline = now + self._limits.idle_s
        self._within = begun


class Connection(asyncio.Protocol):
    """One connection.

    Parameters
    ----------
    layers
        From the wire inwards; none for plain TCP.
    transport_name
        As Via has it: "TCP", "TLS", "WS" or "WSS".
    ours
        The flow for which we opened it; None when the peer did.

    Attributes
    ----------
    whole
        Messages and keep-alives that came.
    aliases
        Under what the connection is known besides its own addresses (RFC 5923).
    """

    def __init__(
        self,
        streams: StreamTransports,
        transport_name: str,
        layers: Sequence[Layer],
        ours: Flow | None = None,
    ) -> None:
        self._streams = streams
        self._ours = ours
        self.layers = tuple(layers)
        self.is_ours = ours is not None
        self.by_frames = transport_name in ("WS", "WSS")  # the layer knows where messages end
        self.flow = Flow(transport_name, ("", 0), ("", 0))
        self.patience: Patience | None = None
        self.whole = 0
        self.aliases: set[tuple[str, Address, str]] = set()
        self.pinged_at = 0.0
        self.established = False
        self.closing = False
        self.transport: asyncio.Transport | None = None
        self._started: list[Layer] = []

    # ------------------------------------------------------------------ asyncio calls these

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin the handshakes."""
        self.transport = cast(asyncio.Transport, transport)
        if self._streams.opened(self):
            self._advance()

    def data_received(self, data: bytes) -> None:
        """Take octets through the layers."""
        if self.closing:
            return
        chunks, ended = [data], False
        for depth, layer in enumerate(self.layers):
            inside: list[bytes] = []
            for chunk in chunks:
                try:
                    received = layer.receive(chunk)
                except LayerError as error:
                    self._fail(error, depth)
                    return
                self._write(received.reply, depth)
                inside += received.inside
                ended = ended or received.closed
            chunks = inside
        self._advance()
        for chunk in chunks:
            self._streams.received(self, chunk)
        if ended:
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        self.closing = True
        self._streams.lost(self)

    # ------------------------------------------------------------------ the streams call these

    def adopt(self, number: int, patience: Patience, port: int | None) -> None:
        """Get a number and a flow; ``port`` is that of the listener, which Via and Contact name."""
        assert self.transport is not None
        remote, name = self.transport.get_extra_info("peername")[:2], ""
        if self._ours is not None:
            remote, name = self._ours.remote, self._ours.name
        local = self.transport.get_extra_info("sockname")[:2]
        # Not the ephemeral port of a connection that we opened: nobody listens there.
        local = (local[0], port or local[1])
        self.flow = Flow(self.flow.transport, remote, local, number, name)
        self.patience = patience

    def send(self, data: bytes) -> None:
        """Send one message; a peer that does not read loses its connection."""
        self._write(data, len(self.layers))

    def ping(self) -> None:
        """Send what keeps the path open: a ping of WebSocket, else a double CRLF."""
        if not self.established:
            return
        for depth, layer in enumerate(self.layers):
            if ping := layer.ping():
                self._write(ping, depth)
                return
        if self.is_ours:
            self.send(CRLF_PING)

    def close(self) -> None:
        """End the layers and the connection; what was sent still arrives."""
        if self.closing or self.transport is None:
            return
        for depth in reversed(range(len(self.layers))):
            if self.layers[depth].established:
                self._write(self.layers[depth].close(), depth)
        self.closing = True
        self.transport.close()

    def abort(self) -> None:
        """Drop the connection at once."""
        self.closing = True
        if self.transport is not None:
            self.transport.abort()

    @property
    def peer_names(self) -> tuple[str, ...]:
        """The domains that the peer's certificate proves; none without one."""
        for layer in self.layers:
            if isinstance(layer, TlsLayer):
                return layer.peer_names
        return ()

    @property
    def peer_identities(self) -> tuple[str, ...]:
        """What the peer's certificate proves, users' URIs included; none without one."""
        for layer in self.layers:
            if isinstance(layer, TlsLayer):
                return layer.peer_identities
        return ()

    # ------------------------------------------------------------------ inside

    def _advance(self) -> None:
        """Start the first layer that is not established; with none left, the connection is."""
        if self.established or self.closing:
            return
        for depth, layer in enumerate(self.layers):
            if not layer.established:
                if layer not in self._started:
                    self._started.append(layer)
                    self._write(layer.start(), depth)
                return
        self.established = True
        self._streams.established(self)

    def _write(self, data: bytes, depth: int) -> None:
        """Send through the layers outside of ``depth``."""
        if not data or self.closing or self.transport is None:
            return
        try:
            for layer in reversed(self.layers[:depth]):
                data = layer.send(data)
        except LayerError:
            self.abort()
            return
        self.transport.write(data)
        if self.transport.get_write_buffer_size() > MAX_UNSENT:
            self.abort()

    def _fail(self, error: LayerError, depth: int) -> None:
        self._streams.broken(self, error)
        self._write(error.reply, depth)
        self.closing = True
        if self.transport is not None:
            self.transport.close()
