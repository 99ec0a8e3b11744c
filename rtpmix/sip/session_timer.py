"""Session timers (RFC 4028): a session that nobody refreshes ends.

Theory of operation
-------------------
One side, the refresher, sends an UPDATE or a re-INVITE at half the session interval; each 2xx to
one starts the interval anew. Shortly before the interval ends without such a refresh, either side
says BYE (section 10). "uac" and "uas" in a header name the roles in that request, not in the call.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from .agent_config import UserAgentConfig
from .core import Core, Header, Timer
from .events import RefreshDue
from .message import Request, Response
from .update import Update

if TYPE_CHECKING:
    from .session import Session

OPTION = "timer"
FLOOR = 90  # seconds: section 5, the smallest Min-SE there is
_LONGEST = 2**31 - 1
_GRACE = 32.0  # seconds: section 10, how long before its end a session is left
_DELTA = re.compile(r"([0-9]{1,10})[ \t]*((?:;.*)?)")
_REFRESHER = re.compile(r";[ \t]*refresher[ \t]*=[ \t]*(uac|uas)\b", re.IGNORECASE)


class SessionExpires(NamedTuple):
    """The value of a Session-Expires header (section 4)."""

    seconds: int
    refresher: str | None = None  # "uac" or "uas"

    @classmethod
    def of(cls, message: Request | Response) -> SessionExpires | None:
        """Read the header; None where it is absent or malformed."""
        match = _DELTA.fullmatch((message.headers.get("Session-Expires") or "").strip())
        if match is None:
            return None
        refresher = _REFRESHER.search(match[2])
        return cls(min(int(match[1]), _LONGEST), refresher[1].lower() if refresher else None)

    def __str__(self) -> str:
        return f"{self.seconds}" + (f";refresher={self.refresher}" if self.refresher else "")


def min_se_of(message: Request | Response) -> int:
    """Return the Min-SE in seconds; 90 where there is none (section 5)."""
    match = _DELTA.fullmatch((message.headers.get("Min-SE") or "").strip())
    return max(FLOOR, min(int(match[1]), _LONGEST)) if match else FLOOR


def is_too_small(request: Request, config: UserAgentConfig) -> bool:
    """Tell whether a request asks for refreshes more often than we want: 422 (section 9)."""
    if not config.session_expires:
        return False
    wanted = SessionExpires.of(request)
    return wanted is not None and wanted.seconds < config.min_se and OPTION in request.supported


class SessionTimer:
    """The timer of one session.

    References
    ----------
    RFC 4028 sections 7 to 10
    """

    __slots__ = ("_core", "_expires_at", "_min_se", "_seconds", "_session", "_we_refresh")

    def __init__(self, session: Session) -> None:
        self._core: Core = session.core
        self._session = session
        self._seconds = 0  # the interval in force; 0 while there is none
        self._expires_at = 0.0
        self._we_refresh = False
        self._min_se = FLOOR  # the largest that any 422 told

    # ------------------------------------------------------------------ as the server

    def answer(self, request: Request, now: float) -> tuple[Header, ...]:
        """Take a request that is about to get 2xx; return the headers for that (section 9)."""
        config = self._core.config
        if not config.session_expires:
            return ()
        wanted = SessionExpires.of(request)
        theirs = OPTION in request.supported or OPTION in request.require
        if wanted is not None and wanted.seconds < FLOOR and not theirs:
            return ()  # 422 would tell such a caller nothing (section 9), and we won't flood it
        floor = max(min_se_of(request), config.min_se)
        seconds = max(config.session_expires, floor)
        if wanted is not None:
            seconds = max(min(wanted.seconds, seconds), min(wanted.seconds, floor))
        # Table 2: who does not know the timer can't refresh; else the caller's wish, else we do.
        refresher = wanted.refresher if theirs and wanted is not None else "uas"
        if refresher is None:
            refresher = "uac"
        self._start(seconds, refresher == "uas", now)
        value = ("Session-Expires", str(SessionExpires(seconds, refresher)))
        return (value, ("Require", OPTION)) if refresher == "uac" else (value,)

    # ------------------------------------------------------------------ as the client

    def request_headers(self) -> tuple[Header, ...]:
        """Return what a re-INVITE or UPDATE of ours says (section 7.4)."""
        config = self._core.config
        if not config.session_expires:
            return ()
        seconds = max(self._seconds or config.session_expires, self._min_se)
        # Who refreshes now goes on doing so, whoever sends this request.
        refresher = None if not self._seconds else "uac" if self._we_refresh else "uas"
        headers = [("Session-Expires", str(SessionExpires(seconds, refresher)))]
        if self._min_se > FLOOR:
            headers.append(("Min-SE", str(self._min_se)))
        return tuple(headers)

    def accepted(self, response: Response, now: float) -> None:
        """Take a 2xx to an INVITE or UPDATE of ours (section 7.2)."""
        granted = SessionExpires.of(response)
        if granted is None and self._seconds and self._we_refresh:
            # The other side does not know the timer; it has still shown that it is there.
            self._start(self._seconds, True, now)
            return
        if not self._core.config.session_expires or granted is None:
            self.stop()  # nobody refreshes from here on
            return
        # A server that grants less than the least there is would only make us flood it.
        seconds = max(granted.seconds, FLOOR)
        self._start(seconds, granted.refresher != "uas", now)

    def lengthen(self, response: Response) -> bool:
        """Take a 422; True where its Min-SE is one that was not tried yet (section 7.3)."""
        wanted = min_se_of(response)
        if not self._core.config.session_expires or wanted <= self._min_se:
            return False
        self._min_se = wanted
        return True

    def refreshed(self, response: Response | None, status: int, now: float) -> None:
        """Take the outcome of an UPDATE or re-INVITE of ours."""
        if response is not None and status < 300:
            self.accepted(response, now)
        elif self._seconds and self._we_refresh and self._expires_at - now > 2 * _GRACE:
            # Refused, but not lost: there is time for another attempt.
            self._core.timers.start(self, Timer.REFRESH, now + (self._expires_at - now) / 2)

    # ------------------------------------------------------------------ time

    def timer_fired(self, name: Timer, now: float) -> None:
        """Refresh the session, or leave it."""
        if name is Timer.GIVE_UP:
            self._session.expire(now)
            return
        session = self._session
        if session.dialog.exchange.updating is not None:
            return  # that one refreshes as well
        if session.dialog.allows_update:
            Update(session, session.dialog, told=False).send(now)
        elif session.number is not None:
            self._core.events.append(RefreshDue(session.number))

    def stop(self) -> None:
        """Stop counting."""
        self._seconds = 0
        self._core.timers.stop(self, Timer.REFRESH)
        self._core.timers.stop(self, Timer.GIVE_UP)

    def _start(self, seconds: int, we_refresh: bool, now: float) -> None:
        self._seconds, self._we_refresh = seconds, we_refresh
        self._expires_at = now + seconds
        timers = self._core.timers
        timers.stop(self, Timer.REFRESH)
        if we_refresh:
            timers.start(self, Timer.REFRESH, now + seconds / 2)
        timers.start(self, Timer.GIVE_UP, now + seconds - min(_GRACE, seconds / 3))
