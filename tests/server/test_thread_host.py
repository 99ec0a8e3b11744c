"""The engine on its thread, with real sockets: the one place here that waits in real time."""

import asyncio
import gc
import socket
import sys
import threading
import time

import pytest

from rtpmix.errors import UsageError
from rtpmix.mixer.boxes import Outbox
from rtpmix.mixer.commands import (
    CloseLeg,
    CommandRefused,
    LegClosed,
    MatrixReached,
    MediaSeen,
    MixerEvent,
    OpenLeg,
    SetMatrix,
)
from rtpmix.rtp.packet import RtpPacket
from rtpmix.server.memory import RareCollections
from rtpmix.server.switch_interval import BEAT_INTERVAL_S, SWITCH_INTERVAL_S
from rtpmix.server.thread_host import ThreadHost

UNITY = 32768
PORTS = range(13420, 13460)


class Listener:
    """Waits for events of the host without polling."""

    def __init__(self) -> None:
        self.events: list[MixerEvent] = []
        self.threads: set[str] = set()
        self._came = asyncio.Event()

    def __call__(self, event: MixerEvent) -> None:
        self.events.append(event)
        self.threads.add(threading.current_thread().name)
        self._came.set()

    async def until(self, kind: type[MixerEvent], count: int = 1) -> list[MixerEvent]:
        while True:
            found = [event for event in self.events if isinstance(event, kind)]
            if len(found) >= count:
                return found
            self._came.clear()
            await asyncio.wait_for(self._came.wait(), 5)


def peer() -> socket.socket:
    one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    one.bind(("127.0.0.1", 0))
    one.settimeout(5)
    return one


def leg(number: int) -> OpenLeg:
    return OpenLeg(leg=number, ssrc=100 + number, first_sequence=0, first_timestamp=0)


@pytest.mark.parametrize("legs_per_port", [1, 2])
async def test_two_peers_hear_each_other(legs_per_port: int) -> None:
    host, told = ThreadHost(ports=PORTS, legs_per_port=legs_per_port), Listener()
    await host.start(told)
    phones = {1: peer(), 2: peer()}
    addresses = {}
    for number, phone in phones.items():
        addresses[number] = await host.reserve(number, remote=phone.getsockname())
        host.submit(leg(number))
        host.connect(number, phone.getsockname(), None, False)
    assert len(set(addresses.values())) == 2 // legs_per_port
    host.submit(SetMatrix(bridge=1, seats=(1, 2), gains=((0, UNITY), (UNITY, 0))))
    await told.until(MatrixReached)
    for number in range(10):
        packet = RtpPacket(
            payload_type=0,
            sequence_number=number,
            timestamp=160 * number,
            ssrc=9,
            payload=b"\x90" * 160,
        )
        phones[1].sendto(packet.to_bytes(), addresses[1])
    await told.until(MediaSeen)
    loop = asyncio.get_running_loop()
    heard = b""
    for _ in range(100):
        data = await loop.run_in_executor(None, phones[2].recv, 2000)
        heard = data[12:]
        if heard == b"\x90" * 160:
            break
    assert heard == b"\x90" * 160
    assert host.sample > 0
    counts = host.snapshot()
    assert counts["legs"] == 2
    shared = {"ports": 1, "legs": 2, "unknown_source": 0, "overrun": 0}
    assert counts.get("shared_ports") == (shared if legs_per_port > 1 else None)
    stats = host.leg_stats(1)
    assert stats is not None
    assert stats.received == 10
    host.submit(CloseLeg(9))
    await told.until(CommandRefused)
    await host.stop()
    assert len(await told.until(LegClosed, 2)) == 2
    assert told.threads == {threading.current_thread().name}
    for phone in phones.values():
        phone.close()


async def test_settings_of_the_process_are_put_back() -> None:
    before, frozen = sys.getswitchinterval(), gc.get_freeze_count()
    thresholds = gc.get_threshold()
    host = ThreadHost(ports=PORTS)
    await host.start(lambda event: None)
    between, within = pytest.approx(SWITCH_INTERVAL_S), pytest.approx(BEAT_INTERVAL_S)
    assert sys.getswitchinterval() in (between, within)
    assert gc.get_threshold() == RareCollections.THRESHOLDS
    with pytest.raises(UsageError, match="make a new one"):
        await host.start(lambda event: None)
    await host.stop()
    assert sys.getswitchinterval() == pytest.approx(before)
    assert gc.get_threshold() == thresholds
    assert gc.get_freeze_count() <= frozen
    assert not [thread for thread in threading.enumerate() if thread.name == "rtpmix-media"]


@pytest.mark.parametrize("first", [0, 1], ids=["first started", "last started"])
async def test_settings_of_the_process_are_put_back_in_whatever_order_hosts_stop(
    first: int,
) -> None:
    before, thresholds, frozen = sys.getswitchinterval(), gc.get_threshold(), gc.get_freeze_count()
    hosts = [ThreadHost(ports=PORTS), ThreadHost(ports=PORTS)]
    for host in hosts:
        await host.start(lambda event: None)
    await hosts.pop(first).stop()
    between, within = pytest.approx(SWITCH_INTERVAL_S), pytest.approx(BEAT_INTERVAL_S)
    assert sys.getswitchinterval() in (between, within)
    assert gc.get_threshold() == RareCollections.THRESHOLDS
    await hosts[0].stop()
    await hosts[0].stop()
    assert sys.getswitchinterval() == pytest.approx(before)
    assert gc.get_threshold() == thresholds
    assert gc.get_freeze_count() <= frozen
    assert gc.isenabled()


async def test_host_that_never_started_can_stop() -> None:
    await ThreadHost(ports=PORTS).stop()


async def test_stall_leaves_frames_out_and_keeps_the_clock() -> None:
    """As if the machine had slept: the time that the thread reads jumps by a second."""
    jump, began = 0.0, time.monotonic()
    host, told = ThreadHost(ports=PORTS, clock=lambda: time.monotonic() + jump), Listener()
    await host.start(told)
    await host.reserve(1)
    host.submit(leg(1))
    host.submit(SetMatrix(bridge=1, seats=(1,), gains=((0,),)))
    await told.until(MatrixReached)
    before = host.sample
    jump = 1.0
    host.submit(SetMatrix(bridge=1, seats=(1,), gains=((0,),)))
    await told.until(MatrixReached, 2)
    snapshot = host.snapshot()
    await host.stop()
    # No more than passed: on a busy machine the thread really sleeps too long now and then.
    passed = jump + time.monotonic() - began
    assert 45 <= snapshot["skipped_frames"] <= passed / 0.02
    assert snapshot["late_ticks"] >= 1
    assert host.sample - before >= 45 * 160


@pytest.mark.parametrize("wanted", [True, False])
async def test_no_garbage_collection_begins_within_a_beat(wanted: bool) -> None:
    host = ThreadHost(ports=PORTS)
    loop, beats = asyncio.get_running_loop(), asyncio.Event()
    within: list[bool] = []
    tick = host._engine.tick

    def watched() -> Outbox:
        within.append(gc.isenabled())
        if len(within) == 5:
            loop.call_soon_threadsafe(beats.set)
        return tick()

    host._engine.tick = watched  # type: ignore[method-assign]
    if not wanted:
        gc.disable()
    try:
        await host.start(lambda event: None)
        await asyncio.wait_for(beats.wait(), 10)
        await host.stop()
        assert gc.isenabled() is wanted
    finally:
        gc.enable()
    assert within[:5] == [False] * 5
