"""Taps: programs that hear along, one frame at a time, and are never waited for."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Self

from ..errors import UsageError
from ..mixer.commands import CloseSeat, OpenTap

if TYPE_CHECKING:
    from .bridge import Bridge
    from .leg import Leg
    from .switchboard import Switchboard

FRAMES_KEPT = 50  # one second of 20 ms frames; a reader further behind loses the oldest


class Listener:
    """An asynchronous iterator of PCM frames: int16 little endian mono at 8000 Hz, 20 ms each.

    Attributes
    ----------
    dropped
        Frames that the reader was too slow for.
    """

    def __init__(self, board: Switchboard, bridge: Bridge, leg: Leg, side: str) -> None:
        if side not in ("heard", "spoken"):
            raise UsageError(f"side {side!r}: listen to what a leg 'heard' or has 'spoken'")
        self.tap = board.next_seat()
        self.dropped = 0
        self._board = board
        self._bridge = bridge
        self._frames: deque[bytes] = deque()
        self._wake = asyncio.Event()
        self._closed = False
        board.host.submit(OpenTap(self.tap, follow=leg.number, side=side))

    def put(self, pcm: bytes) -> None:
        """Take one frame from the mixer."""
        if len(self._frames) >= FRAMES_KEPT:
            self._frames.popleft()
            self.dropped += 1
        self._frames.append(pcm)
        self._wake.set()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        while not self._frames:
            if self._closed:
                raise StopAsyncIteration
            self._wake.clear()
            await self._wake.wait()
        return self._frames.popleft()

    def close(self) -> None:
        """Stop listening; what is queued can still be read."""
        if not self._closed:
            self._closed = True
            self._wake.set()
            self._board.host.submit(CloseSeat(self.tap))
            self._bridge.end_listener(self)
