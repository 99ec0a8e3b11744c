"""Engines in processes: real ones, with real sockets; nothing here waits but for facts."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from rtpmix.errors import CapacityError, UsageError
from rtpmix.mixer import commands as media
from rtpmix.mixer.commands import MixerEvent, OpenLeg, SetMatrix
from rtpmix.recorder import Verdict, generate_key, read_capture, verify
from rtpmix.rtp.packet import RtpPacket
from rtpmix.rtp.srtp import MasterKey, SrtpSession, StreamKeys
from rtpmix.server.process_host import ProcessHost, total

UNITY = 32768
PORTS = range(13500, 13600)
PATIENCE = 30  # seconds: a busy machine starts processes slowly


class Heard:
    """Waits for events of the host without polling."""

    def __init__(self) -> None:
        self.events: list[MixerEvent] = []
        self._came = asyncio.Event()

    def __call__(self, event: MixerEvent) -> None:
        self.events.append(event)
        self._came.set()

    def of(self, kind: type[Any]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    async def until(self, fact: Callable[[], object]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not fact():
                self._came.clear()
                await self._came.wait()


class Peer(asyncio.DatagramProtocol):
    """A socket that speaks one level and remembers the packets that it hears."""

    def __init__(self, keys: StreamKeys | None = None) -> None:
        self.packets: list[RtpPacket] = []
        self.reports: list[bytes] = []
        # libsrtp of its own, which is told nothing of moves.
        self.sender = SrtpSession.sender(keys.theirs) if keys else None
        self.receiver = SrtpSession.receiver(keys.ours) if keys else None
        self._came = asyncio.Event()
        self._sent = 0

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.address = transport.get_extra_info("sockname")

    def datagram_received(self, data: bytes, addr: Any) -> None:
        if not 192 <= data[1] <= 223:  # RTCP, RFC 5761 section 4
            if self.receiver is not None:
                data = self.receiver.unprotect(data)
            self.packets.append(RtpPacket.parse(data))
            self._came.set()
        else:
            self.reports.append(data)

    def say_wide(self, to: Any, value: int) -> None:
        """Say 20 ms of a constant in L16 at 16 kHz."""
        packet = RtpPacket(
            payload_type=96,
            sequence_number=self._sent & 0xFFFF,
            timestamp=320 * self._sent,
            ssrc=9,
            payload=value.to_bytes(2, "big") * 320,
        )
        self._sent += 1
        self.transport.sendto(packet.to_bytes(), to)

    def say(self, to: Any, code: int, frames: int = 1) -> None:
        for _ in range(frames):
            packet = RtpPacket(
                payload_type=0,
                sequence_number=self._sent & 0xFFFF,
                timestamp=160 * self._sent,
                ssrc=9,
                payload=bytes([code]) * 160,
            )
            self._sent += 1
            data = packet.to_bytes()
            self.transport.sendto(self.sender.protect(data) if self.sender else data, to)

    async def until(self, fact: Callable[[], object], feed: Callable[[], None]) -> None:
        """Wait for a fact about what is heard; each packet heard has `feed` say one."""
        async with asyncio.timeout(PATIENCE):
            while not fact():
                self._came.clear()
                await self._came.wait()
                feed()


class Office:
    """A host and peers."""

    def __init__(self, host: ProcessHost, heard: Heard) -> None:
        self.host = host
        self.heard = heard
        self.peers: dict[int, Peer] = {}
        self.addresses: dict[int, Any] = {}

    async def open(
        self,
        leg: int,
        keys: StreamKeys | None = None,
        *,
        signalled: bool = False,
        first: int = 0,
        codec: str = "PCMU",
    ) -> Peer:
        loop = asyncio.get_running_loop()
        local = ("127.0.0.1", 0)
        _, peer = await loop.create_datagram_endpoint(lambda: Peer(keys), local_addr=local)
        remote = peer.address if signalled else None
        self.addresses[leg] = await self.host.reserve(leg, remote=remote)
        if keys is not None:
            self.host.secure(leg, keys)
        self.host.submit(
            OpenLeg(
                leg=leg,
                codec=codec,
                payload_type=0 if codec == "PCMU" else 96,
                dtmf_payload_type=101,
                ssrc=100 + leg,
                first_sequence=first,
                first_timestamp=0,
            )
        )
        self.host.connect(leg, peer.address, None, True)
        self.peers[leg] = peer
        return peer

    def join(self, bridge: int, *seats: int, token: int = 0) -> None:
        gains = tuple(tuple(UNITY * (a != b) for b in seats) for a in seats)
        self.host.submit(SetMatrix(bridge=bridge, seats=seats, gains=gains, token=token))

    async def reached(self, token: int) -> None:
        await self.heard.until(
            lambda: any(event.token == token for event in self.heard.of(media.MatrixReached))
        )

    async def hears(self, listener: int, talker: int, code: int = 0x90) -> None:
        """Wait until one hears exactly what the other one says."""
        peer, said = self.peers[listener], bytes([code]) * 160
        begun = len(peer.packets)
        await peer.until(
            lambda: any(packet.payload == said for packet in peer.packets[begun:]),
            lambda: self.peers[talker].say(self.addresses[talker], code),
        )

    def carried(self) -> list[int]:
        return [entry["legs"] for entry in self.host.snapshot()["workers"]]


@asynccontextmanager
async def office(workers: int = 2, **options: Any) -> AsyncIterator[Office]:
    host, heard = ProcessHost(workers, ports=PORTS, **options), Heard()
    await host.start(heard)
    here = Office(host, heard)
    try:
        yield here
    finally:
        await host.stop()
        for peer in here.peers.values():
            peer.transport.close()


async def test_a_leg_moves_to_the_bridge_of_another_worker_and_stays_one_stream() -> None:
    async with office() as here:
        for leg in (1, 2):
            await here.open(leg)
        assert here.carried() == [1, 1]
        await here.peers[2].until(lambda: len(here.peers[2].packets) > 3, lambda: None)
        here.join(5, 1, 2, token=7)
        await here.reached(7)
        assert here.carried() == [2, 0]
        assert here.host.snapshot()["legs_moved"] == 1
        await here.hears(2, 1)
        await here.hears(1, 2)
        # It was leg 2 that moved; its peer saw one stream, on the clock.
        packets = here.peers[2].packets
        assert {packet.ssrc for packet in packets} == {102}
        numbers = [packet.sequence_number for packet in packets]
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
        steps = [b.timestamp - a.timestamp for a, b in pairwise(packets)]
        assert all(step > 0 and step % 160 == 0 for step in steps)
    closed = here.heard.of(media.LegClosed)
    assert sorted(event.leg for event in closed) == [1, 2]
    assert not here.heard.of(media.CommandRefused)
    assert all(event.stats.received > 0 for event in closed)


async def test_a_leg_with_keys_moves_and_its_cipher_goes_on() -> None:
    """libsrtp at the other end hears every packet: across the wrap of sequence numbers, too."""
    async with office() as here:
        for leg in (1, 2):
            keys = StreamKeys(MasterKey.generate(), MasterKey.generate())
            await here.open(leg, keys, first=65_530)
        assert here.carried() == [1, 1]
        await here.peers[2].until(lambda: len(here.peers[2].packets) > 8, lambda: None)
        here.peers[2].say(here.addresses[2], 0x90)
        for token, bridge in enumerate((5, 6, 5), 7):
            here.join(bridge, *((1, 2) if bridge == 5 else (1,)), token=token)
            await here.reached(token)
            if bridge == 5:
                await here.hears(2, 1)
                await here.hears(1, 2)
        assert here.host.snapshot()["legs_moved"] >= 1
        packets = here.peers[2].packets
        assert {packet.ssrc for packet in packets} == {102}
        numbers = [packet.sequence_number for packet in packets]
        assert numbers == [(65_530 + n) & 0xFFFF for n in range(len(numbers))]
        await here.heard.until(
            lambda: here.host.snapshot().get("srtp", {}).get("unprotected", 0) > 0
        )
        assert here.host.snapshot()["srtp"]["forged"] == 0
    assert not here.heard.of(media.CommandRefused)
    assert not here.heard.of(media.WorkerLost)


async def test_legs_share_ports_in_every_worker_and_one_that_moves_keeps_its_own() -> None:
    """Its peer sees one stream from one address; the others on the port hear nothing of it."""
    async with office(legs_per_port=3) as here:
        keys = [StreamKeys(MasterKey.generate(), MasterKey.generate()) for _ in range(3)]
        secured = [None, None, None, None, *keys[:2]]
        for leg in range(1, 7):
            await here.open(leg, secured[leg - 1], signalled=True, first=65_530)
        assert here.carried() == [3, 3]
        ports = {leg: address[1] for leg, address in here.addresses.items()}
        assert ports[1] == ports[3] == ports[5] != ports[2] == ports[4] == ports[6]
        assert here.host.snapshot()["shared_ports"] == {"ports": 2, "legs": 6, "parted": 0}
        here.join(5, 1, 3, token=1)
        here.join(6, 2, 4, token=2)
        await here.hears(1, 3)
        await here.hears(2, 4)
        for token, moving in ((3, 4), (4, 6)):  # in the clear, and with keys
            here.join(5, 1, 3, *(leg for leg in (4, 6) if leg <= moving), token=token)
            await here.reached(token)
            await here.hears(1, moving, 0xA0 + token)
            await here.hears(moving, 3, 0xB0 + token)
        assert here.carried() == [5, 1]
        assert here.host.snapshot()["shared_ports"] == {"ports": 2, "legs": 4, "parted": 2}
        here.join(6, 2, token=5)
        here.join(7, 2, 5, token=6)  # from the other shared port, and with keys, the other way
        await here.reached(6)
        await here.hears(2, 5, 0xC1)
        await here.hears(5, 2, 0xC2)
        for leg in (4, 5, 6):
            packets = here.peers[leg].packets
            assert {packet.ssrc for packet in packets} == {100 + leg}
            numbers = [packet.sequence_number for packet in packets]
            assert numbers == [(65_530 + n) & 0xFFFF for n in range(len(numbers))]
        for leg in range(1, 7):
            here.host.submit(media.CloseLeg(leg))
        await here.heard.until(lambda: len(here.heard.of(media.LegClosed)) == 6)
        assert here.host.snapshot()["shared_ports"] == {"ports": 0, "legs": 0, "parted": 0}
    assert not here.heard.of(media.CommandRefused)


async def test_a_dead_worker_with_shared_ports_and_keys_takes_its_own_calls_alone() -> None:
    async with office(legs_per_port=4) as here:
        keys = [StreamKeys(MasterKey.generate(), MasterKey.generate()) for _ in range(5)]
        for leg in range(1, 5):
            await here.open(leg, keys[leg], signalled=True)
        here.join(5, 1, 3, token=1)
        here.join(6, 2, 4, token=2)
        await here.reached(1)
        await here.reached(2)
        os.kill(here.host.snapshot()["workers"][0]["pid"], signal.SIGKILL)
        await here.heard.until(lambda: here.heard.of(media.WorkerLost))
        (lost,) = here.heard.of(media.WorkerLost)
        assert (lost.worker, lost.legs) == (0, (1, 3))
        await here.hears(2, 4)
        here.host.submit(media.CloseLeg(1))
        here.host.submit(media.CloseLeg(3))
        await here.heard.until(lambda: len(here.heard.of(media.LegClosed)) == 2)
        assert here.host.snapshot()["shared_ports"] == {"ports": 1, "legs": 2, "parted": 0}
        async with asyncio.timeout(PATIENCE):
            await here.host.ready()
        for leg in (7, 8):  # the new worker shares ports, too
            await here.open(leg, keys[0], signalled=True)
        here.join(7, 7, 8, token=3)
        await here.reached(3)
        await here.hears(7, 8)
        assert here.carried() == [2, 2]


async def test_what_is_asked_of_a_leg_on_its_way_waits_for_it() -> None:
    """And a leg can be taken back before it has arrived."""
    async with office() as here:
        for leg in (1, 2):
            await here.open(leg)
        here.host.submit(media.OpenTap(50, follow=2))
        here.join(5, 1, token=1)
        here.join(6, 2, token=2)
        await here.reached(2)
        here.join(5, 1, 2, token=3)  # sends 2 on its way
        here.host.submit(media.SendDigits(2, "5"))
        here.join(6, 2, token=4)  # and back
        await here.reached(3)
        await here.reached(4)
        assert here.carried() == [1, 1]
        taps = len(here.heard.of(media.TapFrame))
        await here.heard.until(lambda: len(here.heard.of(media.TapFrame)) > taps)
        here.host.submit(media.CloseLeg(2))
        await here.heard.until(lambda: here.heard.of(media.LegClosed))
        assert here.heard.of(media.LegClosed)[0].stats.sent > 0
        assert not here.heard.of(media.CommandRefused)


async def test_a_dead_worker_takes_its_own_calls_with_it_and_is_replaced() -> None:
    async with office() as here:
        for leg in (1, 2, 3, 4):
            await here.open(leg)
        here.join(5, 1, 3, token=1)
        here.join(6, 2, 4, token=2)
        await here.reached(1)
        await here.reached(2)
        assert here.carried() == [2, 2]
        assert here.host.snapshot()["legs_moved"] == 0
        here.host.submit(media.OpenSource(60))
        here.join(5, 1, 3, 60, token=3)
        await here.reached(3)
        here.host.submit(media.Play(60, bytes(320 * 5000), token=9))
        first, second = (worker["pid"] for worker in here.host.snapshot()["workers"])
        os.kill(first, signal.SIGSTOP)  # what comes now is not done before it dies
        here.join(5, 1, 3, 60, token=4)
        os.kill(first, signal.SIGKILL)
        await here.heard.until(lambda: here.heard.of(media.WorkerLost))
        (lost,) = here.heard.of(media.WorkerLost)
        assert (lost.worker, lost.why, lost.legs) == (0, "signal 9", (1, 3))
        await here.reached(4)  # nobody waits for ever for what nobody hears
        assert [event.token for event in here.heard.of(media.Played)] == [9]
        await here.hears(2, 4)  # the others go on
        here.host.submit(media.CloseLeg(1))
        here.host.submit(media.CloseLeg(3))
        assert [event.leg for event in here.heard.of(media.LegClosed)] == [1, 3]
        await here.heard.until(lambda: True)
        await ready(here.host)
        now = [worker["pid"] for worker in here.host.snapshot()["workers"]]
        assert now[0] != first
        assert now[1] == second
        for leg in (11, 12):
            await here.open(leg)
        assert here.carried() == [2, 2]
        here.join(7, 11, 12, token=5)
        await here.hears(11, 12)
        assert here.host.snapshot()["worker_deaths"] == 1
    assert sorted(event.leg for event in here.heard.of(media.LegClosed)) == [1, 2, 3, 4, 11, 12]


async def ready(host: ProcessHost) -> None:
    """Wait for every worker to beat: a new leg is refused while there is none."""
    async with asyncio.timeout(PATIENCE):
        await host.ready()


async def test_without_a_worker_a_leg_is_refused_by_name() -> None:
    async with office(1) as here:
        os.kill(here.host.snapshot()["workers"][0]["pid"], signal.SIGKILL)
        await here.heard.until(lambda: here.heard.of(media.WorkerLost))
        with pytest.raises(CapacityError, match="no media worker is ready"):
            await here.host.reserve(1)
        await ready(here.host)
        await here.open(1)


async def test_a_worker_that_ends_its_life_with_its_server_says_goodbye() -> None:
    """When the server is gone, its end of the channel closes: nobody stays behind."""
    async with office(1) as here:
        await here.open(1)
        pid = here.host.snapshot()["workers"][0]["pid"]
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_a_worker_that_does_not_beat_is_replaced() -> None:
    async with office(1, silent_s=1.0) as here:
        await here.open(1)
        os.kill(here.host.snapshot()["workers"][0]["pid"], signal.SIGSTOP)
        await here.heard.until(lambda: here.heard.of(media.WorkerLost))
        (lost,) = here.heard.of(media.WorkerLost)
        assert lost.why == "it was silent for 1 s"
        await ready(here.host)


# A program that is killed while its worker has a leg; it says its worker's process number.
PROGRAM = """
import asyncio, sys
from pathlib import Path
from rtpmix.mixer import commands as media
from rtpmix.recorder import load_key
from rtpmix.server.process_host import ProcessHost

