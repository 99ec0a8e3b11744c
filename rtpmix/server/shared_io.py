"""`MediaIO` on shared sockets: many legs on one port pair, told apart by where packets come from.

Theory of operation. One system call a datagram is most of what a leg costs. Legs
whose media address the peer has signalled before we name ours, and which differ in it, are put on
one port pair: one `recvmmsg` then reads what came for a hundred of them, and one `sendmmsg` writes.
What comes from an address that none of them has signalled is thrown away, as the kernel does for a
connected socket. Every other leg has sockets of its own (`SocketIO`): on IPv6, in calls whose offer
is ours, and where another leg of each port has signalled the same address.

An address belongs to the leg that named it first, from its reservation on. A leg that moves later,
by re-INVITE, to the address of another on its port hears nothing and sends nothing there: whose the
packets are could not be told.
"""

from __future__ import annotations

import socket
import threading
from dataclasses import dataclass, field

from ..mixer.boxes import Inbox, Outbox
from . import mmsg
from .arriving import Arriving
from .departing import Departing
from .media_io import Address
from .socket_io import RECEIVE_BUFFER, SocketIO

# Of a leg's RTP and RTCP, and whether both are one
_Names = tuple[bytes | None, bytes | None, bool]


@dataclass(slots=True, eq=False)
class _Port:
    """A shared pair of sockets, and which leg has claimed which address on them."""

    rtp: socket.socket
    rtcp: socket.socket
    address: Address
    ours: bool  # bound here; else by another process, which gives it back
    legs: int = 0
    claims: dict[bytes, int] = field(default_factory=dict)  # RTP address -> leg
    rtcp_claims: dict[bytes, int] = field(default_factory=dict)
    codes: dict[int, int] = field(default_factory=dict)  # key of an RTP source -> inbox code
    rtcp_codes: dict[int, int] = field(default_factory=dict)


@dataclass(slots=True, eq=False)
class _Leg:
    port: _Port
    row: int | None = None
    names: _Names = (None, None, False)
    claimed: bytes | None = None  # before it is connected: what it will be connected to
    peer: tuple[Address | None, Address | None, bool] | None = None


