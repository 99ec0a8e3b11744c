"""The engine on the event loop itself: in virtual time a whole call takes no time at all."""

from __future__ import annotations

import asyncio
import random

from ..errors import UsageError
from ..mixer.engine import CLOCK_HZ, Engine
from ..mixer.rows import FRAME
from .engine_host import EngineHost
from .media_io import LearningIO
from .media_loop import OnEvent

PTIME_S = FRAME / CLOCK_HZ


class InlineHost(EngineHost):
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
        io: LearningIO,
        *,
        phases: int = 4,
        epoch: float = 0.0,
        source: random.Random | None = None,
    ) -> None:
        super().__init__(Engine(phases=phases, epoch=epoch, source=source), io)
        self._beat_s = PTIME_S / phases
        self._start = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._on_event: OnEvent | None = None

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

    def _beat(self) -> None:
        loop = asyncio.get_running_loop()
        events = self._media.beat()
        # Absolute: beat k is due at start + k * beat, however late this one came.
        due = self._start + self._engine.beat * self._beat_s
        self._timer = loop.call_at(due, self._beat)
        for event in events:
            if self._on_event is not None:
                self._on_event(event)
