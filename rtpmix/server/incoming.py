"""A call that came in, before and while it is answered; and the handler that serves it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

from ..errors import CallFailed, CapacityError, SdpError, UsageError
from ..sdp.negotiation import warning_for
from ..sdp.security import Encryption
from ..sip import events as sip
from ..sip.flow import Flow
from ..sip.history import read_history
from ..sip.message import Request
from ..sip.redirection import contact_value
from ..sip.reliable import takes_reliable
from ..sip.uri import SipUri
from ..sip.user_to_user import UserToUser, read_user_to_user, user_to_user_headers
from .leg import Leg
from .scope import Scope, current_scope

if TYPE_CHECKING:
    from .switchboard import Switchboard

logger = logging.getLogger(__name__)

Handler = Callable[["IncomingCall"], Awaitable[None]]


class IncomingCall:
    """An INVITE that waits for a decision: `ring`, then `answer` or `reject`.

    When its handler returns, the legs that it opened are closed; when it returns without a
    decision the caller gets 480, and when it fails 500.  When the caller gives up before the
    answer, the handler is cancelled.

    Attributes
    ----------
    caller
        Address of record of the From header: what the caller *claims* to be.
    caller_name
        The display name of the From header, or None.
    target
        The user part that was dialled.
    identity
        The user that the caller proved to be (digest or certificate), or None.
    asserted
        Who the caller is by the word of a peer of `Config.trusted_peers` (RFC 3325), with what
        it wants withheld; None from anybody else.
    preferred
        Which of its identities a user who logged in wants asserted (P-Preferred-Identity).
    history
        Whom the call was meant for before (History-Info, Diversion), by the sender's word.
    user_to_user
        What the caller's program sent along (RFC 7433).
    session_id
        Our UUID of the session and the caller's (RFC 7989); None where none is said.
    """

    def __init__(
        self, board: Switchboard, *, call: int, request: Request, flow: Flow, identity: str | None
    ) -> None:
        sender, dialled = request.from_, request.request_uri
        self.caller = _address_of_record(sender.uri)
        self.caller_name = sender.display_name
        self.target = (dialled.user or "") if isinstance(dialled, SipUri) else str(dialled)
        self.identity = identity
        self.asserted = board.extensions.identities.read(request, flow)
        self.preferred = board.extensions.identities.preferred(request, identity)
        self.history = read_history(request.headers)
        self.user_to_user = read_user_to_user(request.headers)
        self.session_id = board.agent.session_id(call)
        self.call = call
        self.flow = flow
        self.leg: Leg | None = None
        self.scope = Scope()
        self.scope.session = self.session_id[0] if self.session_id is not None else None
        self._board = board
        self._request = request
        self._decided = False
        self._early_body = b""
        self._gone = False
        self._task: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<IncomingCall {self.call} {'decided' if self._decided else 'waiting'}>"

    @property
    def request(self) -> Request:
        """The INVITE."""
        return self._request

    def header(self, name: str) -> str | None:
        """Return the first value of a header of the INVITE, or None."""
        return self._request.headers.get(name)

    # ------------------------------------------------------------------ deciding

    async def ring(self) -> None:
        """Send 180 Ringing."""
        self._check_waiting()
        self._board.agent.ring(self.call, self._board.now)
        self._board.pump()

    async def progress(self, status: int = 183, *, encryption: Encryption | None = None) -> Leg:
        """Open early media: the caller hears what its leg is bridged to, before the answer.

        The leg can be bridged and played to at once; `answer` makes it an ordinary one, and
        `reject` closes it.  Where the caller can, the response is sent reliably (RFC 3262).

        Parameters
        ----------
        encryption
            Of the leg, in place of `Config.encryption`.

        Raises
        ------
        CallFailed
            As `answer` does.
        UsageError
            When the call has been decided, or has early media already; when the caller made no
            offer and can't take ours before the answer.
        """
        self._check_waiting()
        if self.leg is not None:
            raise UsageError("this call has early media already: use answer or reject")
        if not self._request.body and not takes_reliable(self._request):
            raise UsageError("the caller made no offer and takes none before the answer")
        self.leg, self._early_body = await self._open(early=True, encryption=encryption)
        self._board.agent.ring(self.call, self._board.now, status, body=self._early_body)
        self._board.pump()
        self.leg.announce()
        return self.leg

    async def answer(
        self,
        *,
        user_to_user: UserToUser | Sequence[UserToUser] | None = None,
        encryption: Encryption | None = None,
    ) -> Leg:
        """Accept the call, and return its leg.

        Parameters
        ----------
        user_to_user
            For the caller's program, in the 200 (RFC 7433).
        encryption
            Of the leg, in place of `Config.encryption`; decided already where there is early media.

        Raises
        ------
        CallFailed
            488 when the offer has no codec in common with `Config.codecs`, or is not encrypted
            as the policy demands; 503 when no port is
            left, 487 when the caller gave up; the caller has been told.
        UsageError
            When the call has been answered or rejected before.
        """
        self._check_waiting()
        headers = user_to_user_headers(user_to_user)
        credentials = self._board.config.credentials.get(self.flow.remote[0])
        early = self.leg
        self._decided = True
        if early is not None:
            body = self._early_body
            early.early = False
            self._board.adopt(early)
        else:
            self.leg, body = await self._open(early=False, encryption=encryption)
        leg = self.leg
        assert leg is not None
        self._board.agent.accept(self.call, self._board.now, body, headers, credentials=credentials)
        self._board.pump()
        if early is None:
            leg.announce()
        return leg

    async def _open(self, *, early: bool, encryption: Encryption | None) -> tuple[Leg, bytes]:
        """Return a leg with media, and the description to send for it."""
        number, media = self._board.new_media(encryption, self.flow)
        try:
            await media.reserve(self.flow.remote, self._request.body)
            if self._gone:
                raise CallFailed(status=487, reason="Request Terminated", target=self.caller)
            body = (
                media.answer(self._request.body) if self._request.body else media.offer(late=True)
            )
        except SdpError as error:
            media.close()
            warning = (("Warning", warning_for(error)),)
            raise self._refuse(error.status_hint or 488, "Not Acceptable Here", warning) from error
        except CapacityError as error:
            media.close()
            raise self._refuse(503, "Service Unavailable", (("Retry-After", "10"),)) from error
        except BaseException:
            media.close()
            raise
        leg = Leg(
            self._board,
            number=number,
            call=self.call,
            media=media,
            remote=self.caller,
            user=self.identity,
            direction="inbound",
            flow=self.flow,
            scope=self.scope,
        )
        leg.asserted, leg.user_to_user = self.asserted, self.user_to_user
        leg.known_as = str(self._request.from_.uri)
        leg.early = early
        self._board.adopt(leg)
        return leg, body

    async def reject(
        self, status: int = 486, reason: str | None = None, *, retry_after: int | None = None
    ) -> None:
        """Refuse the call with a final response between 300 and 699.

        Parameters
        ----------
        retry_after
            Seconds after which the caller may try again (RFC 3261 section 20.33).
        """
        if not 300 <= status <= 699:
            raise UsageError(f"reject with a status between 300 and 699, not {status}")
        if retry_after is not None and retry_after < 0:
            raise UsageError("retry_after is a number of seconds")
        self._check_waiting()
        headers = (("Retry-After", str(retry_after)),) if retry_after is not None else ()
        self._refuse(status, reason, headers)

    async def redirect(self, *contacts: str | tuple[str, float], status: int = 302) -> None:
        """Send the caller elsewhere (RFC 3261 section 21.3).

        Parameters
        ----------
        contacts
            SIP or tel URIs, each alone or as ``(uri, q)``: the highest q, of 0 to 1, goes first.
        status
            300 to let the caller choose, 301 for good, 302 for now.

        Raises
        ------
        UsageError
            There is no contact, one is no URI, or the status is another.
        """
        if status not in (300, 301, 302) or not contacts:
            raise UsageError("redirect to one contact or more, with status 300, 301 or 302")
        pairs = [(each, None) if isinstance(each, str) else each for each in contacts]
        headers = [("Contact", contact_value(uri, q)) for uri, q in pairs]
        self._check_waiting()
        self._refuse(status, None, headers)

    async def challenge(self) -> None:
        """Refuse with 401 and a digest challenge: the phone calls again with its credentials."""
        self._check_waiting()
        headers = self._board.challenge(self._request)
        if not headers:
            raise UsageError("nobody can log in: Config names no users and no lookup")
        self._refuse(401, "Unauthorized", headers)

    def _refuse(
        self, status: int, reason: str | None = None, headers: Sequence[tuple[str, str]] = ()
    ) -> CallFailed:
        self._decided = True
        if not self._gone:
            now = self._board.now
            self._board.agent.reject(self.call, status, now, reason=reason, headers=headers)
            self._board.pump()
        self._gone = True
        self._close_early("rejected")
        return CallFailed(status=status, reason=reason or "", target=self.caller)

    def _check_waiting(self) -> None:
        if self._gone or (self.leg is not None and not self.leg.is_open):
            raise CallFailed(status=487, reason="Request Terminated", target=self.caller)
        if self._decided:
            raise UsageError("this call has been answered or rejected already")

    # ------------------------------------------------------ what the server tells

    def start(self, handler: Handler) -> asyncio.Task[None]:
        """Run the handler in a task of its own."""
        self._task = asyncio.get_running_loop().create_task(self._run(handler))
        return self._task

    async def _run(self, handler: Handler) -> None:
        current_scope.set(self.scope)
        try:
            await handler(self)
            if not self._decided and not self._gone:
                self._refuse(480, "Temporarily Unavailable")
        except CallFailed as failed:
            # A call in the handler failed and the program had no plan for it.
            logger.info("handler ended: call failed with %d", failed.status)
            if not self._decided and not self._gone:
                self._refuse(failed.status if 300 <= failed.status <= 699 else 480)
        except Exception:
            logger.exception("the handler of a call failed")
            if not self._decided and not self._gone:
                self._refuse(500, "Server Internal Error")
        finally:
            if not self._decided and not self._gone:  # cancelled: the server is closing
                self._refuse(503, "Service Unavailable")
            await self.scope.close()

    def cancelled(self, event: sip.Cancelled) -> None:
        """The caller gave up before our final response."""
        self._end()

    def ended(self, event: sip.Ended) -> None:
        """The call ended before the handler learnt that it was answered."""
        self._end()

    def _end(self) -> None:
        self._gone = True
        self._close_early("cancelled")
        if self._task is not None and not self._task.done():
            self._task.cancel()

    def _close_early(self, cause: str) -> None:
        if self.leg is not None and self.leg.early:
            self.leg.end(cause)


def _address_of_record(uri: object) -> str:
    return uri.address_of_record if isinstance(uri, SipUri) else str(uri)
