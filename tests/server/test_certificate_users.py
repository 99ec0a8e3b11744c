"""TLS client certificates in place of passwords, for calls and for registrations."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

import rtpmix
from rtpmix.server.tls import identities_proved
from rtpmix.testing import VirtualNet, run
from rtpmix.testing.servers import virtual_server
from tests.server.pki import Authority

A, B = "192.0.2.1", "192.0.2.2"
USERS = {"sip:ana@example.net": "ana", "gate.example.net": "gate"}

Story = Callable[[rtpmix.Server, rtpmix.Server, list[rtpmix.IncomingCall]], Awaitable[Any]]


@pytest.fixture
def ca(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def play(
    ca: Authority,
    story: Story,
    *names: str,
    by: Authority | None = None,
    of_a: dict[str, Any] | None = None,
    **config: Any,
) -> None:
    """Run a story with a server that shows a certificate for names, and one that asks for it."""
    net = VirtualNet(seed=1, delay_ms=5)
    client, client_key = (by or ca).issue("client", A, *names)
    own, own_key = ca.issue("server", B)
    first = rtpmix.TlsConfig(certificate=client, key=client_key, trust=ca.certificate)
    second = rtpmix.TlsConfig(
        certificate=own,
        key=own_key,
        trust=ca.certificate,
        client_ca=ca.certificate,
        client_certificates="optional",
    )
    settings: dict[str, Any] = {"certificate_users": USERS, "require_login": True} | config

    async def main() -> None:
        trunk = rtpmix.Trunk(name="b", registrars=(f"sip:{B};transport=tls",), user="ana", domain=B)
        a = virtual_server(
            net, host=A, sip_listen=(f"tls:{A}:5061",), tls=first, trunks=(trunk,), **(of_a or {})
        )
        b = virtual_server(
            net, host=B, seed=2, sip_listen=(f"tls:{B}:5061",), tls=second, realm=B, **settings
        )
        calls: list[rtpmix.IncomingCall] = []

        @b.on_invite
        async def answer(call: rtpmix.IncomingCall) -> None:
            calls.append(call)
            leg = await call.answer()
            await leg.closed()

        async with b, a:
            await story(a, b, calls)
            await asyncio.sleep(40)

    run(main(), net, limit=500)


def test_a_certificate_logs_its_user_in_for_calls_and_registrations(ca: Authority) -> None:
    """RFC 3261 section 26.3.2.1; RFC 5922 section 7.1."""

    async def story(a: rtpmix.Server, b: rtpmix.Server, calls: list[rtpmix.IncomingCall]) -> None:
        await asyncio.sleep(1)
        assert b.contacts("ana") == 1
        leg = await a.invite(f"sips:bob@{B}")
        assert calls[0].identity == "ana"
        await leg.hangup()

    play(ca, story, "sip:ana@example.net")


def test_nobody_registers_for_somebody_else_by_a_certificate(ca: Authority) -> None:
    """RFC 3261 section 10.3 step 3: "gate" is not "ana"."""

    async def story(a: rtpmix.Server, b: rtpmix.Server, calls: list[rtpmix.IncomingCall]) -> None:
        await asyncio.sleep(1)
        assert b.contacts("ana") == 0
        assert a.snapshot()["trunks"] == {"b": "failed"}
        leg = await a.invite(f"sips:bob@{B}")
        assert calls[0].identity == "gate"
        await leg.hangup()

    play(ca, story, "gate.example.net")


def test_a_certificate_that_is_nobodys_has_to_prove_a_password(ca: Authority) -> None:
    async def story(a: rtpmix.Server, b: rtpmix.Server, calls: list[rtpmix.IncomingCall]) -> None:
        with pytest.raises(rtpmix.CallFailed) as failed:
            await a.invite(f"sips:bob@{B}")
        assert failed.value.status == 401
        login = rtpmix.Credential("eve", "secret")
        leg = await a.invite(f"sips:bob@{B}", credentials=login)
        assert calls[0].identity == "eve"
        await leg.hangup()

    play(ca, story, "sip:mallory@example.net", users={"eve": "secret"})


def test_a_peer_is_trusted_by_what_its_certificate_proves(ca: Authority) -> None:
    """RFC 3325 section 3: the trust domain knows its members; both ways it is TLS that says so."""
    ana = rtpmix.CallerIdentity("sip:+4930123@example.net", "Ana")

    async def story(a: rtpmix.Server, b: rtpmix.Server, calls: list[rtpmix.IncomingCall]) -> None:
        leg = await a.invite(f"sips:bob@{B}", identity=ana)
        assert calls[0].asserted == ana
        await leg.hangup()

    play(
        ca,
        story,
        "gate.example.net",
        of_a={"trusted_peers": (f"tls:{B}",)},
        trusted_peers=("tls:gate.example.net",),
    )


def test_a_certificate_that_somebody_else_signed_is_no_login(ca: Authority, tmp_path: Path) -> None:
    async def story(a: rtpmix.Server, b: rtpmix.Server, calls: list[rtpmix.IncomingCall]) -> None:
        with pytest.raises(rtpmix.CallFailed):
            await a.invite(f"sips:bob@{B}")
        assert calls == []
        assert b.contacts("ana") == 0

    play(ca, story, "sip:ana@example.net", by=Authority(tmp_path, "other"))


@pytest.mark.parametrize(
    ("names", "proved"),
    [
        ((("URI", "SIP:Ana@Example.net"), ("DNS", "x.example.net")), ("sip:Ana@example.net",)),
        ((("DNS", "X.example.net"), ("IP Address", "192.0.2.9")), ("x.example.net",)),
        ((("URI", "https://example.net"), ("DNS", "a")), ("a",)),
        ((), ()),
    ],
)
def test_the_uris_of_a_certificate_go_before_its_host_names(
    names: tuple[tuple[str, str], ...], proved: tuple[str, ...]
) -> None:
    """RFC 5922 section 7.1."""
    assert identities_proved({"subjectAltName": names}) == proved
    assert identities_proved(None) == identities_proved({}) == ()
