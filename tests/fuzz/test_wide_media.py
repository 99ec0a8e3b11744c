"""Legs of every codec under spoilt RTP and RTCP, in the clear and as SRTP, while they are mixed.

A spoilt packet is most of use where a good one was expected: so each leg has a stream that goes on,
and half of the inputs stand in the place of its next packet, its payload spoilt and its header not.
With keys, half of those were spoilt before they were encrypted: their sender has the key.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

import numpy as np
import pytest

from rtpmix.audio.codecs import CODECS
from rtpmix.audio.coders import Encoder, encoder_of
from rtpmix.mixer.boxes import DATAGRAM
from rtpmix.mixer.commands import UNITY, OpenLeg, Record, SetMatrix, UpdateLeg
from rtpmix.mixer.engine import Engine
from rtpmix.rtp.packet import RtpPacket
from rtpmix.rtp.srtp import SUITES, MasterKey, SrtpSession, StreamKeys
from rtpmix.sdp.ice import IceCredentials
from rtpmix.server.dtls import DtlsIdentity, DtlsTerms
from rtpmix.server.secure_io import SecureIO
from rtpmix.testing.audio import encode_g711
from tests.fuzz.corpus import RTCP_PACKETS, RTP_PACKETS
from tests.fuzz.mutation import SEED, Mutator, attack
from tests.rtp.test_stun import check
from tests.server.test_secure_io import Mail

NUMBERS = {name: 111 + number for number, name in enumerate(CODECS)}
EVENTS, INPUTS_A_BEAT, PHASES = 99, 8, 4
CHANGES = 1009  # inputs between two changes of a leg's codec
LONGEST = 1500  # octets: what we send fits an Ethernet frame
HELLO = b"\x16\xfe\xfd" + bytes(8) + b"\x00\x40\x01\x00\x00\x34" + bytes(58)
NOT_MEDIA = (HELLO, check(), check(nominates=True), b"\x17\xfe\xfd\0\1" + bytes(60))
CORPUS = (*RTP_PACKETS, *RTCP_PACKETS, *NOT_MEDIA, b"")  # the last one becomes what is expected


@dataclass
class Stream:
    """What a well-behaved phone of one leg sends."""

    leg: int
    codec: str
    number: int
    random: Random
    sequence: int = 1
    timestamp: int = 960
    encoder: Encoder | None = field(init=False)  # None: G.711

    def __post_init__(self) -> None:
        codec = CODECS[self.codec]
        self.encoder = None if codec.is_g711 else encoder_of(codec, "useinbandfec=1")

    def next(self) -> list[bytes]:
        """Return the packets of the next 20 ms: noise, for that is the most octets."""
        codec = CODECS[self.codec]
        loudness = self.random.choice((0, 30, 8000, 32767))
        frame = self.random.randbytes(2 * codec.frame)
        pcm = (np.frombuffer(frame, np.int16).astype(np.int32) * loudness >> 15).astype(np.int16)
        packets = []
        encoder = self.encoder
        payloads = [encode_g711(pcm, self.codec)] if encoder is None else encoder.encode(pcm)
        for payload in payloads:
            packets.append(self.packet(payload))
            self.sequence += 1
            self.timestamp += codec.packet_ms * codec.clock_hz // 1000
        return packets

    def packet(self, payload: bytes) -> bytes:
        """Return a packet with the numbers of the next one."""
        return RtpPacket(
            payload_type=self.number,
            sequence_number=self.sequence & 0xFFFF,
            timestamp=self.timestamp & 0xFFFF_FFFF,
            ssrc=self.leg,
            payload=payload,
        ).to_bytes()


class Victim:
    """A leg of each codec, all in one bridge, G.711 among them; every eighth input a beat."""

    def __init__(self, mutator: Mutator, *, secured: bool) -> None:
        self.random, self.mutator = mutator.random, mutator
        self.engine = Engine(phases=PHASES, capacity=16)
        self.mail = Mail()
        self.io = SecureIO(self.mail)  # type: ignore[arg-type]
        self.count = 0
        names = list(CODECS)
        self.streams = [
            Stream(leg, codec, NUMBERS[codec], self.random) for leg, codec in enumerate(names, 1)
        ]
        for stream in self.streams:
            self.engine.submit(self._open(stream))
        self.engine.submit(Record(1))
        seats = tuple(stream.leg for stream in self.streams)
        gains = tuple(tuple(UNITY * (i != j) for j in seats) for i in seats)
        dtmf = tuple(tuple(i != j for j in seats) for i in seats)
        self.engine.submit(SetMatrix(bridge=1, seats=seats, gains=gains, dtmf=dtmf))
        self.senders: dict[int, SrtpSession] = {}
        for stream in self.streams:
            row = self.engine.row_of(stream.leg)
            assert row is not None
            self.io.attach(stream.leg, row)
            if secured:
                self._secure(stream.leg)

    def _open(self, stream: Stream) -> OpenLeg:
        return OpenLeg(
            leg=stream.leg,
            codec=stream.codec,
            payload_type=stream.number,
            fmtp="useinbandfec=1",
            dtmf_payload_type=EVENTS,
            ssrc=1000 + stream.leg,
            first_sequence=0,
            first_timestamp=0,
            media_timeout_ms=1000,
            noise_payload_type=13,
        )

    def _secure(self, leg: int) -> None:
        """Give a leg keys, of every suite in turn; the last one shakes hands for ever."""
        if leg == len(self.streams):
            ours, theirs = DtlsIdentity.generate(), (("sha-256", bytes(32)),)
            ice = IceCredentials("ours", "p" * 22)
            self.io.secure(leg, DtlsTerms(ours, theirs, is_client=False, ice=ice))
            return
        suite = list(SUITES)[leg % len(SUITES)]
        draw = self.random.randbytes
        ours, theirs = (MasterKey.generate(suite, random_bytes=draw) for _ in range(2))
        self.io.secure(leg, StreamKeys(ours, theirs))
        self.senders[leg] = SrtpSession.sender(theirs)

    def receive(self, data: bytes) -> None:
        """Take one spoilt datagram, and beat now and then."""
        self.count += 1
        stream = self.random.choice(self.streams)
        if self.random.random() < 0.5:
            data = stream.packet(data[12:1300])
            sender = self.senders.get(stream.leg)
            if sender is not None and self.random.random() < 0.5:
                stream.sequence += 1  # no number is protected twice
                data = sender.protect(data)
        self._deliver(stream.leg, data, rtcp=self.random.random() < 0.2)
        if self.count % INPUTS_A_BEAT == 0:
            self._beat()
        if self.count % CHANGES == 0:
            self._change()

    def _deliver(self, leg: int, data: bytes, *, rtcp: bool = False) -> None:
        row = self.engine.row_of(leg)
        assert row is not None
        self.mail.waiting = ((2 * row + rtcp, data[:DATAGRAM]),)
        self.engine.receive(self.io.receive(self.engine.inbox))

    def _beat(self) -> None:
        outbox = self.engine.tick()
        self.io.send(outbox)
        assert all(12 < len(packet) <= LONGEST for _, packet in self.mail.sent)
        self.engine.take_events()
        self.engine.take_blocks()
        if self.engine.beat % PHASES:
            return
        for stream in self.streams:
            for good in stream.next():
                sender = self.senders.get(stream.leg)
                said = good if sender is None else sender.protect(good)
                for _ in range(self.random.choice((0, 1, 1, 1, 1, 2))):  # lost, or come twice
                    self._deliver(stream.leg, said)
                self.mutator.corpus[-1] = said

    def _change(self) -> None:
        """Let a leg have another codec, as by a re-INVITE, and its own again."""
        stream = self.random.choice(self.streams)
        for codec in (self.random.choice(list(CODECS)), stream.codec):
            self.engine.submit(UpdateLeg(leg=stream.leg, codec=codec, payload_type=NUMBERS[codec]))
            self._beat()


@pytest.mark.parametrize("secured", [False, True], ids=["clear", "srtp"])
def test_legs_of_every_codec_survive_spoilt_packets(
    secured: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing raises, grows or takes long, and the legs are still there, heard and sent to."""
    mutator = Mutator(SEED, CORPUS)
    victim = Victim(mutator, secured=secured)
    count = attack(victim.receive, mutator)
    for stream in victim.streams:
        stats = victim.engine.leg_stats(stream.leg)
        assert stats is not None
        assert stats.sent
        assert bool(stats.received) is (not secured or stream.leg in victim.senders)
    if secured:
        counts = victim.io.counts
        assert counts.unprotected
        assert counts.protected
        assert counts.forged
        assert counts.replayed
        assert counts.malformed
    with capsys.disabled():
        kind = "SRTP" if secured else "RTP"
        print(f"\nfuzz: {count:,} inputs of {kind} to legs of every codec", end=" ")
