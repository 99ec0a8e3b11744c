"""TLS: contexts out of files, the layer without I/O, and calls over it in virtual time."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

import rtpmix
from rtpmix import TlsConfig, UsageError
from rtpmix.server.layers import LayerError
from rtpmix.server.tls import TlsContexts, TlsLayer, names_proved
from rtpmix.testing import VirtualNet, run
from rtpmix.testing.servers import virtual_server
from tests.server.pki import Authority

A, B = "192.0.2.1", "192.0.2.2"


@pytest.fixture
def ca(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def tls_config(ca: Authority, *names: str, file: str = "server", **more: Any) -> TlsConfig:
    certificate, key = ca.issue(file, *names)
    return TlsConfig(certificate=certificate, key=key, trust=ca.certificate, **more)


def shake_hands(client: TlsLayer, server: TlsLayer) -> None:
    """Carry octets both ways until nobody has more to say."""
    to_server = client.start()
    assert server.start() == b""
    while to_server:
        to_client = server.receive(to_server).reply
        to_server = client.receive(to_client).reply if to_client else b""


def layers(
    config: TlsConfig, server_name: str = "a.example", client: TlsConfig | None = None
) -> tuple[TlsLayer, TlsLayer]:
    contexts = TlsContexts(config)
    ours = TlsContexts(client) if client is not None else contexts
    return TlsLayer(ours.client, server_name), TlsLayer(contexts.server)


# ------------------------------------------------------------------------------- the layer


def test_what_one_side_sends_the_other_reads_and_the_wire_does_not_show(ca: Authority) -> None:
    client, server = layers(tls_config(ca, "a.example"))
    shake_hands(client, server)
    assert client.established
    assert server.established
    wire = client.send(b"secret " * 10_000)
    assert b"secret" not in wire
    received = b"".join(
        part
        for start in range(0, len(wire), 999)
        for part in server.receive(wire[start : start + 999]).inside
    )
    assert received == b"secret " * 10_000


def test_the_peer_must_prove_the_name_that_was_called(ca: Authority) -> None:
    """RFC 5922 section 7.3: the domain of the URI, whatever DNS says."""
    client, server = layers(tls_config(ca, "a.example"), "b.example")
    with pytest.raises(LayerError, match="VERIFY"):
        shake_hands(client, server)
    assert not client.established


def test_an_address_is_proved_by_an_address_in_the_certificate(ca: Authority) -> None:
    client, server = layers(tls_config(ca, A), A)
    shake_hands(client, server)
    assert client.established


def test_a_certificate_that_somebody_else_signed_is_refused(ca: Authority, tmp_path: Path) -> None:
    other = Authority(tmp_path, "other")
    client, server = layers(tls_config(other, "a.example"), client=tls_config(ca, file="client"))
    with pytest.raises(LayerError, match="VERIFY"):
        shake_hands(client, server)


def test_an_expired_certificate_is_refused(ca: Authority) -> None:
    certificate, key = ca.issue("old", "a.example", days=-1)
    config = TlsConfig(certificate=certificate, key=key, trust=ca.certificate)
    with pytest.raises(LayerError, match="VERIFY"):
        shake_hands(*layers(config))


def test_without_verification_anybody_will_do(ca: Authority) -> None:
    client, server = layers(tls_config(ca, "a.example", verify=False), "b.example")
    shake_hands(client, server)
    assert client.established


def test_what_is_older_than_tls_1_2_is_refused(ca: Authority) -> None:
    """RFC 8996."""
    server = TlsLayer(TlsContexts(tls_config(ca, "a.example")).server)
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname = False
    old.verify_mode = ssl.CERT_NONE
    old.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(LayerError) as failed:
        server.receive(TlsLayer(old, "a.example").start())
    assert failed.value.reply[:1] == b"\x15"  # an alert tells the client why


@pytest.mark.parametrize("junk", [b"INVITE sip:a@b SIP/2.0\r\n\r\n", b"\x16\x03\x01\xff\xff" * 99])
def test_what_is_no_tls_is_a_layer_error_and_nothing_else(ca: Authority, junk: bytes) -> None:
    server = TlsLayer(TlsContexts(tls_config(ca, "a.example")).server)
    with pytest.raises(LayerError):
        server.receive(junk)


def test_the_certificate_follows_the_name_that_the_client_asks_for(ca: Authority) -> None:
    """RFC 6066 section 3 (SNI); a wildcard stands for one label."""
    more = {
        "B.example": ca.issue("b", "b.example"),
        "*.wild.example": ca.issue("wild", "*.wild.example"),
    }
    config = tls_config(ca, "a.example", names=more)
    for name in ("a.example", "b.example", "x.wild.example"):
        client, server = layers(config, name)
        shake_hands(client, server)
        assert client.established, name
    with pytest.raises(LayerError, match="VERIFY"):
        shake_hands(*layers(config, "x.y.wild.example"))


def test_mutual_tls_asks_who_the_client_is(ca: Authority, tmp_path: Path) -> None:
    config = tls_config(ca, "a.example", client_ca=ca.certificate)
    client, server = layers(config, client=tls_config(ca, "sip:b.example", file="client"))
    shake_hands(client, server)
    assert server.peer_names == ("b.example",)
    other = Authority(tmp_path, "other")
    certificate, key = other.issue("stranger", "b.example")
    stranger = TlsConfig(certificate=certificate, key=key, trust=ca.certificate)
    client, server = layers(config, client=stranger)
    with pytest.raises(LayerError, match="VERIFY"):
        shake_hands(client, server)


def test_browsers_are_not_asked_who_they_are(ca: Authority) -> None:
    contexts = TlsContexts(tls_config(ca, "a.example", client_ca=ca.certificate))
    assert contexts.server.verify_mode is ssl.CERT_REQUIRED
    assert contexts.browsers.verify_mode is ssl.CERT_NONE
    optional = tls_config(ca, "a.example", client_ca=ca.certificate, client_certificates="optional")
    assert TlsContexts(optional).server.verify_mode is ssl.CERT_OPTIONAL


@pytest.mark.parametrize(
    ("names", "proved"),
    [
        ([("URI", "sip:Example.com"), ("DNS", "other.example")], ("example.com",)),
        ([("URI", "sip:alice@example.com"), ("DNS", "Other.example")], ("other.example",)),
        ([("IP Address", "192.0.2.1")], ()),
    ],
)
def test_the_names_of_a_certificate_are_its_sip_uris_or_else_its_dns_names(
    names: list[tuple[str, str]], proved: tuple[str, ...]
) -> None:
    """RFC 5922 section 7.1."""
    assert names_proved({"subjectAltName": names}) == proved


# -------------------------------------------------------------------------------- the files


def test_a_renewed_certificate_is_used_for_the_next_connection(ca: Authority) -> None:
    config = tls_config(ca, "a.example")
    contexts = TlsContexts(config)
    before = TlsLayer(contexts.client, "a.example"), TlsLayer(contexts.server)
    shake_hands(*before)
    assert not contexts.reload_if_changed()
    ca.issue("server", "b.example")  # into the same files
    assert contexts.reload_if_changed()
    shake_hands(TlsLayer(contexts.client, "b.example"), TlsLayer(contexts.server))
    assert before[1].receive(before[0].send(b"still open")).inside == [b"still open"]


def test_a_bad_certificate_changes_nothing_and_is_not_read_again_and_again(
    ca: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    config = tls_config(ca, "a.example")
    contexts = TlsContexts(config)
    Path(config.certificate).write_text("renewal was interrupted")
    assert not contexts.reload_if_changed()
    assert not contexts.reload_if_changed()
    assert contexts.snapshot() == {"reloads": 0, "reload_failures": 1}
    assert "server.pem" in caplog.text
    shake_hands(TlsLayer(contexts.client, "a.example"), TlsLayer(contexts.server))


def test_a_key_with_a_password_needs_it_and_asks_no_terminal(ca: Authority) -> None:
    certificate, key = ca.issue("locked", "a.example", password="sesame")
    TlsContexts(TlsConfig(certificate=certificate, key=key, key_password="sesame"))
    with pytest.raises(UsageError, match="locked"):
        TlsContexts(TlsConfig(certificate=certificate, key=key))


def test_a_file_that_is_missing_is_named(ca: Authority, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="absent"):
        TlsContexts(TlsConfig(certificate=tmp_path / "absent.pem"))
    certificate, _ = ca.issue("one", "a.example")
    _, key = ca.issue("two", "a.example")
    with pytest.raises(UsageError, match="can't be used"):
        TlsContexts(TlsConfig(certificate=certificate, key=key))


def test_a_password_is_not_in_the_configurations_text(ca: Authority) -> None:
    assert "sesame" not in repr(TlsConfig(certificate="x", key_password="sesame"))


# -------------------------------------------------------------------------------- calls

Story = Callable[[rtpmix.Server, rtpmix.Server, list[rtpmix.IncomingCall]], Awaitable[Any]]


def play(story: Story, first: TlsConfig, second: TlsConfig, **config: Any) -> None:
    """Run a story with two servers; the second one answers every call."""
    net = VirtualNet(seed=1, delay_ms=5)

    async def main() -> None:
        a = virtual_server(net, host=A, sip_listen=(f"tls:{A}:5061",), tls=first, **config)
        b = virtual_server(net, host=B, seed=2, sip_listen=(f"tls:{B}:5061",), tls=second)
        calls: list[rtpmix.IncomingCall] = []

        @b.on_invite
        async def answer(call: rtpmix.IncomingCall) -> None:
            calls.append(call)
            leg = await call.answer()
            await leg.closed()

        async with a, b:
            await story(a, b, calls)
            await asyncio.sleep(40)
            for server in (a, b):
                live = server.snapshot()["sip"]
                assert live["calls"] == live["dialogs"] == live["timers"] == 0

    run(main(), net, limit=500)


def test_a_call_to_a_sips_uri_is_secure_from_end_to_end(ca: Authority) -> None:
    """RFC 3261 sections 8.1.1.8, 12.1.1 and 26.2.2: TLS, and Contacts that are sips as well."""

    async def story(a: rtpmix.Server, b: rtpmix.Server, calls: list[rtpmix.IncomingCall]) -> None:
        leg = await a.invite(f"sips:bob@{B}")
        assert calls[0].flow.transport == "TLS"
        via, contact = calls[0].header("Via"), calls[0].header("Contact")
        assert via is not None
        assert via.startswith(f"SIP/2.0/TLS {A}:5061;")
        assert contact == f"<sips:rtpmix@{A}:5061>"
        await leg.hold()  # within the dialog, over the same connection
        await leg.hangup()
        assert a.snapshot()["streams"]["connections"] == 1

    play(story, tls_config(ca, A, file="a"), tls_config(ca, B, file="b"))


def test_a_call_asks_for_tls_with_the_transport_parameter_too(ca: Authority) -> None:
    async def story(a: rtpmix.Server, b: rtpmix.Server, calls: list[rtpmix.IncomingCall]) -> None:
        leg = await a.invite(f"sip:bob@{B};transport=tls")
        assert calls[0].header("Contact") == f"<sip:rtpmix@{A}:5061;transport=tls>"
        await leg.hangup()

    play(story, tls_config(ca, A, file="a"), tls_config(ca, B, file="b"))


def test_a_call_to_a_server_that_proves_another_name_fails_with_503(ca: Authority) -> None:
    async def story(a: rtpmix.Server, b: rtpmix.Server, calls: list[rtpmix.IncomingCall]) -> None:
        with pytest.raises(rtpmix.CallFailed) as failed:
            await a.invite(f"sips:bob@{B}")
        assert failed.value.status == 503
        assert calls == []

    play(story, tls_config(ca, A, file="a"), tls_config(ca, "192.0.2.66", file="b"))


def test_a_proved_client_is_called_back_over_the_connection_that_it_opened(
    ca: Authority,
) -> None:
    """RFC 5923 section 8.2: by the address of its Via, for a name of its certificate."""

    async def story(a: rtpmix.Server, b: rtpmix.Server, calls: list[rtpmix.IncomingCall]) -> None:
        a.on_invite(b._board.handler)  # type: ignore[union-attr, arg-type]
        there = await a.invite(f"sip:bob@{B};transport=tls")
        flow = b._board.flow_to("TLS", (A, 5061), "a.example")  # type: ignore[union-attr]
        shell = b._board.open_shell  # type: ignore[union-attr]
        shell.streams.send(flow, b"OPTIONS sip:a SIP/2.0\r\n\r\n")
        assert b.snapshot()["streams"]["connections"] == 1
        stranger = flow._replace(name="victim.example")
        shell.streams.send(stranger, b"x")
        await asyncio.sleep(1)
        assert b.snapshot()["streams"]["failed"] == 1  # a new connection, which proves nothing
        await there.hangup()

    first = tls_config(ca, A, "a.example", file="a")
    play(story, first, tls_config(ca, B, file="b", client_ca=ca.certificate))


def test_reloading_wants_certificates_to_reload(ca: Authority) -> None:
    async def main() -> None:
        net_server = rtpmix.Server(rtpmix.Config(sip_listen=("udp:127.0.0.1:0",)))
        with pytest.raises(UsageError, match="no certificates"):
            await net_server.reload_certificates()

    asyncio.run(main())


def test_files_are_watched_and_a_program_may_reload_them_at_once(ca: Authority) -> None:
    async def story(a: rtpmix.Server, b: rtpmix.Server, calls: list[rtpmix.IncomingCall]) -> None:
        ca.issue("a", A, "renewed.example")
        await asyncio.sleep(11)
        assert a.snapshot()["certificates"]["reloads"] == 1
        await a.reload_certificates()
        assert a.snapshot()["certificates"]["reloads"] == 2

    first = tls_config(ca, A, file="a", watch_s=10.0)
    play(story, first, tls_config(ca, B, file="b"))
