"""Provisional responses that arrive: 100rel and PRACK (RFC 3262), both roles.

A server repeats such a response until its PRACK comes, one response at a time; a client
acknowledges each one, and drops those that come out of order.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import UsageError
from .core import Core, Timer
from .events import OfferAnswered
from .message import REASONS, Request, Response
from .server_transaction import ServerTransaction
from .timers import SIXTY_FOUR_T1, T1
from .transaction import TransactionUser

if TYPE_CHECKING:
    from .dialog import Dialog

OPTION = "100rel"
MAX_WAITING = 16  # responses behind the one that waits for its PRACK
_FIRST_AT_MOST = 2**31 - 1  # section 3: the first RSeq
_MAX_RSEQ = 2**32 - 1
_RACK = re.compile(r"([0-9]{1,10})[ \t]+([0-9]{1,10})[ \t]+([^ \t]+)")
_RSEQ = re.compile(r"[0-9]{1,10}")


class Rack(NamedTuple):
    """The value of a RAck header (section 7.2)."""

    rseq: int
    cseq: int
    method: str

    @classmethod
    def of(cls, request: Request) -> Rack | None:
        """Read the header; None where it is absent or malformed."""
        match = _RACK.fullmatch((request.headers.get("RAck") or "").strip())
        return cls(int(match[1]), int(match[2]), match[3]) if match else None

    def __str__(self) -> str:
        return f"{self.rseq} {self.cseq} {self.method}"


def rseq_of(response: Response) -> int | None:
    """Return the RSeq of a provisional response that wants a PRACK, else None (section 4)."""
    if not 100 < response.status < 200 or OPTION not in response.require:
        return None
    text = (response.headers.get("RSeq") or "").strip()
    number = int(text) if _RSEQ.fullmatch(text) else 0
    return number if 0 < number <= _MAX_RSEQ else None


def takes_reliable(request: Request) -> bool:
    """Tell whether a caller can acknowledge provisional responses."""
    return OPTION in request.supported or OPTION in request.require


class Provisional(NamedTuple):
    """One response to send; ``build`` makes its bytes from the headers that make it reliable."""

    status: int
    build: Callable[[tuple[tuple[str, str], ...]], bytes]
    describes: bool  # it carries an offer or an answer


class ReliableProvisionals:
    """The reliable provisional responses to one INVITE.

    Parameters
    ----------
    gave_up
        Called when a response was not acknowledged for 64*T1.

    References
    ----------
    RFC 3262 section 3
    """

    __slots__ = ("_core", "_gave_up", "_interval", "_invite", "_rseq", "_transaction", "_waiting")

    def __init__(
        self,
        core: Core,
        invite: Request,
        transaction: ServerTransaction,
        gave_up: Callable[[float], None],
    ) -> None:
        self._core = core
        self._invite = invite
        self._transaction = transaction
        self._gave_up = gave_up
        self._rseq = core.random.randint(1, _FIRST_AT_MOST) - 1
        self._interval = T1
        self._waiting: deque[tuple[Provisional, bytes | None]] = deque()  # the first one is out

    @property
    def pending(self) -> bool:
        """True while a response waits for its PRACK."""
        return bool(self._waiting)

    @property
    def describes(self) -> bool:
        """True while an offer or an answer waits for its PRACK: a 2xx must wait too."""
        return any(provisional.describes for provisional, _ in self._waiting)

    def send(self, provisional: Provisional, now: float) -> None:
        """Send a response, or keep it until the one before is acknowledged."""
        if len(self._waiting) > MAX_WAITING:
            raise UsageError(
                f"{MAX_WAITING} responses wait for a PRACK already: send the next one after Pracked"
            )
        self._waiting.append((provisional, None))
        if len(self._waiting) == 1:
            self._transmit(now)

    def acknowledge(self, request: Request, now: float) -> Provisional | None:
        """Take a PRACK; None for one that acknowledges nothing, which is answered with 481."""
        if not self._waiting or Rack.of(request) != self._rack:
            return None
        self._silence()
        provisional, _ = self._waiting.popleft()
        return provisional

    def proceed(self, now: float) -> None:
        """Send the next response, now that the one before is acknowledged."""
        if self._waiting:
            self._transmit(now)

    def stop(self) -> None:
        """Repeat nothing more: a final response is sent. A PRACK under way is still known."""
        self._silence()
        while len(self._waiting) > 1:
            self._waiting.pop()

    def timer_fired(self, name: Timer, now: float) -> None:
        """Repeat the response at intervals that double without a bound, or give up."""
        if name is Timer.GIVE_UP:
            self._silence()
            self._waiting.clear()
            self._gave_up(now)
            return
        provisional, data = self._waiting[0]
        self._interval *= 2
        self._core.timers.start(self, name, now + self._interval)
        self._transaction.respond(provisional.status, data or b"", now)

    @property
    def _rack(self) -> Rack:
        return Rack(self._rseq, self._invite.cseq.number, self._invite.method)

    def _transmit(self, now: float) -> None:
        provisional, _ = self._waiting[0]
        self._rseq = self._rseq % _MAX_RSEQ + 1
        data = provisional.build((("Require", OPTION), ("RSeq", str(self._rseq))))
        self._waiting[0] = provisional, data
        self._interval = T1
        self._core.timers.start(self, Timer.REPEAT, now + T1)
        self._core.timers.start(self, Timer.GIVE_UP, now + SIXTY_FOUR_T1)
        self._transaction.respond(provisional.status, data, now)

    def _silence(self) -> None:
        self._core.timers.stop(self, Timer.REPEAT)
        self._core.timers.stop(self, Timer.GIVE_UP)


class Acknowledger:
    """The reliable provisional responses of one early dialog, at the client.

    References
    ----------
    RFC 3262 section 4
    """

    __slots__ = ("_last", "_offered", "dialog")

    def __init__(self, dialog: Dialog) -> None:
        self.dialog = dialog
        self._last: int | None = None
        self._offered: Rack | None = None

    def is_next(self, rseq: int) -> bool:
        """Take a response's RSeq; False for a copy, and for one that overtook another."""
        if self._last is not None and rseq != self._last + 1:
            return False
        self._last = rseq
        return True

    def wait(self, response: Response) -> None:
        """Leave the PRACK to the user, who has an offer to answer or to make."""
        self._offered = _rack_for(response)

    @property
    def waits(self) -> bool:
        """True while the user owes a PRACK."""
        return self._offered is not None

    def send(
        self, core: Core, response: Response | None, number: int, body: bytes, now: float
    ) -> None:
        """Send the PRACK: at once for ``response``, or the one that was left to the user."""
        rack = _rack_for(response) if response is not None else self._offered
        self._offered = None
        core.send_in_dialog(
            self.dialog,
            "PRACK",
            Prack(core, number, bool(body)),
            now,
            headers=[("RAck", str(rack))],
            body=body,
            content_type="application/sdp" if body else None,
        )


def _rack_for(response: Response) -> Rack:
    return Rack(rseq_of(response) or 0, response.cseq.number, response.cseq.method)


class Prack(TransactionUser):
    """A PRACK of ours; its answer matters only where it carried an offer.

    Without an answer the server repeats its response and gives the call up by itself.
    """

    __slots__ = ("_core", "_number", "_offers")

    def __init__(self, core: Core, number: int, offers: bool) -> None:
        self._core = core
        self._number = number
        self._offers = offers

    def response_received(self, transaction: Any, response: Response, now: float) -> None:
        """Report the answer to an offer."""
        if response.status >= 200:
            self._report(response.status, response.reason, response)

    def timed_out(self, transaction: Any, now: float) -> None:
        """Timer F."""
        self._report(408, REASONS[408], None)

    def transport_failed(self, transaction: Any, now: float) -> None:
        """Nothing could be sent."""
        self._report(503, REASONS[503], None)

    def _report(self, status: int, reason: str, response: Response | None) -> None:
        if self._offers and self._number in self._core.calls:
            event = OfferAnswered(self._number, "PRACK", status, reason, response)
            self._core.events.append(event)
