"""What can be told of a message from its bytes alone, for a server that has no time to read it.

A message that is peeked at is not checked. Whatever is spelled in an unusual way is left to the
full reading of `message`: `is_new_call` then says False, and `peek_invite` returns None.

References
----------
RFC 3261 sections 7.3 and 8.2.7
"""

from __future__ import annotations

from typing import Final, NamedTuple

from ..errors import SipParseError
from .grammar import ENCODING_ERRORS, is_call_id
from .header_values import Via

_WANTED: Final = {
    spelling: name
    for name, spellings in (
        ("Via", (b"Via", b"v", b"VIA", b"via")),
        ("From", (b"From", b"f", b"FROM", b"from")),
        ("To", (b"To", b"t", b"TO", b"to")),
        ("Call-ID", (b"Call-ID", b"i", b"CALL-ID", b"call-id", b"Call-Id")),
        ("CSeq", (b"CSeq", b"CSEQ", b"cseq", b"Cseq")),
    )
    for spelling in spellings
}
_MAGIC_COOKIE: Final = "z9hG4bK"


class PeekedInvite(NamedTuple):
    """The lines of an INVITE that a response copies; values as they came."""

    via: Via
    other_vias: tuple[bytes, ...]
    sender: bytes  # From
    to: bytes
    call_id: bytes
    cseq: bytes

    @property
    def key(self) -> tuple[object, ...]:
        """The server transaction that this INVITE belongs to, as `matching.server_key` has it."""
        via = self.via
        return via.branch, via.host.lower(), via.port, "INVITE"

    def response(self, start: bytes, via: Via, to_tag: str, headers: bytes) -> bytes:
        """Write a response without a body (RFC 3261 section 8.2.6.2).

        Parameters
        ----------
        start
            The status line without its end.
        via
            The topmost Via as the response has it.
        headers
            More header lines, each with its end.
        """
        vias = b"".join([b"\r\nVia: " + other for other in self.other_vias])
        return (
            b"%b\r\nVia: %b%b\r\nFrom: %b\r\nTo: %b;tag=%b\r\nCall-ID: %b\r\nCSeq: %b\r\n"
            b"%bContent-Length: 0\r\n\r\n"
        ) % (
            start,
            str(via).encode("utf-8", ENCODING_ERRORS),
            vias,
            self.sender,
            self.to,
            to_tag.encode(),
            self.call_id,
            self.cseq,
            headers,
        )


def is_new_call(data: bytes) -> bool:
    """Tell whether a datagram is an INVITE outside of a dialog, in the spelling that is usual."""
    if not data.startswith(b"INVITE "):
        return False
    at = data.find(b"\r\nTo:")
    if at < 0:
        at = data.find(b"\r\nt:")
    return at >= 0 and b"tag=" not in data[at : data.find(b"\r\n", at + 2)]


def peek_invite(data: bytes) -> PeekedInvite | None:
    """Find what a response to an INVITE copies; None where only a full reading can tell."""
    head, blank_line, _ = data.partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    if not blank_line or head.count(b"\n") != len(lines) - 1 or head.count(b"\r") != len(lines) - 1:
        return None
    found: dict[str, bytes] = {}
    vias: list[bytes] = []
    for line in lines[1:]:
        name, _, value = line.partition(b":")
        wanted = _WANTED.get(name)
        if wanted is None:
            if line[:1] in (b" ", b"\t"):
                return None  # folded
        elif wanted == "Via":
            vias.append(value.strip(b" \t"))
        elif wanted in found:
            return None
        else:
            found[wanted] = value.strip(b" \t")
    if len(found) != 4 or not vias or b"\0" in head:
        return None
    return _checked(vias, found)


def _checked(vias: list[bytes], found: dict[str, bytes]) -> PeekedInvite | None:
    """Make sure of what decides where the response goes, and whom it is for."""
    try:
        via = Via.parse(vias[0].decode("ascii"))
        branch = via.branch
        call_id = found["Call-ID"].decode("ascii")
    except (UnicodeDecodeError, SipParseError):
        return None
    if branch is None or not branch.startswith(_MAGIC_COOKIE) or not is_call_id(call_id):
        return None
    number, _, method = found["CSeq"].partition(b" ")
    if not number.isdigit() or method != b"INVITE":
        return None
    return PeekedInvite(
        via, tuple(vias[1:]), found["From"], found["To"], found["Call-ID"], found["CSeq"]
    )
