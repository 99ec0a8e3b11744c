"""SIP over WebSocket: the handshake of RFC 7118, and one SIP message in each message.

Frames and handshake are those of the package websockets, whose protocol does no I/O either.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, cast

from ..errors import UsageError
from ..sip.message import MAX_MESSAGE
from .layers import LayerError, Received

if TYPE_CHECKING:
    from websockets.frames import Frame
    from websockets.http11 import Request
    from websockets.server import ServerProtocol

SUBPROTOCOL = "sip"  # RFC 7118 section 4.1
ANY_ORIGIN = "*"
_quiet = logging.getLogger(f"{__name__}.frames")
_quiet.setLevel(logging.WARNING)  # websockets logs whole frames, which hold addresses


def _new_protocol(origins: tuple[str, ...]) -> ServerProtocol:
    try:
        from websockets.server import ServerProtocol
    except ImportError as exc:
        raise UsageError("ws: and wss: need the package: pip install 'rtpmix[websocket]'") from exc
    # A client that is no browser sends no Origin, and is asked for none.
    allowed = None if ANY_ORIGIN in origins else [None, *origins]
    return ServerProtocol(
        origins=cast(Any, allowed),
        extensions=None,  # no compression: a small frame can't become a large message
        subprotocols=cast(Any, [SUBPROTOCOL]),
        max_size=MAX_MESSAGE,
        logger=_quiet,
    )


def check_installed() -> None:
    """Raise `UsageError` where the package websockets is missing."""
    _new_protocol(())


class WebSocketLayer:
    """The server's side of one WebSocket, without I/O.

    Parameters
    ----------
    origins
        Web pages whose scripts may connect, as ``"https://phone.example.com"``, or "*" for any.
        Others get 403. Programs that are no browser send no Origin and may connect.

    References
    ----------
    RFC 7118 sections 4 and 5; RFC 6455 sections 4.2, 5 and 10.2
    """

    def __init__(self, origins: tuple[str, ...] = ()) -> None:
        self._protocol = _new_protocol(origins)
        self._message = bytearray()  # empty fragments cost nothing
        self.established = False

    def start(self) -> bytes:
        """Return nothing: the client begins."""
        return b""

    def receive(self, data: bytes) -> Received:
        """Take octets; each thing inside is one SIP message."""
        from websockets.http11 import Request

        protocol = self._protocol
        protocol.receive_data(data)
        messages: list[bytes] = []
        for event in protocol.events_received():
            if isinstance(event, Request):
                self._answer_handshake(event)
            else:
                self._take(event, messages)
        reply = b"".join(protocol.data_to_send())
        if protocol.handshake_exc is not None or protocol.parser_exc is not None:
            raise LayerError("no WebSocket handshake, or bad frames", reply)
        return Received(messages, reply, protocol.close_expected())

    def send(self, data: bytes) -> bytes:
        """Return one message as one frame, of text where it is UTF-8 (RFC 7118 section 5)."""
        from websockets.exceptions import InvalidState

        try:
            data.decode()
        except UnicodeDecodeError:
            send = self._protocol.send_binary
        else:
            send = self._protocol.send_text
        try:
            send(data)
        except InvalidState as error:
            raise LayerError("the WebSocket is closed") from error
        return b"".join(self._protocol.data_to_send())

    def ping(self) -> bytes:
        """Return a ping; the peer's pong is an answer that nothing waits for."""
        from websockets.protocol import State

        if self._protocol.state is not State.OPEN:
            return b""
        self._protocol.send_ping(b"")
        return b"".join(self._protocol.data_to_send())

    def close(self) -> bytes:
        """Return the close frame, 1001: this end goes away (RFC 6455 section 7.4.1)."""
        from websockets.exceptions import InvalidState

        try:
            self._protocol.send_close(1001)
        except InvalidState:
            return b""
        return b"".join(self._protocol.data_to_send())

    def _answer_handshake(self, request: Request) -> None:
        response = self._protocol.accept(request)
        self._protocol.send_response(response)
        self.established = response.status_code == 101

    def _take(self, frame: Any, messages: list[bytes]) -> None:
        from websockets.frames import Opcode

        opened: Frame = frame
        if opened.opcode not in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
            return
        self._message += opened.data
        if opened.fin:
            messages.append(bytes(self._message))
            self._message.clear()
