"""What a program beside the test has told so far, and waiting for what it is still to tell."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

PATIENCE = 30.0  # seconds: only a failing test waits that long


class News:
    """Events of one program, each taken by one wait."""

    def __init__(self, complain: Callable[[str], str]) -> None:
        self._complain = complain
        self._events: list[dict[str, Any]] = []
        self._changed = asyncio.Condition()

    async def put(self, event: dict[str, Any]) -> None:
        """Add what was told."""
        async with self._changed:
            self._events.append(event)
            self._changed.notify_all()

    async def take(self, *, within: float = PATIENCE, **facts: Any) -> dict[str, Any]:
        """Return the first event with these facts that nobody has taken; fail if none comes."""

        def found() -> dict[str, Any] | None:
            return next((event for event in self._events if facts.items() <= event.items()), None)

        async with self._changed:
            try:
                await asyncio.wait_for(self._changed.wait_for(found), within)
            except TimeoutError:
                raise AssertionError(self._complain(f"{facts} among {self._events}")) from None
            event = found()
            assert event is not None
            self._events.remove(event)
            return event

    def holds(self, **facts: Any) -> bool:
        """Tell whether such an event has come and was not taken."""
        return any(facts.items() <= event.items() for event in self._events)
