"""A leg: one call with one peer, and its media. The handle that programs hold."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from ..errors import UsageError
from ..events import DigitReceived, LegClosed, LegOpened
from ..mixer.commands import DetectDigits, LegStats, SendDigits, SetAutoGain
from ..mixer.inband import tones_of
from ..sip.flow import Flow
from ..sip.user_to_user import UserToUser
from .correspondence import Correspondence, ending
from .media_session import MediaSession
from .renegotiation import Renegotiation
from .scope import Scope

if TYPE_CHECKING:
    from .bridge import Bridge
    from .switchboard import Switchboard

DIGITS_KEPT = 64  # keys that nobody read yet; older ones are forgotten


class Leg(Correspondence, Renegotiation):
    """One media session with one peer.

    Made by `IncomingCall.answer` and `Server.invite`; it ends when either side hangs up, when its
    media stays away for the media timeout, or when the handler that made it ends.

    Attributes
    ----------
    id
        Name in events and logs, "leg-7".
    remote
        The peer's address, as the SIP message named it.
    user
        The user that the peer proved to be, or that was called; None for a stranger.
    direction
        "inbound" or "outbound".
    asserted
        Who the peer is by the word of a trusted peer (RFC 3325), or None.
    user_to_user
        What the peer's program sent with the call, and with its end (RFC 7433).
    bridge
        The bridge that the leg sits in, or None.
    early
        True while the call has media and is not answered yet: see `IncomingCall.progress`.
    """

    def __init__(
        self,
        board: Switchboard,
        *,
        number: int,
        call: int,
        media: MediaSession,
        remote: str,
        user: str | None,
        direction: str,
        flow: Flow,
        scope: Scope | None,
    ) -> None:
        self.id = f"leg-{number}"
        self.number = number
        self.call = call
        self.remote = remote
        self.user = user
        self.direction = direction
        self.flow = flow
        self.bridge: Bridge | None = None
        self.media = media
        self._board = board
        self._scope = scope
        self._opened_at = asyncio.get_running_loop().time()
        self._closed: asyncio.Future[LegClosed] = asyncio.get_running_loop().create_future()
        self._ending: tuple[str, str | None] | None = None
        self._digits: deque[str] = deque(maxlen=DIGITS_KEPT)
        self._digit_pressed = asyncio.Event()
        self.early = False
        self.media_seen = False
        if scope is not None:
            scope.add(self)

    def __repr__(self) -> str:
        state = "closed" if self._closed.done() else "closing" if self._ending else "open"
        return f"<Leg {self.id} {self.direction} {state}>"

    # -------------------------------------------------------------------- reading

    @property
    def codec(self) -> str:
        """The negotiated codec, a name of `Config.codecs`; empty until an answer came."""
        negotiated = self.media.negotiated
        return negotiated.codec if negotiated is not None else ""

    @property
    def encryption(self) -> str | None:
        """The SRTP suite, or "DTLS-SRTP"; None in the clear, or before an answer."""
        negotiated = self.media.negotiated
        secured = negotiated.secured if negotiated is not None else None
        return secured.suite if secured is not None else None

    @property
    def is_open(self) -> bool:
        """True until either side hung up."""
        return self._ending is None

    @property
    def duration_s(self) -> float:
        """Seconds since the leg was answered."""
        if self._closed.done():
            return self._closed.result().duration_s
        return asyncio.get_running_loop().time() - self._opened_at

    def stats(self) -> LegStats:
        """Return the media counters so far."""
        if self._closed.done():
            return self._closed.result().stats
        return self._board.host.leg_stats(self.number) or LegStats()

    async def closed(self) -> LegClosed:
        """Wait until the leg is gone, and return how it went."""
        return await asyncio.shield(self._closed)

    async def digits(self) -> AsyncIterator[str]:
        """Yield the keys pressed on the phone, until the leg closes."""
        while True:
            while self._digits:
                yield self._digits.popleft()
            if not self.is_open:
                return
            self._digit_pressed.clear()
            await self._digit_pressed.wait()

    # --------------------------------------------------------------------- acting

    async def hangup(
        self,
        reason: str | None = None,
        *,
        user_to_user: UserToUser | tuple[UserToUser, ...] | None = None,
    ) -> None:
        """End the call with a BYE; harmless when it has ended.

        Parameters
        ----------
        reason
            Value of a Reason header (RFC 3326), such as ``SIP;cause=200;text="Taken over"``.
        user_to_user
            For the program at the other end (RFC 7433).
        """
        if self._ending is None:
            headers = ending(reason, user_to_user)
            self._board.agent.bye(self.call, self._board.now, headers)
            self.end("local-bye", reason)
            self._board.pump()
        await self.closed()

    async def close(self) -> None:
        """End the call; the same as `hangup` without a reason."""
        await self.hangup()

    async def send_digits(self, digits: str) -> None:
        """Send keys to the peer as RFC 4733 events.

        Raises
        ------
        UsageError
            For characters that are no keys, or when the peer did not negotiate telephone-event.
        """
        if not digits or set(digits.upper()) - set("0123456789*#ABCD"):
            raise UsageError(f"digits {digits!r}: use 0-9, *, # and A-D")
        negotiated = self.media.negotiated
        if negotiated is None or negotiated.dtmf_payload_type is None:
            raise UsageError(f"{self.id} did not negotiate telephone-event: it can't be sent keys")
        self._board.host.submit(SendDigits(self.number, digits.upper()))

    async def say_digits(self, digits: str, *, duration_ms: int = 100) -> None:
        """Send keys to the peer as tones, and wait until they are said.

        For peers that know no telephone-event; the leg must sit in a bridge.
        """
        if not digits or set(digits.upper()) - set("0123456789*#ABCD"):
            raise UsageError(f"digits {digits!r}: use 0-9, *, # and A-D")
        if self.bridge is None:
            raise UsageError(f"{self.id} is in no bridge: tones are said there")
        pcm = tones_of(digits, duration_ms=duration_ms)
        await (await self.bridge.play(pcm, to=self)).finished()

    def detect_digits(self, on: bool = True, *, mask: bool = False) -> None:
        """Look for keys that come as tones in the audio too, or stop to; told as other keys are.

        Parameters
        ----------
        mask
            Nobody hears the tones and no recording has them: what a caller keys in stays between
            the caller and the program. The keys still go, as events, where digits go.
        """
        self._board.host.submit(DetectDigits(self.number, on, mask))

    def auto_gain(self, on: bool = True) -> None:
        """Even out how loud this leg is for all who hear it, or stop to.

        Its speech comes slowly to -26 dBov: 2 dB a second up, at most 15 dB, and 7 dB a second
        down. Recordings have what the others hear.
        """
        self._board.host.submit(SetAutoGain(self.number, on))

    # ------------------------------------------------------ what the server tells

    def leave_scope(self, scope: Scope) -> None:
        """Belong to a handler no longer, if it is that one's leg: the leg outlives it."""
        if self._scope is scope:
            scope.let_go(self)
            self._scope = None

    def enter_scope(self, scope: Scope | None) -> None:
        """Belong to a handler from now on."""
        self._scope = scope
        if scope is not None and self.is_open:
            scope.add(self)

    @property
    def scope(self) -> Scope | None:
        """What the handler that made the leg opened, or None."""
        return self._scope

    def announce(self) -> None:
        """Publish that the leg is open."""
        self._board.publish(
            LegOpened(at=self._board.now, leg=self.id, remote=self.remote, direction=self.direction)
        )

    def digit_pressed(self, digit: str, duration_ms: int) -> None:
        """A key was released on the phone."""
        self._digits.append(digit)
        self._digit_pressed.set()
        self._board.publish(
            DigitReceived(at=self._board.now, leg=self.id, digit=digit, duration_ms=duration_ms)
        )

    def media_was_seen(self) -> None:
        """The first RTP of the peer arrived."""
        self.media_seen = True
        if self.bridge is not None:
            self.bridge.media_seen(self)

    def end(self, cause: str, reason: str | None = None) -> None:
        """The call is over on the SIP side: leave the bridge, then free the row."""
        if self._ending is not None:
            return
        self._ending = (cause, reason)
        self._digit_pressed.set()
        self.abandon_offer()
        if self.bridge is not None:
            self.bridge.leg_lost(self, cause)
        opened = self.media.opened
        self.media.close()
        if not opened:
            self.media_closed(LegStats())

    def media_closed(self, stats: LegStats) -> None:
        """The row is free: nothing of the leg is left."""
        if self._closed.done():
            return
        cause, reason = self._ending or ("media-host", None)
        event = LegClosed(
            at=self._board.now,
            leg=self.id,
            cause=cause,
            reason=reason,
            duration_s=self._board.now - self._opened_at,
            stats=stats,
            user_to_user=self.user_to_user,
        )
        self._closed.set_result(event)
        if self._scope is not None:
            self._scope.let_go(self)
        self._board.forget(self)
        self._board.publish(event)
