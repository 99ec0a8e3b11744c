"""Taps: programs that hear along, one frame at a time, and are never waited for."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections import deque
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from ..audio.codecs import NARROW_HZ
from ..audio.resample import check_rate
from ..errors import UsageError
from ..mixer.commands import CloseSeat, OpenTap, TapFrame

if TYPE_CHECKING:
    from ..supervision import Routing
    from .bridge import Bridge
    from .leg import Leg
    from .switchboard import Switchboard

FRAMES_KEPT = 50  # one second of 20 ms frames; a reader further behind loses the oldest
FRAME = 160  # samples of the media clock in 20 ms


class Listener(ABC):
    """An asynchronous iterator of PCM frames: int16 little endian mono, 20 ms each.

    Attributes
    ----------
    rate_hz
        Of the PCM: 8000 unless asked for otherwise.
    dropped
        Frames that the reader was too slow for.
    """

    def __init__(self, board: Switchboard, bridge: Bridge, rate_hz: int) -> None:
        check_rate("rate_hz", rate_hz)
        self.rate_hz = rate_hz
        self.dropped = 0
        self._board = board
        self._bridge = bridge
        self._frames: deque[bytes] = deque()
        self._wake = asyncio.Event()
        self._closed = False

    @property
    @abstractmethod
    def taps(self) -> tuple[int, ...]:
        """The seats of the mixer whose frames come here."""

    @abstractmethod
    def take(self, event: TapFrame) -> None:
        """Take one frame from the mixer."""

    def put(self, pcm: bytes) -> None:
        """Queue one frame for the reader."""
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
            for tap in self.taps:
                self._board.host.submit(CloseSeat(tap))
            self._bridge.end_listener(self)


class LegListener(Listener):
    """Hears one leg, or what that leg hears."""

    def __init__(
        self, board: Switchboard, bridge: Bridge, leg: Leg, side: str, rate_hz: int = NARROW_HZ
    ) -> None:
        super().__init__(board, bridge, rate_hz)
        if side not in ("heard", "spoken"):
            raise UsageError(f"side {side!r}: listen to what a leg 'heard' or has 'spoken'")
        self._tap = board.next_seat()
        board.host.submit(OpenTap(self._tap, leg.number, side, rate_hz))

    @property
    def taps(self) -> tuple[int, ...]:
        return (self._tap,)

    def take(self, event: TapFrame) -> None:
        self.put(event.pcm)


class MixedListener(Listener):
    """Hears all legs of a bridge together, now and as they come.

    Who is heard by nobody there, muted or a supervisor who monitors, is not heard here either.
    """

    def __init__(self, board: Switchboard, bridge: Bridge, rate_hz: int = NARROW_HZ) -> None:
        super().__init__(board, bridge, rate_hz)
        self._tap_of: dict[int, int] = {}  # leg -> tap
        self._leg_of: dict[int, int] = {}
        self._sum: NDArray[np.int64] = np.zeros(rate_hz // 50, np.int64)
        self._slot = 0  # of 20 ms, that the sum is of
        self._summed: set[int] = set()  # taps whose frame is in it
        self._routing: Routing | None = None
        self._audible: set[int] = set()
        for leg in bridge.legs:
            self.add(leg)

    @property
    def taps(self) -> tuple[int, ...]:
        return tuple(self._leg_of)

    def add(self, leg: Leg) -> int:
        """Hear a leg, too; return its tap."""
        tap = self._tap_of[leg.number] = self._board.next_seat()
        self._leg_of[tap] = leg.number
        self._board.host.submit(OpenTap(tap, leg.number, "spoken", self.rate_hz))
        return tap

    def remove(self, leg: Leg) -> int | None:
        """Hear a leg no longer; return the tap that it had."""
        tap = self._tap_of.pop(leg.number, None)
        if tap is not None:
            del self._leg_of[tap]
            if leg.is_open:  # else its tap ends with it
                self._board.host.submit(CloseSeat(tap))
        return tap

    def take(self, event: TapFrame) -> None:
        """Add a leg's frame to those of the same 20 ms; hand out the sum when others begin."""
        slot = event.at // FRAME
        if self._summed and (slot != self._slot or event.tap in self._summed):
            self.put(self._sum.clip(-32768, 32767).astype("<i2").tobytes())
            self._sum[:] = 0
            self._summed.clear()
        self._slot = slot
        self._summed.add(event.tap)
        if self._leg_of.get(event.tap) in self._heard_by_somebody():
            self._sum += np.frombuffer(event.pcm, "<i2")

    def _heard_by_somebody(self) -> set[int]:
        routing = self._bridge.call.routing
        if routing is not self._routing:
            self._routing = routing
            columns = zip(routing.seats, zip(*routing.gains, strict=True), strict=True)
            self._audible = {seat for seat, gains in columns if any(gains)}
        return self._audible
