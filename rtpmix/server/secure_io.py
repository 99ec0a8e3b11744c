"""`MediaIO` that encrypts: a layer between the engine, which knows no keys, and a network.

What a secured leg sends is protected, and what comes for it is checked and decrypted before the
engine sees it; whatever does not pass is counted and gone.  Legs in the clear pass through as they
are, and while no leg is secured the layer costs one look at an empty table.

References
----------
RFC 3711; RFC 5761 section 4 (RTP and RTCP on one port)
"""

from __future__ import annotations

from ..errors import SrtpError, UsageError
from ..mixer.boxes import DATAGRAM, Inbox, Outbox
from ..rtp.packet import is_rtcp
from ..rtp.srtp import SrtpAuthenticationError, SrtpReplayError, StreamKeys
from ..rtp.stun import is_stun
from .dtls import DtlsTerms, is_dtls
from .dtls_stream import DtlsStream
from .media_io import Address, MediaIO
from .srtp_stream import SecureCounts, SrtpStream

Stream = SrtpStream | DtlsStream


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
        self._legs: dict[int, Stream] = {}
        self._rows: dict[int, Stream] = {}
        self._shaking: dict[int, DtlsStream] = {}
        self._attached: dict[int, int] = {}  # leg to row, of all legs
        self._plain: dict[int, tuple[int, Outbox]] = {}  # by phase: what is not secured
        self._generation = 0  # of the secured rows: an outbox made before is stale

    def reserve(self, leg: int, *, ipv6: bool = False, remote: Address | None = None) -> Address:
        """Bind a pair; see `MediaIO.reserve`."""
        return self._io.reserve(leg, ipv6=ipv6, remote=remote)

    def attach(self, leg: int, row: int) -> None:
        """Name the engine row of a leg; see `MediaIO.attach`."""
        self._attached[leg] = row
        stream = self._legs.get(leg)
        if stream is not None:
            self._bind(stream, row)
        self._io.attach(leg, row)

    def secure(self, leg: int, keys: StreamKeys | DtlsTerms | None) -> None:
        """Send and hear a leg under these keys only, or under those that DTLS makes.

        None: in the clear.
        """
        stream = self._legs.get(leg)
        if isinstance(stream, SrtpStream) and isinstance(keys, StreamKeys):
            stream.change(keys)
            return
        if isinstance(stream, DtlsStream) and isinstance(keys, DtlsTerms):
            stream.change(keys)
            return
        self._forget(leg)
        if keys is not None:
            self._begin(leg, keys)

    def _begin(self, leg: int, keys: StreamKeys | DtlsTerms) -> None:
        made: Stream
        if isinstance(keys, DtlsTerms):
            made = self._shaking[leg] = DtlsStream(keys, self.counts)
        else:
            made = SrtpStream(keys)
        self._legs[leg] = made
        row = self._attached.get(leg)
        if row is not None:
            self._bind(made, row)

    def connect(
        self, leg: int, remote: Address | None, remote_rtcp: Address | None, rtcp_mux: bool
    ) -> None:
        """Name the peer of a leg; see `MediaIO.connect`."""
        stream = self._shaking.get(leg)
        if stream is not None:
            stream.mux, stream.remote = rtcp_mux, remote
        self._io.connect(leg, remote, remote_rtcp, rtcp_mux)

    def release(self, leg: int) -> None:
        """Give the ports and the keys back; see `MediaIO.release`."""
        self._forget(leg)
        self._attached.pop(leg, None)
        self._io.release(leg)

    def _bind(self, stream: Stream, row: int) -> None:
        stream.row = row
        self._rows[row] = stream
        self._generation += 1

    def _forget(self, leg: int) -> None:
        stream = self._legs.pop(leg, None)
        self._shaking.pop(leg, None)
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

    def _open(self, stream: Stream, inbox: Inbox, index: int) -> bool:
        """Decrypt one datagram where it lies; False when it does not pass."""
        view, counts = inbox.views[index], self.counts
        packet = bytes(view[: inbox.sizes[index]])
        rtcp = bool(inbox.codes[index] & 1) or is_rtcp(packet)
        if isinstance(stream, DtlsStream):
            cipher = self._shake(stream, packet, alone=bool(inbox.codes[index] & 1))
        else:
            cipher = stream
        if cipher is None:
            return False
        try:
            plain = cipher.unprotect(packet, rtcp=rtcp)
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

    def _shake(self, stream: DtlsStream, packet: bytes, *, alone: bool) -> SrtpStream | None:
        """Take what belongs to the handshake; return the cipher for what does not."""
        if alone:  # a port of its own would need a handshake of its own
            self.counts.malformed += 1
            return None
        if is_stun(packet):
            stream.check(packet)
            return None
        if is_dtls(packet):
            stream.receive(packet)
            return None
        if stream.cipher is None:
            self.counts.early += 1
        return stream.cipher

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
        for shaking in self._shaking.values():
            if shaking.row is not None:
                plain.extra += [(shaking.row, each, False) for each in shaking.beat()]
        return failed + self._io.send(plain)

    def _protect(
        self, stream: Stream, extra: tuple[int, bytes, bool], box: Outbox, failed: list[int]
    ) -> None:
        row, packet, rtcp = extra
        if isinstance(stream, DtlsStream):
            cipher = None if rtcp and not stream.mux else stream.cipher
        else:
            cipher = stream
        if cipher is None:
            return
        try:
            box.extra.append((row, cipher.protect(packet, rtcp=rtcp), rtcp))
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
