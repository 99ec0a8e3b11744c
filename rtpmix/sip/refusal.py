"""What a server refuses before it looks at what a request means (RFC 3261 section 8.2)."""

from __future__ import annotations

from typing import NamedTuple

from .agent_config import UserAgentConfig
from .core import Core, Header
from .flow import Flow
from .info_packages import refusal_of_info
from .message import Request
from .reliable import takes_reliable
from .session_timer import is_too_small
from .uri import OpaqueUri, SipUri

# The methods that the IANA registry knows: one of them that we don't take is 405, another is 501
# (sections 21.4.6 and 21.5.2).
KNOWN_METHODS = frozenset(
    (
        *("ACK", "BYE", "CANCEL", "INFO", "INVITE", "MESSAGE", "NOTIFY", "OPTIONS", "PRACK"),
        *("PUBLISH", "REFER", "REGISTER", "SUBSCRIBE", "UPDATE"),
    )
)
_SCHEMES = ("tel",)  # besides sip and sips: a number to dial, which the user may know


class Refusal(NamedTuple):
    """A status and what must stand beside it."""

    status: int
    headers: tuple[Header, ...] = ()
    reason: str | None = None


def refusal_of(request: Request, config: UserAgentConfig) -> Refusal | None:
    """Return why a request is refused, or None; what is refused changes no state.

    A request that reaches us with no hops left is refused too, since a server that bridges
    calls onwards would else keep a loop alive; OPTIONS, by which a caller finds out where its
    hops went, and whatever belongs to a dialog are taken (RFC 7332 section 4).

    References
    ----------
    RFC 3261 sections 8.2.1, 8.2.2.1, 8.2.2.3 and 8.2.3, in this order
    """
    method = request.method
    if method not in config.methods:
        status = 405 if method in KNOWN_METHODS else 501
        return Refusal(status, (("Allow", ", ".join(config.methods)),))
    uri = request.request_uri
    if isinstance(uri, OpaqueUri) and uri.scheme not in _SCHEMES:
        return Refusal(416)
    if request.max_forwards == 0 and method != "OPTIONS" and request.to.tag is None:
        return Refusal(483)
    unknown = [option for option in request.require if option not in config.options]
    if unknown:
        return Refusal(420, (("Unsupported", ", ".join(unknown)),))
    if method in ("INVITE", "UPDATE") and is_too_small(request, config):
        return Refusal(422, (("Min-SE", str(config.min_se)),))
    if method == "INVITE":
        return _refusal_of_invite(request, config)
    if method == "INFO" and (found := refusal_of_info(request, config.info_packages)):
        return Refusal(*found)
    return None


def _refusal_of_invite(request: Request, config: UserAgentConfig) -> Refusal | None:
    if config.reliable == "required" and request.to.tag is None and not takes_reliable(request):
        return Refusal(421, (("Require", "100rel"),))  # RFC 3262 section 3
    if request.body:
        if request.content_type not in config.accept:
            return Refusal(415, (("Accept", ", ".join(config.accept)),))
        encoding = request.headers.get("Content-Encoding")
        if encoding is not None and encoding.lower() != "identity":
            return Refusal(415, (("Accept-Encoding", "identity"),))
    contacts = request.contacts
    if not contacts:
        # Section 8.1.1.8 asks for exactly one; in a re-INVITE the old one stands.
        return None if request.to.tag is not None else Refusal(400, (), "Missing Contact")
    if not isinstance(contacts[0].uri, SipUri):
        return Refusal(400, (), "Contact is not a SIP URI")
    return None


def options_answer(core: Core, flow: Flow) -> tuple[Header, ...]:
    """Return the headers that tell what we can do (section 11.2)."""
    return (core.contact(flow), *core.capabilities, core.accept)
