"""Where checks of strangers are heard, apart from the media of the peer that is known.

Theory of operation. A leg's RTP socket is connected to its peer, and the kernel keeps everybody
else out. What others send to the port goes to a second socket on it, the porch, which is not
connected: there the STUN messages are read, a few in each beat, and all else is dropped unread.
So a flood of strangers fills the porch's small buffer and takes none of the peer's. While no peer
is known there is nobody whose media could suffer, and the RTP socket itself is the porch.

For a socket to be bound where another one is, both must ask for it (`SO_REUSEPORT`, and be of one
user). They do so for that moment alone: at other times nobody else can bind the port.

References
----------
RFC 7983 section 7 (STUN is told by its first octet); socket(7) of Linux
"""

from __future__ import annotations

import select
import socket
from contextlib import suppress

from ..rtp.stun import MAX_MESSAGE, is_stun

Address = tuple[str, int]
Heard = tuple[int, bytes, Address]  # leg, datagram, whence

READS = 8  # datagrams of one porch that are looked at in a beat
SERVED = 8  # porches in a beat; the next beat has others
BUFFER = 8 * 1024  # octets, of the kernel


class Porches:
    """The porches of all legs of one host.

    Parameters
    ----------
    files
        Descriptors that may be in use: from that number on no porch is opened.
    """

    def __init__(self, files: int) -> None:
        self._files = files
        self._strays = 0  # datagrams that were no STUN
        self._missing = 0  # legs that got no porch, as the system had no socket left
        self._legs: dict[int, tuple[socket.socket, bool]] = {}  # the bool: it is ours to close
        self._by_file: dict[int, int] = {}
        self._epoll = select.epoll()

    def open(self, leg: int, rtp: socket.socket, *, beside: bool) -> None:
        """Hear strangers at a leg's port, through its own socket or one beside it."""
        known = self._legs.get(leg)
        if known is not None and known[1] is beside:
            return
        self.close(leg)
        try:
            one = _beside(rtp) if beside else rtp
        except OSError:
            self._missing += 1
            return
        if beside and one.fileno() >= self._files:
            one.close()
            self._missing += 1
            return
        self._legs[leg] = one, beside
        self._by_file[one.fileno()] = leg
        self._epoll.register(one.fileno(), select.EPOLLIN)

    def is_at(self, leg: int, one: socket.socket) -> bool:
        """Tell whether this very socket is a leg's porch."""
        return leg in self._legs and self._legs[leg][0] is one

    def __len__(self) -> int:
        return len(self._legs)

    def close(self, leg: int) -> None:
        """Hear strangers no more; a leg without a porch is no error."""
        one, ours = self._legs.pop(leg, (None, False))
        if one is None:
            return
        self._epoll.unregister(one.fileno())
        del self._by_file[one.fileno()]
        if ours:
            one.close()

    def hear(self) -> list[Heard]:
        """Return what may be checks: of each porch `READS` datagrams at most are looked at."""
        heard: list[Heard] = []
        if not self._legs:
            return heard
        for descriptor, _ in self._epoll.poll(0, SERVED):
            leg = self._by_file[descriptor]
            one = self._legs[leg][0]
            for _ in range(READS):
                try:
                    datagram, source = one.recvfrom(MAX_MESSAGE + 1)
                except BlockingIOError:
                    break
                except OSError:
                    continue  # an ICMP error of an earlier answer: reading it clears it
                if is_stun(datagram):
                    heard.append((leg, datagram, (source[0], source[1])))
                else:
                    self._strays += 1
        return heard

    def answer(self, leg: int, datagram: bytes, to: Address) -> None:
        """Send from a leg's port to somebody who is not its peer."""
        one, _ = self._legs.get(leg, (None, False))
        if one is not None:
            with suppress(OSError):  # no route, or no room: checks come again
                one.sendto(datagram, to)

    def take_strays(self) -> tuple[int, int]:
        """Return what was no STUN, and how many legs got no porch, since the last time."""
        strays, self._strays = self._strays, 0
        missing, self._missing = self._missing, 0
        return strays, missing

    def end(self) -> None:
        """Close everything."""
        for leg in list(self._legs):
            self.close(leg)
        self._epoll.close()


def _beside(rtp: socket.socket) -> socket.socket:
    """Return a socket on the port of another, for what that one is not connected to."""
    made = socket.socket(rtp.family, socket.SOCK_DGRAM)
    try:
        made.setblocking(False)
        if rtp.family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
        for one in (rtp, made):
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        made.bind(rtp.getsockname())
    except OSError:
        made.close()
        raise
    finally:
        for one in (rtp, made):
            with suppress(OSError):  # it was closed just now
                one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 0)
    return made
