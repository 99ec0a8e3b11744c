"""Three users of one server: their passwords and tones, and certificates for both sides of TLS."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

import rtpmix
from tests.interop.sipp import server_address
from tests.server.pki import Authority

TONES = {"alice": 437.0, "bob": 1013.0, "carol": 1693.0}
TRANSPORTS = pytest.mark.parametrize("transport", ["udp", "tcp", "tls"])
USERS = {"alice": "wonderland", "bob": "builder", "carol": "christmas"}
REALM = "pbx.test"


class Certificates:
    """One authority, and what it signed for the server and for the phones."""

    def __init__(self, folder: Path, *addresses: str) -> None:
        folder.mkdir()
        self._authority = Authority(folder)
        self.ca = self._authority.certificate
        self.server, self.server_key = self._authority.issue("server", *addresses, REALM)
        self.phone, self.phone_key = self._authority.issue("phone", *addresses)
        self.phone_and_key = _in_one(self.phone, self.phone_key)
        stranger = Authority(folder, "stranger")
        self.stranger = stranger.certificate
        self.stranger_and_key = _in_one(*stranger.issue("burglar", *addresses))

    @property
    def config(self) -> rtpmix.TlsConfig:
        """Each side has to show the other a certificate."""
        return rtpmix.TlsConfig(
            certificate=self.server, key=self.server_key, client_ca=self.ca, trust=self.ca
        )


def _in_one(certificate: Path, key: Path) -> Path:
    both = certificate.with_name(f"{certificate.stem}-and-key.pem")
    both.write_bytes(key.read_bytes() + certificate.read_bytes())
    return both


def with_users_and_tls(
    config: rtpmix.Config, certificates: Certificates, address: str = "127.0.0.1"
) -> rtpmix.Config:
    """Return a configuration with three users who may come by UDP, TCP and TLS."""
    return dataclasses.replace(
        config,
        sip_listen=tuple(f"{transport}:{address}:0" for transport in ("udp", "tcp", "tls")),
        tls=certificates.config,
        users=USERS,
        realm=REALM,
        require_login=True,
    )


def login(server: rtpmix.Server, user: str, transport: str) -> dict[str, str]:
    """Return what a phone needs to register: registrar, password and transport."""
    registrar = server_address(server, transport)
    return {"registrar": registrar, "password": USERS[user], "transport": transport}
