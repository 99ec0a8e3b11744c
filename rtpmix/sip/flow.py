"""Where a SIP message came from, and where one goes: names only, no sockets."""

from __future__ import annotations

from typing import NamedTuple

Address = tuple[str, int]


class Flow(NamedTuple):
    """One path to a peer: a UDP address pair, or a connection.

    ``connection`` is the shell's number of an open connection; 0 means UDP, or, for a stream
    transport, "any connection to ``remote``, opened if there is none". ``name`` is what the
    certificate of a TLS peer must prove: the host of the URI that led to it (RFC 5922 section 7.3).
    """

    transport: str  # as Via has it: "UDP", "TCP", "TLS", "WS" or "WSS"
    remote: Address
    local: Address
    connection: int = 0
    name: str = ""

    @property
    def reliable(self) -> bool:
        """True where the transport itself retransmits (RFC 3261 section 17)."""
        return self.transport != "UDP"


class Outgoing(NamedTuple):
    """One message for the shell to send."""

    flow: Flow
    data: bytes
