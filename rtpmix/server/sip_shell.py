"""The pump: SIP sockets and one timer around a sans-I/O `UserAgent`.

After everything that may have moved the user agent, `SipShell.pump` sends what it wants to send,
hands out its events, and arms one timer for its next deadline.  Nothing else does any of these.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable

from ..errors import UsageError
from ..sip.backlog import Backlog
from ..sip.events import AliasOffered, Event, StreamBroken
from ..sip.flow import Address, Flow, Outgoing
from ..sip.overload import RETRY_AFTER
from ..sip.peek import is_new_call
from ..sip.user_agent import UserAgent
from ..transports import Listen
from .local_addresses import LocalAddresses, is_wildcard
from .sip_stream import Progress, StreamTransports
from .udp import Datagrams, open_datagrams

logger = logging.getLogger(__name__)

NEW_AT_ONCE = 16  # new calls that are read before everything else has its turn
REFUSED_AT_ONCE = 64  # refused unread in that time; more are dropped: refusing is work, too


class SipShell:
    """SIP listeners for one user agent.

    Parameters
    ----------
    agent
        The user agent to pump.
    on_event
        Called with each of its events, in order, on the loop.
    streams
        Carries everything but UDP; None takes one without TLS.
    """

    def __init__(
        self,
        agent: UserAgent,
        on_event: Callable[[Event], None],
        streams: StreamTransports | None = None,
    ) -> None:
        self.agent = agent
        self._on_event = on_event
        self._loop = asyncio.get_running_loop()
        self._datagrams: list[Datagrams] = []
        self.backlog = Backlog()
        self._serving = False  # the backlog, at the loop's next turn
        self.streams = streams or StreamTransports(self._loop)
        self.streams.user = self
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = float("inf")
        self._pumping = False
        self._closed = False
        self._local = LocalAddresses()
        self.unsent = 0
        self.hears: Callable[[str], bool] = lambda host: True
        # Given the host of a new call: the Retry-After to refuse it with, unread, or None.
        self.pauses: Callable[[str], int | None] = lambda host: None
        self.on_flow_closed: Callable[[Flow], None] = lambda flow: None

    # ----------------------------------------------------------------- listening

    async def listen(self, listens: Iterable[Listen]) -> None:
        """Open every listener, or raise a `UsageError` that says which can't be opened, and why."""
        for listen in listens:
            try:
                await self._listen(listen)
            except OSError as exc:
                where = f"{listen.transport.lower()}:{listen.host}:{listen.port}"
                raise UsageError(
                    f"can't listen for SIP on {where}: {exc.strerror or exc}; "
                    "choose another sip_listen, or stop the program that uses it"
                ) from exc

    async def _listen(self, listen: Listen) -> None:
        if listen.transport == "UDP":
            place = (listen.host, listen.port)
            self._datagrams.append(await open_datagrams(self._loop, place, self._take, self._serve))
        else:
            await self.streams.listen(listen)

    @property
    def addresses(self) -> list[Listen]:
        """Where the shell listens, with the ports really bound."""
        udp = [Listen("UDP", *datagrams.local) for datagrams in self._datagrams]
        return udp + self.streams.local

    @property
    def reachable(self) -> list[tuple[str, bool]]:
        """By what we can send: transports, and whether over IPv6, in the order of listening."""
        return list(dict.fromkeys((one.transport, ":" in one.host) for one in self.addresses))

    def flow_to(self, transport: str, remote: Address, name: str = "") -> Flow:
        """Return the flow for a new request to ``remote``.

        Parameters
        ----------
        name
            What the certificate of a TLS peer must prove.

        Raises
        ------
        UsageError
            When the server listens on no address of that transport.
        """
        for listen in self.addresses:
            if listen.transport == transport and (":" in listen.host) == (":" in remote[0]):
                local = self._advertised((listen.host, listen.port), remote)
                return Flow(transport, remote, local, 0, name)
        raise UsageError(
            f"no {transport} listener reaches {remote[0]}: add one to Config.sip_listen"
        )

    def is_own_address(self, host: str, port: int) -> bool:
        """Return True for an IP address and port on which this shell listens."""
        for listen in self.addresses:
            if listen.port != port or (":" in listen.host) != (":" in host):
                continue
            if listen.host == host:
                return True
            if is_wildcard(listen.host) and self._local.has(host, self._loop.time()):
                return True
        return False

    def _advertised(self, local: Address, remote: Address) -> Address:
        if not is_wildcard(local[0]):
            return local
        host = self._local.towards(remote, self._loop.time())
        return (host, local[1])

    # ------------------------------------------------------------------- network

    def datagram_received(self, data: bytes, source: Address, local: Address) -> None:
        """Take one datagram from a listener."""
        self._take(data, source, local)
        self._serve()

    def _take(self, data: bytes, source: Address, local: Address) -> None:
        """Read a datagram at once, unless it brings a new call: then `_serve` does."""
        if not self.hears(source[0]):
            return
        # A CANCEL must not overtake its INVITE.
        if is_new_call(data) or (len(self.backlog) and data.startswith(b"CANCEL ")):
            self.backlog.add(data, source, local, self._loop.time())
            return
        flow = Flow("UDP", source, self._advertised(local, source))
        self.agent.receive_datagram(data, flow, self._loop.time())
        self.pump()

    def _serve(self) -> None:
        """Read some of the new calls that wait; the others when everything else has had a turn."""
        room, refusals = NEW_AT_ONCE, REFUSED_AT_ONCE
        while room > 0 and (found := self.backlog.next(now := self._loop.time())) is not None:
            (_, data, source, local), late = found
            flow = Flow("UDP", source, self._advertised(local, source))
            pause = None
            if data.startswith(b"INVITE "):
                pause = self.pauses(source[0])
                if pause is None and (late or self.agent.is_full):
                    pause = RETRY_AFTER
            if pause is None:
                room -= 1
                self.agent.receive_datagram(data, flow, now, admitted=True)
            elif refusals == 0:
                self.backlog.unanswered += 1  # its caller asks again
                continue
            else:
                refusals -= 1
                self.agent.refuse_unread(data, flow, now, pause)
            self.pump()
        if len(self.backlog) and not self._serving and not self._closed:
            self._serving = True
            self._loop.call_soon(self._serve_on)

    def _serve_on(self) -> None:
        self._serving = False
        if not self._closed:
            self._serve()

    def stream_received(self, data: bytes, flow: Flow) -> Progress:
        """Take bytes from a connection."""
        self.agent.receive_stream(data, flow, self._loop.time())
        progress = Progress(*self.agent.stream_progress(flow))
        self.pump()
        return progress

    def message_received(self, data: bytes, flow: Flow) -> None:
        """Take one message from a WebSocket."""
        self.agent.receive_message(data, flow, self._loop.time())
        self.pump()

    def stream_closed(self, flow: Flow) -> None:
        """A connection is gone."""
        self.agent.connection_closed(flow, self._loop.time())
        self.on_flow_closed(flow)
        self.pump()

    def stream_failed(self, flow: Flow) -> None:
        """A connection could not be opened."""
        self.agent.transport_failed(flow, self._loop.time())
        self.pump()

    # ---------------------------------------------------------------------- pump

    def pump(self) -> None:
        """Send, hand out events, re-arm the timer, until the agent has nothing more to say."""
        if self._pumping or self._closed:
            return
        self._pumping = True
        try:
            while True:
                for outgoing in self.agent.datagrams_to_send():
                    self._send(outgoing)
                event = self.agent.next_event()
                if event is None:
                    break
                if isinstance(event, AliasOffered):
                    self.streams.alias(event.flow, event.address)
                    continue
                if isinstance(event, StreamBroken):
                    self.streams.close_flow(event.flow)
                    continue
                try:
                    self._on_event(event)
                except Exception:
                    # A bug in one call's code must not end the calls of everybody else.
                    logger.exception("handling %s failed", type(event).__name__)
        finally:
            self._pumping = False
        self._arm()

    def _send(self, outgoing: Outgoing) -> None:
        flow = outgoing.flow
        if flow.transport != "UDP":
            self.streams.send(flow, outgoing.data)
            return
        for datagrams in self._datagrams:
            local = datagrams.local
            if local[1] != flow.local[1] or (":" in local[0]) != (":" in flow.remote[0]):
                continue
            if local[0] == flow.local[0] or is_wildcard(local[0]):
                if not datagrams.send(outgoing.data, flow.remote):
                    self.unsent += 1
                return
        self.unsent += 1

    def _arm(self) -> None:
        deadline = self.agent.next_deadline()
        if deadline is None or (self._timer is not None and self._timer_at <= deadline):
            return  # an early wake-up costs less than moving the timer for every message
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = deadline
        self._timer = self._loop.call_at(deadline, self._wake)

    def _wake(self) -> None:
        self._timer = None
        self.agent.advance(self._loop.time())
        self.pump()

    def snapshot(self) -> dict[str, float]:
        """Count what came over UDP: the new calls that wait, and what never got to be read."""
        lost = sum(datagrams.lost() for datagrams in self._datagrams)
        return {**self.backlog.snapshot(), "kernel_dropped": lost}

    async def close(self) -> None:
        """Close every socket; what was queued for sending goes out first."""
        self.pump()
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        for datagrams in self._datagrams:
            datagrams.close()
        await self.streams.close()
