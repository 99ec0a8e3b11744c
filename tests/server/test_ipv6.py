"""IPv6: listeners beside those of IPv4, brackets, and the address family of media."""

from __future__ import annotations

import asyncio
import socket
from random import Random
from typing import Any

import pytest

import rtpmix
from rtpmix.sdp.description import parse_sdp
from rtpmix.server.inline_host import InlineHost
from rtpmix.server.media_session import media_address_of
from rtpmix.server.socket_io import SocketIO
from rtpmix.sip.message import Response, parse_message
from rtpmix.testing import TonePhone, VirtualNet, run
from rtpmix.testing.media import VirtualMediaIO

V4, V6 = "192.0.2.1", "2001:db8::1"
ALICE, BOB = 437.0, 1013.0


def dual_server(net: VirtualNet) -> rtpmix.Server:
    config = rtpmix.Config(
        sip_listen=tuple(
            f"{transport}:{host}:5060" for transport in ("udp", "tcp") for host in (V4, f"[{V6}]")
        ),
        media_address=V4,
        media_address_v6=V6,
        seed=1,
    )
    media = VirtualMediaIO(net, V4, config.rtp_ports, V6)
    return rtpmix.Server(config, media_host=InlineHost(media, source=Random(1)))


@pytest.mark.parametrize("transport", ["UDP", "TCP"])
def test_a_phone_on_ipv6_and_one_on_ipv4_hear_each_other(transport: str) -> None:
    net = VirtualNet(seed=1, delay_ms=5)

    async def main() -> None:
        alice = TonePhone(
            "alice", host="2001:db8::10", frequency=ALICE, proxy=(V6, 5060), transport=transport
        )
        bob = TonePhone("bob", host="192.0.2.20", frequency=BOB, proxy=(V4, 5060))
        async with dual_server(net) as server, alice, bob:
            calls: list[rtpmix.IncomingCall] = []

            @server.on_invite
            async def connect(call: rtpmix.IncomingCall) -> None:
                calls.append(call)
                leg = await call.answer()
                await server.bridge(leg, await server.invite(bob.uri))
                await leg.closed()

            await alice.call(f"sip:help@[{V6}]")
            await asyncio.sleep(3)
            assert alice.hears(ALICE, BOB) == {BOB}
            assert bob.hears(ALICE, BOB) == {ALICE}
            assert calls[0].flow.local == (V6, 5060)
            alice.bye()
            await bob.ended()
            assert server.sip_address == f"{V4}:5060"

    run(main(), net, limit=200)


def test_a_call_to_an_address_in_brackets_leaves_by_the_listener_of_its_family() -> None:
    net = VirtualNet(seed=1, delay_ms=5)

    async def main() -> None:
        bob = TonePhone("bob", host="2001:db8::20", frequency=BOB, proxy=(V6, 5060))
        async with dual_server(net) as server, bob:
            leg = await server.invite(bob.uri)
            assert bob.uri.startswith("sip:bob@[2001:db8::20]")
            await leg.hangup()
            with pytest.raises(rtpmix.UsageError, match="add one to"):
                await server.invite("sip:bob@[2001:db8::20];transport=tls")

    run(main(), net, limit=200)


SDP = "v=0\r\no=- 1 1 IN {0}\r\ns=-\r\nc=IN {0}\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n"


@pytest.mark.parametrize(
    ("session", "media", "address"),
    [
        ("IP4 192.0.2.9", "", "192.0.2.9"),
        ("IP4 192.0.2.9", "c=IN IP6 2001:db8::9\r\n", "2001:db8::9"),
        ("IP6 phone.example.com", "", None),
    ],
)
def test_the_family_of_media_is_that_of_its_own_address(
    session: str, media: str, address: str | None
) -> None:
    """RFC 8866 section 5.7: a c= line of the stream overrides that of the session."""
    description = parse_sdp((SDP.format(session) + media).encode())
    assert media_address_of(description) == address


def test_media_may_be_on_ipv6_where_signalling_is_not() -> None:
    net = VirtualNet(seed=1, delay_ms=5)

    async def main() -> str | None:
        async with dual_server(net) as server:

            @server.on_invite
            async def answer(call: rtpmix.IncomingCall) -> None:
                await (await call.answer()).closed()

            body = SDP.format("IP6 2001:db8::9")
            answers = await exchange(asyncio.get_running_loop(), invite(body), (V4, 5060))
            return media_address_of(parse_sdp(answers[-1].body))

    assert run(main(), net, limit=200) == V6


def invite(body: str) -> bytes:
    lines = [
        "INVITE sip:a@192.0.2.1 SIP/2.0",
        "Via: SIP/2.0/UDP 192.0.2.30:5060;branch=z9hG4bK1;rport",
        *("From: <sip:x@y>;tag=1", "To: <sip:a@192.0.2.1>", "Call-ID: 1", "CSeq: 1 INVITE"),
        *("Contact: <sip:x@192.0.2.30>", "Content-Type: application/sdp", "Max-Forwards: 70"),
        *(f"Content-Length: {len(body)}", "", body),
    ]
    return "\r\n".join(lines).encode()


async def exchange(loop: Any, request: bytes, server: tuple[str, int]) -> list[Response]:
    """Send one request over UDP and return what comes back in half a second."""
    answers: list[Response] = []

    class Client(asyncio.DatagramProtocol):
        def datagram_received(self, data: bytes, addr: Any) -> None:
            message = parse_message(data)
            assert isinstance(message, Response)
            answers.append(message)
            if message.status >= 200:
                final.set()

    final = asyncio.Event()
    family = "::" if ":" in server[0] else "0.0.0.0"
    transport, _ = await loop.create_datagram_endpoint(Client, local_addr=(family, 0))
    transport.sendto(request, server)
    async with asyncio.timeout(5):
        await final.wait()
    transport.close()
    return answers


OPTIONS = (
    "OPTIONS sip:{0} SIP/2.0\r\nVia: SIP/2.0/UDP {0}:5060;branch=z9hG4bK1;rport\r\n"
    "From: <sip:x@y>;tag=1\r\nTo: <sip:x@y>\r\nCall-ID: 1\r\nCSeq: 1 OPTIONS\r\n"
    "Max-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
)


async def test_both_wildcards_share_a_port_and_answer_with_the_address_that_was_asked() -> None:
    """On real sockets: an IPv6 socket of Linux would else take the IPv4 port as well."""
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
        probe.bind(("::", 0))
        port = probe.getsockname()[1]
    listens = (f"udp:0.0.0.0:{port}", f"udp:[::]:{port}", "tcp:[::1]:0")
    async with rtpmix.Server(rtpmix.Config(sip_listen=listens)) as server:
        loop = asyncio.get_running_loop()
        for host, written in (("127.0.0.1", "127.0.0.1"), ("::1", "[::1]")):
            options = OPTIONS.format(written).encode()
            answers = await exchange(loop, options, (host, port))
            assert answers[0].headers.get("Contact") == f"<sip:rtpmix@{written}:{port}>"
        assert server.snapshot()["sip"]["received"] == 2


def test_media_sockets_of_both_families_are_told_apart() -> None:
    io = SocketIO("127.0.0.1", range(42000, 42010), "::1")
    try:
        assert io.reserve(1)[0] == "127.0.0.1"
        assert io.reserve(2, ipv6=True)[0] == "::1"
        assert len({port for _, port in (io.reserve(3), io.reserve(4, ipv6=True))}) == 2
    finally:
        io.close()