async def main():
    key = Path(sys.argv[1])
    host = ProcessHost(1, ports=range(13500, 13600), recording_key=key)
    seen = asyncio.Event()
    await host.start(lambda event: seen.set())
    await host.reserve(1)
    host.submit(media.OpenLeg(leg=1, ssrc=1, first_sequence=0, first_timestamp=0))
    host.connect(1, ("127.0.0.1", int(sys.argv[2])), None, True)
    host.submit(media.SetMatrix(bridge=1, seats=(1,), gains=((0,),)))
    await seen.wait()
    writer = host.recording_writer(lambda *_: None)
    writer.place(9, 1)
    await asyncio.get_running_loop().run_in_executor(None, lambda: writer.start(
        9, key.parent / "capture", conversation_id="c", keys=load_key(key), metadata={},
        wall_clock=lambda: 0.0))
    writer.add_leg(9, 1, "leg", "customer", "PCMU", host.sample)
    host.submit(media.Record(1))
    print(host.snapshot()["workers"][0]["pid"], flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


async def test_when_the_server_is_killed_its_workers_say_goodbye_seal_and_end(
    tmp_path: Path,
) -> None:
    keys = generate_key(tmp_path / "key")
    loop = asyncio.get_running_loop()
    transport, peer = await loop.create_datagram_endpoint(Peer, local_addr=("127.0.0.1", 0))
    program = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        PROGRAM,
        str(tmp_path / "key"),
        str(peer.address[1]),
        stdout=asyncio.subprocess.PIPE,
    )
    assert program.stdout is not None
    pid = int(await asyncio.wait_for(program.stdout.readline(), PATIENCE))
    await peer.until(lambda: len(peer.packets) > 20, lambda: None)
    ended = os.pidfd_open(pid)
    over = asyncio.Event()
    loop.add_reader(ended, over.set)
    program.kill()
    await asyncio.wait_for(over.wait(), PATIENCE)
    loop.remove_reader(ended)
    os.close(ended)
    await program.wait()
    # RTCP BYE (type 203) behind the last report, RFC 3550 section 6.6.
    assert any(bytes([0x81, 203, 0, 1]) in data for data in peer.reports)
    transport.close()
    assert verify(tmp_path / "capture", keys).verdict is Verdict.SEALED


