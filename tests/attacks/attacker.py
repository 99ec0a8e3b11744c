"""An attacker with a socket: says whatever bytes it likes to a whole server in virtual time."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from typing import Any, cast

import rtpmix
from rtpmix.sip.digest import answer_challenge
from rtpmix.sip.message import Request, Response, parse_message
from rtpmix.testing import VirtualNet, run
from rtpmix.testing.servers import HOST, virtual_server

REALM = "pbx.example"
USERS = {"alice": "wonderland", "bob": "builder"}
SERVER = (HOST, 5060)
OFFER = (
    b"v=0\r\no=- 1 1 IN IP4 192.0.2.66\r\ns=-\r\nc=IN IP4 192.0.2.66\r\nt=0 0\r\n"
    b"m=audio 40000 RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\n"
)

_numbers = itertools.count(1)
Header = tuple[str, str]


def compose(
    method: str,
    uri: str = f"sip:{REALM}",
    *,
    sender: str = f"<sip:alice@{REALM}>",
    to: str | None = None,
    host: str = "192.0.2.66",
    transport: str = "UDP",
    branch: str | None = None,
    call_id: str | None = None,
    sequence: int = 1,
    contact: str | None = "<sip:alice@192.0.2.66>",
    headers: tuple[Header, ...] = (),
    body: bytes = b"",
) -> Request:
    """Return a well-formed request, of which any part can be chosen."""
    number = next(_numbers)
    return Request.create(
        method,
        uri,
        [
            ("Via", f"SIP/2.0/{transport} {host};branch={branch or f'z9hG4bKa{number}'};rport"),
            ("Max-Forwards", "70"),
            ("From", sender if ";tag=" in sender else f"{sender};tag=f{number}"),
            ("To", to or f"<{uri}>"),
            ("Call-ID", call_id or f"attack-{number}"),
            ("CSeq", f"{sequence} {method}"),
            *([("Contact", contact)] if contact else []),
            *headers,
        ],
        body,
        "application/sdp" if body else None,
    )


class Attacker(asyncio.DatagramProtocol):
    """A UDP socket at an address of its own."""

    def __init__(self, host: str = "192.0.2.66", port: int = 5060) -> None:
        self.address = (host, port)
        self.heard: list[bytes] = []
        self._transport: asyncio.DatagramTransport | None = None

    async def __aenter__(self) -> Attacker:
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=self.address)
        self._transport = cast(asyncio.DatagramTransport, transport)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._transport is not None
        self._transport.close()

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.heard.append(data)

    def throw(self, message: Request | Response | bytes) -> None:
        """Send, and wait for nothing."""
        assert self._transport is not None
        data = message if isinstance(message, bytes) else message.to_bytes()
        self._transport.sendto(data, SERVER)

    @property
    def responses(self) -> list[Response]:
        """Every response that came."""
        return [found for data in self.heard if isinstance(found := parse_message(data), Response)]

    async def ask(self, request: Request, *, ack: bool = True) -> Response:
        """Send a request and return its final response; a refused INVITE is acknowledged."""
        self.throw(request)
        for _ in range(200):
            await asyncio.sleep(0.01)
            for response in self.responses:
                ours = (response.call_id, response.cseq) == (request.call_id, request.cseq)
                if ours and response.status >= 200:
                    if ack and request.method == "INVITE" and response.status >= 300:
                        self.throw(acknowledge(request, response))
                    return response
        raise AssertionError(f"no final response to {request.method}")

    async def log_in(
        self, user: str, password: str, *, nonce_of: Response | None = None
    ) -> Response:
        """Register as a user would, and return the final response."""
        challenge = nonce_of or await self.ask(register(user))
        if challenge.status != 401:
            return challenge
        return await self.ask(register(user, credentials(challenge, user, password)))


def register(user: str, *headers: Header, **more: Any) -> Request:
    """Return a REGISTER for a user."""
    address = f"<sip:{user}@{REALM}>"
    return compose("REGISTER", sender=address, to=address, headers=headers, **more)


def credentials(
    challenge: Response,
    user: str,
    password: str,
    *,
    method: str = "REGISTER",
    uri: str = f"sip:{REALM}",
    count: int = 1,
    body: bytes = b"",
) -> Header:
    """Answer a challenge."""
    return answer_challenge(
        challenge,
        method=method,
        uri=uri,
        username=user,
        password=password,
        cnonce="c",
        nc=count,
        body=body,
    )


def acknowledge(request: Request, response: Response) -> Request:
    """Return the ACK for a refusal (RFC 3261 section 17.1.1.3)."""
    via, sequence = request.via, request.cseq.number
    return Request.create(
        "ACK",
        request.uri,
        [
            ("Via", str(via)),
            ("Max-Forwards", "70"),
            ("From", request.headers.get("From") or ""),
            ("To", response.headers.get("To") or ""),
            ("Call-ID", request.call_id),
            ("CSeq", f"{sequence} ACK"),
        ],
    )


def besiege(
    story: Callable[[rtpmix.Server], Awaitable[Any]],
    net: VirtualNet | None = None,
    *,
    limit: float = 3600.0,
    **config: Any,
) -> Any:
    """Run a story against a server with users, in virtual time."""
    net = net or VirtualNet(seed=7, delay_ms=1)
    settings: dict[str, Any] = {"users": USERS, "realm": REALM} | config

    async def main() -> Any:
        async with virtual_server(net, **settings) as server:
            return await story(server)

    return run(main(), net, limit=limit)
