"""UPDATE (RFC 3311): a session or its timer changed without an INVITE, before or after the answer.

The same rules of who may offer when hold for an offer in a PRACK (RFC 3262 section 5).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Protocol

from ..errors import UsageError
from .core import Core, Header, Timer
from .dialog import Dialog
from .events import Identified, OfferAnswered, Offered
from .exchange import Side, glare_pause, retry_header
from .flow import Flow
from .identity import says_who
from .message import REASONS, Request, Response, respond
from .timers import T1
from .transaction import TransactionUser

if TYPE_CHECKING:
    from .session_timer import SessionTimer

# Section 5.2: an UPDATE is answered promptly, and one that has to ask a person gets 504. The
# client's own timer F ends after 32 seconds.
ANSWER_WITHIN = 16.0  # seconds
MAX_ATTEMPTS = 6
_LONGEST_PAUSE = 10  # seconds: more than that in a Retry-After is a refusal


class DialogOwner(Protocol):
    """An early dialog's call, or a `Session`."""

    core: Core
    number: Any

    def offer_pending(self, dialog: Dialog) -> Side | None:
        """Tell whose offer in an INVITE, or in an answer to one, is still open."""

    def timer_of(self, dialog: Dialog) -> SessionTimer | None:
        """Return the session timer that an UPDATE refreshes; an early dialog has none."""

    def lose(self, now: float, cause: str) -> None:
        """Learn that the peer does not know the dialog any more."""


class Update(TransactionUser):
    """An UPDATE of ours, with the attempts that follow a 491, or a 500 that says when.

    Parameters
    ----------
    told
        False for a refresh of the session timer, of which the user hears nothing.
    """

    __slots__ = (
        "_attempts",
        "_body",
        "_core",
        "_dialog",
        "_headers",
        "_in_progress",
        "_number",
        "_over",
        "following",
        "told",
    )

    def __init__(
        self,
        owner: DialogOwner,
        dialog: Dialog,
        body: bytes = b"",
        headers: Iterable[Header] = (),
        *,
        told: bool = True,
    ) -> None:
        self._core = owner.core
        self._number: int = owner.number
        self._dialog = dialog
        self._body = body
        self._headers = tuple(headers)
        self.told = told
        self.following: Update | None = None  # the user's, that came while we refreshed
        self._attempts = 0
        self._over = False
        self._in_progress = False

    @property
    def offers(self) -> bool:
        """True while our offer is open; False between attempts."""
        return bool(self._body) and self._in_progress

    def send(self, now: float) -> None:
        """Send the UPDATE as a new transaction."""
        core, dialog = self._core, self._dialog
        dialog.exchange.updating = self
        self._attempts += 1
        self._in_progress = True
        owner = self._owner()
        timer = owner.timer_of(dialog) if owner is not None else None
        refresh = timer.request_headers() if timer is not None else ()
        core.send_in_dialog(
            dialog,
            "UPDATE",
            self,
            now,
            headers=(
                core.contact(core.next_hop(dialog), secure=dialog.secure),
                *core.capabilities,
                *refresh,
                *self._headers,
            ),
            body=self._body,
            content_type="application/sdp" if self._body else None,
        )

    def abandon(self, now: float) -> None:
        """Let the transaction end by itself: the dialog is over."""
        self._over = True
        self._core.timers.stop(self, Timer.RETRY)

    def timer_fired(self, name: Timer, now: float) -> None:
        """Try once more, after what the peer has begun meanwhile."""
        owner = self._owner()
        if owner is None:
            return
        open_ = owner.offer_pending(self._dialog) is not None
        if self._body and (open_ or self._dialog.exchange.offered is not None):
            self._core.timers.start(self, Timer.RETRY, now + T1)
        else:
            self.send(now)

    def response_received(self, transaction: Any, response: Response, now: float) -> None:
        """Take the answer."""
        if response.status < 200 or self._over:
            return
        self._in_progress = False
        pause = self._pause(response)
        if pause is not None and self._attempts < MAX_ATTEMPTS:
            self._core.timers.start(self, Timer.RETRY, now + pause)
            return
        if response.status < 300:
            self._dialog.refresh_target(response)
        self._done(response.status, response.reason, response, now)

    def timed_out(self, transaction: Any, now: float) -> None:
        """Timer F: a 408 of our own."""
        if not self._over:
            self._done(408, REASONS[408], None, now)

    def transport_failed(self, transaction: Any, now: float) -> None:
        """Nothing could be sent: a 503 of our own."""
        if not self._over:
            self._done(503, REASONS[503], None, now)

    def _pause(self, response: Response) -> float | None:
        """Return the seconds before another attempt (section 5.3); None for none."""
        if response.status == 491:
            return glare_pause(self._dialog.created_call_id, self._core.random)
        if response.status == 422:
            timer = self._timer()
            return 0.0 if timer is not None and timer.lengthen(response) else None
        if response.status == 500:
            text = (response.headers.get("Retry-After") or "").split(";")[0].split("(")[0].strip()
            if text.isdecimal() and len(text) < 6 and int(text) <= _LONGEST_PAUSE:
                return float(text)
        return None

    def _done(self, status: int, reason: str, response: Response | None, now: float) -> None:
        self._over = True
        self._dialog.exchange.updating = None
        owner = self._owner()
        if owner is None:
            return
        timer = owner.timer_of(self._dialog)
        if timer is not None:
            timer.refreshed(response, status, now)
        if self.told:
            event = OfferAnswered(self._number, "UPDATE", status, reason, response)
            self._core.events.append(event)
        if status in (408, 481):
            owner.lose(now, "dialog-lost")
        elif response is None:
            owner.lose(now, "transport")
        elif self.following is not None:
            self.following.send(now)

    def _owner(self) -> DialogOwner | None:
        # Not the one that began it: an early dialog's call has become a session meanwhile.
        found: Any = self._core.dialogs.get(self._dialog.id)
        return found if found is not None and found.number == self._number else None

    def _timer(self) -> SessionTimer | None:
        owner = self._owner()
        return owner.timer_of(self._dialog) if owner is not None else None


