"""Tests of `rtpmix.recorder.recover`; a process that is killed is in `tests/interop`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rtpmix.errors import RecordingError
from rtpmix.recorder import (
    CapturePolicy,
    Recipients,
    Verdict,
    generate_key,
    recover,
    verify,
)

SEGMENT = "0001.srtp.pcap"


def crash(made: Any, cut: int = 0, tail: bytes = b"") -> None:
    """Leave a capture as a killed process does: no BYE, no seal, no lock."""
    made.capture.tick(1e6)
    made.capture._series._file.close()
    file = made.path / SEGMENT
    data = file.read_bytes()
    file.write_bytes(data[: len(data) - cut] + tail)


@pytest.mark.parametrize("cut", [0, 1, 7, 100, 400])
def test_a_torn_record_is_declared_and_the_audio_is_never_rewritten(begin: Any, cut: int) -> None:
    """The bytes of the segment are the same afterwards."""
    made = begin()
    made.speak(60)
    crash(made, cut)
    before = (made.path / SEGMENT).read_bytes()
    found = recover(made.path, made.keys, wall_clock=lambda: 5.0)
    assert (made.path / SEGMENT).read_bytes() == before
    assert (found.torn_bytes > 0) == (cut > 0)
    assert found.duration_s == pytest.approx(1.2 - (0.02 if cut else 0), abs=0.021)
    report = verify(made.path, made.keys)
    assert report.verdict is Verdict.SEALED, report.lines
    assert report.recovered


@pytest.mark.parametrize("tail", [bytes(4096), b"\xff" * 500, bytes(range(256))])
def test_blocks_that_a_power_cut_left_are_torn_bytes(begin: Any, tail: bytes) -> None:
    """ext4 can leave zeros or old data past the last synced record."""
    made = begin()
    made.speak(60)
    crash(made, 5, tail)
    found = recover(made.path, made.keys)
    assert found.torn_bytes > len(tail)
    assert verify(made.path, made.keys).verdict is Verdict.SEALED
    assert verify(made.path).verdict is Verdict.SEALED
    data = (made.path / SEGMENT).read_bytes()
    (made.path / SEGMENT).write_bytes(data[:-1] + b"?")
    assert verify(made.path, made.keys).verdict is Verdict.TAMPERED


def test_a_crash_in_the_second_segment_keeps_the_first(begin: Any) -> None:
    """Each has its own keys and its own hash."""
    made = begin(policy=CapturePolicy(segment_packets=40))
    made.speak(60)
    made.capture.tick(1e6)
    made.capture._series._file.close()
    recover(made.path, made.keys)
    report = verify(made.path, made.keys)
    assert report.verdict is Verdict.SEALED, report.lines
    assert {found.byes for found in report.tracks} == {1}


def test_a_crash_before_the_first_packet_leaves_an_empty_capture(begin: Any) -> None:
    """Nothing was lost, nothing is invented."""
    made = begin()
    made.capture._series._file.close()
    (made.path / SEGMENT).write_bytes((made.path / SEGMENT).read_bytes()[:10])
    found = recover(made.path, made.keys)
    assert (found.packets, found.duration_s, found.torn_bytes) == (0, 0.0, 10)
    assert verify(made.path, made.keys).verdict is Verdict.SEALED


def test_a_changed_packet_is_no_crash(begin: Any) -> None:
    """`recover` must not put a seal on what somebody edited."""
    made = begin()
    made.speak(60)
    crash(made)
    file = made.path / SEGMENT
    from rtpmix.recorder.pcap import FILE_HEADER, DatagramFrame, pack_time, scan

    records = [
        DatagramFrame(d.port).record(
            d.payload if n != 90 else d.payload[:-12] + bytes(12), pack_time(0)
        )
        for n, d in enumerate(scan(file.read_bytes()))
    ]
    file.write_bytes(FILE_HEADER + b"".join(records))
    before = (made.path / "manifest.json").read_bytes()
    with pytest.raises(RecordingError, match="authentication failure"):
        recover(made.path, made.keys)
    assert (made.path / "manifest.json").read_bytes() == before


def test_a_sealed_or_living_capture_is_left_alone(begin: Any, sealed: Any) -> None:
    """There is nothing to recover."""
    with pytest.raises(RecordingError, match="nothing to recover"):
        recover(sealed.path, sealed.keys)
    made = begin("alive")
    with pytest.raises(RecordingError, match="still being written"):
        recover(made.path, made.keys)


def test_without_keys_a_capture_is_completed_but_not_sealed(begin: Any) -> None:
    """And can be sealed later by who has them."""
    made = begin()
    made.speak(60)
    crash(made, 3)
    found = recover(made.path)
    assert not found.sealed
    assert verify(made.path, made.keys).verdict is Verdict.UNSEALED
    assert recover(made.path, made.keys).sealed
    assert verify(made.path, made.keys).verdict is Verdict.SEALED


def test_a_recorder_with_public_keys_only_recovers_without_reading(
    tmp_path: Path, begin: Any
) -> None:
    """It seals what it can't decrypt; the owner of the private key can."""
    owner = generate_key(tmp_path / "owner.key", public=True)
    made = begin(recipients=owner.public_only())
    made.speak(60)
    crash(made, 3)
    assert recover(made.path, made.keys).sealed
    report = verify(made.path, owner)
    assert (report.verdict, report.with_keys) == (Verdict.SEALED, True)
    assert not verify(made.path, made.keys).with_keys


def test_another_recorders_key_recovers_nothing(begin: Any) -> None:
    """The wrong key file is the caller's mistake."""
    made = begin()
    made.speak(3)
    crash(made)
    with pytest.raises(RecordingError, match="none of these keys"):
        recover(made.path, Recipients.of(bytes(32)))
