"""UDP listeners for SIP.

asyncio reads one datagram at each turn of the loop, and asks for 256 KiB each time. Here all that
wait in the kernel are read at once: then what is urgent can go before what is not, and the kernel
has room for a burst.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
from collections.abc import Callable
from typing import Any, Protocol, cast

from ..sip.flow import Address

_log = logging.getLogger(__name__)

RECEIVE_BUFFER = 4 * 1024 * 1024  # octets: a second of a thousand calls, should the loop stall
AT_ONCE = 4096  # datagrams read in one turn of the loop: more than a flood brings in that time
LARGEST = 65536  # octets
SO_MEMINFO = 55  # linux/include/uapi/asm-generic/socket.h; Python does not name it
SO_RCVBUFFORCE = 33
_MEMINFO = struct.Struct("9I")
_DROPS = 8  # SK_MEMINFO_DROPS

Take = Callable[[bytes, Address, Address], None]


class Datagrams(Protocol):
    """One bound UDP address."""

    local: Address

    def send(self, data: bytes, remote: Address) -> bool:
        """Send a datagram; False when the system would not take it."""

    def lost(self) -> int:
        """Return how many datagrams the kernel has dropped before they could be read."""

    def close(self) -> None:
        """Give the address back."""


async def open_datagrams(
    loop: asyncio.AbstractEventLoop, place: Address, take: Take, taken: Callable[[], None]
) -> Datagrams:
    """Bind an address; ``take`` gets each datagram with its source and that address.

    Parameters
    ----------
    taken
        Called when all that was there has been taken.

    Raises
    ------
    OSError
        When the address can't be had.
    """
    own = getattr(type(loop), "create_datagram_endpoint", None)
    if own is asyncio.BaseEventLoop.create_datagram_endpoint:
        return SocketDatagrams(loop, bind(place), take, taken)
    # A loop with endpoints of its own, such as one of virtual time, has its own network as well.
    _, endpoint = await loop.create_datagram_endpoint(
        lambda: EndpointDatagrams(take, taken), local_addr=place
    )
    return endpoint


def bind(place: Address) -> socket.socket:
    """Return a bound socket. One of IPv6 is of IPv6 alone: 0.0.0.0 may have the port beside it."""
    family = socket.AF_INET6 if ":" in place[0] else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_DGRAM)
    try:
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.setblocking(False)
        try:  # beyond what net.core.rmem_max allows everybody, where we may
            sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER)
        except OSError:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        sock.bind(place)
    except OSError:
        sock.close()
        raise
    return sock


class SocketDatagrams:
    """A socket that the loop watches."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sock: socket.socket,
        take: Take,
        taken: Callable[[], None],
    ) -> None:
        self._loop = loop
        self._sock = sock
        self._take = take
        self._taken = taken
        self._view = memoryview(bytearray(LARGEST))
        self._lost = 0
        self.local: Address = sock.getsockname()[:2]
        loop.add_reader(sock.fileno(), self._read)

    def _read(self) -> None:
        view, receive, take, local = self._view, self._sock.recvfrom_into, self._take, self.local
        for _ in range(AT_ONCE):
            try:
                size, source = receive(view)
            except (BlockingIOError, InterruptedError):
                break
            except OSError as exc:
                # An ICMP error names no request; the transaction's own timer decides (RFC 3261
                # 18.4 would allow an earlier failure, but anybody can send an ICMP error).
                _log.debug("UDP socket reported %r", exc)
                continue
            try:
                take(bytes(view[:size]), source[:2], local)
            except Exception:
                # A bug, by definition. The other datagrams are not to suffer.
                _log.exception("taking a datagram failed")
            if self._sock.fileno() < 0:
                return  # it was told to close the server
        self._taken()

    def send(self, data: bytes, remote: Address) -> bool:
        """Send a datagram; see `Datagrams.send`."""
        try:
            self._sock.sendto(data, remote)
        except OSError as exc:
            _log.debug("UDP socket could not send: %r", exc)
            return False
        return True

    def lost(self) -> int:
        """Ask the kernel; see `Datagrams.lost`."""
        if self._sock.fileno() >= 0:
            try:
                figures = self._sock.getsockopt(socket.SOL_SOCKET, SO_MEMINFO, _MEMINFO.size)
            except OSError:
                return self._lost  # not a kernel that tells
            if len(figures) == _MEMINFO.size:
                self._lost = _MEMINFO.unpack(figures)[_DROPS]
        return self._lost

    def close(self) -> None:
        """Close the socket; see `Datagrams.close`."""
        if self._sock.fileno() >= 0:
            self._loop.remove_reader(self._sock.fileno())
            self._sock.close()


class EndpointDatagrams(asyncio.DatagramProtocol):
    """An endpoint of a loop that has its own."""

    def __init__(self, take: Take, taken: Callable[[], None]) -> None:
        self._take = take
        self._taken = taken
        self._transport: asyncio.DatagramTransport | None = None
        self.local: Address = ("", 0)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)
        self.local = transport.get_extra_info("sockname")[:2]

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        self._take(data, addr[:2], self.local)
        self._taken()

    def error_received(self, exc: Exception) -> None:
        _log.debug("UDP endpoint reported %r", exc)

    def send(self, data: bytes, remote: Address) -> bool:
        """Send a datagram; see `Datagrams.send`."""
        if self._transport is None or self._transport.is_closing():
            return False
        self._transport.sendto(data, remote)
        return True

    def lost(self) -> int:
        """Return 0: such a loop does not tell; see `Datagrams.lost`."""
        return 0

    def close(self) -> None:
        """Close the endpoint; see `Datagrams.close`."""
        if self._transport is not None:
            self._transport.close()
