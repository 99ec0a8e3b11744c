"""Tests of `rtpmix.recorder.manifest`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rtpmix.errors import RecordingError
from rtpmix.recorder.manifest import MANIFEST, Manifest, load_manifest
from rtpmix.recorder.segment import SegmentEntry
from rtpmix.recorder.signing import SigningKey
from rtpmix.recorder.track import Kind, Track


def make() -> Manifest:
    return Manifest(
        conversation_id="call-1",
        capture_id="ab12",
        suite="AES_CM_128_HMAC_SHA1_80",
        created=1.5,
        origin=2**40,
        overflow_csrc=9,
        metadata={"queue": "sales"},
        tracks=[Track("events", Kind.EVENTS, 1, 2)],
        contributors={3: 4},
        segments=[SegmentEntry(1, "0001.srtp.pcap", 0, 24, "ff", 0, {"events": (1, 2)})],
        gaps=[{"event": "gap", "sample": 1, "end": 2, "frames": 3, "why": "disk"}],
    )


def test_a_manifest_is_the_same_after_reading_signed_or_not(tmp_path: Path) -> None:
    """And tells who signed."""
    key = SigningKey.generate()
    make().save(tmp_path)
    assert load_manifest(tmp_path) == (make(), None)
    make().save(tmp_path, key)
    manifest, signer = load_manifest(tmp_path)
    assert manifest == make()
    assert signer is not None
    assert signer.thumbprint == key.public.thumbprint


def test_a_damaged_manifest_is_one_clear_error(tmp_path: Path) -> None:
    """Whatever is missing or of another type."""
    whole = make().to_json()
    damaged: list[object] = [None, [], 5, "x", {"payload": 1, "signature": 2}]
    for name in whole:
        damaged += [
            {**whole, name: object_} for object_ in (None, 7, [3], "?") if name != "recovery"
        ]
        damaged.append({key: value for key, value in whole.items() if key != name})
    texts = [json.dumps(value) for value in damaged] + ["", "{", "[" * 100_000]
    refused = 0
    for text in texts:
        (tmp_path / MANIFEST).write_text(text)
        try:
            load_manifest(tmp_path)
        except RecordingError:
            refused += 1
    assert refused > 50


def test_where_there_is_no_manifest_there_is_no_capture(tmp_path: Path) -> None:
    """The path is in the error."""
    with pytest.raises(RecordingError, match="can't read"):
        load_manifest(tmp_path)
