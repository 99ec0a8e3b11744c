"""Subscriptions that peers have to states of ours, and the NOTIFYs that tell them.

Theory of operation
-------------------
The user of the agent decides who may watch what; the rules of RFC 6665 are kept here. A
subscription has at most one NOTIFY under way. A state that changes meanwhile waits, and only the
newest waits: a document is made when it is sent, with the version number that it then has.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import UsageError
from .core import Core, Header, Timer
from .dialog import Dialog, DialogId
from .events import Requested, SubscriptionEnded, SubscriptionRefreshed
from .flow import Flow
from .message import Request, Response, respond
from .pending import PendingRequest
from .refusal import Refusal
from .session import Session
from .subscribe import EventName, read_event, refusal_of_subscribe
from .transaction import TransactionUser

if TYPE_CHECKING:
    from .transaction import Transaction

Document = Callable[[int], bytes]
"""Makes the body of a NOTIFY from its version: 0 in the first, one more in each that follows."""

# RFC 6665 section 4.2.2: these end a subscription, as no answer at all does.
FATAL = frozenset((404, 405, 410, 416, 480, 481, 482, 483, 484, 485, 489, 501, 604, 408, 503))


@dataclass(frozen=True, slots=True)
class NotifierLimits:
    """How long a subscription may last, in seconds, and how many there may be."""

    min_expires: int = 60
    max_expires: int = 3600
    default_expires: int = 3600
    max_subscriptions: int = 10_000
    max_per_address: int = 500  # of the network: a desk with many lamps, not a flood


class Subscription(TransactionUser):
    """One watcher of one state."""

    __slots__ = (
        "_again",
        "_content_type",
        "_core",
        "_ending",
        "_in_flight",
        "_notifier",
        "_registered",
        "_version",
        "_waiting",
        "address",
        "dialog",
        "event",
        "expires_at",
        "number",
    )

    def __init__(
        self,
        notifier: Notifier,
        core: Core,
        dialog: Dialog,
        event: EventName,
        content_type: str,
        *,
        own_dialog: bool,
    ) -> None:
        self._notifier = notifier
        self._core = core
        self._content_type = content_type
        self._registered = own_dialog
        self.dialog = dialog
        self.event = event
        self.address = dialog.heard.remote[0]
        self.number = core.next_number()
        self.expires_at = 0.0
        self._version = 0
        self._in_flight = False
        self._again = False  # something is to be told after the NOTIFY that is under way
        self._waiting: Document | None = None
        self._ending: str | None = None  # the reason, once it is decided
        if own_dialog:
            core.dialogs[dialog.id] = self

    # ------------------------------------------------------------------ what the user does

    def extend(self, expires: int, now: float) -> None:
        """Let it last so many seconds from now."""
        self.expires_at = now + expires
        self._core.timers.start(self, Timer.EXPIRE, self.expires_at)

    def notify(self, document: Document | None, now: float) -> None:
        """Tell the state, after the NOTIFY that is under way."""
        if self._in_flight:
            self._again = True
            self._waiting = document if document is not None else self._waiting
        else:
            self._send(document, now)

    def end(self, reason: str, document: Document | None, now: float) -> None:
        """Tell for the last time."""
        if self._ending is None:
            self._ending = reason
            self._core.timers.stop(self, Timer.EXPIRE)
            self.notify(document, now)

    def _send(self, document: Document | None, now: float) -> None:
        self._in_flight = True
        body = document(self._version) if document is not None else b""
        self._version += document is not None
        if self._ending is not None:
            state = f"terminated;reason={self._ending}"
        else:
            state = f"active;expires={max(0, round(self.expires_at - now))}"
        headers = [
            ("Event", str(self.event)),
            ("Subscription-State", state),
        ]
        self._core.send_in_dialog(
            self.dialog,
            "NOTIFY",
            self,
            now,
            headers=headers,
            body=body,
            content_type=self._content_type if body else None,
        )

    # ------------------------------------------------------------------ what the peer does

    def receive_request(self, request: Request, flow: Flow, now: float) -> None:
        """Take a request in this subscription's own dialog: a refresh, or one that ends it."""
        core = self._core
        if not self.dialog.accepts_sequence(request.cseq.number):
            core.refuse(request, flow, 500, headers=[("Retry-After", "1")])
        elif request.method != "SUBSCRIBE":
            core.refuse(request, flow, 405, headers=[("Allow", "SUBSCRIBE, NOTIFY")])
        elif read_event(request) != self.event:
            core.refuse(request, flow, 481)
        else:
            self.dialog.heard = flow
            self.dialog.refresh_target(request)
            self._refresh(request, flow, now)

    def _refresh(self, request: Request, flow: Flow, now: float) -> None:
        status, headers, expires = self._notifier.refreshed(self, request, now)
        if expires is not None:
            headers = [*headers, self._core.contact(flow)]
        transaction = self._core.layer.accept_request(request, flow)
        transaction.respond(status, respond(request, status, headers=headers).to_bytes(), now)
        if expires is not None:
            self.apply_refresh(expires, now)

    def apply_refresh(self, expires: int, now: float) -> None:
        """Go on for so long, or end; either way the state is told again."""
        if expires:
            self.extend(expires, now)
        else:
            self._core.timers.stop(self, Timer.EXPIRE)
            self.expires_at = now
        self._core.events.append(SubscriptionRefreshed(self.number, over=not expires))

    def receive_ack(self, ack: Request, now: float) -> None:
        """Ignore an ACK."""

    # ------------------------------------------------------------------ what transactions tell

    def response_received(self, transaction: Transaction, response: Response, now: float) -> None:
        """Go on, or end where the watcher has gone (section 4.2.2)."""
        if response.status < 200:
            return
        self._in_flight = False
        if response.status in FATAL:
            self.forget(f"NOTIFY got {response.status}")
        elif self._again:
            document, self._waiting, self._again = self._waiting, None, False
            self._send(document, now)
        elif self._ending is not None:
            self.forget("")

    def timed_out(self, transaction: Any, now: float) -> None:
        """Timer F: the watcher is gone."""
        self.forget("NOTIFY got no answer")

    def transport_failed(self, transaction: Any, now: float) -> None:
        """Nothing could be sent."""
        self.forget("NOTIFY could not be sent")

    def timer_fired(self, name: Timer, now: float) -> None:
        """Nobody refreshed it (section 4.2.1.4)."""
        self.end("timeout", None, now)

    def forget(self, cause: str) -> None:
        """Be gone."""
        self._core.timers.stop(self, Timer.EXPIRE)
        if self._registered and self._core.dialogs.get(self.dialog.id) is self:
            del self._core.dialogs[self.dialog.id]
        self._notifier.forget(self)
        self._core.events.append(SubscriptionEnded(self.number, cause))


