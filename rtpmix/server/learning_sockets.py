"""Sockets that hear more than one source, for the few seconds in which a peer's is learned.

What other hosts send is read and dropped here, so that it takes no place in the engine's inbox: a
flood of it costs a bounded number of reads a beat.

References
----------
connect(2) and udp(7) of Linux: an address of the family AF_UNSPEC ends a connection
"""

from __future__ import annotations

import ctypes
import socket
from collections.abc import Callable

from .media_io import Address

MOST_READS = 64  # datagrams of strangers that one read looks past

Send = Callable[[memoryview | bytes], int]


def disconnect(one: socket.socket) -> None:
    """Hear everybody again. Python's `connect` knows no AF_UNSPEC.

    The port stays if it was bound by number; one that the kernel chose is given back.

    Raises
    ------
    OSError
        The kernel refused.
    """
    nobody = bytes(16)  # struct sockaddr, sa_family 0
    if ctypes.CDLL(None, use_errno=True).connect(one.fileno(), nobody, len(nobody)):
        raise OSError(ctypes.get_errno(), "a UDP socket could not be disconnected")


def sender(one: socket.socket, remote: Address | None) -> Send:
    """Return what sends to an address, or nowhere, from a socket that is not connected."""
    if remote is None or not remote[1]:
        return len
    return lambda packet: one.sendto(packet, remote)


class Ear:
    """Reads from one socket what some hosts send, and notes where it came from.

    Parameters
    ----------
    one
        Not connected, and not blocking.
    code
        Of its datagrams in the inbox.
    hosts
        Whose datagrams are read.
    sources, refused
        Where it is noted whence the datagram of a code came, and how many others there were.
    """

    __slots__ = ("_code", "_hosts", "_one", "_refused", "_sources")

    def __init__(
        self,
        one: socket.socket,
        code: int,
        hosts: frozenset[str],
        sources: dict[int, Address],
        refused: dict[int, int],
    ) -> None:
        self._one = one
        self._code = code
        self._hosts = hosts
        self._sources = sources
        self._refused = refused

    def recv_into(self, view: memoryview) -> int:
        """Read a datagram of one of the hosts; BlockingIOError when there is none."""
        for _ in range(MOST_READS):
            size, source = self._one.recvfrom_into(view)
            if source[0] in self._hosts:
                self._sources[self._code] = (source[0], source[1])
                return size
            row = self._code >> 1
            self._refused[row] = self._refused.get(row, 0) + 1
        raise BlockingIOError("only strangers were heard")
