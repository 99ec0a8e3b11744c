"""From a URI to the servers behind it, in the order in which they are tried (RFC 3263).

No I/O: `locate` asks questions and is sent the records; whoever drives it has a resolver. It is for
URIs that the program or its configuration names, never for those out of messages.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from random import Random
from typing import NamedTuple

from .flow import Address
from .routing import default_port, is_ip_literal, uri_transport
from .uri import SipUri

MAX_HOPS = 32  # a domain's owner decides how many records there are, we how many we try
PENALTY_S = 60.0  # how long a server that failed is tried after the others
MAX_PENALTIES = 1000

# What of RFC 3263 section 4.1 a server can use, which is no WebSocket client.
_SERVICES = {"SIP+D2U": "UDP", "SIP+D2T": "TCP", "SIPS+D2T": "TLS"}
_SRV_PREFIX = {"UDP": "_sip._udp.", "TCP": "_sip._tcp.", "TLS": "_sips._tcp."}


class Naptr(NamedTuple):
    """What of a NAPTR record counts here (RFC 3403)."""

    order: int
    preference: int
    flags: str
    service: str
    replacement: str


class Srv(NamedTuple):
    """An SRV record (RFC 2782)."""

    priority: int
    weight: int
    port: int
    target: str


class Question(NamedTuple):
    """What to ask: "NAPTR" gives `Naptr`, "SRV" `Srv`, "ADDRESS" the texts of A and AAAA."""

    kind: str
    name: str


class Hop(NamedTuple):
    """One server to try."""

    transport: str
    address: Address


Locating = Generator[Question, Sequence[Naptr | Srv | str], list[Hop]]


def locate(uri: SipUri, transports: Iterable[str], source: Random) -> Locating:
    """Find the servers for a URI.

    Parameters
    ----------
    transports
        Those that we have, in the order in which we prefer them where DNS doesn't say.
    source
        For the choice among SRV records of one priority.

    Yields
    ------
    Question
        Send its records, none where there are none.

    Returns
    -------
    list of Hop
        At most `MAX_HOPS`; empty where the host is not known, or offers no transport of ours.

    References
    ----------
    RFC 3263 sections 4.1 and 4.2
    """
    asked = uri_transport(uri)
    literal = is_ip_literal(uri.host)
    if literal or uri.port is not None:
        transport = asked or "UDP"
        port = uri.port or default_port(transport)
        addresses = [uri.host] if literal else (yield from _addresses(uri.host))
        return [Hop(transport, (address, port)) for address in addresses][:MAX_HOPS]
    ours = [one for one in transports if one == asked or (asked is None and one in _SRV_PREFIX)]
    services = (yield from _services(uri, ours)) if asked is None or uri.scheme == "sips" else []
    if not services:
        services = [(one, _SRV_PREFIX[one] + uri.host) for one in ours if one in _SRV_PREFIX]
    hops: list[Hop] = []
    known = False  # a record says where the service is, or that it is nowhere
    for transport, name in services:
        records = [one for one in (yield Question("SRV", name)) if isinstance(one, Srv)]
        known = known or bool(records)
        for record in srv_order(records, source):
            if record.target.rstrip(".") and len(hops) < MAX_HOPS:
                for address in (yield from _addresses(record.target)):
                    hops.append(Hop(transport, (address, record.port)))
    if known:
        return hops[:MAX_HOPS]
    transport = asked or "UDP"
    found = yield from _addresses(uri.host)
    return [Hop(transport, (address, default_port(transport))) for address in found][:MAX_HOPS]


def _services(
    uri: SipUri, ours: Sequence[str]
) -> Generator[Question, Sequence[Naptr | Srv | str], list[tuple[str, str]]]:
    """Ask which transports the domain prefers; a sips URI takes secure ones alone."""
    records = [one for one in (yield Question("NAPTR", uri.host)) if isinstance(one, Naptr)]
    found = []
    for record in sorted(records, key=lambda one: (one.order, one.preference)):
        transport = _SERVICES.get(record.service.upper())
        if transport is not None and transport in ours and record.flags.lower() == "s":
            found.append((transport, record.replacement))
    return found


def _addresses(name: str) -> Generator[Question, Sequence[Naptr | Srv | str], list[str]]:
    if is_ip_literal(name):  # not allowed in SRV, and seen there
        return [name]
    records = yield Question("ADDRESS", name.rstrip("."))
    return [one for one in records if isinstance(one, str)]


def srv_order(records: Iterable[Srv], source: Random) -> list[Srv]:
    """Put SRV records in the order in which to try them: by priority, then drawn by weight.

    References
    ----------
    RFC 2782, "Usage rules" and the algorithm under "Weight"
    """
    ordered: list[Srv] = []
    # Those without a weight stand first, so that they are drawn only rarely.
    waiting = sorted(records, key=lambda one: (one.priority, one.weight > 0))
    while waiting:
        same = [one for one in waiting if one.priority == waiting[0].priority]
        drawn = source.randint(0, sum(one.weight for one in same))
        for record in same:
            drawn -= record.weight
            if drawn <= 0:
                break
        ordered.append(record)
        waiting.remove(record)
    return ordered


class Penalties:
    """Which servers failed a moment ago: they are tried after the others, not left out.

    References
    ----------
    RFC 3263 section 4.3
    """

    def __init__(self) -> None:
        self._until: dict[Hop, float] = {}

    def __len__(self) -> int:
        return len(self._until)

    def failed(self, hop: Hop, now: float, seconds: float = PENALTY_S) -> None:
        """Remember that a server did not answer, or was overloaded for so many seconds."""
        self._until.pop(hop, None)
        if len(self._until) >= MAX_PENALTIES:
            del self._until[next(iter(self._until))]
        self._until[hop] = now + seconds

    def worked(self, hop: Hop) -> None:
        """Forget what was."""
        self._until.pop(hop, None)

    def order(self, hops: Iterable[Hop], now: float) -> list[Hop]:
        """Return the servers, those in disgrace last; of these, whose penalty ends first."""
        for hop in [hop for hop, until in self._until.items() if until <= now]:
            del self._until[hop]
        return sorted(hops, key=lambda hop: self._until.get(hop, 0.0))
