"""Tests of `rtpmix.server.recording_writer`."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rtpmix.errors import RecordingError, UsageError
from rtpmix.mixer.tap import TapBlock
from rtpmix.recorder import (
    CapturePolicy,
    Recipients,
    Verdict,
    read_capture,
    read_facts,
    verify,
)
from rtpmix.server.recording_writer import InlineRecordingWriter, RecordingWriter

KEYS = Recipients.of(bytes(range(32)))
WAIT = 20.0  # seconds: for a thread, far above what it takes


def block(sample: int, legs: tuple[int, ...] = (5, 6)) -> TapBlock:
    """One beat of these legs, every value told by sample and leg."""
    count = len(legs)
    spoken = np.array([[(sample // 160 * 7 + leg) % 32768] * 160 for leg in legs], np.int16)
    heard = np.array([[(sample // 160 + leg) % 256] * 160 for leg in legs], np.uint8)
    yes = np.ones(count, bool)
    return TapBlock(
        sample, legs, spoken, heard, ("PCMU",) * count, yes, yes,
        tuple(tuple(other for other in legs if other != leg) for leg in legs), spoken + 1,
    )  # fmt: skip


def start(writer: RecordingWriter, path: Path, number: int = 1) -> None:
    writer.start(
        number, path, conversation_id=path.name, keys=KEYS, metadata={}, wall_clock=lambda: 1e9
    )


def packets(path: Path, name: str) -> list[tuple[int, bytes]]:
    return [
        (record.sample, record.packet.payload)
        for record in read_capture(path, KEYS)[1]
        if record.packet and record.track and record.track.name == name
    ]


@pytest.fixture(params=[RecordingWriter, InlineRecordingWriter])
def writer(request: pytest.FixtureRequest) -> Iterator[RecordingWriter]:
    made = request.param()
    yield made
    made.close()


def test_blocks_become_tracks_bit_for_bit(writer: RecordingWriter, tmp_path: Path) -> None:
    """Threaded and inline alike."""
    start(writer, tmp_path / "a")
    writer.add_leg(1, 5, "customer", "customer", "PCMU", 800)
    writer.add_leg(1, 6, "agent", "agent", "PCMU", 800)
    for number in range(100):
        writer.put_block(block(800 + 160 * number))
    summary = writer.stop(1).result(WAIT)
    assert summary.sealed, summary
    assert summary.path == tmp_path / "a"
    assert summary.duration_s == 2.0
    assert verify(tmp_path / "a", KEYS).verdict is Verdict.SEALED
    for row, (leg, name) in enumerate(((5, "customer"), (6, "agent"))):
        blocks = [block(800 + 160 * number) for number in range(100)]
        assert packets(tmp_path / "a", f"{name}.in") == [
            (160 * n, b.spoken[row].astype(">i2").tobytes()) for n, b in enumerate(blocks)
        ]
        assert packets(tmp_path / "a", f"{name}.heard") == [
            (160 * n, b.heard[row].tobytes()) for n, b in enumerate(blocks)
        ]
        assert leg in block(0).legs


def test_facts_legs_and_audio_keep_the_order_of_the_calls(
    writer: RecordingWriter, tmp_path: Path
) -> None:
    """One queue for all of them."""
    start(writer, tmp_path / "a")
    writer.add_leg(1, 5, "customer", "customer", "PCMU", 0)
    writer.put_block(block(0))
    writer.add_leg(1, 6, "agent", "agent", "PCMU", 160)
    writer.event(1, 160, {"event": "matrix", "bridge": 1, "seats": [5, 6], "gains": [[0]]})
    writer.put_block(block(160))
    writer.remove_leg(1, 5, 320)
    writer.put_block(block(320))
    writer.stop(1).result(WAIT)
    assert [at for at, _ in packets(tmp_path / "a", "customer.in")] == [0, 160]
    assert [at for at, _ in packets(tmp_path / "a", "agent.in")] == [160, 320]
    kinds = [fact["event"] for fact in read_facts(tmp_path / "a", KEYS)]
    assert [kind for kind in kinds if kind not in ("heard_sha256", "contributor")] == [
        "leg_added", "leg_added", "matrix", "leg_removed", "leg_removed", "closed",
    ]  # fmt: skip


def test_a_leg_can_be_in_two_recordings(writer: RecordingWriter, tmp_path: Path) -> None:
    """Stopping one leaves the other."""
    for number, name in ((1, "a"), (2, "b")):
        start(writer, tmp_path / name, number)
        writer.add_leg(number, 5, "customer", "customer", "PCMU", 0)
    writer.put_block(block(0))
    writer.stop(1).result(WAIT)
    writer.put_block(block(160))
    writer.stop(2).result(WAIT)
    assert len(packets(tmp_path / "a", "customer.in")) == 1
    assert len(packets(tmp_path / "b", "customer.in")) == 2
    assert writer.snapshot()["captures"] == 0
    assert writer.snapshot()["closed"] == 2


def test_the_callers_mistakes_are_told_at_once(writer: RecordingWriter, tmp_path: Path) -> None:
    """Not on another thread, later."""
    start(writer, tmp_path / "a")
    with pytest.raises(UsageError, match="is open"):
        start(writer, tmp_path / "b")
    with pytest.raises(RecordingError, match="not empty"):
        start(writer, tmp_path / "a", 2)
    with pytest.raises(UsageError, match="JSON"):
        writer.event(1, 0, {"event": "note", "what": object()})
    with pytest.raises(UsageError, match="not open"):
        writer.stop(7)
    assert writer.stop(1).result(WAIT).sealed


def test_close_seals_what_is_open(tmp_path: Path) -> None:
    """The server goes down in good order."""
    writer = RecordingWriter()
    start(writer, tmp_path / "a")
    writer.add_leg(1, 5, "customer", "customer", "PCMU", 0)
    writer.put_block(block(0))
    writer.close()
    assert verify(tmp_path / "a", KEYS).verdict is Verdict.SEALED
    assert not [t for t in threading.enumerate() if t.name == "rtpmix-recording-writer"]


class StuckDisk:
    """Holds every write of a segment until it is let go, as a hung disk does."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.stuck = threading.Event()
        self.free = threading.Event()
        self.hold = False
        real = os.write

        def write(descriptor: int, data: Any) -> int:
            if self.hold:
                self.stuck.set()
                assert self.free.wait(WAIT)
            return real(descriptor, data)

        monkeypatch.setattr(os, "write", write)


