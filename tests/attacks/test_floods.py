"""Attacks by number: floods, half-open calls, slow and huge messages."""

from __future__ import annotations

import asyncio
import time
from typing import Any, cast

import pytest

import rtpmix
from rtpmix.sip.message import Request, parse_message
from tests.attacks.attacker import (
    OFFER,
    SERVER,
    USERS,
    Attacker,
    besiege,
    compose,
    credentials,
    register,
)

TARGET = "sip:help@192.0.2.1"
STRANGER = "<sip:stranger@198.51.100.7>"


def invite(**more: Any) -> Request:
    return compose("INVITE", TARGET, sender=STRANGER, body=OFFER, **more)


def sip(server: rtpmix.Server) -> dict[str, int]:
    return cast("dict[str, int]", server.snapshot()["sip"])


def test_an_invite_flood_from_one_host_leaves_room_for_others() -> None:
    async def story(server: rtpmix.Server) -> None:
        @server.on_invite
        async def ring(call: rtpmix.IncomingCall) -> None:
            await call.ring()
            await asyncio.sleep(100)

        async with Attacker() as attacker, Attacker("192.0.2.10") as honest:
            for _ in range(3000):
                attacker.throw(invite())
            await asyncio.sleep(0.2)
            counts = server.snapshot()["overload"]
            assert counts["flood_dropped"] >= 1900
            assert counts["flood_refused"] >= 800
            assert sip(server)["calls"] <= 130
            refused = next(each for each in attacker.responses if each.status == 503)
            assert refused.headers.get("Retry-After") == "5"
            answered = sum(len(data) for data in attacker.heard)
            assert answered <= 3000 * len(invite().to_bytes())  # and no amplifier
            assert (await honest.log_in("alice", USERS["alice"])).status == 200

    besiege(story)


def test_calls_beyond_the_most_are_refused_without_state() -> None:
    async def story(server: rtpmix.Server) -> None:
        @server.on_invite
        async def ring(call: rtpmix.IncomingCall) -> None:
            await call.ring()
            await asyncio.sleep(100)

        async with Attacker() as attacker:
            for _ in range(30):
                attacker.throw(invite())
            await asyncio.sleep(0.1)
            assert sip(server)["calls"] == 20
            assert sip(server)["invite_server"] == 20
            assert sum(each.status == 503 for each in attacker.responses) == 10

    besiege(story, max_calls=20)


def test_late_media_or_a_late_loop_sheds_new_calls_only() -> None:
    async def story(server: rtpmix.Server) -> list[int]:
        @server.on_invite
        async def refuse(call: rtpmix.IncomingCall) -> None:
            await call.reject(486)

        overload = server._overload
        assert overload is not None
        async with Attacker() as caller:
            seen = [(await caller.ask(invite())).status]
            for _ in range(100):
                overload.admission.load.observe(1.0, 0.0)
            seen.append((await caller.ask(invite())).status)
            seen.append((await caller.log_in("alice", USERS["alice"])).status)
            await asyncio.sleep(8)  # the clocks are in time again
            seen.append((await caller.ask(invite())).status)
        return seen

    assert besiege(story) == [486, 503, 200, 486]


def test_half_open_invites_end_by_themselves() -> None:
    """Rung and never answered; answered and never acknowledged (RFC 3261 section 13.3.1.4)."""

    async def story(server: rtpmix.Server) -> None:
        @server.on_invite
        async def serve(call: rtpmix.IncomingCall) -> None:
            if call.target == "ring":
                await call.ring()
                await asyncio.sleep(10_000)
            leg = await call.answer()
            await leg.closed()

        async with Attacker() as attacker:
            for number in range(40):
                to = "sip:ring@192.0.2.1" if number % 2 else "sip:answer@192.0.2.1"
                attacker.throw(compose("INVITE", to, sender=STRANGER, body=OFFER))
            await asyncio.sleep(1)
            assert sip(server)["calls"] == 40
            await asyncio.sleep(80)
            assert sip(server)["calls"] == 20
            await asyncio.sleep(140)
        left = server.snapshot()
        assert left["sip"]["calls"] == left["sip"]["dialogs"] == left["legs"] == 0
        assert left["handlers"] == 0

    besiege(story)


class Stream(asyncio.Protocol):
    """One TCP connection of an attacker's."""

    def __init__(self) -> None:
        self.heard = b""
        self.lost = False
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self.heard += data

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True

    def write(self, data: bytes) -> None:
        assert self.transport is not None
        self.transport.write(data)


async def connect() -> Stream:
    _, stream = await asyncio.get_running_loop().create_connection(Stream, *SERVER)
    return cast(Stream, stream)


def test_a_sender_of_a_byte_at_a_time_is_disconnected() -> None:
    async def story(server: rtpmix.Server) -> None:
        stream = await connect()
        data = invite(transport="TCP").to_bytes()
        for at in range(len(data)):
            if stream.lost:
                break
            stream.write(data[at : at + 1])
            await asyncio.sleep(1)
        assert stream.lost
        assert sip(server)["calls"] == sip(server)["streams"] == 0

    besiege(story)


