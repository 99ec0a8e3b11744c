"""Session-ID: one name for a session that every element on the way leaves as it is.

Theory of operation
-------------------
Each endpoint has a UUID for a session, and says it with the other's in every message: its own
first. An endpoint of RFC 7329 knows one UUID for both; in a dialog with it that one alone is said.
The pair belongs to the dialog, since a forked call has as many remote UUIDs as dialogs. A request
outside of a dialog has the UUID that `derived` makes of it: each copy gets the same answer without
anything being kept.

References
----------
RFC 7989; RFC 7329
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

from ..errors import SipParseError
from .grammar import find_parameter, parse_parameters

if TYPE_CHECKING:
    from .request_response import Request, Response

NIL = "0" * 32
NAME = "Session-ID"
_UUID = re.compile("[0-9a-f]{32}")
_LONGEST = 512  # characters


class SessionId:
    """The UUIDs of one dialog.

    Attributes
    ----------
    local, remote
        32 hexadecimal digits; `NIL` while the other side's is not known.
    """

    __slots__ = ("_old", "local", "remote")

    def __init__(self, local: str, remote: str = NIL) -> None:
        self.local = local
        self.remote = remote
        self._old: str | None = None  # all that a peer of RFC 7329 knows

    @property
    def header(self) -> tuple[str, str]:
        """What our next message says."""
        return NAME, self._old or f"{self.local};remote={self.remote}"

    def learn(self, message: Request | Response) -> None:
        """Take the other side's UUID from a message; one without, or a bad one, changes nothing.

        References
        ----------
        RFC 7989 sections 6, 8 and 11
        """
        found = read_session_id(message)
        if found is None:
            return
        theirs, ours = found
        if theirs == self.local:  # a peer of RFC 7329 gives us back what we sent
            if ours is None:
                self._old = theirs
            elif ours == NIL:
                self._old = f"{theirs};remote={NIL}"
        elif theirs != NIL:
            self.remote = theirs
            if ours is None and _is_request(message):
                self._old = theirs
            elif ours is not None:
                self._old = None

    def for_fork(self) -> SessionId:
        """Return a pair with our UUID, for another dialog of the same INVITE."""
        return SessionId(self.local)


def read_session_id(message: Request | Response) -> tuple[str, str | None] | None:
    """Return the sender's UUID and what it holds ours to be; None where there is no good one.

    The second is None where the sender follows RFC 7329, and `NIL` where it does not know ours.
    """
    lines = message.headers.lines(NAME)
    if len(lines) != 1 or len(lines[0]) > _LONGEST:
        return None
    first, semicolon, rest = lines[0].partition(";")
    first = first.strip(" \t").lower()
    if _UUID.fullmatch(first) is None:
        return None
    try:
        second = find_parameter(parse_parameters(semicolon + rest), "remote")
    except SipParseError:
        return None
    if second is not None and _UUID.fullmatch(second.lower()) is None:
        second = NIL
    return first, second.lower() if second is not None else None


def acknowledging(request: Request, response: Response) -> tuple[tuple[str, str], ...]:
    """Return the header of the ACK to a refusal of our INVITE: none where that had none."""
    sent = read_session_id(request)
    if sent is None:
        return ()
    session = SessionId(sent[0])
    session.learn(response)
    return (session.header,)


def derived(secret: bytes, text: str) -> str:
    """Return the UUID that a secret and a text make: the same each time, and not to be guessed."""
    data = text.encode("utf-8", "surrogateescape")
    digest = bytearray(hashlib.blake2b(data, key=secret[:64], digest_size=16).digest())
    digest[6] = digest[6] & 0x0F | 0x40  # version 4: pseudo-random
    digest[8] = digest[8] & 0x3F | 0x80
    return digest.hex()


def is_uuid(text: str) -> bool:
    """Tell whether a text is a UUID as Session-ID has them, and not the nil one."""
    return _UUID.fullmatch(text) is not None and text != NIL


def _is_request(message: Request | Response) -> bool:
    return hasattr(message, "method")
