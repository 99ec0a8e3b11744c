"""Attacks on an encrypted leg, sent from the phone's own address: none of it is heard."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from random import Random

import pytest

from rtpmix import CallFailed, Encryption, IncomingCall, Leg, Server
from rtpmix.rtp.packet import RtpPacket
from rtpmix.rtp.rtcp import Goodbye, ReceiverReport, build_compound
from rtpmix.testing import TonePhone, VirtualNet, run
from rtpmix.testing.audio import encode_g711
from rtpmix.testing.net import Passage
from rtpmix.testing.servers import HOST, virtual_server
from rtpmix.testing.voices import tone_voice

ALICE, BOB, MALLORY = 437.0, 1013.0, 1733.0


class Crime:
    """An encrypted caller, a plain listener, and somebody who can send as the caller."""

    def __init__(self, net: VirtualNet, server: Server, alice: TonePhone, bob: TonePhone) -> None:
        self.net, self.server, self.alice, self.bob = net, server, alice, bob
        self.legs: list[Leg] = []
        self.seen: list[Passage] = []
        net.observe(self.see)

    def see(self, passage: Passage) -> None:
        to_media = passage.destination[1] not in (5060, 5061)
        if passage.source[0] == self.alice.host and to_media and not passage.source[1] % 2:
            self.seen.append(passage)

    async def handle(self, call: IncomingCall) -> None:
        far = await self.server.invite(self.bob.uri)
        near = await call.answer()
        self.legs = [near, far]
        await self.server.bridge(near, far)
        await near.closed()

    async def talk(self) -> None:
        await self.alice.call(f"sip:bob@{HOST}")
        await asyncio.sleep(1)

    def send(self, data: bytes) -> None:
        self.net.transmit(data, self.seen[-1].source, self.seen[-1].destination)

    @property
    def counts(self) -> dict[str, int]:
        counts: dict[str, int] = self.server.snapshot()["media"]["srtp"]
        return counts


def commit(attack: Callable[[Crime], Awaitable[None]]) -> None:
    net = VirtualNet(seed=5, delay_ms=5)

    async def main() -> None:
        alice = TonePhone(
            "alice", host="192.0.2.10", frequency=ALICE, encryption=Encryption.REQUIRED
        )
        bob = TonePhone("bob", host="192.0.2.20", frequency=BOB)
        async with virtual_server(net) as server, alice, bob:
            crime = Crime(net, server, alice, bob)
            server.on_invite(crime.handle)
            await attack(crime)

    run(main(), net)


def forged(sequence: int, ssrc: int, payload: bytes) -> bytes:
    packet = RtpPacket(
        payload_type=0,
        sequence_number=sequence % 65536,
        timestamp=sequence * 160 % (1 << 32),
        ssrc=ssrc,
        payload=payload,
    )
    return packet.to_bytes()


def test_audio_injected_in_the_clear_is_never_heard() -> None:
    """From the right address, with the right SSRC and the next sequence numbers."""

    async def attack(crime: Crime) -> None:
        await crime.talk()
        crime.alice.stop_sending()
        last = RtpPacket.parse(crime.seen[-1].data)
        voice = tone_voice(MALLORY, level_db=-10.0)
        for number in range(1, 101):
            payload = encode_g711(next(voice), "PCMU")
            crime.send(forged(last.sequence_number + number, last.ssrc, payload))
            await asyncio.sleep(0.02)
        assert crime.bob.hears(ALICE, MALLORY) == set()
        assert crime.counts["forged"] == 100

    commit(attack)


def test_the_same_audio_is_heard_on_a_leg_in_the_clear() -> None:
    """So the test above looks at something that would be heard."""

    async def attack(crime: Crime) -> None:
        crime.alice.terms = replace(crime.alice.terms, encryption=Encryption.FORBIDDEN)
        await crime.talk()
        crime.alice.stop_sending()
        last = RtpPacket.parse(crime.seen[-1].data)
        voice = tone_voice(MALLORY, level_db=-10.0)
        for number in range(1, 101):
            payload = encode_g711(next(voice), "PCMU")
            packet = forged(last.sequence_number + number, last.ssrc, payload)
            crime.send(packet)
            await asyncio.sleep(0.02)
        assert crime.bob.hears(ALICE, MALLORY) == {MALLORY}

    commit(attack)


def test_replayed_packets_are_counted_and_not_played() -> None:
    """RFC 3711 section 3.3.2."""

    async def attack(crime: Crime) -> None:
        await crime.talk()
        crime.alice.stop_sending()
        await asyncio.sleep(0.2)
        old = [each for each in crime.seen if each.destination == crime.seen[-1].destination]
        for each in old[-40:]:
            crime.send(each.data)
            await asyncio.sleep(0.02)
        assert crime.counts["replayed"] == 40
        assert crime.bob.hears(ALICE, BOB, seconds=0.5) == set()

    commit(attack)


@pytest.mark.parametrize("at", [0, 2, 9, 20, -1])
def test_a_packet_changed_on_its_way_is_not_taken(at: int) -> None:
    """One bit: of the header, of the payload, of the tag."""

    async def attack(crime: Crime) -> None:
        await crime.talk()
        crime.alice.stop_sending()
        await asyncio.sleep(0.1)
        before = crime.counts
        data = bytearray(crime.seen[-1].data)
        data[at] ^= 1
        crime.send(bytes(data))
        await asyncio.sleep(0.1)
        after = crime.counts
        assert after["unprotected"] == before["unprotected"]
        refused = ("forged", "replayed", "malformed")
        assert sum(after[name] - before[name] for name in refused) == 1

    commit(attack)


def test_a_bye_in_plain_rtcp_ends_nothing() -> None:
    async def attack(crime: Crime) -> None:
        await crime.talk()
        ssrc = RtpPacket.parse(crime.seen[-1].data).ssrc
        bye = build_compound([ReceiverReport(ssrc=ssrc), Goodbye((ssrc,))])
        host, port = crime.seen[-1].destination
        source = crime.seen[-1].source
        crime.net.transmit(bye, (source[0], source[1] + 1), (host, port + 1))
        crime.net.transmit(bye, source, (host, port))
        await asyncio.sleep(0.5)
        assert crime.counts["forged"] + crime.counts["malformed"] == 2
        assert crime.bob.hears(ALICE) == {ALICE}

    commit(attack)


def test_random_datagrams_never_raise() -> None:
    rng = Random(7)

    async def attack(crime: Crime) -> None:
        await crime.talk()
        for _ in range(200):
            crime.send(rng.randbytes(rng.randrange(0, 1600)))
            await asyncio.sleep(0.005)
        assert crime.bob.hears(ALICE) == {ALICE}
        assert crime.server.snapshot()["media"]["failed_ticks"] == 0

    commit(attack)


def test_an_offer_stripped_of_its_keys_on_the_way_is_refused() -> None:
    """Somebody between removes a=crypto: where encryption is required there is no call."""

    async def attack(crime: Crime) -> None:
        crime.alice.terms = replace(crime.alice.terms, encryption=Encryption.FORBIDDEN)

        @crime.server.on_invite
        async def strict(call: IncomingCall) -> None:
            await call.answer(encryption=Encryption.REQUIRED)

        with pytest.raises(CallFailed) as caught:
            await crime.alice.call(f"sip:bob@{HOST}")
        assert caught.value.status == 488

    commit(attack)
