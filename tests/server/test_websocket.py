"""SIP over WebSocket (RFC 7118): the layer against the client of another package, and calls."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, cast

import pytest
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.uri import parse_uri

import rtpmix
from rtpmix.server.layers import LayerError
from rtpmix.server.tls import TlsContexts, TlsLayer
from rtpmix.server.websocket import WebSocketLayer
from rtpmix.sip.message import MAX_MESSAGE, Request, Response, parse_message, respond
from rtpmix.testing import VirtualNet, run
from rtpmix.testing.servers import HOST, virtual_server
from tests.server.pki import Authority

PAGE = "https://phone.example.com"


def client(
    origin: str | None = PAGE, subprotocols: tuple[str, ...] = ("sip",)
) -> tuple[ClientProtocol, bytes]:
    """Return a client and what it sends first."""
    protocol = ClientProtocol(
        parse_uri("ws://192.0.2.1/"),
        origin=cast(Any, origin),
        subprotocols=cast(Any, subprotocols) or None,
        max_size=2**20,
    )
    protocol.send_request(protocol.connect())
    return protocol, b"".join(protocol.data_to_send())


def connected(origins: tuple[str, ...] = (PAGE,)) -> tuple[ClientProtocol, WebSocketLayer]:
    peer, hello = client()
    layer = WebSocketLayer(origins)
    peer.receive_data(layer.receive(hello).reply)
    peer.events_received()
    assert layer.established
    return peer, layer


def taken(peer: ClientProtocol, layer: WebSocketLayer) -> list[bytes]:
    return layer.receive(b"".join(peer.data_to_send())).inside


# ------------------------------------------------------------------------------- handshake


def test_the_subprotocol_is_sip() -> None:
    """RFC 7118 section 4.1."""
    peer, hello = client(subprotocols=("chat", "sip"))
    peer.receive_data(WebSocketLayer(("*",)).receive(hello).reply)
    assert peer.handshake_exc is None
    assert peer.subprotocol == "sip"


@pytest.mark.parametrize("offered", [(), ("chat",)])
def test_a_client_that_does_not_offer_sip_is_refused(offered: tuple[str, ...]) -> None:
    with pytest.raises(LayerError) as failed:
        WebSocketLayer(("*",)).receive(client(subprotocols=offered)[1])
    assert failed.value.reply.startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("origin", ["https://evil.example", "http://phone.example.com", "null"])
def test_a_page_of_a_foreign_origin_gets_403(origin: str) -> None:
    """RFC 6455 section 10.2: scheme, host and port all count."""
    with pytest.raises(LayerError) as failed:
        WebSocketLayer((PAGE,)).receive(client(origin)[1])
    assert failed.value.reply.startswith(b"HTTP/1.1 403 ")


def test_a_program_that_is_no_browser_sends_no_origin_and_may_connect() -> None:
    layer = WebSocketLayer((PAGE,))
    layer.receive(client(None)[1])
    assert layer.established


def test_any_page_may_connect_where_the_configuration_says_so() -> None:
    layer = WebSocketLayer(("*",))
    layer.receive(client("https://anywhere.example")[1])
    assert layer.established


@pytest.mark.parametrize(
    "junk",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"OPTIONS sip:a@b SIP/2.0\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 5000,
        b"\x00" * 9000,
    ],
)
def test_what_is_no_handshake_is_a_layer_error(junk: bytes) -> None:
    with pytest.raises(LayerError):
        WebSocketLayer(("*",)).receive(junk)


# ---------------------------------------------------------------------------------- frames


def test_each_message_of_the_socket_is_one_of_sip_however_it_is_cut() -> None:
    """RFC 7118 section 5: and text and binary mean the same."""
    peer, layer = connected()
    peer.send_text(b"one")
    peer.send_binary(b"two")
    peer.send_text(b"thr", fin=False)
    peer.send_continuation(b"", fin=False)
    peer.send_continuation(b"ee", fin=True)
    wire = b"".join(peer.data_to_send())
    assert [
        message
        for place in range(len(wire))
        for message in layer.receive(wire[place : place + 1]).inside
    ] == [b"one", b"two", b"three"]


def test_a_message_goes_out_as_one_frame_of_text_unless_it_is_no_text() -> None:
    peer, layer = connected()
    peer.receive_data(layer.send("SIP grüße".encode()) + layer.send(b"\xff\xfe"))
    frames = [cast(Frame, event) for event in peer.events_received()]
    assert [frame.opcode for frame in frames] == [Opcode.TEXT, Opcode.BINARY]
    assert all(frame.fin for frame in frames)


def test_a_message_too_long_for_sip_ends_the_connection_with_1009() -> None:
    peer, layer = connected()
    peer.send_text(b"x" * (MAX_MESSAGE + 1))
    with pytest.raises(LayerError) as failed:
        taken(peer, layer)
    peer.receive_data(failed.value.reply)
    assert peer.close_rcvd is not None
    assert peer.close_rcvd.code == 1009


def test_fragments_without_end_stay_within_the_limit_of_one_message() -> None:
    peer, layer = connected()
    peer.send_text(b"x" * 30_000, fin=False)
    assert taken(peer, layer) == []
    peer.send_continuation(b"x" * 30_000, fin=False)
    assert taken(peer, layer) == []
    peer.send_continuation(b"x" * 30_000, fin=False)
    with pytest.raises(LayerError):
        taken(peer, layer)


def test_a_ping_gets_its_pong_and_ours_is_understood() -> None:
    """RFC 6455 sections 5.5.2 and 5.5.3."""
    peer, layer = connected()
    peer.send_ping(b"are you there")
    peer.receive_data(layer.receive(b"".join(peer.data_to_send())).reply)
    assert [cast(Frame, event).data for event in peer.events_received()] == [b"are you there"]
    peer.receive_data(layer.ping())
    assert layer.receive(b"".join(peer.data_to_send())).inside == []


def test_a_frame_without_a_mask_breaks_the_connection() -> None:
    """RFC 6455 section 5.1: a server must close it."""
    _, layer = connected()
    with pytest.raises(LayerError):
        layer.receive(b"\x81\x02hi")


def test_closing_is_answered_and_ends_the_layer() -> None:
    peer, layer = connected()
    peer.send_close(1000)
    received = layer.receive(b"".join(peer.data_to_send()))
    peer.receive_data(received.reply)
    assert received.closed
    assert peer.close_rcvd is not None
    with pytest.raises(LayerError):
        layer.send(b"too late")
    assert layer.close() == layer.ping() == b""


# ------------------------------------------------------------------------------ a whole server


class Browser(asyncio.Protocol):
    """A web page that speaks SIP, as far as a test needs it; by WSS when it has a TLS layer."""

    def __init__(self, tls: TlsLayer | None = None, origin: str | None = PAGE) -> None:
        self.tls = tls
        self.peer, self._hello = client(origin)
        self.inbox: asyncio.Queue[Request | Response] = asyncio.Queue()
        self.pongs = 0
        self.closed = asyncio.Event()
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        if self.tls is None:
            self.transport.write(self._hello)
        else:
            self.transport.write(self.tls.start())

    def data_received(self, data: bytes) -> None:
        chunks = [data]
        if self.tls is not None:
            before = self.tls.established
            received = self.tls.receive(data)
            self.transport.write(received.reply)
            chunks = received.inside
            if self.tls.established and not before:
                self.transport.write(self.tls.send(self._hello))
        for chunk in chunks:
            self.peer.receive_data(chunk)
        for event in self.peer.events_received():
            if isinstance(event, Frame) and event.opcode is Opcode.TEXT:
                if event.data.strip():
                    self.inbox.put_nowait(parse_message(bytes(event.data)))
                else:
                    self.pongs += 1
        self._flush()

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed.set()

    def send(self, message: bytes) -> None:
        self.peer.send_text(message)
        self._flush()

    def _flush(self) -> None:
        data = b"".join(self.peer.data_to_send())
        if data:
            self.transport.write(self.tls.send(data) if self.tls is not None else data)

    def request(self, method: str, number: int, **more: str) -> None:
        """Send a request as JsSIP does: a Via and a Contact that nobody can reach."""
        lines = {
            "Via": f"SIP/2.0/WSS df7jal23ls0d.invalid;branch=z9hG4bKweb{number}{method}",
            "Max-Forwards": "70",
            "To": "<sip:web@192.0.2.1>",
            "From": "<sip:web@192.0.2.1>;tag=page",
            "Call-ID": "call-of-the-page",
            "CSeq": f"{number} {method}",
            "Contact": "<sip:web@df7jal23ls0d.invalid;transport=ws>",
        } | {name.replace("_", "-"): value for name, value in more.items()}
        self.send(Request.create(method, "sip:room@192.0.2.1", list(lines.items())).to_bytes())


Story = Callable[[rtpmix.Server, Browser], Awaitable[None]]


def play(story: Story, browser: Browser | None = None, **config: Any) -> rtpmix.Server:
    net = VirtualNet(seed=1, delay_ms=5)
    settings: dict[str, Any] = {
        "sip_listen": (f"ws:{HOST}:8080",),
        "websocket_origins": (PAGE,),
    } | config

    async def main() -> rtpmix.Server:
        page = browser or Browser()
        async with virtual_server(net, **settings) as server:
            loop = asyncio.get_running_loop()
            port = server._board.open_shell.addresses[0].port  # type: ignore[union-attr]
            await loop.create_connection(lambda: page, HOST, port)
            await asyncio.sleep(1)
            await story(server, page)
        return server

    return run(main(), net, limit=900)


def test_a_response_comes_back_over_the_socket_of_its_request() -> None:
    """RFC 7118 section 5.2.1: the host of the Via can't be reached, and is not tried."""

    async def story(server: rtpmix.Server, page: Browser) -> None:
        page.request("OPTIONS", 1)
        answer = await page.inbox.get()
        assert isinstance(answer, Response)
        assert answer.status == 200
        assert answer.via.transport == "WSS"
        assert answer.headers.get("Contact") == f"<sip:rtpmix@{HOST}:8080;transport=ws>"

    play(story)


