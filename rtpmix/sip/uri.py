"""SIP, SIPS and other URIs."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import quote_from_bytes, unquote_to_bytes

from ..errors import SipParseError
from .grammar import (
    ADDRESS_ENDS,
    ENCODING_ERRORS,
    HOST,
    PORT,
    UNRESERVED,
    Parameters,
    check_host,
    format_host,
)

_USER = UNRESERVED + r"%&=+$,;?/"
_PASSWORD = UNRESERVED + r"%&=+$,"
_PARAMETER = UNRESERVED + r"%\[\]/:&+$"
_HEADER = UNRESERVED + r"%\[\]/?:+$"

# Userinfo is tried first and given up as a whole when no @ follows.
_SIP_URI = (
    rf"([Ss][Ii][Pp][Ss]?+):(?:([{_USER}]++)(?::([{_PASSWORD}]*+))?@)?"
    rf"({HOST})(?::({PORT}))?((?:;[{_PARAMETER}]++(?:=[{_PARAMETER}]++)?)*)"
    rf"(?:\?([{_HEADER}]++=[{_HEADER}]*+(?:&[{_HEADER}]++=[{_HEADER}]*+)*))?"
)
_OPAQUE_URI = (
    r"((?![Ss][Ii][Pp][Ss]?+:)[A-Za-z][A-Za-z0-9+.\-]*+)"
    r":([A-Za-z0-9\-_.!~*'();/?:@&=+$,%#\[\]]++)"
)
_URI = re.compile(rf"{_SIP_URI}|{_OPAQUE_URI}")
_ESCAPE = re.compile("%([0-9A-Fa-f]{2})")
_UNRESERVED = re.compile(f"[{UNRESERVED}]")
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")

# The same few URIs come in every message of a call, and in every call of a phone. Both bounds
# together keep what strangers can make us remember small.
_REMEMBERED = 4096  # URIs
_LONGEST_REMEMBERED = 128  # characters

# RFC 3261 section 19.1.4: these never match when only one of two URIs has them.
_ALWAYS_COMPARED = frozenset(("user", "ttl", "method", "maddr", "transport"))
# What section 25.1 lets stand unescaped in a user part.
_USER_SAFE = "-_.!~*'()&=+$,;?/"


@dataclass(frozen=True, slots=True)
class SipUri:
    """A SIP or SIPS URI. Escapes (``%23``) are kept as written; see `decoded_user`.

    Parameters
    ----------
    scheme
        "sip" or "sips".
    host
        A name or an address, IPv6 without its brackets.
    parameters
        Names in lower case, each at most once; None where there is no value.

    References
    ----------
    RFC 3261 section 19.1
    """

    scheme: str
    user: str | None
    password: str | None
    host: str
    port: int | None = None
    parameters: Parameters = ()
    headers: tuple[tuple[str, str], ...] = ()

    @classmethod
    def parse(cls, text: str) -> SipUri:
        """Read a SIP or SIPS URI; `SipParseError` for anything else."""
        uri = parse_uri(text)
        if isinstance(uri, OpaqueUri):
            raise SipParseError("a URI is not a SIP URI", status_hint=416)
        return uri

    def __str__(self) -> str:
        text = self.address
        text += "".join(
            [f";{name}" if value is None else f";{name}={value}" for name, value in self.parameters]
        )
        if self.headers:
            text += "?" + "&".join([f"{name}={value}" for name, value in self.headers])
        return text

    @property
    def address(self) -> str:
        """The URI without its parameters and headers."""
        userinfo = ""
        if self.user is not None:
            password = "" if self.password is None else f":{self.password}"
            userinfo = f"{self.user}{password}@"
        port = "" if self.port is None else f":{self.port}"
        return f"{self.scheme}:{userinfo}{format_host(self.host)}{port}"

    @property
    def address_of_record(self) -> str:
        """Scheme, user and host alone, user unescaped where possible and host in lower case.

        References
        ----------
        RFC 3261 section 10.3 item 5
        """
        user = "" if self.user is None else f"{_normalised(self.user)}@"
        return f"{self.scheme}:{user}{format_host(self.host.lower())}"

    @property
    def decoded_user(self) -> str | None:
        """The user part with its escapes undone. For showing and for dial plans, not for URIs."""
        if self.user is None:
            return None
        return _unescaped(self.user)

    def parameter(self, name: str) -> str | None:
        """Return a parameter's value unescaped; "" where it has none, None where absent.

        A name may come escaped as well (RFC 4475 section 3.1.1.3).
        """
        for key, value in self.parameters:
            if key == name or ("%" in key and _unescaped(key).lower() == name):
                return "" if value is None else _unescaped(value)
        return None

    def equals(self, other: SipUri | OpaqueUri) -> bool:
        """Say whether two URIs are equivalent.

        References
        ----------
        RFC 3261 section 19.1.4
        """
        if not isinstance(other, SipUri):
            return False
        return (
            self.scheme == other.scheme
            and _normalised(self.user) == _normalised(other.user)
            and _normalised(self.password) == _normalised(other.password)
            and self.host.lower() == other.host.lower()
            and self.port == other.port
            and _same_parameters(_comparable(self.parameters), _comparable(other.parameters))
            and _normalised_headers(self.headers) == _normalised_headers(other.headers)
        )


@dataclass(frozen=True, slots=True)
class OpaqueUri:
    """A URI of a scheme that is not SIP's, such as tel. `scheme` is in lower case."""

    scheme: str
    rest: str

    def __str__(self) -> str:
        return f"{self.scheme}:{self.rest}"

    def equals(self, other: SipUri | OpaqueUri) -> bool:
        """Say whether two URIs are the same."""
        return self == other


