"""Who is let in while there is too much: a bound for each source, and shedding by load.

Pure: told the time, who asks, and how late the program's own clocks ran.

References
----------
RFC 3261 section 21.5.4 (503 and Retry-After); RFC 7339 and RFC 6357 (why to shed before the limit)
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from ..errors import UsageError
from .throttle import Buckets, Rate

LATE_S = 0.1  # of the event loop: past that a caller notices
LATE_SHARE = 0.5  # of the media beats, each late by a whole beat: past that the core is used up
# Of ten observations a second: seconds of lateness are an overload, a stall is not.
RISING, FALLING = 0.02, 0.1
RETRY_AFTER = 5  # seconds
_STEP_UP, _STEP_DOWN = 0.1, 0.05  # of all new calls, at each observation
_MESSAGES = 10  # for each new request, in either direction of a call
_KNOWN_HOSTS = 10_000

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class LoadController:
    """How many of the new calls to refuse, from how late things are.

    Refusing rises quickly with the trouble and falls slowly after it, so that load which comes
    back is met halfway. The fraction is spread evenly: of 0.5 every second call is refused.
    """

    def __init__(self) -> None:
        self.level = 0.0  # 0 refuses nobody, 1 everybody
        self.queue_share = 0.0  # what part of the calls that queue is refused for waiting too long
        self._loop_late_s = 0.0
        self._media_late_share = 0.0
        self._owed = 0.0

    def observe(self, loop_late_s: float, media_late_share: float) -> None:
        """Learn how late the loop was, and what part of the media beats came late."""
        self._loop_late_s = _smoothed(self._loop_late_s, loop_late_s)
        self._media_late_share = _smoothed(self._media_late_share, media_late_share)
        trouble = max(self._loop_late_s / LATE_S, self._media_late_share / LATE_SHARE)
        if trouble > 1.0:
            self.level = min(1.0, self.level + _STEP_UP * min(trouble, 4.0))
        else:
            self.level = max(0.0, self.level - _STEP_DOWN)
            if self.level < _STEP_DOWN / 2:
                self.level = 0.0

    def sheds(self, *, queued: bool = True) -> bool:
        """Tell whether to refuse the next new call.

        Parameters
        ----------
        queued
            It waits in a `Backlog`, which does its part; others share the fate of those in there.
        """
        self._owed += self.level if queued else max(self.level, self.queue_share)
        if self._owed < 1.0:
            return False
        self._owed -= 1.0
        return True


def _smoothed(before: float, seen: float) -> float:
    return before + (RISING if seen > before else FALLING) * (seen - before)


class Admission:
    """Bounds what one host may send, and sheds new calls under load.

    Parameters
    ----------
    requests_per_s
        Requests outside of calls, from one host; as many again may come at once. Ten times as
        many messages are looked at at all.
    trusted
        Networks in CIDR notation that have no bound of their own: a trunk speaks for many.
    """

    def __init__(self, requests_per_s: float, trusted: Iterable[str] = ()) -> None:
        self.load = LoadController()
        self._trusted = tuple(parse_network(text) for text in trusted)
        self._known: dict[str, bool] = {}
        burst = max(1, int(requests_per_s))
        self._requests = Buckets(Rate(requests_per_s, burst))
        self._messages = Buckets(Rate(requests_per_s * _MESSAGES, burst * _MESSAGES))
        self._counts = dict.fromkeys(("flood_dropped", "flood_refused", "load_refused"), 0)

    def hears(self, host: str, now: float) -> bool:
        """Tell whether to look at a message at all; answering each would be work, too."""
        if self.is_trusted(host) or self._messages.take(host, now):
            return True
        self._counts["flood_dropped"] += 1
        return False

    def refuses(self, method: str, host: str, now: float, *, queued: bool = True) -> int | None:
        """Return the Retry-After with which to refuse a request outside of a call, or None.

        Load sheds new calls alone: a phone that can't register would only try the harder.
        """
        if not self.is_trusted(host) and not self._requests.take(host, now):
            self._counts["flood_refused"] += 1
            return RETRY_AFTER
        if method == "INVITE" and self.load.sheds(queued=queued):
            self._counts["load_refused"] += 1
            return RETRY_AFTER
        return None

    def is_trusted(self, host: str) -> bool:
        """Tell whether a host is in one of the trusted networks."""
        known = self._known.get(host)
        if known is None:
            if len(self._known) >= _KNOWN_HOSTS:  # a cache; peers choose their addresses
                self._known.clear()
            known = self._known[host] = self._look_up(host)
        return known

    def snapshot(self) -> dict[str, float]:
        """Count what was dropped and refused, and what is remembered."""
        return {
            **self._counts,
            "shedding": round(self.load.level, 3),
            "sources": len(self._messages),
        }

    def _look_up(self, host: str) -> bool:
        try:
            address = ipaddress.ip_address(host.partition("%")[0])
        except ValueError:
            return False
        return any(address in network for network in self._trusted)


def parse_network(text: str) -> Network:
    """Read a network in CIDR notation, or one address.

    Raises
    ------
    UsageError
        When it is neither.
    """
    try:
        return ipaddress.ip_network(text)
    except ValueError as exc:
        raise UsageError(f"{text!r} is not a network ({exc}); write 192.0.2.0/24") from exc
