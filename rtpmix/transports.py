"""Where a server listens for SIP, how it uses TLS, and what it bears from streams."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from .errors import UsageError

TRANSPORTS = ("udp", "tcp", "tls", "ws", "wss")
SECURE = ("TLS", "WSS")
WEB = ("WS", "WSS")
TLS_VERSIONS = ("1.2", "1.3")


class Listen(NamedTuple):
    """One parsed entry of `Config.sip_listen`."""

    transport: str  # "UDP", "TCP", "TLS", "WS" or "WSS"
    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Listen:
        """Read ``"udp:192.0.2.1:5060"``; an IPv6 address stands in brackets."""
        transport, _, rest = text.partition(":")
        host, _, port = rest.rpartition(":")
        if transport.lower() not in TRANSPORTS or not host or not port.isdecimal():
            raise UsageError(
                f"sip_listen entry {text!r} is not 'udp:ADDRESS:PORT', or the same with "
                "'tcp', 'tls', 'ws' or 'wss'"
            )
        if ":" in host and not (host.startswith("[") and host.endswith("]")):
            raise UsageError(f"sip_listen entry {text!r}: put the IPv6 address in brackets")
        host = host.removeprefix("[").removesuffix("]")
        check_address("sip_listen", host)
        if int(port) > 65535:
            raise UsageError(f"sip_listen entry {text!r}: a port is at most 65535")
        return cls(transport.upper(), host, int(port))


@dataclass(frozen=True, kw_only=True)
class TlsConfig:
    """Certificates for SIP over TLS and WSS; the files are PEM.

    `Server.reload_certificates` reads them again; changed files are also noticed, and used for
    connections from then on.

    Parameters
    ----------
    certificate
        This server's certificate, then those that lead to its root. Also shown to servers that
        ask for one.
    key
        Its private key. None: it is in ``certificate``.
    key_password
        For an encrypted key.
    names
        More certificates by the server name that a client asks for (SNI): name to
        ``(certificate, key)``; ``"*.example.com"`` covers one label.
    client_ca
        Certificates of those who may sign a client's. With it, clients of ``tls:`` listeners
        must show one (mutual TLS); browsers, which come by ``wss:``, are not asked.
    client_certificates
        "required", or "optional" to take clients without a certificate as well.
    trust
        Whose signatures on other servers' certificates to believe. None: the system's list.
    verify
        False connects to servers whoever they are, to try things out: anybody on the way can
        then listen and change what is said.
    minimum_version
        "1.2" or "1.3".
    watch_s
        Seconds between looks at the files; 0 never looks.
    """

    certificate: Path | str
    key: Path | str | None = None
    key_password: str | None = field(default=None, repr=False)
    names: Mapping[str, tuple[Path | str, Path | str]] = field(default_factory=dict)
    client_ca: Path | str | None = None
    client_certificates: str = "required"
    trust: Path | str | None = None
    verify: bool = True
    minimum_version: str = "1.2"
    watch_s: float = 60.0

    def __post_init__(self) -> None:
        if self.minimum_version not in TLS_VERSIONS:
            raise UsageError(
                f"minimum_version {self.minimum_version!r}: choose '1.2' or '1.3'; "
                "what came before is broken (RFC 8996)"
            )
        if self.client_certificates not in ("required", "optional"):
            raise UsageError(
                f"client_certificates {self.client_certificates!r}: choose 'required' or "
                "'optional'; without client_ca nobody is asked"
            )
        if self.watch_s < 0:
            raise UsageError("watch_s can't be negative; 0 never looks at the files")
        lowered = {name.lower(): pair for name, pair in self.names.items()}
        object.__setattr__(self, "names", MappingProxyType(lowered))

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file that is named here."""
        named = [self.certificate, self.key, self.client_ca, self.trust]
        for pair in self.names.values():
            named.extend(pair)
        return tuple(Path(name) for name in named if name is not None)


@dataclass(frozen=True, kw_only=True)
class StreamLimits:
    """What is borne from connections (TCP, TLS, WebSocket). Times are seconds.

    Parameters
    ----------
    connections
        At a time, from everybody.
    per_source
        At a time, from one address (IPv6: one /64 network). Many phones may share one behind a
        NAT.
    opening
        At a time without having sent anything whole; one more takes the place of the oldest.
    connect_s
        To connect to a peer and shake hands with it.
    handshake_s
        For a client's TLS and WebSocket handshakes.
    first_message_s
        From then to its first whole message.
    message_s
        From the first octet of a message to its last.
    idle_s
        Without any message or keep-alive. More than a registration lasts, or phones that send no
        keep-alive lose theirs.
    keep_alive_s
        After which silence we send a keep-alive on connections that we opened (a double CRLF) and
        to WebSocket clients (a ping); 0 never sends one.
    """

    connections: int = 10_000
    per_source: int = 500
    opening: int = 1_000
    connect_s: float = 5.0
    handshake_s: float = 10.0
    first_message_s: float = 30.0
    message_s: float = 30.0
    idle_s: float = 3900.0
    keep_alive_s: float = 30.0

    def __post_init__(self) -> None:
        for name in ("connections", "per_source", "opening"):
            if getattr(self, name) < 1:
                raise UsageError(f"StreamLimits.{name} is at least 1")
        times = ("connect_s", "handshake_s", "first_message_s", "message_s", "idle_s")
        for name in times:
            if getattr(self, name) <= 0:
                raise UsageError(f"StreamLimits.{name} is a time above 0")
        if self.keep_alive_s < 0:
            raise UsageError("StreamLimits.keep_alive_s can't be negative; 0 sends none")


def check_address(name: str, text: str) -> None:
    """Refuse what is no IP address."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        raise UsageError(f"{name} {text!r} is not an IP address; names are not resolved") from None
