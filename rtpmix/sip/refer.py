"""What a REFER asks for, and the message fragments that tell how it goes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from urllib.parse import quote, unquote

from ..errors import SipParseError
from .dialog_reference import DialogReference
from .headers import NameAddr
from .message import REASONS, Request
from .uri import OpaqueUri, SipUri

SIPFRAG = "message/sipfrag;version=2.0"
_LONGEST = 2048  # characters of a Refer-To


@dataclass(frozen=True, slots=True)
class Reference:
    """A REFER, read.

    Parameters
    ----------
    target
        Whom to call; without the headers and the method that its URI may have carried.
    replaces
        The dialog to replace there, which makes the transfer an attended one.
    referred_by
        The Referred-By header as it came, None where it is missing or malformed.
    silent
        The sender wants no NOTIFY (``Refer-Sub: false``, RFC 4488).
    """

    target: SipUri | OpaqueUri
    replaces: DialogReference | None = None
    referred_by: str | None = None
    silent: bool = False


def read_refer(request: Request) -> Reference:
    """Read a REFER.

    Of the headers that a Refer-To URI may carry only Replaces is taken: all others would let the
    sender write into our INVITE what it likes.

    Raises
    ------
    SipParseError
        400: not exactly one good Refer-To; 501: another method than INVITE.

    References
    ----------
    RFC 3515 section 2.4.2; RFC 3261 section 19.1.1; RFC 4488 section 4
    """
    lines = request.headers.lines("Refer-To")
    if len(lines) != 1 or len(lines[0]) > _LONGEST:
        raise SipParseError("a REFER needs one Refer-To", status_hint=400)
    target = NameAddr.parse(lines[0]).uri
    replaces = None
    if isinstance(target, SipUri):
        if (target.parameter("method") or "INVITE").upper() != "INVITE":
            raise SipParseError("only an INVITE can be referred to", status_hint=501)
        replaces = _replaces_of(target)
        kept = tuple(item for item in target.parameters if item[0] != "method")
        target = replace(target, parameters=kept, headers=())
    return Reference(
        target,
        replaces,
        _referred_by(request),
        (request.headers.get("Refer-Sub") or "").split(";")[0].strip().lower() == "false",
    )


def refer_to(target: str, replaces: DialogReference | None = None) -> str:
    """Write a Refer-To; with ``replaces`` for an attended transfer (RFC 5589 section 7)."""
    if replaces is None:
        return f"<{target}>"
    return f"<{target}?Replaces={quote(str(replaces), safe='')}>"


def sipfrag(status: int, reason: str = "") -> bytes:
    """Return the fragment that tells a status (RFC 3420; RFC 3515 section 2.4.5).

    Nothing of the response but its status line: more could tell the sender about the target.
    """
    phrase = "".join(c for c in reason if c.isprintable())[:80] or REASONS.get(status, "Unknown")
    return f"SIP/2.0 {status} {phrase}\r\n".encode()


def read_sipfrag(body: bytes) -> tuple[int, str] | None:
    """Return status and reason of a fragment, or None for what is none."""
    version, _, rest = body[:200].partition(b"\n")[0].decode("utf-8", "replace").partition(" ")
    status, _, reason = rest.strip().partition(" ")
    if version != "SIP/2.0" or len(status) != 3 or not (status.isascii() and status.isdigit()):
        return None
    return int(status), reason


def _replaces_of(target: SipUri) -> DialogReference | None:
    values = [value for name, value in target.headers if unquote(name).lower() == "replaces"]
    if len(values) > 1:
        raise SipParseError("a Refer-To can replace one dialog only", status_hint=400)
    return DialogReference.parse(unquote(values[0])) if values else None


def _referred_by(request: Request) -> str | None:
    lines = request.headers.lines("Referred-By")
    if len(lines) != 1 or len(lines[0]) > _LONGEST:
        return None
    try:
        NameAddr.parse(lines[0])
    except SipParseError:
        return None
    return lines[0]
