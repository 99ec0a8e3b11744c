"""`MediaIO` that encrypts: a layer between the engine, which knows no keys, and a network.

What a secured leg sends is protected, and what comes for it is checked and decrypted before the
engine sees it; whatever does not pass is counted and gone.  Legs in the clear pass through as they
are, and while no leg is secured the layer costs one look at an empty table.

References
----------
RFC 3711; RFC 5761 section 4 (RTP and RTCP on one port)
"""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import SrtpError, UsageError
from ..mixer.boxes import DATAGRAM, Inbox, Outbox
from ..rtp.packet import is_rtcp
from ..rtp.srtp import (
    MasterKey,
    SrtpAuthenticationError,
    SrtpReplayError,
    SrtpSession,
    StreamKeys,
)
from .media_io import Address, MediaIO


@dataclass(slots=True)
class SecureCounts:
    """What became of the packets of secured legs."""

    protected: int = 0
    unprotected: int = 0
    forged: int = 0  # did not authenticate: another key, changed on the way, or in the clear
    replayed: int = 0  # seen before, or too old to know
    malformed: int = 0  # no SRTP at all
    unsent: int = 0  # could not be protected

    def as_dict(self) -> dict[str, int]:
        """Return the counts by name."""
        return {name: getattr(self, name) for name in self.__slots__}


class _Stream:
    """The cipher of one leg, both ways."""

    __slots__ = ("_former", "_keys", "_receiver", "_sender", "row")

    def __init__(self, keys: StreamKeys) -> None:
        self.row: int | None = None
        self._keys = keys
        self._sender = SrtpSession.sender(keys.ours)
        self._receiver = SrtpSession.receiver(keys.theirs)
        self._former: SrtpSession | None = None

    def change(self, keys: StreamKeys) -> None:
        """Take new keys; a direction whose key stays goes on as it was, counters and all."""
        if not _same(keys.ours, self._keys.ours):
            self._sender = SrtpSession.sender(keys.ours)
        if not _same(keys.theirs, self._keys.theirs):
            # Packets under the old key are on their way until the first one under the new.
            self._former = self._receiver
            self._receiver = SrtpSession.receiver(keys.theirs)
        self._keys = keys

    def protect(self, packet: bytes, *, rtcp: bool) -> bytes:
        return self._sender.protect_rtcp(packet) if rtcp else self._sender.protect(packet)

    def unprotect(self, packet: bytes, *, rtcp: bool) -> bytes:
        try:
            plain = _open(self._receiver, packet, rtcp=rtcp)
        except SrtpAuthenticationError:
            if self._former is None:
                raise
            return _open(self._former, packet, rtcp=rtcp)
        self._former = None
        return plain


