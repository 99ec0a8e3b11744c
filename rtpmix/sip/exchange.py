"""What a dialog knows of offers and answers outside of its INVITE (RFC 3264, 3262, 3311, 6337)."""

from __future__ import annotations

import enum
import random
from typing import Protocol


class Side(enum.Enum):
    """Who made an offer that is not answered yet."""

    LOCAL = "local"
    REMOTE = "remote"


class Abandonable(Protocol):
    """One half of an exchange under way."""

    def abandon(self, now: float) -> None:
        """End it: the dialog is over."""


class Exchange:
    """The offers of one dialog that travel in PRACK and UPDATE.

    Attributes
    ----------
    established
        True once an offer was answered in a way that can't be lost, so that the next one may go
        (RFC 3311 section 5.1); a confirmed dialog has that by itself.
    updating
        Our UPDATE under way, with or without an offer.
    offered
        The peer's UPDATE or PRACK whose offer waits for our answer.
    """

    __slots__ = ("established", "offered", "updating")

    def __init__(self) -> None:
        self.established = False
        self.updating: Abandonable | None = None
        self.offered: Abandonable | None = None

    def abandon(self, now: float) -> None:
        """End what is under way: the dialog is over."""
        for half in (self.updating, self.offered):
            if half is not None:
                half.abandon(now)
        self.updating = self.offered = None


def glare_pause(created_call_id: bool, chance: random.Random) -> float:
    """Draw the pause after a 491, in steps of 10 ms; the two sides never draw the same.

    References
    ----------
    RFC 3261 section 14.1, to which RFC 3311 section 5.3 refers
    """
    return (chance.randint(210, 400) if created_call_id else chance.randint(0, 200)) / 100


def retry_header(chance: random.Random) -> tuple[str, str]:
    """Return the Retry-After of a 500 to an offer that came too early (RFC 3311 section 5.2)."""
    return "Retry-After", str(chance.randint(0, 10))