def test_a_slow_disk_costs_counted_frames_and_the_media_thread_never_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The queue is bounded; what it could not take is a gap in the capture, and told."""
    disk = StuckDisk(monkeypatch)
    told: list[tuple[int, int, str]] = []
    writer = RecordingWriter(
        on_gap=lambda *gap: told.append(gap),
        block_limit=20,
        policy=CapturePolicy(flush_s=0.001),
        poll_s=0.001,
    )
    start(writer, tmp_path / "a")
    writer.add_leg(1, 5, "customer", "customer", "PCMU", 0)
    writer.add_leg(1, 6, "agent", "agent", "PCMU", 0)
    disk.hold = True
    writer.put_block(block(0))
    assert disk.stuck.wait(WAIT)
    for number in range(1, 101):
        writer.put_block(block(160 * number))  # returns although the writer hangs
    dropped = writer.snapshot()["blocks_dropped"]
    assert 80 <= dropped <= 100
    disk.hold = False
    disk.free.set()
    deadline = threading.Event()
    while writer.snapshot()["blocks_waiting"]:
        deadline.wait(0.001)
    writer.put_block(block(160 * 101))
    summary = writer.stop(1).result(WAIT)
    writer.close()
    assert summary.sealed
    assert summary.gaps == 1
    assert summary.lost_frames == 2 * dropped
    assert sum(frames for _, frames, _ in told) == 2 * dropped
    assert {(number, why) for number, _, why in told} == {(1, "overload")}
    (gap,) = [f for f in read_facts(tmp_path / "a", KEYS) if f["event"] == "gap"]
    assert gap["frames"] == 2 * dropped
    kept = packets(tmp_path / "a", "customer.in")
    assert len(kept) + dropped == 102
    report = verify(tmp_path / "a", KEYS)
    assert report.verdict is Verdict.SEALED, report.lines
    assert report.gaps == [gap]


def test_losses_that_were_not_handed_over_are_counted_at_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A recording that ends while the queue is full loses nothing silently."""
    disk = StuckDisk(monkeypatch)
    writer = RecordingWriter(block_limit=5, policy=CapturePolicy(flush_s=0.001), poll_s=0.001)
    start(writer, tmp_path / "a")
    writer.add_leg(1, 5, "customer", "customer", "PCMU", 0)
    disk.hold = True
    writer.put_block(block(0, (5,)))
    assert disk.stuck.wait(WAIT)
    for number in range(1, 51):
        writer.put_block(block(160 * number, (5,)))
    future = writer.stop(1)
    disk.hold = False
    disk.free.set()
    summary = future.result(WAIT)
    writer.close()
    kept = packets(tmp_path / "a", "customer.in")
    assert summary.lost_frames > 0
    assert len(kept) + summary.lost_frames == 51


def test_a_defect_in_one_step_ends_no_recording_and_shows_no_payload(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The error's type is logged, its text might quote what was to be written."""
    writer = InlineRecordingWriter()
    start(writer, tmp_path / "a")
    writer.add_leg(1, 5, "customer", "customer", "PCMU", 0)
    broken = block(0, (5,))
    object.__setattr__(broken, "laws", ("secret-law",))
    writer.put_block(broken)
    writer.put_block(block(160, (5,)))
    assert writer.stop(1).result(WAIT).sealed
    assert writer.snapshot()["failures"] == 1
    assert "KeyError" in caplog.text
    assert "secret" not in caplog.text


def test_while_nothing_is_recorded_blocks_cost_nothing(tmp_path: Path) -> None:
    """And fill no queue."""
    writer = RecordingWriter()
    for number in range(1000):
        writer.put_block(block(160 * number))
    assert writer.snapshot()["blocks_waiting"] == 0


def test_a_capture_that_is_written_is_there_within_a_second_of_media(tmp_path: Path) -> None:
    """Written within 1 s: another process can read it while the call runs."""
    writer = InlineRecordingWriter()
    start(writer, tmp_path / "a")
    writer.add_leg(1, 5, "customer", "customer", "PCMU", 0)
    for number in range(300):
        writer.put_block(block(160 * number, (5,)))
        found = verify(tmp_path / "a") if number % 50 == 49 else None
        if found is not None:
            assert found.duration_s >= (number + 1) * 0.02 - 1.0
    writer.stop(1).result(WAIT)


def test_the_same_script_and_seed_give_the_same_tracks(tmp_path: Path) -> None:
    """Virtual time: identical bytes in the segment, but for the keys' randomness, injected here."""
    import random

    files = []
    for name in ("a", "b"):
        writer = InlineRecordingWriter(entropy=random.Random(3).randbytes)
        start(writer, tmp_path / name)
        writer.add_leg(1, 5, "customer", "customer", "PCMU", 0)
        for number in range(100):
            writer.put_block(block(160 * number, (5,)))
        writer.stop(1).result(WAIT)
        files.append((tmp_path / name / "0001.srtp.pcap").read_bytes())
    assert files[0] == files[1]
