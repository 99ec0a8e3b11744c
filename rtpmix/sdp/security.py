"""Whether and how a stream is encrypted, by offer and answer, with no silent downgrade.

What may be agreed is a matter of policy (`Encryption`), of the profile in the ``m=`` line, and of
what was agreed before: a stream that was once encrypted never becomes a plain one.

References
----------
RFC 4568 (SDES); RFC 8643 (OSRTP: keys under ``RTP/AVP`` that may be passed over)
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from ..rtp.srtp import MasterKey, StreamKeys
from .crypto import CryptoLine, read_crypto
from .description import Attribute, MediaDescription, SessionDescription
from .fingerprint import DtlsSecured, read_dtls
from .ice import IceCredentials, speaks_ice
from .refusal import NegotiationError

PLAIN = ("RTP/AVP", "RTP/AVPF")  # RFC 3551, RFC 4585
DTLS = ("UDP/TLS/RTP/SAVP", "UDP/TLS/RTP/SAVPF")  # RFC 5764 section 8
SECURE = ("RTP/SAVP", "RTP/SAVPF", *DTLS)  # RFC 3711, RFC 5124


_ANSWERS = {"actpass": True, "passive": True, "active": False}  # their a=setup: do we begin?


class Encryption(Enum):
    """Whether a leg's media is encrypted.

    ``REQUIRED`` refuses whoever does not encrypt, ``OPTIONAL`` encrypts with whoever can, and
    ``FORBIDDEN`` never does.
    """

    REQUIRED = "required"
    OPTIONAL = "optional"
    FORBIDDEN = "forbidden"


@dataclass(frozen=True, slots=True, kw_only=True)
class Security:
    """What one side is ready for.

    Parameters
    ----------
    keys
        To send with, one for each suite, the best one first.
    fingerprint
        Of our DTLS certificate, as ``a=fingerprint`` has it; None: no DTLS-SRTP.
    prefers_dtls
        Offer DTLS-SRTP, not keys.
    web
        The peer is a browser, which takes nothing but ``UDP/TLS/RTP/SAVPF`` (RFC 8829 section
        5.1.2): where DTLS-SRTP may be offered it is, and no answer in the clear will do.
    ice
        Ours, for peers that check paths and agree on keys by DTLS; None: ICE is passed over.
    fresh_ice
        To take in its place where the peer begins ICE anew (RFC 8839 section 4.4).
    offers
        False: under an optional policy, use what a peer offers but offer nothing.
    """

    policy: Encryption = Encryption.FORBIDDEN
    keys: tuple[MasterKey, ...] = field(default=(), repr=False)
    fingerprint: str | None = None
    prefers_dtls: bool = False
    web: bool = False
    ice: IceCredentials | None = field(default=None, repr=False)
    fresh_ice: IceCredentials | None = field(default=None, repr=False)
    offers: bool = True

    @property
    def may_offer(self) -> bool:
        """True where an offer of ours holds keys."""
        optional = self.policy is Encryption.OPTIONAL and self.offers
        return self.policy is Encryption.REQUIRED or optional

    def key_for(self, suite: str) -> MasterKey | None:
        """Return our key of this suite; None where we do not serve it."""
        return next((key for key in self.keys if key.suite.name == suite), None)


IN_THE_CLEAR = Security()


@dataclass(frozen=True, slots=True)
class Secured:
    """How a stream is encrypted, seen from here: SDES keys."""

    tag: int
    ours: MasterKey = field(repr=False)  # we send with this one
    theirs: MasterKey = field(repr=False)

    @property
    def suite(self) -> str:
        """The name of the suite."""
        return self.ours.suite.name

    @property
    def keys(self) -> StreamKeys:
        """The keys of both directions."""
        return StreamKeys(self.ours, self.theirs)

    def attributes(self) -> list[Attribute]:
        """Return what our description says of it."""
        return [CryptoLine(self.tag, self.ours).attribute()]


def profile_to_offer(
    security: Security, protocol: str | None, current: Secured | DtlsSecured | None
) -> tuple[str, list[Attribute]]:
    """Return the profile of an offer and what it says about keys.

    Parameters
    ----------
    protocol, current
        What is in force, if this is a change to a session: the profile stays, and so does the
        suite, with the key that `Security` holds for it now.
    """
    if isinstance(current, DtlsSecured):
        return protocol or DTLS[0], _dtls_offer(current.ours)
    if current is not None:
        key = security.key_for(current.suite) or current.ours
        return protocol or SECURE[0], [CryptoLine(current.tag, key).attribute()]
    if protocol is not None and security.policy is not Encryption.REQUIRED:
        return protocol, []  # agreed in the clear
    if not security.may_offer:
        return PLAIN[0], []
    must = security.policy is Encryption.REQUIRED
    if security.prefers_dtls and security.fingerprint is not None:
        protocol = DTLS[1] if security.web else (DTLS if must else PLAIN)[0]
        return protocol, _dtls_offer(security.fingerprint)
    lines = [CryptoLine(tag, key).attribute() for tag, key in enumerate(security.keys, 1)]
    # RFC 8643 section 3.1: an offer that may be answered in the clear is one of RTP/AVP.
    return (SECURE if must else PLAIN)[0], lines


def _dtls_offer(fingerprint: str) -> list[Attribute]:
    # RFC 5763 section 5: the answerer chooses who begins. One handshake serves RTP and RTCP.
    said = Attribute("fingerprint", fingerprint), Attribute("setup", "actpass")
    return [*said, Attribute("rtcp-mux")]


def answer_security(
    session: SessionDescription,
    media: MediaDescription,
    security: Security,
    current: Secured | DtlsSecured | None,
) -> Secured | DtlsSecured | None:
    """Choose how to encrypt an offered stream; None for in the clear.

    Raises
    ------
    NegotiationError
        The policy, or what was agreed before, does not allow what is offered.
    """
    if media.protocol not in (*PLAIN, *SECURE):
        raise NegotiationError(302, "Incompatible transport protocol")
    must = security.policy is Encryption.REQUIRED or current is not None
    if security.policy is Encryption.FORBIDDEN:
        if media.protocol in SECURE:
            raise NegotiationError(302, "Incompatible transport protocol")
        return None
    lines = read_crypto(media) if media.protocol not in DTLS else ()
    for line in lines:  # RFC 4568 section 5.1.2: the offerer's order
        ours = security.key_for(line.suite)
        if ours is not None:
            return Secured(line.tag, ours, line.key)
    peer = read_dtls(session, media)
    if peer is not None and security.fingerprint is not None and peer.setup in _ANSWERS:
        client = _ANSWERS[peer.setup]
        if isinstance(current, DtlsSecured) and peer.setup == "actpass":
            client = current.is_client  # RFC 8842 section 5.3: an association keeps its roles
        ice = security.ice if speaks_ice(session, media) else None
        if ice is not None and peer.setup == "actpass" and current is None:
            client = False  # the peer knows when it has found a path
        return DtlsSecured(security.fingerprint, peer.fingerprints, client, ice)
    if media.protocol in SECURE:
        raise NegotiationError(306, "No crypto suite in common")
    if must:
        raise NegotiationError(302, "Media must be encrypted")
    return None


def accept_security(
    offered: MediaDescription,
    session: SessionDescription,
    answered: MediaDescription,
    *,
    must: bool,
) -> Secured | DtlsSecured | None:
    """Read out of an answer which of our keys is in use, and the peer's; None for in the clear.

    Parameters
    ----------
    must
        In the clear will not do: by policy, or because the stream is encrypted already.

    Raises
    ------
    NegotiationError
        The answer is in the clear where it must not be, or is none to what was offered.

    References
    ----------
    RFC 4568 section 5.1.3
    """
    if answered.protocol != offered.protocol:
        raise NegotiationError(302, "Incompatible transport protocol")
    fingerprint = offered.attribute("fingerprint")
    if fingerprint is not None:
        peer = read_dtls(session, answered)
        if peer is not None and peer.setup in ("active", "passive"):
            ice = _offered_ice(offered) if speaks_ice(session, answered) else None
            client = peer.setup == "passive"
            return DtlsSecured(fingerprint.value or "", peer.fingerprints, client, ice)
        if must or peer is not None or offered.protocol in SECURE:
            raise NegotiationError(302, "Media must be encrypted")
        return None
    ours = {line.tag: line for line in read_crypto(offered)}
    lines = [each for each in answered.attributes if each.name == "crypto"]
    if not lines or not ours:
        if must or offered.protocol in SECURE:
            raise NegotiationError(302, "Media must be encrypted")
        return None
    theirs = read_crypto(answered)
    if len(lines) != 1 or len(theirs) != 1:  # RFC 4568 section 5.1.2: exactly one
        raise NegotiationError(306, "Not an answer to the crypto lines offered")
    chosen = ours.get(theirs[0].tag)
    if chosen is None or chosen.suite != theirs[0].suite:
        raise NegotiationError(306, "Not an answer to the crypto lines offered")
    return Secured(chosen.tag, chosen.key, theirs[0].key)


def _offered_ice(offered: MediaDescription) -> IceCredentials | None:
    ufrag, password = offered.attribute("ice-ufrag"), offered.attribute("ice-pwd")
    if ufrag is None or password is None:
        return None
    return IceCredentials(ufrag.value or "", password.value or "")


def encrypted_first(media: tuple[MediaDescription, ...]) -> list[tuple[int, MediaDescription]]:
    """Return the numbered streams of an offer, those with an encrypted profile first."""
    return sorted(enumerate(media), key=lambda each: each[1].protocol not in SECURE)
