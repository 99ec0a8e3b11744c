"""Bindings: what a registrar keeps of one contact, and how it reads one out of a REGISTER.

References
----------
RFC 3261 section 10.3; RFC 3327 section 5.3 (Path); RFC 5626 section 6 (instances and flows);
RFC 5627 section 3.1 (instance ids)
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace

from ..errors import SipParseError
from .flow import Flow
from .grammar import quote
from .headers import NameAddr
from .message import Request
from .uri import SipUri

_ONE_HOUR = 3600  # seconds
_LONGEST = 2**32 - 1  # RFC 3261 section 20.19
_QVALUE = re.compile(r"0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?")
_REG_ID = re.compile(r"[1-9][0-9]{0,9}")  # RFC 5626 section 11.2: 1 to 2^31 - 1
_INSTANCE = re.compile(r"<[!-;=?-~]{1,200}>")  # RFC 5626 section 4.1: a URN between brackets
MAX_PATHS = 8
MAX_LENGTH = 2048  # characters of a contact with its path: what one phone can make us keep


@dataclass(frozen=True, slots=True)
class Binding:
    """One contact of an address of record.

    Attributes
    ----------
    flow
        The flow that its REGISTER came over.
    instance
        The device, "<urn:uuid:...>", or None where it does not tell.
    reg_id
        Which of the device's flows this is; None without RFC 5626.
    path
        Route values for requests to this contact (RFC 3327).
    """

    contact: SipUri
    flow: Flow
    expires_at: float
    q: float
    call_id: str
    cseq: int
    instance: str | None = None
    reg_id: int | None = None
    path: tuple[str, ...] = ()

    @property
    def is_outbound(self) -> bool:
        """True where the binding is to a flow, and ends with it (RFC 5626 section 6)."""
        return self.reg_id is not None

    @property
    def is_connection(self) -> bool:
        """True where the binding is worth nothing once its connection is gone.

        One of RFC 5626 is not. Any other phone may listen at its contact's address, unless that
        is not where it was heard from: behind a NAT the connection was the only way to it.
        """
        if not self.flow.reliable:
            return False
        return self.is_outbound or (not self.path and self.contact.host != self.flow.remote[0])

    def unconnected(self) -> Binding:
        """Return the binding for when its connection is gone: the phone must be connected to.

        Where it listens its Contact says, or the Path of the proxy before it, as far as that is
        the host it was heard from: names out of messages are not resolved.
        """
        flow = self.flow._replace(connection=0)
        if flow.reliable:
            uri = NameAddr.parse(self.path[0]).uri if self.path else self.contact
            if isinstance(uri, SipUri) and uri.host == flow.remote[0]:
                flow = flow._replace(remote=(uri.host, uri.port or _default_port(flow)))
        return replace(self, flow=flow)

    def is_same(self, other: Binding) -> bool:
        """Compare as RFC 5626 section 6 does, or as RFC 3261 section 10.3 step 7."""
        if self.is_outbound and other.is_outbound:
            return (self.instance, self.reg_id) == (other.instance, other.reg_id)
        return self.is_outbound == other.is_outbound and self.contact.equals(other.contact)

    def header_value(self, now: float) -> str:
        """Return the Contact value of a response, with the seconds that are left."""
        left = max(1, math.ceil(self.expires_at - now))
        q = "" if self.q == 1.0 else f";q={self.q:g}"
        instance = "" if self.instance is None else f";+sip.instance={quote(self.instance)}"
        reg_id = "" if self.reg_id is None else f";reg-id={self.reg_id}"
        return f"<{self.contact}>{q}{instance}{reg_id};expires={left}"


def _default_port(flow: Flow) -> int:  # RFC 3261 section 19.1.2
    return 5061 if flow.transport in ("TLS", "WSS") else 5060


def delta_seconds(text: str | None) -> int | None:
    """Read seconds; None where there is no text."""
    if text is None:
        return None
    if not (text.isascii() and text.isdigit()):
        return _ONE_HOUR  # RFC 3261 section 20.10: malformed values count as 3600
    return min(int(text), _LONGEST) if len(text) <= 10 else _LONGEST


def q_of(contact: NameAddr) -> float:
    """Return a contact's preference, 1.0 unless it says otherwise."""
    text = contact.parameter("q") or ""
    return float(text) if _QVALUE.fullmatch(text) else 1.0


def instance_of(contact: NameAddr) -> str | None:
    """Return the instance id of a contact, or None."""
    text = contact.parameter("+sip.instance") or ""
    return text if _INSTANCE.fullmatch(text) else None


def reg_id_of(contact: NameAddr) -> int | None:
    """Return the reg-id of a contact; None for one without an instance id, which says nothing."""
    text = contact.parameter("reg-id") or ""
    if _REG_ID.fullmatch(text) is None or instance_of(contact) is None:
        return None
    number = int(text)
    return number if number < 2**31 else None


def path_of(request: Request) -> tuple[str, ...]:
    """Return the values of Path, first to be visited first.

    Raises
    ------
    SipParseError
        One that is no SIP URI in angle brackets, or too many of them; `status_hint` 400.
    """
    values = request.headers.get_all("Path")
    if len(values) > MAX_PATHS:
        raise SipParseError(f"more than {MAX_PATHS} values of Path", status_hint=400)
    for value in values:
        if not value.lstrip().startswith("<") or not isinstance(NameAddr.parse(value).uri, SipUri):
            raise SipParseError("a value of Path is not a SIP URI in brackets", status_hint=400)
    return tuple(values)


def first_hop_is_outbound(request: Request, path: tuple[str, ...]) -> bool:
    """Tell whether the hop next to the phone keeps its flows (RFC 5626 section 6).

    That is us when there is no proxy between, else a proxy that says "ob" in its Path. Section 6
    has the first value looked at; the hop next to the phone writes the last, and where several
    proxies stand between, that is the one that matters. Either will do.
    """
    if len(request.vias) == 1:
        return True
    return any(_says_ob(path[at]) for at in (0, -1)) if path else False


def _says_ob(value: str) -> bool:
    uri = NameAddr.parse(value).uri
    return isinstance(uri, SipUri) and any(name.lower() == "ob" for name, _ in uri.parameters)
