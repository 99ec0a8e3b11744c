"""A network in a box: datagrams between addresses, impaired by a seed.

Every direction between two addresses has a random generator of its own, seeded by the net's seed
and the two addresses.  So the same seed gives the same fates and the same times, and a party that
joins or leaves changes nothing for the others: a call can be compared byte for byte with the same
call without its supervisor.  Each datagram draws the same number of random numbers whatever the
link's settings are, so a longer delay does not change which packets are lost.
"""

from __future__ import annotations

import errno
import ipaddress
from asyncio import AbstractEventLoop
from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random
from typing import Any, NamedTuple

from ..errors import UsageError
from .nat import NatBox

Address = tuple[str, int]
Endpoint = str | Address | None  # a host, a host and port, or anything

MAX_DATAGRAM = 65507  # octets of UDP payload over IPv4
_EPHEMERAL = range(49152, 65536)  # RFC 6335 section 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """What happens to datagrams on their way; probabilities are per datagram.

    ``jitter_ms`` is uniform and keeps the order; ``reorder`` is what breaks it: such a datagram is
    held back for ``reorder_ms`` more.  ``burst_start`` begins a burst in which everything is lost,
    of ``burst_packets`` on the average.  On a stream a lost segment costs time instead.
    """

    delay_ms: float = 0.0
    jitter_ms: float = 0.0
    loss: float = 0.0
    burst_start: float = 0.0
    burst_packets: float = 5.0
    duplicate: float = 0.0
    reorder: float = 0.0
    reorder_ms: float = 40.0

    def __post_init__(self) -> None:
        for name in ("loss", "burst_start", "duplicate", "reorder"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise UsageError(f"{name}={getattr(self, name)} is no probability; give 0 to 1")
        for name in ("delay_ms", "jitter_ms", "reorder_ms"):
            if getattr(self, name) < 0:
                raise UsageError(f"{name}={getattr(self, name)}: nothing arrives before it is sent")
        if self.burst_packets < 1:
            raise UsageError(f"burst_packets={self.burst_packets}; a burst loses at least 1")


class Passage(NamedTuple):
    """One datagram that was sent, and when it will arrive: never, once, or twice."""

    sent_at: float
    source: Address
    destination: Address
    data: bytes
    arrivals: tuple[float, ...]


@dataclass(slots=True)
class Counters:
    """Datagrams since the net was made."""

    sent: int = 0
    delivered: int = 0
    lost: int = 0  # by the link
    duplicated: int = 0
    reordered: int = 0  # held back; it may still arrive in order
    unreachable: int = 0  # nobody was bound where it arrived


class VirtualSocket:
    """A bound UDP address; made by `VirtualNet.bind`."""

    __slots__ = ("_net", "address", "receive")

    def __init__(
        self, net: VirtualNet, address: Address, receive: Callable[[bytes, Address], None]
    ) -> None:
        self._net: VirtualNet | None = net
        self.address = address
        self.receive = receive  # called with (data, source) when a datagram arrives

    def send(self, data: bytes, destination: Address) -> None:
        """Send a datagram; silently into nothing when the socket is closed."""
        if self._net is not None:
            self._net.transmit(bytes(data), self.address, destination)

    def close(self) -> None:
        """Give the address back; what is on its way to it finds nobody."""
        if self._net is not None:
            self._net.unbind(self)
            self._net = None


class _Direction:
    """State of one direction between two addresses."""

    __slots__ = ("generation", "in_burst", "last_arrival", "link", "rng")

    def __init__(self, seed: int, source: Address, destination: Address) -> None:
        self.rng = Random(f"{seed} {source} {destination}")
        self.link = Link()
        self.generation = -1  # of the rules that chose the link
        self.in_burst = False
        self.last_arrival = 0.0


class VirtualNet:
    """The network of one `VirtualLoop`.

    Parameters
    ----------
    seed
        Of every random choice.
    host
        The address that endpoints bound to 0.0.0.0, or to nothing, send from.
    delay_ms, jitter_ms, loss, burst_start, burst_packets, duplicate, reorder
        The link between any two addresses that no rule is set for, see `Link`.

    Notes
    -----
    Addresses are IP literals; names are refused, as nothing in a call may resolve one.
    """

    def __init__(
        self,
        seed: int = 0,
        *,
        host: str = "127.0.0.1",
        delay_ms: float = 0.0,
        jitter_ms: float = 0.0,
        loss: float = 0.0,
        burst_start: float = 0.0,
        burst_packets: float = 5.0,
        duplicate: float = 0.0,
        reorder: float = 0.0,
    ) -> None:
        self.seed = seed
        self.host = host
        self.counters = Counters()
        self.listeners: dict[Address, Callable[..., Any]] = {}  # streams: see `streams`
        self.link = Link(
            delay_ms=delay_ms,
            jitter_ms=jitter_ms,
            loss=loss,
            burst_start=burst_start,
            burst_packets=burst_packets,
            duplicate=duplicate,
            reorder=reorder,
        )
        self._rules: list[tuple[Endpoint, Endpoint, Link]] = []
        self._generation = 0
        self._directions: dict[tuple[Address, Address], _Direction] = {}
        self._sockets: dict[Address, VirtualSocket] = {}
        self._observers: list[Callable[[Passage], None]] = []
        self._boxes: list[NatBox] = []
        self._loop: AbstractEventLoop | None = None

    @property
    def loop(self) -> AbstractEventLoop:
        """The loop that this net belongs to."""
        if self._loop is None:
            raise UsageError("this VirtualNet has no loop; start it with run(main(), net=net)")
        return self._loop

    def attach(self, loop: AbstractEventLoop) -> None:
        """Serve this loop; done by `VirtualLoop`."""
        if self._loop is not None and self._loop is not loop:
            raise UsageError("a VirtualNet serves one loop; make one for each run")
        self._loop = loop

    # ------------------------------------------------------------------------ links

    def set_link(
        self, link: Link, *, source: Endpoint = None, destination: Endpoint = None
    ) -> None:
        """Use this link from now on, in one direction; of rules that match, the latest counts."""
        self._rules.append((source, destination, link))
        self._generation += 1

    def change_link(
        self, *, source: Endpoint = None, destination: Endpoint = None, **changes: float
    ) -> None:
        """Use the net's own link with some fields changed, in one direction."""
        self.set_link(replace(self.link, **changes), source=source, destination=destination)

    def observe(self, observer: Callable[[Passage], None]) -> None:
        """Call ``observer`` with every datagram that is sent from now on."""
        self._observers.append(observer)

    def add_nat(self, box: NatBox) -> NatBox:
        """Put hosts of this net behind a NAT; return the box."""
        self._boxes.append(box)
        return box

    # --------------------------------------------------------------------- datagrams

    def bind(
        self, address: Address | None, receive: Callable[[bytes, Address], None]
    ) -> VirtualSocket:
        """Take an address; port 0 takes a free one of its host.

        Raises
        ------
        OSError
            EADDRINUSE, as a real socket would.
        UsageError
            The host is no IP address.
        """
        host, port = address if address is not None else ("0.0.0.0", 0)
        checked = self.check((host, port))
        if not port:
            checked = self.free_address(host)
        if checked in self._sockets:
            raise OSError(errno.EADDRINUSE, f"{host}:{port} is taken in the virtual net")
        socket = VirtualSocket(self, checked, receive)
        self._sockets[checked] = socket
        return socket

    def unbind(self, socket: VirtualSocket) -> None:
        """Give back the address of a socket; use `VirtualSocket.close`."""
        self._sockets.pop(socket.address, None)

    def transmit(self, data: bytes, source: Address, destination: Address) -> None:
        """Put one datagram on the wire. OSError when no UDP datagram is that long."""
        if len(data) > MAX_DATAGRAM:
            raise OSError(errno.EMSGSIZE, f"a datagram of {len(data)} octets")
        source, destination = self.visible(source), self.check(destination)
        for box in self._boxes:
            source = box.outbound(source, destination)
        self.counters.sent += 1
        arrivals = self._fate(self._direction(source, destination))
        for at in arrivals:
            self.loop.call_at(at, self._deliver, source, destination, data)
        for observer in self._observers:
            observer(Passage(self.loop.time(), source, destination, data, arrivals))

    def visible(self, address: Address) -> Address:
        """The address that others see: a wildcard host sends from `host`."""
        return (self.host, address[1]) if address[0] in ("0.0.0.0", "::") else address

    def check(self, address: tuple[Any, ...]) -> Address:
        """Return host and port; UsageError when the host is no IP literal."""
        host, port = str(address[0]), int(address[1])
        try:
            ipaddress.ip_address(host)
        except ValueError:
            raise UsageError(
                f"{host!r} is no IP address, and a virtual net resolves no names"
            ) from None
        if not 0 <= port <= 65535:
            raise OverflowError(f"port {port} is not in 0 to 65535")
        return host, port

    def free_address(self, host: str) -> Address:
        """Return an address of this host that neither datagrams nor streams use."""
        for port in _EPHEMERAL:
            if (host, port) not in self._sockets and (host, port) not in self.listeners:
                return host, port
        raise OSError(errno.EADDRINUSE, f"no free port on {host} in the virtual net")

    # ------------------------------------------------------------------------ inside

    def link_of(self, source: Address, destination: Address) -> tuple[Link, Random]:
        """The link of a direction, and its random generator (for streams)."""
        direction = self._direction(source, destination)
        return direction.link, direction.rng

    def _direction(self, source: Address, destination: Address) -> _Direction:
        key = (source, destination)
        direction = self._directions.get(key)
        if direction is None:
            direction = self._directions[key] = _Direction(self.seed, source, destination)
        if direction.generation != self._generation:
            direction.generation = self._generation
            direction.link = self._choose(source, destination)
        return direction

    def _choose(self, source: Address, destination: Address) -> Link:
        for rule_source, rule_destination, link in reversed(self._rules):
            if _matches(rule_source, source) and _matches(rule_destination, destination):
                return link
        return self.link

    def _fate(self, direction: _Direction) -> tuple[float, ...]:
        """Decide when a datagram sent now arrives. Six draws, whatever the link is."""
        link, rng = direction.link, direction.rng
        lost, burst, jitter, held, doubled, again = (rng.random() for _ in range(6))
        if direction.in_burst:
            direction.in_burst = burst >= 1 / link.burst_packets
        else:
            direction.in_burst = burst < link.burst_start
        if direction.in_burst or lost < link.loss:
            self.counters.lost += 1
            return ()
        now = self.loop.time()
        at = _instant(now + (link.delay_ms + jitter * link.jitter_ms) / 1000, now)
        if held < link.reorder:
            self.counters.reordered += 1
            at = _instant(at + link.reorder_ms / 1000, now)
        else:
            at = direction.last_arrival = max(at, direction.last_arrival)
        if doubled < link.duplicate:
            self.counters.duplicated += 1
            return at, _instant(at + again * max(link.jitter_ms, 1.0) / 1000, now)
        return (at,)

    def _deliver(self, source: Address, destination: Address, data: bytes) -> None:
        for box in self._boxes:
            inside = box.inbound(source, destination)
            if inside is None:
                self.counters.unreachable += 1
                return
            destination = inside
        socket = self._sockets.get(destination)
        if socket is None:
            wildcard = "::" if ":" in destination[0] else "0.0.0.0"
            socket = self._sockets.get((wildcard, destination[1]))
        if socket is None:
            self.counters.unreachable += 1
            return
        self.counters.delivered += 1
        socket.receive(data, source)


def _instant(at: float, now: float) -> float:
    """Return the time to a whole nanosecond, for tests that compare it; never before now."""
    return max(round(at, 9), now)


def _matches(rule: Endpoint, address: Address) -> bool:
    return rule is None or rule == address or rule == address[0]
