"""Digest challenges and credentials: their syntax, and the hashes in them.

References
----------
RFC 3261 sections 20.7, 20.44 and 25.1 (challenge, credentials); RFC 7616 sections 3.3 and 3.4
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence

from ..errors import SipParseError, UsageError
from .grammar import QUOTED_STRING, TOKEN_CHARACTERS, unquote

# In order of strength; names as in RFC 7616 section 6.1 and RFC 8760 section 2.1.
ALGORITHMS: Mapping[str, str] = {
    "SHA-512-256": "sha512_256",
    "SHA-256": "sha256",
    "MD5": "md5",
}

_HEX = {"SHA-512-256": r"[0-9a-fA-F]{64}", "SHA-256": r"[0-9a-fA-F]{64}", "MD5": r"[0-9a-fA-F]{32}"}

MAX_FIELDS = 32

_SCHEME = re.compile(r"[ \t]*+Digest[ \t]++", re.IGNORECASE)
_FIELD = re.compile(
    rf"[ \t]*+([{TOKEN_CHARACTERS}]++)[ \t]*+=[ \t]*+({QUOTED_STRING}|[^\s,\"]++)[ \t]*+(?:,|\Z)"
)


def parse_digest(value: str) -> dict[str, str]:
    """Read ``Digest name=value, ...``; names in lower case, values unquoted.

    Raises
    ------
    SipParseError
        Another scheme, a malformed or repeated field, or too many of them; `status_hint` 400.
    """
    scheme = _SCHEME.match(value)
    if scheme is None:
        raise SipParseError("credentials are not of the Digest scheme", status_hint=400)
    fields: dict[str, str] = {}
    position = scheme.end()
    while position < len(value):
        match = _FIELD.match(value, position)
        if match is None:
            raise SipParseError("a field of digest credentials is malformed", status_hint=400)
        name = match[1].lower()
        if name in fields or len(fields) == MAX_FIELDS:
            raise SipParseError("a field of digest credentials is repeated", status_hint=400)
        fields[name] = unquote(match[2])
        position = match.end()
    return fields


def find_credentials(values: Iterable[str], realm: str) -> dict[str, str] | None:
    """Return the Digest credentials for a realm out of all that a request carries.

    None when there are none: those for other realms or of other schemes are not ours to judge
    (RFC 3261 section 22.3).

    Raises
    ------
    SipParseError
        Digest credentials that can't be read.
    """
    for value in values:
        if _SCHEME.match(value) is None:
            continue
        fields = parse_digest(value)
        if fields.get("realm") == realm:
            return fields
    return None


def format_digest(fields: Sequence[tuple[str, str]]) -> str:
    """Write ``Digest name=value, ...``; values are quoted already where they must be."""
    return "Digest " + ", ".join(f"{name}={value}" for name, value in fields)


class Secret:
    """What a server knows of one user: a password, or only its hashes (RFC 7616 section 5.2).

    A hash is as good as the password for this realm, and for no other.

    Parameters
    ----------
    password
        In clear; serves every algorithm.
    hashes
        Algorithm name to the hexadecimal hash of ``user:realm:password``.
    """

    __slots__ = ("_hashes", "_password")

    def __init__(
        self, password: str | None = None, *, hashes: Mapping[str, str] | None = None
    ) -> None:
        self._password = password
        self._hashes = dict(hashes or {})
        if password is None and not self._hashes:
            raise UsageError("a secret needs a password or hashes")
        unknown = self._hashes.keys() - ALGORITHMS.keys()
        if unknown:
            raise UsageError(f"{sorted(unknown)} are not among {list(ALGORITHMS)}")
        for name, value in self._hashes.items():
            if re.fullmatch(_HEX[name], value) is None:
                raise UsageError(f"the {name} hash is not hexadecimal of the right length")

    @classmethod
    def hashed(
        cls,
        user: str,
        realm: str,
        password: str,
        algorithms: Iterable[str] = ("SHA-512-256", "SHA-256", "MD5"),
    ) -> Secret:
        """Return a secret that keeps H(A1) only, for storing what `hashes` then tells."""
        return cls(hashes={name: hash_a1(name, user, realm, password) for name in algorithms})

    @property
    def hashes(self) -> dict[str, str]:
        """Algorithm name to the hash of ``user:realm:password``; empty where a password is kept."""
        return dict(self._hashes)

    def __repr__(self) -> str:
        return "Secret(...)"

    def hash_a1(self, algorithm: str, username: str, realm: str) -> str | None:
        """Return H(A1) of RFC 7616 section 3.4.2; None where only other hashes are known."""
        # Hashed in any case: how long an answer takes must not tell who is kept how.
        made = hash_a1(algorithm, username, realm, self._password or "")
        if self._password is not None:
            return made
        found = self._hashes.get(algorithm)
        return found.lower() if found else None


def known_algorithm(name: str) -> str | None:
    """Return the proper spelling of an algorithm's name, None when it is not known."""
    upper = name.upper()
    return upper if upper in ALGORITHMS else None


def hash_a1(algorithm: str, username: str, realm: str, password: str) -> str:
    """Return H(A1) of RFC 7616 section 3.4.2."""
    return _hash(algorithm, f"{username}:{realm}:{password}")


def hash_a2(algorithm: str, qop: str, method: str, uri: str, body: bytes) -> str:
    """Return H(A2) of RFC 7616 section 3.4.3."""
    if qop != "auth-int":
        return _hash(algorithm, f"{method}:{uri}")
    return _hash(algorithm, f"{method}:{uri}:{_digest(algorithm, body)}")


def hash_response(algorithm: str, a1: str, between: str, a2: str) -> str:
    """Return the response of RFC 7616 section 3.4.1: KD(H(A1), between : H(A2))."""
    return _hash(algorithm, f"{a1}:{between}:{a2}")


def _hash(algorithm: str, text: str) -> str:
    return _digest(algorithm, octets(text))


def _digest(algorithm: str, data: bytes) -> str:
    # MD5 is here because phones know nothing else; not for security of ours.
    return hashlib.new(ALGORITHMS[algorithm], data, usedforsecurity=False).hexdigest()


def octets(text: str) -> bytes:
    """Return the bytes that header text came from."""
    return text.encode("utf-8", "surrogateescape")
