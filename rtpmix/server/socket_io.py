"""`MediaIO` on real sockets: two a leg, connected, read where they lie.

An RTP socket is connected to its leg's source, so the kernel drops what others send and each
datagram costs one `recv_into` or one `send`. All ready sockets are found with one `epoll`.
"""

from __future__ import annotations

import errno
import ipaddress
import resource
import select
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from ..errors import CapacityError
from ..mixer.boxes import Inbox, Outbox
from .learning_sockets import Ear, disconnect, sender
from .media_io import Address
from .porch import Heard, Porches
from .ports import PortPairs

RECEIVE_BUFFER = 64 * 1024  # octets, of the kernel: about a second of packets, then it drops
SPARE_FILES = 64  # descriptors left for everything else
FLUSHED = 256  # datagrams thrown away when a socket is connected

Send = Callable[[memoryview | bytes], int]
_TAKEN = (errno.EADDRINUSE, errno.EACCES)  # by somebody else; a port for root alone


@dataclass(slots=True, eq=False)
class _Pair:
    """The sockets of one leg."""

    rtp: socket.socket
    rtcp: socket.socket
    port: int  # the even one; 0: of a pair that another process gives out
    row: int | None = None
    send: Send | None = None  # None: the socket hears and sends nothing
    send_rtcp: Send | None = None
    mux: bool = False
    peer: tuple[Address | None, Address | None, bool] | None = (None, None, False)
    hosts: tuple[frozenset[str] | None, frozenset[str] | None] = (None, None)  # RTP's, RTCP's
    checked: bool = False  # strangers' checks are heard
    heard: tuple[int, ...] = ()  # descriptors that epoll watches
    fresh: bool = True  # what has come until it is connected is anybody's


