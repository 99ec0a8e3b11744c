"""An incoming call until it is answered: the UAS side of an INVITE (RFC 3261 section 13.3)."""

from __future__ import annotations

from collections.abc import Iterable

from ..errors import UsageError
from .authentication import Authentication
from .core import Core, Header, Timer
from .dialog import Dialog, is_secure
from .events import Cancelled, Invited
from .flow import Flow
from .message import Request, respond
from .pending import PendingRequest
from .refusal import options_answer
from .server_transaction import ServerTransaction
from .session import Session
from .transaction import TransactionUser

REFRESH_INTERVAL = 60.0  # seconds between provisional responses, section 13.3.1.1


class IncomingCall(TransactionUser):
    """An INVITE that waits for the user's ring, accept or reject."""

    __slots__ = (
        "_dialog",
        "_expires_at",
        "_flow",
        "_provisional",
        "_request",
        "_transaction",
        "authentication",
        "core",
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
        self._dialog = Dialog.from_request(request, core.token(), flow)
        transaction.user = self
        core.calls[self.number] = self
        core.dialogs[self._dialog.id] = self
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

    def ring(self, now: float, status: int, headers: Iterable[Header], body: bytes) -> None:
        """Send a provisional response, again every minute until the final one."""
        if not 101 <= status <= 199:
            raise UsageError(f"{status} is not a way to ring: use 180, 183 or another 101 to 199")
        response = respond(
            self._request,
            status,
            to_tag=self._dialog.id[1],
            headers=(self._contact(), *headers),
            body=body,
            content_type="application/sdp" if body else None,
        )
        self._provisional = (status, response.to_bytes())
        self._repeat(now)

    def accept(self, now: float, body: bytes, headers: Iterable[Header]) -> None:
        """Send 200 and become a `Session`."""
        core, transaction = self.core, self._transaction
        response = respond(
            self._request,
            200,
            to_tag=self._dialog.id[1],
            headers=(self._contact(), *core.capabilities, *headers),
            body=body,
            content_type="application/sdp" if body else None,
        )
        self._stop_timers()
        self._dialog.authentication = self.authentication
        session = Session(core, self.number, self._dialog)  # takes our place in both indexes
        session.accept(transaction, self._request, response, now)

    def reject(
        self, status: int, now: float, reason: str | None = None, headers: Iterable[Header] = ()
    ) -> None:
        """Send a final response of 300 to 699; the call is over."""
        if not 300 <= status <= 699:
            raise UsageError(f"{status} does not reject a call: use 300 to 699")
        response = respond(
            self._request, status, reason, to_tag=self._dialog.id[1], headers=headers
        )
        self._forget()
        self._transaction.respond(status, response.to_bytes(), now)

    def hang_up(self, now: float, headers: Iterable[Header] = ()) -> None:
        """Reject; a callee may not send BYE on an early dialog (section 15)."""
        self.reject(480, now, headers=headers)

    # ------------------------------------------------------------------ what the peer does

    def cancel(self, cancel: Request, now: float) -> None:
        """Take the CANCEL of this call (section 9.2)."""
        self._give_up(487, now, Cancelled(self.number, cancel.headers.get("Reason")))

    def receive_request(self, request: Request, flow: Flow, now: float) -> None:
        """Take a request in the early dialog (section 12.2.2)."""
        core = self.core
        if not self._dialog.accepts_sequence(request.cseq.number):
            core.refuse(request, flow, 500, headers=[("Retry-After", "1")])
            return
        if request.method == "BYE":
            self._answer(request, flow, 200, now)
            self._give_up(487, now, Cancelled(self.number, request.headers.get("Reason")))
        elif request.method == "INVITE":
            # Section 14.2: a second INVITE before our final response to the first.
            pause = str(core.random.randint(0, 10))
            self._answer(request, flow, 500, now, [("Retry-After", pause)])
        elif request.method == "OPTIONS":
            self._answer(request, flow, 200, now, options_answer(core, flow))
        else:
            PendingRequest(core, request, flow, self.number, now)

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

    def _give_up(self, status: int, now: float, event: Cancelled) -> None:
        self.reject(status, now)
        self.core.events.append(event)

    def _repeat(self, now: float) -> None:
        self._transaction.respond(*self._provisional, now)
        self.core.timers.start(self, Timer.REFRESH, now + REFRESH_INTERVAL)

    def _stop_timers(self) -> None:
        self.core.timers.stop(self, Timer.RING)
        self.core.timers.stop(self, Timer.REFRESH)

    def _forget(self) -> None:
        self._stop_timers()
        del self.core.calls[self.number]
        del self.core.dialogs[self._dialog.id]

    @property
    def to_tag(self) -> str:
        """Our tag, for the answer to a CANCEL (section 9.2)."""
        return self._dialog.id[1]
