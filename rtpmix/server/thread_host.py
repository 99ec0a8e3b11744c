"""The engine on a thread of its own, with real sockets.

Theory of operation. Beat *k* begins at ``t0 + k * beat``, always: a late beat delays no later one.
A thread that has fallen behind does its missed beats without sleeping in between; if it is more
than five ptimes behind (the process was stopped, the machine suspended) it leaves whole frames out,
counts them and keeps RTP timestamps on the media clock, so that no delay stays behind.

Between beats the thread sleeps and datagrams wait in the kernel; a beat reads all of them at once.
That is cheaper than waking for each, and what a packet loses by waiting is less than a beat. On
shared ports the kernel notes when each came: a beat in which nobody is mixed leaves them there, and
is done together with the one before it.

Some settings of the process are changed while hosts run, and put back when the last has stopped:

* The interpreter's switch interval goes from 5 ms to 0.1 ms, for that is how long the event loop
  may keep the interpreter from a media thread that is due. While a beat is on it is 20 ms: a beat
  that is interrupted takes twice as long, and the event loop gains nothing by it. It has what is
  left between beats, and half a millisecond when they are late. Threads with long work step aside
  by themselves (`beat_gate`).
* Garbage collections become rarer (`memory.RareCollections`), and none begins within a beat.

One more stays: the C library keeps some freed memory.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import random
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from ..beat_gate import begin_beat, end_beat
from ..errors import UsageError
from ..mixer.commands import MixerEvent
from ..mixer.engine import CLOCK_HZ, Engine
from ..mixer.rows import FRAME
from .coding import CodingThreads
from .engine_host import EngineHost
from .media_loop import OnEvent
from .memory import RareCollections, keep_freed_memory
from .shared_io import SharedIO, media_io
from .switch_interval import SwitchInterval

_log = logging.getLogger(__name__)

PTIME_S = FRAME / CLOCK_HZ
YIELD_S = 0.0005  # left to the event loop between two beats that are late
MOST_BEHIND_S = 5 * PTIME_S  # further behind than this, frames are left out


class ThreadHost(EngineHost):
    """A `MediaHost` on its own thread.

    Parameters
    ----------
    media_address
        The address of this machine that RTP is bound to.
    media_address_v6
        The one for peers on IPv6; None takes ``media_address`` for them too.
    ports
        For RTP and RTCP, in pairs.
    legs_per_port
        Most legs on one port pair; see `SharedIO`.
    phases
        Beats in a ptime: more spread the load and shorten the wait in the kernel, but each costs.
    source
        Randomness for the spacing of RTCP reports.
    epoch
        Wall-clock time of media sample 0, for RTCP; None: now.
    clock
        Seconds that never go back.
    """

    def __init__(
        self,
        *,
        media_address: str = "127.0.0.1",
        media_address_v6: str | None = None,
        ports: range = range(20000, 40000),
        legs_per_port: int = 1,
        phases: int = 4,
        source: random.Random | None = None,
        epoch: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._coding = CodingThreads()
        engine = Engine(
            phases=phases,
            batch=1024,
            capacity=256,
            epoch=time.time() if epoch is None else epoch,
            source=source or random.Random(),
            workers=self._coding,
        )
        self._io = media_io(media_address, ports, media_address_v6, legs_per_port=legs_per_port)
        super().__init__(engine, self._io)
        self._beat_s = PTIME_S / phases
        self._clock = clock
        self._thread: threading.Thread | None = None
        self._stopping = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._on_event: OnEvent | None = None
        self._switch_interval = SwitchInterval()
        self._collections = RareCollections()
        self._collects = False

    async def start(self, on_event: OnEvent) -> None:
        """Start the thread; see `MediaHost.start`."""
        if self._thread is not None:
            raise UsageError("this media host runs already, or has run: make a new one")
        self._loop = asyncio.get_running_loop()
        self._on_event = on_event
        self._switch_interval.begin()
        keep_freed_memory()
        self._collections.begin()
        self._collects = self._collections.were_on  # who has turned it off wants it to stay off
        self._thread = threading.Thread(target=self._run, name="rtpmix-media", daemon=True)
        self._thread.start()

    async def stop(self) -> None:
        """Say goodbye on every leg and end the thread; see `MediaHost.stop`."""
        self._stopping = True
        thread = self._thread
        if thread is not None and thread.is_alive():
            await asyncio.get_running_loop().run_in_executor(None, thread.join)
            await asyncio.sleep(0)  # the last events are queued on the loop: let them come
        self._switch_interval.end()
        self._collections.end()
        self._coding.close()
        self._io.close()

    def snapshot(self) -> dict[str, Any]:
        """Return counts, those of shared ports with them; see `MediaHost.snapshot`."""
        counts = super().snapshot()
        if isinstance(self._io, SharedIO):
            counts["shared_ports"] = self._io.counts()
        return counts

    # ----------------------------------------------------------------------------- the thread

    def _run(self) -> None:
        media, engine, clock = self._media, self._engine, self._clock
        start = clock() - engine.beat * self._beat_s
        while not self._stopping:
            due = start + engine.beat * self._beat_s
            wait = due - clock()
            time.sleep(wait if wait > 0 else YIELD_S)
            late = clock() - due
            media.count_lateness(late)
            if late > self._beat_s:
                media.late_beats += 1
                if late > MOST_BEHIND_S:
                    frames = int(late / PTIME_S)
                    engine.skip(frames)
                    media.skipped_frames += frames
                    late -= frames * PTIME_S
            # Rounded up from a fifth of a beat: better some delay too much, which is cut again.
            engine.behind = int(max(late, 0.0) / self._beat_s + 0.8)
            engine.inbox.due = due if clock is time.monotonic else None
            self._switch_interval.lengthen()
            if self._collects:
                gc.disable()
            events: list[MixerEvent] = []
            begin_beat()
            try:
                events = media.beat()
                while media.rests:
                    events += media.beat()
            except Exception:
                # A bug, by definition. One frame of every call is lost, not every call.
                _log.exception("a beat of the media thread failed")
                media.failed_beats += 1
                engine.skip(1)
            finally:
                end_beat()
            if self._collects:
                gc.enable()
            self._switch_interval.shorten()
            self._tell(events)
        self._tell(media.finish())

    def _tell(self, events: list[MixerEvent]) -> None:
        """Hand a beat's events to the event loop, all at once."""
        if events and self._loop is not None:
            with suppress(RuntimeError):  # the loop has closed: nobody is left to tell
                self._loop.call_soon_threadsafe(self._deliver, events)

    def _deliver(self, events: list[MixerEvent]) -> None:
        for event in events:
            if self._on_event is not None:
                self._on_event(event)
