"""Tests of `rtpmix.server.capture_desk`: what waits for the disk is waited for together."""

from __future__ import annotations

import threading
from functools import partial
from pathlib import Path

import pytest

from rtpmix.recorder import Capture, Recipients
from rtpmix.server.capture_desk import CaptureDesk

KEYS = Recipients.of(bytes(range(32)))
WAIT = 20.0  # seconds: for a thread, far above what it takes


def capture(path: Path) -> Capture:
    return Capture(path, conversation_id="c", recipients=KEYS, metadata={}, wall_clock=lambda: 1e9)


def test_disk_work_of_several_recordings_is_done_at_the_same_time() -> None:
    """Each waits here until the other has begun: one after the other they would never end."""
    desk, meeting = CaptureDesk(), threading.Barrier(3)
    desk.use_threads()
    order: list[str] = []

    def work() -> None:
        meeting.wait(WAIT)
        order.append("work")

    steps = {number: [(0, lambda: work)] for number in range(3)}
    desk.settle([], steps)
    assert order == ["work"] * 3
    assert desk.failures == 0
    desk.close()


def test_a_step_after_disk_work_waits_for_it() -> None:
    desk, order = CaptureDesk(), list[str]()
    desk.use_threads()

    def first() -> object:
        order.append("first")
        return lambda: order.append("disk")

    desk.settle([], {1: [(0, first), (0, partial(order.append, "second"))]})
    assert order == ["first", "disk", "second"]
    desk.close()


def test_what_fails_in_one_recording_is_counted_and_hinders_no_other(
    caplog: pytest.LogCaptureFixture,
) -> None:
    desk, done = CaptureDesk(), list[int]()

    def fail() -> None:
        raise ValueError("what was said")

    desk.settle([], {1: [(0, fail), (0, lambda: fail)], 2: [(0, partial(done.append, 2))]})
    assert done == [2]
    assert desk.failures == 2
    assert "ValueError" in caplog.text
    assert "what was said" not in caplog.text


def test_captures_are_put_on_disk_when_that_is_due(tmp_path: Path) -> None:
    desk = CaptureDesk()
    desk.use_threads()
    for number in range(3):
        desk.captures[number] = capture(tmp_path / str(number))
    desk.tick(0.0)
    assert not any(each.sync_is_due(4.9) for each in desk.captures.values())
    assert all(each.sync_is_due(5.0) for each in desk.captures.values())
    desk.tick(5.0)
    assert not any(each.sync_is_due(5.0) for each in desk.captures.values())
    desk.close()
    for each in desk.captures.values():
        each.close()
