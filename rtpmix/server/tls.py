"""TLS for SIP: contexts made from files and made anew when these change, and the TLS layer.

References
----------
RFC 3261 section 26.2 and 26.3; RFC 5922; RFC 8996
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from ..errors import UsageError
from ..sip.trust import identity_key
from ..transports import TlsConfig
from .layers import LayerError, Received

logger = logging.getLogger(__name__)

_VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
_READ = 64 * 1024  # octets

_Stamp = tuple[tuple[int, int, int], ...]


class TlsContexts:
    """The contexts of one server.

    Raises
    ------
    UsageError
        When a file can't be read, or a key is not that of its certificate; it names the file.

    Attributes
    ----------
    server, browsers, client
        For ``tls:`` listeners, for ``wss:`` listeners, for connections that we open. A reload
        replaces all three, and leaves open connections alone.
    reloads, failures
        How often the files were read again with success, and without.
    """

    def __init__(self, config: TlsConfig) -> None:
        self._config = config
        self.reloads = self.failures = 0
        self._stamp = self._look()
        self._load()

    def reload(self) -> None:
        """Read all files again. When one is bad, nothing changes and `UsageError` says which."""
        stamp = self._look()
        try:
            self._load()
        except UsageError:
            self.failures += 1
            raise
        finally:
            self._stamp = stamp  # a bad file is tried again when it changes, not all the time
        self.reloads += 1

    def reload_if_changed(self) -> bool:
        """Reload when a file has changed; a bad one is logged, and the old contexts stay."""
        if self._look() == self._stamp:
            return False
        try:
            self.reload()
        except UsageError as error:
            logger.error("certificates not reloaded: %s", error)
            return False
        logger.info("certificates reloaded")
        return True

    def snapshot(self) -> dict[str, int]:
        """Count reloads."""
        return {"reloads": self.reloads, "reload_failures": self.failures}

    def _look(self) -> _Stamp:
        stamps = []
        for path in self._config.files:
            try:
                found = path.stat()
            except OSError:
                stamps.append((0, 0, 0))
            else:
                stamps.append((found.st_ino, found.st_size, found.st_mtime_ns))
        return tuple(stamps)

    def _load(self) -> None:
        config = self._config
        by_name = {name: self._listening(*pair) for name, pair in config.names.items()}
        browsers = self._listening(config.certificate, config.key)
        server = self._listening(config.certificate, config.key)
        if config.client_ca is not None:
            _read(config.client_ca, lambda path: server.load_verify_locations(path))
            required = config.client_certificates == "required"
            server.verify_mode = ssl.CERT_REQUIRED if required else ssl.CERT_OPTIONAL
        for context in (browsers, server):
            context.sni_callback = _choosing(by_name)
        client = self._connecting()
        self.server, self.browsers, self.client = server, browsers, client

    def _listening(self, certificate: Path | str, key: Path | str | None) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._harden(context)
        self._load_pair(context, certificate, key)
        return context

    def _connecting(self) -> ssl.SSLContext:
        config = self._config
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._harden(context)
        self._load_pair(context, config.certificate, config.key)
        if not config.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        elif config.trust is not None:
            _read(config.trust, lambda path: context.load_verify_locations(path))
        else:
            context.load_default_certs(ssl.Purpose.SERVER_AUTH)
        return context

    def _harden(self, context: ssl.SSLContext) -> None:
        context.minimum_version = _VERSIONS[self._config.minimum_version]
        # A client that renegotiates makes us compute for nothing, as often as it likes.
        context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION

    def _load_pair(
        self, context: ssl.SSLContext, certificate: Path | str, key: Path | str | None
    ) -> None:
        # Without a password given, OpenSSL would ask the terminal for one and wait.
        password = self._config.key_password or ""
        _read(certificate, lambda path: context.load_cert_chain(path, key, lambda: password))


def _read(file: Path | str, load: Callable[[str], object]) -> None:
    try:
        load(str(file))
    except ssl.SSLError as exc:
        raise UsageError(
            f"TLS file {str(file)!r} or its key can't be used ({exc.reason or exc}): "
            "give PEM files, and the key of this certificate"
        ) from exc
    except OSError as exc:
        raise UsageError(
            f"TLS file {str(file)!r} or its key can't be read: {exc.strerror or exc}"
        ) from exc


def _choosing(
    by_name: dict[str, ssl.SSLContext],
) -> Callable[[ssl.SSLObject, str | None, ssl.SSLContext], None]:
    """Return the callback that takes the certificate for the name that a client asks for."""

    def choose(session: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
        asked = (name or "").lower()
        found = by_name.get(asked) or by_name.get(f"*.{asked.partition('.')[2]}")
        if found is not None:
            session.context = found

    return choose


class TlsLayer:
    """One TLS session, without I/O.

    Parameters
    ----------
    server_name
        For a session that we open: the name or address that the peer must prove to have
        (RFC 5922 section 7.3: of the URI that led there, not of what DNS made of it). None: a
        client opened the session.
    """

    def __init__(self, context: ssl.SSLContext, server_name: str | None = None) -> None:
        self.established = False
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._session = context.wrap_bio(
            self._incoming,
            self._outgoing,
            server_side=server_name is None,
            server_hostname=server_name,
        )

    def start(self) -> bytes:
        """Return the hello of a client; nothing for a server."""
        self._shake_hands()
        return self._outgoing.read()

    def receive(self, data: bytes) -> Received:
        """Take records; return what was in them."""
        self._incoming.write(data)
        inside: list[bytes] = []
        try:
            if not self.established and not self._shake_hands():
                return Received(inside, self._outgoing.read())
            closed = self._read_all(inside)
        except ssl.SSLError as error:
            raise LayerError(error.reason or "TLS failed", self._outgoing.read()) from error
        return Received(inside, self._outgoing.read(), closed)

    def send(self, data: bytes) -> bytes:
        """Encrypt."""
        view = memoryview(data)
        try:
            while view:
                view = view[self._session.write(view) :]
        except ssl.SSLError as error:
            raise LayerError(error.reason or "TLS failed", self._outgoing.read()) from error
        return self._outgoing.read()

    def ping(self) -> bytes:
        """Return nothing: TLS keeps no path open."""
        return b""

    def close(self) -> bytes:
        """Return the alert that says that no more comes."""
        with suppress(ssl.SSLError, ValueError):  # the peer's own alert is not waited for
            self._session.unwrap()
        return self._outgoing.read()

    @property
    def peer_names(self) -> tuple[str, ...]:
        """The SIP domains that the peer's certificate proves, in lower case; see `names_proved`."""
        return names_proved(self._session.getpeercert()) if self.established else ()

    @property
    def peer_identities(self) -> tuple[str, ...]:
        """Everybody whom the peer's certificate proves; see `identities_proved`."""
        return identities_proved(self._session.getpeercert()) if self.established else ()

    def _shake_hands(self) -> bool:
        try:
            self._session.do_handshake()
        except ssl.SSLWantReadError:
            return False
        self.established = True
        return True

    def _read_all(self, inside: list[bytes]) -> bool:
        """Read what can be read; True when the peer has closed the session."""
        while True:
            try:
                data = self._session.read(_READ)
            except ssl.SSLWantReadError:
                return False
            except ssl.SSLZeroReturnError:
                return True
            if not data:
                return True
            inside.append(data)


