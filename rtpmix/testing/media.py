"""The media engine's sockets on a `VirtualNet`, for an `InlineHost` on virtual time."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from ..errors import CapacityError
from ..mixer.boxes import DATAGRAM, Inbox, Outbox
from ..rtp.stun import is_stun
from .net import Address, VirtualNet, VirtualSocket

_Arrival = tuple[bytes, Address]
_QUEUE = 64  # datagrams that a port keeps until the next beat, as a kernel's buffer does


@dataclass(slots=True)
class _Ports:
    """One leg's RTP and RTCP ports."""

    rtp: VirtualSocket
    rtcp: VirtualSocket
    row: int | None = None
    hosts: tuple[frozenset[str], frozenset[str]] = (frozenset(), frozenset())  # learned from
    remote: Address | None = None
    remote_rtcp: Address | None = None
    rtcp_mux: bool = False
    checked: bool = False  # strangers' STUN is heard at the RTP port
    arrived: tuple[deque[_Arrival], deque[_Arrival]] = field(
        default_factory=lambda: (deque(), deque())
    )

    @property
    def live(self) -> bool:
        """Attached and connected: what arrives earlier is thrown away."""
        return self.row is not None and self.remote is not None


class VirtualMediaIO:
    """`rtpmix.server.media_io.MediaIO` in memory.

    Parameters
    ----------
    net
        The net that the calls' SIP goes over too.
    host
        The address that media is received on.
    ports
        RTP ports; RTCP is on the odd port above each even one.
    host_v6
        The address for peers on IPv6; None takes ``host`` for them too.

    Attributes
    ----------
    dropped
        Datagrams that arrived faster than the engine took them.
    """

    def __init__(
        self,
        net: VirtualNet,
        host: str | None = None,
        ports: range = range(10000, 60000),
        host_v6: str | None = None,
    ) -> None:
        self.dropped = 0
        self._net = net
        self._host = host if host is not None else net.host
        self._host_v6 = host_v6 or self._host
        self._ports = ports
        self._next = 0  # index into `ports`: a port is used again as late as possible
        self._legs: dict[int, _Ports] = {}
        self._rows: dict[int, _Ports] = {}
        self._sources: dict[int, Address] = {}
        self._refused: dict[int, int] = {}  # by row
        self._checks: deque[tuple[int, bytes, Address]] = deque()
        self._strays = 0

    tells_time = False

    def reserve(self, leg: int, *, ipv6: bool = False, remote: Address | None = None) -> Address:
        """Bind an even RTP port and the odd RTCP port above it; CapacityError when none is left."""
        even = [port for port in self._ports if port % 2 == 0 and port + 1 in self._ports]
        for _ in even:
            port = even[self._next % len(even)]
            self._next += 1
            pair = self._bind(self._host_v6 if ipv6 else self._host, port)
            if pair is not None:
                self._legs[leg] = pair
                return pair.rtp.address
        raise CapacityError("no RTP port pair is left in the virtual net", limit=len(even))

    def attach(self, leg: int, row: int) -> None:
        """Deliver what the leg's source sends as coming from this row; an unknown leg is none."""
        ports = self._legs.get(leg)
        if ports is not None:
            ports.row = row
            self._rows[row] = ports

    def connect(
        self, leg: int, remote: Address | None, remote_rtcp: Address | None, rtcp_mux: bool
    ) -> None:
        """Hear only this source and send only there; None: neither."""
        ports = self._legs.get(leg)
        if ports is None:
            return
        if remote_rtcp is None and remote is not None:
            remote_rtcp = (remote[0], min(remote[1] + 1, 65535))
        ports.hosts = (frozenset(), frozenset())
        ports.remote, ports.rtcp_mux = remote, rtcp_mux
        ports.remote_rtcp = remote if rtcp_mux else remote_rtcp
        for arrived in ports.arrived:
            arrived.clear()

    def learn(
        self,
        leg: int,
        remote: Address | None,
        remote_rtcp: Address | None,
        rtcp_mux: bool,
        *,
        hosts: frozenset[str],
        media: bool,
    ) -> None:
        """Hear what these hosts send from any port; see `LearningIO.learn`."""
        self.connect(leg, remote, remote_rtcp, rtcp_mux)
        ports = self._legs.get(leg)
        if ports is not None:
            none: frozenset[str] = frozenset()
            ports.hosts = (hosts if media else none, none if rtcp_mux else hosts)

    @property
    def sources(self) -> dict[int, Address]:
        """Where datagrams of legs that learn came from; see `LearningIO.sources`."""
        return self._sources

    def take_refused(self) -> list[tuple[int, int]]:
        """Return what strangers sent to legs that learn; see `LearningIO.take_refused`."""
        refused = list(self._refused.items())
        self._refused.clear()
        return refused

    def expect_checks(self, leg: int, on: bool) -> None:
        """Hear STUN from others than the peer, too; see `CheckingIO.expect_checks`."""
        ports = self._legs.get(leg)
        if ports is not None:
            ports.checked = on

    def take_checks(self) -> list[tuple[int, bytes, Address]]:
        """Return such datagrams; see `CheckingIO.take_checks`."""
        checks = list(self._checks)
        self._checks.clear()
        return checks

    def answer_check(self, leg: int, answer: bytes, to: Address) -> None:
        """Send from a leg's RTP port; see `CheckingIO.answer_check`."""
        ports = self._legs.get(leg)
        if ports is not None:
            ports.rtp.send(answer, to)

    def take_strays(self) -> tuple[int, int]:
        """Return how many were no STUN; see `CheckingIO.take_strays`."""
        strays, self._strays = self._strays, 0
        return strays, 0

    def release(self, leg: int) -> None:
        """Give the ports back; an unknown leg is no error."""
        ports = self._legs.pop(leg, None)
        if ports is not None:
            ports.rtp.close()
            ports.rtcp.close()
            if ports.row is not None and self._rows.get(ports.row) is ports:
                del self._rows[ports.row]

    def receive(self, inbox: Inbox) -> int:
        """Fill the inbox with at most one datagram a leg and kind; return how many."""
        count = 0
        for row, ports in self._rows.items():
            for kind, arrived in enumerate(ports.arrived):
                if not arrived or count == inbox.capacity:
                    continue
                datagram, source = arrived.popleft()
                datagram = datagram[:DATAGRAM]
                if ports.hosts[kind]:
                    self._sources[2 * row + kind] = source
                inbox.views[count][: len(datagram)] = datagram
                inbox.sizes[count] = len(datagram)
                inbox.codes[count] = 2 * row + kind
                count += 1
        return count

    def send(self, outbox: Outbox) -> list[int]:
        """Send everything in the outbox; nothing fails here."""
        for row, view in zip(outbox.rows, outbox.views, strict=True):
            self._send(row, bytes(view), rtcp=False)
        for row, packet, rtcp in outbox.extra:
            self._send(row, packet, rtcp=rtcp)
        return []

    def _send(self, row: int, packet: bytes, *, rtcp: bool) -> None:
        ports = self._rows.get(row)
        if ports is None:
            return
        remote = ports.remote_rtcp if rtcp else ports.remote
        if remote is not None and remote[1]:
            socket = ports.rtcp if rtcp and not ports.rtcp_mux else ports.rtp
            socket.send(packet, remote)

    def _bind(self, host: str, port: int) -> _Ports | None:
        bound: list[VirtualSocket] = []
        try:
            for number in (port, port + 1):
                bound.append(self._net.bind((host, number), lambda *_: None))
        except OSError:
            for socket in bound:
                socket.close()
            return None
        ports = _Ports(bound[0], bound[1])
        ports.rtp.receive = lambda data, source: self._hear(ports, 0, data, source)
        ports.rtcp.receive = lambda data, source: self._hear(ports, 1, data, source)
        return ports

    def _hear(self, ports: _Ports, kind: int, data: bytes, source: Address) -> None:
        expected = ports.remote_rtcp if kind else ports.remote
        if ports.checked and not kind and source != expected:
            self._hear_stranger(ports, data, source)
            return
        if not ports.live:
            return
        if ports.hosts[kind]:
            if source[0] not in ports.hosts[kind]:
                assert ports.row is not None
                self._refused[ports.row] = self._refused.get(ports.row, 0) + 1
                return
        elif source != expected:
            return
        if len(ports.arrived[kind]) >= _QUEUE:
            self.dropped += 1
            return
        ports.arrived[kind].append((data, source))

    def _hear_stranger(self, ports: _Ports, data: bytes, source: Address) -> None:
        """Keep what may be a check, as a porch of `rtpmix.server.porch` does."""
        if not is_stun(data):
            self._strays += 1
        elif len(self._checks) >= _QUEUE:
            self.dropped += 1
        else:
            leg = next(leg for leg, each in self._legs.items() if each is ports)
            self._checks.append((leg, data, source))
