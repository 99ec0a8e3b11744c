"""The front door: what a program that embeds rtpmix holds."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

from ..config import Config
from ..errors import UsageError
from ..sdp.security import Encryption
from ..sip.authentication import Credential
from ..sip.identity import CallerIdentity
from ..sip.user_to_user import UserToUser
from .bridge import Bridge
from .bus import EventBus, Subscription
from .certificates import CertificateWatch
from .hosts import media_host_of
from .incoming import Handler
from .leg import Leg
from .location import LocationStore, SqliteLocations
from .media_host import MediaHost
from .overload import Overload
from .policies import Policies
from .progress import EarlyMedia, Progress, current_early, current_progress
from .redirecting import call_or_follow
from .resolver import Resolver
from .scope import current_scope
from .sip_shell import SipShell
from .sip_stream import StreamTransports
from .switchboard import Switchboard
from .tls import TlsContexts

GOODBYE_S = 2.0  # how long a closing server waits for the answers to its BYEs


class Server(Policies):
    """A SIP/RTP media server.

    Parameters
    ----------
    config
        Addresses, ports, users; see `Config`.
    media_host
        What runs the mixer. None: `Config.workers` processes, or a thread of this one.
    locations
        Where registrations are kept. None: as `Config.registrations` says.
    resolver
        Who answers for names that a target holds. None: DNS, and the system's own names.
    workers
        In place of `Config.workers`.

    Examples
    --------
    ::

        async with rtpmix.Server(rtpmix.Config(media_address="192.0.2.10")) as server:

            @server.on_invite
            async def silent_line(call: rtpmix.IncomingCall) -> None:
                leg = await call.answer()
                await leg.closed()

            await server.serve_forever()
    """

    def __init__(
        self,
        config: Config | None = None,
        *,
        media_host: MediaHost | None = None,
        locations: LocationStore | None = None,
        resolver: Resolver | None = None,
        workers: int | None = None,
    ) -> None:
        super().__init__()
        self.config = config or Config()
        if workers is not None:
            self.config = replace(self.config, workers=workers)
        if media_host is not None and self.config.workers:
            raise UsageError("a media host and workers: give one, the workers are a host, too")
        self._host = media_host
        self._locations = locations
        self._overload: Overload | None = None
        self._resolver = resolver
        self._certificates: TlsContexts | None = None
        self._watch: CertificateWatch | None = None
        self._handler: Handler | None = None
        self._board: Switchboard | None = None
        self._closing: asyncio.Event | None = None

    # ------------------------------------------------------------------ life cycle

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def start(self) -> None:
        """Open the SIP listeners and start the media host.

        Raises
        ------
        UsageError
            When an address or port can't be had; it names which.
        """
        if self._board is not None:
            raise UsageError("this server has been started; make a new Server to start again")
        host = self._host or media_host_of(self.config)
        if self.config.tls is not None:
            self._certificates = TlsContexts(self.config.tls)
            self._watch = CertificateWatch(self._certificates, self.config.tls.watch_s)
        board = Switchboard(self.config, host, self._resolver)
        board.handler = self._handler
        self._put_in_force(board)
        streams = StreamTransports(
            asyncio.get_running_loop(),
            self.config.stream_limits,
            self._certificates,
            self.config.websocket_origins,
        )
        shell = SipShell(board.agent, board.on_sip, streams)
        shell.on_flow_closed = board.flow_closed
        board.directory.proved = streams.peer_identities
        overload = self._overload = Overload(self.config, host, shell.backlog)
        shell.hears = overload.hears
        shell.pauses = overload.pauses
        board.agent.admit_by(overload.refuses)
        try:
            await self._load_locations(board)
            await shell.listen(self.config.listens)
            await host.start(board.on_media)
        except BaseException:
            await shell.close()
            await board.off_loop(board.directory.close)
            raise
        board.shell = shell
        self._board = board
        if self._watch is not None:
            self._watch.start()
        self._closing = asyncio.Event()
        board.trunks.start()
        overload.start()

    async def _load_locations(self, board: Switchboard) -> None:
        store = self._locations
        if store is None and self.config.registrations is not None:
            store = SqliteLocations(self.config.registrations)
        if store is not None:
            found = store
            await board.off_loop(lambda: board.directory.load(found, board.now, time.time()))

    async def serve_forever(self) -> None:
        """Wait until `close` is called, from wherever."""
        self._started()
        assert self._closing is not None
        await self._closing.wait()

    async def close(self) -> None:
        """End every call with BYE, seal every recording, close every socket."""
        board = self._board
        if board is None or self._closing is None or self._closing.is_set():
            return
        self._closing.set()
        if self._overload is not None:
            self._overload.stop()
        board.accepting = False
        for task in tuple(board.handlers):
            task.cancel()
        await asyncio.gather(*board.handlers, return_exceptions=True)
        board.extensions.watchers.close()
        await board.chores.close()
        for bridge in board.bridges:
            await bridge.close()
        await asyncio.gather(*(leg.hangup() for leg in tuple(board.legs.values())))
        await board.recorders.close()
        await board.trunks.close()
        await self._settle(board)
        await board.host.stop()
        await board.open_shell.close()
        if self._watch is not None:
            await self._watch.stop()
        await board.off_loop(board.directory.close)
        board.bus.close()

    @staticmethod
    async def _settle(board: Switchboard) -> None:
        """Give the peers a moment to answer our BYEs, so that they are not left ringing."""
        deadline = board.now + GOODBYE_S
        # The agent is sans-I/O: nobody there could set an event for us.
        while board.agent.snapshot().get("calls", 0) and board.now < deadline:  # noqa: ASYNC110
            await asyncio.sleep(0.02)

    # ------------------------------------------------------------------ front door

    def on_invite(self, handler: Handler) -> Handler:
        """Register the coroutine that serves each incoming call; usable as a decorator."""
        self._handler = handler
        if self._board is not None:
            self._board.handler = handler
        return handler

    def set_messages(self, user: str, *, new: int, old: int = 0) -> None:
        """Say how many messages wait for a user: lights the lamp of phones that watch for it."""
        if min(new, old) < 0:
            raise UsageError("a mailbox can't hold fewer messages than none")
        watchers = self._started().extensions.watchers
        watchers.mailboxes[user] = (new, old)
        watchers.touch()

    async def invite(
        self,
        target: str,
        *,
        caller: str | None = None,
        headers: Sequence[tuple[str, str]] = (),
        timeout_s: float = 30.0,
        auto_answer: bool = False,
        credentials: Credential | None = None,
        on_progress: Progress | None = None,
        early_media: EarlyMedia | None = None,
        trunk: str | None = None,
        identity: CallerIdentity | None = None,
        user_to_user: UserToUser | Sequence[UserToUser] | None = None,
        redirects: int | None = None,
        encryption: Encryption | None = None,
    ) -> Leg:
        """Call somebody, and return the leg once the call is answered.

        Parameters
        ----------
        target
            A SIP URI. A user of `Config.realm` is called on every phone registered for it.
        caller
            The From address; by default this server's own.
        headers
            More headers for the INVITE, as (name, value).
        auto_answer
            Ask the phone to answer by itself (Call-Info, Alert-Info).
        trunk
            The name of one of `Config.trunks` to call through; ``target`` may then be a number.
        credentials
            Answer a 401 or 407; by default those of `Config.credentials` for the target's host.
        on_progress
            Called with status and reason of each provisional response: 180, 183 ...
        early_media
            Called with the leg as soon as the other side sends media before it answers, such as an
            announcement; bridge it to have that heard.
        identity
            Who calls, in place of ``caller``: told to `Config.trusted_peers`, and to others unless
            its privacy forbids it (RFC 3325). ``call.asserted`` may be passed on.
        user_to_user
            For the program at the other end (RFC 7433).
        redirects
            How many contacts of 3xx responses may be tried; None: `Config.redirects`.
        encryption
            Of the leg, in place of `Config.encryption`.

        Raises
        ------
        CallFailed
            With the peer's status and reason; 408 after ``timeout_s``; of a 3xx that is not
            followed with its contacts.
        CapacityError
            When no port is left.
        UsageError
            When ``target`` is no SIP URI.
        """
        if on_progress is not None:
            current_progress.set(on_progress)
        current_early.set(early_media)
        return await call_or_follow(
            self._started(),
            target,
            caller=caller,
            headers=headers,
            timeout_s=timeout_s,
            auto_answer=auto_answer,
            credentials=credentials,
            trunk=trunk,
            identity=identity,
            user_to_user=user_to_user,
            redirects=redirects,
            encryption=encryption,
        )

    async def bridge(
        self, *legs: Leg, name: str | None = None, limiter: bool | None = None
    ) -> Bridge:
        """Join legs so that each hears all others; the bridge works from the next tick on.

        Parameters
        ----------
        name
            For `find_bridge`; one bridge at a time may have it.
        limiter
            Whether talkers who together pass full scale are turned down, not clipped; None: as
            `Config.soft_limiter` says.

        Notes
        -----
        A bridge that a call handler makes closes with that handler. With a name it belongs to
        everybody who finds it, and closes when its last leg leaves. One that is made outside of
        any handler stays until it is closed.
        """
        board = self._started()
        if name is not None and board.find_bridge(name) is not None:
            raise UsageError(f"there is a bridge named {name!r} already: add legs to that one")
        scope = current_scope.get()
        shared = name is not None and scope is not None
        owner = None if shared else scope
        bridge = Bridge(board, board.next_seat(), name, owner, until_empty=shared, limiter=limiter)
        board.bridges.add(bridge)
        try:
            for leg in legs:
                bridge.check(leg)
            await bridge.add(*legs)
        except BaseException:
            await bridge.close()
            raise
        return bridge

    def find_bridge(self, name: str) -> Bridge | None:
        """Return the open bridge of that name or id, or None."""
        return self._started().find_bridge(name)

    @property
    def bridges(self) -> tuple[Bridge, ...]:
        """Every open bridge."""
        return tuple(self._started().bridges)

    @property
    def legs(self) -> tuple[Leg, ...]:
        """Every leg that is not closed."""
        return tuple(self._started().legs.values())

    def events(self) -> Subscription:
        """Yield the server's events from now on; a slow reader gets `EventsDropped`."""
        return self._started().bus.subscribe()

    @property
    def bus(self) -> EventBus:
        """Where events are published; for callbacks instead of `events`."""
        return self._started().bus

    async def reload_certificates(self) -> None:
        """Read the files of `Config.tls` again, for connections from now on; open ones stay.

        Changed files are also noticed without it, within `TlsConfig.watch_s`.

        Raises
        ------
        UsageError
            When a file is bad; the certificates in use stay in use.
        """
        certificates = self._certificates
        if certificates is None:
            raise UsageError("this server has no certificates: start one with Config.tls")
        await self._started().off_loop(certificates.reload)

    @property
    def sip_address(self) -> str:
        """The first SIP address, "192.0.2.1:5060", with the port really bound."""
        _, host, port = self._started().open_shell.addresses[0]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def contacts(self, user: str) -> int:
        """Return how many phones are registered for a user."""
        return len(self._started().contacts(user))

    def snapshot(self) -> dict[str, Any]:
        """Return every counter: SIP, media, recordings, registrations."""
        board = self._started()
        return {
            "legs": len(board.legs),
            "bridges": len(board.bridges),
            "handlers": len(board.handlers),
            "sip": board.agent.snapshot(),
            "sip_unsent": board.open_shell.unsent,
            "sip_udp": board.open_shell.snapshot(),
            "streams": board.open_shell.streams.snapshot(),
            "certificates": self._certificates.snapshot() if self._certificates else {},
            "media": board.host.snapshot(),
            **board.extensions.snapshot(),
            "recording": board.recorders.snapshot(),
            "logins": board.directory.snapshot(),
            "trunks": board.trunks.snapshot(),
            "overload": self._overload.snapshot() if self._overload else {},
        }

    def _started(self) -> Switchboard:
        if self._board is None:
            raise UsageError("start the server first: async with Server(...) as server")
        return self._board