def parse_uri(text: str) -> SipUri | OpaqueUri:
    """Read any URI; `SipParseError` (400) when it is none.

    References
    ----------
    RFC 3261 section 25.1 (Request-URI, addr-spec)
    """
    return _remembered_uri(text) if len(text) <= _LONGEST_REMEMBERED else _read_uri(text)


def _read_uri(text: str) -> SipUri | OpaqueUri:
    match = _URI.fullmatch(text)
    if match is None or ("%" in text and _BAD_ESCAPE.search(text)):
        raise SipParseError("a URI is malformed", status_hint=400)
    scheme, user, password, host, port, parameters, headers, other_scheme, rest = match.groups()
    if scheme is None:
        return OpaqueUri(other_scheme.lower(), rest)
    return SipUri(
        scheme.lower(),
        user,
        password,
        check_host(host) if host[-1] in ADDRESS_ENDS else host,
        int(port) if port else None,
        _split_parameters(parameters) if parameters else (),
        tuple(_split_headers(headers)) if headers else (),
    )


_remembered_uri = lru_cache(maxsize=_REMEMBERED)(_read_uri)


def escape_user(text: str) -> str:
    """Write any text as the user part of a SIP URI, escaping what may not stand there."""
    return quote_from_bytes(text.encode("utf-8", ENCODING_ERRORS), safe=_USER_SAFE)


def _split_parameters(text: str) -> Parameters:
    """Split ``;name=value`` pairs; where a name comes twice, the first counts."""
    pairs: dict[str, str | None] = {}
    for item in text[1:].split(";"):
        name, _, value = item.partition("=")
        pairs.setdefault(name.lower(), value or None)
    return tuple(pairs.items())


def _split_headers(text: str) -> list[tuple[str, str]]:
    return [(name, value) for name, _, value in (item.partition("=") for item in text.split("&"))]


def _unescaped(text: str) -> str:
    """Undo escapes, once."""
    if "%" not in text:
        return text
    return unquote_to_bytes(text).decode("utf-8", ENCODING_ERRORS)


def _comparable(parameters: Parameters) -> dict[str, str]:
    return {_unescaped(name).lower(): _unescaped(value or "").lower() for name, value in parameters}


def _normalised(text: str | None) -> str | None:
    """Undo the escapes of characters that are not reserved, which mean the same (19.1.4)."""
    return text if text is None or "%" not in text else _ESCAPE.sub(_needed_escape, text)


def _needed_escape(match: re.Match[str]) -> str:
    character = chr(int(match[1], 16))
    return character if _UNRESERVED.fullmatch(character) else match[0].upper()


def _same_parameters(ours: dict[str, str], theirs: dict[str, str]) -> bool:
    for name in ours.keys() | theirs.keys():
        if name in ours and name in theirs:
            if ours[name] != theirs[name]:
                return False
        elif name in _ALWAYS_COMPARED:
            return False
    return True


def _normalised_headers(headers: tuple[tuple[str, str], ...]) -> list[tuple[str, str | None]]:
    return sorted((name.lower(), _normalised(value)) for name, value in headers)
