"""The routing log: every matrix that was ever in force, in a chain of hashes.

An entry's hash covers its content and the hash before it, so that an entry can be neither changed
nor dropped from the middle without notice.  Keep the last hash elsewhere (a recording's manifest
does) and the end is held as well.
"""

from __future__ import annotations

import hashlib
import json
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..errors import UsageError
from .changes import Routing
from .policy import Gains

GENESIS = "0" * 64


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutingEntry:
    """One commit.

    Parameters
    ----------
    sample
        Position on the media clock of the first sample mixed with these gains (8000 Hz).
    who, why
        The user who caused it, and a line that says what they did.
    before, digest
        SHA-256 in hexadecimal: of the entry before, and of this one.
    """

    sample: int
    seats: tuple[int, ...]
    gains: Gains
    who: str
    why: str
    before: str
    digest: str

    def computed_digest(self) -> str:
        """Return the hash that this entry must carry."""
        content = {
            "before": self.before,
            "gains": self.gains,
            "sample": self.sample,
            "seats": self.seats,
            "who": self.who,
            "why": self.why,
        }
        text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        return hashlib.sha256(text.encode()).hexdigest()


class RoutingLog:
    """An append-only list of commits."""

    def __init__(self) -> None:
        self._entries: list[RoutingEntry] = []

    @property
    def entries(self) -> tuple[RoutingEntry, ...]:
        """All entries, oldest first."""
        return tuple(self._entries)

    @property
    def head(self) -> str:
        """The last entry's hash, which stands for the whole log."""
        return self._entries[-1].digest if self._entries else GENESIS

    def append(
        self, sample: int, routing: Routing, *, who: str = "", why: str = ""
    ) -> RoutingEntry:
        """Note a commit, in the order of the media clock."""
        if self._entries and sample < self._entries[-1].sample:
            raise UsageError(
                f"sample {sample} lies before the last entry's {self._entries[-1].sample}: "
                "append commits in the order in which they took effect"
            )
        draft = RoutingEntry(
            sample=sample,
            seats=routing.seats,
            gains=routing.gains,
            who=who,
            why=why,
            before=self.head,
            digest="",
        )
        entry = replace(draft, digest=draft.computed_digest())
        self._entries.append(entry)
        return entry


def fold(entries: Sequence[RoutingEntry], sample: int) -> tuple[tuple[int, ...], Gains]:
    """Return the seats and the Q15 gains that were commanded at a sample; nobody before the first.

    Where several entries have the same sample the last one was in force.
    """
    count = bisect_right(entries, sample, key=lambda entry: entry.sample)
    if count == 0:
        return (), ()
    return entries[count - 1].seats, entries[count - 1].gains


def verify_chain(entries: Sequence[RoutingEntry], head: str | None = None) -> int | None:
    """Return the index of the first entry that does not fit, None if all do.

    Parameters
    ----------
    head
        The hash of the last entry as it was noted elsewhere; a shortened log then gives its length.
    """
    before = GENESIS
    for index, entry in enumerate(entries):
        if entry.before != before or entry.digest != entry.computed_digest():
            return index
        before = entry.digest
    return len(entries) if head is not None and head != before else None
