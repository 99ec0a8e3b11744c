"""SRTP keys, and libsrtp behind a narrow door.

The cipher is libsrtp's (through pylibsrtp); here are the names and lengths of the suites, keys
that do not show in a traceback or a log, and errors told apart by type instead of by text.

One `SrtpSession` per leg and direction.  Its roll-over counter starts at 0 and can't be set, so a
receiver that joins after the sequence number wrapped can't authenticate (RFC 3711 section 3.3.1).

References
----------
RFC 3711; RFC 4568 section 6 (suite names, ``inline:`` keys); RFC 7714 (AES-GCM)
"""

from __future__ import annotations

import base64
import binascii
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pylibsrtp
from pylibsrtp import _binding

from ..errors import SrtpError, UsageError

MAX_PACKET = 1352  # octets of RTP or RTCP that fit libsrtp's 1,500 with any trailer


class SrtpAuthenticationError(SrtpError):
    """The packet was not made with this key, or was changed on its way."""


class SrtpReplayError(SrtpError):
    """The packet was seen before, or is too old to know."""


@dataclass(frozen=True, slots=True)
class CryptoSuite:
    """One SRTP crypto suite; lengths in octets."""

    name: str  # as in the a=crypto attribute
    key_length: int
    salt_length: int
    rtp_tag_length: int
    rtcp_tag_length: int
    profile: int = field(repr=False)  # libsrtp's number

    @property
    def master_length(self) -> int:
        """Length of key and salt together, which is what ``inline:`` carries."""
        return self.key_length + self.salt_length

    @property
    def aead(self) -> bool:
        """Encryption and authentication are one algorithm (RFC 7714)."""
        return self.name.startswith("AEAD")


_Policy = pylibsrtp.Policy

# RFC 4568 section 6.2 and RFC 7714 section 14.2.
SUITES: dict[str, CryptoSuite] = {
    suite.name: suite
    for suite in (
        CryptoSuite(
            "AES_CM_128_HMAC_SHA1_80", 16, 14, 10, 10, _Policy.SRTP_PROFILE_AES128_CM_SHA1_80
        ),
        CryptoSuite(
            "AES_CM_128_HMAC_SHA1_32", 16, 14, 4, 10, _Policy.SRTP_PROFILE_AES128_CM_SHA1_32
        ),
        CryptoSuite("AEAD_AES_128_GCM", 16, 12, 16, 16, _Policy.SRTP_PROFILE_AEAD_AES_128_GCM),
        CryptoSuite("AEAD_AES_256_GCM", 32, 12, 16, 16, _Policy.SRTP_PROFILE_AEAD_AES_256_GCM),
    )
}
DEFAULT_SUITE = "AES_CM_128_HMAC_SHA1_80"


def find_suite(name: str) -> CryptoSuite:
    """Return the suite of this name.

    Raises
    ------
    SrtpError
        We do not have it.
    """
    try:
        return SUITES[name]
    except KeyError:
        raise SrtpError(f"unknown SRTP suite {name[:40]!r}; known: {', '.join(SUITES)}") from None


@dataclass(frozen=True, slots=True)
class MasterKey:
    """A master key and salt for one suite. Never shown by ``repr``.

    Raises
    ------
    UsageError
        The material is not as long as the suite says.
    """

    suite: CryptoSuite
    material: bytes = field(repr=False)  # key, then salt

    def __post_init__(self) -> None:
        if len(self.material) != self.suite.master_length:
            raise UsageError(
                f"{self.suite.name} takes {self.suite.master_length} octets of key and salt, "
                f"not {len(self.material)}"
            )

    @classmethod
    def generate(
        cls,
        suite: str = DEFAULT_SUITE,
        *,
        random_bytes: Callable[[int], bytes] = secrets.token_bytes,
    ) -> MasterKey:
        """Make a fresh key; ``random_bytes`` is for tests that need the same one twice."""
        found = find_suite(suite)
        return cls(found, random_bytes(found.master_length))

    @classmethod
    def parse_inline(cls, suite: str, text: str) -> MasterKey:
        """Read the key parameter of an a=crypto attribute, ``inline:...``.

        A lifetime is read over: libsrtp ends a key at its suite's own.

        Raises
        ------
        SrtpError
            Another suite or key method, bad base64, another length, or a master key identifier,
            which libsrtp's binding can't put on packets.

        References
        ----------
        RFC 4568 section 6.1
        """
        found = find_suite(suite)
        method, _, rest = text.partition(":")
        encoded, *more = rest.split("|")
        if method.lower() != "inline":
            raise SrtpError("an SRTP key parameter other than inline:")
        if any(":" in part for part in more):
            raise SrtpError("an SRTP key with a master key identifier, which is not supported")
        encoded = encoded.rstrip("=")
        try:
            material = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
        except (binascii.Error, ValueError):
            raise SrtpError("an SRTP key that is not base64") from None  # the text is the key
        if len(material) != found.master_length:
            raise SrtpError(
                f"{found.name} takes {found.master_length} octets of key and salt, "
                f"not {len(material)}"
            )
        return cls(found, material)

    def inline(self) -> str:
        """Return the key parameter for an a=crypto attribute. This is the secret itself."""
        return "inline:" + base64.b64encode(self.material).decode()

    @property
    def key(self) -> bytes:
        """The master key alone."""
        return self.material[: self.suite.key_length]

    @property
    def salt(self) -> bytes:
        """The master salt alone."""
        return self.material[self.suite.key_length :]


