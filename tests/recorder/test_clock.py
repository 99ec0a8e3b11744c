"""Tests of `rtpmix.recorder.clock`."""

from __future__ import annotations

from rtpmix.recorder.clock import CaptureClock
from rtpmix.recorder.manifest import Manifest
from rtpmix.recorder.pcap import pack_time


def test_the_first_sample_is_the_origin_and_record_times_follow_the_media_clock() -> None:
    """125 us a sample, whatever the wall clock does afterwards."""
    wall = iter([1000.5, 99.0])
    manifest = Manifest(
        conversation_id="c", capture_id="1", suite="s", created=3.0, overflow_csrc=1
    )
    clock = CaptureClock(manifest, lambda: next(wall))
    assert clock.place(7_000_000_000) == 0
    assert clock.place(7_000_000_160) == 160
    assert clock.place(6_999_999_999) == -1
    assert (manifest.origin, manifest.created) == (7_000_000_000, 1000.5)
    assert clock.origin == 7_000_000_000
    assert clock.moment(160) == (160, pack_time(1_000_520_000))
    assert clock.moment(8000).time == pack_time(1_001_500_000)
    assert clock.moment(160).time == pack_time(1_000_520_000)
