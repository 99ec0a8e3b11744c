"""`MediaIO` that encrypts: a layer between the engine, which knows no keys, and a network.

What a secured leg sends is protected, and what comes for it is checked and decrypted before the
engine sees it; whatever does not pass is counted and gone.  Legs in the clear pass through as they
are, and while no leg is secured the layer costs one look at an empty table.

References
----------
RFC 3711; RFC 5761 section 4 (RTP and RTCP on one port)
"""

from __future__ import annotations

from collections.abc import Callable

from ..errors import SrtpError, UsageError
from ..mixer.boxes import Inbox, Outbox
from ..rtp.packet import is_rtcp
from ..rtp.srtp import SrtpAuthenticationError, SrtpReplayError, StreamKeys
from ..rtp.srtp_position import StreamPosition
from ..rtp.stun import is_stun
from .dtls import DtlsTerms, is_dtls
from .dtls_stream import DtlsPosition, DtlsStream
from .media_io import Address, MediaIO
from .srtp_stream import SecureCounts, SrtpStream

Stream = SrtpStream | DtlsStream
Position = StreamPosition | DtlsPosition
Secret = StreamKeys | DtlsTerms | Position


class _Plan:
    """The rows of one phase: packets in the clear as they lie, sealed ones in boxes of their own.

    A sealed packet is longer than its row in the engine. Its box has just its size, so that what is
    below sends it with the others, many in one system call.
    """

    def __init__(self, outbox: Outbox, version: int, secured: dict[int, Stream]) -> None:
        self.box = Outbox(phase=outbox.phase, version=version)
        self._spoilt = 0
        self._sealed: list[tuple[int, memoryview, memoryview, Callable[[bytes], bytes]]] = []
        if secured.keys().isdisjoint(outbox.rows):
            self.box.rows, self.box.views = outbox.rows[:], outbox.views[:]
            self.box.starts = outbox.starts
            return
        for row, view in zip(outbox.rows, outbox.views, strict=True):
            stream = secured.get(row)
            if stream is None:
                self._add(row, view)
                continue
            cipher = stream.cipher if isinstance(stream, DtlsStream) else stream
            if cipher is not None:  # else its handshake is not done: nothing may go out
                sealed = memoryview(bytearray(len(view) + cipher.growth))
                self._sealed.append((row, view, sealed, cipher.protect_rtp))
                self._add(row, sealed)

    def _add(self, row: int, view: memoryview) -> None:
        self.box.rows.append(row)
        self.box.views.append(view)

    def seal(self, counts: SecureCounts) -> list[int]:
        """Protect every packet into its box; return the rows whose packet could not be."""
        failed: list[int] = []
        for row, view, sealed, protect in self._sealed:
            try:
                sealed[:] = protect(bytes(view))
            except (SrtpError, UsageError):  # the key is used up, or the packet too long
                failed.append(row)
        counts.protected += len(self._sealed) - len(failed)
        counts.unsent += len(failed)
        return failed

    def without(self, failed: list[int]) -> Outbox:
        """Return the box without some rows, for one beat: in theirs lies what went out before."""
        box = self.box
        kept = [each for each in zip(box.rows, box.views, strict=True) if each[0] not in failed]
        rows, views = [row for row, _ in kept], [view for _, view in kept]
        self._spoilt -= 1  # a version of its own: nothing below may remember it as another
        return Outbox(phase=box.phase, version=self._spoilt, rows=rows, views=views)


class SecureIO:
    """The encrypting layer over another `MediaIO`.

    Parameters
    ----------
    io
        The network.

    Attributes
    ----------
    idle
        The last `receive` found nothing to read; it returns 0, too, when nothing of it passed.
    """

    def __init__(self, io: MediaIO) -> None:
        self.counts = SecureCounts()
        self.idle = False
        self._io = io
        self._legs: dict[int, Stream] = {}
        self._rows: dict[int, Stream] = {}
        self._shaking: dict[int, DtlsStream] = {}
        self._attached: dict[int, int] = {}  # leg to row, of all legs
        self._plans: dict[int, tuple[int, _Plan]] = {}  # by phase
        self._generation = 0  # of the secured rows and keys: a plan made before is stale

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

    def secure(self, leg: int, keys: Secret | None) -> None:
        """Send and hear a leg under these keys only, or under those that DTLS makes.

        None: in the clear. With a position, they go on from there.
        """
        stream = self._legs.get(leg)
        self._generation += 1
        if isinstance(stream, SrtpStream) and isinstance(keys, StreamKeys):
            stream.change(keys)
            return
        if isinstance(stream, DtlsStream) and isinstance(keys, DtlsTerms):
            stream.change(keys)
            return
        self._forget(leg)
        if keys is not None:
            self._begin(leg, keys)

    def _begin(self, leg: int, keys: Secret) -> None:
        made: Stream
        if isinstance(keys, DtlsTerms | DtlsPosition):
            made = self._shaking[leg] = DtlsStream(keys, self.counts)
        else:
            made = SrtpStream(keys)
        self._legs[leg] = made
        row = self._attached.get(leg)
        if row is not None:
            self._bind(made, row)

    def settled(self, leg: int) -> bool:
        """Tell whether a leg may move now: no DTLS handshake of it is under way."""
        stream = self._shaking.get(leg)
        return stream is None or stream.settled

    def hold(self, leg: int) -> None:
        """Begin no handshake of a leg any more: it is about to leave, see `position`."""
        stream = self._shaking.get(leg)
        if stream is not None:
            stream.hold()

    def position(self, leg: int, ssrc: int, following: int) -> Position | None:
        """Return how far a leg's keys are used, for another to go on; None: it can't.

        Parameters
        ----------
        ssrc, following
            Of the RTP packet that would be next. Nothing may be sent or heard afterwards.
        """
        stream = self._legs.get(leg)
        if stream is None:
            return None
        try:
            return stream.position(ssrc, following)
        except SrtpError:
            return None

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
        self.idle = not count
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
        alone = inbox.codes[index] & 1
        if isinstance(stream, SrtpStream):
            cipher: SrtpStream | None = stream
        else:
            cipher = self._shake(stream, packet, alone=bool(alone))
        if cipher is None:
            return False
        try:
            if alone or is_rtcp(packet):
                plain = cipher.unprotect(packet, rtcp=True)
            else:
                plain = cipher.unprotect_rtp(packet)
        except SrtpReplayError:
            counts.replayed += 1
        except SrtpAuthenticationError:
            counts.forged += 1
        except SrtpError:
            counts.malformed += 1
        else:
            counts.unprotected += 1
            size = inbox.sizes[index] = len(plain)  # no more than came
            view[:size] = plain
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
        rows = self._rows
        plan = self._plan(outbox)
        failed = plan.seal(self.counts)
        box = plan.without(failed) if failed else plan.box
        box.extra.clear()
        for extra in outbox.extra:
            stream = rows.get(extra[0])
            if stream is None:
                box.extra.append(extra)
            else:
                self._protect(stream, extra, box, failed)
        for shaking in self._shaking.values():
            if shaking.row is not None:
                box.extra += [(shaking.row, each, False) for each in shaking.beat()]
        return failed + self._io.send(box)

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

    def _plan(self, outbox: Outbox) -> _Plan:
        """Return what to do with the rows of a phase, made anew after a change."""
        # A handshake that is done makes keys without anybody having said so.
        key = (outbox.version << 32) + self._generation + self.counts.handshakes
        known = self._plans.get(outbox.phase)
        if known is not None and known[0] == key:
            return known[1]
        plan = _Plan(outbox, key, self._rows)
        self._plans[outbox.phase] = (key, plan)
        return plan
