"""An outgoing call until it is answered: the UAC side of an INVITE (RFC 3261 section 13.2)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..errors import UsageError
from .acknowledgement import Acknowledgement, ack_for_failure, cancel_for
from .authentication import Attempts, Authentication, add_credentials, once_more
from .core import Core, Header, Timer
from .dialog import Dialog
from .events import Answered, Failed, Progressed
from .exchange import Side
from .flow import Flow
from .message import REASONS, Request, Response
from .pending import PendingRequest
from .refusal import options_answer
from .reliable import Acknowledger, rseq_of
from .session import Session
from .session_id import SessionId
from .session_timer import FLOOR, SessionTimer, min_se_of
from .timers import SIXTY_FOUR_T1
from .transaction import NOBODY, Input, Transaction, TransactionUser
from .update import receive_update

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
        "_min_se",
        "_outcome",
        "_request",
        "_transaction",
        "core",
        "manual_prack",
        "number",
        "over",
        "session",
    )

    def __init__(self, core: Core, authentication: Authentication | None = None) -> None:
        self.core = core
        self._authentication = authentication
        self._attempts = Attempts()
        self.number = core.next_number()
        core.calls[self.number] = self
        self.session: SessionId | None = None
        self.manual_prack = False  # every PRACK is left to the user
        self.over = False  # the user knows how it ended
        self._early: dict[str, Acknowledger] = {}  # by remote tag
        self._min_se = FLOOR
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

    @property
    def is_heard_of(self) -> bool:
        """True once a response came."""
        return self._heard_of

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
            self._fail(response.status, response.reason, now, response)

    def _try_again(self, response: Response, now: float) -> bool:
        """Send the INVITE once more if the response says how (section 8.1.3.5)."""
        authentication = self._authentication
        if self.over or self._outcome is not None:
            return False
        longer = response.status == 422 and self._lengthen(response)
        known = authentication is not None and authentication.learn(response, self._attempts)
        if not longer and not known:
            return False
        transaction, flow = self._transaction, self._transaction.flow
        transaction.user = NOBODY  # its end is not the end of the call
        self._drop_early_dialogs(now)
        self._heard_of = False
        request, branch = once_more(self.core, self._request, flow)
        if authentication is not None:
            add_credentials(request, authentication)
        if longer:
            seconds = max(self.core.config.session_expires, self._min_se)
            request.headers.set("Session-Expires", str(seconds))
            request.headers.set("Min-SE", str(self._min_se))
        self._send(request, branch, flow, now)
        return True

    def _lengthen(self, response: Response) -> bool:
        """Take a 422 whose Min-SE is one that was not tried yet (RFC 4028 section 7.3)."""
        wanted = min_se_of(response)
        if "Session-Expires" not in self._request.headers or wanted <= self._min_se:
            return False
        self._min_se = wanted
        return True

    def timed_out(self, transaction: Any, now: float) -> None:
        """Timer B: a 408 of our own (section 13.2.2)."""
        self._fail(*(self._outcome or (408, REASONS[408])), now)

    def transport_failed(self, transaction: Any, now: float) -> None:
        """Nothing could be sent: a 503 of our own (section 8.1.3.1)."""
        self._fail(503, REASONS[503], now)

    def transaction_ended(self, transaction: Any, now: float) -> None:
        """No more responses can come: early dialogs are over (section 13.2.2.4)."""
        self._drop_early_dialogs(now)

    def receive_request(self, request: Request, flow: Flow, now: float) -> None:
        """Take a request in an early dialog."""
        core = self.core
        early = self._early.get(request.from_.tag or "")
        dialog = early.dialog if early is not None else None
        # A callee may not send BYE here (section 15); an INVITE would meet our own (section 14.2).
        status = {"BYE": 481, "INVITE": 491, "OPTIONS": 200}.get(request.method)
        if self.over or dialog is None:
            core.refuse(request, flow, 481)
        elif not dialog.accepts_sequence(request.cseq.number):
            core.refuse(request, flow, 500, headers=[("Retry-After", "1")])
        elif status is not None:
            headers = options_answer(core, flow) if status == 200 else ()
            core.refuse(request, flow, status, headers=headers)
        elif request.method == "UPDATE":
            receive_update(self, dialog, request, flow, now)
        else:
            PendingRequest(core, request, flow, self.number, now)

    def receive_ack(self, ack: Request, now: float) -> None:
        """Ignore an ACK: nobody's INVITE has been accepted here."""

    def timer_fired(self, name: Timer, now: float) -> None:
        """Nobody answers: cancel; after CANCEL, stop waiting for the 487 too (section 9.1)."""
        if name is Timer.RING:
            self._cancel(now, (408, REASONS[408]), ())
        else:
            self._fail(*(self._outcome or (408, REASONS[408])), now)
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
            self._early[tag] = Acknowledger(dialog)
            self.core.dialogs[dialog.id] = self
        early = self._early.get(tag or "")
        rseq = rseq_of(response) if self.core.config.reliable != "off" else None
        if early is None or rseq is None:
            self.core.events.append(Progressed(self.number, response, tag))
        elif early.is_next(rseq):
            self._acknowledge(early, response, tag, now)

    def _acknowledge(
        self, early: Acknowledger, response: Response, tag: str | None, now: float
    ) -> None:
        """Send the PRACK for a reliable response, unless the user has something to say in it."""
        exchange = early.dialog.exchange
        late_offer = bool(response.body) and not self._request.body and not exchange.established
        if response.body:
            exchange.established = True
        by_hand = late_offer or self.manual_prack
        if by_hand:
            early.wait(response)
        else:
            early.send(self.core, response, self.number, b"", now)
        self.core.events.append(Progressed(self.number, response, tag, by_hand))

    def prack(self, now: float, body: bytes, tag: str | None = None) -> None:
        """Send the PRACK that `Progressed` asked for."""
        waiting = [early for early in self._early.values() if early.waits]
        if tag is not None:
            waiting = [early for early in waiting if early.dialog.id[2] == tag]
        if not waiting:
            raise UsageError(
                f"call {self.number} waits for no PRACK: go by Progressed with needs_prack"
            )
        waiting[-1].send(self.core, None, self.number, body, now)

    def dialog_for(self, tag: str | None = None) -> Dialog:
        """Return the early dialog of a tag; without one, the latest whose offer is answered."""
        dialogs = [early.dialog for early in self._early.values()]
        if tag is not None:
            dialogs = [dialog for dialog in dialogs if dialog.id[2] == tag]
        settled = [dialog for dialog in dialogs if dialog.exchange.established]
        if not dialogs:
            raise UsageError(f"call {self.number} has no early dialog: wait for Progressed")
        return (settled or dialogs)[-1]

    @property
    def dialogs(self) -> list[Dialog]:
        """The early dialogs."""
        return [early.dialog for early in self._early.values()]

    def offer_pending(self, dialog: Dialog) -> Side | None:
        """Tell whose offer is open: ours until a reliable response answered it."""
        early = self._early.get(dialog.id[2])
        if early is not None and early.waits and not self._request.body:
            return Side.REMOTE
        return None if dialog.exchange.established else Side.LOCAL

    def timer_of(self, dialog: Dialog) -> SessionTimer | None:
        """Return None: a session begins with its 2xx."""
        return None

    def lose(self, now: float, cause: str) -> None:
        """Go on: what ends an early dialog is the final response to its INVITE."""

    def _new_dialog(self, response: Response) -> Dialog:
        dialog = Dialog.from_response(self._request, response, self._transaction.flow)
        dialog.authentication = self._authentication
        if self.session is not None:
            dialog.session = self.session.for_fork()
            dialog.session.learn(response)
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
        early = self._early.pop(tag, None)
        if early is None:
            dialog = self._new_dialog(response)
        else:
            dialog = early.dialog
            dialog.confirm(response, self._transaction.flow)
        acknowledgement = Acknowledgement(self.core, dialog, self._request)
        self._acknowledgements[tag] = acknowledgement
        if self.over or self._outcome is not None:
            # Another fork, or a 200 that crossed our CANCEL: take it, then leave it.
            session = Session(self.core, None, dialog)
            acknowledgement.send()
            session.say_bye(now, self._cancel_headers)
            self._fail(*(self._outcome or (487, REASONS[487])), now)
            return
        self._finish()
        session = Session(self.core, self.number, dialog)
        session.timer.accepted(response, now)
        late_offer = not self._request.body and not dialog.exchange.established
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

    def _fail(self, status: int, reason: str, now: float, response: Response | None = None) -> None:
        if self.over:
            return
        self._finish()
        self._drop_early_dialogs(now)
        self.core.calls.pop(self.number, None)
        self.core.events.append(Failed(self.number, status, reason, response))

    def _finish(self) -> None:
        self.over = True
        self.core.timers.stop(self, Timer.RING)
        self.core.timers.stop(self, Timer.GIVE_UP)

    def _drop_early_dialogs(self, now: float) -> None:
        for dialog in self.dialogs:
            dialog.exchange.abandon(now)
            if self.core.dialogs.get(dialog.id) is self:
                del self.core.dialogs[dialog.id]
        self._early.clear()
