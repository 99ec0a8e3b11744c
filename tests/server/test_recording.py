"""A recording through a whole server: what was heard is what is read back, byte for byte."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

import rtpmix
from rtpmix.mixer.commands import Command
from rtpmix.recorder import (
    Recipients,
    Verdict,
    load_key,
    load_or_make_key,
    read_capture,
    read_facts,
    verify,
)
from rtpmix.replay import replay
from rtpmix.server.inline_host import InlineHost
from rtpmix.testing import TonePhone, VirtualNet, run
from rtpmix.testing.servers import HOST, virtual_server

AGENT, CUSTOMER, COACH = 437.0, 1013.0, 1693.0


def record_a_supervised_call(tmp_path: Path) -> tuple[rtpmix.RecordingStopped, dict[str, Any]]:
    """Play a call with all four modes while it is recorded; return what the phones received."""
    net = VirtualNet(seed=9, delay_ms=10, jitter_ms=4)
    received: dict[str, Any] = {}

    async def main() -> rtpmix.RecordingStopped:
        key = tmp_path / "recording.key"
        agent = TonePhone("agent", host="192.0.2.10", port=5060, frequency=AGENT)
        customer = TonePhone("customer", host="192.0.2.20", frequency=CUSTOMER)
        coach = TonePhone("coach", host="192.0.2.30", port=5060, frequency=COACH)
        stopped: asyncio.Future[rtpmix.RecordingStopped] = (
            asyncio.get_running_loop().create_future()
        )
        async with virtual_server(net, recording_key=key) as server, agent, customer, coach:

            @server.on_invite
            async def line(call: rtpmix.IncomingCall) -> None:
                customer_leg = await call.answer()
                agent_leg = await server.invite(agent.uri)
                bridge = await server.bridge(customer_leg, agent_leg)
                recording = await bridge.record(tmp_path / "call", metadata={"queue": "sales"})
                with pytest.raises(rtpmix.UsageError, match="stop that recording first"):
                    await bridge.record(tmp_path / "again")
                await asyncio.sleep(1)
                coach_leg = await server.invite(coach.uri)
                supervision = await bridge.supervise(coach_leg, agent=agent_leg)
                for mode in (rtpmix.Mode.WHISPER, rtpmix.Mode.BARGE, rtpmix.Mode.TAKEOVER):
                    await asyncio.sleep(1)
                    await supervision.set_mode(mode)
                await asyncio.sleep(1)
                stopped.set_result(await recording.stop())
                legs = {"customer": customer_leg, "agent": agent_leg, "coach": coach_leg}
                received["legs"] = {name: leg.id for name, leg in legs.items()}

            await customer.call(f"sip:help@{HOST}")
            event = await stopped
            await customer.ended()
            for each in (agent, customer, coach):
                received[each.user] = b"".join(packet.data[12:] for packet in each.received)
        return event

    return run(main(), net, limit=200), received


def heard_tracks(path: Path, keys: Recipients) -> dict[str, bytes]:
    """Return the payloads of each `.heard` track, in order."""
    tracks: dict[str, bytes] = {}
    _, records = read_capture(path, keys)
    for record in records:
        if record.packet is not None and record.track.name.endswith(".heard"):
            tracks[record.track.name] = tracks.get(record.track.name, b"") + record.packet.payload
    return tracks


def test_a_supervised_call_is_sealed_and_every_heard_track_is_what_the_phone_got(
    tmp_path: Path,
) -> None:
    event, received = record_a_supervised_call(tmp_path)
    assert event.sealed
    assert event.gaps == 0
    keys = load_key(tmp_path / "recording.key")
    report = verify(event.path, keys)
    assert report.verdict is Verdict.SEALED, report.lines
    facts = [fact["event"] for fact in read_facts(event.path, keys)]
    assert facts.count("matrix") >= 5
    assert facts.count("mode-changed") == 3
    assert "taken-over" in facts
    tracks = heard_tracks(event.path, keys)
    for user, leg in received["legs"].items():
        heard = tracks[f"{leg}.heard"]
        assert len(heard) > 8000 * 0.9
        assert heard in received[user]  # one unbroken run of what the phone received


def test_a_whole_call_replays_bit_for_bit(tmp_path: Path) -> None:
    """The `.in` tracks and the matrices give every `.heard` packet again, through four modes."""
    event, _ = record_a_supervised_call(tmp_path)
    report = replay(event.path, load_key(tmp_path / "recording.key"))
    assert report.is_consistent, report.lines
    assert report.different == 0
    assert report.equal > 500


@pytest.mark.parametrize("settled", [True, False])
def test_a_recording_agrees_with_itself_though_the_media_goes_on_while_it_begins(
    tmp_path: Path, settled: bool
) -> None:
    """A media thread beats between any two commands: no frame comes before its matrix."""
    net = VirtualNet(seed=15, delay_ms=10)

    async def main() -> Path:
        agent = TonePhone("agent", host="192.0.2.10", port=5060, frequency=AGENT)
        customer = TonePhone("customer", host="192.0.2.20", frequency=CUSTOMER)
        async with (
            virtual_server(net, recording_key=tmp_path / "recording.key") as server,
            agent,
            customer,
        ):
            host = server._board.host
            assert isinstance(host, InlineHost)
            done = asyncio.get_running_loop().create_future()

            @server.on_invite
            async def line(call: rtpmix.IncomingCall) -> None:
                legs = [await call.answer(), await server.invite(agent.uri)]
                bridge = await server.bridge(*legs)
                await asyncio.sleep(1)
                with pytest.MonkeyPatch.context() as patch:
                    patch.setattr(host, "submit", beat_after_each(host, host.submit))
                    changes = [
                        asyncio.create_task(
                            bridge.set_gain(listener=legs[0], talker=legs[1], gain_db=gain)
                        )
                        for gain in ([] if settled else [-6.0, -9.0, -3.0])
                    ]
                    await asyncio.sleep(0)
                    recording = await bridge.record(tmp_path / "call")
                    await asyncio.gather(*changes)
                    await asyncio.sleep(1)
                done.set_result((await recording.stop()).path)

            await customer.call(f"sip:help@{HOST}")
            path: Path = await done
            customer.bye()
            await customer.ended()
        return path

    path = run(main(), net, limit=200)
    report = replay(path, load_key(tmp_path / "recording.key"))
    assert report.is_consistent, report.lines
    assert report.equal > 80


def beat_after_each(
    host: InlineHost, submit: Callable[[Command], None]
) -> Callable[[Command], None]:
    """Return a `submit` after which the media goes on at once, as its own thread may."""
    loop = asyncio.get_running_loop()

    def submit_and_beat(command: Command) -> None:
        submit(command)
        assert host._on_event is not None
        for _ in range(5):  # a whole ptime and more: the beat of this bridge is among them
            for event in host._media.beat():
                loop.call_soon(host._on_event, event)

    return submit_and_beat


def test_a_call_in_which_parties_hang_up_one_by_one_replays_bit_for_bit(tmp_path: Path) -> None:
    """Whoever hangs up fades out, with or before the matrix that no longer names them."""
    net = VirtualNet(seed=11, delay_ms=10, jitter_ms=4)

    async def main() -> Path:
        phones = [
            TonePhone(f"phone{n}", host=f"192.0.2.{10 * n}", port=5060, frequency=400.0 + 151 * n)
            for n in range(1, 5)
        ]
        async with AsyncExitStack() as stack:
            server = virtual_server(net, recording_key=tmp_path / "recording.key")
            await stack.enter_async_context(server)
            for phone in phones:
                await stack.enter_async_context(phone)
            legs = [await server.invite(phone.uri) for phone in phones]
            bridge = await server.bridge(*legs)
            recording = await bridge.record(tmp_path / "call")
            await asyncio.sleep(0.5)
            phones[3].bye()
            await asyncio.sleep(0.313)
            await asyncio.gather(legs[2].hangup(), bridge.set_gain(
                listener=legs[0], talker=legs[1], gain_db=-6.0
            ))  # fmt: skip
            await asyncio.sleep(0.313)
            return (await recording.stop()).path

    path = run(main(), net, limit=60)
    report = replay(path, load_key(tmp_path / "recording.key"))
    assert report.is_consistent, report.lines
    assert report.equal > 100


def test_the_disk_holds_no_plaintext_and_no_key(tmp_path: Path) -> None:
    event, received = record_a_supervised_call(tmp_path)
    stored = b"".join(path.read_bytes() for path in sorted(event.path.iterdir()))
    assert len(stored) > 400_000
    key = (tmp_path / "recording.key").read_bytes()
    assert key not in stored
    heard = received["customer"]
    for start in range(0, len(heard) - 32, 1600):
        piece = heard[start : start + 32]
        if len(set(piece)) > 8:  # silence is not telling
            assert piece not in stored


def test_a_recording_that_cannot_be_made_says_so(tmp_path: Path) -> None:
    net = VirtualNet(seed=9, delay_ms=10)
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "something").write_text("there")

    async def main() -> None:
        async with virtual_server(net, recording_key=tmp_path / "k") as server:
            customer = TonePhone("customer", host="192.0.2.20")
            async with customer:
                leg = await server.invite(customer.uri)
                bridge = await server.bridge(leg)
                with pytest.raises(rtpmix.RecordingError):
                    await bridge.record(tmp_path / "taken")
                assert bridge.recording is None
                assert leg.is_open

    run(main(), net, limit=100)


def test_recordings_that_begin_together_make_one_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With real threads: each found no key and made one, and all but the first were refused."""
    asked: list[Path] = []

    def load_or_make(path: Path) -> Recipients:
        asked.append(path)
        return load_or_make_key(path)

    monkeypatch.setattr("rtpmix.server.recording.load_or_make_key", load_or_make)

    async def main() -> None:
        config = rtpmix.Config(
            sip_listen=("udp:127.0.0.1:0",),
            media_address="127.0.0.1",
            rtp_ports=range(13500, 13540),
            recording_key=tmp_path / "recording.key",
        )
        async with rtpmix.Server(config) as server:
            bridges = [await server.bridge(name=f"room-{number}") for number in range(8)]
            began = [bridge.record(tmp_path / bridge.id) for bridge in bridges]
            recordings = await asyncio.gather(*began)
            for recording in recordings:
                await recording.stop()

    asyncio.run(main())
    assert asked == [tmp_path / "recording.key"]
    keys = load_key(tmp_path / "recording.key")
    found = [path for path in tmp_path.iterdir() if path.is_dir()]
    assert len(found) == 8
    assert {verify(path, keys).verdict for path in found} == {Verdict.SEALED}
