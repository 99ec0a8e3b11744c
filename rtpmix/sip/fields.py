"""The headers that a user agent relies on, read once for each message and strictly.

Each ``read_...`` takes the lines under one header name and is meant for `Headers.typed`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from ..errors import SipParseError
from .grammar import is_call_id, parse_number
from .header_values import CSeq, NameAddr, Via, parse_name_addr_list, parse_via_list
from .headers import Headers

MAX_VIAS: Final = 100  # more hops than Max-Forwards' usual 70
MAX_DELTA_SECONDS: Final = 2**32 - 1
# A phone's Contact and a proxy's Record-Route are the same in every call.
_REMEMBERED: Final = 1024  # lines
_LONGEST_REMEMBERED: Final = 256  # characters
_HOPS: Final = {str(number): number for number in range(1, 256)}
MALFORMED_EXPIRES: Final = 3600  # seconds; RFC 3261 sections 10.2.1.1 and 20.19


def _single(lines: Sequence[str], name: str) -> str:
    if len(lines) != 1:
        raise SipParseError(f"{name} is {'missing' if not lines else 'repeated'}", status_hint=400)
    return lines[0]


def read_vias(lines: Sequence[str]) -> list[Via]:
    vias = parse_via_list(lines)
    if not vias:
        raise SipParseError("Via is missing", status_hint=400)
    if len(vias) > MAX_VIAS:
        raise SipParseError(f"more than {MAX_VIAS} Vias", status_hint=400)
    return vias


def read_from(lines: Sequence[str]) -> NameAddr:
    return NameAddr.parse(lines[0] if len(lines) == 1 else _single(lines, "From"))


def read_to(lines: Sequence[str]) -> NameAddr:
    line = lines[0] if len(lines) == 1 else _single(lines, "To")
    if line[-1:] == ">" and len(line) <= _LONGEST_REMEMBERED:  # no tag yet: whom everybody calls
        return _read_callee(line)
    return NameAddr.parse(line)


_read_callee = lru_cache(maxsize=_REMEMBERED)(NameAddr.parse)


def read_call_id(lines: Sequence[str]) -> str:
    call_id = lines[0] if len(lines) == 1 else _single(lines, "Call-ID")
    if not is_call_id(call_id):
        raise SipParseError("the Call-ID is malformed", status_hint=400)
    return call_id


def read_cseq(lines: Sequence[str]) -> CSeq:
    line = lines[0] if len(lines) == 1 else _single(lines, "CSeq")
    return _read_cseq(line) if len(line) <= _LONGEST_CSEQ else CSeq.parse(line)


_LONGEST_CSEQ: Final = 16  # characters, of those that are remembered: 1 INVITE, 2 BYE
_read_cseq = lru_cache(maxsize=_REMEMBERED)(CSeq.parse)


def read_contacts(lines: Sequence[str]) -> list[NameAddr]:
    if len(lines) == 1 and lines[0] == "*":
        return []
    return read_name_addrs(lines)


def read_name_addrs(lines: Sequence[str]) -> list[NameAddr]:
    if len(lines) == 1 and len(lines[0]) <= _LONGEST_REMEMBERED:
        return list(_read_line(lines[0]))
    return parse_name_addr_list(lines)


@lru_cache(maxsize=_REMEMBERED)
def _read_line(line: str) -> tuple[NameAddr, ...]:
    return tuple(parse_name_addr_list((line,)))


def read_max_forwards(lines: Sequence[str]) -> int | None:
    if not lines:
        return None
    line = lines[0] if len(lines) == 1 else _single(lines, "Max-Forwards")
    return _HOPS.get(line) or parse_number(line, maximum=255, what="Max-Forwards")


def read_content_length(lines: Sequence[str]) -> int | None:
    if not lines:
        return None
    return parse_number(_single(lines, "Content-Length"), maximum=2**32, what="Content-Length")


def read_expires(lines: Sequence[str]) -> int | None:
    if not lines:
        return None
    text = lines[0]
    if not (text.isascii() and text.isdigit()):
        return MALFORMED_EXPIRES
    return min(int(text), MAX_DELTA_SECONDS) if len(text) < 64 else MAX_DELTA_SECONDS


def read_content_type(lines: Sequence[str]) -> str | None:
    if not lines:
        return None
    return _read_media_type(lines[0][:_LONGEST_REMEMBERED])


@lru_cache(maxsize=64)
def _read_media_type(line: str) -> str:
    media_type = line.partition(";")[0]
    return "".join(media_type.split()).lower()


_MANDATORY = (
    ("Via", read_vias),
    ("From", read_from),
    ("To", read_to),
    ("Call-ID", read_call_id),
    ("CSeq", read_cseq),
)
_OPTIONAL = (
    ("Max-Forwards", read_max_forwards),
    ("Contact", read_contacts),
    ("Route", read_name_addrs),
    ("Record-Route", read_name_addrs),
    ("Content-Length", read_content_length),
)


def read_essentials(headers: Headers) -> None:
    """Parse and keep every header whose typed accessor could fail; `SipParseError` if one does."""
    headers.read_typed(_MANDATORY, _OPTIONAL)
