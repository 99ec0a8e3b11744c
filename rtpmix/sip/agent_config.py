"""What a user agent says about itself, and its limits."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from ..errors import UsageError


@dataclass(frozen=True, kw_only=True)
class UserAgentConfig:
    """What a `UserAgent` says about itself, and its limits.

    Parameters
    ----------
    contact_user
        User part of our Contact.
    user_agent
        For the User-Agent header; None leaves it out.
    allow
        Methods that are taken. Others that exist get 405, unknown ones 501. What is neither
        INVITE, ACK, CANCEL, BYE nor OPTIONS comes out as `Requested`.
    accept
        Media types of an INVITE's body.
    supported
        Option tags that a peer may require.
    reliable
        Provisional responses (RFC 3262): "off" does not know 100rel, "on" offers it and uses it for
        what carries a session description or where the peer demands it, "required" demands it.
    session_expires
        Seconds after which a session that nobody refreshes ends (RFC 4028), 0 for never; at least
        ``min_se``, which is the least that a peer may ask for.
    session_ids
        Say in every message of a call which session it belongs to (RFC 7989).
    info_packages
        INFO packages that are taken (RFC 6086), in lower case.
    max_calls, max_transactions
        Above them new requests get 503, without any state kept.
    ring_timeout
        Seconds that an INVITE may stay unanswered, in either direction.
    """

    contact_user: str = "rtpmix"
    user_agent: str | None = "rtpmix/0.1.0"
    allow: tuple[str, ...] = ("INVITE", "ACK", "CANCEL", "BYE", "OPTIONS", "INFO", "MESSAGE")
    accept: tuple[str, ...] = ("application/sdp",)
    supported: tuple[str, ...] = ()
    reliable: str = "off"
    session_expires: int = 0
    min_se: int = 90
    session_ids: bool = False
    info_packages: tuple[str, ...] = ()
    max_calls: int = 20_000
    max_transactions: int = 100_000  # each stays for 32 s: those of 1,500 calls a second
    ring_timeout: float = 180.0

    def __post_init__(self) -> None:
        if self.reliable not in ("off", "on", "required"):
            raise UsageError(f"reliable is {self.reliable!r}: use 'off', 'on' or 'required'")
        if self.min_se < 90 or 0 < self.session_expires < self.min_se:
            raise UsageError("min_se is 90 or more (RFC 4028 section 5), session_expires no less")

    @cached_property
    def methods(self) -> tuple[str, ...]:
        """What the Allow header says."""
        more = ("PRACK",) if self.reliable != "off" and "PRACK" not in self.allow else ()
        return (*self.allow, *more)

    @cached_property
    def options(self) -> tuple[str, ...]:
        """What the Supported header says."""
        return (
            *self.supported,
            *(("100rel",) if self.reliable != "off" else ()),
            *(("timer",) if self.session_expires else ()),
        )
