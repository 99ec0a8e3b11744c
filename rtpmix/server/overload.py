"""Watches how late the loop and the media host run, and lets in what they can bear."""

from __future__ import annotations

import asyncio

from ..config import Config
from ..sip.backlog import Backlog
from ..sip.flow import Flow
from ..sip.message import Request
from ..sip.overload import Admission
from .media_host import MediaHost

INTERVAL_S = 0.1  # between two looks


class Overload:
    """Admission for one server; `start` begins to watch."""

    def __init__(self, config: Config, host: MediaHost, backlog: Backlog) -> None:
        self.admission = Admission(config.requests_per_source, config.trusted_networks)
        self._host = host
        self._backlog = backlog
        self._seen = (0, 0)  # read, and refused for waiting too long, when last looked at
        self._loop = asyncio.get_running_loop()
        self._due = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._beats = (0, 0)  # all, and late ones, when last looked at

    def start(self) -> None:
        """Begin to watch."""
        self._beats = self._host.beat_counts()
        self._arm()

    def stop(self) -> None:
        """Watch no more."""
        if self._timer is not None:
            self._timer.cancel()

    def hears(self, host: str) -> bool:
        """Tell whether to look at a datagram from a host."""
        return self.admission.hears(host, self._loop.time())

    def pauses(self, host: str) -> int | None:
        """Return the Retry-After with which to refuse a new call unread, or None."""
        return self.admission.refuses("INVITE", host, self._loop.time())

    def refuses(self, request: Request, flow: Flow, now: float) -> int | None:
        """Return the Retry-After with which to refuse a request outside of a call, or None.

        New calls over UDP have been asked about before they were read; see `pauses`.
        """
        return self.admission.refuses(request.method, flow.remote[0], now, queued=False)

    def snapshot(self) -> dict[str, float]:
        """Count what was refused and dropped."""
        return self.admission.snapshot()

    def _arm(self) -> None:
        self._due = self._loop.time() + INTERVAL_S
        self._timer = self._loop.call_at(self._due, self._look)

    def _look(self) -> None:
        late = max(0.0, self._loop.time() - self._due)
        before, self._beats = self._beats, self._host.beat_counts()
        beats, late_beats = (now - then for now, then in zip(self._beats, before, strict=True))
        self.admission.load.observe(late, late_beats / beats if beats > 0 else 0.0)
        read, refused = self._backlog.read, self._backlog.late
        more_read, more_refused = read - self._seen[0], refused - self._seen[1]
        self._seen = read, refused
        self.admission.load.queue_share = more_refused / max(1, more_read + more_refused)
        self._arm()
