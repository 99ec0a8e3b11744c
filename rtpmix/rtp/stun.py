"""The one exchange of STUN that a lite ICE agent has: a peer's check, and the answer to it.

References
----------
RFC 8489 sections 5, 14 (messages, attributes); RFC 8445 section 7.3 (checks received)
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import struct
import zlib
from dataclasses import dataclass

MAGIC = 0x2112A442
HEADER = 20  # octets
MAX_MESSAGE = 548  # octets: what a check over UDP may have (RFC 8489 section 6.1)
_REQUEST, _SUCCESS = 0x0001, 0x0101
_USERNAME, _INTEGRITY, _XOR_MAPPED, _FINGERPRINT = 0x0006, 0x0008, 0x0020, 0x8028
_USE_CANDIDATE = 0x0025  # RFC 8445 section 16.1
_FINGERPRINT_XOR = 0x5354554E


def is_stun(datagram: bytes) -> bool:
    """Tell STUN from DTLS and SRTP on one port (RFC 7983 section 7)."""
    return len(datagram) >= HEADER and datagram[0] <= 3


@dataclass(frozen=True, slots=True)
class Check:
    """A peer's connectivity check, well formed and with our name on it. Anybody may have sent it.

    Attributes
    ----------
    transaction
        96 bits that the peer draws for each check (RFC 8489 section 5).
    nominates
        The peer wants media to take this path (RFC 8445 section 7.3.1.5).
    """

    transaction: bytes
    nominates: bool
    _covered: bytes
    _integrity: bytes

    @classmethod
    def read(cls, datagram: bytes, ufrag: str) -> Check | None:
        """Read a datagram; None for all that is not a check of somebody who knows ``ufrag``.

        Costs no HMAC, and never raises.
        """
        if not HEADER <= len(datagram) <= MAX_MESSAGE or len(datagram) % 4:
            return None
        kind, length, magic = struct.unpack_from("!HHI", datagram)
        if kind != _REQUEST or magic != MAGIC or length != len(datagram) - HEADER:
            return None
        found = _attributes(datagram)
        at = found.get(_INTEGRITY)
        name = found.get(_USERNAME)
        if at is None or name is None or len(at[1]) != 20:
            return None
        if not name[1].startswith(ufrag.encode() + b":"):
            return None
        return cls(datagram[8:HEADER], _USE_CANDIDATE in found, datagram[: at[0]], at[1])

    def authenticates(self, password: str) -> bool:
        """Tell whether who sent it knows our password. One HMAC-SHA1."""
        return hmac.compare_digest(_integrity(self._covered, password), self._integrity)

    def answer(self, password: str, source: tuple[str, int]) -> bytes:
        """Return the response, which tells the peer where its check came from."""
        cookie_and_id = MAGIC.to_bytes(4, "big") + self.transaction
        response = struct.pack("!HH", _SUCCESS, 0) + cookie_and_id
        response = _append(response, _XOR_MAPPED, _xor_address(source, cookie_and_id))
        response = _append(response, _INTEGRITY, _integrity(response, password))
        return _append(response, _FINGERPRINT, _fingerprint(response))


def answer_check(
    datagram: bytes, ufrag: str, password: str, source: tuple[str, int]
) -> bytes | None:
    """Return the response to a connectivity check; None where it deserves none.

    Parameters
    ----------
    ufrag, password
        Ours, as in our description: the check must know them.
    source
        Where the check came from, which is what the response tells.

    Notes
    -----
    A request that does not authenticate is passed over in silence: an error response would tell a
    stranger that somebody is here.
    """
    check = Check.read(datagram, ufrag)
    if check is None or not check.authenticates(password):
        return None
    return check.answer(password, source)


def _attributes(datagram: bytes) -> dict[int, tuple[int, bytes]]:
    """Return where each attribute begins, and its value; the first of a kind counts."""
    found: dict[int, tuple[int, bytes]] = {}
    at = HEADER
    while at + 4 <= len(datagram):
        kind, length = struct.unpack_from("!HH", datagram, at)
        value = datagram[at + 4 : at + 4 + length]
        if len(value) != length:
            return {}
        # RFC 8489 section 14.5: what follows the integrity is not protected, and not read.
        if _INTEGRITY not in found:
            found.setdefault(kind, (at, value))
        at += 4 + length + -length % 4
    return found


def _integrity(before: bytes, password: str) -> bytes:
    """Return the HMAC over what stands before, with a length that counts the attribute itself."""
    length = len(before) - HEADER + 24
    covered = before[:2] + length.to_bytes(2, "big") + before[4:]
    return hmac.new(password.encode(), covered, hashlib.sha1).digest()


def _fingerprint(before: bytes) -> bytes:
    length = len(before) - HEADER + 8
    covered = before[:2] + length.to_bytes(2, "big") + before[4:]
    return (zlib.crc32(covered) ^ _FINGERPRINT_XOR).to_bytes(4, "big")


def _xor_address(source: tuple[str, int], cookie_and_id: bytes) -> bytes:
    ip = ipaddress.ip_address(source[0])
    family = 1 if ip.version == 4 else 2
    port = source[1] ^ (MAGIC >> 16)
    packed = bytes(a ^ b for a, b in zip(ip.packed, cookie_and_id, strict=False))
    return struct.pack("!BBH", 0, family, port) + packed


def _append(message: bytes, kind: int, value: bytes) -> bytes:
    """Add an attribute whose length is a whole number of words, and count it in the header."""
    whole = message + struct.pack("!HH", kind, len(value)) + value
    return whole[:2] + (len(whole) - HEADER).to_bytes(2, "big") + whole[4:]
