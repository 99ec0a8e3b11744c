"""SRTP both ways under one pair of keys, that may change on the way; and what became of packets."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

from ..errors import SrtpError
from ..rtp.srtp import (
    MasterKey,
    SrtpAuthenticationError,
    SrtpReplayError,
    SrtpSession,
    StreamKeys,
)
from ..rtp.srtp_position import (
    Place,
    StreamPosition,
    receiver_at,
    receiver_index,
    sender_at,
    sender_index,
)

# Changes of a peer's source under one key, until what libsrtp knows of former ones is dropped: it
# forgets none by itself, and a peer that draws a new one for each packet would fill the memory.
MAX_SOURCES = 256


@dataclass(slots=True)
class SecureCounts:
    """What became of the packets of secured legs."""

    protected: int = 0
    unprotected: int = 0
    forged: int = 0  # did not authenticate: another key, changed on the way, or in the clear
    replayed: int = 0  # seen before, or too old to know
    malformed: int = 0  # no SRTP at all
    unsent: int = 0  # could not be protected
    early: int = 0  # media that came before the handshake was done
    handshakes: int = 0  # of DTLS, that led to keys
    handshakes_failed: int = 0  # another certificate than signalling named, or nothing in common

    def refuse(self, error: SrtpError) -> None:
        """Count a packet that did not pass."""
        if isinstance(error, SrtpReplayError):
            self.replayed += 1
        elif isinstance(error, SrtpAuthenticationError):
            self.forged += 1
        else:
            self.malformed += 1

    def as_dict(self) -> dict[str, int]:
        """Return the counts by name."""
        return {name: getattr(self, name) for name in self.__slots__}


class SrtpStream:
    """The cipher of one leg, both ways.

    Attributes
    ----------
    row
        The engine's, once it is known.
    sender
        Protects what we send; another one after `change`.
    heard
        The header of the last RTP packet that passed, b"" for none: it says how far we are.
    source_changed
        What `unprotect` returned last is of another source than before.
    """

    __slots__ = (
        "_floor",
        "_former",
        "_keys",
        "_receiver",
        "_report_heard",
        "_reports_sent",
        "_sources",
        "heard",
        "row",
        "sender",
        "source_changed",
    )

    def __init__(self, keys: StreamKeys | StreamPosition) -> None:
        self.row: int | None = None
        at = keys if isinstance(keys, StreamPosition) else StreamPosition(keys, None, None)
        self._keys = at.keys
        self.sender = sender_at(at.keys.ours, at.sent, at.reports_sent)
        self._receiver = receiver_at(at.keys.theirs, at.heard)
        self._former: SrtpSession | None = None
        self.heard = _header(at.heard)
        self._reports_sent = at.reports_sent
        self._sources = 0
        self.source_changed = False
        self._report_heard = self._floor = at.report_heard

    def note_source(self) -> bool:
        """Count that the source has changed; True when there were too many, and `renew` is due."""
        self._sources += 1
        return self._sources > MAX_SOURCES

    def renew(self) -> None:
        """Forget all sources but the last: libsrtp keeps a context for each that it has heard."""
        self._sources = 0
        theirs, place = self._keys.theirs, None
        if self.heard:
            ssrc = int.from_bytes(self.heard[8:12], "big")
            number = int.from_bytes(self.heard[2:4], "big")
            with suppress(SrtpError):  # it begins anew
                place = ssrc, receiver_index(self._receiver, theirs, ssrc, number)
        self._receiver = receiver_at(theirs, place)
        self._floor = self._report_heard

    def position(self, ssrc: int, following: int) -> StreamPosition:
        """Return how far the keys were used; the stream is of no use afterwards.

        Parameters
        ----------
        ssrc, following
            Of the RTP packet that we would send next.

        Raises
        ------
        SrtpError
            It is not to be found.
        """
        heard = None
        if self.heard:
            theirs = int.from_bytes(self.heard[8:12], "big")
            number = int.from_bytes(self.heard[2:4], "big")
            heard = theirs, receiver_index(self._receiver, self._keys.theirs, theirs, number)
        return StreamPosition(
            self._keys,
            (ssrc, sender_index(self.sender, self._keys.ours, ssrc, following)),
            heard,
            self._reports_sent,
            self._report_heard,
        )

    def change(self, keys: StreamKeys) -> None:
        """Take new keys; a direction whose key stays goes on as it was, counters and all."""
        if not _same(keys.ours, self._keys.ours):
            self.sender = SrtpSession.sender(keys.ours)
            self._reports_sent = 0
        if not _same(keys.theirs, self._keys.theirs):
            # Packets under the old key are on their way until the first one under the new.
            self._former = self._receiver
            self._receiver = SrtpSession.receiver(keys.theirs)
            self._sources = 0
            self.heard = b""
            self._report_heard = self._floor = None
        self._keys = keys

    def protect(self, packet: bytes, *, rtcp: bool) -> bytes:
        """Encrypt a packet; SrtpError or UsageError when it can't be."""
        if rtcp:
            self._reports_sent += 1
            return self.sender.protect_rtcp(packet)
        return self.sender.protect(packet)

    @property
    def growth(self) -> int:
        """Octets by which an RTP packet grows (no MKI)."""
        return self._keys.ours.suite.rtp_tag_length

    @property
    def receiver(self) -> SrtpSession | None:
        """Unprotects RTP by itself; None while packets under an old key may still come."""
        return self._receiver if self._former is None else None

    def unprotect(self, packet: bytes, *, rtcp: bool) -> bytes:
        """Check and decrypt a packet; SrtpError when it does not pass."""
        self.source_changed = False
        try:
            plain = _open(self._receiver, packet, rtcp=rtcp)
        except SrtpAuthenticationError:
            if self._former is None:
                raise
            return _open(self._former, packet, rtcp=rtcp)
        self._former = None
        if rtcp:
            self._note_report(packet)
        else:
            self.source_changed = bool(self.heard) and self.heard[8:12] != plain[8:12]
            self.heard = plain[:12]
        return plain

    def _note_report(self, packet: bytes) -> None:
        """Remember how far reports have come; one from before the leg moved is seen again."""
        suite = self._keys.theirs.suite
        # RFC 3711 section 3.4; with AEAD the index stands last (RFC 7714 section 9.2).
        end = len(packet) - (0 if suite.aead else suite.rtcp_tag_length)
        index = int.from_bytes(packet[end - 4 : end], "big") & 0x7FFFFFFF
        ssrc = int.from_bytes(packet[4:8], "big")
        if self._floor is not None and self._floor[0] == ssrc and index <= self._floor[1]:
            raise SrtpReplayError("an SRTCP packet from before the leg moved")
        last = self._report_heard
        self.source_changed = last is not None and last[0] != ssrc
        if last is None or last[0] != ssrc or index > last[1]:
            self._report_heard = ssrc, index


def _header(place: Place | None) -> bytes:
    if place is None:
        return b""
    ssrc, index = place
    return bytes(2) + (index & 0xFFFF).to_bytes(2, "big") + bytes(4) + ssrc.to_bytes(4, "big")


def _open(session: SrtpSession, packet: bytes, *, rtcp: bool) -> bytes:
    return session.unprotect_rtcp(packet) if rtcp else session.unprotect(packet)


def _same(one: MasterKey, other: MasterKey) -> bool:
    return one.suite is other.suite and one.material == other.material
