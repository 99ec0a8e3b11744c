"""Tests of `rtpmix.replay`: the real engine is recorded, then replayed."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest

from rtpmix.audio.codecs import CODECS
from rtpmix.audio.coders import encoder_of
from rtpmix.mixer.commands import (
    BridgeMoved,
    CloseLeg,
    MatrixCommitted,
    OpenLeg,
    OpenSource,
    Play,
    Record,
    SeatsLeaving,
    SetMatrix,
    UpdateLeg,
)
from rtpmix.mixer.engine import Engine
from rtpmix.mixer.tap import TapBlock
from rtpmix.recorder import Recipients
from rtpmix.recorder.reader import read_facts
from rtpmix.replay import ReplayReport, replay
from rtpmix.rtp.packet import RtpPacket
from rtpmix.server.recording_writer import InlineRecordingWriter

KEYS = Recipients.of(bytes(range(32)))
CUSTOMER, AGENT, COACH, SOURCE = 11, 12, 13, 14
LEGS = {CUSTOMER: ("customer", "PCMU"), AGENT: ("agent", "PCMA"), COACH: ("coach", "PCMU")}
KINDS = {"PCMU": 0, "PCMA": 8}
U, H = 32768, 20_000
MODES: dict[str, tuple[tuple[int, ...], ...]] = {
    "monitor": ((0, U, 0), (U, 0, 0), (U, U, 0)),
    "whisper": ((0, U, 0), (U, 0, H), (U, U, 0)),
    "barge": ((0, U, U), (U, 0, U), (U, U, 0)),
    "takeover": ((0, 0, U), (0, 0, 0), (U, 0, 0)),
}


class Call:
    """Three legs on an engine, all speaking loud noise, recorded inline."""

    def __init__(
        self,
        path: Path,
        seed: int,
        *,
        limited: bool = False,
        codecs: Mapping[int, str] = MappingProxyType({}),
    ) -> None:
        self.limited = limited
        self.codecs = {leg: codecs.get(leg, codec) for leg, (_, codec) in LEGS.items()}
        self.encoders = {leg: encoder_of(CODECS[name]) for leg, name in codecs.items()}
        self.path = path
        self.rng = random.Random(seed)
        self.engine = Engine(phases=4)
        self.writer = InlineRecordingWriter()
        self.sent: dict[int, Any] = {}
        self.number = 0
        self.is_told = False
        self.moves = 0
        self.places: dict[int, int] = {}  # leg -> the beat of each 20 ms in which its packets come
        self.closed: set[int] = set()
        self.quiet: dict[int, bytes | None] = {}  # leg -> description that is still to be sent
        self.sequence = dict.fromkeys(LEGS, 0)
        self.noise = np.random.default_rng(seed)
        for leg, codec in self.codecs.items():
            self.engine.submit(
                OpenLeg(
                    leg=leg, codec=codec, payload_type=KINDS.get(codec, 96), ssrc=leg,
                    first_sequence=0, first_timestamp=0,
                )
            )  # fmt: skip

    def record(self) -> None:
        self.open()
        self.add_legs()

    def open(self) -> None:
        self.writer.start(
            1, self.path, conversation_id="c", keys=KEYS, metadata={}, wall_clock=lambda: 0.0
        )

    def add_legs(self) -> None:
        for leg, (name, _) in LEGS.items():
            codec, rate_hz = self.codecs[leg], CODECS[self.codecs[leg]].rate_hz
            law = codec if codec in KINDS else "PCMU"
            self.writer.add_leg(1, leg, name, name, law, self.engine.sample, rate_hz)
        self.switch_taps(True)

    def switch_taps(self, on: bool) -> None:
        """Record from the next tick on, or no more; matrices are told while it is on."""
        self.is_told = on
        for leg in LEGS:
            rate_hz = CODECS[self.codecs[leg]].rate_hz
            self.engine.submit(Record(leg, on=on, rate_hz=rate_hz))

    def tell(
        self, command: SetMatrix, sample: int, *, in_force: bool = False, waiting: int = 0
    ) -> None:
        fact = {
            "event": "matrix",
            "bridge": command.bridge,
            "seats": list(command.seats),
            "gains": [list(row) for row in command.gains],
            "ramp_ms": command.ramp_ms,
            "in_force": in_force,
        }
        if in_force:
            fact["waiting"] = waiting
        if command.limited:
            fact["limited"] = True
        self.writer.event(1, sample, fact)

    def tell_and_record(self, command: SetMatrix, *, waiting: int = 0) -> None:
        """Begin in mid-call, as a server does: the matrix in force, then the legs."""
        self.open()
        self.tell(command, self.engine.sample, in_force=True, waiting=waiting)
        self.add_legs()

    def set(self, mode: str, *, ramp_ms: int = 10, more: tuple[int, ...] = ()) -> SetMatrix:
        seats = (*LEGS, *more)
        gains = tuple((*row, *(U for _ in more)) for row in MODES[mode])
        gains += tuple((0,) * len(seats) for _ in more)
        token = len(self.sent) + 1
        command = SetMatrix(
            bridge=1, seats=seats, gains=gains, ramp_ms=ramp_ms, token=token, limited=self.limited
        )
        self.sent[token] = command
        self.engine.submit(command)
        return command

    def run(self, frames: int, *, loss: float = 0.0) -> None:
        for _ in range(frames):
            arriving: list[list[tuple[int, bytes]]] = [[] for _ in range(4)]
            for leg in LEGS:
                if leg in self.encoders:
                    coming = self.coded(leg)
                    if leg not in self.closed and self.rng.random() >= loss:
                        arriving[self.places.get(leg, 0)] += [(leg, one) for one in coming]
                elif leg not in self.closed and self.rng.random() >= loss:
                    codes = self.noise.integers(0, 256, 160).astype(np.uint8).tobytes()
                    kind = 8 if LEGS[leg][1] == "PCMA" else 0
                    if leg in self.quiet:
                        told, self.quiet[leg] = self.quiet[leg], None
                        if told is None:
                            continue
                        kind, codes = 13, told
                    self.sequence[leg] += 1
                    packet = RtpPacket(
                        payload_type=kind,
                        sequence_number=self.sequence[leg] & 0xFFFF,
                        timestamp=160 * self.number,
                        ssrc=900 + leg,
                        payload=codes,
                    )
                    arriving[self.places.get(leg, 0)].append((leg, packet.to_bytes()))
            self.number += 1
            for packets in arriving:
                for leg, datagram in packets:
                    row = self.engine.row_of(leg)
                    assert row is not None
                    self.engine.inbox.put(row, datagram)
                self.engine.receive(self.engine.inbox.count)
                self.engine.tick()
                for block in self.engine.take_blocks():
                    self.writer.put_block(block)
                for event in self.engine.take_events():
                    if isinstance(event, MatrixCommitted) and self.is_told and event.token:
                        self.tell(self.sent[event.token], event.at)
                    elif isinstance(event, SeatsLeaving):
                        fact = {"event": "leaving", "bridge": 1, "seats": list(event.seats)}
                        self.writer.event(1, event.at, fact)
                    elif isinstance(event, BridgeMoved):
                        self.moves += 1
                        after = event.at - event.last
                        moved = {"event": "moved", "bridge": 1, "after": after}
                        self.writer.event(1, event.at, moved)

    def coded(self, leg: int) -> list[bytes]:
        """Return the packets of a wide leg for this frame: noise in all of its band."""
        codec = CODECS[self.codecs[leg]]
        sound = self.noise.integers(-20_000, 20_000, codec.frame).astype(np.int16)
        packets = []
        for place, payload in enumerate(self.encoders[leg].encode(sound)):
            self.sequence[leg] += 1
            ticks = codec.clock_hz // 50 * self.number + place * codec.clock_hz // 100
            packet = RtpPacket(
                payload_type=96, sequence_number=self.sequence[leg] & 0xFFFF, timestamp=ticks,
                ssrc=900 + leg, payload=payload,
            )  # fmt: skip
            packets.append(packet.to_bytes())
        return packets

    def close(self, leg: int) -> None:
        self.closed.add(leg)
        self.engine.submit(CloseLeg(leg))

    def finish(self) -> ReplayReport:
        assert self.writer.stop(1).result().sealed
        return replay(self.path, KEYS)


def test_every_mode_change_replays_bit_for_bit(tmp_path: Path) -> None:
    """Whole call, ramps and interrupted ramps, loss and concealment, clipping and both laws."""
    call = Call(tmp_path / "a", 1)
    call.run(5)
    call.record()
    call.set("monitor")
    call.run(20)
    for _ in range(60):
        mode, ramp = call.rng.choice(list(MODES)), call.rng.choice([0, 5, 10, 20, 40, 100])
        call.set(mode, ramp_ms=ramp)
        call.run(call.rng.randrange(1, 12), loss=0.1)
    report = call.finish()
    assert report.is_consistent, report.lines
    assert report.different == report.unrecorded == report.unsettled == 0
    assert report.equal > 3 * 300
    assert report.seconds_equal >= 3 * 6
    assert report.lines[0].startswith("CONSISTENT")


def test_a_limiter_replays_bit_for_bit(tmp_path: Path) -> None:
    """Every mode has other peaks, and everybody speaks at full scale."""
    call = Call(tmp_path / "a", 21, limited=True)
    call.run(5)
    call.record()
    for _ in range(40):
        call.set(call.rng.choice(list(MODES)), ramp_ms=call.rng.choice([0, 10, 40]))
        call.run(call.rng.randrange(1, 12), loss=0.2)
    gains = call.engine.rows.limiter_gain
    assert min(gains[call.engine.row_of(leg)] for leg in LEGS) < U
    report = call.finish()
    assert report.is_consistent, report.lines
    assert report.different == report.unrecorded == report.unsettled == 0
    assert report.equal > 3 * 150


def test_a_limiter_is_known_a_second_after_a_recording_begins_in_mid_call(tmp_path: Path) -> None:
    """Where it was is not told, and forgotten by then; the same after a talker without a track."""
    call = Call(tmp_path / "a", 22, limited=True)
    call.engine.submit(OpenSource(SOURCE))
    call.engine.submit(Play(SOURCE, np.full(8000, 12_000, "<i2").tobytes(), loop=True))
    command = call.set("barge", more=(SOURCE,))
    call.run(30)
    call.tell_and_record(command)
    call.run(150)
    call.set("monitor")
    call.run(100)
    report = call.finish()
    assert report.is_consistent, report.lines
    assert report.different == 0
    assert report.unrecorded >= 3 * 150  # with the source in it
    assert 1 <= report.unsettled <= 3 * 52
    assert report.equal >= 3 * 48


def test_comfort_noise_replays_bit_for_bit(tmp_path: Path) -> None:
    """RFC 3389 section 5: the noise of silent talkers is what the mixer consumed, so recorded."""
    call = Call(tmp_path / "a", 23)
    call.run(5)
    call.record()
    call.set("barge")
    call.run(10)
    call.quiet = {AGENT: bytes((30, 50, 120)), COACH: bytes((45,))}
    call.run(60)
    call.quiet = {COACH: bytes((60,))}
    call.set("monitor")
    call.run(30)
    report = call.finish()
    assert report.is_consistent, report.lines
    assert report.different == report.unrecorded == report.unsettled == 0
    assert report.equal == 3 * 100


@pytest.mark.parametrize("late", [0, 7])
@pytest.mark.parametrize(("first", "places"), [(3, {}), (3, {AGENT: 3, COACH: 1})])
def test_a_bridge_that_moves_to_another_phase_replays_bit_for_bit(
    tmp_path: Path, first: int, places: dict[int, int], late: int
) -> None:
    """Towards an earlier tick and a later one, in the middle of ramps and of losses.

    ``late``: the capture's samples do not count from where the mixer's do.
    """
    call = Call(tmp_path / "a", 11)
    call.run(late, loss=1.0)
    call.places = places
    for number in range(100, 100 + first):  # bridges that take the phases before
        call.engine.submit(SetMatrix(bridge=number, seats=(), gains=()))
    call.record()
    call.set("monitor")
    call.run(12)
    while not call.moves and call.number < late + 200:
        call.set(call.rng.choice(list(MODES)), ramp_ms=100)
        call.run(1, loss=0.05)
    call.run(60, loss=0.05)
    call.set("monitor")
    call.run(10)
    report = call.finish()
    assert call.moves == 1
    assert report.is_consistent, report.lines
    assert report.different == report.unrecorded == report.unsettled == 0
    assert report.equal > 3 * 60


@pytest.mark.parametrize("ramping", [False, True])
def test_a_leg_that_hangs_up_before_a_matrix_says_so_replays_bit_for_bit(
    tmp_path: Path, ramping: bool
) -> None:
    """It fades out by itself, from the gains in force or from the middle of a ramp."""
    call = Call(tmp_path / "a", 8)
    call.record()
    call.set("monitor")
    call.run(10)
    call.set("barge", ramp_ms=100)
    call.run(2 if ramping else 10)
    call.close(COACH)
    call.run(20)
    report = call.finish()
    assert report.is_consistent, report.lines
    assert report.different == report.unrecorded == report.unsettled == 0
    assert report.equal > 2 * 30 + 10


def test_a_recording_that_begins_in_mid_call_replays_from_the_matrix_in_force(
    tmp_path: Path,
) -> None:
    """The first fact of a bridge is what was in force, not a change."""
    call = Call(tmp_path / "a", 2)
    command = call.set("barge")
    call.run(30)
    call.tell_and_record(command)
    call.run(30)
    call.set("whisper")
    call.run(30)
    report = call.finish()
    assert report.is_consistent, report.lines
    assert report.equal == 3 * 60


def test_a_matrix_that_still_waits_when_the_recording_begins_is_no_contradiction(
    tmp_path: Path,
) -> None:
    """Told as in force, then told again when it is: its first ramp is counted apart."""
    call = Call(tmp_path / "a", 6)
    command = call.set("monitor")
    call.tell_and_record(command, waiting=1)
    call.run(30)
    report = call.finish()
    assert report.is_consistent, report.lines
    assert report.unsettled <= 6
    assert report.equal >= 3 * 28


def test_matrices_that_wait_behind_each_other_are_no_contradiction(tmp_path: Path) -> None:
    """The newest is told as in force while the one before it has not even begun."""
    call = Call(tmp_path / "a", 7)
    call.set("barge")
    call.run(10)
    call.set("monitor")
    newest = call.set("takeover", ramp_ms=40)
    call.tell_and_record(newest, waiting=2)
    call.run(30)
    call.set("whisper")
    call.run(20)
    report = call.finish()
    assert report.is_consistent, report.lines
    assert report.unsettled <= 3 * 5
    assert report.equal >= 3 * 45


def test_a_matrix_told_late_does_not_undo_the_one_in_force(tmp_path: Path) -> None:
    """It took effect before the recording began, and its event was still on its way."""
    call = Call(tmp_path / "a", 9)
    command = call.set("barge")
    call.run(10)
    call.tell_and_record(command, waiting=1)
    for late in (160, 0):
        call.tell(command, call.engine.sample - late)
    call.run(30)
    report = call.finish()
    assert report.is_consistent, report.lines
    assert report.equal >= 3 * 26
    assert report.equal + report.unsettled == 3 * 30


def test_a_matrix_in_the_tick_in_which_the_recording_begins_follows_the_one_in_force(
    tmp_path: Path,
) -> None:
    """The agent joins just then: what is told after the matrix in force is newer, at one sample."""
    call = Call(tmp_path / "a", 11)
    first = call.set("monitor")
    call.run(10)
    call.tell_and_record(first)
    call.set("barge")
    call.run(30)
    report = call.finish()
    told = [fact for fact in read_facts(tmp_path / "a", KEYS) if fact["event"] == "matrix"]
    assert [fact["sample"] for fact in told] == [0, 0]
    assert report.is_consistent, report.lines
    assert report.equal >= 3 * 27
    assert report.equal + report.unsettled == 3 * 30


def test_a_bridge_that_is_recorded_again_later_begins_anew(tmp_path: Path) -> None:
    """What was in force the second time does not ramp in from what was in force the first."""
    call = Call(tmp_path / "a", 10)
    first = call.set("barge")
    call.run(10)
    call.tell_and_record(first)
    call.run(10)
    call.switch_taps(False)
    second = call.set("monitor")
    call.run(10)
    call.tell(second, call.engine.sample, in_force=True)
    call.switch_taps(True)
    call.run(20)
    report = call.finish()
    assert report.is_consistent, report.lines
    assert report.different == report.unsettled == 0
    assert report.equal == 3 * 30


def test_a_matrix_that_was_never_in_force_does_not_replay(tmp_path: Path) -> None:
    """A capture whose event log says "monitor" while the coach was heard contradicts itself."""
    call = Call(tmp_path / "a", 3)
    call.set("barge")
    call.run(30)
    call.tell_and_record(SetMatrix(bridge=1, seats=tuple(LEGS), gains=MODES["monitor"], ramp_ms=10))
    call.run(60)
    report = call.finish()
    assert not report.is_consistent
    assert report.different > 100
    assert report.differences[0].startswith(f"seat {CUSTOMER}")


def test_two_matrices_at_one_tick_count_as_the_last(tmp_path: Path) -> None:
    """The first never took effect; both are told when the second does."""
    call = Call(tmp_path / "a", 4)
    call.record()
    call.set("monitor")
    call.run(10)
    call.set("takeover")
    call.set("barge")
    call.run(20)
    report = call.finish()
    assert report.is_consistent, report.lines


def test_frames_with_an_announcement_are_counted_apart(tmp_path: Path) -> None:
    """A source has no track: what it is in can't be replayed, the rest can."""
    call = Call(tmp_path / "a", 5)
    call.engine.submit(OpenSource(SOURCE))
    call.record()
    call.set("monitor")
    call.run(20)
    call.engine.submit(Play(SOURCE, bytes(range(256)) * 100))
    call.set("monitor", more=(SOURCE,))
    call.run(20)
    call.set("monitor")
    call.run(20)
    report = call.finish()
    assert report.is_consistent, report.lines
    assert 3 * 19 <= report.unrecorded <= 3 * 23
    assert report.equal >= 3 * 35


