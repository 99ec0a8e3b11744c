"""Objects and sockets between a server and its own worker processes.

A message is a pickle behind its length, on a stream socket that only the two processes have: what
comes out was put in by ourselves. Descriptors travel along (`SCM_RIGHTS`, unix(7)); the kernel
keeps them with the first octet of their message. Nothing here ever waits.
"""

from __future__ import annotations

import array
import os
import pickle
import socket
import struct
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

_HEAD = struct.Struct("!IB")  # octets of the pickle, descriptors
_CHUNK = 1 << 18
_MOST_DESCRIPTORS = 64


@dataclass(slots=True)
class _Frame:
    rest: memoryview
    descriptors: tuple[int, ...]  # duplicates that are ours, until they are sent


class Channel:
    """One end. `send` keeps what the socket does not take yet; `flush` tries again.

    Attributes
    ----------
    waiting
        Octets kept.
    closed
        The other end is gone.
    """

    def __init__(self, one: socket.socket) -> None:
        one.setblocking(False)
        self._socket = one
        self._out: deque[_Frame] = deque()
        self._in = bytearray()
        self._descriptors: deque[int] = deque()
        self.waiting = 0
        self.closed = False

    def fileno(self) -> int:
        """Return the descriptor to watch."""
        return self._socket.fileno()

    def send(self, message: object, descriptors: tuple[int, ...] = ()) -> None:
        """Queue a message and send what can be sent; the descriptors stay the caller's."""
        if self.closed:
            return
        data = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
        frame = memoryview(_HEAD.pack(len(data), len(descriptors)) + data)
        self._out.append(_Frame(frame, tuple(os.dup(one) for one in descriptors)))
        self.waiting += len(frame)
        self.flush()

    def flush(self) -> bool:
        """Send what waits; True when nothing is left."""
        while self._out:
            frame = self._out[0]
            rights = array.array("i", frame.descriptors)
            extra = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)] if rights else []
            try:
                sent = self._socket.sendmsg([frame.rest], extra)
            except BlockingIOError:
                return False
            except OSError:
                self.closed = True
                self._forget()
                return True
            self._let_go(frame)
            self.waiting -= sent
            frame.rest = frame.rest[sent:]
            if not frame.rest:
                self._out.popleft()
        return True

    def receive(self) -> list[tuple[Any, tuple[int, ...]]]:
        """Return what has come: messages with their descriptors, the caller's to close."""
        while not self.closed:
            try:
                data, extra, _, _ = self._socket.recvmsg(
                    _CHUNK, socket.CMSG_SPACE(4 * _MOST_DESCRIPTORS)
                )
            except BlockingIOError:
                break
            except OSError:
                data, extra = b"", []
            for level, kind, rights in extra:
                if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                    self._descriptors.extend(array.array("i", rights[: len(rights) // 4 * 4]))
            self.closed = not data
            self._in += data
        return list(self._whole())

    def _whole(self) -> Iterator[tuple[Any, tuple[int, ...]]]:
        at = 0
        while len(self._in) - at >= _HEAD.size:
            length, count = _HEAD.unpack_from(self._in, at)
            if len(self._in) - at - _HEAD.size < length:
                break
            begin = at + _HEAD.size
            at = begin + length
            descriptors = tuple(self._descriptors.popleft() for _ in range(count))
            yield pickle.loads(bytes(self._in[begin:at])), descriptors
        del self._in[:at]

    def close(self) -> None:
        """Close this end, and the descriptors that nobody took."""
        self.closed = True
        self._forget()
        while self._descriptors:
            os.close(self._descriptors.popleft())
        self._socket.close()

    def _forget(self) -> None:
        while self._out:
            self._let_go(self._out.popleft())
        self.waiting = 0

    @staticmethod
    def _let_go(frame: _Frame) -> None:
        for one in frame.descriptors:
            os.close(one)
        frame.descriptors = ()
