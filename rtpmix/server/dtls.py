"""DTLS handshakes that make SRTP keys, by OpenSSL in memory: datagrams in, datagrams out.

Nothing here waits or sends. OpenSSL keeps the time of retransmissions itself; `Handshake.poll` lets
it look at its clock.

References
----------
RFC 5764; RFC 5763 section 5 (the certificate is proved by the fingerprint in signalling); RFC 9147
"""

from __future__ import annotations

import datetime
import hashlib
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from ..errors import UsageError
from ..rtp.srtp import SUITES, MasterKey, StreamKeys
from ..sdp.ice import IceCredentials

if TYPE_CHECKING:
    from OpenSSL import SSL

MTU = 1200  # octets of a datagram of ours: through any tunnel
VALID_DAYS = 3650  # the fingerprint is the proof, not the dates
MAX_OUT = 64  # datagrams of ours that wait
_LABEL = b"EXTRACTOR-dtls_srtp"  # RFC 5764 section 4.2
_RECORD_HEADER = 13  # octets: type, version, epoch, sequence number, length
_DTLS_1_2 = 0xFEFD
# Best first; the names that OpenSSL has for the suites (RFC 5764 section 4.1.2, RFC 7714 14.2).
_PROFILES = {
    b"SRTP_AEAD_AES_256_GCM": "AEAD_AES_256_GCM",
    b"SRTP_AEAD_AES_128_GCM": "AEAD_AES_128_GCM",
    b"SRTP_AES128_CM_SHA1_80": "AES_CM_128_HMAC_SHA1_80",
    b"SRTP_AES128_CM_SHA1_32": "AES_CM_128_HMAC_SHA1_32",
}
_CIPHERS = b"ECDHE+AESGCM:ECDHE+CHACHA20"


def openssl() -> Any:
    """Return pyOpenSSL's ``SSL`` module.

    Raises
    ------
    UsageError
        It is not installed.
    """
    try:
        from OpenSSL import SSL
    except ImportError:
        raise UsageError(
            "DTLS-SRTP needs pyOpenSSL: pip install 'rtpmix[dtls]', or take 'dtls' out of "
            "Config.key_exchange"
        ) from None
    return SSL


def is_available() -> bool:
    """True where pyOpenSSL is installed."""
    return find_spec("OpenSSL") is not None


