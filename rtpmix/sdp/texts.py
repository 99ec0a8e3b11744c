"""Short texts of session descriptions, and what they mean; kept, as most come again and again."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, wraps
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TypeVar

T = TypeVar("T")

# Phones of one make write the same attributes. Both bounds together keep what strangers can make
# us remember small.
REMEMBERED = 1024  # texts for each reader
LONGEST_REMEMBERED = 64  # characters


def remembered(read: Callable[[str], T]) -> Callable[[str], T]:
    """Let a reader of a text into an immutable value read each short one only once.

    Errors are not remembered.
    """
    kept = lru_cache(maxsize=REMEMBERED)(read)

    @wraps(read)
    def call(text: str) -> T:
        return kept(text) if len(text) <= LONGEST_REMEMBERED else read(text)

    return call


@remembered
def ip_literal(address: str) -> IPv4Address | IPv6Address | None:
    """Read an IP address without brackets; None for anything else, a name above all."""
    if "%" in address:  # a zone index means something on the sender's machine only
        return None
    try:
        return ip_address(address)
    except ValueError:
        return None
