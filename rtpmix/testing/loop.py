"""An event loop whose clock jumps to the next deadline instead of waiting for it.

With a `VirtualNet` attached, datagram endpoints, servers and connections are made in memory, so
that code written for asyncio runs on it unchanged: an hour's call passes in the time that its
callbacks take, in the same order and at the same instants every time.
"""

from __future__ import annotations

import asyncio
import contextvars
import heapq
import math
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar, cast

from ..errors import UsageError
from . import streams
from .net import Address, VirtualNet, VirtualSocket

T = TypeVar("T")


class VirtualTimeError(TimeoutError):
    """The run's limit of virtual time passed: what is awaited never comes."""


class _JumpingSelector(selectors.DefaultSelector):
    """Never waits: nothing ready means that the clock goes to the next timer."""

    loop: VirtualLoop

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(0)
        if not ready and timeout is None:
            raise RuntimeError("deadlock: every task waits and no timer is armed")
        if not ready and timeout is not None and timeout > 0:
            self.loop.jump()
        return ready


class _Timer(asyncio.TimerHandle):
    """A timer that keeps its place among those of the same instant; asyncio's do not."""

    __slots__ = ("_number",)

    def __init__(self, number: int, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._number = number

    def __lt__(self, other: Any) -> bool:
        return bool((self.when(), self._number) < (other.when(), other._number))


class VirtualLoop(asyncio.SelectorEventLoop):
    """An asyncio loop for tests: ``sleep(32)`` takes no time, and order stays exact.

    Parameters
    ----------
    net
        What sockets are made on; without one, asking for a socket is an error.
    limit
        Virtual seconds after which the run fails: some timer is always armed while media flows, so
        a test that waits in vain would else never end.

    Notes
    -----
    A timer fires exactly at the time that it was set for, never a rounding error before, and timers
    of one instant fire in the order in which they were set.  So what one party sees depends on
    nothing that another does at the same time.  Executors run their function at once, on this
    thread.  Names are not resolved.
    """

    def __init__(self, net: VirtualNet | None = None, *, limit: float = 3600.0) -> None:
        selector = _JumpingSelector()
        selector.loop = self
        self.limit = limit
        self.failures: list[dict[str, Any]] = []  # what asyncio would have logged
        self._now = 0.0
        self._timers_set = 0
        super().__init__(selector)
        self._clock_resolution = math.ulp(0.0)
        self.set_exception_handler(lambda _, context: self.failures.append(context))
        self._net = net
        if net is not None:
            net.attach(self)

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self._now

    def call_at(  # type: ignore[override]
        self,
        when: float,
        callback: Callable[..., object],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        """Call back at an instant; those of one instant in the order of these calls."""
        internals: Any = self  # of asyncio.BaseEventLoop, whose `call_at` this replaces
        internals._check_closed()
        self._timers_set += 1
        timer: Any = _Timer(self._timers_set, when, callback, args, self, context)
        heapq.heappush(internals._scheduled, timer)
        timer._scheduled = True
        return cast(asyncio.TimerHandle, timer)

    def call_later(  # type: ignore[override]
        self,
        delay: float,
        callback: Callable[..., object],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        """Call back after so many seconds, to a whole nanosecond: sleeps do not add up errors."""
        when = max(round(self._now + delay, 9), self._now)
        return self.call_at(when, callback, *args, context=context)

    def jump(self) -> None:
        """Move the clock to the next timer; the selector does it when there is nothing to do."""
        internals: Any = self
        self._now = max(self._now, internals._scheduled[0].when())
        # What asyncio takes to be due: exactly what is due, not what is due a nanosecond later.
        self._clock_resolution = math.ulp(self._now)
        if self._now > self.limit:
            raise VirtualTimeError(
                f"{self.limit} virtual seconds passed; what is awaited never came"
            )

    @property
    def net(self) -> VirtualNet:
        """The attached net."""
        if self._net is None:
            raise UsageError("sockets on virtual time need a net: run(main(), net=VirtualNet())")
        return self._net

    async def create_datagram_endpoint(  # type: ignore[override]
        self,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        local_addr: tuple[str, int] | None = None,
        remote_addr: tuple[str, int] | None = None,
        *,
        sock: Any = None,
        **_: Any,
    ) -> tuple[asyncio.DatagramTransport, asyncio.BaseProtocol]:
        """Bind an address of the net."""
        if sock is not None:
            raise UsageError("virtual time has no real sockets; give local_addr instead of sock")
        protocol = protocol_factory()
        transport = VirtualDatagramTransport(self.net, protocol, local_addr, remote_addr)
        protocol.connection_made(transport)
        return transport, protocol

    async def create_server(  # type: ignore[override]
        self,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        host: str | None = None,
        port: int | None = None,
        *,
        sock: Any = None,
        **_: Any,
    ) -> streams.VirtualServer:
        """Listen on an address of the net."""
        if sock is not None or not (host is None or isinstance(host, str)):
            raise UsageError("virtual time listens on one host and port; give no sock, no list")
        return streams.listen(self.net, protocol_factory, (host or "0.0.0.0", port or 0))

    async def create_connection(  # type: ignore[override]
        self,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        host: str | None = None,
        port: int | None = None,
        *,
        sock: Any = None,
        local_addr: tuple[str, int] | None = None,
        **_: Any,
    ) -> tuple[asyncio.Transport, asyncio.BaseProtocol]:
        """Connect to an address of the net."""
        if sock is not None or host is None or port is None:
            raise UsageError("virtual time connects to a host and port, not over a sock")
        return await streams.connect(self.net, protocol_factory, (host, port), local_addr)

    async def getaddrinfo(self, host: Any, port: Any, **_: Any) -> Any:
        """Refuse: nothing in a call may resolve a name on the spot."""
        raise UsageError(f"virtual time resolves no names; {host!r} was asked for")

    async def getnameinfo(self, sockaddr: Any, flags: int = 0) -> Any:
        """Refuse, like `getaddrinfo`."""
        raise UsageError(f"virtual time resolves no names; {sockaddr!r} was asked for")

    def run_in_executor(  # type: ignore[override]
        self, executor: Any, func: Callable[..., T], *args: Any
    ) -> asyncio.Future[T]:
        """Call the function now, on this thread: threads have no place in virtual time."""
        future: asyncio.Future[T] = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as exc:
            future.set_exception(exc)
        return future


class VirtualDatagramTransport(asyncio.DatagramTransport):
    """A datagram endpoint on a `VirtualNet`; connected when it has a remote address."""

    def __init__(
        self,
        net: VirtualNet,
        protocol: asyncio.BaseProtocol,
        local: Address | None,
        remote: Address | None,
    ) -> None:
        self._loop = net.loop
        self._protocol = protocol
        self._remote = net.check(remote) if remote is not None else None
        if local is None:
            local = (net.host, 0) if remote is not None else ("0.0.0.0", 0)
        self._socket: VirtualSocket = net.bind(local, self._hear)
        self._closing = False
        extra: dict[str, Any] = {"sockname": self._socket.address}
        if self._remote is not None:
            extra["peername"] = self._remote
        super().__init__(extra)

    def sendto(self, data: Any, addr: Any = None) -> None:
        """Send a datagram; what the net refuses goes to ``error_received``, as in asyncio."""
        if self._remote is not None and addr not in (None, self._remote):
            raise ValueError(f"Invalid address: must be None or {self._remote}")
        destination = addr or self._remote
        if destination is None:
            raise ValueError("this endpoint has no remote address; give one to sendto")
        try:
            self._socket.send(bytes(data), (destination[0], destination[1]))
        except OSError as exc:
            if isinstance(self._protocol, asyncio.DatagramProtocol):
                self._protocol.error_received(exc)

    def close(self) -> None:
        """Give the address back."""
        if not self._closing:
            self._closing = True
            self._socket.close()
            self._loop.call_soon(self._protocol.connection_lost, None)

    def abort(self) -> None:
        """Do what `close` does: nothing waits here."""
        self.close()

    def is_closing(self) -> bool:
        """True after `close`."""
        return self._closing

    def get_protocol(self) -> asyncio.BaseProtocol:
        """Return the protocol."""
        return self._protocol

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Change the protocol."""
        self._protocol = protocol

    def get_write_buffer_size(self) -> int:
        """Return 0: the net takes everything at once."""
        return 0

    def _hear(self, data: bytes, source: Address) -> None:
        if self._remote is not None and source != self._remote:
            return  # the kernel filters for a connected socket
        if isinstance(self._protocol, asyncio.DatagramProtocol):
            self._protocol.datagram_received(data, source)


def run(main: Coroutine[Any, Any, T], net: VirtualNet | None = None, *, limit: float = 3600.0) -> T:
    """Run ``main`` on a `VirtualLoop` and return its result.

    An exception in a callback, or in a task that nobody awaited, is raised at the end: on a real
    loop it would be a line in a log, in a test it is a failure.

    Parameters
    ----------
    net
        What sockets are made on.
    limit
        Virtual seconds that the run may last.
    """
    try:
        loop = VirtualLoop(net, limit=limit)
    except UsageError:
        main.close()
        raise
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        result = runner.run(main)
    for context in loop.failures:
        raise context.get("exception") or RuntimeError(str(context.get("message")))
    return result
