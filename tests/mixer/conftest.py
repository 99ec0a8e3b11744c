"""A rig that moves an engine on in virtual time: packets in, packets out, nothing else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from rtpmix.mixer import g711
from rtpmix.mixer.commands import MixerEvent, OpenLeg, SetMatrix
from rtpmix.mixer.engine import Engine
from rtpmix.rtp.packet import RtpPacket

UNITY = 32768


class Rig:
    """An engine, peers that send to it, and everything that it sends to them."""

    def __init__(self, **options: Any) -> None:
        self.engine = Engine(**options)
        self.sent: dict[int, list[tuple[int, bytes]]] = {}  # leg -> (beat, RTP packet)
        self.reports: dict[int, list[bytes]] = {}
        self.events: list[MixerEvent] = []
        self.blocks: list[Any] = []
        self._next: dict[int, tuple[int, int]] = {}  # leg -> sequence, timestamp

    def open(self, leg: int, **options: Any) -> int:
        options = {"ssrc": 0x1000 + leg, "first_sequence": 100, "first_timestamp": 5000} | options
        self.engine.submit(OpenLeg(leg=leg, **options))
        self.sent[leg] = []
        self.reports[leg] = []
        self._next[leg] = (10 * leg, 1000 * leg)
        row = self.engine.row_of(leg)
        assert row is not None
        return row

    def bridge(self, number: int, seats: Sequence[int], gains: Any = None, **options: Any) -> None:
        """Seat everybody; by default everybody hears everybody else."""
        if gains is None:
            gains = UNITY * (1 - np.eye(len(seats), dtype=int))
        rows = tuple(tuple(int(gain) for gain in row) for row in gains)
        self.engine.submit(SetMatrix(bridge=number, seats=tuple(seats), gains=rows, **options))

    def hand_in(self, leg: int, datagram: bytes, *, rtcp: bool = False) -> None:
        """Let one datagram arrive now."""
        row = self.engine.row_of(leg)
        assert row is not None
        assert self.engine.inbox.put(row, datagram, rtcp=rtcp)
        self.engine.receive(self.engine.inbox.count)

    def say(self, leg: int, payload: bytes, *, ssrc: int | None = None, **fields: Any) -> None:
        """Let the leg's next RTP packet arrive now."""
        sequence, timestamp = self._next[leg]
        self._next[leg] = (sequence + 1, timestamp + len(payload))
        packet = RtpPacket(
            payload_type=fields.pop("payload_type", 0),
            sequence_number=sequence & 0xFFFF,
            timestamp=timestamp & 0xFFFF_FFFF,
            ssrc=ssrc if ssrc is not None else 0x5000 + leg,
            payload=payload,
            **fields,
        )
        self.hand_in(leg, packet.to_bytes())

    def lose(self, leg: int, frames: int = 1) -> None:
        """Let the network lose the leg's next packets of 20 ms."""
        sequence, timestamp = self._next[leg]
        self._next[leg] = (sequence + frames, timestamp + 160 * frames)

    def pause(self, leg: int, frames: int = 1) -> None:
        """Let the peer be silent: time passes, no sequence number does."""
        sequence, timestamp = self._next[leg]
        self._next[leg] = (sequence, timestamp + 160 * frames)

    def place(self, leg: int, sequence: int, timestamp: int) -> None:
        """Set what the leg's next packet carries."""
        self._next[leg] = (sequence, timestamp)

    def beat(self, count: int = 1) -> None:
        engine = self.engine
        for _ in range(count):
            number = engine.beat
            outbox = engine.tick()
            seats = {row: int(engine.rows.seat[row]) for row in outbox.rows}
            for row, view in zip(outbox.rows, outbox.views, strict=True):
                self.sent[seats[row]].append((number, bytes(view)))
            events = engine.take_events()
            by_ssrc = {0x1000 + leg: leg for leg in self.sent}
            for _, packet, is_rtcp in outbox.extra:
                at = 4 if is_rtcp else 8
                leg = by_ssrc[int.from_bytes(packet[at : at + 4], "big")]
                if is_rtcp:
                    self.reports[leg].append(packet)
                else:
                    self.sent[leg].append((number, packet))
            self.events += events
            self.blocks += engine.take_blocks()

    def frame(self, spoken: dict[int, bytes] | None = None) -> None:
        """Let 20 ms pass, in which each of these legs says a packet."""
        for leg, payload in (spoken or {}).items():
            self.say(leg, payload)
        self.beat(self.engine.phases)

    def heard(self, leg: int) -> list[bytes]:
        """The payloads sent to a leg so far."""
        return [packet[12:] for _, packet in self.sent[leg]]

    def told(self, kind: type[MixerEvent]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]


@pytest.fixture
def rig() -> Rig:
    return Rig()


@pytest.fixture
def make_rig() -> Callable[..., Rig]:
    return Rig


@pytest.fixture
def level() -> Callable[[int], bytes]:
    """A frame of one constant sample value, coded as PCMU."""

    def make(value: int) -> bytes:
        return g711.encode(np.full(160, value, np.int16), g711.PCMU).tobytes()

    return make


@pytest.fixture
def speech() -> Callable[..., bytes]:
    """A frame of seeded noise, coded as PCMU."""

    def make(seed: int) -> bytes:
        return np.random.default_rng(seed).integers(0, 256, 160, dtype=np.uint8).tobytes()

    return make
