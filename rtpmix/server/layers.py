"""What may lie between a connection's octets and SIP: TLS, WebSocket, or both in that order.

A layer does no I/O: octets of the connection go in, what is inside comes out, and what must be
sent for it.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol


class Received(NamedTuple):
    """What octets from the peer brought."""

    inside: list[bytes]  # for the next layer, or whole SIP messages
    reply: bytes = b""  # to send now
    closed: bool = False  # the peer has ended this layer; nothing more will come


class LayerError(Exception):
    """The peer broke the layer's protocol. Send ``reply``, then close."""

    def __init__(self, message: str, reply: bytes = b"") -> None:
        super().__init__(message)
        self.reply = reply


class Layer(Protocol):
    """One wrapping of a connection."""

    established: bool  # the handshake is done: `send` may be used

    def start(self) -> bytes:
        """Return what opens the handshake from this side."""

    def receive(self, data: bytes) -> Received:
        """Take octets from the peer; `LayerError` when they are wrong."""

    def send(self, data: bytes) -> bytes:
        """Wrap what is to be sent."""

    def ping(self) -> bytes:
        """Return what keeps the path open; empty where the layer has nothing of that kind."""

    def close(self) -> bytes:
        """Return what ends the layer in order."""
