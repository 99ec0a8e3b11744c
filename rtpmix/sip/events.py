"""What the user agent tells its user: frozen facts, drained with `UserAgent.next_event`.

``call`` is the number that the user agent gave an INVITE session, ``request`` the number of a
request outside the INVITE machinery that waits for `UserAgent.respond`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from .flow import Address, Flow
from .message import Request, Response


@dataclass(frozen=True, slots=True)
class Event:
    """Something happened."""


@dataclass(frozen=True, slots=True)
class Invited(Event):
    """A new INVITE outside a dialog; 100 Trying has been sent. Use ring, accept or reject."""

    call: int
    request: Request
    flow: Flow


@dataclass(frozen=True, slots=True)
class Cancelled(Event):
    """An incoming call is over before our final response: the final response has been sent.

    The caller sent CANCEL or BYE, its Expires ran out (487), or nobody answered here within the
    ring timeout (480, with `timed_out`).
    """

    call: int
    reason: str | None = None  # the CANCEL's Reason header, RFC 3326
    timed_out: bool = False


@dataclass(frozen=True, slots=True)
class Acked(Event):
    """The ACK for our 2xx arrived; its body is the answer when our 2xx carried the offer."""

    call: int
    body: bytes
    content_type: str | None


@dataclass(frozen=True, slots=True)
class Progressed(Event):
    """A provisional response above 100 to our INVITE (one early dialog per `tag`)."""

    call: int
    response: Response
    tag: str | None
    needs_prack: bool = False  # answer its offer, or make one, with `UserAgent.prack`


@dataclass(frozen=True, slots=True)
class Answered(Event):
    """The first 2xx to our INVITE. ACK has been sent unless `needs_ack` (late offer)."""

    call: int
    response: Response
    flow: Flow
    needs_ack: bool = False


@dataclass(frozen=True, slots=True)
class Failed(Event):
    """Our INVITE ended without a dialog: a 3xx-6xx, 408 (timer B) or 503 (transport)."""

    call: int
    status: int
    reason: str
    response: Response | None = None  # None where the status was made up here


@dataclass(frozen=True, slots=True)
class Reinvited(Event):
    """A re-INVITE; answer it with `UserAgent.answer_reinvite`. An empty body asks for an offer."""

    call: int
    request: Request


@dataclass(frozen=True, slots=True)
class ReinviteCancelled(Event):
    """The re-INVITE of the last `Reinvited` needs no answer any more; 487 has been sent."""

    call: int


@dataclass(frozen=True, slots=True)
class ReinviteAnswered(Event):
    """Our re-INVITE was answered; after a failure the old session stands (RFC 3261 14.1)."""

    call: int
    status: int
    reason: str
    response: Response | None = None
    needs_ack: bool = False  # our re-INVITE had no body: answer the offer with `UserAgent.ack`


@dataclass(frozen=True, slots=True)
class Pracked(Event):
    """The PRACK for a reliable provisional response of ours; its body is the answer to an offer."""

    call: int
    request: Request


@dataclass(frozen=True, slots=True)
class Offered(Event):
    """An UPDATE or a PRACK with an offer; answer it with `UserAgent.answer_offer`, at once."""

    call: int
    request: Request


@dataclass(frozen=True, slots=True)
class Identified(Event):
    """An UPDATE without an offer says who the peer is now (RFC 4916); it has been answered."""

    call: int
    request: Request


@dataclass(frozen=True, slots=True)
class OfferAnswered(Event):
    """Our UPDATE, or the offer in our PRACK, was answered; after a failure the old session stands.

    408 and 503 without a `response` were made up here.
    """

    call: int
    method: str  # "UPDATE" or "PRACK"
    status: int
    reason: str
    response: Response | None = None


@dataclass(frozen=True, slots=True)
class RefreshDue(Event):
    """The session timer wants a re-INVITE, as the peer takes no UPDATE (RFC 4028 section 7.4).

    Use `UserAgent.reinvite` with an offer that changes nothing.
    """

    call: int


@dataclass(frozen=True, slots=True)
class Ended(Event):
    """A confirmed dialog is over. Sent once; the call number is then unknown.

    `cause` is one of: "remote-bye", "local-bye", "ack-timeout" (no ACK within 64*T1; BYE sent),
    "prack-timeout" (a provisional response that `accept` waited for was never acknowledged),
    "cancelled" (CANCEL came while `accept` waited for that), "session-expired" (RFC 4028),
    "dialog-lost" (481 or 408 to a request in the dialog), "transport".
    """

    call: int
    cause: str
    reason: str | None = None  # the Reason header as received, RFC 3326
    bye: Request | None = None  # where the peer sent one


@dataclass(frozen=True, slots=True)
class Requested(Event):
    """A request that the user of the agent must answer with `UserAgent.respond`."""

    request: int
    message: Request
    flow: Flow
    call: int | None = None  # set for a request in a dialog (INFO, MESSAGE ...)


@dataclass(frozen=True, slots=True)
class Responded(Event):
    """The final response to a request sent with `UserAgent.request` (408 or 503 made up here)."""

    request: int
    status: int
    reason: str
    response: Response | None = field(default=None)


@dataclass(frozen=True, slots=True)
class SubscriptionRefreshed(Event):
    """A watcher wants the state again: `Notifier.notify`, or `Notifier.end` when it is `over`."""

    subscription: int
    over: bool = False


@dataclass(frozen=True, slots=True)
class SubscriptionEnded(Event):
    """A subscription is gone; `cause` is empty unless the watcher could not be told."""

    subscription: int
    cause: str = ""


@dataclass(frozen=True, slots=True)
class AliasOffered(Event):
    """A client offers its connection for requests to ``address`` (RFC 5923).

    Take that only for names that its certificate proves.
    """

    flow: Flow
    address: Address


@dataclass(frozen=True, slots=True)
class StreamBroken(Event):
    """A connection on which messages can't be told apart any more: send what is out, close it."""

    flow: Flow
