"""A whole server whose media is in worker processes: phones, kill -9, recordings, supervision."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rtpmix
from rtpmix.recorder import Verdict, load_key, verify
from rtpmix.replay import replay
from rtpmix.server.inline_host import InlineHost
from rtpmix.server.process_host import ProcessHost
from rtpmix.testing import TonePhone
from rtpmix.testing.media import VirtualMediaIO
from rtpmix.testing.net import VirtualNet

PATIENCE = 30


async def until(fact: Callable[[], object], server: rtpmix.Server) -> None:
    """Wait for a fact, looking again at each event of the server, and a few times a second."""
    events = server.events().__aiter__()
    async with asyncio.timeout(PATIENCE):
        while not fact():
            try:
                await asyncio.wait_for(anext(events), 0.2)
            except TimeoutError:
                continue  # what phones hear is no event


def config(tmp_path: Path, **more: Any) -> rtpmix.Config:
    return rtpmix.Config(
        sip_listen=("udp:127.0.0.1:0",),
        media_address="127.0.0.1",
        rtp_ports=range(13600, 13680),
        recording_key=tmp_path / "key",
        **more,
    )


class Office:
    """Customers who call in; each gets an agent of its own, and the call is recorded."""

    def __init__(
        self,
        tmp_path: Path,
        legs_per_port: int = 1,
        encryption: rtpmix.Encryption = rtpmix.Encryption.FORBIDDEN,
        dtls: bool = False,
    ) -> None:
        asked = config(tmp_path, legs_per_port=legs_per_port)
        self.server = rtpmix.Server(asked, workers=2)
        self.encryption = encryption  # of the customers
        self.dtls = dtls
        self.tmp_path = tmp_path
        self.bridges: list[rtpmix.Bridge] = []
        self.agents = [TonePhone(f"agent{n}", frequency=1000.0 + 200 * n) for n in range(2)]
        self.customers: list[TonePhone] = []
        self.events: list[rtpmix.Event] = []

        @self.server.on_invite
        async def answer(call: rtpmix.IncomingCall) -> None:
            customer = await call.answer()
            agent = await self.server.invite(self.agents[len(self.bridges)].uri)
            bridge = await self.server.bridge(customer, agent)
            await bridge.record(tmp_path / f"call{len(self.bridges)}")
            self.bridges.append(bridge)
            await customer.closed()

    async def __aenter__(self) -> Office:
        await self.server.start()
        self.server.bus.subscribe()
        host, port = self.server.sip_address.split(":")
        for number in range(2):
            await self.agents[number].open()
            phone = TonePhone(
                f"customer{number}",
                frequency=440.0 + 200 * number,
                encryption=self.encryption,
                dtls=self.dtls,
            )
            await phone.open()
            self.customers.append(phone)
            await phone.call(f"sip:line@{host}:{port}")
            await until(lambda count=number: len(self.bridges) > count, self.server)
        return self

    async def __aexit__(self, *_: object) -> None:
        for phone in self.agents + self.customers:
            await phone.close()
        await self.server.close()

    async def talk(self, number: int) -> None:
        """Wait until both sides of a call hear each other."""
        agent, customer = self.agents[number], self.customers[number]
        await until(
            lambda: agent.hears(customer.frequency) and customer.hears(agent.frequency),
            self.server,
        )

    def workers(self) -> list[dict[str, Any]]:
        return list(self.server.snapshot()["media"]["workers"])


async def test_each_handler_keeps_its_call_in_one_worker_and_both_are_recorded(
    tmp_path: Path,
) -> None:
    async with Office(tmp_path) as office:
        for number in range(2):
            await office.talk(number)
        assert [worker["legs"] for worker in office.workers()] == [2, 2]
        assert office.server.snapshot()["media"]["legs_moved"] == 0
        heard = office.bridges[0].listen(office.bridges[0].legs[0], side="heard")
        frame = await asyncio.wait_for(anext(heard), PATIENCE)
        assert len(frame) == 320
        heard.close()
    for number in range(2):
        report = verify(tmp_path / f"call{number}", load_key(tmp_path / "key"))
        assert report.verdict is Verdict.SEALED, report.lines


async def test_wide_calls_are_recorded_at_their_rates_in_workers_and_replay(tmp_path: Path) -> None:
    """A customer of L16 at 16 kHz, an agent of G.711; then a third leg, of the other worker."""
    codecs = ("L16/16000", "PCMU")
    asked = config(tmp_path, codecs=codecs)
    phones = [
        TonePhone(f"p{n}", frequency=500.0 + 200 * n, codecs=codecs[n % 2 :]) for n in range(3)
    ]
    async with rtpmix.Server(asked, workers=2) as server:
        recordings: list[Path] = []

        @server.on_invite
        async def room(call: rtpmix.IncomingCall) -> None:
            leg = await call.answer()
            bridge = server.find_bridge(call.target) or await server.bridge(name=call.target)
            await bridge.add(leg)
            if not recordings:
                recordings.append(tmp_path / "call")
                await bridge.record(recordings[0])
            await leg.closed()

        host, port = server.sip_address.split(":")
        for phone in phones:
            await phone.open()
            await phone.call(f"sip:room@{host}:{port}")
        tones = [phone.frequency for phone in phones]
        await until(
            lambda: all(phone.hears(*tones) == {*tones} - {phone.frequency} for phone in phones),
            server,
        )
        await until(lambda: server.snapshot()["recording"].get("packets", 0) > 400, server)
        for phone in phones:
            await phone.close()
    keys = load_key(tmp_path / "key")
    report = verify(tmp_path / "call", keys)
    assert report.verdict is Verdict.SEALED, report.lines
    rates = {found.track.name: found.track.rate_hz for found in report.tracks}
    assert sorted(rates.values()) == [8000] * 7 + [16_000] * 4
    replayed = replay(tmp_path / "call", keys)
    assert replayed.is_consistent, replayed.lines
    assert replayed.wide_equal > 20


async def test_a_supervisor_from_another_worker_moves_and_whispers(tmp_path: Path) -> None:
    async with Office(tmp_path) as office, TonePhone("coach", frequency=2500.0) as coach:
        await office.talk(0)
        agent_leg = office.bridges[0].legs[1]
        legs = [await office.server.invite(coach.uri)]
        moved = office.server.snapshot()["media"]["legs_moved"]
        if office.workers()[0]["legs"] == 3:  # it came to the agent's own worker: one more
            second = TonePhone("second", frequency=2700.0)
            await second.open()
            legs.append(await office.server.invite(second.uri))
        coach_leg = legs[-1]
        spoken = 2500.0 if len(legs) == 1 else 2700.0
        supervision = await office.bridges[0].supervise(coach_leg, agent=agent_leg)
        await supervision.set_mode(rtpmix.Mode.WHISPER)
        await until(lambda: office.agents[0].hears(spoken), office.server)
        assert not office.customers[0].hears(spoken)
        assert office.server.snapshot()["media"]["legs_moved"] == moved + 1
        if len(legs) == 2:
            await second.close()


@pytest.mark.parametrize(
    ("legs_per_port", "encryption", "dtls"),
    [
        (1, rtpmix.Encryption.FORBIDDEN, False),
        (4, rtpmix.Encryption.REQUIRED, False),
        (1, rtpmix.Encryption.REQUIRED, True),
    ],
)
async def test_kill_minus_9_ends_the_calls_of_one_worker_with_bye_and_sealed_captures(
    tmp_path: Path, legs_per_port: int, encryption: rtpmix.Encryption, dtls: bool
) -> None:
    """With sockets for each leg, with shared ports and keys by SDES, and with keys by DTLS."""
    async with Office(tmp_path, legs_per_port, encryption, dtls) as office:
        for number in range(2):
            await office.talk(number)
        customers = [bridge.legs[0] for bridge in office.bridges]
        secured = encryption is rtpmix.Encryption.REQUIRED
        assert [leg.encryption is not None for leg in customers] == [secured] * 2
        shared = office.server.snapshot()["media"].get("shared_ports", {"legs": 0})
        assert shared["legs"] == (2 if legs_per_port > 1 else 0)
        events = office.server.events()
        dead, alive = office.workers()
        await until(
            lambda: office.server.snapshot()["recording"].get("packets", 0) > 60, office.server
        )
        os.kill(dead["pid"], signal.SIGKILL)
        async with asyncio.timeout(PATIENCE):
            seen: list[rtpmix.Event] = []
            async for event in events:
                seen.append(event)
                if isinstance(event, rtpmix.RecordingStopped):
                    break
        (lost,) = [event for event in seen if isinstance(event, rtpmix.MediaWorkerLost)]
        closed = [event for event in seen if isinstance(event, rtpmix.LegClosed)]
        assert {event.leg for event in closed} == set(lost.legs)
        assert len(lost.legs) == 2
        assert {event.cause for event in closed} == {"media-host"}
        async with asyncio.timeout(PATIENCE):
            await office.customers[0].ended()  # told by BYE
            await office.agents[0].ended()
        await office.talk(1)
        assert office.workers()[1]["pid"] == alive["pid"]
        await until(lambda: all(worker["ready"] for worker in office.workers()), office.server)
        assert office.workers()[0]["pid"] != dead["pid"]
        stopped = seen[-1]
        assert isinstance(stopped, rtpmix.RecordingStopped)
        assert stopped.sealed
    report = verify(tmp_path / "call0", load_key(tmp_path / "key"))
    assert report.verdict is Verdict.SEALED, report.lines
    assert report.recovered
    assert not verify(tmp_path / "call1", load_key(tmp_path / "key")).recovered


def test_workers_and_a_media_host_are_one_too_many(tmp_path: Path) -> None:
    host = InlineHost(VirtualMediaIO(VirtualNet(), "192.0.2.1", range(13600, 13680)))
    with pytest.raises(rtpmix.UsageError, match="give one"):
        rtpmix.Server(config(tmp_path, workers=1), media_host=host)
    with pytest.raises(rtpmix.UsageError, match="workers is -1"):
        config(tmp_path, workers=-1)
    assert rtpmix.Config().workers == 0
    assert ProcessHost(1).snapshot()["workers"] == []


@pytest.mark.parametrize("way", ["sdes", "dtls"])
async def test_encrypted_legs_come_together_with_others_in_one_bridge(
    tmp_path: Path, way: str
) -> None:
    """They follow the bridge, ciphers and all, and back again."""
    asked = replace(config(tmp_path), encryption=rtpmix.Encryption.OPTIONAL, key_exchange=(way,))
    required = rtpmix.Encryption.REQUIRED
    ann, bob = TonePhone("ann", frequency=1000.0), TonePhone("bob", frequency=1300.0)
    eve = TonePhone("eve", frequency=1600.0, encryption=required, dtls=way == "dtls")
    zoe = TonePhone("zoe", frequency=1900.0, encryption=required, dtls=way == "dtls")
    async with rtpmix.Server(asked, workers=2) as server, ann, bob, eve, zoe:

        def carried() -> list[int]:
            return [worker["legs"] for worker in server.snapshot()["media"]["workers"]]

        forbidden = rtpmix.Encryption.FORBIDDEN
        legs = [await server.invite(phone.uri, encryption=forbidden) for phone in (ann, bob)]
        plain = await server.bridge(legs[1])  # in the second worker
        await plain.add(legs[0])
        assert carried() == [0, 2]
        music = await plain.play(bytes(320 * 50), to=legs[0], loop=True)
        secured = [await server.invite(phone.uri, encryption=required) for phone in (eve, zoe)]
        await until(lambda: carried() == [2, 2], server)
        await plain.add(*secured)
        assert carried() == [0, 4]
        phones = [ann, bob, eve, zoe]
        await until(
            lambda: all(
                one.hears(other.frequency) for one in phones for other in phones if one != other
            ),
            server,
        )
        await music.stop()
        await until(lambda: server.snapshot()["media"]["srtp"]["unprotected"] > 0, server)
        # One of them goes to a bridge of the other worker, where its keys have been before.
        third = TonePhone("ida", frequency=2200.0)
        async with third:
            elsewhere = await server.bridge(await server.invite(third.uri, encryption=forbidden))
            await until(lambda: carried() == [1, 4], server)
            await plain.remove(secured[0])
            await elsewhere.add(secured[0])
            assert carried() == [2, 3]
            both = [eve, third]
            tones = [phone.frequency for phone in (*phones, third)]
            await until(
                lambda: all(
                    one.hears(*tones) == {other.frequency} for one, other in (both, reversed(both))
                ),
                server,
            )
        assert server.snapshot()["media"]["srtp"]["forged"] == 0
        assert server.snapshot()["media"]["srtp"].get("handshakes", 0) == (
            2 if way == "dtls" else 0
        )


async def test_callers_share_ports_in_two_workers_and_a_supervisor_comes_from_the_other(
    tmp_path: Path,
) -> None:
    """Callers in the clear and with keys; who calls in names its address first, and so shares."""
    asked = replace(config(tmp_path), legs_per_port=4, workers=2)
    required, forbidden = rtpmix.Encryption.REQUIRED, rtpmix.Encryption.FORBIDDEN
    phones = [
        TonePhone(
            f"phone{n}", frequency=700.0 + 200 * n, encryption=required if n % 2 else forbidden
        )
        for n in range(4)
    ]
    legs: list[rtpmix.Leg] = []
    async with rtpmix.Server(asked) as server, phones[0], phones[1], phones[2], phones[3]:

        @server.on_invite
        async def arrive(call: rtpmix.IncomingCall) -> None:
            leg = await call.answer()
            legs.append(leg)
            await leg.closed()

        def media() -> dict[str, Any]:
            return dict(server.snapshot()["media"])

        for phone in phones:
            await phone.call(f"sip:line@{server.sip_address}")
        await until(lambda: len(legs) == 4, server)
        assert [worker["legs"] for worker in media()["workers"]] == [2, 2]
        assert media()["shared_ports"] == {"ports": 2, "legs": 4, "parted": 0}
        assert [leg.encryption is not None for leg in legs] == [False, True, False, True]
        bridge = await server.bridge()
        await bridge.add(legs[0])
        await bridge.add(legs[2], role=rtpmix.Role.AGENT)
        supervision = await bridge.supervise(legs[1], agent=legs[2], mode=rtpmix.Mode.WHISPER)
        tones = [phone.frequency for phone in phones]
        await until(lambda: phones[2].hears(*tones) == {tones[0], tones[1]}, server)
        await until(lambda: phones[1].hears(*tones) == {tones[0], tones[2]}, server)
        assert phones[0].hears(*tones) == {tones[2]}
        assert [worker["legs"] for worker in media()["workers"]] == [3, 1]
        assert media()["shared_ports"] == {"ports": 2, "legs": 3, "parted": 1}
        await supervision.stop()


@pytest.mark.parametrize("codec", ["G722", "opus", "L16/16000", "L16/48000"])
async def test_a_wideband_leg_moves_to_a_bridge_of_another_worker_and_back(
    tmp_path: Path, codec: str
) -> None:
    """Its coders begin anew there; it is still heard with all its bandwidth, and hears."""
    asked = replace(config(tmp_path), codecs=(codec, "PCMU"))
    ann = TonePhone("ann", frequency=1000.0, codecs=(codec,))
    bob = TonePhone("bob", frequency=1300.0, codecs=(codec,))
    ida = TonePhone("ida", frequency=1600.0)
    tones = [phone.frequency for phone in (ann, bob, ida)]
    async with rtpmix.Server(asked, workers=2) as server, ann, bob, ida:

        def carried() -> list[int]:
            return [worker["legs"] for worker in server.snapshot()["media"]["workers"]]

        async def hear_each_other(one: TonePhone, other: TonePhone) -> None:
            def fact() -> bool:
                found = [each.hears(*tones) for each in (one, other)]
                return found == [{other.frequency}, {one.frequency}]

            await until(fact, server)

        legs = [await server.invite(phone.uri) for phone in (ann, bob)]
        assert [leg.codec for leg in legs] == [codec, codec]
        first = await server.bridge(legs[0])
        await first.add(legs[1])
        second = await server.bridge(await server.invite(ida.uri))
        assert sorted(carried()) == [1, 2]
        await hear_each_other(ann, bob)
        await first.remove(legs[1])
        await second.add(legs[1])
        assert sorted(carried()) == [1, 2]
        await hear_each_other(bob, ida)
        listener = second.listen(rate_hz=48_000)  # from the process of the worker
        assert [len(await anext(listener)) for _ in range(5)] == [1920] * 5
        listener.close()
        await until(lambda: not ann.hears(*tones), server)
        assert legs[1].bridge is second
        await second.remove(legs[1])
        await first.add(legs[1])
        await hear_each_other(ann, bob)
        ann.speak_tone(6000.0, rate_hz=16_000)
        loop = asyncio.get_running_loop()

        def wide() -> bool:
            pcm = bob.heard_pcm(loop.time() - 0.5, rate_hz=16_000)
            turning = np.exp(-2j * np.pi * 6000 / 16_000 * np.arange(pcm.size))
            strength = 2 * abs(np.dot(pcm, turning)) / max(pcm.size, 1)
            return bool(strength > 32767 * 10 ** (-26 / 20))  # it is said at -20 dB

        await until(wide, server)
        assert all(leg.stats().dropped == 0 for leg in legs)