@dataclass(frozen=True, slots=True)
class DtlsIdentity:
    """A certificate and its key. The key does not show."""

    certificate: bytes  # PEM
    key: bytes = field(repr=False)  # PEM
    fingerprint: str  # as a=fingerprint has it

    @classmethod
    def generate(cls) -> DtlsIdentity:
        """Make a self-signed certificate on P-256 (RFC 8827 section 6.5)."""
        openssl()
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "rtpmix")])
        now = datetime.datetime.now(datetime.UTC)
        made = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=VALID_DAYS))
            .sign(key, hashes.SHA256())
        )
        pem = serialization.Encoding.PEM
        private = key.private_bytes(
            pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return cls(
            made.public_bytes(pem),
            private,
            f"sha-256 {made.fingerprint(hashes.SHA256()).hex(':').upper()}",
        )


@dataclass(frozen=True, slots=True)
class DtlsTerms:
    """What was agreed on a handshake: who we are, who the peer must be, who begins."""

    identity: DtlsIdentity
    fingerprints: tuple[tuple[str, bytes], ...]
    is_client: bool
    ice: IceCredentials | None = None  # answers the checks of a peer that speaks ICE


@lru_cache(maxsize=16)
def _context(identity: DtlsIdentity) -> SSL.Context:
    library = openssl()
    context: SSL.Context = library.Context(library.DTLS_METHOD)
    context.set_min_proto_version(_DTLS_1_2)
    context.set_options(library.OP_NO_TICKET | library.OP_NO_QUERY_MTU)
    # Any certificate goes here: `Handshake` compares its fingerprint (RFC 5763 section 5).
    verify = library.VERIFY_PEER | library.VERIFY_FAIL_IF_NO_PEER_CERT
    context.set_verify(verify, lambda *_: True)
    context.use_certificate(x509.load_pem_x509_certificate(identity.certificate))
    key = serialization.load_pem_private_key(identity.key, None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    context.use_privatekey(key)
    context.set_cipher_list(_CIPHERS)
    context.set_tlsext_use_srtp(b":".join(_PROFILES))
    return context


class Handshake:
    """One DTLS association.

    Attributes
    ----------
    keys
        Of SRTP, once the handshake is done and the peer's certificate is the one that it named.
    failed
        True: it never will be.
    begun
        Something came, or was to be sent.
    farewell
        What we sent last to get there: a peer that did not get it asks for it again.
    """

    def __init__(self, terms: DtlsTerms) -> None:
        self._library = openssl()
        self._terms = terms
        self.keys: StreamKeys | None = None
        self.failed = False
        self.begun = terms.is_client
        self.farewell: tuple[bytes, ...] = ()
        self._out: deque[bytes] = deque(maxlen=MAX_OUT)
        self._connection = self._library.Connection(_context(terms.identity))
        self._connection.set_ciphertext_mtu(MTU)
        if terms.is_client:
            self._connection.set_connect_state()
            self._advance()
        else:
            self._connection.set_accept_state()

    def receive(self, datagram: bytes) -> None:
        """Take a DTLS datagram; never raises for what a peer can send."""
        if self.failed or not datagram:
            return
        self.begun = True
        self._connection.bio_write(datagram)
        if self.keys is None:
            self._advance()
        else:
            self._read_on()

    def poll(self) -> None:
        """Send again what was not answered, if OpenSSL finds that it is time."""
        if self.failed or self.keys is not None:
            return
        try:
            self._connection.DTLSv1_handle_timeout()
        except self._library.Error:
            self.failed = True  # it has tried often enough
        self._flush()

    def datagrams(self) -> list[bytes]:
        """Return, once, what is to be sent."""
        out = list(self._out)
        self._out.clear()
        return out

    def _advance(self) -> None:
        try:
            self._connection.do_handshake()
        except self._library.WantReadError:
            pass
        except self._library.Error:
            self.failed = True
        else:
            self._finish()
        flight = self._flush()
        if self.keys is not None:
            self.farewell = tuple(flight)

    def _finish(self) -> None:
        if not self._is_the_named_peer():
            self.failed = True
            return
        suite = SUITES.get(_PROFILES.get(self._connection.get_selected_srtp_profile(), ""))
        if suite is None:
            self.failed = True
            return
        # RFC 5764 section 4.2: client key, server key, client salt, server salt.
        k, s = suite.key_length, suite.salt_length
        made = self._connection.export_keying_material(_LABEL, 2 * (k + s))
        client = MasterKey(suite, made[:k] + made[2 * k : 2 * k + s])
        server = MasterKey(suite, made[k : 2 * k] + made[2 * k + s :])
        pair = (client, server) if self._terms.is_client else (server, client)
        self.keys = StreamKeys(*pair)

    def _is_the_named_peer(self) -> bool:
        certificate = self._connection.get_peer_certificate(as_cryptography=True)
        if certificate is None:
            return False
        shown = certificate.public_bytes(serialization.Encoding.DER)
        return any(
            hashlib.new(name.replace("-", ""), shown).digest() == value
            for name, value in self._terms.fingerprints
        )

    def _read_on(self) -> None:
        """Let OpenSSL answer a peer that did not get our last flight."""
        # WantRead, or close_notify: signalling ends calls, not DTLS.
        with suppress(self._library.Error):
            self._connection.recv(MTU)
        self._flush()

    def _flush(self) -> list[bytes]:
        """Cut what OpenSSL wrote into datagrams: whole records, as many as fit."""
        try:
            written = self._connection.bio_read(1 << 16)
        except self._library.Error:
            return []
        flight: list[bytes] = []
        datagram = b""
        while len(written) >= _RECORD_HEADER:
            size = _RECORD_HEADER + int.from_bytes(written[11:13], "big")
            if datagram and len(datagram) + size > MTU:
                flight.append(datagram)
                datagram = b""
            datagram, written = datagram + written[:size], written[size:]
        if datagram:
            flight.append(datagram)
        self._out.extend(flight)
        return flight


def is_dtls(datagram: bytes) -> bool:
    """Tell DTLS from SRTP and STUN by the first octet (RFC 7983 section 7)."""
    return len(datagram) > 0 and 20 <= datagram[0] <= 63


def is_client_hello(datagram: bytes) -> bool:
    """True for the first record of a new association (RFC 6347 section 4.2.2)."""
    return len(datagram) > _RECORD_HEADER and datagram[0] == 22 and datagram[_RECORD_HEADER] == 1
