"""Requests other than INVITE that the user answers, and those that it sends."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from ..errors import UsageError
from .core import Core, Header, Timer
from .events import Requested, Responded
from .flow import Flow
from .message import REASONS, Request, Response, respond
from .timers import SIXTY_FOUR_T1, T1
from .transaction import Input, TransactionUser

if TYPE_CHECKING:
    from .session import Session

# RFC 4320 section 4.1: a 100 goes out no earlier and no later than when the client's timer E
# has reached T2, which it does after 0.5 + 1 + 2 seconds.
TRYING_AFTER = 7 * T1


class PendingRequest(TransactionUser):
    """A request that waits for `UserAgent.respond`.

    References
    ----------
    RFC 4320: 100 if it takes long, nothing at all if it takes too long
    """

    __slots__ = ("_core", "_request", "_tag", "_transaction", "number")

    def __init__(
        self, core: Core, request: Request, flow: Flow, call: int | None, now: float
    ) -> None:
        self._core = core
        self._request = request
        self._tag = core.token()
        self._transaction = core.layer.accept_request(request, flow)
        self._transaction.user = self
        self.number = core.next_number()
        core.requests[self.number] = self
        core.timers.start(self, Timer.TRYING, now + TRYING_AFTER)
        core.timers.start(self, Timer.GIVE_UP, now + SIXTY_FOUR_T1)
        core.events.append(Requested(self.number, request, flow, call))

    @property
    def local_tag(self) -> str:
        """The tag that our answer gives its To, and a dialog made by it."""
        return self._tag

    def respond(
        self,
        status: int,
        now: float,
        *,
        reason: str | None = None,
        headers: Iterable[Header] = (),
        body: bytes = b"",
        content_type: str | None = None,
    ) -> None:
        """Send the final response."""
        if status < 200 or status == 408:
            raise UsageError(
                f"{status} does not answer a {self._request.method}: use a final status other "
                "than 408 (RFC 4320); a 100 is sent by itself"
            )
        response = respond(
            self._request,
            status,
            reason,
            to_tag=self._tag,
            headers=headers,
            body=body,
            content_type=content_type,
        )
        self._transaction.respond(status, response.to_bytes(), now)
        self._forget()

    def timer_fired(self, name: Timer, now: float) -> None:
        """Say that it takes long, or give up."""
        if name is Timer.TRYING:
            self._transaction.respond(100, respond(self._request, 100).to_bytes(), now)
        else:
            self._forget()
            self._transaction.handle(Input.TU_GIVES_UP, now)

    def _forget(self) -> None:
        self._core.timers.stop(self, Timer.TRYING)
        self._core.timers.stop(self, Timer.GIVE_UP)
        self._core.requests.pop(self.number, None)


class OwnRequest(TransactionUser):
    """A request of the user's, other than INVITE; its final response is a `Responded`."""

    __slots__ = ("_core", "_session", "number")

    def __init__(self, core: Core, session: Session | None) -> None:
        self._core = core
        self._session = session
        self.number = core.next_number()
        core.requests[self.number] = self

    def response_received(self, transaction: Any, response: Response, now: float) -> None:
        """Report the final response."""
        if response.status >= 200:
            self._report(response.status, response.reason, response, now)

    def timed_out(self, transaction: Any, now: float) -> None:
        """Timer F: a 408 of our own (RFC 3261 section 8.1.3.1)."""
        self._report(408, REASONS[408], None, now)

    def transport_failed(self, transaction: Any, now: float) -> None:
        """Nothing could be sent: a 503 of our own."""
        self._report(503, REASONS[503], None, now)

    def _report(self, status: int, reason: str, response: Response | None, now: float) -> None:
        if self._core.requests.pop(self.number, None) is None:
            return
        self._core.events.append(Responded(self.number, status, reason, response))
        if self._session is None:
            return
        if status in (408, 481):
            self._session.lose(now, "dialog-lost")
        elif response is None:
            self._session.lose(now, "transport")
