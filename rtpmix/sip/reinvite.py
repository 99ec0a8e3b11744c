"""Our own re-INVITE: its answer, its ACK, and meeting the peer's (RFC 3261 section 14.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .acknowledgement import Acknowledgement, ack_for_failure
from .authentication import Attempts
from .core import Header, Timer
from .events import ReinviteAnswered
from .exchange import glare_pause
from .flow import Flow
from .message import REASONS, Request, Response
from .timers import SIXTY_FOUR_T1, T1
from .transaction import Input, Transaction, TransactionUser

if TYPE_CHECKING:
    from .session import Session

MAX_ATTEMPTS = 6  # two agents that keep meeting are not drawing random times


class Reinvite(TransactionUser):
    """One re-INVITE, with the attempts that follow a 491."""

    __slots__ = (
        "_acknowledgement",
        "_attempts",
        "_authentications",
        "_body",
        "_core",
        "_dialog",
        "_headers",
        "_request",
        "_session",
        "_switched",
        "_transaction",
    )

    def __init__(self, session: Session, body: bytes, headers: tuple[Header, ...]) -> None:
        self._session: Session | None = session
        self._core = session.core
        self._dialog = session.dialog
        self._body = body
        self._headers = headers
        self._attempts = 0
        self._authentications = Attempts()
        self._request: Request | None = None
        self._transaction: Transaction | None = None
        self._switched = False  # to TCP, in place of UDP
        self._acknowledgement: Acknowledgement | None = None

    @property
    def in_progress(self) -> bool:
        """True while the INVITE waits for its final response; False between attempts."""
        return self._transaction is not None

    def send(self, now: float) -> None:
        """Send the re-INVITE as a new transaction."""
        core, dialog = self._core, self._dialog
        self._attempts += 1
        hop, sequence = core.next_hop(dialog), dialog.next_sequence()
        session = self._session
        refresh = session.timer.request_headers() if session is not None else ()
        contact = core.contact(hop, secure=dialog.secure)

        def over(flow: Flow) -> tuple[Request, str, Flow]:
            branch = core.new_branch()
            request = core.dialog_request(
                dialog,
                "INVITE",
                branch,
                flow,
                sequence=sequence,
                headers=(contact, *core.capabilities, *refresh, *self._headers),
                body=self._body,
                content_type="application/sdp" if self._body else None,
            )
            return request, branch, flow

        (request, branch, flow), self._switched = core.fitting(dialog, hop, over)
        self._request = request
        core.timers.start(self, Timer.GIVE_UP, now + core.config.ring_timeout)
        self._transaction = core.layer.send_request(
            request, branch, flow, self, now, lambda response: ack_for_failure(request, response)
        )

    def abandon(self, now: float) -> None:
        """Let the transaction end by itself: its session is over."""
        self._session = None
        self._core.timers.stop(self, Timer.RETRY)
        if self._transaction is not None:
            self._core.timers.start(self, Timer.GIVE_UP, now + SIXTY_FOUR_T1)

    def timer_fired(self, name: Timer, now: float) -> None:
        """Try once more after a 491, or stop waiting."""
        if name is Timer.RETRY:
            if self._session is not None and self._session.has_invite_from_peer:
                self._core.timers.start(self, Timer.RETRY, now + T1)
            else:
                self.send(now)
        elif self._transaction is not None:
            transaction, self._transaction = self._transaction, None
            transaction.handle(Input.TU_GIVES_UP, now)
            self._done(408, REASONS[408], None, now)

    def response_received(self, transaction: Any, response: Response, now: float) -> None:
        """Take a response; every copy of a 2xx is acknowledged."""
        if response.status < 200:
            return
        if self._acknowledgement is not None:
            self._acknowledgement.repeat()
            return
        self._transaction = None
        self._core.timers.stop(self, Timer.GIVE_UP)
        if response.status < 300:
            self._accepted(transaction, response, now)
        elif self._answers_challenge(response) or self._may_lengthen(response):
            self.send(now)
        elif response.status == 491 and self._may_retry():
            self._core.timers.start(self, Timer.RETRY, now + self._back_off())
        else:
            self._done(response.status, response.reason, response, now)

    def timed_out(self, transaction: Any, now: float) -> None:
        """Timer B: a 408 of our own (section 12.2.1.2)."""
        self._stop_transaction()
        self._done(408, REASONS[408], None, now)

    def transport_failed(self, transaction: Any, now: float) -> None:
        """Nothing could be sent: a 503 of our own (section 8.1.3.1)."""
        if transaction is not self._transaction:  # only the ACK of a failure was lost
            return
        self._stop_transaction()
        if self._switched:
            self._dialog.datagrams_only = True
            self.send(now)
            return
        session = self._session
        self._done(503, REASONS[503], None, now)
        if session is not None:
            session.lose(now, "transport")

    def _accepted(self, transaction: Any, response: Response, now: float) -> None:
        assert self._request is not None
        session = self._session
        self._dialog.refresh_target(response)
        if not self._switched:
            self._dialog.heard = transaction.flow
        self._acknowledgement = Acknowledgement(self._core, self._dialog, self._request)
        if self._body or session is None:  # BYE may have crossed; the peer still wants its ACK
            self._acknowledgement.send()
        else:
            session.unacknowledged = self._acknowledgement
        self._done(response.status, response.reason, response, now)

    def _done(self, status: int, reason: str, response: Response | None, now: float) -> None:
        session, self._session = self._session, None
        if session is not None:
            session.timer.refreshed(response, status, now)
        if session is not None and session.number is not None:
            late_offer = 200 <= status < 300 and not self._body
            session.reinvite_answered(
                ReinviteAnswered(session.number, status, reason, response, late_offer), now
            )

    def _stop_transaction(self) -> None:
        self._transaction = None
        self._core.timers.stop(self, Timer.GIVE_UP)

    def _answers_challenge(self, response: Response) -> bool:
        authentication = self._dialog.authentication
        if self._session is None or authentication is None:
            return False
        return authentication.learn(response, self._authentications)

    def _may_lengthen(self, response: Response) -> bool:
        session = self._session
        if response.status != 422 or session is None:
            return False
        return self._may_retry() and session.timer.lengthen(response)

    def _may_retry(self) -> bool:
        return self._session is not None and self._attempts < MAX_ATTEMPTS

    def _back_off(self) -> float:
        return glare_pause(self._dialog.created_call_id, self._core.random)