async def test_a_command_is_in_force_within_two_ticks() -> None:
    """Counted on the media clock, of which the server and its workers have one and the same."""
    async with office(1) as here:
        for leg in (1, 2):
            await here.open(leg)
        waits = []
        for token in range(1, 22):
            asked = here.host.sample
            here.join(5, 1, 2, token=token)
            await here.reached(token)
            (at,) = (
                event.at for event in here.heard.of(media.MatrixCommitted) if event.token == token
            )
            waits.append(at - asked)
        # The middle one: a busy machine delays some.
        assert 0 <= sorted(waits)[len(waits) // 2] <= 2 * 160


def start(host: ProcessHost, path: Path, keys: Any, recording: int = 30, bridge: int = 5) -> Any:
    writer = host.recording_writer(lambda *_: None)
    writer.place(recording, bridge)
    return writer, asyncio.get_running_loop().run_in_executor(
        None,
        lambda: writer.start(
            recording,
            path,
            conversation_id="c",
            keys=keys,
            metadata={},
            wall_clock=lambda: 0.0,
        ),
    )


async def test_workers_write_and_seal_recordings_of_legs_that_others_carry(tmp_path: Path) -> None:
    keys = generate_key(tmp_path / "key")
    async with office(recording_key=tmp_path / "key") as here:
        for leg in (1, 2):
            await here.open(leg)
        here.join(5, 1, token=1)
        await here.reached(1)
        writer, started = start(here.host, tmp_path / "capture", keys)
        await started
        for leg in (1, 2):  # one is carried by another worker than the one that writes
            writer.add_leg(30, leg, f"leg-{leg}", "customer", "PCMU", here.host.sample)
            here.host.submit(media.Record(leg))
        writer.event(30, here.host.sample, {"event": "note", "text": "both"})
        peer = here.peers[2]
        await peer.until(
            lambda: len(peer.packets) > 40, lambda: here.peers[2].say(here.addresses[2], 0x90)
        )
        here.join(5, 1, 2, token=2)  # and now it moves
        await here.reached(2)
        await peer.until(lambda: len(peer.packets) > 80, lambda: None)
        summary = await asyncio.wrap_future(writer.stop(30))
        assert summary.sealed
        assert summary.packets > 100
    report = verify(tmp_path / "capture", keys)
    assert report.verdict is Verdict.SEALED, report.lines
    counts: dict[str, int] = {}
    for record in read_capture(tmp_path / "capture", keys)[1]:
        if record.track is not None and record.packet is not None:
            counts[record.track.name] = counts.get(record.track.name, 0) + 1
    assert counts["leg-1.heard"] > 40
    assert counts["leg-2.in"] > 20  # while it was elsewhere, too
    assert counts["leg-2.heard"] > 40


async def test_workers_record_wide_legs_at_their_rate_wherever_they_are_and_go(
    tmp_path: Path,
) -> None:
    """Frames of 16 kHz go along from worker to worker, and the rate goes along with the leg."""
    keys, value = generate_key(tmp_path / "key"), 9000
    async with office(recording_key=tmp_path / "key") as here:
        for leg in (1, 2):
            await here.open(leg, codec="L16/16000")
        here.join(5, 1, token=1)
        await here.reached(1)
        writer, started = start(here.host, tmp_path / "capture", keys)
        await started
        for leg in (1, 2):  # one is carried by another worker than the one that writes
            writer.add_leg(
                30, leg, f"leg-{leg}", "customer", "PCMU", here.host.sample, rate_hz=16_000
            )
            here.host.submit(media.Record(leg, rate_hz=16_000))
        peer, listener = here.peers[2], here.peers[1]

        def speak() -> None:
            peer.say_wide(here.addresses[2], value)

        await peer.until(lambda: len(peer.packets) > 60, speak)
        here.join(5, 1, 2, token=2)  # and now it moves
        await here.reached(2)
        octets = value.to_bytes(2, "big") * 320
        said = len(peer.packets)
        await peer.until(lambda: len(peer.packets) > said + 60, speak)
        assert octets in [packet.payload for packet in listener.packets]
        assert (await asyncio.wrap_future(writer.stop(30))).sealed
    report = verify(tmp_path / "capture", keys)
    assert report.verdict is Verdict.SEALED, report.lines
    tracks: dict[str, list[bytes]] = {}
    for record in read_capture(tmp_path / "capture", keys)[1]:
        if record.track is not None and record.packet is not None:
            tracks.setdefault(record.track.name, []).append(record.packet.payload)
    spoken, heard = tracks["leg-2.in"], tracks["leg-1.heard"]
    assert {len(payload) for payload in spoken + heard} == {640}
    assert octets in spoken[:60]  # while it was elsewhere
    assert octets in spoken[-30:]
    assert octets in heard
    assert len(tracks["leg-2.in.8k"]) == len(spoken)


async def test_a_recording_of_a_dead_worker_is_recovered_and_sealed(tmp_path: Path) -> None:
    keys = generate_key(tmp_path / "key")
    async with office(recording_key=tmp_path / "key") as here:
        await here.open(1)
        here.join(5, 1, token=1)
        await here.reached(1)
        writer, started = start(here.host, tmp_path / "capture", keys)
        await started
        writer.add_leg(30, 1, "leg-1", "customer", "PCMU", here.host.sample)
        here.host.submit(media.Record(1))
        peer = here.peers[1]
        await peer.until(lambda: len(peer.packets) > 100, lambda: None)
        os.kill(here.host.snapshot()["workers"][0]["pid"], signal.SIGKILL)
        await here.heard.until(lambda: here.heard.of(media.WorkerLost))
        summary = await asyncio.wrap_future(writer.stop(30))
        assert summary.sealed
        assert summary.packets > 20
        assert writer.snapshot()["recovered"] == 1
    report = verify(tmp_path / "capture", keys)
    assert report.verdict is Verdict.SEALED, report.lines
    assert report.recovered


async def test_a_recording_that_can_not_be_written_says_so_to_who_asked(tmp_path: Path) -> None:
    keys = generate_key(tmp_path / "key")
    (tmp_path / "taken").write_text("a file")
    async with office(1, recording_key=tmp_path / "key") as here:
        _, started = start(here.host, tmp_path / "taken", keys)
        with pytest.raises(Exception, match="taken"):
            await started
        with pytest.raises(UsageError, match="frames stay in the worker"):
            here.host.writer = object()  # type: ignore[assignment]


async def test_a_host_has_workers_and_runs_once() -> None:
    with pytest.raises(UsageError, match="at least one"):
        ProcessHost(0)
    host = ProcessHost(1, ports=PORTS)
    with pytest.raises(UsageError, match="recording_key"):
        host.recording_writer(lambda *_: None)
    await host.stop()  # never started: no harm
    async with office(1) as here:
        with pytest.raises(UsageError, match="make a new one"):
            await here.host.start(lambda event: None)


def test_counters_are_added_up_and_positions_are_not() -> None:
    one = {"legs": 2, "beat": 7, "lateness_ms": {"<=1": 3}}
    other = {"legs": 1, "beat": 9, "lateness_ms": {"<=1": 1, ">1": 2}}
    assert total([one, other, {}]) == {
        "legs": 3,
        "beat": 9,
        "lateness_ms": {"<=1": 4, ">1": 2},
    }
