"""A talker that is a program: PCM written as it comes, said as it is due."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from ..audio.resample import check_rate
from ..errors import UsageError
from ..mixer.commands import CloseSeat, OpenSource, Play

if TYPE_CHECKING:
    from .bridge import Bridge
    from .switchboard import Switchboard

MOST_AHEAD = 50  # frames that wait to be said: one second


class Speaker:
    """An open source in a bridge; made by `Bridge.speak`.

    Attributes
    ----------
    rate_hz
        Of what is written: 8000 unless asked for otherwise.
    dropped
        Frames that `offer` had no room for.
    """

    def __init__(self, board: Switchboard, bridge: Bridge, rate_hz: int) -> None:
        check_rate("rate_hz", rate_hz)
        self.rate_hz = rate_hz
        self._octets = 2 * rate_hz // 50  # of 20 ms
        self.source = board.next_seat()
        self.dropped = 0
        self._board = board
        self._bridge = bridge
        self._rest = b""
        self._token = 0
        self._waiting: deque[tuple[int, int]] = deque()  # token, frames
        self._ahead = 0  # frames
        self._room = asyncio.Event()
        self._room.set()
        self._closed = False
        board.host.submit(OpenSource(self.source, rate_hz))

    @property
    def is_open(self) -> bool:
        """False once it or its bridge was closed."""
        return not self._closed

    async def write(self, pcm: bytes) -> None:
        """Say this next, and wait while a second of audio is still to be said.

        Parameters
        ----------
        pcm
            int16 little endian mono at `rate_hz`, of any length. What does not fill a frame of
            20 ms waits for the next `write`, or for `drain`.

        Raises
        ------
        UsageError
            Half a sample, or the speaker is closed.
        """
        data = self._take(pcm)
        for start in range(0, len(data), self._octets * 10):
            while self._ahead >= MOST_AHEAD and not self._closed:
                self._room.clear()
                await self._room.wait()
            self._check_open()
            self._say(data[start : start + self._octets * 10])

    def offer(self, pcm: bytes) -> bool:
        """Say this next if there is room for it, else drop and count it; never wait.

        Returns False where it was dropped.
        """
        data = self._take(pcm)
        if self._ahead >= MOST_AHEAD:
            self.dropped += len(data) // self._octets
            return False
        if data:
            self._say(data)
        return True

    async def drain(self) -> None:
        """Wait until all has been said; the last frame is filled up with silence."""
        if self._rest and not self._closed:
            self._say(self._rest.ljust(self._octets, b"\0"))
            self._rest = b""
        while self._ahead and not self._closed:
            self._room.clear()
            await self._room.wait()

    async def close(self) -> None:
        """Fall silent now, and give the seat back."""
        self._bridge.end_speaker(self)

    def said(self, token: int) -> None:
        """The mixer has said what was queued up to a token."""
        while self._waiting and self._waiting[0][0] <= token:
            self._ahead -= self._waiting.popleft()[1]
        self._room.set()

    def free(self) -> None:
        """Give the source back."""
        if not self._closed:
            self._closed = True
            self._room.set()
            self._board.host.submit(CloseSeat(self.source))

    def _take(self, pcm: bytes) -> bytes:
        self._check_open()
        if len(pcm) % 2:
            raise UsageError("PCM is int16: its length must be even")
        data = self._rest + pcm
        whole = len(data) - len(data) % self._octets
        self._rest = data[whole:]
        return data[:whole]

    def _check_open(self) -> None:
        if self._closed:
            raise UsageError("this speaker is closed: open another one with Bridge.speak")

    def _say(self, data: bytes) -> None:
        self._token += 1
        frames = len(data) // self._octets
        self._waiting.append((self._token, frames))
        self._ahead += frames
        self._board.host.submit(Play(self.source, data, token=self._token))
