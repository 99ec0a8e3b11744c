"""Many datagrams with one call: ``recvmmsg`` and ``sendmmsg`` of Linux, through ctypes.

Python's socket module has neither. The structures are laid out once and used again and again. The
interpreter lock is kept during each call, which never waits: given up, it would come back late, and
another thread would have had it for less than the price of the change.

References
----------
recvmmsg(2), sendmmsg(2); ``struct mmsghdr`` and ``struct msghdr`` of glibc on 64-bit Linux
"""

from __future__ import annotations

import ctypes
import ipaddress
import socket
import struct
import sys
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

SOCKADDR_IN = 16  # octets
DONT_WAIT = int(getattr(socket, "MSG_DONTWAIT", 0))
SO_TIMESTAMPNS = 35  # linux/include/uapi/asm-generic/socket.h; Python does not name it
_CONTROL = 32  # octets: a ``cmsghdr`` and a ``timespec``


class _IoVec(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]


class _MsgHdr(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_void_p),
        ("name_length", ctypes.c_uint32),
        ("vector", ctypes.c_void_p),
        ("vector_length", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    ]


class _MmsgHdr(ctypes.Structure):
    _fields_ = [("header", _MsgHdr), ("length", ctypes.c_uint32)]


_SIZE = ctypes.sizeof(_MmsgHdr)
_VECTOR, _HEADER = np.dtype(_IoVec), np.dtype(_MmsgHdr)


def _functions() -> tuple[Any, Any] | None:
    """Return ``recvmmsg`` and ``sendmmsg``, or None where this machine has them not."""
    if sys.platform != "linux" or ctypes.sizeof(ctypes.c_void_p) != 8:
        return None
    try:
        library = ctypes.PyDLL(None)
        take, give = library.recvmmsg, library.sendmmsg
    except (OSError, AttributeError):
        return None
    start, number, flags = ctypes.c_void_p, ctypes.c_uint, ctypes.c_int
    take.argtypes = [ctypes.c_int, start, number, flags, ctypes.c_void_p]
    give.argtypes = [ctypes.c_int, start, number, flags]
    return take, give


_calls = _functions()


def available() -> bool:
    """True when both calls are to be had."""
    return _calls is not None


def sockaddr(address: tuple[str, int]) -> bytes:
    """Return the ``sockaddr_in`` of a numeric IPv4 address.

    Raises
    ------
    ValueError
        When it is none.
    """
    host, port = address
    packed = ipaddress.IPv4Address(host).packed
    return struct.pack("=H", socket.AF_INET) + struct.pack("!H", port) + packed + bytes(8)


def name_of(remote: tuple[str, int]) -> bytes | None:
    """Return the ``sockaddr_in`` of a peer; None where it has none, and can share no port."""
    try:
        return sockaddr(remote)
    except ValueError:
        return None


def address_of(name: bytes) -> tuple[str, int]:
    """Return the address that a ``sockaddr_in`` says."""
    return socket.inet_ntoa(name[4:8]), int.from_bytes(name[2:4], "big")


def key_of(name: bytes) -> int:
    """Return what `Arrivals.sources` has for this ``sockaddr_in``: family, port and host."""
    return int(np.frombuffer(name[:8], np.uint64)[0])


def note_times(one: socket.socket) -> bool:
    """Have the kernel note when each datagram comes, for `Arrivals.times`; False where it can't."""
    try:
        one.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    except OSError:
        return False
    return True


