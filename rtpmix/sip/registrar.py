"""The registrar's table: which contacts an address of record has, and until when.

Who may register for what is decided before: `Registrar.register` takes the address of record as
already proved.  Each binding remembers the flow its REGISTER came over, so that a phone behind a
NAT is called back through the hole it made.

References
----------
RFC 3261 section 10.3; RFC 3327 section 5.3; RFC 5626 section 6
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from ..errors import SipParseError, UsageError
from .bindings import (
    MAX_LENGTH,
    Binding,
    delta_seconds,
    first_hop_is_outbound,
    instance_of,
    path_of,
    q_of,
    reg_id_of,
)
from .flow import Flow
from .headers import NameAddr
from .message import Request
from .uri import SipUri

__all__ = ["Binding", "Registrar", "Reply"]

_ONE_HOUR = 3600  # seconds: RFC 3261 section 10.3 step 7 allows 423 for less than this only

Changed = Callable[[str, Sequence[Binding]], None]


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
    on_change
        Told the address of record and all its bindings when these have changed.
    """

    def __init__(
        self,
        *,
        min_expires: int = 60,
        max_expires: int = 3600,
        default_expires: int = 3600,
        max_contacts: int = 10,
        max_bindings: int = 100_000,
        on_change: Changed = lambda aor, bindings: None,
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
        self._on_change = on_change
        self._bindings: dict[str, list[Binding]] = {}
        self._by_connection: dict[int, dict[str, None]] = {}  # addresses of record
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
        RFC 3261 section 10.3 steps 6 to 8; RFC 3327 section 5.3; RFC 5626 section 6
        """
        old = self._live(aor, now)
        try:
            path = path_of(request)
            outbound = self._takes_outbound(request, path)
            new = self._changed(old, request, flow, path, outbound, now)
        except SipParseError:
            return Reply(400, "Bad Path", [])
        except _RefusedError as refused:
            return refused.reply
        if self._count - len(self._bindings.get(aor, ())) + len(new) > self._max_bindings:
            return Reply(503, "Service Unavailable", [("Retry-After", str(self._min_expires))])
        if new != self._bindings.get(aor, []):
            self._store(aor, new)
            self._on_change(aor, new)
        headers = [("Contact", each.header_value(now)) for each in new]
        headers += [("Path", value) for value in path]
        if outbound:
            headers.append(("Require", "outbound"))
        return Reply(200, "OK", headers)

    def lookup(self, aor: str, now: float) -> list[Binding]:
        """Return the live bindings, highest q first, the most recently made first among equals."""
        newest_first = reversed(self._live(aor, now))
        return sorted(newest_first, key=lambda binding: -binding.q)

    def restore(self, aor: str, bindings: Sequence[Binding]) -> None:
        """Put back what was kept elsewhere, as far as there is room; `on_change` is not told."""
        room = self._max_bindings - self._count + len(self._bindings.get(aor, ()))
        self._store(aor, list(bindings)[: min(room, self._max_contacts)])

    def remove(self, aor: str, binding: Binding) -> bool:
        """Drop a binding that proved to lead nowhere (RFC 5626 section 6); False if it is gone."""
        bindings = self._bindings.get(aor, [])
        if binding not in bindings:
            return False
        self._replace(aor, [each for each in bindings if each != binding])
        return True

    def connection_closed(self, flow: Flow) -> list[str]:
        """Drop the bindings that end with a connection; return the addresses of record.

        References
        ----------
        RFC 5626 section 6
        """
        lost = []
        for aor in self._by_connection.pop(flow.connection, ()):
            bindings = self._bindings.get(aor, [])
            kept = [
                each.unconnected() if each.flow.connection == flow.connection else each
                for each in bindings
                if each.flow.connection != flow.connection or not each.is_connection
            ]
            if len(kept) < len(bindings):
                lost.append(aor)
            self._replace(aor, kept)
        return lost

    def expire(self, now: float) -> int:
        """Drop what has run out, and return how many bindings that were."""
        before = self._count
        for aor in list(self._bindings):
            live = self._live(aor, now)
            if len(live) < len(self._bindings[aor]):
                self._replace(aor, live)
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

    def _replace(self, aor: str, bindings: list[Binding]) -> None:
        self._store(aor, bindings)
        self._on_change(aor, bindings)

    def _store(self, aor: str, bindings: list[Binding]) -> None:
        old = self._bindings.get(aor, ())
        self._count += len(bindings) - len(old)
        for each in old:
            addresses = self._by_connection.get(each.flow.connection)
            if addresses is not None:
                addresses.pop(aor, None)
                if not addresses:
                    del self._by_connection[each.flow.connection]
        for each in bindings:
            if each.flow.connection:
                self._by_connection.setdefault(each.flow.connection, {})[aor] = None
        if bindings:
            self._bindings[aor] = bindings
        else:
            self._bindings.pop(aor, None)

    def _takes_outbound(self, request: Request, path: tuple[str, ...]) -> bool:
        """Tell whether a request registers a flow; refuse one whose first hop can't keep it."""
        if request.contact_is_star:
            return False
        contacts = request.contacts
        flows = [each for each in contacts if reg_id_of(each) is not None]
        if not flows:
            return False
        if not first_hop_is_outbound(request, path):
            if "outbound" in request.supported:
                raise _RefusedError(439, "First Hop Lacks Outbound Support")
            return False
        if sum(1 for each in contacts if self._expires(each, request) > 0) > 1:
            raise _RefusedError(400, "One Flow at a Time")
        return True

    def _changed(
        self,
        old: list[Binding],
        request: Request,
        flow: Flow,
        path: tuple[str, ...],
        outbound: bool,
        now: float,
    ) -> list[Binding]:
        """Return the bindings after the request; raise when any part of it can't be done."""
        if request.contact_is_star:
            return self._without_all(old, request)
        new = list(old)
        for contact in request.contacts:
            if not isinstance(contact.uri, SipUri):
                raise _RefusedError(400, "Contact Is Not a SIP URI")
            expires = self._expires(contact, request)
            made = Binding(
                contact.uri,
                flow,
                now + expires,
                q_of(contact),
                request.call_id,
                request.cseq.number,
                instance_of(contact),
                reg_id_of(contact) if outbound else None,
                path,
            )
            if len(str(made.contact)) + sum(map(len, path)) > MAX_LENGTH:
                raise _RefusedError(400, "Contact Is Too Long")
            at = next((at for at, each in enumerate(new) if each.is_same(made)), None)
            if at is not None:
                replaced = new.pop(at)
                if replaced in old:  # not one that this very request has just made
                    _check_order(replaced, request)
            if expires > 0:
                new.append(made)
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
        wanted = delta_seconds(contact.parameter("expires"))
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
