"""Two servers in a virtual net that call each other, and every SIP message between them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import rtpmix
from rtpmix.sip.message import MessageError, Request, Response, parse_message
from rtpmix.testing import VirtualNet, run
from rtpmix.testing.servers import virtual_server

A, B = "192.0.2.1", "192.0.2.2"


class Two:
    """Server `a`, and server `b` that answers every call unless a test says otherwise."""

    def __init__(self, first: dict[str, Any], second: dict[str, Any]) -> None:
        self.net = VirtualNet(seed=1, delay_ms=5)
        self.a = virtual_server(self.net, host=A, **first)
        self.b = virtual_server(self.net, host=B, seed=2, **second)
        self.calls: list[rtpmix.IncomingCall] = []  # that came to b
        self.legs: list[rtpmix.Leg] = []  # that b answered
        self.events: list[rtpmix.Event] = []  # of both
        self.messages: list[Request | Response] = []
        self.net.observe(self._see)

        @self.b.on_invite
        async def answer(call: rtpmix.IncomingCall) -> None:
            self.calls.append(call)
            leg = await call.answer()
            self.legs.append(leg)
            await leg.closed()

    def _see(self, sent: Any) -> None:
        if sent.data[:1] not in b"\x80\x90":  # RTP and RTCP
            try:
                self.messages.append(parse_message(sent.data))
            except MessageError:
                return

    def requests(self, method: str) -> list[Request]:
        """Return the requests of a method so far."""
        return [
            message
            for message in self.messages
            if isinstance(message, Request) and message.method == method
        ]

    def of(self, kind: type[Any]) -> list[Any]:
        """Return the events of one kind so far."""
        return [event for event in self.events if isinstance(event, kind)]


def play(
    story: Callable[[Two], Awaitable[Any]],
    first: dict[str, Any] | None = None,
    second: dict[str, Any] | None = None,
) -> Any:
    """Run a story; afterwards nothing of it may be left in either server."""

    two = Two(first or {}, second or {})

    async def main() -> Any:
        async with two.a, two.b:
            for server in (two.a, two.b):
                server.bus.call(two.events.append)
            result = await story(two)
            for server in (two.a, two.b):
                for leg in server.legs:
                    await leg.hangup()
            await asyncio.sleep(45)
            for server in (two.a, two.b):
                left = server.snapshot()
                live = left["sip"]
                assert left["legs"] == left["handlers"] == left["media"]["legs"] == 0, left
                names = ("calls", "dialogs", "timers", "requests", "subscriptions")
                assert not any(live[name] for name in names), live
        return result

    return run(main(), two.net, limit=500)
