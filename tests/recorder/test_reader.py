"""Tests of `rtpmix.recorder.reader`."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from rtpmix.errors import RecordingError
from rtpmix.recorder import Verdict, info, list_captures, read_capture, verify
from rtpmix.recorder.manifest import load_manifest
from rtpmix.recorder.pcap import Datagram, pack_time
from rtpmix.recorder.reader import RecordReader
from rtpmix.recorder.track import Moment, TrackWriter
from rtpmix.recorder.vault import open_vault

START = 123_456_789  # as in conftest


def test_info_needs_no_key(sealed: Any) -> None:
    """What the manifest says, and who signed it."""
    found = info(sealed.path)
    assert found.conversation_id == "call-1"
    assert found.state == "sealed"
    assert found.duration_s == 2.0
    assert found.metadata == {"queue": "sales"}
    assert found.size == (sealed.path / "0001.srtp.pcap").stat().st_size
    assert [track.name for track in found.tracks][:3] == ["events", "customer.in", "customer.heard"]
    assert found.signed_by == sealed.keys.trusted[0].thumbprint
    text = "\n".join(found.lines)
    assert "customer.in (customer): L16" in text
    assert "call-1, sealed, 2.0 s" in text


def test_captures_are_listed_oldest_first_and_damaged_ones_left_out(
    begin: Any, tmp_path: Path
) -> None:
    """`verify` is for those."""
    for name in ("b", "a"):
        made = begin(name)
        made.speak(2)
        made.close()
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "manifest.json").write_text("{}")
    assert [found.path.name for found in list_captures(tmp_path)] == ["a", "b"]
    with pytest.raises(RecordingError, match="not a directory"):
        list_captures(tmp_path / "nowhere")


def test_samples_go_on_where_the_timestamp_wraps(begin: Any) -> None:
    """32 bits last for six days; the capture's clock goes on."""
    made = begin()
    made.speak(1)  # a leg's keys are made with its first frame
    manifest, _ = load_manifest(made.path)
    vault = open_vault(made.path, made.keys, manifest.capture_id)
    track = manifest.tracks[1]
    writer = TrackWriter(track, vault[1, track.ssrc])
    reader = RecordReader(manifest, vault)
    samples = [n * 2**30 for n in range(12)]
    read = []
    for at in samples:
        record = writer.audio(bytes(320), Moment(at, pack_time(0)), 96, 160)
        read.append(reader.read(1, Datagram(0, 0.0, track.port, record[44:])).sample)
    assert read == samples


def test_a_record_that_does_not_authenticate_is_an_error_or_passed_over(sealed: Any) -> None:
    """Placed by timestamp, the rest stays where it was."""
    file = sealed.path / "0001.srtp.pcap"
    from rtpmix.recorder.pcap import FILE_HEADER, DatagramFrame, scan

    datagrams = list(scan(file.read_bytes()))
    changed = [
        DatagramFrame(d.port).record(
            d.payload if n != 90 else d.payload[:-12] + bytes(12), pack_time(0)
        )
        for n, d in enumerate(datagrams)
    ]
    file.write_bytes(FILE_HEADER + b"".join(changed))
    with pytest.raises(RecordingError, match="authentication failure"):
        list(read_capture(sealed.path, sealed.keys)[1])
    rest = list(read_capture(sealed.path, sealed.keys, strict=False)[1])
    assert len(rest) == len(datagrams) - 1


def test_hostile_datagrams_become_records_with_a_problem(begin: Any) -> None:
    """Never an exception."""
    made = begin()
    made.speak(1)  # a leg's keys are made with its first frame
    manifest, _ = load_manifest(made.path)
    vault = open_vault(made.path, made.keys, manifest.capture_id)
    rng = random.Random(8)
    for keys in (None, vault):
        reader = RecordReader(manifest, keys)
        problems = 0
        for _ in range(3000):
            port = rng.choice([track.port for track in manifest.tracks]) + rng.randrange(3)
            payload = bytes([0x80 | rng.randrange(64)]) + rng.randbytes(rng.randrange(60))
            problems += reader.read(1, Datagram(0, 0.0, port, payload)).problem is not None
        assert problems > 2900


@pytest.mark.parametrize("rate_hz", [8000, 48_000])
def test_a_track_that_begins_after_days_is_placed_where_it_is(begin: Any, rate_hz: int) -> None:
    """At 48 kHz the timestamp wraps once a day: the other tracks tell which day it is."""
    made = begin()
    for day in range(4):
        made.frames = day * 24 * 3600 * 50
        made.speak(2)
    made.capture.add_leg(9, "late", "agent", "PCMU", START + 160 * made.frames, rate_hz)
    wide = None if rate_hz == 8000 else (bytes(1920), bytes(1920))
    made.capture.frame(
        9, START + 160 * made.frames, spoken=bytes(320), present=True, heard=bytes(160),
        law="PCMU", mixed=bytes(320), contributors=(), wide=wide,
    )  # fmt: skip
    made.close()
    samples = [
        record.sample
        for record in read_capture(made.path, made.keys)[1]
        if record.packet is not None and record.track and record.track.name == "late.in"
    ]
    assert samples[0] == 160 * made.frames
    assert verify(made.path, made.keys).verdict is Verdict.SEALED
