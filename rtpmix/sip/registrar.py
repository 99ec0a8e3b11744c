"""The registrar's table: which contacts an address of record has, and until when.

Who may register for what is decided before: `Registrar.register` takes the address of record as
already proved.  Each binding remembers the flow its REGISTER came over, so that a phone behind a
NAT is called back through the hole it made.

References
----------
RFC 3261 section 10.3
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from ..errors import UsageError
from .flow import Flow
from .headers import NameAddr
from .message import Request
from .uri import SipUri

_ONE_HOUR = 3600  # seconds: RFC 3261 section 10.3 step 7 allows 423 for less than this only
_LONGEST = 2**32 - 1  # RFC 3261 section 20.19
_QVALUE = re.compile(r"0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?")


@dataclass(frozen=True, slots=True)
class Binding:
    """One contact of an address of record."""

    contact: SipUri
    flow: Flow
    expires_at: float
    q: float
    call_id: str
    cseq: int

    def header_value(self, now: float) -> str:
        """Return the Contact value of a response, with the seconds that are left."""
        left = max(1, math.ceil(self.expires_at - now))
        q = "" if self.q == 1.0 else f";q={self.q:g}"
        return f"<{self.contact}>{q};expires={left}"


class Reply(NamedTuple):
    """How to answer a REGISTER."""

    status: int
    reason: str
    headers: list[tuple[str, str]]


class _RefusedError(Exception):
    """The request fails as a whole; nothing was changed."""

    def __init__(self, status: int, reason: str, *headers: tuple[str, str]) -> None:
        super().__init__(reason)
        self.reply = Reply(status, reason, list(headers))


class Registrar:
    """Bindings by address of record.

    Parameters
    ----------
    min_expires, max_expires, default_expires
        Seconds: shorter wishes are refused with 423, longer ones are cut, absent ones filled in.
    max_contacts
        Bindings of one address of record.
    max_bindings
        Bindings in all.
    """

    def __init__(
        self,
        *,
        min_expires: int = 60,
        max_expires: int = 3600,
        default_expires: int = 3600,
        max_contacts: int = 10,
        max_bindings: int = 100_000,
    ) -> None:
        if not 1 <= min_expires <= default_expires <= max_expires:
            raise UsageError("expires must be 1 <= min_expires <= default_expires <= max_expires")
        if max_contacts < 1 or max_bindings < 1:
            raise UsageError("max_contacts and max_bindings must be at least 1")
        self._min_expires = min_expires
        self._max_expires = max_expires
        self._default_expires = default_expires
        self._max_contacts = max_contacts
        self._max_bindings = max_bindings
        self._bindings: dict[str, list[Binding]] = {}
        self._count = 0

    def register(self, request: Request, flow: Flow, aor: str, now: float) -> Reply:
        """Add, refresh or remove bindings as a REGISTER says, all of them or none.

        Parameters
        ----------
        flow
            How the request came.
        aor
            The address of record that its sender may register for.

        References
        ----------
        RFC 3261 section 10.3 steps 6 to 8
        """
        old = self._live(aor, now)
        try:
            new = self._changed(old, request, flow, now)
        except _RefusedError as refused:
            return refused.reply
        if self._count - len(self._bindings.get(aor, ())) + len(new) > self._max_bindings:
            return Reply(503, "Service Unavailable", [("Retry-After", str(self._min_expires))])
        self._store(aor, new)
        return Reply(200, "OK", [("Contact", each.header_value(now)) for each in new])

    def lookup(self, aor: str, now: float) -> list[Binding]:
        """Return the live bindings, highest q first, the most recently made first among equals."""
        newest_first = reversed(self._live(aor, now))
        return sorted(newest_first, key=lambda binding: -binding.q)

    def expire(self, now: float) -> int:
        """Drop what has run out, and return how many bindings that were."""
        before = self._count
        for aor in list(self._bindings):
            self._store(aor, self._live(aor, now))
        return before - self._count

    def bindings(self) -> Iterator[tuple[str, Binding]]:
        """Give every (address of record, binding), also those that ran out but were not dropped."""
        for aor, bindings in list(self._bindings.items()):
            for binding in bindings:
                yield aor, binding

    def __len__(self) -> int:
        return self._count

    def _live(self, aor: str, now: float) -> list[Binding]:
        return [each for each in self._bindings.get(aor, ()) if each.expires_at > now]

    def _store(self, aor: str, bindings: list[Binding]) -> None:
        self._count += len(bindings) - len(self._bindings.get(aor, ()))
        if bindings:
            self._bindings[aor] = bindings
        else:
            self._bindings.pop(aor, None)

    def _changed(
        self, old: list[Binding], request: Request, flow: Flow, now: float
    ) -> list[Binding]:
        """Return the bindings after the request; raise when any part of it can't be done."""
        if request.contact_is_star:
            return self._without_all(old, request)
        new = list(old)
        for contact in request.contacts:
            if not isinstance(contact.uri, SipUri):
                raise _RefusedError(400, "Contact Is Not a SIP URI")
            expires = self._expires(contact, request)
            at = _index_of(contact.uri, new)
            if at is not None:
                replaced = new.pop(at)
                if replaced in old:  # not one that this very request has just made
                    _check_order(replaced, request)
            if expires > 0:
                new.append(
                    Binding(
                        contact.uri,
                        flow,
                        now + expires,
                        _q(contact),
                        request.call_id,
                        request.cseq.number,
                    )
                )
        if len(new) > max(self._max_contacts, len(old)):
            raise _RefusedError(403, "Too Many Contacts")
        return new

    def _without_all(self, old: list[Binding], request: Request) -> list[Binding]:
        """Step 6: ``Contact: *`` removes every binding, and needs ``Expires: 0``."""
        if request.expires != 0:
            raise _RefusedError(400, "Contact * Needs Expires 0")
        for binding in old:
            _check_order(binding, request)
        return []

    def _expires(self, contact: NameAddr, request: Request) -> int:
        """Step 7: the seconds that a contact gets, 0 to remove it."""
        wanted = _delta_seconds(contact.parameter("expires"))
        if wanted is None:
            wanted = request.expires
        if wanted is None:
            return self._default_expires
        if 0 < wanted < min(self._min_expires, _ONE_HOUR):
            minimum = ("Min-Expires", str(self._min_expires))
            raise _RefusedError(423, "Interval Too Brief", minimum)
        return min(wanted, self._max_expires)


def _check_order(binding: Binding, request: Request) -> None:
    """Refuse an old request of the same client that comes late (steps 6 and 7)."""
    if binding.call_id == request.call_id and request.cseq.number <= binding.cseq:
        raise _RefusedError(500, "Out of Order")


def _index_of(uri: SipUri, bindings: list[Binding]) -> int | None:
    found = (at for at, binding in enumerate(bindings) if binding.contact.equals(uri))
    return next(found, None)


def _delta_seconds(text: str | None) -> int | None:
    if text is None:
        return None
    if not (text.isascii() and text.isdigit()):
        return _ONE_HOUR  # RFC 3261 section 20.10: malformed values count as 3600
    return min(int(text), _LONGEST) if len(text) <= 10 else _LONGEST


def _q(contact: NameAddr) -> float:
    text = contact.parameter("q") or ""
    return float(text) if _QVALUE.fullmatch(text) else 1.0
