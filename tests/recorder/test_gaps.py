"""Tests of `rtpmix.recorder.gaps`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rtpmix.recorder.gaps import DISK, OVERLOAD, GapLog


def test_losses_join_into_one_gap_that_is_told_at_both_ends() -> None:
    """At its begin, since it might never end; and with its extent."""
    told: list[Mapping[str, Any]] = []
    log = GapLog(told.append)
    log.lose(DISK, 800, 960, 1)
    log.lose(DISK, 640, 800, 1)
    log.lose(OVERLOAD, 960, 1280, 2)
    assert told == [{"event": "gap_began", "sample": 800, "frames": 1, "why": DISK}]
    assert log.is_open
    gap = log.close()
    assert gap == {"event": "gap", "sample": 640, "end": 1280, "frames": 4, "why": DISK}
    assert told[1:] == [gap]
    assert log.closed == [gap]
    assert log.lost_frames == 4
    assert not log.is_open


def test_without_a_loss_there_is_no_gap() -> None:
    """And closing twice is nothing."""
    log = GapLog(lambda fact: None)
    assert log.close() is None
    assert log.closed == []
