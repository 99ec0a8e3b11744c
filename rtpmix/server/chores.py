"""What a server does on its own, beside the handlers of its program."""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections.abc import Coroutine
from typing import Any

from ..errors import RtpmixError

logger = logging.getLogger(__name__)


class Chores:
    """Tasks that belong to no handler's scope; they end with the server."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()
        self._context = contextvars.Context()  # empty: no handler's scope is the current one

    def __len__(self) -> int:
        return len(self._tasks)

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Begin to do something."""
        task = asyncio.get_running_loop().create_task(work, context=self._context.copy())
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if isinstance(error, RtpmixError):
            logger.info("a chore was given up: %s", type(error).__name__)
        elif error is not None:
            logger.error("a chore failed", exc_info=error)

    async def close(self) -> None:
        """Give everything up."""
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
