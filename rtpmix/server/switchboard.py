"""Who is in this server: its calls, legs and bridges, and what SIP and media tell them.

The handles (`Leg`, `Bridge`, ...) work on this; programs work on `Server`.
"""

from __future__ import annotations

import asyncio
import random
import secrets
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any, TypeVar

from ..config import Config
from ..errors import UsageError
from ..events import Event, LoginThrottled
from ..sdp.security import Encryption
from ..sip import events as sip
from ..sip.flow import Address, Flow
from ..sip.message import Request
from ..sip.registrar import Binding
from ..sip.throttle import Throttled
from ..sip.uri import SipUri
from ..sip.user_agent import UserAgent, UserAgentConfig
from . import extensions, sip_events
from .bridge import Bridge
from .bridges import Bridges
from .bus import EventBus
from .chores import Chores
from .dtls import DtlsIdentity, openssl
from .incoming import Handler, IncomingCall
from .inline_host import InlineHost
from .leg import Leg
from .media_events import MediaEvents
from .media_host import MediaHost
from .media_session import MediaSession, RtpIdentity
from .outgoing import OutgoingCall
from .randomness import PooledRandom
from .recording import Recorders
from .registration import Directory
from .resolver import DnsResolver, Locator, Resolver
from .sip_shell import SipShell
from .trunk import Trunks

T = TypeVar("T")

METHODS = (
    "INVITE",
    "ACK",
    "BYE",
    "CANCEL",
    "OPTIONS",
    "INFO",
    "UPDATE",
    "REGISTER",
    *extensions.METHODS,
)


