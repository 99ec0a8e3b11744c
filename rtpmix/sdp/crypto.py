"""``a=crypto``: SRTP keys in a session description (SDES).

A key in a description is the one that its author *sends* with.  A line that can't be served (an
unknown suite, a master key identifier, a session parameter that weakens the stream) is left out
as if it were not there: others may follow it (RFC 4568 section 5.1.2).

References
----------
RFC 4568; RFC 7714 section 14.2 (the names of the AES-GCM suites)
"""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import SrtpError
from ..rtp.srtp import MasterKey
from .description import Attribute, MediaDescription

MAX_LINES = 16  # a=crypto lines read of one stream
# A hint at the size of the replay window; ours is libsrtp's 128 (RFC 4568 section 6.3.7).
_HARMLESS = "WSH="


@dataclass(frozen=True, slots=True)
class CryptoLine:
    """One ``a=crypto`` line. The key does not show in its ``repr``."""

    tag: int
    key: MasterKey

    @property
    def suite(self) -> str:
        """The name of the suite."""
        return self.key.suite.name

    def attribute(self) -> Attribute:
        """Return the line for a description. It holds the secret."""
        return Attribute("crypto", f"{self.tag} {self.suite} {self.key.inline()}")


def read_crypto(media: MediaDescription) -> tuple[CryptoLine, ...]:
    """Return the lines of a stream that can be served, in the order of its author's preference."""
    found: dict[int, CryptoLine] = {}
    texts = [each.value or "" for each in media.attributes if each.name == "crypto"]
    for text in texts[:MAX_LINES]:
        line = _parse(text)
        if line is not None:
            found.setdefault(line.tag, line)  # RFC 4568 section 4.1: tags are unique
    return tuple(found.values())


def _parse(text: str) -> CryptoLine | None:
    fields = text.split()
    if len(fields) < 3:
        return None
    tag, suite, key, *parameters = fields
    if not (tag.isascii() and tag.isdigit() and len(tag) <= 9):
        return None
    # Unencrypted, unauthenticated, derived anew, or with FEC: all not what was asked for.
    if not all(each.lstrip("-").startswith(_HARMLESS) for each in parameters):
        return None
    try:
        return CryptoLine(int(tag), MasterKey.parse_inline(suite, key))
    except SrtpError:
        return None