def test_a_page_is_called_and_hung_up_over_its_own_socket() -> None:
    async def story(server: rtpmix.Server, page: Browser) -> None:
        flow = next(iter(server._board.open_shell.streams._connections.values())).flow  # type: ignore[union-attr]
        agent = server._board.agent  # type: ignore[union-attr]
        call = agent.invite(
            "sip:web@df7jal23ls0d.invalid;transport=ws",
            flow=flow,
            from_uri="sip:rtpmix@192.0.2.1",
            body=b"v=0\r\n",
            now=server._board.now,  # type: ignore[union-attr]
        )
        server._board.pump()  # type: ignore[union-attr]
        invite = await page.inbox.get()
        assert isinstance(invite, Request)
        assert invite.via.transport == "WS"
        contact = [("Contact", "<sip:web@df7jal23ls0d.invalid;transport=ws>")]
        page.send(respond(invite, 200, to_tag="page", headers=contact).to_bytes())
        methods = []
        for _ in range(2):  # nobody waits for this call, so the server leaves it
            request = await page.inbox.get()
            assert isinstance(request, Request)
            methods.append(request.method)
            assert request.uri == "sip:web@df7jal23ls0d.invalid;transport=ws"
        assert methods == ["ACK", "BYE"]
        assert call not in agent._core.calls

    play(story)


