"""Looks at the certificate files of a running server, so that a renewed one is taken by itself."""

from __future__ import annotations

import asyncio

from .tls import TlsContexts


class CertificateWatch:
    """Reads certificates again when their files have changed.

    Parameters
    ----------
    every_s
        Seconds between two looks; 0 never looks.
    """

    def __init__(self, contexts: TlsContexts, every_s: float) -> None:
        self._contexts = contexts
        self._every_s = every_s
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._look: asyncio.Future[bool] | None = None

    def start(self) -> None:
        """Look from now on."""
        if self._every_s > 0:
            self._timer = self._loop.call_later(self._every_s, self._begin)

    async def stop(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()
        if self._look is not None:
            await self._look

    def _begin(self) -> None:
        # Off the loop: a file may lie on a disk that does not answer.
        self._look = self._loop.run_in_executor(None, self._contexts.reload_if_changed)
        self.start()
