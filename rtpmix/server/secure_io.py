"""`MediaIO` that encrypts: a layer between the engine, which knows no keys, and a network.

What a secured leg sends is protected, and what comes for it is checked and decrypted before the
engine sees it; whatever does not pass is counted and gone.  Legs in the clear pass through as they
are, and while no leg is secured the layer costs one look at an empty table.

References
----------
RFC 3711; RFC 5761 section 4 (RTP and RTCP on one port)
"""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import SrtpError, UsageError
from ..mixer.boxes import Inbox, Outbox
from ..rtp.packet import is_rtcp
from ..rtp.srtp import SrtpSession, StreamKeys
from ..rtp.srtp_batch import LONGEST, Boxes, Ciphers, refusal
from ..rtp.srtp_position import StreamPosition
from ..rtp.stun import is_stun
from .checked_legs import CheckedLegs
from .dtls import DtlsTerms, is_dtls
from .dtls_stream import DtlsPosition, DtlsStream
from .media_io import Address, CheckingIO
from .secure_plan import HeardHeaders, SecurePlan, Stream
from .srtp_stream import SecureCounts, SrtpStream

Position = StreamPosition | DtlsPosition
Secret = StreamKeys | DtlsTerms | Position
_REPORTS = 192, 223  # second octets of RTCP (RFC 5761 section 4), as `is_rtcp` tells it