@dataclass(frozen=True, slots=True)
class StreamKeys:
    """The master keys of both directions of one leg. Never shown by ``repr``."""

    ours: MasterKey = field(repr=False)  # we send with this one
    theirs: MasterKey = field(repr=False)


class SrtpSession:
    """One direction of one SRTP stream; make it with `sender` or `receiver`.

    Attributes
    ----------
    context
        Where libsrtp keeps it in memory, as long as this object lives; for `srtp_batch`.
    """

    __slots__ = ("_protect", "_session", "_unprotect", "context")

    def __init__(self, key: MasterKey, ssrc_type: int, ssrc: int) -> None:
        policy = pylibsrtp.Policy(
            key=key.material,
            ssrc_type=ssrc_type,
            ssrc_value=ssrc,
            srtp_profile=key.suite.profile,
        )
        try:
            self._session = pylibsrtp.Session(policy=policy)
        except pylibsrtp.Error as exc:
            raise SrtpError(f"libsrtp does not take this key: {exc}") from None
        self.context = int(_binding.ffi.cast("uintptr_t", self._session._srtp[0]))
        # Looked up once: these are called for every packet.
        self._protect: Callable[[bytes], bytes] = self._session.protect
        self._unprotect: Callable[[bytes], bytes] = self._session.unprotect

    @classmethod
    def sender(cls, key: MasterKey, *, ssrc: int | None = None) -> SrtpSession:
        """Return a session that protects; for one SSRC, or for any that comes."""
        if ssrc is None:
            return cls(key, pylibsrtp.Policy.SSRC_ANY_OUTBOUND, 0)
        return cls(key, pylibsrtp.Policy.SSRC_SPECIFIC, ssrc)

    @classmethod
    def receiver(cls, key: MasterKey, *, ssrc: int | None = None) -> SrtpSession:
        """Return a session that unprotects; of one SSRC, or of any that comes."""
        if ssrc is None:
            return cls(key, pylibsrtp.Policy.SSRC_ANY_INBOUND, 0)
        return cls(key, pylibsrtp.Policy.SSRC_SPECIFIC, ssrc)

    def protect(self, packet: bytes) -> bytes:
        """Encrypt and authenticate an RTP packet of at most `MAX_PACKET` octets."""
        if not 12 <= len(packet) <= MAX_PACKET:
            raise _wrong_size(packet, 12)
        try:
            return self._protect(packet)
        except pylibsrtp.Error as exc:
            raise error_of(str(exc)) from None

    def protect_rtcp(self, packet: bytes) -> bytes:
        """Encrypt and authenticate an RTCP datagram of at most `MAX_PACKET` octets."""
        if not 8 <= len(packet) <= MAX_PACKET:
            raise _wrong_size(packet, 8)
        return _call(self._session.protect_rtcp, packet)

    def unprotect(self, packet: bytes) -> bytes:
        """Check and decrypt an SRTP packet.

        Raises
        ------
        SrtpAuthenticationError, SrtpReplayError, SrtpError
        """
        try:
            return self._unprotect(packet)
        except pylibsrtp.Error as exc:
            raise error_of(str(exc)) from None
        except ValueError:
            raise SrtpError(f"an SRTP packet of {len(packet)} octets is too long") from None

    def unprotect_rtcp(self, packet: bytes) -> bytes:
        """Check and decrypt an SRTCP datagram; raises like `unprotect`."""
        return _call(self._session.unprotect_rtcp, packet)


# libsrtp's status texts, as pylibsrtp 1.0 gives them.
_ERRORS: dict[str, type[SrtpError]] = {
    "authentication failure": SrtpAuthenticationError,
    "replay check failed (bad index)": SrtpReplayError,
    "replay check failed (index too old)": SrtpReplayError,
    "packet index is too old to consider": SrtpReplayError,
}


def error_of(text: str) -> SrtpError:
    """Return the error that a status text of libsrtp stands for."""
    return _ERRORS.get(text, SrtpError)(text)


def _call(function: Callable[[bytes], Any], packet: bytes) -> bytes:
    try:
        return bytes(function(packet))
    except pylibsrtp.Error as exc:
        raise error_of(str(exc)) from None
    except ValueError:
        raise SrtpError(f"an SRTP packet of {len(packet)} octets is too long") from None


def _wrong_size(packet: bytes, least: int) -> UsageError:
    return UsageError(
        f"{len(packet)} octets to protect; a packet has {least} to {MAX_PACKET} octets"
    )
