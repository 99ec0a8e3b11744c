"""What a leg says to its peer beside sound: INFO, MESSAGE, identity, octets for its program."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from ..errors import CallFailed, UsageError
from ..sip.grammar import is_token
from ..sip.identity import CallerIdentity
from ..sip.user_to_user import UserToUser, read_user_to_user, user_to_user_headers

if TYPE_CHECKING:
    from ..sip.events import Responded
    from ..sip.message import Request, Response
    from .leg import Leg
    from .switchboard import Switchboard

MAX_BODY = 16_384  # octets that we send in an INFO or a MESSAGE


class Correspondence(ABC):
    """The part of a `Leg` that concerns messages in its call.

    Attributes
    ----------
    asserted
        Who the peer is by the word of a trusted peer (RFC 3325), or None.
    user_to_user
        What the peer's program sent with the call, and with its end (RFC 7433).
    """

    id: str
    call: int
    remote: str
    _board: Switchboard
    asserted: CallerIdentity | None = None
    user_to_user: tuple[UserToUser, ...] = ()
    known_as: str = ""  # the URI that the peer's From has in this call

    @property
    @abstractmethod
    def is_open(self) -> bool:
        """True until either side hung up."""

    @property
    def session_id(self) -> tuple[str, str] | None:
        """Our UUID of the session and the peer's (RFC 7989); None once the leg is closed."""
        return self._board.agent.session_id(self.call)

    def note_user_to_user(self, message: Request | Response) -> None:
        """Keep what a message of the peer's carries."""
        self.user_to_user += read_user_to_user(message.headers)

    def takes_info(self, package: str) -> bool:
        """Tell whether the peer takes an INFO package (RFC 6086)."""
        return self.is_open and self._board.agent.takes_info(self.call, package)

    async def send_info(
        self, package: str, body: bytes = b"", content_type: str = "application/octet-stream"
    ) -> None:
        """Send an INFO of a package that the peer takes (RFC 6086 section 4.2.1).

        Raises
        ------
        CallFailed
            The peer refused it.
        UsageError
            The peer did not name the package in its Recv-Info, or the body is too long.
        """
        if not self.takes_info(package):
            raise UsageError(f"{self.id} takes no INFO of {package!r}: ask takes_info first")
        headers = [("Info-Package", package), ("Content-Disposition", "Info-Package")]
        await self._say("INFO", headers if body else headers[:1], body, content_type)

    async def send_message(self, text: str, content_type: str = "text/plain;charset=UTF-8") -> None:
        """Send a MESSAGE in the call (RFC 3428 section 6).

        Raises
        ------
        CallFailed
            The peer refused it, as many phones do.
        UsageError
            The leg is closed, or the text is too long.
        """
        await self._say("MESSAGE", [], text.encode(), content_type)

    async def show_identity(self, identity: CallerIdentity) -> bool:
        """Tell the peer who it is connected to now, with an UPDATE (RFC 4916).

        Only where the peer asked for it (``from-change``) and takes UPDATE; returns False where it
        did not, and nothing was sent.
        """
        return await self._board.extensions.identities.show(self._leg(), identity)

    async def refer(
        self, target: str, *, replaces: Leg | None = None, timeout_s: float = 60.0
    ) -> None:
        """Ask the peer to call somebody itself: the call then leaves this server (RFC 3515).

        Returns once the peer has told that it is connected; hang up then. A transfer that keeps
        the conversation here is `Bridge.replace`.

        Parameters
        ----------
        replaces
            A call with the target whose place the peer is to take (RFC 3891).

        Raises
        ------
        CallFailed
            The peer refused, or could not connect; 408 when it did not tell in time.
        UsageError
            ``target`` is no SIP URI, or the leg is closed or being transferred.
        """
        await self._board.extensions.referrals.refer(
            self._leg(), target, replaces=replaces, timeout_s=timeout_s
        )

    async def _say(
        self, method: str, headers: list[tuple[str, str]], body: bytes, content_type: str
    ) -> Responded:
        if not self.is_open:
            raise UsageError(f"{self.id} is closed")
        if len(body) > MAX_BODY:
            raise UsageError(f"{method} has {len(body)} octets: {MAX_BODY} at most")
        check_media_type(content_type)
        answer = await self._board.ask(
            method, self._leg(), headers, body=body, content_type=content_type if body else None
        )
        if answer.status >= 300:
            raise CallFailed(status=answer.status, reason=answer.reason, target=self.remote)
        return answer

    def _leg(self) -> Any:
        return self


def check_media_type(text: str) -> None:
    """Refuse what is no media type."""
    main, slash, sub = text.partition(";")[0].partition("/")
    if not (slash and is_token(main) and is_token(sub)):
        raise UsageError(f"{text!r} is not a media type: write 'text/plain'")


def ending(
    reason: str | None, user_to_user: UserToUser | tuple[UserToUser, ...] | None
) -> tuple[tuple[str, str], ...]:
    """Return the headers of a BYE."""
    said = (("Reason", reason),) if reason is not None else ()
    return (*said, *user_to_user_headers(user_to_user))
