"""One beat of a host, and the host on a virtual loop."""

import asyncio
from collections import deque

import pytest

from rtpmix.errors import UsageError
from rtpmix.mixer.boxes import Inbox, Outbox
from rtpmix.mixer.commands import CloseLeg, LegClosed, MediaSeen, OpenLeg, Record, SetMatrix
from rtpmix.mixer.engine import Engine
from rtpmix.mixer.tap import TapBlock
from rtpmix.rtp.packet import RtpPacket
from rtpmix.server.inline_host import InlineHost
from rtpmix.server.media_io import Address
from rtpmix.server.media_loop import MAX_READS, MediaLoop
from rtpmix.testing.loop import run

UNITY = 32768
PEER = ("192.0.2.1", 4000)


class Wire:
    """A `MediaIO` that keeps what is sent and gives what was put in."""

    tells_time = False

    def __init__(self) -> None:
        self.calls: list[tuple[object, ...]] = []
        self.sent: list[tuple[int, bytes]] = []
        self.arriving: dict[int, deque[bytes]] = {}
        self.extra: list[tuple[int, bytes, bool]] = []
        self.fails: list[int] = []

    def reserve(self, leg: int, *, ipv6: bool = False, remote: Address | None = None) -> Address:
        self.calls.append(("reserve", leg))
        return ("192.0.2.9", 5000 + 2 * leg)

    def attach(self, leg: int, row: int) -> None:
        self.calls.append(("attach", leg))
        self.arriving[row] = deque()

    def connect(
        self, leg: int, remote: Address | None, remote_rtcp: Address | None, rtcp_mux: bool
    ) -> None:
        self.calls.append(("connect", leg))

    def expect_checks(self, leg: int, on: bool) -> None:
        return

    def take_checks(self) -> list[tuple[int, bytes, Address]]:
        return []

    def take_strays(self) -> tuple[int, int]:
        return 0, 0

    def release(self, leg: int) -> None:
        self.calls.append(("release", leg))

    def receive(self, inbox: Inbox) -> int:
        inbox.count = 0  # whatever became of what was there
        for row, waiting in self.arriving.items():
            if waiting:
                inbox.put(row, waiting.popleft())
        return inbox.count

    def send(self, outbox: Outbox) -> list[int]:
        pairs = zip(outbox.rows, outbox.views, strict=True)
        self.sent += [(row, bytes(view)) for row, view in pairs]
        self.extra += outbox.extra
        return self.fails


def leg(number: int) -> OpenLeg:
    return OpenLeg(leg=number, ssrc=4 * number, first_sequence=0, first_timestamp=0)


def packet(number: int) -> bytes:
    return RtpPacket(
        payload_type=0,
        sequence_number=number,
        timestamp=160 * number,
        ssrc=7,
        payload=bytes([number]) * 160,
    ).to_bytes()


def test_commands_and_connections_keep_their_order() -> None:
    wire = Wire()
    media = MediaLoop(Engine(), wire)
    media.connect(1, PEER, None, False)
    media.submit(leg(1))
    media.connect(1, None, None, False)
    media.release(2)
    media.beat()
    assert wire.calls == [("connect", 1), ("attach", 1), ("connect", 1), ("release", 2)]


def test_flood_at_one_socket_costs_a_bounded_number_of_reads() -> None:
    wire = Wire()
    media = MediaLoop(Engine(), wire)
    media.submit(leg(1))
    media.beat()
    wire.arriving[0].extend(packet(number) for number in range(100))
    media.beat()
    assert len(wire.arriving[0]) == 100 - MAX_READS


def test_a_batch_of_io_that_knows_that_nothing_waits_is_the_only_one_of_its_beat() -> None:
    """Each batch has a price of its own; I/O that does not know is asked until nothing comes."""

    class Counting(Wire):
        knows = True
        reads = 0

        def receive(self, inbox: Inbox) -> int:
            self.reads += 1
            if self.knows:
                inbox.more = False
            return super().receive(inbox)

    wire = Counting()
    media = MediaLoop(Engine(), wire)
    media.submit(leg(1))
    media.beat()
    for wire.knows, waiting, reads in (
        (True, 0, 1),
        (True, 1, 1),
        (True, 2, 1),
        (False, 0, 1),
        (False, 1, 2),
        (False, 2, 3),
        (False, 9, MAX_READS),
    ):
        wire.arriving[0].extend(packet(number) for number in range(waiting))
        wire.reads = 0
        media.beat()
        assert wire.reads == reads
        wire.arriving[0].clear()


