"""SIP, SIPS and other URIs."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote_from_bytes, unquote_to_bytes

from ..errors import SipParseError
from .grammar import ENCODING_ERRORS, HOST, UNRESERVED, Parameters, check_host, format_host

_USER = UNRESERVED + r"%&=+$,;?/"
_PASSWORD = UNRESERVED + r"%&=+$,"
_PARAMETER = UNRESERVED + r"%\[\]/:&+$"
_HEADER = UNRESERVED + r"%\[\]/?:+$"

# Userinfo is tried first and given up as a whole when no @ follows.
_SIP_URI = re.compile(
    rf"([Ss][Ii][Pp][Ss]?+):(?:([{_USER}]++)(?::([{_PASSWORD}]*+))?+@)?+"
    rf"({HOST})(?::([0-9]{{1,5}}+))?+((?:;[{_PARAMETER}]++(?:=[{_PARAMETER}]++)?+)*+)"
    rf"(?:\?([{_HEADER}]++=[{_HEADER}]*+(?:&[{_HEADER}]++=[{_HEADER}]*+)*+))?+"
)
_SIP_SCHEME = re.compile("[Ss][Ii][Pp][Ss]?+:")
_OPAQUE_URI = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]*+):([A-Za-z0-9\-_.!~*'();/?:@&=+$,%#\[\]]++)")
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")

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
        match = _SIP_URI.fullmatch(text)
        if match is None or ("%" in text and _BAD_ESCAPE.search(text)):
            raise SipParseError("a SIP URI is malformed", status_hint=400)
        scheme, user, password, host, port, parameters, headers = match.groups()
        return cls(
            scheme.lower(),
            user,
            password,
            check_host(host),
            _parse_port(port) if port else None,
            _split_parameters(parameters) if parameters else (),
            _split_headers(headers) if headers else (),
        )

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
        return unquote_to_bytes(self.user).decode("utf-8", ENCODING_ERRORS)

    def parameter(self, name: str) -> str | None:
        """Return a parameter's value; "" where it has none, None where it is absent."""
        for key, value in self.parameters:
            if key == name:
                return "" if value is None else value
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
            and _same_parameters(dict(self.parameters), dict(other.parameters))
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
    if _SIP_SCHEME.match(text):
        return SipUri.parse(text)
    opaque = _OPAQUE_URI.fullmatch(text)
    if opaque is None or _BAD_ESCAPE.search(text):
        raise SipParseError("a URI is malformed", status_hint=400)
    return OpaqueUri(opaque[1].lower(), opaque[2])


def escape_user(text: str) -> str:
    """Write any text as the user part of a SIP URI, escaping what may not stand there."""
    return quote_from_bytes(text.encode("utf-8", ENCODING_ERRORS), safe=_USER_SAFE)


def _parse_port(text: str) -> int:
    port = int(text)
    if port > 65535:
        raise SipParseError("a port is above 65535", status_hint=400)
    return port


def _split_parameters(text: str) -> Parameters:
    pairs: dict[str, str | None] = {}
    for item in text[1:].split(";"):
        name, equals, value = item.partition("=")
        name = name.lower()
        if name in pairs:
            raise SipParseError("a URI parameter is repeated", status_hint=400)
        pairs[name] = value if equals else None
    return tuple(pairs.items())


def _split_headers(text: str) -> tuple[tuple[str, str], ...]:
    pairs = []
    for item in text.split("&"):
        name, _, value = item.partition("=")
        pairs.append((name, value))
    return tuple(pairs)


def _normalised(text: str | None) -> str | None:
    """Undo needless escapes and write the needed ones in one way."""
    if text is None or "%" not in text:
        return text
    return quote_from_bytes(unquote_to_bytes(text), safe=_USER_SAFE)


def _same_parameters(ours: dict[str, str | None], theirs: dict[str, str | None]) -> bool:
    for name in ours.keys() | theirs.keys():
        if name in ours and name in theirs:
            if (ours[name] or "").lower() != (theirs[name] or "").lower():
                return False
        elif name in _ALWAYS_COMPARED:
            return False
    return True


def _normalised_headers(headers: tuple[tuple[str, str], ...]) -> list[tuple[str, str | None]]:
    return sorted((name.lower(), _normalised(value)) for name, value in headers)
