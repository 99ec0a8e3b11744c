"""Where a 3xx leads, and which of it is worth a call.

Pure: it is told the contacts of each redirection and says who is called next. It calls nobody
whom it called before, and no more than it was allowed, so that no loop of redirections lives.

References
----------
RFC 3261 sections 8.1.3.4, 21.3 and 26.4.4; RFC 7433 section 4.1
"""

from __future__ import annotations

import math
import re
from dataclasses import replace
from typing import NamedTuple
from urllib.parse import unquote

from ..errors import SipParseError, UsageError
from .headers import NameAddr
from .message import Response
from .uri import SipUri, parse_uri
from .user_to_user import UserToUser

MAX_CONTACTS = 16  # that are looked at in one response
FOLLOWED = (300, 301, 302)  # 305 and 380 mean something else than another address
_LONGEST = 1024  # characters of a contact
_Q = re.compile(r"(?:0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)")  # RFC 3261 section 25.1, qvalue


class Contact(NamedTuple):
    """One address that a 3xx names."""

    uri: SipUri
    q: float = 1.0
    user_to_user: UserToUser | None = None


def read_contacts(response: Response) -> tuple[Contact, ...]:
    """Return the SIP addresses of a 3xx, the best first; others and malformed ones are left out.

    Of the headers that a URI may carry only User-to-User is kept: all others would let the
    answerer write into our INVITE what it likes. So goes ``method``.
    """
    found: list[Contact] = []
    for value in response.headers.get_all("Contact")[:MAX_CONTACTS]:
        if len(value) > _LONGEST:
            continue
        try:
            party = NameAddr.parse(value)
        except SipParseError:
            continue
        uri = party.uri
        if not isinstance(uri, SipUri):
            continue
        kept = tuple(item for item in uri.parameters if item[0] != "method")
        bare = replace(uri, parameters=kept, headers=())
        found.append(Contact(bare, _q(party), _user_to_user(uri)))
    return tuple(sorted(found, key=lambda contact: -contact.q))  # stable: order among equals


def contact_value(target: str, q: float | None = None) -> str:
    """Write a Contact for a 3xx.

    Raises
    ------
    UsageError
        The target is no SIP or tel URI, or q is not 0 to 1.
    """
    try:
        uri = parse_uri(target)
    except SipParseError as error:
        raise UsageError(f"{target!r} is not a URI ({error}); write sip:user@host") from error
    if q is None:
        return f"<{uri}>"
    if not 0 <= q <= 1 or math.isnan(q):
        raise UsageError(f"q is {q}: give 0 to 1")
    return f"<{uri}>;q={q:.3g}"


class Redirections:
    """The targets of one call.

    Parameters
    ----------
    first
        Who is called without any redirection.
    limit
        How many more may be called, over all redirections.
    """

    def __init__(self, first: SipUri, limit: int) -> None:
        self._seen: list[SipUri] = [first]
        self._secure = first.scheme == "sips"
        self._left = limit
        self._waiting: list[Contact] = []

    def learn(self, contacts: tuple[Contact, ...]) -> int:
        """Take the contacts of a 3xx; return how many of them are new.

        They go before those that wait from an earlier one, as the latest answerer knows best. A
        call to a sips URI is not taken to one that is not (section 26.4.4).
        """
        fresh = []
        for contact in contacts:
            if self._secure and contact.uri.scheme != "sips":
                continue
            if any(contact.uri.equals(seen) for seen in self._seen):
                continue
            self._seen.append(contact.uri)
            fresh.append(contact)
        self._waiting[:0] = fresh
        return len(fresh)

    def next(self) -> Contact | None:
        """Return whom to call now; None when there is nobody, or enough were called."""
        if not self._waiting or self._left <= 0:
            return None
        self._left -= 1
        return self._waiting.pop(0)


def _q(party: NameAddr) -> float:
    text = party.parameter("q")
    return float(text) if text is not None and _Q.fullmatch(text) else 1.0


def _user_to_user(uri: SipUri) -> UserToUser | None:
    for name, value in uri.headers:
        if unquote(name).lower() == "user-to-user":
            try:
                return UserToUser.parse(unquote(value))
            except SipParseError:
                return None
    return None