def test_a_page_that_closes_its_tab_is_gone_at_once() -> None:
    async def story(server: rtpmix.Server, page: Browser) -> None:
        page.transport.abort()
        await asyncio.sleep(1)
        assert server.snapshot()["streams"]["connections"] == 0
        assert server.snapshot()["sip"]["streams"] == 0

    play(story)


def test_a_double_crlf_in_the_socket_gets_a_single_one() -> None:
    """RFC 7118 section 6, RFC 5626 section 4.4.1."""

    async def story(server: rtpmix.Server, page: Browser) -> None:
        page.send(b"\r\n\r\n")
        page.send(b"\r\n")
        await asyncio.sleep(1)
        assert page.pongs == 1

    play(story)


def test_a_silent_page_is_pinged_so_that_proxies_keep_its_socket_open() -> None:
    async def story(server: rtpmix.Server, page: Browser) -> None:
        page.request("OPTIONS", 1)
        await page.inbox.get()
        pings = []
        page.peer.recv_frame = _recording(page.peer.recv_frame, pings)  # type: ignore[method-assign]
        await asyncio.sleep(100)
        assert pings == [Opcode.PING] * 3

    play(story)


def _recording(wrapped: Callable[[Frame], None], seen: list[Opcode]) -> Callable[[Frame], None]:
    def receive(frame: Frame) -> None:
        seen.append(frame.opcode)
        wrapped(frame)

    return receive


def test_a_page_of_a_foreign_origin_reaches_no_sip() -> None:
    async def story(server: rtpmix.Server, page: Browser) -> None:
        await page.closed.wait()
        counted = server.snapshot()
        assert counted["sip"].get("received", 0) == 0
        assert counted["streams"]["layer_errors"] == 1

    play(story, Browser(origin="https://evil.example"))


def test_wss_is_the_same_inside_of_tls(tmp_path: Path) -> None:
    ca = Authority(tmp_path)
    certificate, key = ca.issue("server", HOST)
    config = rtpmix.TlsConfig(certificate=certificate, key=key, trust=ca.certificate)

    async def story(server: rtpmix.Server, page: Browser) -> None:
        page.request("OPTIONS", 1)
        answer = await page.inbox.get()
        assert answer.headers.get("Contact") == f"<sip:rtpmix@{HOST}:8443;transport=ws>"

    page = Browser(TlsLayer(TlsContexts(config).client, HOST))
    play(story, page, sip_listen=(f"wss:{HOST}:8443",), tls=config)


def test_a_server_does_not_try_to_connect_to_a_page() -> None:
    async def story(server: rtpmix.Server, page: Browser) -> None:
        with pytest.raises(rtpmix.CallFailed) as failed:
            await server.invite("sip:web@192.0.2.77;transport=ws")
        assert failed.value.status == 503

    play(story)
