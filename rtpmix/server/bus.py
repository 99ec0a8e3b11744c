"""Events to subscribers: each has a bounded queue, and a slow one loses events, counted."""

from __future__ import annotations

import asyncio
import weakref
from collections import deque
from collections.abc import Callable
from typing import Self

from ..events import Event, EventsDropped

QUEUE_LIMIT = 1000  # events; a subscriber that is further behind than this loses the oldest


class Subscription:
    """An asynchronous iterator of events, from the moment in which it was made.

    After a loss the next event is an `EventsDropped` that says how many are missing.  It ends
    when the bus closes, or with `close`; one that is no longer held ends by itself.
    """

    def __init__(self) -> None:
        self._queue: deque[Event] = deque()
        self._wake = asyncio.Event()
        self._dropped = 0
        self._closed = False

    def put(self, event: Event) -> None:
        """Take one event from the bus."""
        if len(self._queue) >= QUEUE_LIMIT:
            self._queue.popleft()
            self._dropped += 1
        self._queue.append(event)
        self._wake.set()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        while not self._queue:
            if self._closed:
                raise StopAsyncIteration
            self._wake.clear()
            await self._wake.wait()
        if self._dropped:
            count, self._dropped = self._dropped, 0
            return EventsDropped(at=self._queue[0].at, count=count)
        return self._queue.popleft()

    def close(self) -> None:
        """End once the queue is drained."""
        self._closed = True
        self._wake.set()


class EventBus:
    """Hands each published event to every subscriber, and to plain callbacks at once."""

    def __init__(self) -> None:
        self._subscriptions: weakref.WeakSet[Subscription] = weakref.WeakSet()
        self._callbacks: list[Callable[[Event], None]] = []

    def publish(self, event: Event) -> None:
        """Hand out one event; never blocks."""
        for callback in tuple(self._callbacks):
            callback(event)
        if len(self._subscriptions):  # going through an empty weak set costs as much as a full one
            for subscription in tuple(self._subscriptions):
                subscription.put(event)

    def call(self, callback: Callable[[Event], None]) -> None:
        """Call ``callback`` with every event from now on."""
        self._callbacks.append(callback)

    def forget(self, callback: Callable[[Event], None]) -> None:
        """Stop calling ``callback``."""
        self._callbacks.remove(callback)

    def subscribe(self) -> Subscription:
        """Return an iterator over the events from now on."""
        subscription = Subscription()
        self._subscriptions.add(subscription)
        return subscription

    def close(self) -> None:
        """End every subscription once its queue is drained."""
        for subscription in tuple(self._subscriptions):
            subscription.close()
