"""Where a message goes: addresses from messages and from the network, never from a resolver.

A host name in a message is not looked up. A name server that doesn't answer would hold up every
call, and a name chosen by a peer is a way to point us at others.
"""

from __future__ import annotations

import ipaddress
from functools import lru_cache

from .flow import Address, Flow
from .headers import Via
from .uri import OpaqueUri, SipUri

DEFAULT_PORT = 5060
SECURE_PORT = 5061  # of sips, and of sip over TLS (RFC 3261 section 19.1.2)

# Where a peer can't be reached from outside of its own network: RFC 1918, 6598, 3927, 1122, 4193.
_INSIDE = [
    ipaddress.ip_network(network)
    for network in (
        *("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "169.254.0.0/16"),
        *("127.0.0.0/8", "fc00::/7", "fe80::/10", "::1/128"),
    )
]


@lru_cache(maxsize=1024)
def is_ip_literal(host: str) -> bool:
    """Tell whether a host is an address, IPv6 without brackets, rather than a name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


@lru_cache(maxsize=1024)
def is_inside(address: str) -> bool:
    """Tell whether an address means something only inside of one network."""
    parsed = ipaddress.ip_address(address)
    return any(parsed in network for network in _INSIDE)


def bracketed(host: str) -> str:
    """Write a host as URIs and Via want it."""
    return f"[{host}]" if ":" in host else host


def sent_by(flow: Flow) -> str:
    """Write our own address in a Via or a Contact."""
    return f"{bracketed(flow.local[0])}:{flow.local[1]}"


def response_flow(via: Via, flow: Flow) -> Flow:
    """Return where the responses to a request go.

    Over the same connection, or to the address that a datagram came from: at its port if the
    client asked for that with rport, else at the port of its Via. The ``maddr`` of section 18.2.2
    is not followed: it would send responses wherever a stranger likes.

    References
    ----------
    RFC 3261 section 18.2.2; RFC 3581 section 4
    """
    if flow.reliable or via.rport is not None:
        return flow
    return flow._replace(remote=(flow.remote[0], via.port or DEFAULT_PORT))


def reopened_flow(via_port: int | None, flow: Flow) -> Flow:
    """Return where responses go once their connection is lost: a new one to the Via's port.

    References
    ----------
    RFC 3261 section 18.2.2
    """
    port = via_port or default_port(flow.transport)
    return flow._replace(remote=(flow.remote[0], port), connection=0)


def default_port(transport: str) -> int:
    """Return the port of a transport where none is named (RFC 3261 section 18.1.1)."""
    return SECURE_PORT if transport == "TLS" else DEFAULT_PORT


def uri_transport(uri: SipUri) -> str | None:
    """Return the transport that a URI asks for, as Via has it; None where it asks for none.

    References
    ----------
    RFC 3261 sections 19.1.1 and 26.2.2; RFC 7118 section 5.2
    """
    named = (uri.parameter("transport") or "").upper()
    if uri.scheme == "sips":
        return {"WS": "WSS"}.get(named, "TLS")
    return named or None


def literal_address(uri: SipUri | OpaqueUri) -> Address | None:
    """Return a URI's address, or None where its host is a name."""
    if isinstance(uri, OpaqueUri) or not is_ip_literal(uri.host):
        return None
    return uri.host, uri.port or default_port(uri_transport(uri) or "UDP")


def next_hop_flow(uri: SipUri | OpaqueUri, heard: Flow) -> Flow:
    """Return the way to a URI for one who has heard its dialog over ``heard``.

    An open connection is used again, since a client behind a NAT can't be connected to. A
    datagram goes to the URI's address if it is one that can be reached, else back where the peer
    was heard: a client behind a NAT calls itself by its address inside.
    """
    if heard.reliable and heard.connection:
        return heard
    address = literal_address(uri)
    if address is None or isinstance(uri, OpaqueUri):
        return heard
    transport = uri_transport(uri) or "UDP"
    if transport != heard.transport:  # our local address belongs to the transport it listens on
        return heard
    if is_inside(address[0]) and not is_inside(heard.remote[0]):
        return heard
    return heard._replace(remote=address, connection=0)