class PendingOffer(TransactionUser):
    """The peer's UPDATE or PRACK with an offer, until the user has answered it."""

    __slots__ = ("_core", "_dialog", "_owner", "_request", "_transaction")

    def __init__(
        self, owner: DialogOwner, dialog: Dialog, request: Request, flow: Flow, now: float
    ) -> None:
        self._core = core = owner.core
        self._owner = owner
        self._dialog = dialog
        self._request = request
        self._transaction = core.layer.accept_request(request, flow)
        dialog.exchange.offered = self
        core.timers.start(self, Timer.GIVE_UP, now + ANSWER_WITHIN)
        core.events.append(Offered(owner.number, request))

    def answer(self, status: int, now: float, body: bytes, headers: Iterable[Header]) -> None:
        """Send the final response; what was offered stands only on 2xx."""
        if not 200 <= status <= 699:
            raise UsageError(f"{status} does not answer an offer: use 200 to 699")
        core, request, extra = self._core, self._request, tuple(headers)
        if status < 300:
            if not body:
                raise UsageError("a 2xx to an offer carries the answer: give its body")
            extra = (*_accepting(self._owner, self._dialog, request, now), *extra)
        content_type = "application/sdp" if body else None
        response = respond(request, status, headers=extra, body=body, content_type=content_type)
        self._forget()
        self._transaction.respond(status, response.to_bytes(), now)
        core.counters["offers_answered"] += 1

    def abandon(self, now: float) -> None:
        """Refuse it: the dialog is over (RFC 3261 section 15.1.2)."""
        self._refuse(487, now)

    def timer_fired(self, name: Timer, now: float) -> None:
        """Nobody answered."""
        self._refuse(504, now)

    def _refuse(self, status: int, now: float) -> None:
        self._forget()
        self._transaction.respond(status, respond(self._request, status).to_bytes(), now)

    def _forget(self) -> None:
        self._core.timers.stop(self, Timer.GIVE_UP)
        if self._dialog.exchange.offered is self:
            self._dialog.exchange.offered = None


def start_update(
    owner: DialogOwner, dialog: Dialog, body: bytes, headers: Iterable[Header], now: float
) -> None:
    """Send an UPDATE of the user's.

    Raises
    ------
    UsageError
        When the rules of section 5.1 do not allow it now.
    """
    exchange = dialog.exchange
    refreshing = exchange.updating
    waits = isinstance(refreshing, Update) and not refreshing.told and refreshing.following is None
    if refreshing is not None and not waits:
        raise UsageError(f"call {owner.number} has an UPDATE under way: wait for OfferAnswered")
    if body and (exchange.offered is not None or owner.offer_pending(dialog) is not None):
        raise UsageError(
            f"call {owner.number} has an offer that is not answered yet: wait for that"
        )
    if not dialog.allows_update:
        raise UsageError(f"the peer of call {owner.number} takes no UPDATE: use reinvite")
    update = Update(owner, dialog, body, headers)
    if isinstance(refreshing, Update):
        refreshing.following = update
    else:
        update.send(now)


def receive_update(
    owner: DialogOwner, dialog: Dialog, request: Request, flow: Flow, now: float
) -> None:
    """Take the peer's UPDATE.

    References
    ----------
    RFC 3311 section 5.2
    """
    core, exchange = owner.core, dialog.exchange
    if exchange.offered is not None:
        _answer(core, request, flow, 500, now, (retry_header(core.random),))
    elif not request.body:
        told = says_who(request, dialog.remote)
        _answer(core, request, flow, 200, now, _accepting(owner, dialog, request, now))
        if told:
            core.events.append(Identified(owner.number, request))
    elif request.content_type not in core.config.accept:
        _answer(core, request, flow, 415, now, (core.accept,))
    else:
        _take_offer(owner, dialog, request, flow, now)


def _take_offer(
    owner: DialogOwner, dialog: Dialog, request: Request, flow: Flow, now: float
) -> None:
    core, updating = owner.core, dialog.exchange.updating
    pending = owner.offer_pending(dialog)
    if pending is Side.LOCAL or (isinstance(updating, Update) and updating.offers):
        _answer(core, request, flow, 491, now)
    elif pending is Side.REMOTE:
        _answer(core, request, flow, 500, now, (retry_header(core.random),))
    else:
        PendingOffer(owner, dialog, request, flow, now)


def _accepting(
    owner: DialogOwner, dialog: Dialog, request: Request, now: float
) -> tuple[Header, ...]:
    """Take over what a request of the peer's changes by our 2xx; return the 2xx's headers."""
    core = owner.core
    if request.method != "UPDATE":
        return ()
    dialog.refresh_target(request)
    timer = owner.timer_of(dialog)
    refresh = timer.answer(request, now) if timer is not None else ()
    return (core.contact(dialog.heard, secure=dialog.secure), *core.capabilities, *refresh)


def _answer(
    core: Core,
    request: Request,
    flow: Flow,
    status: int,
    now: float,
    headers: Iterable[Header] = (),
) -> None:
    transaction = core.layer.accept_request(request, flow)
    transaction.respond(status, respond(request, status, headers=headers).to_bytes(), now)
