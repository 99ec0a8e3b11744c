"""Events to subscribers: each has a bounded queue, and a slow one loses events, counted."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable

from ..events import Event, EventsDropped

QUEUE_LIMIT = 1000  # events; a subscriber that is further behind than this loses the oldest


class _Subscriber:
    __slots__ = ("dropped", "queue", "wake")

    def __init__(self) -> None:
        self.queue: deque[Event] = deque()
        self.wake = asyncio.Event()
        self.dropped = 0

    def put(self, event: Event) -> None:
        if len(self.queue) >= QUEUE_LIMIT:
            self.queue.popleft()
            self.dropped += 1
        self.queue.append(event)
        self.wake.set()


class EventBus:
    """Hands each published event to every subscriber, and to plain callbacks at once."""

    def __init__(self) -> None:
        self._subscribers: set[_Subscriber] = set()
        self._callbacks: list[Callable[[Event], None]] = []
        self._closed = False
        self.dropped = 0

    def publish(self, event: Event) -> None:
        """Hand out one event; never blocks."""
        for callback in tuple(self._callbacks):
            callback(event)
        for subscriber in self._subscribers:
            subscriber.put(event)

    def call(self, callback: Callable[[Event], None]) -> None:
        """Call ``callback`` with every event from now on."""
        self._callbacks.append(callback)

    def forget(self, callback: Callable[[Event], None]) -> None:
        """Stop calling ``callback``."""
        self._callbacks.remove(callback)

    async def subscribe(self) -> AsyncIterator[Event]:
        """Yield events from now on, until the bus closes.

        After a loss the next event is an `EventsDropped` that says how many are missing.
        """
        subscriber = _Subscriber()
        self._subscribers.add(subscriber)
        try:
            while True:
                while subscriber.queue:
                    if subscriber.dropped:
                        count, subscriber.dropped = subscriber.dropped, 0
                        self.dropped += count
                        yield EventsDropped(at=asyncio.get_running_loop().time(), count=count)
                    yield subscriber.queue.popleft()
                if self._closed:
                    return
                subscriber.wake.clear()
                await subscriber.wake.wait()
        finally:
            self._subscribers.discard(subscriber)

    def close(self) -> None:
        """End every subscription once its queue is drained."""
        self._closed = True
        for subscriber in self._subscribers:
            subscriber.wake.set()