def test_what_nobody_needs_yet_stays_in_the_kernel() -> None:
    """Where the kernel notes when it came, only beats that mix read, and at least one in four."""

    class Reading(Wire):
        reads = 0

        def receive(self, inbox: Inbox) -> int:
            self.reads += 1
            inbox.more = False
            return super().receive(inbox)

    wire = Reading()
    engine = Engine(phases=4)
    media = MediaLoop(engine, wire)

    def read() -> list[int]:
        found = []
        for _ in range(16):
            reads = wire.reads
            rests = media.rests
            media.beat()
            assert rests == (wire.reads == reads)
            if wire.reads > reads:
                found.append((engine.beat - 1) % 4)
        return found

    media.submit(leg(1))
    media.submit(SetMatrix(bridge=1, seats=(1,), gains=((0,),)))
    media.beat()
    for _ in range(15):
        media.beat()
    phase = engine.rows.phase[0]
    assert read() == [0, 1, 2, 3] * 4  # nobody says when a beat is due
    engine.inbox.due = 1.0
    assert read() == [0, 1, 2, 3] * 4  # and the network not when something came
    wire.tells_time = True
    assert read() == [phase] * 4
    media.submit(leg(2))
    assert not media.rests
    media.beat()
    media.submit(CloseLeg(1))
    media.submit(CloseLeg(2))
    for _ in range(15):
        media.beat()
    assert len(read()) == 4


def test_failed_sends_are_counted() -> None:
    wire = Wire()
    media = MediaLoop(Engine(), wire)
    media.submit(leg(1))
    media.beat()
    wire.fails = [0]
    media.beat()
    stats = media.engine.leg_stats(1)
    assert stats is not None
    assert stats.send_errors == 1


def test_closed_leg_gives_its_ports_back_after_its_last_packet() -> None:
    wire = Wire()
    media = MediaLoop(Engine(), wire)
    media.submit(leg(1))
    for _ in range(4):
        media.beat()
    media.submit(CloseLeg(1))
    events = [event for _ in range(4) for event in media.beat()]
    assert [type(event) for event in events] == [LegClosed]
    assert wire.calls[-1] == ("release", 1)


def test_lateness_counts_in_the_first_bucket_that_fits() -> None:
    media = MediaLoop(Engine(), Wire())
    for seconds in (0.0001, 0.0003, 0.003, 5.0):
        media.count_lateness(seconds)
    found = media.snapshot()["lateness_ms"]
    assert {name: count for name, count in found.items() if count} == {
        "<=0.25": 1,
        "<=0.5": 1,
        "<=5": 1,
        ">50": 1,
    }


class Sink:
    def __init__(self) -> None:
        self.blocks: list[TapBlock] = []

    def put_block(self, block: TapBlock) -> None:
        self.blocks.append(block)


def test_inline_host_runs_an_hour_of_virtual_time_on_the_beat() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        wire, sink = Wire(), Sink()
        events: list[tuple[float, object]] = []
        host = InlineHost(wire, phases=1)
        host.writer = sink
        await host.start(lambda event: events.append((loop.time(), event)))
        assert await host.reserve(1) == ("192.0.2.9", 5002)
        host.submit(leg(1))
        host.submit(leg(2))
        host.connect(1, PEER, None, False)
        matrix = ((0, UNITY), (UNITY, 0))
        host.submit(SetMatrix(bridge=1, seats=(1, 2), gains=matrix))
        host.submit(Record(1))
        await asyncio.sleep(0.03)
        wire.arriving[0].append(packet(1))
        await asyncio.sleep(60)
        assert host.sample in (480_000 + 320, 480_000 + 480)
        stats = host.leg_stats(1)
        assert stats is not None
        assert stats.sent == host.snapshot()["ticks"]
        assert len(sink.blocks) == stats.sent
        assert [event.leg for _, event in events if isinstance(event, MediaSeen)] == [1]
        host.submit(CloseLeg(1))
        await host.stop()
        await host.stop()
        closed = [event.leg for _, event in events if isinstance(event, LegClosed)]
        assert sorted(closed) == [1, 2]

    run(main())


def test_inline_host_starts_once() -> None:
    async def main() -> None:
        host = InlineHost(Wire())
        await host.start(lambda event: None)
        with pytest.raises(UsageError, match="make a new one"):
            await host.start(lambda event: None)
        await host.stop()

    run(main())
