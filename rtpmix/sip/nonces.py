"""Nonces that need no memory until somebody proves to know a password with one.

A nonce says when it was made and carries an HMAC over that, so an unanswered challenge costs no
memory and nobody else can make one.  Only a *correct* answer is remembered, with the window of
nonce counts it used, so that whoever lacks a password can neither fill the table nor replay an
answer.  When the table is full the oldest entry goes, and with it the trust in every nonce as old:
forgetting makes a phone log in again, it never lets a replay in.

References
----------
RFC 7616 sections 3.3 (nonce), 3.4 (nc), 5.4 and 5.5
"""

from __future__ import annotations

import hmac
import re
from dataclasses import dataclass
from enum import Enum

_WINDOW = 64  # nonce counts that may arrive out of order
_NONCE = re.compile(r"([0-9a-f]{12})([0-9a-f]{12})([0-9a-f]{32})")


class Use(Enum):
    """What came of using a nonce once more."""

    FRESH = "fresh"
    STALE = "stale"  # not ours, too old, or forgotten
    REPLAYED = "replayed"  # this count was used before


@dataclass(slots=True)
class _Window:
    """Which counts of one nonce were used: the highest, and a bit for it and each one below."""

    issued_ms: int
    highest: int = 0
    used: int = 0

    def take(self, count: int) -> bool:
        """Use a count; False when it was used before, or is too far behind to tell."""
        ahead = count - self.highest
        if ahead > 0:
            self.used = ((self.used << min(ahead, _WINDOW)) | 1) & ((1 << _WINDOW) - 1)
            self.highest = count
            return True
        bit = 1 << -ahead if -ahead < _WINDOW else 0
        if bit == 0 or self.used & bit:
            return False
        self.used |= bit
        return True


class Nonces:
    """Makes nonces and keeps account of their use.

    Parameters
    ----------
    secret_key
        Signs nonces.
    realm
        Part of what is signed.
    lifetime
        Seconds for which a nonce is good.
    limit
        How many nonces in use are remembered at most.
    """

    def __init__(self, secret_key: bytes, realm: str, *, lifetime: float, limit: int) -> None:
        self._key = secret_key
        self._realm = realm.encode("utf-8", "surrogateescape")
        self._lifetime_ms = round(lifetime * 1000)
        self._limit = limit
        self._issued = 0
        self._windows: dict[str, _Window] = {}
        self._forgotten_ms = -1  # nonces made until then may have been used and forgotten

    def __len__(self) -> int:
        return len(self._windows)

    def make(self, now: float) -> str:
        """Return a nonce that was never given before."""
        # The running number keeps two nonces of one instant apart: each has its own counts.
        self._issued = (self._issued + 1) % (1 << 48)
        said = f"{_milliseconds(now):012x}{self._issued:012x}"
        return said + self._sign(said)

    def use(self, nonce: str, count: int, now: float) -> Use:
        """Use one count of a nonce, for somebody who proved to know a password with it."""
        match = _NONCE.fullmatch(nonce)
        if match is None or not hmac.compare_digest(self._sign(match[1] + match[2]), match[3]):
            return Use.STALE  # made by somebody else, or by us before a restart
        issued_ms, now_ms = int(match[1], 16), _milliseconds(now)
        if not issued_ms <= now_ms <= issued_ms + self._lifetime_ms:
            return Use.STALE
        window = self._windows.get(nonce)
        if window is None:
            if issued_ms <= self._forgotten_ms:
                return Use.STALE
            self._make_room(now_ms)
            window = self._windows[nonce] = _Window(issued_ms)
        return Use.FRESH if window.take(count) else Use.REPLAYED

    def _sign(self, said: str) -> str:
        return hmac.digest(self._key, self._realm + b":" + said.encode(), "sha256")[:16].hex()

    def _make_room(self, now_ms: int) -> None:
        """Drop the entries at the old end that have expired, and one more if it must be."""
        while self._windows:
            oldest = next(iter(self._windows))
            issued_ms = self._windows[oldest].issued_ms
            expired = issued_ms + self._lifetime_ms < now_ms
            if not expired and len(self._windows) < self._limit:
                return
            del self._windows[oldest]
            if not expired:
                self._forgotten_ms = max(self._forgotten_ms, issued_ms)


def _milliseconds(now: float) -> int:
    return max(0, int(now * 1000))
