"""``a=fingerprint`` and ``a=setup``: what a description says of DTLS-SRTP.

References
----------
RFC 5763; RFC 8122 section 5 (fingerprints); RFC 4145 section 4, RFC 8842 section 5 (who begins)
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from .description import Attribute, MediaDescription, SessionDescription
from .ice import IceCredentials

# RFC 8122 section 5: md2, md5 and sha-1 are not to be used.
HASHES = {"sha-256": 32, "sha-384": 48, "sha-512": 64}
MAX_FINGERPRINTS = 8
_HEX = re.compile(r"[0-9A-F]{2}(?::[0-9A-F]{2})*")


@dataclass(frozen=True, slots=True)
class PeerDtls:
    """What a peer says: any of its fingerprints is its certificate's, and who begins."""

    fingerprints: tuple[tuple[str, bytes], ...]
    setup: str


@dataclass(frozen=True, slots=True)
class DtlsSecured:
    """A stream whose keys a DTLS handshake makes, seen from here."""

    ours: str  # our fingerprint, as in the attribute
    theirs: tuple[tuple[str, bytes], ...]
    is_client: bool  # we begin
    ice: IceCredentials | None = None  # ours, where the peer checks paths

    @property
    def suite(self) -> str:
        """The handshake chooses the suite."""
        return "DTLS-SRTP"

    def with_ice(self, ice: IceCredentials | None) -> DtlsSecured:
        """Return the same association under other ICE credentials of ours, if there is ICE."""
        return replace(self, ice=ice) if self.ice is not None and ice is not None else self

    def attributes(self) -> list[Attribute]:
        """Return what our answer says of it."""
        role = "active" if self.is_client else "passive"
        return [Attribute("fingerprint", self.ours), Attribute("setup", role)]


def read_dtls(session: SessionDescription, media: MediaDescription) -> PeerDtls | None:
    """Return what a stream says of DTLS; None without a fingerprint that can be checked."""
    levels = (media, session)
    said: list[str] = []
    for level in levels:
        said = [each.value or "" for each in level.attributes if each.name == "fingerprint"]
        if said:
            break
    found = tuple(each for each in map(_parse, said[:MAX_FINGERPRINTS]) if each is not None)
    setups = (level.attribute("setup") for level in levels)
    setup = next((each.value or "" for each in setups if each is not None), "actpass")
    return PeerDtls(found, setup.strip().lower()) if found else None


def _parse(text: str) -> tuple[str, bytes] | None:
    name, _, value = text.strip().partition(" ")
    name, value = name.lower(), value.strip().upper()
    if name not in HASHES or _HEX.fullmatch(value) is None:
        return None
    octets = bytes.fromhex(value.replace(":", ""))
    return (name, octets) if len(octets) == HASHES[name] else None


def finds_peer(secured: object, *, mux: bool) -> bool:
    """Tell whether a peer's checks say where it is, whatever its description does."""
    return mux and ice_of(secured) is not None  # ours name one component


def ice_of(secured: object) -> IceCredentials | None:
    """Return our ICE credentials of a stream; None where there is no ICE."""
    return secured.ice if isinstance(secured, DtlsSecured) else None
