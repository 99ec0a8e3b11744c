"""A configuration is checked when it is made, and says what to do instead."""

from __future__ import annotations

import dataclasses

import pytest

from rtpmix import Config, StreamLimits, TlsConfig, UsageError
from rtpmix.config import Listen


@pytest.mark.parametrize(
    ("wrong", "remedy"),
    [
        ({"sip_listen": "udp:0.0.0.0:5060"}, "a tuple of entries"),
        ({"sip_listen": ("sctp:0.0.0.0:5060",)}, "'udp:ADDRESS:PORT'"),
        ({"sip_listen": ("udp:0.0.0.0",)}, "'udp:ADDRESS:PORT'"),
        ({"sip_listen": ("udp:pbx.example.com:5060",)}, "names are not resolved"),
        ({"sip_listen": ("udp:0.0.0.0:70000",)}, "at most 65535"),
        ({"sip_listen": ("udp:::1:5060",)}, "in brackets"),
        ({"sip_listen": ("tls:0.0.0.0:5061",)}, "set tls"),
        ({"sip_listen": ("ws:0.0.0.0:80",)}, "name their origins"),
        ({"websocket_origins": "https://phone.example.com"}, "is a tuple"),
        ({"outbound_proxy": "proxy.example.com"}, "write sip:host;lr"),
        ({"outbound_proxy": "sip:proxy.example.com"}, "add ';lr'"),
        ({"routes": "sip:a.example;lr"}, "is a tuple"),
        ({"media_address_v6": "192.0.2.1"}, "goes to media_address"),
        ({"media_address": "here"}, "not an IP address"),
        ({"rtp_ports": range(20000, 20001)}, "at least 2 ports"),
        ({"rtp_ports": range(20000, 30000, 2)}, "at least 2 ports"),
        ({"rtp_ports": range(80, 1200)}, "within 1024 to 65535"),
        ({"legs_per_port": 0}, "give 1 to 200"),
        ({"legs_per_port": 201}, "give 1 to 200"),
        ({"codecs": ("OPUS",)}, "choose one or more of PCMU, PCMA"),
        ({"codecs": ()}, "choose one or more of"),
        ({"jitter_ms": -1}, "can't be negative"),
        ({"max_calls": -1}, "can't be negative"),
        ({"media_timeout_s": -1.0}, "0 turns the timeout off"),
        ({"require_login": True}, "name some users"),
    ],
)
def test_a_wrong_value_is_refused_with_its_remedy(wrong: dict[str, object], remedy: str) -> None:
    with pytest.raises(UsageError, match=remedy):
        Config(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("wrong", "remedy"),
    [
        ({"minimum_version": "1.1"}, "RFC 8996"),
        ({"client_certificates": "maybe"}, "'required' or 'optional'"),
        ({"watch_s": -1.0}, "0 never looks"),
    ],
)
def test_wrong_tls_is_refused_with_its_remedy(wrong: dict[str, object], remedy: str) -> None:
    with pytest.raises(UsageError, match=remedy):
        TlsConfig(certificate="x.pem", **wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("wrong", "remedy"),
    [
        ({"connections": 0}, "at least 1"),
        ({"message_s": 0.0}, "above 0"),
        ({"keep_alive_s": -1.0}, "0 sends none"),
    ],
)
def test_a_wrong_limit_is_refused_with_its_remedy(wrong: dict[str, object], remedy: str) -> None:
    with pytest.raises(UsageError, match=remedy):
        StreamLimits(**wrong)  # type: ignore[arg-type]


def test_the_users_cannot_change_behind_the_configuration() -> None:
    users = {"alice": "secret"}
    config = Config(users=users)
    users["mallory"] = "x"
    assert dict(config.users) == {"alice": "secret"}
    with pytest.raises(TypeError):
        config.users["mallory"] = "x"  # type: ignore[index]


def test_passwords_are_in_no_representation() -> None:
    assert "secret" not in repr(Config(users={"alice": "secret"}))


def test_a_configuration_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Config().realm = "other"  # type: ignore[misc]


def test_an_ipv6_listener_stands_in_brackets() -> None:
    assert Listen.parse("tcp:[::1]:5070") == Listen("TCP", "::1", 5070)
