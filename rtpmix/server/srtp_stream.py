"""SRTP both ways under one pair of keys, that may change on the way; and what became of packets."""

from __future__ import annotations

from dataclasses import dataclass

from ..rtp.srtp import MasterKey, SrtpAuthenticationError, SrtpSession, StreamKeys


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

    def as_dict(self) -> dict[str, int]:
        """Return the counts by name."""
        return {name: getattr(self, name) for name in self.__slots__}


class SrtpStream:
    """The cipher of one leg, both ways.

    Attributes
    ----------
    row
        The engine's, once it is known.
    protect_rtp
        Encrypts one RTP packet; another one after `change`.
    """

    __slots__ = ("_former", "_keys", "_receiver", "_sender", "protect_rtp", "row")

    def __init__(self, keys: StreamKeys) -> None:
        self.row: int | None = None
        self._keys = keys
        self._sender = SrtpSession.sender(keys.ours)
        self._receiver = SrtpSession.receiver(keys.theirs)
        self._former: SrtpSession | None = None
        self.protect_rtp = self._sender.protect

    def change(self, keys: StreamKeys) -> None:
        """Take new keys; a direction whose key stays goes on as it was, counters and all."""
        if not _same(keys.ours, self._keys.ours):
            self._sender = SrtpSession.sender(keys.ours)
            self.protect_rtp = self._sender.protect
        if not _same(keys.theirs, self._keys.theirs):
            # Packets under the old key are on their way until the first one under the new.
            self._former = self._receiver
            self._receiver = SrtpSession.receiver(keys.theirs)
        self._keys = keys

    def protect(self, packet: bytes, *, rtcp: bool) -> bytes:
        """Encrypt a packet; SrtpError or UsageError when it can't be."""
        return self._sender.protect_rtcp(packet) if rtcp else self._sender.protect(packet)

    @property
    def growth(self) -> int:
        """Octets by which an RTP packet grows (no MKI)."""
        return self._keys.ours.suite.rtp_tag_length

    def unprotect_rtp(self, packet: bytes) -> bytes:
        """Check and decrypt an RTP packet; SrtpError when it does not pass."""
        if self._former is None:
            return self._receiver.unprotect(packet)
        return self.unprotect(packet, rtcp=False)

    def unprotect(self, packet: bytes, *, rtcp: bool) -> bytes:
        """Check and decrypt a packet; SrtpError when it does not pass."""
        try:
            plain = _open(self._receiver, packet, rtcp=rtcp)
        except SrtpAuthenticationError:
            if self._former is None:
                raise
            return _open(self._former, packet, rtcp=rtcp)
        self._former = None
        return plain


def _open(session: SrtpSession, packet: bytes, *, rtcp: bool) -> bytes:
    return session.unprotect_rtcp(packet) if rtcp else session.unprotect(packet)


def _same(one: MasterKey, other: MasterKey) -> bool:
    return one.suite is other.suite and one.material == other.material
