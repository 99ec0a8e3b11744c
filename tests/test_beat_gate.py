"""Tests of `rtpmix.beat_gate`."""

from __future__ import annotations

import threading

from rtpmix.beat_gate import begin_beat, end_beat, step_aside

WAIT = 20.0  # seconds: for a thread, far above what it takes


def test_who_steps_aside_goes_on_when_the_beat_is_over() -> None:
    step_aside()  # no beat: at once
    begun, passed, order = threading.Event(), threading.Event(), list[str]()

    def work() -> None:
        begun.set()
        step_aside()
        order.append("work")
        passed.set()

    begin_beat()
    thread = threading.Thread(target=work)
    thread.start()
    assert begun.wait(WAIT)
    assert not passed.wait(0.05)
    order.append("beat")
    end_beat()
    assert passed.wait(WAIT)
    thread.join()
    assert order == ["beat", "work"]
    step_aside()


def test_a_beat_does_not_wait_for_itself() -> None:
    begin_beat()
    step_aside()  # returns
    end_beat()
    step_aside()