class SharedIO:
    """Sockets of all legs of one host, shared where that can be had.

    `reserve` may be called from another thread than the rest.

    Parameters
    ----------
    plain
        For the legs that don't share, and the port range of all.
    legs_per_port
        Most legs on one port pair.
    """

    def __init__(self, plain: SocketIO, legs_per_port: int) -> None:
        self._plain = plain
        self._legs_per_port = legs_per_port
        self._legs: dict[int, _Leg] = {}
        self._rows: dict[int, _Leg] = {}
        self._ports: list[_Port] = []
        self._arriving = Arriving()
        self._departing = Departing()
        self._alone: set[int] = set()  # legs that share no port
        self._timed = True  # the kernel notes when what comes to shared ports came
        self._lock = threading.Lock()  # of legs and ports, not held for packets

    def reserve(self, leg: int, *, ipv6: bool = False, remote: Address | None = None) -> Address:
        """Give a leg a place on a shared pair, or a pair of its own; see `MediaIO.reserve`."""
        name = None if ipv6 or remote is None else mmsg.name_of(remote)
        if name is None:
            self._alone.add(leg)
            return self._plain.reserve(leg, ipv6=ipv6)
        with self._lock:
            port = self._port_without(name)
            port.claims[name] = leg
            port.legs += 1
            self._legs[leg] = _Leg(port, claimed=name)
            return port.address

    def adopt(self, leg: int, rtp: int, rtcp: int, *, fresh: bool) -> None:
        """Take over sockets that a leg has for itself; see `SocketIO.adopt`."""
        self._alone.add(leg)
        self._plain.adopt(leg, rtp, rtcp, fresh=fresh)

    def share(self, leg: int, number: int, rtp: int, rtcp: int, remote: Address) -> None:
        """Put a leg on a pair that another process has bound, and gives out; see `PortBook`."""
        pair = socket.socket(fileno=rtp), socket.socket(fileno=rtcp)
        name = mmsg.name_of(remote)
        with self._lock:
            port = next((port for port in self._ports if port.address[1] == number), None)
            if port is None:
                port = self._open(*pair, ("", number), ours=False)
            else:
                for one in pair:
                    one.close()
            if name is not None:
                port.claims.setdefault(name, leg)
            port.legs += 1
            self._legs[leg] = _Leg(port, claimed=name)

    def _port_without(self, name: bytes) -> _Port:
        for port in self._ports:
            if port.legs < self._legs_per_port and name not in port.claims:
                return port
        rtp, rtcp, address = self._plain.open_pair()
        size = RECEIVE_BUFFER * self._legs_per_port
        for one in (rtp, rtcp):
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)
        return self._open(rtp, rtcp, address, ours=True)

    def _open(
        self, rtp: socket.socket, rtcp: socket.socket, address: Address, *, ours: bool
    ) -> _Port:
        port = _Port(rtp, rtcp, address, ours)
        self._ports.append(port)
        for one, codes in ((rtp, port.codes), (rtcp, port.rtcp_codes)):
            self._timed = mmsg.note_times(one) and self._timed
            self._arriving.listen(one.fileno(), codes)
        return port

    # ------------------------------------------------------------------------ a leg's life

    def attach(self, leg: int, row: int) -> None:
        """Name the engine row of a leg; see `MediaIO.attach`."""
        known = self._legs.get(leg)
        if known is None:
            self._plain.attach(leg, row)
            return
        with self._lock:
            self._deafen(known)
            known.row = row
            self._rows[row] = known
            self._listen(known)

    def connect(
        self, leg: int, remote: Address | None, remote_rtcp: Address | None, rtcp_mux: bool
    ) -> None:
        """Name the peer of a leg; see `MediaIO.connect`."""
        known = self._legs.get(leg)
        if known is None:
            self._plain.connect(leg, remote, remote_rtcp, rtcp_mux)
            return
        peer = (remote, remote_rtcp, rtcp_mux)
        if known.peer == peer:
            return
        if remote_rtcp is None and remote is not None:
            remote_rtcp = (remote[0], min(remote[1] + 1, 65535))
        with self._lock:
            self._deafen(known)
            self._disclaim(leg, known)
            known.peer = peer
            rtp = _claim(known.port.claims, leg, remote)
            rtcp = None if rtcp_mux else _claim(known.port.rtcp_claims, leg, remote_rtcp)
            known.names = (rtp, rtcp, rtcp_mux)
            self._listen(known)

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
        """See `LearningIO.learn`; on a shared port nothing is learned: its packets are others'."""
        if leg in self._legs:
            self.connect(leg, remote, remote_rtcp, rtcp_mux)
            return
        self._plain.learn(leg, remote, remote_rtcp, rtcp_mux, hosts=hosts, media=media)

    @property
    def sources(self) -> dict[int, Address]:
        """See `LearningIO.sources`."""
        return self._plain.sources

    def take_refused(self) -> list[tuple[int, int]]:
        """See `LearningIO.take_refused`."""
        return self._plain.take_refused()

    def expect_checks(self, leg: int, on: bool) -> None:
        """See `CheckingIO.expect_checks`; a leg on a shared port expects none."""
        if leg not in self._legs:
            self._plain.expect_checks(leg, on)

    def take_checks(self) -> list[tuple[int, bytes, Address]]:
        """See `CheckingIO.take_checks`."""
        return self._plain.take_checks()

    def answer_check(self, leg: int, answer: bytes, to: Address) -> None:
        """See `CheckingIO.answer_check`."""
        self._plain.answer_check(leg, answer, to)

    def take_strays(self) -> tuple[int, int]:
        """See `CheckingIO.take_strays`."""
        return self._plain.take_strays()

    def release(self, leg: int) -> None:
        """Give a leg's place back; see `MediaIO.release`."""
        known = self._legs.get(leg)
        if known is None:
            self._alone.discard(leg)
            self._plain.release(leg)
            return
        with self._lock:
            del self._legs[leg]
            self._deafen(known)
            self._disclaim(leg, known)
            if known.row is not None and self._rows.get(known.row) is known:
                del self._rows[known.row]
            known.port.legs -= 1
            if not known.port.legs:
                self._close_port(known.port)

    def close(self) -> None:
        """Close everything."""
        for leg in list(self._legs):
            self.release(leg)
        self._arriving.close()
        self._plain.close()

    def _close_port(self, port: _Port) -> None:
        self._ports.remove(port)
        for one in (port.rtp, port.rtcp):
            self._arriving.leave(one.fileno())
            one.close()
        if port.ours:
            self._plain.give_back(port.address[1])

    def _disclaim(self, leg: int, known: _Leg) -> None:
        rtp, rtcp, _ = known.names
        for claims, name in (
            (known.port.claims, known.claimed),
            (known.port.claims, rtp),
            (known.port.rtcp_claims, rtcp),
        ):
            if name is not None and claims.get(name) == leg:
                del claims[name]
        known.claimed = None
        known.names = (None, None, False)

    def _listen(self, known: _Leg) -> None:
        rtp, rtcp, _ = known.names
        if known.row is None:
            return
        if rtp is not None:
            self._departing.speak(known.row, known.port.rtp.fileno(), rtp)
            known.port.codes[mmsg.key_of(rtp)] = 2 * known.row
        if rtcp is not None:
            known.port.rtcp_codes[mmsg.key_of(rtcp)] = 2 * known.row + 1

    def _deafen(self, known: _Leg) -> None:
        rtp, rtcp, _ = known.names
        if rtp is not None:
            known.port.codes.pop(mmsg.key_of(rtp), None)
        if rtcp is not None:
            known.port.rtcp_codes.pop(mmsg.key_of(rtcp), None)
        if known.row is not None:
            self._departing.silence(known.row)
            self._arriving.forget(known.row)

    def counts(self) -> dict[str, int]:
        """Return what is shared, and the datagrams that were thrown away."""
        return {
            "ports": len(self._ports),
            "legs": len(self._legs),
            "unknown_source": self._arriving.unknown,
            "overrun": self._arriving.overrun,
        }

    # ------------------------------------------------------------------------------ packets

    @property
    def tells_time(self) -> bool:
        """True when all legs share ports; see `LearningIO.tells_time`."""
        return self._timed and not self._alone

    def receive(self, inbox: Inbox) -> int:
        """Read what waits, at most one datagram a leg and kind; see `MediaIO.receive`."""
        shared = self._arriving.receive(inbox)
        count = self._plain.receive(inbox, shared)
        inbox.more = self._arriving.some_wait or count > shared or count == inbox.capacity
        return count

    def send(self, outbox: Outbox) -> list[int]:
        """Send the packets of a beat; see `MediaIO.send`."""
        failed = self._departing.send(outbox)
        for row, packet, is_rtcp in outbox.extra:
            known = self._rows.get(row)
            if known is None:
                continue  # of a leg with sockets of its own
            rtp, rtcp, mux = known.names
            name, one = (rtcp, known.port.rtcp) if is_rtcp and not mux else (rtp, known.port.rtp)
            if name is not None:
                try:
                    one.sendto(packet, mmsg.address_of(name))
                except OSError:
                    failed.append(row)
        return failed + self._plain.send(outbox)


def _claim(claims: dict[bytes, int], leg: int, remote: Address | None) -> bytes | None:
    """Take an address for a leg; None where there is none, or another leg has it."""
    name = None if remote is None else mmsg.name_of(remote)
    return name if name is not None and claims.setdefault(name, leg) == leg else None


def media_io(
    address: str, ports: range, address_v6: str | None = None, *, legs_per_port: int = 1
) -> SocketIO | SharedIO:
    """Return I/O that shares ports where that is asked for and to be had."""
    plain = SocketIO(address, ports, address_v6)
    if legs_per_port > 1 and mmsg.available():
        return SharedIO(plain, legs_per_port)
    return plain
