"""What is done for all wide legs at once is what is done for each: same packets, same counts."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from rtpmix.audio.codecs import CODECS
from rtpmix.audio.coders import encoder_of
from rtpmix.mixer import g711
from rtpmix.mixer.commands import CloseLeg, SetAutoGain
from rtpmix.mixer.wide_leg import WideLeg
from rtpmix.mixer.wide_receive import WidePackets
from rtpmix.rtp.packet import RtpPacket

UNITY = 32768
NUMBER = 96
BRIDGES = ((1, 2, 3), (4, 5, 6), (7, 8, 9))
Sent = dict[int, list[tuple[int, bytes]]]


class Mouth:
    """Makes what one phone sends, some of it lost, doubled, late or after a jump."""

    def __init__(self, leg: int, name: str, chance: random.Random) -> None:
        self.leg, self.codec, self.chance = leg, CODECS[name], chance
        self.encoder = None if self.codec.is_g711 else encoder_of(self.codec, "useinbandfec=1")
        self.number = NUMBER if self.encoder is not None else self.codec.payload_type
        self.sequence, self.ticks, self.held = 7, 1000, list[bytes]()

    def payloads(self, frame: int) -> list[bytes]:
        samples = np.arange(self.codec.frame) + frame * self.codec.frame
        turns = (300 + 50 * self.leg) * samples / self.codec.rate_hz
        peak = self.chance.choice([100, 8000, 20000])
        sound = np.rint(peak * np.sin(2 * np.pi * turns)).astype(np.int16)
        if self.encoder is None:
            return [g711.encode(sound, self.codec.number).tobytes()]
        return list(self.encoder.encode(sound))

    def say(self, frame: int) -> list[bytes]:
        """Return the datagrams that arrive now."""
        chance, coming = self.chance, list[bytes]()
        if chance.random() < 0.02:
            self.ticks += self.codec.clock_hz // 50 * chance.choice([1, 5, 100])
        for payload in self.payloads(frame):
            packet = RtpPacket(
                payload_type=self.number or 0,
                sequence_number=self.sequence & 0xFFFF,
                timestamp=self.ticks & 0xFFFF_FFFF,
                ssrc=0x7000 + self.leg,
                payload=payload,
            ).to_bytes()
            self.sequence += 1
            self.ticks += self.codec.packet_ms * self.codec.clock_hz // 1000
            fate = chance.random()
            if fate < 0.06:
                continue
            if fate < 0.1:
                self.held.append(packet)
                continue
            coming += [packet] * (1 + (fate < 0.12))
        if chance.random() < 0.3:
            coming += self.held
            self.held = []
        return coming


def conversation(make_rig: Callable[..., Any], seed: int) -> tuple[Sent, list[Any]]:
    """Let nine legs of any codecs talk in three bridges on a bad network."""
    chance = random.Random(seed)
    rig = make_rig(phases=chance.choice([1, 2, 4]))
    names = [chance.choice(list(CODECS)) for _ in range(9)]
    mouths = [Mouth(leg, name, chance) for leg, name in enumerate(names, 1)]
    for mouth in mouths:
        rig.open(
            mouth.leg, codec=mouth.codec.name, payload_type=mouth.number, fmtp="useinbandfec=1"
        )
        rig.engine.submit(SetAutoGain(mouth.leg, on=chance.random() < 0.2))
    for number, seats in enumerate(BRIDGES):
        rig.bridge(number, seats, limited=chance.random() < 0.3, ramp_ms=chance.choice([0, 10, 20]))
    for frame in range(60):
        if chance.random() < 0.1:
            number = chance.randrange(3)
            gains = [
                [UNITY * (i != j) // chance.choice([1, 3, UNITY * 2]) for j in range(3)]
                for i in range(3)
            ]
            rig.bridge(number, BRIDGES[number], gains, ramp_ms=chance.choice([0, 10, 30]))
        for mouth in mouths:
            for datagram in mouth.say(frame):
                rig.hand_in(mouth.leg, datagram)
        rig.beat(rig.engine.phases if chance.random() > 0.1 else 1)
    return rig.sent, [rig.engine.leg_stats(mouth.leg) for mouth in mouths]


@pytest.mark.parametrize("seed", range(8))
def test_packets_found_by_columns_are_taken_as_one_by_one(
    make_rig: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Against `Stream.take`, which knows every rule, and against decoding without short cuts."""
    taken = 0
    find, keep = WidePackets.find, WidePackets.keep

    def counted(self: Any, index: Any, *rest: Any) -> None:
        nonlocal taken
        taken += len(index)
        keep(self, index, *rest)

    monkeypatch.setattr(WidePackets, "keep", counted)
    by_columns = conversation(make_rig, seed)
    assert taken > 100

    def nothing(self: Any, *rest: Any) -> Any:
        plain, *others = find(self, *rest)
        return (np.zeros_like(plain), *others)

    monkeypatch.setattr(WidePackets, "find", nothing)
    one_by_one = conversation(make_rig, seed)
    monkeypatch.setattr(WideLeg, "_packets_of", lambda self, slot: None)
    without_short_cuts = conversation(make_rig, seed)
    assert sum(map(len, by_columns[0].values())) > 400
    assert by_columns == one_by_one == without_short_cuts


def test_legs_of_one_rate_are_mixed_the_same_beside_others(make_rig: Callable[..., Any]) -> None:
    """Bridges of one shape are one stack, and rows of a pool are used again."""
    names = ["opus", "L16/48000", "PCMU", "G722", "L16/16000", "opus"]

    def heard(bridges: list[int], churn: bool) -> Sent:
        rig = make_rig(phases=1)
        mouths = {}
        if churn:
            for leg in (90, 91, 92):
                rig.open(leg, codec=names[leg % 2 * 4], payload_type=NUMBER)
        for number in bridges:
            for place, name in enumerate(names, 1):
                leg = 10 * number + place
                mouths[leg] = Mouth(leg, name, random.Random(leg))
                rig.open(leg, codec=name, payload_type=mouths[leg].number)
                if churn and place == 3:
                    rig.engine.submit(CloseLeg(90 + number % 3))
            rig.bridge(number, [10 * number + place for place in range(1, 7)], ramp_ms=0)
        for frame in range(25):
            for mouth in mouths.values():
                for datagram in mouth.say(frame):
                    rig.hand_in(mouth.leg, datagram)
            rig.beat()
        return {leg: rig.sent[leg] for leg in mouths}

    alone = heard([1], churn=False)
    among = heard([1, 2, 3], churn=True)
    assert sum(map(len, alone.values())) > 140
    assert {leg: among[leg] for leg in alone} == alone
