"""The engine on the event loop itself: in virtual time a whole call takes no time at all."""

from __future__ import annotations

import asyncio
import random
from typing import Any

from ..errors import UsageError
from ..mixer.commands import Command, LegStats
from ..mixer.engine import CLOCK_HZ, Engine
from ..mixer.rows import FRAME
from ..mixer.tap import BlockSink
from .media_io import Address, MediaIO
from .media_loop import MediaLoop, OnEvent

PTIME_S = FRAME / CLOCK_HZ


class InlineHost:
    """A `MediaHost` driven by `loop.call_at`, for tests and small embeddings.

    Parameters
    ----------
    io
        The network: `SocketIO`, or a virtual one.
    phases
        Beats in a ptime.
    epoch
        Wall-clock time of media sample 0, for RTCP.
    """

    def __init__(
        self,
        io: MediaIO,
        *,
        phases: int = 4,
        epoch: float = 0.0,
        source: random.Random | None = None,
    ) -> None:
        self._engine = Engine(phases=phases, epoch=epoch, source=source)
        self._media = MediaLoop(self._engine, io)
        self._beat_s = PTIME_S / phases
        self._start = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._on_event: OnEvent | None = None

    @property
    def writer(self) -> BlockSink | None:
        """Gets every block of recorded frames."""
        return self._media.writer

    @writer.setter
    def writer(self, sink: BlockSink | None) -> None:
        self._media.writer = sink

    async def start(self, on_event: OnEvent) -> None:
        """Begin to beat; see `MediaHost.start`."""
        if self._on_event is not None:
            raise UsageError("this media host runs already, or has run: make a new one")
        self._on_event = on_event
        loop = asyncio.get_running_loop()
        self._start = loop.time()
        self._timer = loop.call_at(self._start, self._beat)

    async def stop(self) -> None:
        """Say goodbye on every leg and beat no more; see `MediaHost.stop`."""
        if self._timer is None:
            return
        self._timer.cancel()
        self._timer = None
        for event in self._media.finish():
            if self._on_event is not None:
                self._on_event(event)

    async def reserve(self, leg: int, *, ipv6: bool = False) -> Address:
        """Bind a port pair; see `MediaHost.reserve`."""
        return self._media.io.reserve(leg, ipv6=ipv6)

    def connect(
        self, leg: int, remote: Address | None, remote_rtcp: Address | None, rtcp_mux: bool
    ) -> None:
        """Name a leg's peer; see `MediaHost.connect`."""
        self._media.connect(leg, remote, remote_rtcp, rtcp_mux)

    def release(self, leg: int) -> None:
        """Give a leg's ports back; see `MediaHost.release`."""
        self._media.release(leg)

    def submit(self, command: Command) -> None:
        """Hand a command to the engine; see `MediaHost.submit`."""
        self._media.submit(command)

    @property
    def sample(self) -> int:
        """The media clock; see `MediaHost.sample`."""
        return self._engine.sample

    def leg_stats(self, leg: int) -> LegStats | None:
        """Return a leg's counters; see `MediaHost.leg_stats`."""
        return self._engine.leg_stats(leg)

    def snapshot(self) -> dict[str, Any]:
        """Return counts; see `MediaHost.snapshot`."""
        return self._media.snapshot()

    def _beat(self) -> None:
        loop = asyncio.get_running_loop()
        events = self._media.beat()
        # Absolute: beat k is due at start + k * beat, however late this one came.
        due = self._start + self._engine.beat * self._beat_s
        self._timer = loop.call_at(due, self._beat)
        for event in events:
            if self._on_event is not None:
                self._on_event(event)
