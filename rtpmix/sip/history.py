"""Where a call was meant to go before it came here: History-Info and Diversion.

Both say what others have done with the call, so they are no better than the word of whoever sent
them; a program that bills or lets in by them asks first whether the peer is trusted.

References
----------
RFC 7044; RFC 5806; RFC 4458 (the cause parameter)
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote

from ..errors import SipParseError
from .headers import Headers, NameAddr
from .uri import SipUri

_MOST = 32  # entries that are read of one message
_LONGEST = 1024  # characters of one entry
_INDEX = re.compile(r"[0-9]{1,4}(?:\.[0-9]{1,4}){0,31}")
_CAUSE = re.compile(r"[;\s]cause\s*=\s*([0-9]{3})(?![0-9])", re.IGNORECASE)

# RFC 4458 section 3.1, and the reasons of RFC 5806 section 9 in its words.
_REASONS = {
    302: "unconditional",
    404: "unknown",
    408: "no-answer",
    480: "unavailable",
    486: "user-busy",
    487: "deflection",
    503: "unavailable",
}
_CAUSES = {
    "user-busy": 486,
    "no-answer": 408,
    "unavailable": 503,
    "unconditional": 302,
    "time-of-day": None,
    "do-not-disturb": None,
    "deflection": 487,
    "follow-me": None,
    "out-of-service": 503,
    "away": None,
    "unknown": 404,
}


@dataclass(frozen=True, slots=True)
class Diverted:
    """One target that a call had on its way.

    Attributes
    ----------
    uri
        Who was to be reached.
    display_name
        Its name, or None.
    reason
        Why the call went on from there, in the words of RFC 5806: "user-busy", "no-answer",
        "unconditional", "deflection", "unavailable" ...; empty where nothing was said.
    cause
        The status that stands for it (RFC 4458), or None.
    index
        The place in the tree of History-Info, "1.2"; empty for Diversion.
    count
        How often it was diverted there (Diversion's counter).
    private
        The entry is not for the called party's eyes (RFC 7044 section 10.1, RFC 5806 section 7).
    header
        "History-Info" or "Diversion".
    """

    uri: str
    display_name: str | None = None
    reason: str = ""
    cause: int | None = None
    index: str = ""
    count: int = 1
    private: bool = False
    header: str = "History-Info"


def read_history(headers: Headers) -> tuple[Diverted, ...]:
    """Return the targets of a call, the first one first; malformed entries are left out.

    Of History-Info all entries, the present target as the last of them; without one, the
    diverting parties of Diversion.
    """
    entries: list[tuple[tuple[int, ...], Diverted]] = []
    for value in headers.get_all("History-Info")[:_MOST]:
        party = _party(value)
        index = party.parameter("index") if party is not None else None
        if party is None or index is None or _INDEX.fullmatch(index) is None:
            continue
        key = tuple(int(part) for part in index.split("."))
        entries.append((key, _history_entry(party, index)))
    if entries:
        return tuple(entry for _, entry in sorted(entries, key=lambda pair: pair[0]))
    parties = [_party(value) for value in headers.get_all("Diversion")[:_MOST]]
    # RFC 5806 section 4: the topmost is the latest.
    return tuple(_diversion(party) for party in reversed(parties) if party is not None)


def _party(value: str) -> NameAddr | None:
    if len(value) > _LONGEST:
        return None
    try:
        return NameAddr.parse(value)
    except SipParseError:
        return None


def _history_entry(party: NameAddr, index: str) -> Diverted:
    uri, cause, private = party.uri, None, False
    if isinstance(uri, SipUri):
        for name, value in uri.headers:
            text = unquote(value)
            if unquote(name).lower() == "reason":
                found = _CAUSE.search(f";{text}")
                cause = int(found[1]) if found else cause
            elif unquote(name).lower() == "privacy":
                private = private or "history" in text.lower()
        if cause is None:
            text = uri.parameter("cause") or ""
            cause = int(text) if text.isascii() and text.isdigit() and len(text) == 3 else None
        uri = SipUri(uri.scheme, uri.user, uri.password, uri.host, uri.port, uri.parameters)
    reason = _REASONS.get(cause, "") if cause is not None else ""
    return Diverted(str(uri), _shown(party), reason, cause, index, 1, private)


def _diversion(party: NameAddr) -> Diverted:
    reason = (party.parameter("reason") or "").lower()
    reason = reason if reason in _CAUSES else "unknown"
    counter = party.parameter("counter") or ""
    known = counter.isascii() and counter.isdigit() and len(counter) <= 3
    return Diverted(
        str(party.uri),
        _shown(party),
        reason,
        _CAUSES[reason],
        "",
        max(1, int(counter)) if known else 1,
        (party.parameter("privacy") or "off").lower() != "off",
        "Diversion",
    )


def _shown(party: NameAddr) -> str | None:
    text = "".join(c for c in party.display_name or "" if c.isprintable()).strip()[:256]
    return text or None