class Switchboard:
    """Everything that lives in one server.

    Attributes
    ----------
    handler
        The program's coroutine for incoming calls; without one they get 480.
    accepting
        False while the server closes.
    """

    def __init__(self, config: Config, host: MediaHost, resolver: Resolver | None = None) -> None:
        self.config = config
        self.host = host
        self.inline = isinstance(host, InlineHost)
        self.bus = EventBus()
        self.shell: SipShell | None = None
        self.handler: Handler | None = None
        self.accepting = True
        self.handlers: set[asyncio.Task[None]] = set()
        self.chores = Chores()
        self.legs: dict[int, Leg] = {}  # by seat
        self.bridges = Bridges()
        self._by_call: dict[int, Leg] = {}
        self.waiting: dict[int, IncomingCall | OutgoingCall] = {}  # not answered yet, by call
        self._seats = 0
        if config.key_exchange[0] == "dtls":
            openssl()  # said now, not in the first call
        self._certificate: DtlsIdentity | None = None
        seeded = config.seed is not None
        self._random = random.Random(config.seed) if seeded else PooledRandom()
        self.locator = Locator(resolver or DnsResolver(), self._random)
        self.recorders = Recorders(self)
        secret = self._random.randbytes(32) if seeded else secrets.token_bytes(32)
        self.directory = Directory(config, secret, self._login_throttled)
        self.agent = UserAgent(
            UserAgentConfig(
                user_agent=config.user_agent,
                allow=(*METHODS, *(("MESSAGE",) if config.message_types else ())),
                supported=extensions.SUPPORTED,
                reliable=config.reliable,
                session_expires=config.session_expires,
                min_se=config.min_se,
                session_ids=config.session_ids,
                info_packages=config.info_packages,
                max_calls=config.max_calls,
            ),
            token=self._token,
        )
        self.agent.switch_by(self._stream_for)
        self._loop = asyncio.get_running_loop()
        self._answers: dict[int, asyncio.Future[sip.Responded]] = {}  # by request
        self.extensions = extensions.Extensions(self)
        self.on_media = MediaEvents(self).take
        self.on_sip = partial(sip_events.take, self)
        self.trunks = Trunks(self, config.trunks, self._random)

    # ----------------------------------------------------------- for the handles

    @property
    def now(self) -> float:
        """The loop's time in seconds."""
        return self._loop.time()

    def pump(self) -> None:
        """Let the user agent send, and hand out what it has to tell."""
        if self.shell is not None:
            self.shell.pump()

    async def off_loop(self, work: Callable[[], T]) -> T:
        """Do blocking work in a thread; a virtual loop does it at once."""
        return await self._loop.run_in_executor(None, work)

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Do something in a task of the server's own, that outlives the handler at work."""
        self.chores.spawn(work)

    def publish(self, event: Event) -> None:
        """Tell every subscriber."""
        self.bus.publish(event)

    def next_seat(self) -> int:
        """Return a fresh number for a seat, a bridge or a recording."""
        self._seats += 1
        return self._seats

    def new_media(self, encryption: Encryption | None, flow: Flow) -> tuple[int, MediaSession]:
        """Return a seat number and the media session for a new leg; see `MediaSession.encrypt`."""
        number = self.next_seat()
        identity = RtpIdentity.draw(self._random)
        session_id = self._random.randrange(1, 1 << 62)
        media = MediaSession(
            self.host, self.config, number, identity, session_id, self._random, self.certificate
        )
        media.secrets.encrypt(encryption, flow)
        return number, media

    def certificate(self) -> DtlsIdentity:
        """Return this server's certificate for DTLS-SRTP, made when first asked for."""
        if self._certificate is None:
            self._certificate = DtlsIdentity.generate()
        return self._certificate

    def adopt(self, leg: Leg) -> None:
        """Take a new leg in, and hand its call's events to it from now on.

        The end of an early leg's call still goes to whoever waits for its answer.
        """
        self.legs[leg.number] = leg
        self._by_call[leg.call] = leg
        if not leg.early:
            self.waiting.pop(leg.call, None)

    def forget(self, leg: Leg) -> None:
        """Let go of a closed leg."""
        self.legs.pop(leg.number, None)
        self._by_call.pop(leg.call, None)

    def expect(self, call: int, waiting: OutgoingCall) -> None:
        """Hand the events of a call on its way to ``waiting``."""
        self.waiting[call] = waiting

    def unexpect(self, call: int) -> None:
        """Stop handing out the events of a call."""
        self.extensions.watchers.touch()
        self.waiting.pop(call, None)

    def leg_of(self, call: int | None) -> Leg | None:
        """Return the leg of a call that has been answered, or None."""
        return self._by_call.get(call or 0)

    def in_call(self, user: str) -> bool:
        """Tell whether a user of ours is in a call, or is being called."""
        return any(leg.user == user for leg in self.legs.values()) or bool(self.ringing(user))

    def outgoing(self, call: int) -> OutgoingCall | None:
        """Return a call of ours that nobody has answered yet, or None."""
        waiting = self.waiting.get(call)
        return waiting if isinstance(waiting, OutgoingCall) else None

    def ringing(self, user: str) -> list[int]:
        """Return the calls that ring for a user of ours."""
        return [
            call
            for call, waiting in self.waiting.items()
            if isinstance(waiting, OutgoingCall) and waiting.user == user
        ]

    async def ask(
        self, method: str, leg: Leg, headers: Sequence[tuple[str, str]], **body: Any
    ) -> sip.Responded:
        """Send a request in a leg's call and return its final response."""
        number = self.agent.request(method, call=leg.call, headers=headers, now=self.now, **body)
        return await self.response_to(number)

    async def response_to(self, request: int) -> sip.Responded:
        """Send what waits, and return the final response to a request of the agent's."""
        answer: asyncio.Future[sip.Responded] = self._loop.create_future()
        self._answers[request] = answer
        self.pump()
        return await answer

    def response_came(self, event: sip.Responded) -> None:
        """Hand a final response to whoever waits for it."""
        answer = self._answers.pop(event.request, None)
        if answer is not None and not answer.done():
            answer.set_result(event)

    def find_bridge(self, name: str) -> Bridge | None:
        """Return the open bridge of that name or id, or None."""
        return self.bridges.find(name)

    # ------------------------------------------------------------ names and flows

    @property
    def open_shell(self) -> SipShell:
        """The SIP listeners of a server that has been started."""
        if self.shell is None:
            raise UsageError("start the server first: async with Server(...) as server")
        return self.shell

    def flow_to(self, transport: str, remote: Address, name: str = "") -> Flow:
        """Return the flow for a request to ``remote``, which must prove ``name`` with TLS."""
        return self.open_shell.flow_to(transport, remote, name)

    def _stream_for(self, flow: Flow) -> Flow | None:
        """Return the way over TCP to where datagrams go, for requests that are too large."""
        over_tcp = ("TCP", ":" in flow.remote[0])
        if not self.config.large_requests_over_tcp or over_tcp not in self.open_shell.reachable:
            return None
        return self.flow_to("TCP", flow.remote)

    @staticmethod
    def own_uri(flow: Flow) -> str:
        """Return this server's own address, as a peer of ``flow`` sees it."""
        host, port = flow.local
        return f"sip:rtpmix@{f'[{host}]' if ':' in host else host}:{port}"

    def is_local(self, uri: SipUri) -> bool:
        """Return True for an address that this server itself is responsible for."""
        if not self.config.has_users:
            return False
        if uri.host.lower() == self.config.realm.lower():
            return True
        return self.open_shell.is_own_address(uri.host, uri.port or 5060)

    def contacts(self, user: str) -> list[Binding]:
        """Return where a user can be reached now."""
        return self.directory.contacts(user, self.now)

    def flow_closed(self, flow: Flow) -> None:
        """Forget the phones that could be reached over a connection alone."""
        self.directory.flow_closed(flow)
        self.trunks.each(lambda line: line.flow_closed(flow.remote))

    def challenge(self, request: Request) -> list[tuple[str, str]]:
        """Return the headers that ask for a login; empty without users."""
        if not self.config.has_users:
            return []
        return self.directory.challenge(request, self.now)

    def _token(self) -> str:
        return f"{self._random.getrandbits(80):020x}"

    def _login_throttled(self, throttled: Throttled) -> None:
        if throttled.begins:  # once: an event for each guess would be an attack of its own
            self.publish(
                LoginThrottled(
                    at=self.now,
                    source=throttled.source,
                    user=throttled.user,
                    by_user=throttled.by_user,
                )
            )
