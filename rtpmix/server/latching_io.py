"""`MediaIO` that learns where peers behind NAT are: the layer over the encrypting one.

A leg whose session description may name an unreachable address is opened for a few seconds: the
network below then delivers what its peer's hosts send from any port, and says where each datagram
came from. What reaches this layer has been authenticated where the leg has keys. Each leg's
`Latch` decides; as soon as it has, the sockets are connected like all others, and the kernel keeps
everybody else out. While no leg is open the layer costs one look at an empty table.

References
----------
RFC 7362 section 4
"""

from __future__ import annotations

from dataclasses import dataclass

from ..mixer.boxes import Inbox, Outbox
from ..mixer.commands import MixerEvent
from ..rtp.latching import REPORT_WINDOW_S, Latch, Terms
from ..rtp.packet import is_rtcp
from .media_io import NOWHERE, Address, LearningIO
from .secure_io import Secret, SecureIO

Learned = tuple[Address, Address | None]  # where RTP comes from, and RTCP where that is known


@dataclass(frozen=True, slots=True)
class MediaLatched(MixerEvent):
    """A leg's RTP comes from ``remote`` and goes there; ``remote_rtcp`` as far as is known.

    By latching, on ``terms``; or by checks, which have none.
    """

    leg: int
    remote: Address
    remote_rtcp: Address | None
    rtcp_mux: bool
    signalled: Address | None
    terms: Terms | None