class Notifier:
    """All subscriptions of one user agent.

    References
    ----------
    RFC 6665 section 4.2; RFC 3515 section 2.4.4; RFC 7647
    """

    def __init__(self, core: Core, limits: NotifierLimits | None = None) -> None:
        self._core = core
        self.limits = limits or NotifierLimits()
        self._by_number: dict[int, Subscription] = {}
        self._in_calls: dict[tuple[DialogId, EventName], Subscription] = {}
        self._per_address: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._by_number)

    # ------------------------------------------------------------------ beginnings

    def refusal(self, requested: Requested, packages: Mapping[str, str]) -> Refusal | None:
        """Return why a SUBSCRIBE outside of any dialog is refused, or None.

        Parameters
        ----------
        packages
            The media type of each event package that there is to watch.
        """
        why = refusal_of_subscribe(requested.message, packages, self.limits.min_expires)
        return why or self._full(requested.flow)

    def accept(self, requested: Requested, content_type: str, now: float) -> int:
        """Answer a SUBSCRIBE with 200 and return the subscription's number; `notify` it at once.

        A fetch (``Expires: 0``) is answered alike; the one NOTIFY is then given by `end`.
        """
        event, pending = read_event(requested.message), self._pending(requested)
        if event is None or not requested.message.contacts:
            raise UsageError("this SUBSCRIBE can't be accepted: ask `refusal` first")
        expires = self._granted(requested.message)
        flow = requested.flow
        pending.respond(200, now, headers=[self._core.contact(flow), ("Expires", str(expires))])
        dialog = Dialog.from_request(requested.message, pending.local_tag, flow)
        subscription = Subscription(self, self._core, dialog, event, content_type, own_dialog=True)
        self._remember(subscription)
        if expires:
            subscription.extend(expires, now)
        return subscription.number

    def accept_refer(
        self, requested: Requested, content_type: str, expires: int, now: float
    ) -> int:
        """Answer a REFER with 202 and return the number of its subscription.

        In a call the subscription shares its dialog and outlives its BYE (RFC 5057); outside of
        any it has a dialog of its own.
        """
        if requested.call is None:
            return self._accept_outside(requested, content_type, expires, now)
        session = self._core.calls.get(requested.call or 0)
        if not isinstance(session, Session):
            raise UsageError("only a REFER in an answered call makes a subscription")
        dialog, pending = session.dialog, self._pending(requested)
        # Section 2.4.6 of RFC 3515: the first in a dialog may go without, and old phones want that.
        first = EventName("refer")
        numbered = EventName("refer", str(requested.message.cseq.number))
        event = numbered if session.referred else first
        session.referred = True
        pending.respond(202, now, headers=[self._core.contact(requested.flow)])
        subscription = Subscription(self, self._core, dialog, event, content_type, own_dialog=False)
        self._in_calls[dialog.id, event] = subscription
        if event == first:
            self._in_calls[dialog.id, numbered] = subscription
        self._remember(subscription)
        subscription.extend(expires, now)
        return subscription.number

    def _accept_outside(
        self, requested: Requested, content_type: str, expires: int, now: float
    ) -> int:
        """Take a REFER that makes a dialog (RFC 3515 section 2.4.4)."""
        if not requested.message.contacts:
            raise UsageError("this REFER has no Contact: refuse it with 400")
        pending, flow = self._pending(requested), requested.flow
        pending.respond(202, now, headers=[self._core.contact(flow)])
        dialog = Dialog.from_request(requested.message, pending.local_tag, flow)
        event = EventName("refer")
        subscription = Subscription(self, self._core, dialog, event, content_type, own_dialog=True)
        self._remember(subscription)
        subscription.extend(expires, now)
        return subscription.number

    def refusal_of_refer(self, requested: Requested) -> Refusal | None:
        """Return why a REFER outside of any call is refused, or None: it needs a Contact, and
        somebody may watch only so much."""
        if not requested.message.contacts:
            return Refusal(400, (), "Missing Contact")
        return self._full(requested.flow)

    def receive(self, requested: Requested, now: float) -> None:
        """Answer a SUBSCRIBE within a call: it can only be for the subscription of a REFER there.

        References
        ----------
        RFC 3515 section 2.4.4
        """
        pending, request = self._pending(requested), requested.message
        session, event = self._core.calls.get(requested.call or 0), read_event(request)
        found = None
        if isinstance(session, Session) and event is not None:
            found = self._in_calls.get((session.dialog.id, event))
        if found is None:
            pending.respond(403, now)
            return
        status, headers, expires = self.refreshed(found, request, now)
        pending.respond(status, now, headers=[*headers, self._core.contact(requested.flow)])
        if expires is not None:
            found.apply_refresh(expires, now)

    # ------------------------------------------------------------------ the user's commands

    def notify(self, number: int, document: Document, now: float) -> None:
        """Tell a watcher the state; nothing where the subscription has ended meanwhile."""
        subscription = self._by_number.get(number)
        if subscription is not None:
            subscription.notify(document, now)

    def end(self, number: int, reason: str, now: float, document: Document | None = None) -> None:
        """Tell a watcher for the last time.

        Parameters
        ----------
        reason
            Of RFC 6665 section 4.1.3: "noresource", "timeout", "rejected", "deactivated" ...
        """
        subscription = self._by_number.get(number)
        if subscription is not None:
            subscription.end(reason, document, now)

    # ------------------------------------------------------------------ inside

    def refreshed(
        self, subscription: Subscription, request: Request, now: float
    ) -> tuple[int, list[Header], int | None]:
        """Return status, headers and, where it is granted, the time of a refresh."""
        asked = request.expires
        if asked is not None and 0 < asked < self.limits.min_expires:
            return 423, [("Min-Expires", str(self.limits.min_expires))], None
        expires = self._granted(request)
        return 200, [("Expires", str(expires))], expires

    def forget(self, subscription: Subscription) -> None:
        """Let go of a subscription that has ended."""
        if self._by_number.pop(subscription.number, None) is None:
            return
        self._per_address[subscription.address] -= 1
        if not self._per_address[subscription.address]:
            del self._per_address[subscription.address]
        if subscription.event.package == "refer":
            mine = [key for key, value in self._in_calls.items() if value is subscription]
            for key in mine:
                del self._in_calls[key]

    def _remember(self, subscription: Subscription) -> None:
        self._by_number[subscription.number] = subscription
        self._per_address[subscription.address] += 1

    def _granted(self, request: Request) -> int:
        asked = request.expires
        limits = self.limits
        return limits.default_expires if asked is None else min(asked, limits.max_expires)

    def _full(self, flow: Flow) -> Refusal | None:
        crowded = self._per_address[flow.remote[0]] >= self.limits.max_per_address
        if crowded or len(self._by_number) >= self.limits.max_subscriptions:
            self._core.counters["subscriptions_refused"] += 1
            return Refusal(503, (("Retry-After", "60"),))
        return None

    def _pending(self, requested: Requested) -> PendingRequest:
        pending = self._core.requests.get(requested.request)
        if not isinstance(pending, PendingRequest):
            raise UsageError(f"request {requested.request} waits for no answer")
        return pending
