"""How often a source may try something: token buckets, in a table of bounded size.

References
----------
RFC 7616 section 5.7 (online dictionary attacks)
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from ..errors import UsageError

Key = TypeVar("Key", bound=Hashable)


class Rate(NamedTuple):
    """At most ``burst`` at once, and ``per_second`` in the long run."""

    per_second: float
    burst: int


PER_SOURCE = Rate(5.0, 5)  # in any one second, that is 10 at most
PER_USER = Rate(1.0, 10)


class Buckets:
    """A token bucket for each key, made when the key is first seen.

    A bucket that is full again says no more than no bucket, so it is what makes room; when none
    is full, the one longest untouched goes.

    Parameters
    ----------
    limit
        How many keys are remembered at most.
    """

    def __init__(self, rate: Rate, *, limit: int = 20_000) -> None:
        if rate.per_second <= 0 or rate.burst < 1 or limit < 1:
            raise UsageError(f"{rate} and {limit} keys must all be above 0")
        self._rate = rate
        self._limit = limit
        self._levels: dict[Hashable, tuple[float, float]] = {}  # tokens, and when they were

    def __len__(self) -> int:
        return len(self._levels)

    def wait(self, key: Hashable, now: float) -> float:
        """Return in how many seconds ``key`` has a whole token; 0 when it has one now."""
        return max(0.0, (1.0 - self._level(key, now)) / self._rate.per_second)

    def take(self, key: Hashable, now: float) -> bool:
        """Take a token; False, and nothing taken, when there is no whole one."""
        level = self._level(key, now)
        if level < 1.0:
            return False
        if self._levels.pop(key, None) is None and len(self._levels) >= self._limit:
            self._make_room(now)
        self._levels[key] = level - 1.0, now  # at the young end of the dictionary
        return True

    def _level(self, key: Hashable, now: float) -> float:
        known = self._levels.get(key)
        if known is None:
            return float(self._rate.burst)
        level, at = known
        return min(self._rate.burst, level + max(0.0, now - at) * self._rate.per_second)

    def _make_room(self, now: float) -> None:
        """Drop from the old end what is full again, and one more if it must be."""
        for _ in range(8):  # a bounded amount of work for each new key
            oldest = next(iter(self._levels), None)
            if oldest is None:
                return
            full = self._level(oldest, now) >= self._rate.burst
            if not full and len(self._levels) < self._limit:
                return
            del self._levels[oldest]


@dataclass(frozen=True, slots=True)
class Throttled:
    """A login that is not looked at.

    `by_user` tells that it is the user's bound that was reached, `begins` that this is the first
    one since it was.
    """

    source: str
    user: str
    retry_after: float
    by_user: bool
    begins: bool


class LoginThrottle:
    """Bounds the guesses at passwords, by where they come from and by whom they are about.

    Only wrong passwords cost anything.  A user who logged in from a source is trusted there until
    a wrong password: guesses from elsewhere neither lock that phone out, nor do those of a
    neighbour behind the same NAT.  Whether a user exists makes no difference anywhere in here.

    Parameters
    ----------
    per_source, per_user
        Wrong passwords that are looked at, from one host and for one user name.
    limit
        Sources, users and trusted phones remembered, each.
    """

    def __init__(
        self,
        per_source: Rate = PER_SOURCE,
        per_user: Rate = PER_USER,
        *,
        limit: int = 20_000,
    ) -> None:
        self._sources = Buckets(per_source, limit=limit)
        self._users = Buckets(per_user, limit=limit)
        self._limit = limit
        self._trusted: dict[tuple[str, str], None] = {}
        self._closed: dict[Hashable, None] = {}  # sources and users of which it has been told
        self.refused = 0

    def check(self, source: str, user: str, now: float) -> Throttled | None:
        """Return None when a login may be looked at."""
        if (source, user) in self._trusted:
            return None
        for_source, for_user = self._sources.wait(source, now), self._users.wait(user, now)
        wait = max(for_source, for_user)
        if wait == 0.0:
            self._closed.pop(("source", source), None)
            self._closed.pop(("user", user), None)
            return None
        self.refused += 1
        by_user = for_user > for_source
        episode = ("user", user) if by_user else ("source", source)
        begins = episode not in self._closed
        _remember(self._closed, episode, self._limit)
        return Throttled(source, user, wait, by_user, begins)

    def right(self, source: str, user: str) -> None:
        """Learn that a password was right."""
        _remember(self._trusted, (source, user), self._limit)

    def wrong(self, source: str, user: str, now: float) -> None:
        """Learn that a password was wrong, or its user unknown."""
        self._trusted.pop((source, user), None)
        self._sources.take(source, now)
        self._users.take(user, now)

    def snapshot(self) -> dict[str, int]:
        """Count what was refused, and what is remembered."""
        return {
            "throttled": self.refused,
            "throttle_sources": len(self._sources),
            "throttle_users": len(self._users),
        }


def _remember(known: dict[Key, None], key: Key, limit: int) -> None:
    known.pop(key, None)
    if len(known) >= limit:
        del known[next(iter(known))]
    known[key] = None