@pytest.mark.parametrize("seed", range(5))
def test_random_calls_replay(tmp_path: Path, seed: int) -> None:
    """Random gains, seeded."""
    call = Call(tmp_path / "a", 100 + seed)
    call.record()
    for _ in range(20):
        gains = [
            [call.rng.choice([0, 0, U, call.rng.randrange(3 * U)]) for _ in LEGS] for _ in LEGS
        ]
        for index in range(3):
            gains[index][index] = 0
        command = SetMatrix(
            bridge=1, seats=tuple(LEGS), gains=tuple(map(tuple, gains)),
            ramp_ms=call.rng.randrange(60), token=len(call.sent) + 1,
        )  # fmt: skip
        call.sent[command.token] = command
        call.engine.submit(command)
        call.run(call.rng.randrange(1, 9), loss=0.2)
    report = call.finish()
    assert report.is_consistent, report.lines


WIDE = [
    {CUSTOMER: "L16/16000", COACH: "opus"},
    {CUSTOMER: "opus", AGENT: "G722", COACH: "L16/48000"},
    {AGENT: "L16/48000"},
]


@pytest.mark.parametrize("limited", [False, True])
@pytest.mark.parametrize("codecs", WIDE, ids=lambda codecs: "-".join(codecs.values()))
def test_what_wide_legs_heard_replays_bit_for_bit(
    tmp_path: Path, codecs: Mapping[int, str], limited: bool
) -> None:
    """Ramps, interrupted ones, losses, concealment, talkers of three rates that come and go."""
    call = Call(tmp_path / "a", 31, codecs=codecs, limited=limited)
    call.run(5)
    call.record()
    call.set("monitor")
    call.run(20)
    for _ in range(30):
        mode, ramp = call.rng.choice(list(MODES)), call.rng.choice([0, 5, 10, 40, 100])
        call.set(mode, ramp_ms=ramp)
        call.run(call.rng.randrange(1, 12), loss=0.1)
    call.run(60)
    report = call.finish()
    assert report.is_consistent, report.lines
    assert report.different == report.unrecorded == report.unsettled == 0
    assert report.wide_different == report.wide_unrecorded == 0
    assert report.wide_equal + report.wide_unsettled == len(codecs) * (call.number - 5)
    # Filters that begin: with a talker who was not in the mix. A limiter takes a second each time.
    assert report.wide_equal > (report.wide_unsettled if limited else 9 * report.wide_unsettled)
    assert f"at higher rates: {report.wide_equal} frames replayed bit for bit" in report.lines[1]