@dataclass(slots=True)
class LatchCounts:
    """What became of sources that nobody had signalled."""

    learning: int = 0  # legs that are open now
    latched: int = 0
    confirmed: int = 0  # the signalled address, or the one that was learned before, was right
    expired: int = 0  # windows in which nobody passed
    refused: int = 0  # datagrams that were not heard

    def as_dict(self) -> dict[str, int]:
        """Return the counts by name."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(slots=True, eq=False)
class _Learner:
    """One leg that may learn."""

    leg: int
    latch: Latch
    signalled: Address | None = None
    signalled_rtcp: Address | None = None
    mux: bool = False
    terms: Terms | None = None
    learned_rtcp: Address | None = None
    reports_until: float | None = None  # from whom RTCP comes may be learned until then
    row: int | None = None

    @property
    def remote_rtcp(self) -> Address | None:
        """Where RTCP goes: after a latch nowhere, until it is known better.

        The port above that of RTP may be somebody else's behind the same NAT.
        """
        if not self.latch.learned or self.mux:
            return self.signalled_rtcp
        return self.learned_rtcp or NOWHERE


class LatchingIO:
    """The layer that decides where media may come from.

    Parameters
    ----------
    secure
        The layer below, which decrypts.
    network
        What is below that.
    """

    def __init__(self, secure: SecureIO, network: LearningIO) -> None:
        self.counts = LatchCounts()
        self._secure = secure
        self._network = network
        self._attached: dict[int, int] = {}  # leg to row, of all legs
        self._learners: dict[int, _Learner] = {}
        self._open: dict[int, _Learner] = {}  # by row
        self._events: list[MediaLatched] = []
        self._refused: dict[int, int] = {}  # by row
        self._sample = 0
        self._now = 0.0
        self._listened = False  # some leg was open when this beat began

    # ------------------------------------------------------------------------ a leg's life

    def reserve(self, leg: int, *, ipv6: bool = False, remote: Address | None = None) -> Address:
        """Bind a pair; see `MediaIO.reserve`."""
        return self._secure.reserve(leg, ipv6=ipv6, remote=remote)

    def attach(self, leg: int, row: int) -> None:
        """Name the engine row of a leg; see `MediaIO.attach`."""
        self._attached[leg] = row
        self._secure.attach(leg, row)

    def secure(self, leg: int, keys: Secret | None) -> None:
        """Give a leg its keys; see `SecureIO.secure`."""
        self._secure.secure(leg, keys)

    def connect(
        self,
        leg: int,
        remote: Address | None,
        remote_rtcp: Address | None,
        rtcp_mux: bool,
        terms: Terms | None = None,
        learned: Learned | None = None,
    ) -> None:
        """Name the peer of a leg, and on which terms it may turn out to be elsewhere.

        Parameters
        ----------
        learned
            What another process has learned since that was said.
        """
        learner = self._learners.get(leg)
        if learner is None:
            if terms is None:
                self._secure.connect(leg, remote, remote_rtcp, rtcp_mux)
                return
            learner = self._learners[leg] = _Learner(leg, Latch())
        if remote != learner.signalled:
            learner.learned_rtcp = None
        learner.signalled, learner.signalled_rtcp = remote, remote_rtcp
        learner.mux, learner.terms = rtcp_mux, terms
        learner.latch.signalled(remote, terms, self._now)
        learner.reports_until = None
        if learned is not None:
            learner.latch.resume(learned[0])
            learner.learned_rtcp = learned[1]
        self._settle(learner)

    def release(self, leg: int) -> None:
        """Give the ports and the keys back; see `MediaIO.release`."""
        learner = self._learners.pop(leg, None)
        if learner is not None:
            self._shut(learner)
        self._attached.pop(leg, None)
        self._secure.release(leg)

    def _settle(self, learner: _Learner) -> None:
        """Tell the network what the latch has come to."""
        latch, terms = learner.latch, learner.terms
        self._shut(learner)
        row = self._attached.get(learner.leg)
        media = latch.closes_at is not None
        reports = not learner.mux and (media or learner.reports_until is not None)
        if row is None or terms is None or not (media or reports):
            self._secure.connect(learner.leg, latch.remote, learner.remote_rtcp, learner.mux)
            return
        learner.row = row
        self._open[row] = learner
        self.counts.learning = len(self._open)
        self._network.learn(
            learner.leg,
            latch.remote,
            learner.remote_rtcp,
            learner.mux,
            hosts=terms.hosts,
            media=media,
        )

    def _shut(self, learner: _Learner) -> None:
        if learner.row is not None and self._open.get(learner.row) is learner:
            del self._open[learner.row]
            self.counts.learning = len(self._open)
        learner.row = None

    # ------------------------------------------------------------------------------- beats

    def begin(self, sample: int, now: float) -> None:
        """Tell the time; windows that are over close."""
        self._sample, self._now = sample, now
        for moved in self._secure.checked.beat(now):
            self._events.append(
                MediaLatched(sample, moved.leg, moved.remote, None, True, moved.signalled, None)
            )
        self._listened = bool(self._open)
        if not self._listened:
            return
        for learner in tuple(self._open.values()):
            if learner.latch.expire(now):
                self.counts.expired += 1
                self._settle(learner)
            elif learner.reports_until is not None and now >= learner.reports_until:
                learner.reports_until = None
                self._settle(learner)

    def receive(self, inbox: Inbox) -> int:
        """Fill the inbox with what is to be heard; see `MediaIO.receive`."""
        count = self._secure.receive(inbox)
        if not self._open:
            return count
        views, sizes, codes, rows = inbox.views, inbox.sizes, inbox.codes, self._open
        index = 0
        while index < count:
            learner = rows.get(codes[index] >> 1)
            if learner is None or self._hear(learner, codes[index], views[index], sizes[index]):
                index += 1
                continue
            count -= 1  # gone; the last one takes its place
            if index < count:
                views[index][: sizes[count]] = views[count][: sizes[count]]
                sizes[index], codes[index] = sizes[count], codes[count]
                inbox.stamps[index] = inbox.stamps[count]
        self._network.sources.clear()
        return count

    def _hear(self, learner: _Learner, code: int, view: memoryview, size: int) -> bool:
        source = self._network.sources.get(code)
        if source is None:
            return True  # the kernel has looked: it is of the one address that this socket hears
        packet = view[:size]
        if code & 1 or is_rtcp(packet):
            heard = self._hear_report(learner, packet, source, alone=bool(code & 1))
        else:
            heard = self._hear_media(learner, packet, source)
        if not heard:
            self._refuse(code >> 1, 1)
        return heard

    def _hear_media(self, learner: _Learner, packet: memoryview, source: Address) -> bool:
        latch, before = learner.latch, learner.latch.remote
        heard = latch.receive(packet, source, self._now)
        if latch.closes_at is not None:
            return heard
        if latch.remote == before:
            self.counts.confirmed += 1
        else:
            self.counts.latched += 1
            learner.learned_rtcp = None
        if latch.learned and not learner.mux:
            learner.reports_until = self._now + REPORT_WINDOW_S
        self._settle(learner)
        if latch.remote != before:
            self._tell(learner)
        return heard

    def _hear_report(
        self, learner: _Learner, packet: memoryview, source: Address, *, alone: bool
    ) -> bool:
        """Take RTCP; on a port of its own its source is learned once the stream's is."""
        known = learner.remote_rtcp if alone else learner.latch.remote
        if source == known and not (alone and learner.latch.learned):
            return True
        if not alone or not learner.latch.learned or learner.latch.closes_at is not None:
            return source == known
        if not learner.latch.is_peers_report(packet, source):
            return False
        learner.learned_rtcp, learner.reports_until = source, None
        self._settle(learner)
        self._tell(learner)
        return True

    def _tell(self, learner: _Learner) -> None:
        remote = learner.latch.remote
        assert remote is not None
        self._events.append(
            MediaLatched(
                self._sample,
                learner.leg,
                remote,
                None if learner.mux else learner.learned_rtcp,
                learner.mux,
                learner.signalled,
                learner.terms,
            )
        )

    def _refuse(self, row: int, number: int) -> None:
        self.counts.refused += number
        self._refused[row] = self._refused.get(row, 0) + number

    def take_refused(self) -> list[tuple[int, int]]:
        """Return (row, datagrams) that were refused since the last time."""
        if self._listened:
            for row, number in self._network.take_refused():
                self._refuse(row, number)
        if not self._refused:
            return []
        refused, self._refused = list(self._refused.items()), {}
        return refused

    def take_events(self) -> list[MediaLatched]:
        """Return what was latched since the last time."""
        events, self._events = self._events, []
        return events

    def send(self, outbox: Outbox) -> list[int]:
        """Send everything in the outbox; see `MediaIO.send`."""
        return self._secure.send(outbox)
