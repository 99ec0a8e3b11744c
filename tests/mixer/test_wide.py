"""rtpmix.mixer.wide and wide_mix: rates mix exactly, and a wideband listener changes no bit."""

from __future__ import annotations

import pickle
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from rtpmix.audio.codecs import CODECS
from rtpmix.audio.coders import decoder_of, encoder_of
from rtpmix.audio.resample import Stream
from rtpmix.mixer import g711
from rtpmix.mixer.commands import AdoptLeg, CommandRefused, LegParted, OpenLeg, PartLeg, UpdateLeg
from rtpmix.rtp.packet import RtpPacket
from rtpmix.server.coding import CodingThreads

Array = NDArray[Any]
UNITY = 32768
WIDE = [name for name, codec in CODECS.items() if not codec.is_g711]
NUMBER = 96  # payload type of every wide codec here


@dataclass
class Peer:
    """What one wideband phone sends."""

    rig: Any
    leg: int
    codec: str
    fmtp: str = "useinbandfec=1"
    sequence: int = 7
    ticks: int = 1000
    options: dict[str, Any] = field(default_factory=dict)
    encoder: Any = field(init=False)

    def __post_init__(self) -> None:
        self.rig.open(
            self.leg, codec=self.codec, payload_type=NUMBER, fmtp=self.fmtp, **self.options
        )
        self.encoder = encoder_of(CODECS[self.codec], self.fmtp)

    def say(self, frame: Array, *, lost: bool = False) -> None:
        """Let the packets of a frame of 20 ms arrive now, or be lost."""
        codec = CODECS[self.codec]
        for payload in self.encoder.encode(frame):
            self.send(payload, codec.packet_ms * codec.clock_hz // 1000, lost=lost)

    def send(self, payload: bytes, ticks: int, *, lost: bool = False) -> None:
        packet = RtpPacket(
            payload_type=NUMBER,
            sequence_number=self.sequence & 0xFFFF,
            timestamp=self.ticks & 0xFFFF_FFFF,
            ssrc=0x7000 + self.leg,
            payload=payload,
        )
        self.sequence, self.ticks = self.sequence + 1, self.ticks + ticks
        if not lost:
            self.rig.hand_in(self.leg, packet.to_bytes())


def noise(seed: int, samples: int, peak: int = 8000) -> Array:
    return np.random.default_rng(seed).integers(-peak, peak, samples).astype(np.int16)


def samples_of(rig: Any, leg: int) -> Array:
    """What an L16 listener was sent."""
    return np.frombuffer(b"".join(rig.heard(leg)), ">i2").astype(np.int64)


def call(
    make_rig: Callable[..., Any], codec: str | None, seed: int, phases: int, whispers: bool
) -> dict[int, list[tuple[int, bytes]]]:
    """Play a PCMU call of two that a wideband supervisor attaches to, or that nobody does."""
    rig, chance = make_rig(phases=phases), random.Random(seed)
    rig.open(1)
    rig.open(2)
    attach, leave = chance.randrange(5, 12), chance.randrange(18, 25)
    supervisor = Peer(rig, 3, codec) if codec else None
    rig.bridge(1, [1, 2])
    for number in range(32):
        if supervisor is not None and number == attach:
            heard = UNITY if whispers else 0
            gains = [[0, UNITY, 0], [UNITY, 0, heard], [UNITY, UNITY, 0]]
            rig.bridge(1, [1, 2, 3], gains, untimed=frozenset({3}))
        if supervisor is not None and number == leave:
            rig.bridge(1, [1, 2])
        spoken = {
            leg: g711.encode(noise(100 * number + leg, 160), g711.PCMU).tobytes() for leg in (1, 2)
        }
        if supervisor is not None:
            supervisor.say(noise(number, CODECS[supervisor.codec].frame, 32000))
        rig.frame({leg: payload for leg, payload in spoken.items() if chance.random() > 0.1})
    return {leg: rig.sent[leg] for leg in (1, 2)}


@pytest.mark.parametrize("codec", WIDE)
@pytest.mark.parametrize("phases", [1, 4])
def test_a_wideband_supervisor_changes_no_bit_of_a_narrowband_call(
    make_rig: Callable[..., Any], codec: str, phases: int
) -> None:
    """The customer's packets with a monitor and with a whisper, the agent's with a monitor."""
    for seed in range(4):
        alone = call(make_rig, None, seed, phases, whispers=False)
        monitored = call(make_rig, codec, seed, phases, whispers=False)
        whispered = call(make_rig, codec, seed, phases, whispers=True)
        assert len(alone[1]) > 25
        assert monitored == alone
        assert whispered[1] == alone[1]
        assert whispered[2] != alone[2]  # the agent did hear it


def test_a_listener_at_16_khz_hears_the_exact_sum_of_talkers_resampled_to_it(rig: Any) -> None:
    """Two PCMU talkers, gains of 1.0 and 0.25, against an oracle of plain integers."""
    rig.open(1)
    rig.open(2)
    Peer(rig, 3, "L16/16000")
    rig.bridge(1, [1, 2, 3], [[0] * 3, [0] * 3, [UNITY, UNITY // 4, 0]], ramp_ms=0)
    codes = [
        [g711.encode(noise(9 * number + leg, 160), g711.PCMU) for number in range(20)]
        for leg in (1, 2)
    ]
    for number in range(20):
        rig.frame({1: codes[0][number].tobytes(), 2: codes[1][number].tobytes()})
    up = [Stream(8000, 16000), Stream(8000, 16000)]
    spoken = [
        np.concatenate([stream.process(g711.decode(code, g711.PCMU)) for code in said]).astype(int)
        for stream, said in zip(up, codes, strict=True)
    ]
    expected = np.rint((spoken[0] * UNITY + spoken[1] * (UNITY // 4)) / UNITY)
    heard = samples_of(rig, 3)
    begin = int(np.flatnonzero(heard)[0]) // 320 * 320  # frames before the first packet was due
    assert np.array_equal(heard[begin:], expected[: len(heard) - begin])


@pytest.mark.parametrize("packet_ms", [10, 20, 30, 40, 60])
def test_l16_passes_between_two_of_its_rate_bit_for_bit(rig: Any, packet_ms: int) -> None:
    """Whatever is in a packet: native frames are not resampled, gains of 1.0 change nothing."""
    talker, _ = Peer(rig, 1, "L16/16000"), Peer(rig, 2, "L16/16000")
    rig.bridge(1, [1, 2], ramp_ms=0)
    said = noise(1, 16000)
    size, at = 16 * packet_ms, 0
    for tick in range(50):
        while at < (tick + 1) * 320 and at + size <= len(said):
            talker.send(said[at : at + size].astype(">i2").tobytes(), size)
            at += size
        rig.frame()
    heard = samples_of(rig, 2)
    begin = int(np.flatnonzero(heard)[0])
    stats = rig.engine.leg_stats(1)
    assert len(heard) - begin > 14000
    # The first frame leans over from silence, and what is after the last is made up.
    assert np.array_equal(heard[begin + 320 : begin + 14000], said[320:14000])
    assert stats.late == stats.lost == 0
    assert stats.concealed <= 2  # after the end


def tone_frames(codec: str, frames: int) -> Array:
    rate_hz = CODECS[codec].rate_hz
    n = np.arange(frames * CODECS[codec].frame)
    wave = 6000 * np.sin(2 * np.pi * 400 * n / rate_hz)
    return np.rint(wave).astype(np.int16).reshape(frames, -1)


@pytest.mark.parametrize("codec", WIDE)
def test_a_lost_packet_is_made_up_for_without_a_click(rig: Any, codec: str) -> None:
    """Out of the next packet where the codec can (Opus), by concealment where it can't."""
    talker, _ = Peer(rig, 1, codec), Peer(rig, 2, "L16/48000")
    rig.open(3)
    rig.bridge(1, [1, 2, 3], ramp_ms=0)
    for number, frame in enumerate(tone_frames(codec, 60)):
        talker.say(frame, lost=number in (20, 40))
        rig.frame()
    stats = rig.engine.leg_stats(1)
    packets = 20 // CODECS[codec].packet_ms
    assert stats.lost == 2 * packets
    assert stats.concealed <= 2
    heard = samples_of(rig, 2)[48000 // 50 * 5 : -960]
    # A 400 Hz sine of 6,000 moves by 314 in a sample of 48 kHz at most.
    assert np.abs(np.diff(heard)).max() < 800
    loud = np.sqrt((heard.reshape(-1, 480).astype(float) ** 2).mean(axis=1))
    assert loud.min() > 400
    narrow = g711.decode(np.frombuffer(b"".join(rig.heard(3)), np.uint8), g711.PCMU)
    assert np.abs(np.diff(narrow[800:].astype(int))).max() < 4000


def test_opus_takes_a_lost_frame_out_of_the_next_packet(rig: Any) -> None:
    """RFC 6716 section 2.1.7, where the next packet is there in time: behind a frame of delay.

    What was recovered counts as lost in RTCP, and as played.
    """
    talker = Peer(rig, 1, "opus", options={"jitter_ms": 20})
    rig.open(2)
    rig.bridge(1, [1, 2])
    for number, frame in enumerate(tone_frames("opus", 60)):
        talker.say(frame, lost=number in (20, 30))
        rig.frame()
    stats = rig.engine.leg_stats(1)
    assert stats.lost == 2
    assert stats.concealed == 0
    assert stats.played == 59
    assert stats.delay_ms >= 20


def test_a_gap_of_opus_that_was_the_senders_silence_is_no_loss(rig: Any) -> None:
    """RFC 7587 section 3.1.3: DTX leaves packets out; sequence numbers go on, time does too."""
    talker = Peer(rig, 1, "opus", fmtp="usedtx=1")
    rig.open(2)
    rig.bridge(1, [1, 2])
    frames = [*tone_frames("opus", 20), *[np.zeros(960, np.int16)] * 60, *tone_frames("opus", 20)]
    sent = 0
    for frame in frames:
        payloads = talker.encoder.encode(frame)
        sent += len(payloads)
        for payload in payloads:
            talker.send(payload, 0)
        talker.ticks += 960
        rig.frame()
    assert sent < 75
    stats = rig.engine.leg_stats(1)
    assert stats.lost == 0
    assert stats.concealed <= 1


def test_another_codec_in_mid_call_goes_on_with_one_stream(rig: Any) -> None:
    """RFC 3264 section 8.3.2: PCMU, then Opus, then G.722; numbers and time go on."""
    rig.open(1)
    rig.open(2)
    rig.bridge(1, [1, 2])
    steps = []
    for name in ("PCMU", "opus", "G722", "L16/16000", "PCMU"):
        codec = CODECS[name]
        number = 0 if name == "PCMU" else NUMBER
        rig.engine.submit(UpdateLeg(leg=2, codec=name, payload_type=number))
        before = len(rig.sent[2])
        for count in range(10):
            rig.frame({1: g711.encode(noise(count, 160), g711.PCMU).tobytes()})
        packets = [RtpPacket.parse(packet) for _, packet in rig.sent[2][before:]]
        assert {packet.payload_type for packet in packets} == {number}
        steps += [(packet.sequence_number, packet.timestamp) for packet in packets]
        times = np.diff([packet.timestamp for packet in packets])
        assert set(times.tolist()) == {codec.clock_hz // 50}
    assert set(np.diff([sequence for sequence, _ in steps]).tolist()) == {1}
    assert all(0 < step <= 960 for step in np.diff([time for _, time in steps]).tolist())


def test_a_peer_that_changes_codec_is_heard_in_the_new_one(rig: Any) -> None:
    rig.open(2)
    talker = Peer(rig, 1, "G722")
    rig.bridge(1, [1, 2])
    for name in ("G722", "opus", "L16/48000", "G722"):
        talker.codec, talker.encoder = name, encoder_of(CODECS[name])
        rig.engine.submit(UpdateLeg(leg=1, codec=name, payload_type=NUMBER))
        before = len(rig.sent[2])
        for frame in tone_frames(name, 25):
            talker.say(frame)
            rig.frame()
        heard = np.frombuffer(b"".join(rig.heard(2)[before + 10 :]), np.uint8)
        loud = np.abs(g711.decode(heard, g711.PCMU).astype(int)).max()
        assert 4000 < loud < 8000, name
    assert rig.engine.leg_stats(1).dropped == 0


class Later:
    """Workers that do a job when they are asked for its result, after so many looks."""

    looks = 0

    def __init__(self) -> None:
        self.jobs: list[Any] = []

    def __call__(self, lane: int, function: Any, frame: Array) -> Any:
        class Promise:
            looks = self.looks

            def done(self) -> bool:
                self.looks -= 1
                return self.looks < 0

            def result(self) -> Any:
                return function(frame)

        self.jobs.append((lane, frame))
        return Promise()


@pytest.mark.parametrize("workers", [Later, CodingThreads])
def test_opus_is_encoded_beside_the_tick_and_leaves_one_beat_later(
    make_rig: Callable[..., Any], workers: Any
) -> None:
    """The same packets as without workers, each a beat later, or more; G.722 does not wait."""
    found = {}
    for name, given in (("inline", None), ("beside", workers())):
        rig = make_rig(workers=given)
        rig.open(1)
        Peer(rig, 2, "opus")
        Peer(rig, 3, "G722")
        rig.bridge(1, [1, 2, 3])
        for number in range(20):
            rig.frame({1: g711.encode(noise(number, 160), g711.PCMU).tobytes()})
        rig.beat(1)
        found[name] = {leg: rig.sent[leg] for leg in (2, 3)}
        if given is not None and hasattr(given, "close"):
            given.close()
    later = found["beside"][2]
    inline = found["inline"][2][: len(later)]
    assert [packet for _, packet in later] == [packet for _, packet in inline]
    waits = {late - early for (late, _), (early, _) in zip(later, inline, strict=True)}
    # Threads have no beats: how long they take here is up to the machine, 60 ms at most.
    assert waits == {1} if workers is Later else waits <= set(range(1, 13))
    assert len(later) > 15
    assert found["beside"][3] == found["inline"][3]


@pytest.mark.parametrize(("looks", "beats"), [(3, 4), (1000, 12)])
def test_the_tick_does_not_wait_for_an_encoder_that_is_late(
    make_rig: Callable[..., Any], looks: int, beats: int
) -> None:
    """Its packets leave when they are done, in order; 60 ms behind, it is waited for."""
    found = {}
    for name in ("inline", "late"):
        workers = Later()
        workers.looks = looks
        rig = make_rig(phases=4, workers=workers if name == "late" else None)
        rig.open(1)
        Peer(rig, 2, "opus")
        rig.bridge(1, [1, 2])
        for number in range(20):
            rig.frame({1: g711.encode(noise(number, 160), g711.PCMU).tobytes()})
        found[name] = rig.sent
    late = [(beat - beats, packet) for beat, packet in found["late"][2]]
    assert late == found["inline"][2][: len(late)]
    assert len(late) >= 16
    assert found["late"][1] == found["inline"][1]


def test_a_leg_that_closes_while_its_frame_is_encoded_sends_no_more(
    make_rig: Callable[..., Any],
) -> None:
    rig = make_rig(workers=Later())
    Peer(rig, 1, "opus")
    rig.frame()
    rig.engine.submit(UpdateLeg(leg=1, codec="PCMU", payload_type=0))
    before = len(rig.sent[1])
    rig.frame()
    kinds = {packet[1] & 0x7F for _, packet in rig.sent[1][before:]}
    assert kinds == {0}


def test_a_wide_leg_moves_to_another_engine(make_rig: Callable[..., Any]) -> None:
    here, there = make_rig(), make_rig()
    talker = Peer(here, 1, "G722", fmtp="")
    for frame in tone_frames("G722", 10):
        talker.say(frame)
        here.frame()
    here.engine.submit(PartLeg(1))
    here.frame()
    here.frame()
    (event,) = here.told(LegParted)
    state = pickle.loads(pickle.dumps(event.state))
    while there.engine.beat < here.engine.beat:
        there.beat()
    there.engine.submit(AdoptLeg(1, state))
    there.sent[1], there.reports[1] = [], []
    there.open(2)
    there.bridge(1, [1, 2])
    talker.rig = there
    talker.ticks += 2 * 160
    for frame in tone_frames("G722", 30):
        talker.say(frame)
        there.frame()
    heard = g711.decode(np.frombuffer(b"".join(there.heard(2)[-10:]), np.uint8), g711.PCMU)
    assert np.abs(heard.astype(int)).max() > 5000
    assert {RtpPacket.parse(packet).payload_type for _, packet in there.sent[1]} == {NUMBER}


@pytest.mark.parametrize("codec", WIDE)
def test_nothing_that_a_peer_sends_raises_or_grows(rig: Any, codec: str) -> None:
    """Any octets, any sizes, any jumps of time: counted, dropped or heard."""
    talker, _ = Peer(rig, 1, codec), Peer(rig, 2, "opus")
    rig.bridge(1, [1, 2])
    chance = random.Random(5)
    for _ in range(400):
        size = chance.choice([1, 2, 3, 20, 160, 320, 640, 960, 1500])
        payload = chance.randbytes(size)
        jump = chance.choice([960, 160, 0, 1, 7, -960, 5000, 1 << 20])
        talker.send(payload, jump)
        if chance.random() < 0.1:
            talker.sequence += chance.choice([-3, 1, 2, 4000])
        if chance.random() < 0.5:
            rig.beat()
        leg = rig.engine._wide.get(rig.engine.row_of(1))
        assert len(leg._waiting) <= 64
        assert len(leg._pcm) <= 6 * CODECS[codec].rate_hz
    assert len(rig.sent[2]) > 40


def test_what_a_session_may_not_be_is_refused(rig: Any) -> None:
    for wrong, why in (
        ({"codec": "G729"}, "give one of PCMU"),
        ({"codec": "opus", "dtmf_clock_hz": 44100}, "a multiple of 8000"),
        ({"codec": "opus", "payload_type": 96, "dtmf_payload_type": 96}, "share"),
        ({"codec": "opus", "payload_type": 96, "payload_type_in": 72}, "outside"),
    ):
        rig.engine.submit(OpenLeg(leg=9, ssrc=0x1009, first_sequence=0, first_timestamp=0, **wrong))
        (refused,) = rig.engine.take_events()
        assert isinstance(refused, CommandRefused)
        assert why in refused.why


def test_each_side_sends_with_the_numbers_of_the_other(rig: Any) -> None:
    """RFC 3264 section 5.1: what comes with the number that is for the other way is dropped."""
    rig.open(1, codec="G722", payload_type=97, payload_type_in=98)
    rig.open(2)
    rig.bridge(1, [1, 2])
    rig.say(1, bytes(160), payload_type=97)
    rig.say(1, bytes(160), payload_type=98)
    rig.frame()
    stats = rig.engine.leg_stats(1)
    assert (stats.received, stats.dropped) == (1, 1)
    assert {RtpPacket.parse(packet).payload_type for _, packet in rig.sent[1]} == {97}
    assert decoder_of(CODECS["G722"]).samples(rig.heard(1)[0]) == 320
