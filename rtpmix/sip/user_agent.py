"""The user agent: bytes and the time in; messages to send, events and one deadline out.

Theory of operation
-------------------
``receive_*``, ``advance`` and every command change state and put messages and events into two
queues. The shell is one pump: after each call it sends `datagrams_to_send`, handles `next_event`
until None, and sets its one timer to `next_deadline`.

A message passes these layers, each one module: `message` parses it; `transaction_layer` finds
the transaction that it repeats, answers or acknowledges; `refusal` turns away what RFC 3261
section 8.2 says; a dialog's usage (`session`, `uas`, `uac`) or `pending` takes the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ..errors import UsageError
from .agent_config import UserAgentConfig
from .authentication import (
    AuthenticatedRequest,
    Authentication,
    Credentials,
    add_credentials,
    once_more,
)
from .call_commands import CallCommands, checked_headers
from .core import Admit, Core, Header
from .dialog import DialogId
from .dialog_reference import FoundDialog, dialog_id_of, find_dialog
from .dispatch import Dispatcher
from .events import Event, StreamBroken
from .flow import Flow, Outgoing
from .framing import FramingError, StreamFramer
from .grammar import is_token
from .headers import Headers, NameAddr
from .info_packages import package_of
from .large_requests import StreamFor
from .message import Request
from .notifier import Notifier
from .pending import OwnRequest, PendingRequest
from .session import Session
from .uac import OutgoingCall
from .uas import IncomingCall

__all__ = ["UserAgent", "UserAgentConfig"]

_OWN_METHODS = ("INVITE", "ACK", "CANCEL", "BYE")  # these have commands of their own
_KEEP_ALIVE = b"\r\n\0 \t"


class UserAgent(CallCommands):
    """A SIP user agent, client and server, without I/O.

    Parameters
    ----------
    token
        Called for every tag, branch and Call-ID: never the same twice, and not to be guessed
        (`secrets.token_hex` in production, a seeded source in tests). Also seeds back-off times.
    """

    def __init__(self, config: UserAgentConfig, *, token: Callable[[], str]) -> None:
        super().__init__(Core(config, token))
        self._dispatcher = Dispatcher(self._core)
        self.notifier = Notifier(self._core)

    def admit_by(self, admit: Admit) -> None:
        """Ask ``admit`` of each request outside of a call, before any state is kept for it."""
        self._core.admit = admit

    def switch_by(self, stream_for: StreamFor) -> None:
        """Send requests in a dialog that are too large for UDP over the flow that this returns."""
        self._core.stream_for = stream_for

    # ------------------------------------------------------------------ the network

    def receive_datagram(
        self, data: bytes, flow: Flow, now: float, *, admitted: bool = False
    ) -> None:
        """Take one datagram.

        Never raises for anything a peer can send: a bad message is answered or counted. What
        `admit_by` named is not asked of a new call that was ``admitted`` before it was read.

        References
        ----------
        RFC 3261 sections 18.1.2 and 18.2.1
        """
        if len(data) <= 4 and not data.strip(_KEEP_ALIVE):
            self._core.counters["keep_alives"] += 1
            return
        if data.startswith(b"ACK ") and self._core.refusal_mark in data:
            self._core.counters["refusals_acknowledged"] += 1
            return
        self._dispatcher.receive(data, flow, now, admitted=admitted)

    def refuse_unread(self, data: bytes, flow: Flow, now: float, pause: int) -> None:
        """Refuse a datagram that brings a new call, with 503 and ``pause`` as Retry-After.

        It costs far less than reading it. A copy of a call that was let in is not refused, and
        what turns out to be no new call is taken as usual.

        References
        ----------
        RFC 3261 sections 8.2.7 and 21.5.4
        """
        self._dispatcher.refuse_unread(data, flow, now, pause)

    @property
    def is_full(self) -> bool:
        """True while a new call would be refused for want of room."""
        core = self._core
        return (
            len(core.calls) >= core.config.max_calls
            or len(core.layer) >= core.config.max_transactions
        )

    def receive_stream(self, data: bytes, flow: Flow, now: float) -> None:
        """Take bytes of the connection ``flow.connection``, however they are cut.

        After `StreamBroken` the rest of that connection is ignored; close it.

        References
        ----------
        RFC 3261 section 18.3; RFC 5626 section 4.4.1
        """
        streams = self._core.streams
        if flow.connection not in streams:
            streams[flow.connection] = StreamFramer()
        framer = streams[flow.connection]
        if framer is None:
            return
        pings = framer.pings
        try:
            messages = framer.feed(data)
        except FramingError as error:
            for message in error.messages:
                self._dispatcher.receive(message, flow, now)
            if error.head:
                self._dispatcher.receive(error.head, flow, now)
            streams[flow.connection] = None
            self._core.counters["streams_broken"] += 1
            self._core.events.append(StreamBroken(flow))
            return
        for _ in range(framer.pings - pings):
            self._core.layer.transmit(flow, b"\r\n")
        for message in messages:
            self._dispatcher.receive(message, flow, now)

    def receive_message(self, data: bytes, flow: Flow, now: float) -> None:
        """Take one whole message of a connection that knows where messages end: a WebSocket.

        References
        ----------
        RFC 7118 sections 5 and 6
        """
        self._core.streams.setdefault(flow.connection, StreamFramer())
        if not data.strip(b"\r\n"):
            self._core.counters["keep_alives"] += 1
            if data == b"\r\n\r\n":
                self._core.layer.transmit(flow, b"\r\n")
            return
        self._dispatcher.receive(data, flow, now)

    def stream_progress(self, flow: Flow) -> tuple[int, int]:
        """Return how many messages and keep-alives a connection has brought, and how many octets
        of a message that is not whole."""
        framer = self._core.streams.get(flow.connection)
        return (framer.messages + framer.pings, framer.buffered) if framer else (0, 0)

    def connection_closed(self, flow: Flow, now: float) -> None:
        """Learn that a connection is gone, whoever closed it."""
        self._core.streams.pop(flow.connection, None)
        self._core.layer.connection_closed(flow, now)

    def transport_failed(self, flow: Flow, now: float) -> None:
        """Learn that nothing can be sent to ``flow.remote``: refused, unreachable, not opened."""
        self._core.layer.transport_failed(flow, now)

    # ------------------------------------------------------------------ the pump

    def datagrams_to_send(self) -> list[Outgoing]:
        """Drain the messages to send, in order; on any transport, despite the name."""
        outbox = self._core.layer.outbox
        messages = list(outbox)
        outbox.clear()
        return messages

    def next_event(self) -> Event | None:
        """Drain one event; None when there is none left."""
        events = self._core.events
        return events.popleft() if events else None

    def next_deadline(self) -> float | None:
        """Return when `advance` is due; None while nothing waits."""
        return self._core.timers.next()

    def advance(self, now: float) -> None:
        """Let every timer fire whose time has come."""
        for owner, name in self._core.timers.due(now):
            owner.timer_fired(name, now)

    def snapshot(self) -> dict[str, int]:
        """Count what is alive, and what has been.

        Live counts, which return to zero when all is over: the four transaction machines,
        ``calls``, ``dialogs``, ``requests``, ``timers`` and ``streams``. The others only grow.
        """
        core = self._core
        return {
            **core.layer.snapshot(),
            "calls": len(core.calls),
            "dialogs": len(core.dialogs),
            "requests": len(core.requests),
            "timers": len(core.timers),
            "streams": len(core.streams),
            "subscriptions": len(self.notifier),
            **core.counters,
        }

    # ------------------------------------------------------------------ other requests

    def request(
        self,
        method: str,
        target: str | None = None,
        *,
        flow: Flow | None = None,
        from_uri: str | None = None,
        to_uri: str | None = None,
        headers: Iterable[Header] = (),
        body: bytes = b"",
        content_type: str | None = None,
        call: int | None = None,
        credentials: Credentials | None = None,
        now: float,
    ) -> int:
        """Send a request and return its number; `Responded` tells its final response.

        Either in the dialog of ``call``, or to ``target`` over ``flow`` as ``from_uri``. To is
        the target unless ``to_uri`` says otherwise, as REGISTER must (RFC 3261 section 10.2).
        ``credentials`` answer a 401 or 407; within a call those of the call do.
        """
        core = self._core
        if method in _OWN_METHODS:
            raise UsageError(f"{method} can't be sent as such: use invite, ack, cancel or bye")
        if not is_token(method):
            raise UsageError(f"{method!r} is not a method: use a token of RFC 3261 section 25.1")
        checked = checked_headers(headers, content_type)
        if call is not None:
            session = self._call(call, Session, "send a request in")
            if method == "INFO":
                _check_package(session, checked)
            own = OwnRequest(core, session)
            core.send_in_dialog(
                session.dialog,
                method,
                own,
                now,
                headers=checked,
                body=body,
                content_type=content_type,
            )
            return own.number
        if target is None or flow is None or from_uri is None:
            raise UsageError("a request outside of a call needs target, flow and from_uri")
        self._check_capacity()
        request, branch = core.outside_request(
            method, target, flow, from_uri, None, headers, body, content_type, to_uri
        )
        own = OwnRequest(core, None)
        if credentials is None:
            core.layer.send_request(request, branch, flow, own, now)
        else:
            authentication = Authentication(credentials, core.token)
            attempts = _Attempts(core, request, branch, flow, authentication)
            AuthenticatedRequest(core, own, authentication, attempts.compose).send(now)
        return own.number

    def respond(
        self,
        request: int,
        status: int,
        now: float,
        *,
        reason: str | None = None,
        headers: Iterable[Header] = (),
        body: bytes = b"",
        content_type: str | None = None,
    ) -> None:
        """Answer what `Requested` told of, with a final status."""
        pending = self._core.requests.get(request)
        if not isinstance(pending, PendingRequest):
            raise UsageError(f"request {request} waits for no answer: it is answered or given up")
        pending.respond(
            status, now, reason=reason, headers=tuple(headers), body=body, content_type=content_type
        )

    # ------------------------------------------------------------------ dialogs by name

    def find_dialog(self, dialog_id: DialogId) -> FoundDialog | None:
        """Return the call whose dialog has that Call-ID, local tag and remote tag (RFC 3891)."""
        return find_dialog(self._core, dialog_id)

    def takes_info(self, call: int, package: str) -> bool:
        """Tell whether the peer of an answered call takes a package of INFO (RFC 6086)."""
        session = self._core.calls.get(call)
        return isinstance(session, Session) and package.lower() in session.dialog.recv_info

    def follows_identity(self, call: int) -> bool:
        """Tell whether the peer of an answered call asked for changes of identity (RFC 4916)."""
        session = self._core.calls.get(call)
        if not isinstance(session, Session):
            return False
        return session.dialog.changes_from and session.dialog.allows_update

    def heard_over(self, call: int) -> Flow | None:
        """Return the flow of the peer's last request in an answered call."""
        session = self._core.calls.get(call)
        return session.dialog.heard if isinstance(session, Session) else None

    def change_from(self, call: int, party: NameAddr) -> None:
        """Say another name and URI in our From from now on; the tag stays (RFC 4916 4.3)."""
        dialog = self._call(call, Session, "change the identity in").dialog
        dialog.local = str(party.with_tag(dialog.id[1]))

    def new_uuid(self) -> str | None:
        """Return a UUID for a new session (RFC 7989 section 4.1); None where none is said."""
        session = self._core.new_session()
        return session.local if session is not None else None

    def session_id(self, call: int) -> tuple[str, str] | None:
        """Return our UUID and the peer's (RFC 7989); None where none is said."""
        found = self._core.calls.get(call)
        if isinstance(found, OutgoingCall):
            session = found.session
        else:
            session = found.dialog.session if isinstance(found, IncomingCall | Session) else None
        return (session.local, session.remote) if session is not None else None

    def dialog_id(self, call: int) -> DialogId | None:
        """Return Call-ID, local tag and remote tag of an answered call."""
        return dialog_id_of(self._core, call)


def _check_package(session: Session, headers: Iterable[Header]) -> None:
    """Refuse an INFO of a package that the peer does not take (RFC 6086 section 4.2.1)."""
    package = package_of(Headers(headers))
    if package is not None and package not in session.dialog.recv_info:
        raise UsageError(
            f"the peer of call {session.number} takes no INFO of {package!r}: ask takes_info first"
        )


class _Attempts:
    """A request outside of a dialog, composed anew for each attempt."""

    __slots__ = ("_authentication", "_branch", "_core", "_flow", "_request")

    def __init__(
        self,
        core: Core,
        request: Request,
        branch: str,
        flow: Flow,
        authentication: Authentication,
    ) -> None:
        self._core = core
        self._request = request
        self._branch: str | None = branch
        self._flow = flow
        self._authentication = authentication

    def compose(self) -> tuple[Request, str, Flow]:
        """Return the request: as it was made at first, with credentials after that."""
        if self._branch is not None:
            branch, self._branch = self._branch, None
            return self._request, branch, self._flow
        self._request, branch = once_more(self._core, self._request, self._flow)
        add_credentials(self._request, self._authentication)
        return self._request, branch, self._flow
