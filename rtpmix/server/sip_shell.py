"""The pump: SIP sockets and one timer around a sans-I/O `UserAgent`.

After everything that may have moved the user agent, `SipShell.pump` sends what it wants to send,
hands out its events, and arms one timer for its next deadline.  Nothing else does any of these.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import socket
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any, cast

from ..errors import UsageError
from ..sip.events import AliasOffered, Event, StreamBroken
from ..sip.flow import Address, Flow, Outgoing
from ..sip.user_agent import UserAgent
from ..transports import Listen
from .sip_stream import Progress, StreamTransports

logger = logging.getLogger(__name__)

RECEIVE_BUFFER = 4 * 1024 * 1024  # bytes: a burst of INVITEs must survive one slow tick of the loop


@lru_cache(maxsize=64)  # of this machine's own addresses
def is_wildcard(host: str) -> bool:
    """Return True for 0.0.0.0 and ::."""
    return ipaddress.ip_address(host).is_unspecified


def address_towards(remote: Address, fallback: str | None = None) -> str:
    """Return the local address from which this machine would reach ``remote``; sends nothing."""
    family = socket.AF_INET6 if ":" in remote[0] else socket.AF_INET
    if fallback is None:
        fallback = "::1" if family == socket.AF_INET6 else "127.0.0.1"
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((remote[0], remote[1] or 9))
        except OSError:
            return fallback
        return str(probe.getsockname()[0])


def _is_this_machine(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    # A machine reaches each address of its own from that same address.
    return address_towards((host, 0), "") == host


def _ipv6_only(address: Address) -> socket.socket:
    """Bind a datagram socket of IPv6 alone: 0.0.0.0 may have the same port beside it."""
    sock = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    try:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.setblocking(False)
        sock.bind(address)
    except OSError:
        sock.close()
        raise
    return sock


class _Datagrams(asyncio.DatagramProtocol):
    """One UDP listener."""

    def __init__(self, shell: SipShell) -> None:
        self._shell = shell
        self.transport: asyncio.DatagramTransport | None = None
        self.local: Address = ("", 0)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Python 3.11's own class is a DatagramTransport in all but name.
        self.transport = cast(asyncio.DatagramTransport, transport)
        self.local = transport.get_extra_info("sockname")[:2]
        sock = transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._shell.datagram_received(data, addr[:2], self.local)

    def error_received(self, exc: Exception) -> None:
        # An ICMP error names no request; the transaction's own timer decides (RFC 3261 18.4 would
        # allow an earlier failure, but anybody can send an ICMP error).
        logger.debug("UDP socket reported %r", exc)


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
        self._datagrams: list[_Datagrams] = []
        self.streams = streams or StreamTransports(self._loop)
        self.streams.user = self
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = float("inf")
        self._pumping = False
        self._closed = False
        self._towards: dict[Address, str] = {}
        self.unsent = 0
        self.hears: Callable[[str], bool] = lambda host: True
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
            address = (listen.host, listen.port)
            place: dict[str, Any] = {"local_addr": address}
            if listen.host == "::":
                place = {"sock": _ipv6_only(address)}
            _, protocol = await self._loop.create_datagram_endpoint(
                lambda: _Datagrams(self), **place
            )
            self._datagrams.append(protocol)
        else:
            await self.streams.listen(listen)

    @property
    def addresses(self) -> list[Listen]:
        """Where the shell listens, with the ports really bound."""
        udp = [Listen("UDP", *protocol.local) for protocol in self._datagrams]
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
            if listen.host == host or (is_wildcard(listen.host) and _is_this_machine(host)):
                return True
        return False

    def _advertised(self, local: Address, remote: Address) -> Address:
        if not is_wildcard(local[0]):
            return local
        host = self._towards.get(remote)
        if host is None:
            if len(self._towards) > 10_000:  # a cache; peers choose their addresses
                self._towards.clear()
            host = self._towards[remote] = address_towards(remote)
        return (host, local[1])

    # ------------------------------------------------------------------- network

    def datagram_received(self, data: bytes, source: Address, local: Address) -> None:
        """Take one datagram from a listener."""
        if not self.hears(source[0]):
            return
        flow = Flow("UDP", source, self._advertised(local, source))
        self.agent.receive_datagram(data, flow, self._loop.time())
        self.pump()

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
        for protocol in self._datagrams:
            if protocol.transport is None or protocol.local[1] != flow.local[1]:
                continue
            if (":" in protocol.local[0]) != (":" in flow.remote[0]):
                continue
            if protocol.local[0] == flow.local[0] or is_wildcard(protocol.local[0]):
                protocol.transport.sendto(outgoing.data, flow.remote)
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

    async def close(self) -> None:
        """Close every socket; what was queued for sending goes out first."""
        self.pump()
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        for protocol in self._datagrams:
            if protocol.transport is not None:
                protocol.transport.close()
        await self.streams.close()