def test_a_body_that_is_announced_and_never_comes_is_not_waited_for() -> None:
    async def story(server: rtpmix.Server) -> None:
        stream = await connect()
        head, _, _ = invite(transport="TCP").to_bytes().partition(b"Content-Length")
        stream.write(head + b"Content-Length: 60000\r\n\r\n")
        await asyncio.sleep(120)
        assert stream.lost
        assert sip(server)["streams"] == 0

    besiege(story)


@pytest.mark.parametrize("length", [b"65536", b"99999999999", b"-1", b"1e9", b"0x10"])
def test_a_content_length_that_cannot_be_ends_the_connection_at_once(length: bytes) -> None:
    async def story(server: rtpmix.Server) -> None:
        stream = await connect()
        head, _, _ = invite(transport="TCP").to_bytes().partition(b"Content-Length")
        stream.write(head + b"Content-Length: " + length + b"\r\n\r\nINVITE sip:x SIP/2.0\r\n")
        await asyncio.sleep(1)
        assert stream.lost
        assert sip(server)["calls"] == sip(server)["streams"] == 0

    besiege(story)


def bomb(kind: str) -> bytes:
    """Return a message that is meant to cost more than it weighs."""
    head, _, rest = invite().to_bytes().partition(b"Max-Forwards")
    filler = {
        "headers": b"X: y\r\n" * 10_000,
        "vias": b"v: SIP/2.0/UDP a;branch=z9hG4bKx\r\n" * 1_500,
        "routes": b"Route: " + b"<sip:a;lr>," * 5_000 + b"<sip:b;lr>\r\n",
        "parameters": b"Contact: <sip:a@b>" + b";x=y" * 14_000 + b"\r\n",
        "folds": b"Subject: a" + b"\r\n b" * 15_000 + b"\r\n",
        "quotes": b'Authorization: Digest realm="' + b'\\"' * 25_000 + b'"\r\n',
        "brackets": b"Contact: " + b"<" * 50_000 + b"\r\n",
    }[kind]
    return head + filler + b"Max-Forwards" + rest


def multipart(depth: int) -> bytes:
    """Return bodies within bodies."""
    body = b"v=0\r\n"
    for number in range(depth):
        edge = b"b%d" % number
        kind = b"Content-Type: multipart/mixed;boundary=b%d\r\n\r\n" % (number - 1)
        body = b"--" + edge + b"\r\n" + (kind if number else b"\r\n") + body
        body += b"\r\n--" + edge + b"--\r\n"
    made = compose("INVITE", TARGET, sender=STRANGER, body=b"x").to_bytes()
    head = made.replace(b"application/sdp", b"multipart/mixed;boundary=b%d" % (depth - 1))
    head = head.replace(b"Content-Length: 1", b"Content-Length: %d" % len(body))
    return head[:-1] + body


BOMBS = ["headers", "vias", "routes", "parameters", "folds", "quotes", "brackets", "multipart"]


@pytest.mark.parametrize("kind", BOMBS)
def test_a_message_costs_no_more_than_its_size(kind: str) -> None:
    """Refused or dropped, soon, over UDP; the best of several runs counts."""
    data = (multipart(500) if kind == "multipart" else bomb(kind))[:65_507]

    async def story(server: rtpmix.Server) -> float:
        agent, spent = server._started().agent, []
        shell = server._started().open_shell
        for _ in range(5):
            began = time.thread_time()
            shell.datagram_received(data, ("192.0.2.66", 5060), SERVER)
            spent.append(time.thread_time() - began)
        await asyncio.sleep(0.1)
        assert agent.snapshot()["calls"] == 0
        return min(spent)

    assert besiege(story) < 0.05


def test_loops_end() -> None:
    """RFC 3261 sections 8.2.2.2 and 16.3: no hops left, and the same request another way."""

    async def story(server: rtpmix.Server) -> list[int]:
        @server.on_invite
        async def ring(call: rtpmix.IncomingCall) -> None:
            await call.ring()
            await asyncio.sleep(10)

        async with Attacker() as attacker:
            tired = invite().to_bytes().replace(b"Max-Forwards: 70", b"Max-Forwards: 0")
            first = invite(call_id="same")
            sender = first.headers.get("From")
            assert sender is not None
            again = compose(
                "INVITE", TARGET, sender=sender, call_id="same", body=OFFER, branch="z9hG4bKother"
            )
            seen = [(await attacker.ask(cast(Request, parse_message(tired)))).status]
            attacker.throw(first)
            await asyncio.sleep(0.05)
            seen.append((await attacker.ask(again)).status)
            assert sip(server)["calls"] == 1
        return seen

    assert besiege(story) == [483, 482]


def test_registrations_are_bounded_whatever_is_sent() -> None:
    async def story(server: rtpmix.Server) -> int:
        async with Attacker() as phone:
            for number in range(40):
                contact = f"<sip:alice@192.0.2.66:{6000 + number}>"
                challenge = await phone.ask(register("alice"))
                proof = credentials(challenge, "alice", USERS["alice"])
                await phone.ask(register("alice", proof, contact=contact))
        return server.contacts("alice")

    assert besiege(story) == 10
