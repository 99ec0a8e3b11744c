"""What a SUBSCRIBE says, and what is refused before anybody asks who sent it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from ..errors import SipParseError
from .grammar import find_parameter, is_token, parse_parameters
from .message import Request
from .refusal import Refusal


class EventName(NamedTuple):
    """An Event header: the package, and what tells two subscriptions in one dialog apart."""

    package: str
    id: str | None = None

    def __str__(self) -> str:
        return self.package if self.id is None else f"{self.package};id={self.id}"


def read_event(request: Request) -> EventName | None:
    """Return the Event header, or None where it is missing, repeated or malformed.

    References
    ----------
    RFC 6665 sections 8.2.1 and 8.4
    """
    lines = request.headers.lines("Event")
    if len(lines) != 1:
        return None
    package, semicolon, rest = lines[0].partition(";")
    package = package.strip(" \t")
    try:
        name = find_parameter(parse_parameters(semicolon + rest), "id")
    except SipParseError:
        return None
    if not is_token(package) or (name is not None and not is_token(name)):
        return None
    return EventName(package.lower(), name)


def refusal_of_subscribe(
    request: Request, packages: Mapping[str, str], min_expires: int
) -> Refusal | None:
    """Return why a SUBSCRIBE is refused, or None.

    Parameters
    ----------
    packages
        Event package -> the media type of its documents.

    References
    ----------
    RFC 6665 sections 4.2.1.1 and 8.3.2; RFC 3265 section 7.3.2
    """
    event = read_event(request)
    if event is None or event.package not in packages:
        return Refusal(489, (("Allow-Events", ", ".join(packages)),))
    if not request.contacts:
        return Refusal(400, (), "Missing Contact")
    if not _accepts(request, packages[event.package]):
        return Refusal(406)
    expires = request.expires
    if expires is not None and 0 < expires < min_expires:
        return Refusal(423, (("Min-Expires", str(min_expires)),))
    return None


def _accepts(request: Request, media_type: str) -> bool:
    """Tell whether a watcher takes documents of a type; without Accept it takes the default."""
    offered = [item.split(";")[0].strip().lower() for item in request.headers.get_all("Accept")]
    if not offered:
        return True
    kind = media_type.split(";")[0]
    return any(item in (kind, "*/*", f"{kind.split('/')[0]}/*") for item in offered)
