"""Which addresses are this machine's own, and which of them a peer is reached from."""

from __future__ import annotations

import ipaddress
import socket
from functools import lru_cache

from ..sip.flow import Address

REMEMBERED = 4096  # hosts, each way; peers choose what they ask about
REMEMBERED_S = 30.0  # an interface may get another address


@lru_cache(maxsize=64)  # of this machine's own addresses
def is_wildcard(host: str) -> bool:
    """Return True for 0.0.0.0 and ::."""
    return ipaddress.ip_address(host).is_unspecified


def address_towards(remote: Address, fallback: str | None = None) -> str:
    """Return the local address from which this machine would reach ``remote``; sends nothing."""
    family = socket.AF_INET6 if ":" in remote[0] else socket.AF_INET
    if fallback is None:
        fallback = "::1" if family == socket.AF_INET6 else "127.0.0.1"
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((remote[0], remote[1] or 9))
        except OSError:
            return fallback
        return str(probe.getsockname()[0])


class LocalAddresses:
    """What `address_towards` found out, for a while: each look takes a socket."""

    def __init__(self) -> None:
        self._towards: dict[str, tuple[float, str]] = {}
        self._own: dict[str, tuple[float, bool]] = {}

    def towards(self, remote: Address, now: float) -> str:
        """Return the local address from which this machine would reach ``remote``."""
        known = self._towards.get(remote[0])
        if known is None or known[0] < now:
            if len(self._towards) >= REMEMBERED:
                self._towards.clear()
            known = self._towards[remote[0]] = (now + REMEMBERED_S, address_towards(remote))
        return known[1]

    def has(self, host: str, now: float) -> bool:
        """Return True for an IP address of this machine; names are not looked up."""
        known = self._own.get(host)
        if known is None or known[0] < now:
            if len(self._own) >= REMEMBERED:
                self._own.clear()
            known = self._own[host] = (now + REMEMBERED_S, _is_this_machine(host))
        return known[1]


def _is_this_machine(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    # A machine reaches each address of its own from that same address.
    return address_towards((host, 0), "") == host
