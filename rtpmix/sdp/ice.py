"""ICE as a lite agent: what a description says of it (RFC 8839, RFC 8445 section 2.5).

A lite agent has an address that its peers reach. It begins no check of its own; it answers those of
the peer, which chooses the path.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from .description import Attribute, MediaDescription, SessionDescription

# RFC 8445 section 5.1.2.1: host (126), one address, component 1.
_PRIORITY = (126 << 24) + (65_535 << 8) + 255
UFRAG_LENGTH, PASSWORD_LENGTH = 8, 24  # characters; RFC 8839 section 5.4 wants 4 and 22 at least


@dataclass(frozen=True, slots=True)
class IceCredentials:
    """What a check must know. The password does not show."""

    ufrag: str
    password: str = field(repr=False)

    def attributes(self, address: str, port: int) -> list[Attribute]:
        """Return what our stream says, with its one candidate."""
        return [
            Attribute("ice-ufrag", self.ufrag),
            Attribute("ice-pwd", self.password),
            Attribute("candidate", f"1 1 UDP {_PRIORITY} {address} {port} typ host"),
            Attribute("end-of-candidates"),
        ]


def speaks_ice(session: SessionDescription, media: MediaDescription) -> bool:
    """Tell whether a stream's author checks paths, and so can choose one to a lite agent."""
    levels = (media, session)
    named = any(level.attribute("ice-ufrag") is not None for level in levels)
    return named and session.attribute("ice-lite") is None


def read_ice(session: SessionDescription, media: MediaDescription) -> IceCredentials | None:
    """Return what a stream's author checks paths with; None where it does not (RFC 8839 5.4)."""
    found: list[str] = []
    for name in ("ice-ufrag", "ice-pwd"):
        said = media.attribute(name) or session.attribute(name)
        if said is not None and said.value:
            found.append(said.value)
    return IceCredentials(*found) if len(found) == 2 else None


@dataclass(frozen=True, slots=True)
class Path:
    """What a session keeps saying of its one transport: its name, and whether it is a bundle's."""

    mid: str | None = None  # RFC 5888
    bundled: bool = False  # RFC 9143
    theirs: IceCredentials | None = None  # the peer's: others the next time begin ICE anew

    @classmethod
    def of(cls, session: SessionDescription, media: MediaDescription) -> Path:
        """Read an offer's."""
        attribute = media.attribute("mid")
        mid = attribute.value if attribute is not None else None
        groups = [(each.value or "").split() for each in session.attributes if each.name == "group"]
        bundled = any(each[:1] == ["BUNDLE"] and mid in each[1:] for each in groups)
        return cls(mid, bundled, read_ice(session, media))

    def session_says(self, ice: IceCredentials | None) -> tuple[Attribute, ...]:
        """Return what stands before the first stream; other streams than ours are refused."""
        group = [Attribute("group", f"BUNDLE {self.mid}")] if self.bundled else []
        return (*group, *([Attribute("ice-lite")] if ice is not None else []))

    def stream_says(self, ice: IceCredentials | None, address: str, port: int) -> list[Attribute]:
        """Return what stands in our stream."""
        mid = [Attribute("mid", self.mid)] if self.mid is not None else []
        return [*mid, *(ice.attributes(address, port) if ice is not None else [])]


NO_PATH = Path()
OFFERED = Path("0", bundled=True)  # one stream is all that we offer
