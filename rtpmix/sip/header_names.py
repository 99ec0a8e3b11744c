"""Header names: their RFC spelling, compact forms, and which of them hold lists."""

from __future__ import annotations

# Names as they are written, with the compact form where RFC 3261 section 7.3.3 or a later RFC
# gives one.
_COMPACT = {
    "Accept-Contact": "a",  # RFC 3841
    "Allow-Events": "u",  # RFC 6665
    "Call-ID": "i",
    "Contact": "m",
    "Content-Encoding": "e",
    "Content-Length": "l",
    "Content-Type": "c",
    "From": "f",
    "Event": "o",  # RFC 6665
    "Identity": "y",  # RFC 8224
    "Refer-To": "r",  # RFC 3515
    "Referred-By": "b",  # RFC 3892
    "Reject-Contact": "j",  # RFC 3841
    "Request-Disposition": "d",  # RFC 3841
    "Session-Expires": "x",  # RFC 4028
    "Subject": "s",
    "Supported": "k",
    "To": "t",
    "Via": "v",
}
# Headers whose value is a comma-separated list, so that repeating the header means the same as
# extending the list (RFC 3261 section 7.3.1). Others may hold commas that separate nothing.
LIST_HEADERS = frozenset(
    (
        *("Accept", "Accept-Contact", "Accept-Encoding", "Accept-Language", "Alert-Info", "Allow"),
        *("Allow-Events", "Call-Info", "Contact", "Content-Encoding", "Content-Language"),
        *("Diversion", "Error-Info", "History-Info", "In-Reply-To", "P-Asserted-Identity"),
        *("P-Associated-URI", "P-Preferred-Identity", "Path", "Proxy-Require", "Reason"),
        *("Record-Route", "Reject-Contact", "Request-Disposition", "Require", "Route"),
        *("Security-Client", "Security-Server", "Security-Verify", "Service-Route", "Supported"),
        *("Remote-Party-ID", "Unsupported", "Via", "Warning"),
    )
)
_OTHER_NAMES = (
    *("Authentication-Info", "Authorization", "CSeq", "Content-Disposition", "Date", "Expires"),
    *("Info-Package", "Join", "Recv-Info", "Refer-Sub", "Target-Dialog"),
    *("Max-Forwards", "MIME-Version", "Min-Expires", "Min-SE", "Organization", "Priority"),
    *("Proxy-Authenticate", "Proxy-Authorization", "RAck", "Replaces", "Reply-To", "Retry-After"),
    *("RSeq", "Server", "Subscription-State", "Timestamp", "User-Agent", "WWW-Authenticate"),
    *("Privacy", "Session-ID", "User-to-User"),
)


def _spellings() -> dict[str, str]:
    table = {}
    for name in {*_COMPACT, *LIST_HEADERS, *_OTHER_NAMES}:
        compact = _COMPACT.get(name, name)
        for spelling in (name, name.lower(), name.upper(), compact, compact.upper()):
            table[spelling] = name
    return table


KNOWN_NAMES = _spellings()  # any usual spelling -> the canonical name


def canonical_name(name: str) -> str:
    """Return the one name for a header: RFC spelling where known, else lower case."""
    known = KNOWN_NAMES.get(name)
    if known is None:
        name = name.lower()
        known = KNOWN_NAMES.get(name, name)
    return known
