"""Keeping one address of record registered elsewhere, with several registrars to choose from.

Pure: told the time and the outcomes, it says which registrar is asked next, and when.

References
----------
RFC 3261 section 10.2; RFC 5626 section 4.5 (how long to wait after a failure)
"""

from __future__ import annotations

import enum
from random import Random
from typing import NamedTuple

from ..errors import UsageError

BASE_TIME = 30.0  # seconds; RFC 5626 section 4.5, where every way has failed
MAX_TIME = 1800.0
_EARLIEST, _LATEST = 0.75, 0.9  # of what was granted: when it is refreshed
_SHORTEST = 10.0  # seconds: no registrar makes us ask more often
_FOREVER = 86_400.0  # seconds: no registrar makes us trust it for longer


class Standing(enum.Enum):
    """How a registration stands."""

    IDLE = "idle"  # not asked for, or taken back
    TRYING = "trying"  # no registrar has answered yet
    REGISTERED = "registered"
    FAILED = "failed"  # every registrar has failed; another round follows


class Attempt(NamedTuple):
    """A REGISTER to send."""

    registrar: int
    expires: int


class OutwardRegistration:
    """One address of record, to be registered with one of several registrars.

    Parameters
    ----------
    registrars
        How many there are; the first is preferred in a new round.
    expires
        Seconds to ask for.
    """

    def __init__(self, registrars: int, expires: int, random: Random) -> None:
        if registrars < 1 or expires < 1:
            raise UsageError("an outward registration needs a registrar and seconds to ask for")
        self.standing = Standing.IDLE
        self.current = 0  # the registrar in use, or asked last
        self.failures = 0  # rounds in which every registrar failed, in a row
        self._registrars = registrars
        self._wanted = expires
        self._expires = expires
        self._random = random
        self._tried = 0  # in this round
        self._asked = False
        self._due: float | None = None
        self._granted_until = 0.0
        self._retry_after = 0.0

    def start(self, now: float) -> None:
        """Begin to register."""
        self.standing = Standing.TRYING
        self._due = now

    def stop(self) -> Attempt | None:
        """Take the registration back; return the REGISTER that does, if it is needed."""
        registered = self.standing is Standing.REGISTERED
        self.standing = Standing.IDLE
        self._due, self._asked = None, False
        return Attempt(self.current, 0) if registered else None

    def next_deadline(self) -> float | None:
        """Return when `due` has something to send; None while an answer is awaited."""
        return self._due

    def due(self, now: float) -> Attempt | None:
        """Return the REGISTER to send now, if it is time."""
        if self._due is None or now < self._due:
            return None
        self._due, self._asked = None, True
        return Attempt(self.current, self._expires)

    def flow_failed(self, now: float) -> None:
        """Learn that the way to the registrar is gone: register at once (RFC 5626 section 4.5)."""
        if self.standing is Standing.REGISTERED and not self._asked:
            self._due = now

    def accepted(self, granted: int | None, now: float) -> bool:
        """Learn of a 2xx and of the seconds in it; True when this is news."""
        if not self._asked:
            return False
        self._asked = False
        seconds = min(max(float(granted or self._expires), _SHORTEST), _FOREVER)
        self._granted_until = now + seconds
        self._due = now + seconds * self._random.uniform(_EARLIEST, _LATEST)
        self._tried, self.failures, self._retry_after = 0, 0, 0.0
        news = self.standing is not Standing.REGISTERED
        self.standing = Standing.REGISTERED
        return news

    def too_brief(self, minimum: int | None, now: float) -> bool:
        """Learn of a 423: ask again for that long (section 10.2.8); False where it can't be."""
        if not self._asked or minimum is None or not self._expires < minimum <= _FOREVER:
            return False
        self._asked = False
        self._expires = minimum
        self._due = now
        return True

    def failed(self, now: float, retry_after: float = 0.0) -> bool:
        """Learn of any other answer, or of none; True when the registration is lost by that.

        The next registrar is asked at once. When all have failed, the pause is the one of RFC
        5626 section 4.5, or what they asked for if that is longer.
        """
        if not self._asked:
            return False
        self._asked = False
        self._tried += 1
        self._retry_after = max(self._retry_after, min(retry_after, MAX_TIME))
        self.current = (self.current + 1) % self._registrars
        if self._tried < self._registrars:
            self._due = now
            return False
        self._tried, self.current = 0, 0
        self._expires = self._wanted
        longest = min(MAX_TIME, BASE_TIME * 2.0 ** min(self.failures, 16))
        pause = max(longest * self._random.uniform(0.5, 1.0), self._retry_after)
        self.failures += 1
        self._retry_after = 0.0
        news = self.standing is not Standing.FAILED
        self.standing = Standing.FAILED
        self._due = now + pause
        return news