def names_proved(certificate: object) -> tuple[str, ...]:
    """Return the SIP domains of a checked certificate, as ``getpeercert`` gives it.

    The URIs ``sip:DOMAIN`` of its subjectAltName, or, where it has none, its DNS names.

    References
    ----------
    RFC 5922 section 7.1
    """
    if not isinstance(certificate, dict):
        return ()
    names = certificate.get("subjectAltName", ())
    uris = [value for kind, value in names if kind == "URI" and value[:4].lower() == "sip:"]
    domains = [uri[4:].lower() for uri in uris if "@" not in uri]
    if domains:
        return tuple(domains)
    return tuple(value.lower() for kind, value in names if kind == "DNS")


def identities_proved(certificate: object) -> tuple[str, ...]:
    """Return whom a checked certificate proves: its SIP URIs, or, without any, its DNS names.

    A URI may name a user (``sip:alice@example.com``) or a domain (``sip:example.com``).

    References
    ----------
    RFC 5922 section 7.1; RFC 3261 section 26.1
    """
    if not isinstance(certificate, dict):
        return ()
    names = certificate.get("subjectAltName", ())
    uris = [identity_key(value) for kind, value in names if kind == "URI"]
    sip = tuple(uri for uri in uris if uri.startswith(("sip:", "sips:")))
    return sip or tuple(identity_key(value) for kind, value in names if kind == "DNS")
