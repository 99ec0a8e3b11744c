"""The media engine under spoilt RTP and RTCP, while its legs are mixed."""

from __future__ import annotations

import pytest

from rtpmix.mixer.commands import UNITY, OpenLeg, Record, SetMatrix
from rtpmix.mixer.engine import Engine
from tests.fuzz.corpus import RTCP_PACKETS, RTP_PACKETS, rtp
from tests.fuzz.mutation import SEED, Mutator, attack

LEGS = range(1, 10)
BRIDGE = 3  # legs in each


class Victim:
    """Nine legs in three bridges; every eighth input is followed by a beat."""

    def __init__(self, mutator: Mutator) -> None:
        self.engine = Engine(phases=4, capacity=16)
        self.random = mutator.random
        self.mutator = mutator
        self.count = 0
        self.sequence = 0
        for leg in LEGS:
            codec, payload_type = ("PCMU", 0) if leg % 2 else ("PCMA", 8)
            self.engine.submit(
                OpenLeg(
                    leg=leg,
                    codec=codec,
                    payload_type=payload_type,
                    dtmf_payload_type=101,
                    ssrc=leg,
                    first_sequence=0,
                    first_timestamp=0,
                    media_timeout_ms=1000,
                )
            )
        self.engine.submit(Record(1))
        for first in LEGS[::BRIDGE]:
            seats = tuple(range(first, first + BRIDGE))
            gains = tuple(tuple(UNITY * (i != j) for j in seats) for i in seats)
            dtmf = tuple(tuple(i != j for j in seats) for i in seats)
            self.engine.submit(SetMatrix(bridge=first, seats=seats, gains=gains, dtmf=dtmf))
        self.rows = [self.engine.row_of(leg) for leg in LEGS]

    def receive(self, data: bytes) -> None:
        """Take one spoilt packet, and beat now and then."""
        self.count += 1
        row = self.random.choice(self.rows)
        assert row is not None
        self.engine.inbox.put(row, data, rtcp=self.random.random() < 0.3)
        self.engine.receive(self.engine.inbox.count)
        if self.count % 8:
            return
        outbox = self.engine.tick()
        assert all(len(view) == 172 for view in outbox.views)
        assert all(len(packet) < 1500 for _, packet, _ in outbox.extra)
        self.engine.take_events()
        self.engine.take_blocks()
        # A good packet with numbers that go on, so that spoilt ones are close to what is expected.
        self.sequence += 1
        step = self.sequence & 0xFFFF, 160 * self.sequence & 0xFFFFFFFF
        self.mutator.corpus[-1] = rtp(self.random.choice((0, 8)), *step)


def test_the_media_engine_survives_spoilt_packets(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing raises or grows, and the legs are still there and still sent to."""
    mutator = Mutator(SEED, (*RTP_PACKETS, *RTCP_PACKETS, rtp()))
    victim = Victim(mutator)
    count = attack(victim.receive, mutator)
    stats = [victim.engine.leg_stats(leg) for leg in LEGS]
    assert all(s is not None and s.sent and s.received and s.dropped for s in stats)
    with capsys.disabled():
        print(f"\nfuzz: {count:,} inputs to the media engine", end=" ")