class Arrivals:
    """Reads datagrams into the rows of an array.

    Parameters
    ----------
    data : (capacity, octets) uint8 ndarray
        Where they go, one a row.
    """

    def __init__(self, data: NDArray[np.uint8]) -> None:
        capacity, octets = data.shape
        self._data = data  # kept: the structures point into it
        self._names = np.zeros((capacity, SOCKADDR_IN), np.uint8)
        self._keys = self._names.view(np.uint64)[:, 0]
        self._vectors = (_IoVec * capacity)()
        self._headers = (_MmsgHdr * capacity)()
        self._controls = np.zeros((capacity, _CONTROL // 8), np.int64)
        self._capacity = capacity
        for i in range(capacity):
            self._vectors[i] = _IoVec(data.ctypes.data + i * data.strides[0], octets)
            header = self._headers[i].header
            header.name = self._names.ctypes.data + i * SOCKADDR_IN
            header.name_length = SOCKADDR_IN
            header.vector = ctypes.addressof(self._vectors) + i * ctypes.sizeof(_IoVec)
            header.vector_length = 1
            header.control = self._controls.ctypes.data + i * _CONTROL
            header.control_length = _CONTROL
        longs = np.frombuffer(self._headers, np.uint64).reshape(capacity, _SIZE // 8)
        self._control_lengths = longs[:, _MsgHdr.control_length.offset // 8]
        words = np.frombuffer(self._headers, np.uint32).reshape(capacity, _SIZE // 4)
        self._lengths = words[:, _MmsgHdr.length.offset // 4]
        self._start = ctypes.addressof(self._headers)

    def take(self, descriptor: int, first: int) -> int:
        """Read what waits into row ``first`` and those after it; return how many came.

        The kernel cuts off what is longer than a row.
        """
        assert _calls is not None
        room = self._capacity - first
        if room <= 0:
            return 0
        found = _calls[0](descriptor, self._start + first * _SIZE, room, DONT_WAIT, None)
        return max(int(found), 0)  # -1: nothing waits, or an error that this call has cleared

    def times(self, first: int, count: int) -> NDArray[np.float64]:
        """Return when each came, in seconds of `time.monotonic`; NaN where the kernel didn't say.

        To be called once after each `take`.
        """
        here = slice(first, first + count)
        since_start = time.time_ns() - time.monotonic_ns()
        stamps = self._controls[here, 2] * 1_000_000_000 + self._controls[here, 3] - since_start
        times: NDArray[np.float64] = stamps / 1e9
        times[self._control_lengths[here] != _CONTROL] = np.nan
        self._control_lengths[here] = _CONTROL
        return times

    def sizes(self, first: int, count: int) -> list[int]:
        """Return the octets of each."""
        sizes: list[int] = self._lengths[first : first + count].tolist()
        return sizes

    def sources(self, first: int, count: int) -> list[int]:
        """Return where each came from, as `key_of` writes it."""
        keys: list[int] = self._keys[first : first + count].tolist()
        return keys


class Departures:
    """Datagrams that are sent again and again from where they lie, each to an address of its own.

    Parameters
    ----------
    views : list of memoryview
        Writable; what they show at the time of `send` is sent. Where ``starts`` is given they are
        of one length, and may be more than are sent, in any order.
    names : (n, 16) uint8 ndarray
        The ``sockaddr_in`` of each.
    starts : (n,) uint64 ndarray or None
        Where each view begins in memory; None: it is looked up, which takes longer.
    """

    def __init__(
        self,
        views: list[memoryview],
        names: NDArray[np.uint8],
        starts: NDArray[np.uint64] | None = None,
    ) -> None:
        count = len(names)
        self._views = views  # kept, like the names: the structures point into them
        self._names = np.ascontiguousarray(names)
        self._count = count
        # Columns, not one by one: whoever calls a busy server has this done for hundreds of legs.
        rows = np.arange(count, dtype=np.uint64)
        self._vectors = np.zeros(count, _VECTOR)
        self._vectors["base"] = addresses(views) if starts is None else starts
        if starts is None:
            self._vectors["length"] = np.fromiter(map(len, views), np.uint64, count)
        elif count:
            self._vectors["length"] = len(views[0])
        self._headers = np.zeros(count, _HEADER)
        headers = self._headers["header"]
        headers["name"] = self._names.ctypes.data + rows * SOCKADDR_IN
        headers["name_length"] = SOCKADDR_IN
        headers["vector"] = self._vectors.ctypes.data + rows * _VECTOR.itemsize
        headers["vector_length"] = 1
        self._start = self._headers.ctypes.data

    def send(self, descriptor: int, first: int = 0, stop: int | None = None) -> list[int]:
        """Send those from ``first`` up to ``stop``, or all; return places the kernel refused."""
        assert _calls is not None
        failed: list[int] = []
        done, end = first, self._count if stop is None else stop
        while done < end:
            sent = int(_calls[1](descriptor, self._start + done * _SIZE, end - done, DONT_WAIT))
            if sent > 0:
                done += sent
            else:  # the first of the rest is refused; the others may do
                failed.append(done)
                done += 1
        return failed


def addresses(views: list[memoryview]) -> NDArray[np.uint64]:
    """Return where in memory each of these writable views begins."""
    places = [ctypes.addressof(ctypes.c_uint8.from_buffer(view)) for view in views]
    return np.array(places, np.uint64)
