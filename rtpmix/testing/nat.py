"""A NAT in a box: hosts of a `VirtualNet` that nobody outside can reach before they speak.

For datagrams only; streams pass as if there were none.

References
----------
RFC 4787 sections 4.1 (mapping) and 5 (filtering)
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from ..errors import UsageError

Address = tuple[str, int]

_PORTS = range(61000, 65536)


class NatBox:
    """Private hosts behind one public address.

    Parameters
    ----------
    private
        The network behind it, such as ``"10.0.0.0/24"``.
    public
        Its own address.
    symmetric
        True: a mapping for each destination, through which only that destination answers
        (address and port-dependent). False: one for all, through which anybody may (a full cone).

    Attributes
    ----------
    mappings : dict of (inside, destination or None) to port
        Every port in use outside.
    refused : int
        Datagrams from outside that no mapping lets in.
    """

    def __init__(self, private: str, public: str, *, symmetric: bool = False) -> None:
        self.private = ipaddress.ip_network(private)
        self.public = public
        self.symmetric = symmetric
        self.mappings: dict[tuple[Address, Address | None], int] = {}
        self.refused = 0
        self._inside: dict[int, tuple[Address, Address | None]] = {}
        self._ports: Iterator[int] = iter(_PORTS)

    def outbound(self, source: Address, destination: Address) -> Address:
        """Return the source that is seen at the destination."""
        if not self._holds(source) or self._holds(destination):
            return source
        key = (source, destination if self.symmetric else None)
        port = self.mappings.get(key)
        if port is None:
            port = next(self._ports, None)
            if port is None:
                raise UsageError(f"the NAT {self.public} has no port left for {source}")
            self.mappings[key] = port
            self._inside[port] = key
        return self.public, port

    def inbound(self, source: Address, destination: Address) -> Address | None:
        """Return where a datagram goes from here; None when it is let in nowhere."""
        if self._holds(destination):
            if self._holds(source):
                return destination
        elif destination[0] != self.public:
            return destination
        else:
            known = self._inside.get(destination[1])
            if known is not None and known[1] in (None, source):
                return known[0]
        self.refused += 1
        return None

    def rebind(self) -> None:
        """Forget every mapping, as a router does that starts anew: the next ones differ."""
        self.mappings.clear()
        self._inside.clear()

    def _holds(self, address: Address) -> bool:
        return ipaddress.ip_address(address[0]) in self.private
