"""Subscribers are told everything in order, or told how much they missed."""

from __future__ import annotations

import asyncio
import gc

from rtpmix.events import BridgeClosed, Event, EventsDropped
from rtpmix.server.bus import QUEUE_LIMIT, EventBus
from rtpmix.testing.loop import run


def closed(number: int) -> BridgeClosed:
    return BridgeClosed(at=0.0, bridge=f"bridge-{number}")


def test_each_subscriber_gets_each_event_in_order_from_when_it_subscribed() -> None:
    async def main() -> list[list[Event]]:
        bus = EventBus()
        early = bus.subscribe()
        bus.publish(closed(0))
        late = bus.subscribe()
        bus.publish(closed(1))
        bus.close()
        return [[event async for event in reader] for reader in (early, late)]

    assert run(main()) == [[closed(0), closed(1)], [closed(1)]]


def test_a_slow_subscriber_is_told_how_much_it_missed() -> None:
    async def main() -> list[Event]:
        bus = EventBus()
        reader = bus.subscribe()
        for number in range(QUEUE_LIMIT + 10):
            bus.publish(closed(number))
        bus.close()
        return [event async for event in reader]

    events = run(main())
    assert events[0] == EventsDropped(at=0.0, count=10)
    assert events[1:] == [closed(number) for number in range(10, QUEUE_LIMIT + 10)]


def test_a_reader_that_waits_is_woken_and_ends_with_the_bus() -> None:
    async def main() -> list[Event]:
        bus = EventBus()
        loop = asyncio.get_running_loop()
        loop.call_later(1.0, bus.publish, closed(7))
        loop.call_later(2.0, bus.close)
        return [event async for event in bus.subscribe()]

    assert run(main()) == [closed(7)]


def test_a_subscription_that_nobody_holds_costs_nothing() -> None:
    async def main() -> int:
        bus = EventBus()
        bus.subscribe()
        gc.collect()
        return len(bus._subscriptions)

    assert run(main()) == 0
