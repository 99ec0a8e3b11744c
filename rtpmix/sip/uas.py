"""An incoming call until it is answered: the UAS side of an INVITE (RFC 3261 section 13.3)."""

from __future__ import annotations

from collections.abc import Iterable

from ..errors import UsageError
from .authentication import Authentication
from .core import Core, Header, Timer
from .dialog import Dialog, is_secure
from .events import Cancelled, Ended, Invited, Pracked
from .exchange import Side, retry_header
from .flow import Flow
from .headers import Headers
from .message import Request, respond
from .pending import PendingRequest
from .refusal import options_answer
from .reliable import Provisional, ReliableProvisionals, takes_reliable
from .server_transaction import ServerTransaction
from .session import Session
from .session_timer import SessionTimer
from .transaction import TransactionUser
from .update import PendingOffer, receive_update

REFRESH_INTERVAL = 60.0  # seconds between provisional responses, section 13.3.1.1


class IncomingCall(TransactionUser):
    """An INVITE that waits for the user's ring, accept or reject."""

    __slots__ = (
        "_accepting",
        "_expires_at",
        "_flow",
        "_provisional",
        "_reliable",
        "_request",
        "_transaction",
        "authentication",
        "core",
        "dialog",
        "number",
    )

    def __init__(
        self, core: Core, request: Request, transaction: ServerTransaction, flow: Flow, now: float
    ) -> None:
        self.core = core
        self.number = core.next_number()
        self._request = request
        self._flow = flow
        self._transaction = transaction
        self.authentication: Authentication | None = None  # for what we send in the call later
        self._provisional: tuple[int, bytes] = (100, respond(request, 100).to_bytes())
        self.dialog = Dialog.from_request(request, core.token(), flow)
        self._reliable = ReliableProvisionals(core, request, transaction, self._never_acknowledged)
        self._accepting: tuple[bytes, tuple[Header, ...]] | None = None  # waits for a PRACK
        transaction.user = self
        core.calls[self.number] = self
        core.dialogs[self.dialog.id] = self
        limit = core.config.ring_timeout
        expires = request.expires  # section 13.3.1 item 1
        self._expires_at = now + expires if expires is not None and expires < limit else None
        at = now + limit if self._expires_at is None else self._expires_at
        core.timers.start(self, Timer.RING, at)
        transaction.respond(*self._provisional, now)
        core.events.append(Invited(self.number, request, flow))

    def _contact(self) -> Header:
        return self.core.contact(self._transaction.flow, secure=is_secure(self._request.uri))

    # ------------------------------------------------------------------ what the user does

    def ring(
        self,
        now: float,
        status: int,
        headers: Iterable[Header],
        body: bytes,
        reliable: bool | None = None,
    ) -> None:
        """Send a provisional response, again every minute until the final one."""
        if not 101 <= status <= 199:
            raise UsageError(f"{status} is not a way to ring: use 180, 183 or another 101 to 199")
        self._check_not_accepted()
        fixed = tuple(headers)
        if self._is_reliable(body, reliable):
            self._provisional = (status, b"")
            self._send_reliably(status, fixed, body, now)
            self.core.timers.start(self, Timer.REFRESH, now + REFRESH_INTERVAL)
            return
        self._provisional = (status, self._ringing(status, fixed, body))
        self._repeat(now)

    def _send_reliably(
        self, status: int, headers: tuple[Header, ...], body: bytes, now: float
    ) -> None:
        def build(more: tuple[Header, ...]) -> bytes:
            return self._ringing(status, (*more, *headers), body)

        self._reliable.send(Provisional(status, build, bool(body)), now)

    def _ringing(self, status: int, headers: Iterable[Header], body: bytes) -> bytes:
        return respond(
            self._request,
            status,
            to_tag=self.dialog.id[1],
            headers=(self._contact(), *self.core.capabilities, *headers),
            body=body,
            content_type="application/sdp" if body else None,
        ).to_bytes()

    def _is_reliable(self, body: bytes, wish: bool | None) -> bool:
        """Choose how a provisional response goes out (RFC 3262 section 3)."""
        policy, request = self.core.config.reliable, self._request
        possible = policy != "off" and takes_reliable(request)
        if wish and not possible:
            raise UsageError(
                "this caller can't acknowledge provisional responses: leave reliable out"
            )
        if body and not request.body and not (possible and wish is not False):
            # RFC 3262 section 5: an offer has to arrive.
            raise UsageError("an offer needs a reliable provisional response: send it with accept")
        if not possible:
            return False
        if "100rel" in request.require:
            return True
        return wish if wish is not None else bool(body) or policy == "required"

    def accept(self, now: float, body: bytes, headers: Iterable[Header]) -> None:
        """Send 200 and become a `Session`; it waits for the PRACK of an offer or an answer."""
        self._check_not_accepted()
        fixed = tuple(headers)
        if self.dialog.exchange.established:
            body = b""  # the answer has arrived reliably, and is not given twice (RFC 6337 3.1.1)
        Headers(fixed)  # what can't be written is refused before anything has changed
        if self._reliable.describes:
            # RFC 3262 section 3: no 2xx before that is acknowledged.
            self._accepting = body, fixed
            return
        core, transaction = self.core, self._transaction
        self._stop_timers()
        self.dialog.authentication = self.authentication
        session = Session(core, self.number, self.dialog)  # takes our place in both indexes
        refresh = session.timer.answer(self._request, now)
        response = respond(
            self._request,
            200,
            to_tag=self.dialog.id[1],
            headers=(self._contact(), *core.capabilities, *refresh, *fixed),
            body=body,
            content_type="application/sdp" if body else None,
        )
        if self._reliable.pending:
            session.provisionals = self._reliable
        session.accept(transaction, self._request, response, now)

    def _check_not_accepted(self) -> None:
        if self._accepting is not None:
            raise UsageError(f"call {self.number} has been accepted: its 2xx waits for a PRACK")

    def reject(
        self, status: int, now: float, reason: str | None = None, headers: Iterable[Header] = ()
    ) -> None:
        """Send a final response of 300 to 699; the call is over."""
        if not 300 <= status <= 699:
            raise UsageError(f"{status} does not reject a call: use 300 to 699")
        response = respond(self._request, status, reason, to_tag=self.dialog.id[1], headers=headers)
        self._forget(now)
        self._transaction.respond(status, response.to_bytes(), now)

    def hang_up(self, now: float, headers: Iterable[Header] = ()) -> None:
        """Reject; a callee may not send BYE on an early dialog (section 15)."""
        accepted = self._accepting is not None
        self.reject(480, now, headers=headers)
        if accepted:
            self.core.events.append(Ended(self.number, "local-bye"))

    # ------------------------------------------------------------------ what the peer does

    def cancel(self, cancel: Request, now: float) -> None:
        """Take the CANCEL of this call (section 9.2)."""
        self._give_up(487, now, Cancelled(self.number, cancel.headers.get("Reason")))

    def receive_request(self, request: Request, flow: Flow, now: float) -> None:
        """Take a request in the early dialog (section 12.2.2)."""
        core = self.core
        if not self.dialog.accepts_sequence(request.cseq.number):
            core.refuse(request, flow, 500, headers=[("Retry-After", "1")])
            return
        if request.method == "BYE":
            self._answer(request, flow, 200, now)
            self._give_up(487, now, Cancelled(self.number, request.headers.get("Reason")))
        elif request.method == "INVITE":
            # Section 14.2: a second INVITE before our final response to the first.
            self._answer(request, flow, 500, now, [retry_header(core.random)])
        elif request.method == "OPTIONS":
            self._answer(request, flow, 200, now, options_answer(core, flow))
        elif request.method == "PRACK":
            self._receive_prack(request, flow, now)
        elif request.method == "UPDATE":
            receive_update(self, self.dialog, request, flow, now)
        else:
            PendingRequest(core, request, flow, self.number, now)

    def _receive_prack(self, request: Request, flow: Flow, now: float) -> None:
        """Take the PRACK of our last response (RFC 3262 section 3)."""
        provisional = self._reliable.acknowledge(request, now)
        if provisional is None:
            self._answer(request, flow, 481, now)
            return
        exchange = self.dialog.exchange
        answers = provisional.describes and not self._request.body and not exchange.established
        if provisional.describes:
            exchange.established = True
        if request.body and not answers:
            PendingOffer(self, self.dialog, request, flow, now)
        else:
            self._answer(request, flow, 200, now)
            self.core.events.append(Pracked(self.number, request))
        self._reliable.proceed(now)
        if self._accepting is not None and not self._reliable.describes:
            (body, headers), self._accepting = self._accepting, None
            self.accept(now, body, headers)

    def _never_acknowledged(self, now: float) -> None:
        """Nobody sent the PRACK within 64*T1: a 5xx (RFC 3262 section 3)."""
        event = Cancelled(self.number, timed_out=True)
        self._give_up(504, now, event, "prack-timeout")

    def offer_pending(self, dialog: Dialog) -> Side | None:
        """Tell whose offer is open: the INVITE's until a reliable response answered it."""
        if dialog.exchange.established:
            return None
        return Side.REMOTE if self._request.body or not self._reliable.describes else Side.LOCAL

    def timer_of(self, dialog: Dialog) -> SessionTimer | None:
        """Return None: a session begins with its 2xx."""
        return None

    def lose(self, now: float, cause: str) -> None:
        """Go on: what ends an early dialog is the final response to its INVITE."""

    def receive_ack(self, ack: Request, now: float) -> None:
        """Ignore an ACK: there is nothing to acknowledge yet."""

    def timer_fired(self, name: Timer, now: float) -> None:
        """Ring on, or give up."""
        if name is Timer.REFRESH:
            self._repeat(now)
        elif self._expires_at is not None:
            self._give_up(487, now, Cancelled(self.number))
        else:
            self._give_up(480, now, Cancelled(self.number, timed_out=True))

    # ------------------------------------------------------------------

    def _answer(
        self,
        request: Request,
        flow: Flow,
        status: int,
        now: float,
        headers: Iterable[Header] = (),
    ) -> None:
        transaction = self.core.layer.accept_request(request, flow)
        transaction.respond(status, respond(request, status, headers=headers).to_bytes(), now)

    def _give_up(self, status: int, now: float, event: Cancelled, cause: str = "cancelled") -> None:
        accepted = self._accepting is not None  # for the user it was a session by then
        self.reject(status, now)
        self.core.events.append(Ended(self.number, cause, event.reason) if accepted else event)

    def _repeat(self, now: float) -> None:
        status, data = self._provisional
        if data:
            self._transaction.respond(status, data, now)
        elif not self._reliable.pending:  # reliably, again: another number, nothing else
            self._send_reliably(status, (), b"", now)
        self.core.timers.start(self, Timer.REFRESH, now + REFRESH_INTERVAL)

    def _stop_timers(self) -> None:
        self.core.timers.stop(self, Timer.RING)
        self.core.timers.stop(self, Timer.REFRESH)
        self._reliable.stop()

    def _forget(self, now: float) -> None:
        self._stop_timers()
        self.dialog.exchange.abandon(now)
        del self.core.calls[self.number]
        del self.core.dialogs[self.dialog.id]