def raise_open_files() -> int:
    """Raise the limit of open files to what the system allows; return it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


class SocketIO:
    """Sockets of all legs of one host; `reserve` may be called from another thread than the rest.

    Parameters
    ----------
    address
        Where to bind, an address of this machine.
    ports
        For RTP and RTCP, in pairs.
    address_v6
        Where to bind for peers on IPv6; None takes ``address`` for them too.
    """

    def __init__(self, address: str, ports: range, address_v6: str | None = None) -> None:
        self._address, self.tells_time = address, False
        self._address_v6 = address_v6 or address
        self._pairs = PortPairs(ports)
        self._legs: dict[int, _Pair] = {}
        self._rows: dict[int, _Pair] = {}
        self._readers: dict[int, tuple[int, Callable[[memoryview], int]]] = {}
        self._epoll = select.epoll()
        self._plans: dict[int, tuple[int, list[tuple[Send, memoryview, int]]]] = {}
        self._generation = 0  # of the sockets: a plan of an older one is stale
        self._sources: dict[int, Address] = {}
        self._refused: dict[int, int] = {}  # by row
        self._max_legs = (raise_open_files() - SPARE_FILES) // 2
        self._porches = Porches(2 * self._max_legs)

    def reserve(self, leg: int, *, ipv6: bool = False, remote: Address | None = None) -> Address:
        """Bind a pair; see `MediaIO.reserve`."""
        if 2 * len(self._legs) + len(self._porches) >= 2 * self._max_legs:
            limit = 2 * self._max_legs + SPARE_FILES
            raise CapacityError(
                f"{limit} open files are allowed (RLIMIT_NOFILE); a leg takes two, with ICE three",
                limit=limit,
            )
        address = self._address_v6 if ipv6 else self._address
        pair = self._legs[leg] = self._take(address)
        return address, pair.port

    def open_pair(self) -> tuple[socket.socket, socket.socket, Address]:
        """Bind a pair for somebody else, who closes it and then gives the even port back."""
        pair = self._take(self._address)
        return pair.rtp, pair.rtcp, (self._address, pair.port)

    def give_back(self, port: int) -> None:
        """Take back the even port of a pair of `open_pair`."""
        self._pairs.give_back(port)

    def _take(self, address: str) -> _Pair:
        for _ in range(self._pairs.free):
            port = self._pairs.take()
            if port is None:
                break
            pair = self._bind(address, port)
            if pair is not None:
                return pair
            self._pairs.give_back(port)  # somebody else's: perhaps free another time
        total = self._pairs.total
        raise CapacityError(f"all {total} RTP port pairs are taken; widen the range", limit=total)

    def _bind(self, address: str, port: int) -> _Pair | None:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        opened: list[socket.socket] = []
        try:
            for number in (port, port + 1):
                one = socket.socket(family, socket.SOCK_DGRAM)
                opened.append(one)
                one.setblocking(False)
                if family == socket.AF_INET6:  # leave the port of 0.0.0.0 to others
                    one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                one.bind((address, number))
            opened[0].setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        except OSError as exc:
            for one in opened:
                one.close()
            if exc.errno in _TAKEN:
                return None
            raise CapacityError(
                f"no RTP socket on {address} port {port}: {exc.strerror}", limit=len(self._legs)
            ) from exc
        return _Pair(opened[0], opened[1], port)

    # ------------------------------------------------------------------- between processes

    def descriptors(self, leg: int) -> tuple[int, int] | None:
        """Return the RTP and the RTCP socket of a leg, to be handed to another process."""
        pair = self._legs.get(leg)
        return None if pair is None else (pair.rtp.fileno(), pair.rtcp.fileno())

    def adopt(self, leg: int, rtp: int, rtcp: int, *, fresh: bool) -> None:
        """Take over sockets that another process has bound.

        Parameters
        ----------
        fresh
            They have not been connected: what waits in them may be anybody's. Else it is the
            peer's, sent while the leg moved.
        """
        pair = _Pair(socket.socket(fileno=rtp), socket.socket(fileno=rtcp), 0)
        pair.rtp.setblocking(False)
        pair.rtcp.setblocking(False)
        pair.fresh = fresh
        self._legs[leg] = pair

    # ------------------------------------------------------------------------ a leg's life

    def attach(self, leg: int, row: int) -> None:
        """Name the engine row of a leg; see `MediaIO.attach`."""
        pair = self._legs.get(leg)
        if pair is not None:
            pair.row = row
            self._rows[row] = pair
            self._listen(pair)

    def connect(
        self, leg: int, remote: Address | None, remote_rtcp: Address | None, rtcp_mux: bool
    ) -> None:
        """Name the peer of a leg; see `MediaIO.connect`."""
        pair = self._legs.get(leg)
        peer = (remote, remote_rtcp, rtcp_mux)
        if pair is None or pair.peer == peer:
            return  # a re-INVITE that moves nothing loses no packet
        self._deafen(pair)
        pair.peer = peer
        pair.hosts = (None, None)
        pair.mux = rtcp_mux
        pair.send = self._join(leg, pair, remote)
        if remote_rtcp is None and remote is not None and not rtcp_mux:
            remote_rtcp = (remote[0], min(remote[1] + 1, 65535))
        pair.send_rtcp = None if rtcp_mux else _connect(pair.rtcp, remote_rtcp)
        self._listen(pair)

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
        """Hear more than one source for a while; see `LearningIO.learn`."""
        pair = self._legs.get(leg)
        if pair is None:
            return
        self._deafen(pair)
        pair.peer = None
        pair.fresh = True  # what has come when it is connected may be anybody's
        pair.hosts = (hosts if media else None, None if rtcp_mux else hosts)
        pair.mux = rtcp_mux
        pair.send = _open(pair.rtp, remote) if media else _connect(pair.rtp, remote)
        pair.send_rtcp = None if rtcp_mux else _open(pair.rtcp, remote_rtcp)
        self._listen(pair)

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
        """Hear strangers' checks; see `CheckingIO.expect_checks`."""
        pair = self._legs.get(leg)
        if pair is None or pair.checked is on:
            return
        pair.checked, pair.peer = on, None  # so that `connect` does its work
        if not on:
            self._porches.close(leg)
            pair.fresh = True  # it may have been a porch itself

    def _join(self, leg: int, pair: _Pair, remote: Address | None) -> Send | None:
        """Connect RTP to the peer, and have a porch for others where their checks are expected."""
        if not pair.checked:
            return _connect(pair.rtp, remote)
        if remote is None or pair.send is not None or self._porches.is_at(leg, pair.rtp):
            pair.fresh = True  # it heard another peer, or anybody
            with suppress(OSError):
                disconnect(pair.rtp)  # so that the new path may have another address of ours
        if remote is not None:
            self._porches.open(leg, pair.rtp, beside=True)
        send = _connect(pair.rtp, remote)
        if send is None:  # of two sockets that hear everybody one would take the other's
            self._porches.open(leg, pair.rtp, beside=False)
        return send

    def take_checks(self) -> list[Heard]:
        """Return what may be checks; see `CheckingIO.take_checks`."""
        return self._porches.hear()

    def answer_check(self, leg: int, answer: bytes, to: Address) -> None:
        """Send to somebody who is not the peer; see `CheckingIO.answer_check`."""
        self._porches.answer(leg, answer, to)

    def take_strays(self) -> tuple[int, int]:
        """Return what became of the rest; see `CheckingIO.take_strays`."""
        return self._porches.take_strays()

    def release(self, leg: int) -> None:
        """Close a leg's sockets; see `MediaIO.release`."""
        pair = self._legs.pop(leg, None)
        if pair is None:
            return
        self._porches.close(leg)
        self._deafen(pair)
        if pair.row is not None and self._rows.get(pair.row) is pair:
            del self._rows[pair.row]
        pair.rtp.close()
        pair.rtcp.close()
        if pair.port:
            self._pairs.give_back(pair.port)

    def close(self) -> None:
        """Close everything."""
        for leg in list(self._legs):
            self.release(leg)
        self._porches.end()
        self._epoll.close()

    def _listen(self, pair: _Pair) -> None:
        """Begin to hear a leg once its row and its peer are known."""
        self._generation += 1
        if pair.row is None or pair.heard:
            return
        heard = []
        for one, code, send, hosts in (
            (pair.rtp, 2 * pair.row, pair.send, pair.hosts[0]),
            (pair.rtcp, 2 * pair.row + 1, pair.send_rtcp, pair.hosts[1]),
        ):
            if send is not None:
                if pair.fresh:
                    _flush(one)
                reader: socket.socket | Ear = one
                if hosts is not None:
                    reader = Ear(one, code, hosts, self._sources, self._refused)
                self._readers[one.fileno()] = (code, reader.recv_into)
                self._epoll.register(one.fileno(), select.EPOLLIN)
                heard.append(one.fileno())
        pair.heard = tuple(heard)

    def _deafen(self, pair: _Pair) -> None:
        self._generation += 1
        for descriptor in pair.heard:
            self._epoll.unregister(descriptor)
            del self._readers[descriptor]
        pair.heard = ()

    # ------------------------------------------------------------------------------ packets

    def receive(self, inbox: Inbox, count: int = 0) -> int:
        """Read at most one datagram from each ready socket; see `MediaIO.receive`.

        The first ``count`` rows of the inbox are left as they are.
        """
        if count >= inbox.capacity or not self._readers:
            return count
        readers, views, codes, sizes = self._readers, inbox.views, inbox.codes, inbox.sizes
        for descriptor, _ in self._epoll.poll(0, inbox.capacity - count):
            code, recv_into = readers[descriptor]
            try:
                sizes[count] = recv_into(views[count])
            except OSError:
                continue  # an ICMP error of an earlier send: reading it clears it
            codes[count] = code
            count += 1
        return count

    def send(self, outbox: Outbox) -> list[int]:
        """Send the packets of a beat; see `MediaIO.send`."""
        failed: list[int] = []
        for send, view, row in self._plan(outbox):
            try:
                send(view)
            except OSError:
                failed.append(row)
        for row, packet, is_rtcp in outbox.extra:
            pair = self._rows.get(row)
            if pair is None:
                continue
            send_extra = pair.send_rtcp if is_rtcp and not pair.mux else pair.send
            if send_extra is None:
                continue
            try:
                send_extra(packet)
            except OSError:
                failed.append(row)
        return failed

    def _plan(self, outbox: Outbox) -> list[tuple[Send, memoryview, int]]:
        """Return what to call for each packet of a phase, made anew only after a change."""
        key = (outbox.version << 32) + self._generation
        known = self._plans.get(outbox.phase)
        if known is not None and known[0] == key:
            return known[1]
        rows = self._rows
        plan: list[tuple[Send, memoryview, int]] = []
        for row, view in zip(outbox.rows, outbox.views, strict=True) if rows else ():
            pair = rows.get(row)
            if pair is not None and pair.send is not None:
                plan.append((pair.send, view, row))
        self._plans[outbox.phase] = (key, plan)
        return plan


def _connect(one: socket.socket, remote: Address | None) -> Send | None:
    """Connect a socket to its peer, or leave it deaf; None when it hears and sends nothing."""
    if remote is None or not remote[1]:
        return None
    try:
        ipaddress.ip_address(remote[0])  # a name would be resolved here and now, and block
        one.connect(remote)
    except (OSError, ValueError):
        return None  # no route: the media timeout tells
    return one.send


def _open(one: socket.socket, remote: Address | None) -> Send | None:
    """Let a socket hear everybody; None when it can't, and stays deaf."""
    try:
        disconnect(one)
    except OSError:
        return None
    return sender(one, remote)


def _flush(one: socket.socket) -> None:
    """Throw away what came before the peer was known: anybody may have sent it."""
    scratch = bytearray(2048)
    for _ in range(FLUSHED):
        try:
            one.recv_into(scratch)
        except BlockingIOError:
            return
        except OSError:
            continue
