"""The lines of a session description that are more than text: ``o=``, ``c=``, ``a=``, rtpmap.

Host names are kept as text and never resolved: a name in ``c=`` could otherwise stall the event
loop.

References
----------
RFC 8866
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from ..errors import SdpError
from .texts import ip_literal, remembered

# Attributes whose value is a key or a password: never shown, never remembered.
SECRET = ("crypto", "ice-pwd", "key-mgmt")

_RTPMAP = re.compile(r"([0-9]{1,3}) +([^\s/]+)/([0-9]{1,7})(?:/([0-9]{1,3}))?")


@dataclass(frozen=True, slots=True)
class Origin:
    """``o=``: who made the description, and which revision it is (RFC 8866 section 5.2)."""

    session_id: int
    version: int
    address: str
    username: str = "-"

    @classmethod
    def parse(cls, value: str) -> Origin:
        """Read the value of an ``o=`` line; `SdpError` when it has not six fields."""
        fields = value.split()
        if len(fields) != 6:
            raise malformed("o=")
        username, session_id, version, _network, _address_type, address = fields
        return cls(number(session_id, "o="), number(version, "o="), address, username)

    def __str__(self) -> str:
        kind = _address_type(self.address)
        return f"{self.username} {self.session_id} {self.version} IN {kind} {self.address}"


@dataclass(frozen=True, slots=True)
class Connection:
    """``c=``: an address to send to, as text; it may be a name (RFC 8866 section 5.7)."""

    address: str  # without the /ttl/count of a multicast group

    @classmethod
    def parse(cls, value: str) -> Connection:
        """Read the value of a ``c=`` line; `SdpError` when it has not three fields."""
        fields = value.split()
        if len(fields) != 3 or fields[0] != "IN" or fields[1] not in ("IP4", "IP6"):
            raise malformed("c=")
        address = fields[2].partition("/")[0]
        if not address:
            raise malformed("c=")
        return cls(address)

    @property
    def ip(self) -> IPv4Address | IPv6Address | None:
        """The address as a number; None for a name, which nothing here ever resolves."""
        return ip_literal(self.address)

    def __str__(self) -> str:
        return f"IN {_address_type(self.address)} {self.address}"


@dataclass(frozen=True, slots=True)
class Attribute:
    """``a=name`` or ``a=name:value`` (RFC 8866 section 5.13)."""

    name: str
    value: str | None = None

    def __repr__(self) -> str:
        value = "..." if self.name in SECRET and self.value else self.value
        return f"Attribute({self.name!r}, {value!r})"

    def __str__(self) -> str:
        return self.name if self.value is None else f"{self.name}:{self.value}"


@dataclass(frozen=True, slots=True)
class RtpMap:
    """``a=rtpmap``: what a payload type number stands for (RFC 8866 section 6.6)."""

    payload_type: int
    encoding: str  # upper case: names are case-insensitive
    clock_hz: int
    channels: int = 1

    def __str__(self) -> str:
        channels = "" if self.channels == 1 else f"/{self.channels}"
        return f"{self.payload_type} {self.encoding}/{self.clock_hz}{channels}"


def parse_attribute(value: str) -> Attribute | None:
    """Read the value of an ``a=`` line; None without a name. Keys are not remembered."""
    secret = value.lstrip().startswith(SECRET)
    return _read_attribute(value) if secret else _remembered_attribute(value)


def _read_attribute(value: str) -> Attribute | None:
    name, colon, text = value.partition(":")
    name = name.strip()
    return Attribute(name, text if colon else None) if name else None


_remembered_attribute = remembered(_read_attribute)


@remembered
def parse_rtpmap(value: str) -> RtpMap | None:
    """Read the value of ``a=rtpmap``; None when it can't be read."""
    match = _RTPMAP.fullmatch(value.strip())
    if match is None or int(match[1]) > 127:
        return None
    return RtpMap(int(match[1]), match[2].upper(), int(match[3]), int(match[4] or 1))


def _address_type(address: str) -> str:
    return "IP6" if ":" in address else "IP4"


def is_number(text: str, digits: int) -> bool:
    """Whether a text is digits only, and of no more than so many."""
    return len(text) <= digits and text.isascii() and text.isdigit()


def number(text: str, where: str) -> int:
    """Return the number that stands in a line, such as "m="; `SdpError` when it is none."""
    # o= carries "numeric strings" of any length; 64 digits is more than anybody needs.
    if not is_number(text, 64):
        raise malformed(where)
    return int(text)


def malformed(kind: str) -> SdpError:
    """Return the error for a line that can't be read, such as "m="."""
    # Without the line itself: errors end in logs, and logs hold no addresses.
    return wrong(f"has a malformed {kind} line")


def wrong(what: str) -> SdpError:
    """Return the error for a description that does or has what it must not."""
    return SdpError(f"the session description {what}", status_hint=400)
