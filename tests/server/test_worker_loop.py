"""A worker's beat: when a leg whose DTLS handshake is under way parts."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from rtpmix.mixer.commands import LegParted, MixerEvent, PartLeg
from rtpmix.mixer.engine import Engine
from rtpmix.server import worker_messages as say
from rtpmix.server.dtls import DtlsTerms, Handshake
from rtpmix.server.dtls_stream import DtlsPosition, DtlsStream
from rtpmix.server.srtp_stream import SecureCounts
from rtpmix.server.worker import FIGURES_BEATS, HANDSHAKE_FRAMES, WorkerLoop
from rtpmix.server.worker import Worker as MediaWorker
from tests.server.test_dtls import named
from tests.server.test_dtls_stream import OURS, PEERS, TERMS
from tests.server.test_learning_sockets import PORTS
from tests.server.test_media_loop import PEER, Wire, leg


class Worker:
    """What a loop needs of its worker."""

    def __init__(self) -> None:
        self.carried: list[say.Carried] = []
        self.wire = Wire()
        self.loop = WorkerLoop(Engine(), self.wire, self)  # type: ignore[arg-type]
        self.peer = Handshake(DtlsTerms(PEERS, named(OURS), is_client=True))
        self.loop.secure(1, TERMS)
        self.loop.submit(leg(1))
        self.loop.connect(1, PEER, None, True)
        self.loop.beat()

    def listen(self) -> None:
        """Nobody says anything."""

    def carry(self, message: say.Carried) -> None:
        self.carried.append(message)

    def beats(self, number: int, *, talking: bool = True) -> list[MixerEvent]:
        events: list[MixerEvent] = []
        for _ in range(number):
            self.wire.arriving[0].extend(self.peer.datagrams() if talking else ())
            self.wire.extra.clear()
            events += self.loop.beat()
            for _, datagram, _ in self.wire.extra if talking else ():
                self.peer.receive(datagram)
        return events


def parted(events: list[Any]) -> list[Any]:
    return [event for event in events if isinstance(event, LegParted)]


def test_a_leg_parts_when_its_handshake_is_done() -> None:
    worker = Worker()
    worker.wire.arriving[0].extend(worker.peer.datagrams())
    worker.beats(1, talking=False)  # a ClientHello has come, and the answer takes its time
    answer = list(worker.wire.extra)
    worker.loop.submit(PartLeg(1))
    assert not parted(worker.beats(40, talking=False))
    for _, datagram, _ in answer:
        worker.peer.receive(datagram)
    assert parted(worker.beats(5 * worker.loop.engine.phases))
    assert worker.peer.keys is not None
    (told,) = worker.carried
    assert isinstance(told.position, DtlsPosition)
    assert told.position.srtp is not None


def test_a_leg_whose_handshake_leads_nowhere_parts_without_it() -> None:
    worker = Worker()
    worker.wire.arriving[0].extend(worker.peer.datagrams())
    worker.beats(1, talking=False)
    worker.loop.submit(PartLeg(1))
    wait = HANDSHAKE_FRAMES * worker.loop.engine.phases
    assert not parted(worker.beats(wait - 1, talking=False))
    assert parted(worker.beats(5 * worker.loop.engine.phases, talking=False))
    assert worker.carried[0].position == DtlsPosition(TERMS, None)


def test_a_handshake_that_begins_while_a_leg_parts_goes_on_where_it_goes() -> None:
    worker = Worker()
    worker.loop.submit(PartLeg(1))
    hello = worker.peer.datagrams()
    worker.wire.arriving[0].extend(hello)
    assert parted(worker.beats(5 * worker.loop.engine.phases, talking=False))
    assert not worker.wire.extra
    (told,) = worker.carried
    assert told.position == DtlsPosition(TERMS, None, heard=tuple(hello))
    there = DtlsStream(told.position, SecureCounts())  # type: ignore[arg-type]
    for _ in range(5):
        for datagram in there.beat():
            worker.peer.receive(datagram)
        for datagram in worker.peer.datagrams():
            there.receive(datagram)
    assert worker.peer.keys is not None
    assert there.cipher is not None


def test_a_leg_that_has_no_handshake_under_way_parts_at_once() -> None:
    worker = Worker()
    worker.loop.submit(PartLeg(1))
    assert parted(worker.beats(5 * worker.loop.engine.phases, talking=False))


class Said:
    """A channel that keeps what is sent."""

    waiting = 0

    def __init__(self) -> None:
        self.figures: list[say.Figures] = []

    def send(self, message: object) -> None:
        if isinstance(message, say.Figures):
            self.figures.append(message)

    def flush(self) -> bool:
        return True


@pytest.mark.parametrize("first", range(4))
@pytest.mark.parametrize("together", [1, 3, 4, 7])
def test_figures_are_told_however_many_beats_are_done_at_once(first: int, together: int) -> None:
    """Where nobody is mixed a beat brings the next ones with it; the server sees that it lives."""
    said = Said()
    settings = say.Settings("127.0.0.1", None, PORTS, phases=4, origin=0.0, epoch=0.0)
    worker = MediaWorker(said, settings)  # type: ignore[arg-type]
    worker._media.beats = first
    for _ in range(20 * FIGURES_BEATS // together):
        worker._media.beats += together
        worker._tell([])
    beats = [figures.beats for figures in said.figures]
    assert all(later - sooner < FIGURES_BEATS + together for sooner, later in pairwise(beats))
    assert 15 <= len(beats) <= 20
    assert beats[-1] > 18 * FIGURES_BEATS
    worker._disk.shutdown()
    worker._writer.close()
    worker._coding.close()
    worker._io.close()