class SecureIO:
    """The encrypting layer over another `MediaIO`.

    Parameters
    ----------
    io
        The network.
    """

    def __init__(self, io: CheckingIO) -> None:
        self.counts = SecureCounts()
        self.checked = CheckedLegs(io)
        self._io = io
        self._legs: dict[int, Stream] = {}
        self._rows: dict[int, Stream] = {}
        self._shaking: dict[int, DtlsStream] = {}
        self._attached: dict[int, int] = {}  # leg to row, of all legs
        self._plans: dict[int, tuple[int, SecurePlan]] = {}  # by phase
        self._generation = 0  # of the secured rows and keys: a plan made before is stale
        self._receivers: dict[int, SrtpSession] = {}  # by inbox code: what opens RTP by itself
        self._heard = HeardHeaders()
        self._boxes: tuple[Inbox, Boxes] | None = None

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
            self._recall(stream)
            stream.change(keys)
            self._open_together(stream)
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
        self._recall(stream)
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
            stream.mux = rtcp_mux
            remote = self.checked.connect(leg, stream.path, remote, mux=rtcp_mux)
            remote_rtcp = remote if rtcp_mux else remote_rtcp
        self._io.connect(leg, remote, remote_rtcp, rtcp_mux)

    def release(self, leg: int) -> None:
        """Give the ports and the keys back; see `MediaIO.release`."""
        self._forget(leg)
        self._attached.pop(leg, None)
        self._io.release(leg)

    def _bind(self, stream: Stream, row: int) -> None:
        if stream.row is not None and self._rows.get(stream.row) is stream:
            self._unbind(stream, stream.row)
        stream.row = row
        self._rows[row] = stream
        self._receivers.pop(2 * row, None)
        self._open_together(stream)
        self._generation += 1

    def _unbind(self, stream: Stream, row: int) -> None:
        self._recall(stream)
        self._receivers.pop(2 * row, None)
        del self._rows[row]

    def _forget(self, leg: int) -> None:
        stream = self._legs.pop(leg, None)
        if self._shaking.pop(leg, None) is not None:
            self.checked.forget(leg)
        if stream is not None and stream.row is not None:
            if self._rows.get(stream.row) is stream:
                self._unbind(stream, stream.row)
            self._generation += 1

    def _open_together(self, stream: Stream) -> None:
        """Let a row's RTP be opened in batches, where one key alone can."""
        if not isinstance(stream, SrtpStream) or stream.row is None:
            return
        self._heard.put(stream.row, stream.heard)
        if stream.receiver is None:
            self._receivers.pop(2 * stream.row, None)
        else:
            self._receivers[2 * stream.row] = stream.receiver

    def _recall(self, stream: Stream) -> None:
        """Let a stream know the last packet of its own that batches have opened."""
        row = stream.row
        if isinstance(stream, SrtpStream) and row is not None and 2 * row in self._receivers:
            stream.heard = self._heard.get(row)

    def _note_source(self, stream: Stream) -> None:
        """Count that a peer is another source than before; forget the former ones now and then."""
        cipher = stream.cipher if isinstance(stream, DtlsStream) else stream
        if cipher is not None and cipher.note_source():
            self._recall(stream)
            cipher.renew()
            self._open_together(stream)

    # ------------------------------------------------------------------------------ packets

    def receive(self, inbox: Inbox) -> int:
        """Fill the inbox with what is in the clear or passes; see `MediaIO.receive`.

        Returns 0 when nothing passes, too: that nothing was there is in `Inbox.more`.
        """
        count = self._io.receive(inbox)
        inbox.more = inbox.more and count > 0
        if not self._rows or not count:
            return count
        gone = self._open_all(inbox, count)
        views, sizes, codes = inbox.views, inbox.sizes, inbox.codes
        for index in sorted(gone, reverse=True):
            count -= 1  # the last one, which is to stay, takes its place
            if index < count:
                views[index][: sizes[count]] = views[count][: sizes[count]]
                sizes[index], codes[index] = sizes[count], codes[count]
                inbox.stamps[index] = inbox.stamps[count]
        return count

    def _open_all(self, inbox: Inbox, count: int) -> list[int]:
        """Decrypt what is secured where it lies; return the places of what does not pass."""
        codes, sizes, kinds = inbox.codes[:count], inbox.sizes, inbox.data[:count, 1]
        sessions = list(map(self._receivers.get, codes))
        apart = (kinds >= _REPORTS[0]) & (kinds <= _REPORTS[1])
        places: list[int] | None = None
        gone: list[int] = []
        if apart.any() or None in sessions or max(sizes[:count]) > LONGEST:
            places = []
            for place, session in enumerate(sessions):
                if session is not None and not apart[place] and sizes[place] <= LONGEST:
                    places.append(place)
                    continue
                stream = self._rows.get(codes[place] >> 1)
                if stream is not None and not self._open(stream, inbox, place):
                    gone.append(place)
            sessions = [sessions[place] for place in places]
        return gone + self._open_batch(inbox, count, places, [s for s in sessions if s is not None])

    def _open_batch(
        self, inbox: Inbox, count: int, places: list[int] | None, sessions: list[SrtpSession]
    ) -> list[int]:
        """Decrypt the RTP of many legs; return the places of what does not pass."""
        if not sessions:
            return []
        if self._boxes is None or self._boxes[0] is not inbox:
            self._boxes = (inbox, Boxes(inbox.data))
        boxes, counts, sizes, codes = self._boxes[1], self.counts, inbox.sizes, inbox.codes
        boxes.lengths[:count] = sizes[:count]
        failed = boxes.unprotect(Ciphers(sessions), places)
        for status in failed.values():
            counts.refuse(refusal(status))
        passed: Sequence[int] = range(count) if places is None else places
        if failed:
            passed = [place for place in passed if place not in failed]
        if len(passed) == count:
            sizes[:count] = boxes.lengths[:count].tolist()
            changed = self._heard.note(codes[:count], inbox.data[:count, :12])
        elif passed:
            for place in passed:
                sizes[place] = int(boxes.lengths[place])
            changed = self._heard.note([codes[p] for p in passed], inbox.data[passed, :12])
        else:
            changed = []
        for row in changed:
            self._note_source(self._rows[row])
        counts.unprotected += len(passed)
        return list(failed)

    def _open(self, stream: Stream, inbox: Inbox, index: int) -> bool:
        """Decrypt one datagram where it lies; False when it does not pass."""
        view = inbox.views[index]
        packet = bytes(view[: inbox.sizes[index]])
        alone = inbox.codes[index] & 1
        if isinstance(stream, SrtpStream):
            cipher: SrtpStream | None = stream
        else:
            cipher = self._shake(stream, packet, alone=bool(alone))
        if cipher is None:
            return False
        try:
            plain = cipher.unprotect(packet, rtcp=bool(alone) or is_rtcp(packet))
        except SrtpError as error:
            self.counts.refuse(error)
            return False
        self.counts.unprotected += 1
        size = inbox.sizes[index] = len(plain)  # no more than came
        view[:size] = plain
        if cipher.source_changed:
            self._note_source(stream)
        if stream.row is not None and 2 * stream.row not in self._receivers:
            self._open_together(stream)  # perhaps it was the first under a new key
        return True

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

    def _plan(self, outbox: Outbox) -> SecurePlan:
        """Return what to do with the rows of a phase, made anew after a change."""
        # A handshake that is done makes keys without anybody having said so.
        key = (outbox.version << 32) + self._generation + self.counts.handshakes
        known = self._plans.get(outbox.phase)
        if known is not None and known[0] == key:
            return known[1]
        plan = SecurePlan(outbox, key, self._rows)
        self._plans[outbox.phase] = (key, plan)
        return plan
