"""How a leg and its peer come to new terms in the course of a call: hold, keys, addresses.

An offer goes in a re-INVITE of ours and comes in one of the peer's, in an UPDATE or in a PRACK;
`MediaSession` has what is agreed.
"""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from ..errors import CallFailed, SdpError, UsageError
from ..events import LegHeld
from ..sdp.negotiation import Direction, warning_for
from ..sip import events as sip
from .media_session import MediaSession

if TYPE_CHECKING:
    from .switchboard import Switchboard

logger = logging.getLogger(__name__)


class Renegotiation(ABC):
    """The part of a `Leg` that concerns offers and answers after the first."""

    id: str
    call: int
    remote: str
    media: MediaSession
    _board: Switchboard
    _answered: asyncio.Future[None] | None = None  # of the re-INVITE of ours that is under way
    _refreshing = False
    _held = False

    @property
    @abstractmethod
    def is_open(self) -> bool:
        """True until either side hung up."""

    @property
    @abstractmethod
    def encryption(self) -> str | None:
        """The SRTP suite, or "DTLS-SRTP"; None in the clear, or before an answer."""

    @abstractmethod
    def end(self, cause: str, reason: str | None = None) -> None:
        """The call is over."""

    @property
    def held(self) -> bool:
        """True while the peer has put us on hold."""
        return self._held

    # --------------------------------------------------------------------- our offers

    async def hold(self) -> None:
        """Stop hearing the peer: a re-INVITE offers ``sendonly`` (RFC 3264 section 8.4)."""
        await self._reinvite(Direction.SENDONLY)

    async def resume(self) -> None:
        """Undo `hold`."""
        await self._reinvite(Direction.SENDRECV)

    async def rekey(self) -> None:
        """Encrypt under a new key of ours from now on: a re-INVITE tells it (RFC 4568).

        Raises
        ------
        UsageError
            When the leg is not encrypted, is closed, or waits for another re-INVITE's answer.
        CallFailed
            The peer does not take it; the old key stays.
        """
        if self.encryption in (None, "DTLS-SRTP"):
            raise UsageError(f"{self.id} has no key by SDES: there is none to change")
        former = self.media.secrets.draw_keys()
        try:
            await self._reinvite(self.media.wanted)
        except BaseException:
            self.media.secrets.restore(former)
            raise

    async def refresh(self) -> None:
        """Say once more what is agreed, for the session timer (RFC 4028 section 7.4)."""
        if not self.is_open or self._answered is not None:
            return  # over, or refreshed by what is under way
        self._refreshing = True
        try:
            await self._reinvite(self.media.wanted)
        except CallFailed as failed:
            logger.info("a session refresh was answered with %d", failed.status)
        finally:
            self._refreshing = False

    async def _reinvite(self, direction: Direction) -> None:
        if self._refreshing and self._answered is not None:
            await asyncio.wait([self._answered])
        if not self.is_open:
            raise UsageError(f"{self.id} is closed")
        if self._answered is not None:
            raise UsageError(f"{self.id} waits for the answer to another re-INVITE: await it first")
        self._answered = asyncio.get_running_loop().create_future()
        body = self.media.offer(direction)
        try:
            self._board.agent.reinvite(self.call, body, self._board.now)
            self._board.pump()
            await self._answered
        finally:
            self._answered = None

    def abandon_offer(self) -> None:
        """Tell whoever waits for the answer to a re-INVITE that the call has ended."""
        if self._answered is not None and not self._answered.done():
            self._answered.set_exception(
                CallFailed(status=481, reason="the call ended", target=self.remote)
            )

    # --------------------------------------------------------------- what SIP tells

    def reinvited(self, event: sip.Reinvited) -> None:
        """Answer the peer's re-INVITE: hold, resume, a new address, or a request for an offer."""
        agent, now = self._board.agent, self._board.now
        if not event.request.body:
            agent.answer_reinvite(self.call, 200, now, self.media.offer(late=True))
            return
        try:
            body = self.media.answer(event.request.body)
        except SdpError as error:
            # RFC 3261 section 14.2: the session stays as it was.
            warning = (("Warning", warning_for(error)),)
            agent.answer_reinvite(self.call, error.status_hint or 488, now, headers=warning)
            return
        agent.answer_reinvite(self.call, 200, now, body)
        self._note_hold()

    def offered(self, event: sip.Offered) -> None:
        """Answer an offer in an UPDATE or a PRACK (RFC 3311)."""
        agent, now = self._board.agent, self._board.now
        try:
            body = self.media.answer(event.request.body)
        except SdpError as error:
            warning = (("Warning", warning_for(error)),)
            agent.answer_offer(self.call, error.status_hint or 488, now, headers=warning)
            return
        agent.answer_offer(self.call, 200, now, body)
        self._note_hold()

    def reinvite_answered(self, event: sip.ReinviteAnswered) -> None:
        """Our re-INVITE was answered."""
        waiting = self._answered
        failure: Exception | None = None
        if event.status >= 300 or event.response is None:
            failure = CallFailed(status=event.status, reason=event.reason, target=self.remote)
        else:
            try:
                self.media.accept_answer(event.response.body)
            except SdpError as error:
                failure = CallFailed(status=488, reason=str(error), target=self.remote)
        if waiting is None or waiting.done():
            return
        if failure is None:
            waiting.set_result(None)
        else:
            waiting.set_exception(failure)

    def acked(self, body: bytes) -> None:
        """Take the answer that an ACK or a PRACK carries when our response carried the offer.

        Where it did not, some phones repeat their offer there: that changes nothing.
        """
        if not body:
            return
        try:
            self.media.accept_late_answer(body)
        except SdpError as error:
            # The dialog exists, and has no media that both sides understand: RFC 3261 13.2.1
            # leaves only ending it.
            self._board.agent.bye(self.call, self._board.now)
            self.end("no-media", _quotable(error))
        self._note_hold()

    def _note_hold(self) -> None:
        held = self.media.held_by_peer
        if held != self._held:
            self._held = held
            self._board.publish(LegHeld(at=self._board.now, leg=self.id, held=held))


def _quotable(error: Exception) -> str:
    """Return an error's text fit for a quoted string in a header."""
    text = str(error).replace("\\", " ").replace('"', "'")
    return "".join(c if c.isprintable() and ord(c) < 127 else "?" for c in text)[:200]
