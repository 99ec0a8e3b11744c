"""What a program may do with calls: the half of `UserAgent` that concerns INVITE sessions."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from ..errors import CapacityError, UsageError
from .authentication import Authentication, Credentials
from .core import Core, Header
from .dialog import Dialog, is_secure
from .flow import Flow
from .headers import Headers
from .request_response import Request
from .session import Session
from .uac import OutgoingCall
from .uas import IncomingCall
from .update import PendingOffer, start_update

Usage = TypeVar("Usage", IncomingCall, OutgoingCall, Session)
Call = IncomingCall | OutgoingCall | Session


class CallCommands:
    """Commands for calls, by the number that `invite` returned or `Invited` told."""

    def __init__(self, core: Core) -> None:
        self._core = core

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
        credentials: Credentials | None = None,
        manual_prack: bool = False,
        flow_for: Callable[[int], Flow] | None = None,
        session_id: str | None = None,
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
        credentials
            Answer a 401 or 407, to the INVITE and to whatever is sent in the call later on.
        manual_prack
            Leave every PRACK to `prack`, so that it can carry an offer. Without, only those are
            left whose response makes an offer.
        flow_for
            Told the octets of the INVITE over ``flow``; returns the flow to take after all
            (RFC 3261 section 18.1.1).
        session_id
            Our UUID of the session that the call belongs to (RFC 7989); None makes one.
        """
        core = self._core
        self._check_capacity()

        session = core.new_session(session_id)
        named = (session.header,) if session is not None else ()

        def compose(flow: Flow) -> tuple[Request, str]:
            contact = core.contact(flow, secure=is_secure(target))
            fields = (contact, *core.capabilities, *core.invite_headers, *named, *headers)
            kind = content_type if body else None
            return core.outside_request(
                "INVITE", target, flow, from_uri, from_name, fields, body, kind
            )

        request, branch = compose(flow)
        if flow_for is not None:
            better = flow_for(len(request.to_bytes()))
            if better != flow:
                flow = better
                request, branch = compose(flow)
        call = OutgoingCall(core, self._authentication(credentials))
        call.manual_prack = manual_prack
        call.session = session
        call.start(request, branch, flow, now)
        return call.number

    def ack(self, call: int, body: bytes, now: float) -> None:
        """Answer a late offer: send the ACK that `Answered` or `ReinviteAnswered` asked for."""
        self._call(call, Session, "acknowledge").acknowledge(body)

    def is_heard_of(self, call: int) -> bool:
        """True once any response to a call of ours came, if only a 100."""
        found = self._core.calls.get(call)
        return not isinstance(found, OutgoingCall) or found.is_heard_of

    def cancel(self, call: int, now: float, reason: str | None = None) -> None:
        """Give a call of ours up; `Failed` tells the end, with 487 if nothing else comes first.

        ``reason`` is the value of a Reason header (RFC 3326). A call that has been answered is
        left with BYE.
        """
        headers = checked_headers([("Reason", reason)] if reason is not None else [])
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
        *,
        reliable: bool | None = None,
    ) -> None:
        """Send a provisional response to an incoming call.

        Parameters
        ----------
        body
            The answer, for early media; without an offer in the INVITE an offer, reliably.
        reliable
            Wait for a PRACK (RFC 3262), then `Pracked`; None leaves that to the configuration.
        """
        incoming = self._call(call, IncomingCall, "ring")
        incoming.ring(now, status, checked_headers(headers), body, reliable)

    def accept(
        self,
        call: int,
        now: float,
        body: bytes = b"",
        headers: Iterable[Header] = (),
        *,
        credentials: Credentials | None = None,
    ) -> None:
        """Send 200 to an incoming call, with the answer or, to a late offer, the offer.

        ``credentials`` answer a caller, such as a trunk, who challenges our requests in the call.
        """
        incoming = self._call(call, IncomingCall, "accept")
        incoming.authentication = self._authentication(credentials)
        incoming.accept(now, body, tuple(headers))

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
        self._call(call, Session, "re-invite").reinvite(body, now, checked_headers(headers))

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
        session.answer_reinvite(status, now, body, checked_headers(headers))

    def bye(self, call: int, now: float, headers: Iterable[Header] = ()) -> None:
        """End a call in any state.

        An answered one with BYE (`Ended` at once), an incoming one with 480 (no event), an
        outgoing one with CANCEL (`Failed` when it is over).
        """
        self._any_call(call, "end").hang_up(now, checked_headers(headers))

    # ------------------------------------------------------------------ PRACK and UPDATE

    def prack(self, call: int, now: float, body: bytes = b"", *, tag: str | None = None) -> None:
        """Acknowledge a provisional response: after `Progressed` with ``needs_prack``.

        Parameters
        ----------
        body
            The answer to its offer; or an offer, which `OfferAnswered` tells the answer to.
        tag
            Which of several early dialogs, as in `Progressed`.
        """
        self._call(call, OutgoingCall, "acknowledge a response of").prack(now, body, tag)

    def update(
        self,
        call: int,
        now: float,
        body: bytes = b"",
        headers: Iterable[Header] = (),
        *,
        tag: str | None = None,
    ) -> None:
        """Send an UPDATE (RFC 3311), before or after the answer; `OfferAnswered` tells the rest.

        Raises
        ------
        UsageError
            When an UPDATE is under way, when it would offer while another offer is open, or when
            the peer takes none.
        """
        found = self._any_call(call, "update")
        start_update(found, _dialog_of(found, tag), body, checked_headers(headers), now)

    def answer_offer(
        self,
        call: int,
        status: int,
        now: float,
        body: bytes = b"",
        headers: Iterable[Header] = (),
    ) -> None:
        """Answer the UPDATE or PRACK that `Offered` told of."""
        found = self._any_call(call, "answer an offer in")
        dialogs = found.dialogs if isinstance(found, OutgoingCall) else [_dialog_of(found, None)]
        offered = [dialog.exchange.offered for dialog in dialogs]
        pending = next((half for half in offered if isinstance(half, PendingOffer)), None)
        if pending is None:
            raise UsageError(f"call {call} has no offer to answer: wait for Offered")
        pending.answer(status, now, body, checked_headers(headers))

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

    def _authentication(self, credentials: Credentials | None) -> Authentication | None:
        return None if credentials is None else Authentication(credentials, self._core.token)

    def _check_capacity(self) -> None:
        if len(self._core.calls) >= self._core.config.max_calls:
            raise CapacityError("too many calls at once", limit=self._core.config.max_calls)
        if len(self._core.layer) >= self._core.config.max_transactions:
            raise CapacityError(
                "too many SIP transactions at once", limit=self._core.config.max_transactions
            )


def checked_headers(
    headers: Iterable[Header], content_type: str | None = None
) -> tuple[Header, ...]:
    """Refuse headers that can't be written, before anything has changed."""
    checked = tuple(headers)
    Headers((*checked, ("Content-Type", content_type)) if content_type is not None else checked)
    return checked


def _dialog_of(call: Call, tag: str | None) -> Dialog:
    return call.dialog_for(tag) if isinstance(call, OutgoingCall) else call.dialog
