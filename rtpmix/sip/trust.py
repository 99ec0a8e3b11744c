"""The trust domain: whose word on a caller's identity counts, and who is told of ours.

References
----------
RFC 3324 section 2.3; RFC 3325 section 3
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable

from ..errors import SipParseError, UsageError
from .overload import Network, parse_network
from .uri import SipUri

_NAME = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.\-]*[A-Za-z0-9_])?")


class TrustDomain:
    """Peers named by a network, by what their certificate proves, or as a trunk.

    Parameters
    ----------
    peers
        ``"192.0.2.0/24"`` or an address, ``"tls:sbc.example.net"``, ``"trunk:NAME"``.

    Raises
    ------
    UsageError
        An entry is none of the three.
    """

    def __init__(self, peers: Iterable[str]) -> None:
        self.trunks: set[str] = set()
        self._networks: list[Network] = []
        self._names: set[str] = set()
        for text in peers:
            kind, colon, name = text.partition(":")
            if kind == "trunk" and colon and name:
                self.trunks.add(name)
            elif kind == "tls" and colon:
                if _NAME.fullmatch(name) is None:
                    raise UsageError(f"trusted_peers: {text!r} names no host: write tls:HOST")
                self._names.add(name.lower())
            else:
                self._networks.append(parse_network(text))

    def __bool__(self) -> bool:
        return bool(self.trunks or self._networks or self._names)

    def has_address(self, host: str) -> bool:
        """Tell whether an address is one of a trusted network."""
        if not self._networks:
            return False
        try:
            address = ipaddress.ip_address(host.partition("%")[0])
        except ValueError:
            return False
        mapped = getattr(address, "ipv4_mapped", None)
        return any((mapped or address) in network for network in self._networks)

    def has_name(self, names: Iterable[str]) -> bool:
        """Tell whether one of the names that a certificate proves is trusted."""
        return bool(self._names) and not self._names.isdisjoint(names)


def identity_key(text: str) -> str:
    """Return what is compared of an identity in a certificate: of a SIP URI scheme, user and host,
    of anything else all, in lower case where case means nothing.

    References
    ----------
    RFC 3261 section 19.1.4: the user part tells cases apart
    """
    if text[:4].lower() == "sip:" or text[:5].lower() == "sips:":
        try:
            return SipUri.parse(text).address_of_record
        except SipParseError:
            return ""
    return text.lower()