def test_wide_legs_replay_while_their_bridge_moves_and_one_hangs_up(tmp_path: Path) -> None:
    call = Call(tmp_path / "a", 11, codecs=WIDE[0])
    for number in range(100, 103):  # bridges that take the phases before
        call.engine.submit(SetMatrix(bridge=number, seats=(), gains=()))
    call.record()
    call.set("monitor")
    while not call.moves and call.number < 200:
        call.set(call.rng.choice(list(MODES)), ramp_ms=100)
        call.run(1, loss=0.05)
    call.run(30)
    call.set("barge")
    call.run(10)
    call.close(COACH)
    call.run(30)
    report = call.finish()
    assert call.moves == 1
    assert report.is_consistent, report.lines
    assert report.wide_unrecorded == 0
    assert report.wide_equal > 9 * report.wide_unsettled


def test_a_wide_frame_that_was_not_in_the_mix_is_found(tmp_path: Path) -> None:
    """What was heard at 16 kHz is another frame's: sealed like any other, and told."""
    call = Call(tmp_path / "a", 12, codecs={CUSTOMER: "L16/16000"})
    put, given = call.writer.put_block, 0

    def lie(block: TapBlock) -> None:
        nonlocal given
        given += 1
        if given == 30:
            (frames,) = block.wide
            heard = frames.heard.copy()
            heard[0, 200] ^= 1  # the last bit of one sample
            block = dataclasses.replace(block, wide=(dataclasses.replace(frames, heard=heard),))
        put(block)

    call.writer.put_block = lie  # type: ignore[method-assign]
    call.record()
    call.set("barge")
    call.run(60)
    report = call.finish()
    assert not report.is_consistent
    assert report.different == 0
    assert report.wide_different == 1
    assert report.lines[-1].endswith("16000 Hz")


def test_a_codec_of_another_rate_ends_what_can_be_replayed_at_higher_rates(tmp_path: Path) -> None:
    """Others heard it at a rate that is not recorded; a fact says from when on."""
    call = Call(tmp_path / "a", 13, codecs={CUSTOMER: "L16/16000", AGENT: "L16/16000"})
    call.record()
    call.set("barge")
    call.run(50)
    call.engine.submit(UpdateLeg(leg=AGENT, codec="PCMU", payload_type=0))
    call.closed.add(AGENT)  # its packets, of the codec before, end
    call.run(50)
    report = call.finish()
    (fact,) = [fact for fact in read_facts(call.path, KEYS) if fact["event"] == "resampled"]
    assert fact == {"event": "resampled", "sample": 50 * 160, "leg": "agent"}
    assert report.is_consistent, report.lines
    assert report.wide_equal + report.wide_unsettled == 2 * 50
    assert report.wide_unrecorded == 2 * 50
