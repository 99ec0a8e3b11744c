"""How a call failed: what its final response says, and which of several counts."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import CallFailed
from ..sip import events as sip
from ..sip.message import Response
from ..sip.redirection import Contact, read_contacts


class Redirected(CallFailed):
    """A call that was answered by a 3xx."""

    def __init__(self, *, status: int, reason: str, target: str, where: tuple[Contact, ...]):
        uris = tuple(str(contact.uri) for contact in where)
        super().__init__(status=status, reason=reason, target=target, contacts=uris)
        self.where = where


def failure_of(event: sip.Failed, target: str) -> CallFailed:
    """Return the error for the end of an INVITE."""
    status, response = event.status, event.response
    if response is not None and 300 <= status <= 399:
        where = read_contacts(response)
        return Redirected(status=status, reason=event.reason, target=target, where=where)
    pause = seconds_of(response, "Retry-After")
    return CallFailed(status=status, reason=event.reason, target=target, retry_after=pause)


def best_of(failures: Sequence[CallFailed]) -> CallFailed:
    """Return the failure that counts, with the contacts of all redirections.

    References
    ----------
    RFC 3261 section 16.7 steps 4 to 6
    """
    best = min(failures, key=lambda failure: (failure.status // 100 != 6, failure.status))
    if not isinstance(best, Redirected):
        return best
    every = [
        each for failure in failures if isinstance(failure, Redirected) for each in failure.where
    ]
    where = tuple(sorted(every, key=lambda contact: -contact.q))
    return Redirected(status=best.status, reason=best.reason, target=best.target, where=where)


def seconds_of(response: Response | None, name: str) -> int | None:
    """Return the leading number of a header: Retry-After may say more after it (20.33)."""
    text = (response.headers.get(name) or "") if response is not None else ""
    digits = text[: len(text) - len(text.lstrip("0123456789"))]
    return int(digits) if 0 < len(digits) <= 9 and digits.isascii() else None