class SecureIO:
    """The encrypting layer over another `MediaIO`.

    Parameters
    ----------
    io
        The network.
    """

    def __init__(self, io: MediaIO) -> None:
        self.counts = SecureCounts()
        self._io = io
        self._legs: dict[int, _Stream] = {}
        self._rows: dict[int, _Stream] = {}
        self._attached: dict[int, int] = {}  # leg to row, of all legs
        self._plain: dict[int, tuple[int, Outbox]] = {}  # by phase: what is not secured
        self._generation = 0  # of the secured rows: an outbox made before is stale

    def reserve(self, leg: int, *, ipv6: bool = False) -> Address:
        """Bind a pair; see `MediaIO.reserve`."""
        return self._io.reserve(leg, ipv6=ipv6)

    def attach(self, leg: int, row: int) -> None:
        """Name the engine row of a leg; see `MediaIO.attach`."""
        self._attached[leg] = row
        stream = self._legs.get(leg)
        if stream is not None:
            self._bind(stream, row)
        self._io.attach(leg, row)

    def secure(self, leg: int, keys: StreamKeys | None) -> None:
        """Send and hear a leg under these keys only from now on; None: in the clear."""
        stream = self._legs.get(leg)
        if keys is None:
            if stream is not None:
                self._forget(leg)
        elif stream is not None:
            stream.change(keys)
        else:
            stream = self._legs[leg] = _Stream(keys)
            row = self._attached.get(leg)
            if row is not None:
                self._bind(stream, row)

    def connect(
        self, leg: int, remote: Address | None, remote_rtcp: Address | None, rtcp_mux: bool
    ) -> None:
        """Name the peer of a leg; see `MediaIO.connect`."""
        self._io.connect(leg, remote, remote_rtcp, rtcp_mux)

    def release(self, leg: int) -> None:
        """Give the ports and the keys back; see `MediaIO.release`."""
        self._forget(leg)
        self._attached.pop(leg, None)
        self._io.release(leg)

    def _bind(self, stream: _Stream, row: int) -> None:
        stream.row = row
        self._rows[row] = stream
        self._generation += 1

    def _forget(self, leg: int) -> None:
        stream = self._legs.pop(leg, None)
        if stream is not None and stream.row is not None:
            if self._rows.get(stream.row) is stream:
                del self._rows[stream.row]
            self._generation += 1

    # ------------------------------------------------------------------------------ packets

    def receive(self, inbox: Inbox) -> int:
        """Fill the inbox with what is in the clear or passes; see `MediaIO.receive`."""
        count = self._io.receive(inbox)
        if not self._rows:
            return count
        views, sizes, codes, rows = inbox.views, inbox.sizes, inbox.codes, self._rows
        index = 0
        while index < count:
            stream = rows.get(codes[index] >> 1)
            if stream is None or self._open(stream, inbox, index):
                index += 1
                continue
            count -= 1  # gone; the last one takes its place
            if index < count:
                views[index][: sizes[count]] = views[count][: sizes[count]]
                sizes[index], codes[index] = sizes[count], codes[count]
        return count

    def _open(self, stream: _Stream, inbox: Inbox, index: int) -> bool:
        """Decrypt one datagram where it lies; False when it does not pass."""
        view, counts = inbox.views[index], self.counts
        packet = bytes(view[: inbox.sizes[index]])
        rtcp = bool(inbox.codes[index] & 1) or is_rtcp(packet)
        try:
            plain = stream.unprotect(packet, rtcp=rtcp)
        except SrtpReplayError:
            counts.replayed += 1
        except SrtpAuthenticationError:
            counts.forged += 1
        except SrtpError:
            counts.malformed += 1
        else:
            counts.unprotected += 1
            size = min(len(plain), DATAGRAM)
            view[:size] = plain[:size]
            inbox.sizes[index] = size
            return True
        return False

    def send(self, outbox: Outbox) -> list[int]:
        """Send everything in the outbox, secured legs' packets protected; see `MediaIO.send`."""
        if not self._rows:
            return self._io.send(outbox)
        rows, failed = self._rows, list[int]()
        plain = self._without_secured(outbox)
        plain.extra.clear()
        for row, view in zip(outbox.rows, outbox.views, strict=True):
            stream = rows.get(row)
            if stream is not None:
                self._protect(stream, (row, bytes(view), False), plain, failed)
        for extra in outbox.extra:
            stream = rows.get(extra[0])
            if stream is None:
                plain.extra.append(extra)
            else:
                self._protect(stream, extra, plain, failed)
        return failed + self._io.send(plain)

    def _protect(
        self, stream: _Stream, extra: tuple[int, bytes, bool], box: Outbox, failed: list[int]
    ) -> None:
        row, packet, rtcp = extra
        try:
            box.extra.append((row, stream.protect(packet, rtcp=rtcp), rtcp))
            self.counts.protected += 1
        except (SrtpError, UsageError):  # the key is used up, or the packet too long for libsrtp
            self.counts.unsent += 1
            failed.append(row)

    def _without_secured(self, outbox: Outbox) -> Outbox:
        """Return the outbox of a phase without its secured rows, made anew after a change."""
        key = (outbox.version << 32) + self._generation
        known = self._plain.get(outbox.phase)
        if known is not None and known[0] == key:
            return known[1]
        kept = [
            (row, view)
            for row, view in zip(outbox.rows, outbox.views, strict=True)
            if row not in self._rows
        ]
        box = Outbox(
            phase=outbox.phase,
            version=key,
            rows=[row for row, _ in kept],
            views=[view for _, view in kept],
        )
        self._plain[outbox.phase] = (key, box)
        return box


def _open(session: SrtpSession, packet: bytes, *, rtcp: bool) -> bytes:
    return session.unprotect_rtcp(packet) if rtcp else session.unprotect(packet)


def _same(one: MasterKey, other: MasterKey) -> bool:
    return one.suite is other.suite and one.material == other.material
