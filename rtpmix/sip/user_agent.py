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
from typing import TypeVar

from ..errors import CapacityError, UsageError
from .core import Core, Header, UserAgentConfig
from .dialog import DialogId
from .dialog_reference import FoundDialog, dialog_id_of, find_dialog
from .dispatch import Dispatcher
from .events import Event, StreamBroken
from .flow import Flow, Outgoing
from .framing import FramingError, StreamFramer
from .grammar import is_token
from .headers import Headers
from .notifier import Notifier
from .pending import OwnRequest, PendingRequest
from .session import Session
from .uac import OutgoingCall
from .uas import IncomingCall

__all__ = ["UserAgent", "UserAgentConfig"]

Usage = TypeVar("Usage", IncomingCall, OutgoingCall, Session)
Call = IncomingCall | OutgoingCall | Session

_OWN_METHODS = ("INVITE", "ACK", "CANCEL", "BYE")  # these have commands of their own
_KEEP_ALIVE = b"\r\n\0 \t"


class UserAgent:
    """A SIP user agent, client and server, without I/O.

    Parameters
    ----------
    token
        Called for every tag, branch and Call-ID: never the same twice, and not to be guessed
        (`secrets.token_hex` in production, a seeded source in tests). Also seeds back-off times.
    """

    def __init__(self, config: UserAgentConfig, *, token: Callable[[], str]) -> None:
        self._core = Core(config, token)
        self._config = config
        self._dispatcher = Dispatcher(self._core)
        self.notifier = Notifier(self._core)

    # ------------------------------------------------------------------ the network

    def receive_datagram(self, data: bytes, flow: Flow, now: float) -> None:
        """Take one datagram.

        Never raises for anything a peer can send: a bad message is answered or counted.

        References
        ----------
        RFC 3261 sections 18.1.2 and 18.2.1
        """
        if len(data) <= 4 and not data.strip(_KEEP_ALIVE):
            self._core.counters["keep_alives"] += 1
            return
        self._dispatcher.receive(data, flow, now)

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

    # ------------------------------------------------------------------ calls, as a client

    def invite(
        self,
        target: str,
        *,
        flow: Flow,
        from_uri: str,
        from_name: str | None = None,
        headers: Iterable[Header] = (),
        body: bytes = b"",
        content_type: str = "application/sdp",
        now: float,
    ) -> int:
        """Call someone and return the call's number.

        Parameters
        ----------
        target
            Request-URI and To.
        flow
            Where the INVITE goes; ``flow.local`` is the address in Via and Contact.
        body
            The offer. Without one the peer's 2xx makes the offer, `Answered` says ``needs_ack``,
            and `ack` answers it.
        """
        core = self._core
        self._check_capacity()
        request, branch = core.outside_request(
            "INVITE",
            target,
            flow,
            from_uri,
            from_name,
            (core.contact(flow), *core.capabilities, *headers),
            body,
            content_type if body else None,
        )
        call = OutgoingCall(core)
        call.start(request, branch, flow, now)
        return call.number

    def ack(self, call: int, body: bytes, now: float) -> None:
        """Answer a late offer: send the ACK that `Answered` or `ReinviteAnswered` asked for."""
        self._call(call, Session, "acknowledge").acknowledge(body)

    def cancel(self, call: int, now: float, reason: str | None = None) -> None:
        """Give a call of ours up; `Failed` tells the end, with 487 if nothing else comes first.

        ``reason`` is the value of a Reason header (RFC 3326). A call that has been answered is
        left with BYE.
        """
        headers = _checked([("Reason", reason)] if reason is not None else [])
        found = self._any_call(call, "cancel")
        if isinstance(found, IncomingCall):
            raise UsageError(f"can't cancel call {call}: it is incoming; use reject or bye")
        found.hang_up(now, headers)

    # ------------------------------------------------------------------ calls, as a server

    def ring(
        self,
        call: int,
        now: float,
        status: int = 180,
        headers: Iterable[Header] = (),
        body: bytes = b"",
    ) -> None:
        """Send a provisional response to an incoming call."""
        self._call(call, IncomingCall, "ring").ring(now, status, tuple(headers), body)

    def accept(
        self, call: int, now: float, body: bytes = b"", headers: Iterable[Header] = ()
    ) -> None:
        """Send 200 to an incoming call, with the answer or, to a late offer, the offer."""
        self._call(call, IncomingCall, "accept").accept(now, body, tuple(headers))

    def reject(
        self,
        call: int,
        status: int,
        now: float,
        reason: str | None = None,
        headers: Iterable[Header] = (),
    ) -> None:
        """Refuse an incoming call; the call is over and no event follows."""
        self._call(call, IncomingCall, "reject").reject(status, now, reason, tuple(headers))

    # ------------------------------------------------------------------ calls, on both sides

    def reinvite(self, call: int, body: bytes, now: float, headers: Iterable[Header] = ()) -> None:
        """Offer a changed session; `ReinviteAnswered` tells what became of it.

        An INVITE of the peer's under way goes first; a 491 is followed by another attempt after
        the random pause of RFC 3261 section 14.1. `UsageError` while one is under way.
        """
        self._call(call, Session, "re-invite").reinvite(body, now, _checked(headers))

    def answer_reinvite(
        self,
        call: int,
        status: int,
        now: float,
        body: bytes = b"",
        headers: Iterable[Header] = (),
    ) -> None:
        """Answer what `Reinvited` told of."""
        session = self._call(call, Session, "answer")
        session.answer_reinvite(status, now, body, _checked(headers))

    def bye(self, call: int, now: float, headers: Iterable[Header] = ()) -> None:
        """End a call in any state.

        An answered one with BYE (`Ended` at once), an incoming one with 480 (no event), an
        outgoing one with CANCEL (`Failed` when it is over).
        """
        self._any_call(call, "end").hang_up(now, _checked(headers))

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
        now: float,
    ) -> int:
        """Send a request and return its number; `Responded` tells its final response.

        Either in the dialog of ``call``, or to ``target`` over ``flow`` as ``from_uri``. To is
        the target unless ``to_uri`` says otherwise, as REGISTER must (RFC 3261 section 10.2).
        """
        core = self._core
        if method in _OWN_METHODS:
            raise UsageError(f"{method} can't be sent as such: use invite, ack, cancel or bye")
        if not is_token(method):
            raise UsageError(f"{method!r} is not a method: use a token of RFC 3261 section 25.1")
        checked = _checked(headers, content_type)
        if call is not None:
            session = self._call(call, Session, "send a request in")
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
        core.layer.send_request(request, branch, flow, own, now)
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

    def dialog_id(self, call: int) -> DialogId | None:
        """Return Call-ID, local tag and remote tag of an answered call."""
        return dialog_id_of(self._core, call)

    # ------------------------------------------------------------------ inside

    def _call(self, call: int, kind: type[Usage], verb: str) -> Usage:
        found = self._core.calls.get(call)
        if isinstance(found, kind):
            return found
        if found is None:
            fact = "is over, or was never there"
        else:
            fact = "is answered" if isinstance(found, Session) else "is not answered yet"
        raise UsageError(f"can't {verb} call {call}: it {fact}; go by the events it has had")

    def _any_call(self, call: int, verb: str) -> Call:
        found = self._core.calls.get(call)
        if isinstance(found, Call):
            return found
        raise UsageError(f"can't {verb} call {call}: it is over, or was never there")

    def _check_capacity(self) -> None:
        if len(self._core.calls) >= self._config.max_calls:
            raise CapacityError("too many calls at once", limit=self._config.max_calls)
        if len(self._core.layer) >= self._config.max_transactions:
            raise CapacityError(
                "too many SIP transactions at once", limit=self._config.max_transactions
            )


def _checked(headers: Iterable[Header], content_type: str | None = None) -> tuple[Header, ...]:
    """Refuse headers that can't be written, before anything has changed."""
    checked = tuple(headers)
    Headers((*checked, ("Content-Type", content_type)) if content_type is not None else checked)
    return checked
