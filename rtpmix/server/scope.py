"""What a call handler opened, so that it can be closed when the handler ends."""

from __future__ import annotations

import logging
from collections.abc import Awaitable
from contextvars import ContextVar
from typing import Protocol

logger = logging.getLogger(__name__)

current_scope: ContextVar[Scope | None] = ContextVar("rtpmix_scope", default=None)


class Closeable(Protocol):
    """A handle that can be ended; ending it twice does no harm."""

    def close(self) -> Awaitable[None]: ...


class Scope:
    """The legs, bridges and recordings of one running handler, newest last."""

    def __init__(self) -> None:
        self._things: dict[int, Closeable] = {}
        self.session: str | None = None  # our UUID for all its calls (RFC 7989 section 9)

    def add(self, thing: Closeable) -> None:
        """Own ``thing`` until it is let go."""
        self._things[id(thing)] = thing

    def let_go(self, thing: Closeable) -> None:
        """Stop owning ``thing``; harmless when it is not owned."""
        self._things.pop(id(thing), None)

    async def close(self) -> None:
        """Close everything: recordings and bridges before the legs they were made of."""
        while self._things:
            _, thing = self._things.popitem()
            try:
                await thing.close()
            except Exception:
                logger.exception("closing %s failed", type(thing).__name__)
