"""A confirmed INVITE dialog: re-INVITEs both ways, requests within, and its end."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from typing import Any

from ..errors import UsageError
from .acceptance import Acceptance
from .acknowledgement import Acknowledgement
from .core import Core, Header, Timer
from .dialog import Dialog
from .events import Acked, Ended, ReinviteAnswered, ReinviteCancelled, Reinvited
from .exchange import Side, retry_header
from .flow import Flow
from .message import Request, Response, respond
from .pending import PendingRequest
from .refusal import options_answer
from .reinvite import Reinvite
from .reliable import ReliableProvisionals
from .server_transaction import ServerTransaction
from .session_timer import SessionTimer
from .transaction import NOBODY, TransactionUser
from .update import Update, receive_update


class SessionState(enum.Enum):
    """How far a session is."""

    CONFIRMED = "confirmed"
    LEAVING = "leaving"  # hung up here, but BYE must wait for the ACK (RFC 3261 section 15)
    SAYING_BYE = "saying BYE"
    OVER = "over"


class Session(TransactionUser):
    """One confirmed dialog and its session.

    Parameters
    ----------
    number
        The call's number, or None for a fork that nobody wants: it is acknowledged and left.
    """

    __slots__ = (
        "_acceptance",
        "_accepted",
        "_deferred",
        "_reinvite",
        "_reinvited_by",
        "_reinviting",
        "core",
        "dialog",
        "number",
        "provisionals",
        "referred",
        "state",
        "timer",
        "unacknowledged",
    )

    def __init__(self, core: Core, number: int | None, dialog: Dialog) -> None:
        self.core = core
        self.number = number
        self.dialog = dialog
        self.state = SessionState.CONFIRMED
        self.referred = False  # a REFER has come before: RFC 3515 section 2.4.6
        self.unacknowledged: Acknowledgement | None = None  # a late offer that waits for us
        self.timer = SessionTimer(self)
        self.provisionals: ReliableProvisionals | None = None  # of the INVITE, till it is answered
        self._acceptance: Acceptance | None = None
        self._accepted: ServerTransaction | None = None  # the last one, which outlives its ACK
        self._reinvited_by: ServerTransaction | None = None  # until confirmed
        self._reinvite: Request | None = None  # the re-INVITE that the user has to answer
        self._reinviting: Reinvite | None = None
        self._deferred: tuple[bytes, tuple[Header, ...]] | None = None
        core.dialogs[dialog.id] = self
        if number is not None:
            core.calls[number] = self

    @property
    def has_invite_from_peer(self) -> bool:
        """True while an INVITE of the peer's waits for our answer or for its ACK."""
        return self._acceptance is not None or self._reinvited_by is not None

    # ------------------------------------------------------------------ what the user does

    def accept(
        self, transaction: ServerTransaction, request: Request, response: Response, now: float
    ) -> None:
        """Send a 2xx until it is acknowledged."""
        transaction.user = self
        self._accepted = transaction
        self._acceptance = Acceptance(
            self,
            transaction,
            request.cseq.number,
            response.to_bytes(),
            offers=bool(response.body) and not request.body,
        )
        self._acceptance.start(now)

    def acknowledge(self, body: bytes) -> None:
        """Send the ACK with our answer to a late offer."""
        if self.unacknowledged is None:
            raise UsageError(
                f"call {self.number} has no 2xx to acknowledge: ack is for a late offer, "
                "where Answered or ReinviteAnswered said needs_ack"
            )
        acknowledgement, self.unacknowledged = self.unacknowledged, None
        acknowledgement.send(body, "application/sdp")

    def reinvite(self, body: bytes, now: float, headers: Iterable[Header]) -> None:
        """Send a re-INVITE, or keep it until an INVITE transaction under way is done.

        References
        ----------
        RFC 3261 section 14.1
        """
        if self._reinviting is not None or self._deferred is not None:
            raise UsageError(
                f"call {self.number} has a re-INVITE under way: wait for ReinviteAnswered"
            )
        updating = self.dialog.exchange.updating
        if isinstance(updating, Update) and (updating.told or updating.following is not None):
            raise UsageError(f"call {self.number} has an UPDATE under way: wait for OfferAnswered")
        if self.has_invite_from_peer:
            self._deferred = (body, tuple(headers))
            return
        self._reinviting = Reinvite(self, body, tuple(headers))
        self._reinviting.send(now)

    def answer_reinvite(
        self, status: int, now: float, body: bytes, headers: Iterable[Header]
    ) -> None:
        """Answer the re-INVITE of the last `Reinvited`; what it asked for stands only on 2xx."""
        request, transaction = self._reinvite, self._reinvited_by
        if request is None or transaction is None:
            raise UsageError(f"call {self.number} has no re-INVITE to answer: wait for Reinvited")
        if status < 200:
            raise UsageError("a re-INVITE is answered with a final status: 200 to 699")
        content_type = "application/sdp" if body else None
        if status >= 300:
            response = respond(
                request, status, headers=headers, body=body, content_type=content_type
            )
            self._reinvite = None
            self._stop_waiting_for_answer()
            transaction.respond(status, response.to_bytes(), now)
            return
        refresh = self.timer.answer(request, now)
        contact = self.core.contact(transaction.flow, secure=self.dialog.secure)
        fields = (contact, *self.core.capabilities, *refresh, *headers)
        response = respond(request, status, headers=fields, body=body, content_type=content_type)
        self._reinvite = self._reinvited_by = None
        self._stop_waiting_for_answer()
        self.dialog.refresh_target(request)
        self.accept(transaction, request, response, now)

    def hang_up(self, now: float, headers: Iterable[Header] = ()) -> None:
        """Leave the session. A callee's BYE waits for the ACK (RFC 3261 section 15)."""
        self._finish(now, "local-bye")
        if self._acceptance is not None:
            self.state = SessionState.LEAVING
            self._deferred = (b"", tuple(headers))
        else:
            self.say_bye(now, headers)

    def say_bye(self, now: float, headers: Iterable[Header] = ()) -> None:
        """Send BYE; the dialog stays known until it is answered, for a BYE that crosses it."""
        self.state = SessionState.SAYING_BYE
        self.core.send_in_dialog(self.dialog, "BYE", self, now, headers=headers)

    # ------------------------------------------------------------------ what the peer does

    def receive_request(self, request: Request, flow: Flow, now: float) -> None:
        """Take a request in this dialog (section 12.2.2)."""
        if not self.dialog.accepts_sequence(request.cseq.number):
            self.core.refuse(request, flow, 500, headers=[("Retry-After", "1")])
            return
        self.dialog.heard = flow
        method = request.method
        if method == "BYE":
            self._receive_bye(request, flow, now)
        elif self.state is not SessionState.CONFIRMED:
            self._answer(request, flow, 481, now)
        elif method == "INVITE":
            self._receive_reinvite(request, flow, now)
        elif method == "OPTIONS":
            self._answer(request, flow, 200, now, options_answer(self.core, flow))
        elif method == "UPDATE":
            receive_update(self, self.dialog, request, flow, now)
        elif method == "PRACK":
            self._receive_prack(request, flow, now)
        else:
            PendingRequest(self.core, request, flow, self.number, now)

    def receive_ack(self, ack: Request, now: float) -> None:
        """Take the ACK for our 2xx; copies and others are ignored."""
        acceptance = self._acceptance
        if acceptance is None or ack.cseq.number != acceptance.sequence:
            return
        self._stop_accepting()
        if self.state is SessionState.LEAVING:
            self._leave_at_last(now)
        elif self.number is not None:
            self.core.events.append(Acked(self.number, ack.body, ack.content_type))
            self._send_deferred(now)

    def cancel(self, transaction: ServerTransaction, now: float) -> None:
        """Take a CANCEL for a re-INVITE (section 9.2)."""
        if transaction is self._reinvited_by and self._reinvite is not None:
            self._end_reinvite(487, now)
            if self.number is not None:
                self.core.events.append(ReinviteCancelled(self.number))

    def timer_fired(self, name: Timer, now: float) -> None:
        """Nobody answered a re-INVITE here."""
        self._end_reinvite(500, now)

    def _receive_bye(self, request: Request, flow: Flow, now: float) -> None:
        self._answer(request, flow, 200, now)
        if self.state is SessionState.CONFIRMED:
            self._finish(now, "remote-bye", request)
        self._stop_accepting()
        # Also where our own BYE is under way: a peer that has said BYE has nothing more to say.
        self._forget()

    def _receive_prack(self, request: Request, flow: Flow, now: float) -> None:
        """Take a PRACK that our 2xx overtook (RFC 3262 section 3)."""
        known = self.provisionals
        found = known is not None and known.acknowledge(request, now) is not None
        self._answer(request, flow, 200 if found else 481, now)

    def _receive_reinvite(self, request: Request, flow: Flow, now: float) -> None:
        exchange = self.dialog.exchange
        updating = exchange.updating
        if self._reinvite is not None or exchange.offered is not None:
            # Section 14.2: a second one before our final response to the first.
            self._answer(request, flow, 500, now, [retry_header(self.core.random)])
        elif (self._reinviting is not None and self._reinviting.in_progress) or (
            isinstance(updating, Update) and updating.offers
        ):
            self._answer(request, flow, 491, now)
        elif self._acceptance is not None:
            # Our 2xx and its ACK are still on their way: the peer is to come again.
            self._answer(request, flow, 491, now)
        else:
            transaction = self.core.layer.accept_request(request, flow)
            transaction.user = self
            transaction.respond(100, respond(request, 100).to_bytes(), now)
            self._reinvite, self._reinvited_by = request, transaction
            self.core.timers.start(self, Timer.RING, now + self.core.config.ring_timeout)
            assert self.number is not None  # a fork that nobody wants is never CONFIRMED here
            self.core.events.append(Reinvited(self.number, request))

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

    # ------------------------------------------------------------------ what transactions tell

    def acknowledged(self, transaction: Any, ack: Any, now: float) -> None:
        """An ACK with the INVITE's own branch; old clients send such."""
        self.receive_ack(ack, now)

    def confirmed(self, transaction: Any, now: float) -> None:
        """Our refusal of a re-INVITE was acknowledged."""
        if transaction is self._reinvited_by:
            self._reinvited_by = None
            self._send_deferred(now)

    def transaction_ended(self, transaction: Any, now: float) -> None:
        """A refused re-INVITE is over, or our BYE."""
        self.confirmed(transaction, now)
        if self.state is SessionState.SAYING_BYE and not isinstance(transaction, ServerTransaction):
            self._forget()

    def response_received(self, transaction: Any, response: Any, now: float) -> None:
        """Our BYE was answered, in whatever way."""
        if response.status >= 200:
            self._forget()

    def ack_timed_out(self, now: float) -> None:
        """Nobody acknowledged our 2xx for 64*T1 (section 13.3.1.4)."""
        self._acceptance = None
        if self.state is SessionState.LEAVING:
            self._leave_at_last(now)
        else:
            self.lose(now, "ack-timeout")

    def offer_pending(self, dialog: Dialog) -> Side | None:
        """Tell whose offer in an INVITE, or in an answer to one, is still open."""
        if self._reinviting is not None and self._reinviting.in_progress:
            return Side.LOCAL
        if self._acceptance is not None and self._acceptance.offers:
            return Side.LOCAL
        if self._reinvite is not None or self.unacknowledged is not None:
            return Side.REMOTE
        return None

    def timer_of(self, dialog: Dialog) -> SessionTimer | None:
        """Return the session timer."""
        return self.timer if self.state is SessionState.CONFIRMED else None

    def expire(self, now: float) -> None:
        """Leave a session that nobody refreshed (RFC 4028 section 10)."""
        reason = ("Reason", 'SIP;cause=408;text="Session timer expired"')
        self.lose(now, "session-expired", (reason,))

    def reinvite_answered(self, event: ReinviteAnswered, now: float) -> None:
        """Our re-INVITE has its final answer."""
        self._reinviting = None
        self.core.events.append(event)
        if event.status in (408, 481):
            self.lose(now, "dialog-lost")

    def lose(self, now: float, cause: str, headers: Iterable[Header] = ()) -> None:
        """End a session that the peer seems to have left (section 12.2.1.2)."""
        if self.state is SessionState.CONFIRMED:
            self._finish(now, cause)
            self._stop_accepting()
            self.say_bye(now, headers)

    # ------------------------------------------------------------------ endings

    def _finish(self, now: float, cause: str, bye: Request | None = None) -> None:
        """End what the user knows of; transactions under way end by themselves."""
        if self.number is not None:
            self.core.calls.pop(self.number, None)
            reason = bye.headers.get("Reason") if bye is not None else None
            self.core.events.append(Ended(self.number, cause, reason, bye))
        self._deferred = None
        self.timer.stop()
        self.dialog.exchange.abandon(now)
        self._end_reinvite(487, now)
        if self._reinviting is not None:
            self._reinviting.abandon(now)
            self._reinviting = None
        if self.unacknowledged is not None:
            # Without an ACK the peer would repeat its 2xx for 64*T1.
            self.unacknowledged.send()
            self.unacknowledged = None

    def _end_reinvite(self, status: int, now: float) -> None:
        request, transaction = self._reinvite, self._reinvited_by
        self._stop_waiting_for_answer()
        if request is not None and transaction is not None:
            self._reinvite = None
            transaction.respond(status, respond(request, status).to_bytes(), now)

    def _stop_accepting(self) -> None:
        if self._acceptance is not None:
            self._acceptance.stop()
            self._acceptance = None

    def _stop_waiting_for_answer(self) -> None:
        self.core.timers.stop(self, Timer.RING)

    def _leave_at_last(self, now: float) -> None:
        headers = self._deferred[1] if self._deferred is not None else ()
        self._deferred = None
        self.say_bye(now, headers)

    def _send_deferred(self, now: float) -> None:
        if self._deferred is not None and self.state is SessionState.CONFIRMED:
            (body, headers), self._deferred = self._deferred, None
            self.reinvite(body, now, headers)

    def _forget(self) -> None:
        self.state = SessionState.OVER
        if self._accepted is not None:
            self._accepted.user = NOBODY  # it lingers for 64*T1 and must not keep us alive
            self._accepted = None
        if self.core.dialogs.get(self.dialog.id) is self:
            del self.core.dialogs[self.dialog.id]
