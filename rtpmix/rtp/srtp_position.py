"""Where an SRTP stream stands, found out and taken up again.

libsrtp neither tells nor takes a roll-over counter, so a stream could not go from one process to
another: a cipher that begins anew would use its key stream a second time, and a receiver would
not authenticate once the sequence number has wrapped. Both can be *counted* to. A new session that
protects packets which nobody is sent, one in each half of the number space, comes to any index; and
one that is given such packets of the peer's, made with the peer's key, comes to hear at any index.

Where a session stands is found by trial: at the right roll-over counter the packet that it makes,
or takes, is the one that another session at that counter takes or makes.

References
----------
RFC 3711 sections 3.3.1 (the index), 3.3.2 (replay), 3.4 (SRTCP)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from ..errors import SrtpError
from .srtp import MasterKey, SrtpSession, StreamKeys

_STEP = 0x7000  # less than 2**15: a larger one would be taken for a step back
_AHEAD = 1024  # of what was heard: beyond all that is reordered, far from half the number space
WINDOW = 128  # libsrtp's replay window: what is older does not pass in any case
MOST_WRAPS = 5000  # of a sequence number: 75 days at 50 packets a second

Place = tuple[int, int]  # SSRC, index


@dataclass(frozen=True, slots=True)
class StreamPosition:
    """Keys of a leg, and how far their use has come. Keys are never shown by ``repr``.

    Attributes
    ----------
    sent, heard
        SSRC and index of the last RTP packet, None for none.
    reports_sent
        How many RTCP packets were protected for the SSRC in `sent`.
    report_heard
        SSRC and index of the latest SRTCP packet.
    """

    keys: StreamKeys
    sent: Place | None
    heard: Place | None
    reports_sent: int = field(default=0)
    report_heard: Place | None = None


def sender_index(session: SrtpSession, key: MasterKey, ssrc: int, following: int) -> int:
    """Return the index of the last packet that a session protected; it is of no use afterwards.

    Parameters
    ----------
    following
        The sequence number of the packet that would be next.

    Returns
    -------
    The index before that packet's: -1 if it would be the first of all.

    Raises
    ------
    SrtpError
        The session stands nowhere that it could have come to.
    """
    wanted = session.protect(_packet(ssrc, following))
    twin, last = SrtpSession.sender(key), -1
    for wraps in range(MOST_WRAPS):
        index = (wraps << 16) + following
        _walk(twin.protect, ssrc, last, index)
        last = index
        if twin.protect(_packet(ssrc, index)) == wanted:
            return index - 1
    raise SrtpError("an SRTP stream whose roll-over counter is not to be found")


def receiver_index(session: SrtpSession, key: MasterKey, ssrc: int, sequence: int) -> int:
    """Return the index of the last packet that passed; the session is of no use afterwards.

    Raises
    ------
    SrtpError
        The session stands nowhere that it could have come to.
    """
    peer, last = SrtpSession.sender(key), -1
    for wraps in range(MOST_WRAPS):
        index = (wraps << 16) + sequence + _AHEAD
        _walk(peer.protect, ssrc, last, index)
        last = index
        try:
            session.unprotect(peer.protect(_packet(ssrc, index)))
        except SrtpError:
            continue
        return index - _AHEAD
    raise SrtpError("an SRTP stream whose roll-over counter is not to be found")


def sender_at(key: MasterKey, place: Place | None, reports: int) -> SrtpSession:
    """Return a session whose next RTP packet is the one after `place`, and next SRTCP index too."""
    session = SrtpSession.sender(key)
    if place is not None and place[1] >= 0:
        ssrc, index = place
        _walk(session.protect, ssrc, -1, index)
        session.protect(_packet(ssrc, index))
        for _ in range(reports):
            session.protect_rtcp(_report(ssrc))
    return session


def receiver_at(key: MasterKey, place: Place | None) -> SrtpSession:
    """Return a session for which `place` and all before it were heard already."""
    session = SrtpSession.receiver(key)
    if place is None:
        return session
    ssrc, index = place
    peer = SrtpSession.sender(key)

    def hear(packet: bytes) -> None:
        session.unprotect(peer.protect(packet))

    first = max(0, index - WINDOW + 1)
    _walk(hear, ssrc, -1, first)
    for each in range(first, index + 1):
        hear(_packet(ssrc, each))
    return session


def _walk(use: Callable[[bytes], object], ssrc: int, last: int, index: int) -> None:
    """Use packets after the last one used, until the next step may be to another index."""
    while index - last > _STEP:
        last += _STEP
        use(_packet(ssrc, last))


def _packet(ssrc: int, index: int) -> bytes:
    return b"\x80\x00" + (index & 0xFFFF).to_bytes(2, "big") + bytes(4) + ssrc.to_bytes(4, "big")


def _report(ssrc: int) -> bytes:
    return b"\x80\xc9\x00\x01" + ssrc.to_bytes(4, "big")  # a receiver report of nobody
