"""Ports that legs share, as the server knows them: their carriers are worker processes.

Theory of operation. The server binds the pair, says which leg is on it, and hands copies of its
sockets to the one worker that reads them; there `SharedIO` tells the legs apart. Two processes that
read one socket would take each other's packets, so a leg that goes to another worker leaves the
shared pair: it gets sockets of its own on the same port, connected to its peer, whose packets the
kernel then gives to these (a connected UDP socket is the better match). Its peer sees no change.
The port stays taken until the last of those has gone, too.

For a socket to be bound where another one is, all on the port must ask for it (`SO_REUSEPORT`, and
be of one user). They do so for that moment alone: at other times nobody else can bind the port.

An address belongs to the leg that named it first, as in `SharedIO`, but here also against the legs
that have left the shared pair.
"""

from __future__ import annotations

import socket
from contextlib import suppress
from dataclasses import dataclass, field

from ..errors import CapacityError
from . import mmsg
from .media_io import Address
from .socket_io import RECEIVE_BUFFER, SocketIO


@dataclass(slots=True, eq=False)
class _Port:
    rtp: socket.socket
    rtcp: socket.socket
    address: Address
    worker: int
    sharing: set[int] = field(default_factory=set)
    guests: dict[int, tuple[socket.socket, socket.socket]] = field(default_factory=dict)
    claims: dict[bytes, int] = field(default_factory=dict)  # RTP address -> leg
    rtcp_claims: dict[bytes, int] = field(default_factory=dict)

    def sockets(self, place: int) -> list[socket.socket]:
        """Return all sockets for RTP (0) or RTCP (1)."""
        return [(self.rtp, self.rtcp)[place], *(pair[place] for pair in self.guests.values())]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a leg is: on a shared pair, whose sockets these are."""

    number: int
    rtp: int
    rtcp: int


class PortBook:
    """The shared pairs of a host.

    Parameters
    ----------
    plain
        Binds the pairs.
    legs_per_port
        Most legs on one of them.
    """

    def __init__(self, plain: SocketIO, legs_per_port: int) -> None:
        self._plain = plain
        self._legs_per_port = legs_per_port
        self._ports: list[_Port] = []
        self._of_leg: dict[int, _Port] = {}
        self._remotes: dict[int, tuple[Address, Address]] = {}  # leg -> its peer, RTP and RTCP

    def reserve(self, leg: int, worker: int, remote: Address) -> Address | None:
        """Put a leg on a pair that a worker reads; None where its peer can't share one."""
        name = _name(remote)
        if name is None:
            return None
        port = self._port_without(name, worker)
        port.sharing.add(leg)
        port.claims[name] = leg
        self._of_leg[leg] = port
        self._remotes[leg] = remote, _above(remote)
        return port.address

    def _port_without(self, name: bytes, worker: int) -> _Port:
        for port in self._ports:
            if port.worker != worker or len(port.sharing) >= self._legs_per_port:
                continue
            if name not in port.claims:
                return port
        rtp, rtcp, address = self._plain.open_pair()
        for one in (rtp, rtcp):
            one.setsockopt(
                socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER * self._legs_per_port
            )
        port = _Port(rtp, rtcp, address, worker)
        self._ports.append(port)
        return port

    def holds(self, leg: int) -> bool:
        """Tell whether a leg is on such a port, or was until it went to another worker."""
        return leg in self._of_leg

    def place(self, leg: int) -> Place | None:
        """Return the shared pair of a leg; None where it has sockets of its own."""
        port = self._of_leg.get(leg)
        if port is None or leg not in port.sharing:
            return None
        return Place(port.address[1], port.rtp.fileno(), port.rtcp.fileno())

    def connect(self, leg: int, remote: Address, remote_rtcp: Address | None) -> bool:
        """Note where a leg's peer is; False where another leg of the port named that first."""
        port = self._of_leg[leg]
        rtcp = remote_rtcp or _above(remote)
        self._disclaim(leg, port)
        self._remotes[leg] = remote, rtcp
        for claims, name in ((port.claims, _name(remote)), (port.rtcp_claims, _name(rtcp))):
            if name is None or claims.setdefault(name, leg) != leg:
                return False
        return True

    def part(self, leg: int) -> tuple[int, int]:
        """Give a leg sockets of its own on its port; return their descriptors, RTP and RTCP.

        Raises
        ------
        CapacityError
            The system has none left.
        """
        port = self._of_leg[leg]
        port.sharing.discard(leg)
        made: list[socket.socket] = []
        try:
            for place, remote in enumerate(self._remotes[leg]):
                made.append(_beside(port.sockets(place), remote))
        except OSError as exc:
            for one in made:
                one.close()
            raise CapacityError(f"no socket beside a shared one: {exc.strerror}", limit=0) from exc
        port.guests[leg] = made[0], made[1]
        return made[0].fileno(), made[1].fileno()

    def descriptors(self, leg: int) -> tuple[int, int] | None:
        """Return the leg's own sockets; None where it shares them."""
        port = self._of_leg.get(leg)
        pair = port.guests.get(leg) if port is not None else None
        return (pair[0].fileno(), pair[1].fileno()) if pair is not None else None

    def release(self, leg: int) -> None:
        """Give a leg's place back; an unknown leg is no error."""
        port = self._of_leg.pop(leg, None)
        if port is None:
            return
        self._disclaim(leg, port)
        del self._remotes[leg]
        port.sharing.discard(leg)
        for one in port.guests.pop(leg, ()):
            one.close()
        if not port.sharing and not port.guests:
            self._ports.remove(port)
            port.rtp.close()
            port.rtcp.close()
            self._plain.give_back(port.address[1])

    def counts(self) -> dict[str, int]:
        """Return how many ports there are, and legs on them or beside them."""
        return {
            "ports": len(self._ports),
            "legs": sum(len(port.sharing) for port in self._ports),
            "parted": sum(len(port.guests) for port in self._ports),
        }

    @staticmethod
    def _disclaim(leg: int, port: _Port) -> None:
        for claims in (port.claims, port.rtcp_claims):
            for name in [name for name, owner in claims.items() if owner == leg]:
                del claims[name]


def _beside(others: list[socket.socket], remote: Address) -> socket.socket:
    """Return a socket on the port of others that hears just one peer."""
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        made.setblocking(False)
        for one in (*others, made):
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        made.bind(others[0].getsockname())
        made.connect(remote)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
    except OSError:
        made.close()
        raise
    finally:
        for one in (*others, made):
            with suppress(OSError):  # it was closed just now
                one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 0)
    return made


def _above(remote: Address) -> Address:
    return remote[0], min(remote[1] + 1, 65535)


def _name(remote: Address) -> bytes | None:
    """Return the socket address of a peer; None for what can't share a port."""
    with suppress(ValueError):
        return mmsg.sockaddr(remote)
    return None
