"""Who a caller is by the word of those whom we trust, and what we say of ours to them.

Theory of operation
-------------------
P-Asserted-Identity (and the older Remote-Party-ID) is the word of the element that sent the
message, not of the caller: it means something only from inside of a trust domain, and is struck
out of what anybody else sends. Whoever reads here has judged that already; nothing in this module
looks at where a message came from.

References
----------
RFC 3325; RFC 3323; RFC 3324; draft-ietf-sip-privacy-04 (Remote-Party-ID); RFC 5876
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ..errors import SipParseError, UsageError
from .grammar import is_token
from .headers import NameAddr
from .message import Request, Response
from .uri import OpaqueUri, SipUri, parse_uri

Header = tuple[str, str]

# Struck out of messages from outside of the trust domain (RFC 3325 section 5).
TRUSTED_ONLY = ("P-Asserted-Identity", "Remote-Party-ID")
# Where the user of an anonymous call stands (RFC 3323 section 4.1.1.3).
ANONYMOUS = NameAddr("Anonymous", SipUri("sip", "anonymous", None, "anonymous.invalid"))

# RFC 3323 section 4.2, RFC 3325 section 9.3, RFC 7044 section 10.1.
PRIVACY = frozenset(("header", "session", "user", "none", "critical", "id", "history"))
_LONGEST = 1024  # characters of one identity
_MOST = 2  # of one header: RFC 3325 section 9.1 allows a SIP URI and a tel URI
_SCHEMES = ("sip", "sips", "tel")
_TEL = re.compile(
    r"\+?[0-9A-Da-d*#().\-]++(?:;[A-Za-z0-9\-]++(?:=[A-Za-z0-9\-_.!~*'()%+&$\[\]:/]++)?)*"
)


@dataclass(frozen=True, slots=True)
class CallerIdentity:
    """A party's identity, asserted by somebody who knows it.

    Parameters
    ----------
    uri
        A SIP or tel URI: ``"sip:+4930123@example.net"``, ``"tel:+4930123"``.
    display_name
        What to show, or None.
    privacy
        What the party wants withheld (RFC 3323): with "id" its identity is told to trusted peers
        alone, and From is anonymous; so it is with "user" and "header". "none" asks for nothing to
        be withheld.
    number
        The telephone number, where one is known: of a tel URI, asserted beside a SIP URI or alone.
    screened
        False where whoever asserted it said that it was not checked (Remote-Party-ID alone).

    Raises
    ------
    UsageError
        The URI is none of the three kinds, or a privacy value is not known.
    """

    uri: str
    display_name: str | None = None
    privacy: frozenset[str] = frozenset()
    number: str | None = None
    screened: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "privacy", frozenset(self.privacy))
        wrong = sorted(self.privacy - PRIVACY)
        if wrong:
            raise UsageError(
                f"privacy {', '.join(wrong)}: choose out of {', '.join(sorted(PRIVACY))}"
            )
        try:
            _checked(parse_uri(self.uri))
        except SipParseError as error:
            raise UsageError(
                f"{self.uri!r} is no identity ({error}): write sip:user@host or tel:+number"
            ) from error
        if len(self.uri) + len(self.display_name or "") > _LONGEST:
            raise UsageError(f"an identity has at most {_LONGEST} characters")
        if self.number is not None and _TEL.fullmatch(self.number) is None:
            raise UsageError(f"{self.number!r} is no telephone number: write +4930123")

    @property
    def is_private(self) -> bool:
        """True where the identity is for trusted peers alone."""
        return bool(self.privacy & {"id", "user", "header"})

    @property
    def name_addr(self) -> NameAddr:
        """Name and URI, as From and P-Asserted-Identity have them."""
        return NameAddr(self.display_name, parse_uri(self.uri))

    @property
    def sender(self) -> NameAddr:
        """What stands in From: anonymous where the identity is withheld (RFC 3323 4.1.1.3)."""
        return ANONYMOUS if self.is_private else self.name_addr


def read_identity(message: Request | Response) -> CallerIdentity | None:
    """Return what a trusted peer asserts of its caller, or None.

    P-Asserted-Identity goes before Remote-Party-ID, of which the one of the calling party counts.
    What is malformed asserts nothing.

    References
    ----------
    RFC 3325 sections 5 and 9.1; draft-ietf-sip-privacy-04 section 4
    """
    privacy = read_privacy(message)
    parties = _parties(message, "P-Asserted-Identity")
    if parties:
        return _identity(parties, privacy)
    calling = isinstance(message, Request)
    for party in _parties(message, "Remote-Party-ID"):
        if (party.parameter("party") or "calling").lower() != ("calling" if calling else "called"):
            continue
        wanted = {
            "full": {"id"},
            "uri": {"id"},
            "name": {"user"},
        }.get((party.parameter("privacy") or "off").lower(), set())
        screened = (party.parameter("screen") or "no").lower() == "yes"
        return _identity([party], privacy | wanted, screened=screened)
    return None


def read_preferred(message: Request) -> CallerIdentity | None:
    """Return which of its identities a caller of ours wants asserted (RFC 3325 section 9.2)."""
    parties = _parties(message, "P-Preferred-Identity")
    return _identity(parties, read_privacy(message)) if parties else None


def read_privacy(message: Request | Response) -> frozenset[str]:
    """Return the values of Privacy that are known (RFC 3323 section 4.2).

    Values of which nothing is known are left out, since nothing can be done for them.
    """
    values: set[str] = set()
    for line in message.headers.lines("Privacy")[:_MOST]:
        # Section 4.2 separates by semicolons; commas are met as well.
        values |= {item.strip().lower() for item in line[:_LONGEST].replace(",", ";").split(";")}
    return frozenset(values & PRIVACY)


def says_who(request: Request, known: str) -> bool:
    """Tell whether a request in a dialog says more of its sender than the From that is known."""
    if any(name in request.headers for name in TRUSTED_ONLY):
        return True
    return NameAddr.parse(known).uri != request.from_.uri


def strike(message: Request | Response) -> None:
    """Take what only trusted peers may say out of a message (RFC 3325 section 5)."""
    for name in TRUSTED_ONLY:
        message.headers.remove(name)


def identity_headers(
    identity: CallerIdentity, *, trusted: bool, form: str = "asserted"
) -> tuple[Header, ...]:
    """Return what goes beside From: the identity to trusted peers, to others the wish alone.

    Parameters
    ----------
    form
        "asserted" for P-Asserted-Identity, "remote-party" for Remote-Party-ID, "both".

    References
    ----------
    RFC 3325 sections 7 and 9.3; RFC 3323 section 4.2
    """
    headers: list[Header] = []
    if trusted and form in ("asserted", "both"):
        values = [str(identity.name_addr)]
        if identity.number is not None and not identity.uri.lower().startswith("tel:"):
            values.append(f"<tel:{identity.number}>")
        headers.append(("P-Asserted-Identity", ", ".join(values)))
    if trusted and form in ("remote-party", "both"):
        privacy = "full" if identity.is_private else "off"
        screen = "yes" if identity.screened else "no"
        value = f"{identity.name_addr};party=calling;screen={screen};privacy={privacy}"
        headers.append(("Remote-Party-ID", value))
    wishes = sorted(value for value in identity.privacy if is_token(value))
    if wishes:
        headers.append(("Privacy", ";".join(wishes)))
    return tuple(headers)


def _parties(message: Request | Response, name: str) -> list[NameAddr]:
    """Return the good values of a header, at most as many as may be."""
    found: list[NameAddr] = []
    for value in message.headers.get_all(name)[: 2 * _MOST]:
        if len(value) > _LONGEST:
            continue
        try:
            party = NameAddr.parse(value)
            _checked(party.uri)
        except SipParseError:
            continue
        found.append(party)
    return found


def _checked(uri: SipUri | OpaqueUri) -> None:
    """Refuse a URI that names nobody (RFC 3325 section 9.1: sip, sips or tel)."""
    if isinstance(uri, SipUri):
        if uri.headers:
            raise SipParseError("an identity can't have headers", status_hint=400)
    elif uri.scheme not in _SCHEMES or _TEL.fullmatch(uri.rest) is None:
        raise SipParseError("an identity is neither a SIP nor a tel URI", status_hint=400)


def _identity(
    parties: list[NameAddr], privacy: frozenset[str] | set[str], *, screened: bool = True
) -> CallerIdentity:
    party = next((each for each in parties if isinstance(each.uri, SipUri)), parties[0])
    numbers = [each.uri.rest for each in parties if isinstance(each.uri, OpaqueUri)]
    return CallerIdentity(
        str(party.uri),
        _shown(party.display_name),
        frozenset(privacy),
        numbers[0].partition(";")[0] if numbers else None,
        screened,
    )


def _shown(name: str | None) -> str | None:
    """Return a display name without what would spoil a line or a page."""
    text = "".join(c for c in name or "" if c.isprintable()).strip()[:256]
    return text or None
