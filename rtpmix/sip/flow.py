"""Where a SIP message came from, and where one goes: names only, no sockets."""

from __future__ import annotations

from typing import NamedTuple

Address = tuple[str, int]


class Flow(NamedTuple):
    """One path to a peer: a UDP address pair, or a TCP connection.

    ``connection`` is the shell's number of an open connection; 0 means UDP, or, for a stream
    transport, "any connection to ``remote``, opened if there is none".
    """

    transport: str  # "UDP" or "TCP"
    remote: Address
    local: Address
    connection: int = 0

    @property
    def reliable(self) -> bool:
        """True where the transport itself retransmits (RFC 3261 section 17)."""
        return self.transport != "UDP"


class Outgoing(NamedTuple):
    """One message for the shell to send."""

    flow: Flow
    data: bytes
