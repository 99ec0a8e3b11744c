"""An outgoing call until it is answered: the UAC side of an INVITE (RFC 3261 section 13.2)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .authentication import Attempts, Authentication, add_credentials, once_more
from .core import Acknowledgement, Core, Header, Timer, ack_for_failure, cancel_for
from .dialog import Dialog
from .events import Answered, Failed, Progressed
from .flow import Flow
from .message import REASONS, Request, Response
from .pending import PendingRequest
from .refusal import options_answer
from .session import Session
from .timers import SIXTY_FOUR_T1
from .transaction import NOBODY, Input, Transaction, TransactionUser

# Dialogs that one INVITE may make: a proxy forks to a person's telephones, not to a town's.
MAX_FORKS = 32


class OutgoingCall(TransactionUser):
    """An INVITE of ours, and what its 2xx responses become.

    It lives as long as its transaction: after the first 2xx it acknowledges the copies of that
    2xx, and those of other forks, until timer M ends it (RFC 6026).
    """

    __slots__ = (
        "_acknowledgements",
        "_attempts",
        "_authentication",
        "_cancel_headers",
        "_cancel_sent",
        "_early",
        "_heard_of",
        "_outcome",
        "_request",
        "_transaction",
        "core",
        "number",
        "over",
    )

    def __init__(self, core: Core, authentication: Authentication | None = None) -> None:
        self.core = core
        self._authentication = authentication
        self._attempts = Attempts()
        self.number = core.next_number()
        core.calls[self.number] = self
        self.over = False  # the user knows how it ended
        self._early: dict[str, Dialog] = {}  # by remote tag
        self._acknowledgements: dict[str, Acknowledgement] = {}  # by remote tag
        self._heard_of = False  # a provisional response came, so that CANCEL may go
        self._outcome: tuple[int, str] | None = None  # what it ends with once it is cancelled
        self._cancel_headers: tuple[Header, ...] = ()
        self._cancel_sent = False

    def start(self, request: Request, branch: str, flow: Flow, now: float) -> None:
        """Send the INVITE."""
        self.core.timers.start(self, Timer.RING, now + self.core.config.ring_timeout)
        self._send(request, branch, flow, now)

    def _send(self, request: Request, branch: str, flow: Flow, now: float) -> None:
        self._request = request
        self._transaction: Transaction = self.core.layer.send_request(
            request, branch, flow, self, now, lambda response: ack_for_failure(request, response)
        )

    # ------------------------------------------------------------------ what the user does

    def cancel(self, now: float, headers: Iterable[Header] = ()) -> None:
        """Give up: CANCEL once there was a provisional response (section 9.1)."""
        self._cancel(now, (487, REASONS[487]), headers)

    def hang_up(self, now: float, headers: Iterable[Header] = ()) -> None:
        """Cancel."""
        self.cancel(now, headers)

    # ------------------------------------------------------------------ what the peer does

    def response_received(self, transaction: Any, response: Response, now: float) -> None:
        """Take a response to the INVITE."""
        if response.status < 200:
            self._progress(response, now)
        elif response.status < 300:
            self._accepted(response, now)
        elif not self._try_again(response, now):
            self._fail(response.status, response.reason, response)

    def _try_again(self, response: Response, now: float) -> bool:
        """Send the INVITE once more if the response says how (section 8.1.3.5)."""
        authentication = self._authentication
        if self.over or self._outcome is not None or authentication is None:
            return False
        if not authentication.learn(response, self._attempts):
            return False
        transaction, flow = self._transaction, self._transaction.flow
        transaction.user = NOBODY  # its end is not the end of the call
        self._drop_early_dialogs()
        self._heard_of = False
        request, branch = once_more(self.core, self._request, flow)
        add_credentials(request, authentication)
        self._send(request, branch, flow, now)
        return True

    def timed_out(self, transaction: Any, now: float) -> None:
        """Timer B: a 408 of our own (section 13.2.2)."""
        self._fail(*(self._outcome or (408, REASONS[408])))

    def transport_failed(self, transaction: Any, now: float) -> None:
        """Nothing could be sent: a 503 of our own (section 8.1.3.1)."""
        self._fail(503, REASONS[503])

    def transaction_ended(self, transaction: Any, now: float) -> None:
        """No more responses can come: early dialogs are over (section 13.2.2.4)."""
        self._drop_early_dialogs()

    def receive_request(self, request: Request, flow: Flow, now: float) -> None:
        """Take a request in an early dialog."""
        core = self.core
        dialog = self._early.get(request.from_.tag or "")
        # A callee may not send BYE here (section 15); an INVITE would meet our own (section 14.2).
        status = {"BYE": 481, "INVITE": 491, "OPTIONS": 200}.get(request.method)
        if self.over or dialog is None:
            core.refuse(request, flow, 481)
        elif not dialog.accepts_sequence(request.cseq.number):
            core.refuse(request, flow, 500, headers=[("Retry-After", "1")])
        elif status is not None:
            headers = options_answer(core, flow) if status == 200 else ()
            core.refuse(request, flow, status, headers=headers)
        else:
            PendingRequest(core, request, flow, self.number, now)

    def receive_ack(self, ack: Request, now: float) -> None:
        """Ignore an ACK: nobody's INVITE has been accepted here."""

    def timer_fired(self, name: Timer, now: float) -> None:
        """Nobody answers: cancel; after CANCEL, stop waiting for the 487 too (section 9.1)."""
        if name is Timer.RING:
            self._cancel(now, (408, REASONS[408]), ())
        else:
            self._fail(*(self._outcome or (408, REASONS[408])))
            self._transaction.handle(Input.TU_GIVES_UP, now)

    # ------------------------------------------------------------------

    def _progress(self, response: Response, now: float) -> None:
        self._heard_of = True
        if self._outcome is not None:
            self._send_cancel(now)
            return
        if response.status == 100:
            return
        tag = response.to.tag
        if tag is not None and tag not in self._early and len(self._early) < MAX_FORKS:
            dialog = self._new_dialog(response)
            self._early[tag] = dialog
            self.core.dialogs[dialog.id] = self
        self.core.events.append(Progressed(self.number, response, tag))

    def _new_dialog(self, response: Response) -> Dialog:
        dialog = Dialog.from_response(self._request, response, self._transaction.flow)
        dialog.authentication = self._authentication
        return dialog

    def _accepted(self, response: Response, now: float) -> None:
        tag = response.to.tag or ""
        known = self._acknowledgements.get(tag)
        if known is not None:
            known.repeat()
            return
        if len(self._acknowledgements) >= MAX_FORKS:
            self.core.counters["forks_ignored"] += 1
            return
        dialog = self._early.pop(tag, None)
        if dialog is None:
            dialog = self._new_dialog(response)
        else:
            dialog.confirm(response, self._transaction.flow)
        acknowledgement = Acknowledgement(self.core, dialog, self._request)
        self._acknowledgements[tag] = acknowledgement
        if self.over or self._outcome is not None:
            # Another fork, or a 200 that crossed our CANCEL: take it, then leave it.
            session = Session(self.core, None, dialog)
            acknowledgement.send()
            session.say_bye(now, self._cancel_headers)
            self._fail(*(self._outcome or (487, REASONS[487])))
            return
        self._finish()
        session = Session(self.core, self.number, dialog)
        late_offer = not self._request.body
        if late_offer:
            session.unacknowledged = acknowledgement
        else:
            acknowledgement.send()
        flow = self._transaction.flow
        self.core.events.append(Answered(self.number, response, flow, late_offer))

    def _cancel(self, now: float, outcome: tuple[int, str], headers: Iterable[Header]) -> None:
        if self._outcome is not None:
            return
        self._outcome = outcome
        self._cancel_headers = tuple(headers)
        self.core.timers.stop(self, Timer.RING)
        if self._heard_of:
            self._send_cancel(now)

    def _send_cancel(self, now: float) -> None:
        if self._cancel_sent:
            return
        self._cancel_sent = True
        branch = self._request.via.branch or ""
        self.core.layer.send_request(
            cancel_for(self._request, self._cancel_headers),
            branch,
            self._transaction.flow,
            NOBODY,
            now,
        )
        self.core.timers.start(self, Timer.GIVE_UP, now + SIXTY_FOUR_T1)

    def _fail(self, status: int, reason: str, response: Response | None = None) -> None:
        if self.over:
            return
        self._finish()
        self._drop_early_dialogs()
        self.core.calls.pop(self.number, None)
        self.core.events.append(Failed(self.number, status, reason, response))

    def _finish(self) -> None:
        self.over = True
        self.core.timers.stop(self, Timer.RING)
        self.core.timers.stop(self, Timer.GIVE_UP)

    def _drop_early_dialogs(self) -> None:
        for dialog in self._early.values():
            if self.core.dialogs.get(dialog.id) is self:
                del self.core.dialogs[dialog.id]
        self._early.clear()
