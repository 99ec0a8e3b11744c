"""Tests of `rtpmix.recorder.legs`."""

from __future__ import annotations

import hashlib
import random

from rtpmix.recorder.legs import RecordedLeg
from rtpmix.recorder.track import Kind, Track


def make() -> RecordedLeg:
    return RecordedLeg(
        "agent", Track("agent.in", Kind.SPOKEN, 1, 2), Track("agent.heard", Kind.HEARD, 3, 4)
    )


def test_each_second_of_mixed_frames_has_its_sha256() -> None:
    """A frame belongs to the second in which it begins."""
    leg, rng = make(), random.Random(1)
    frames = [(at, rng.randbytes(320)) for at in range(40, 20_000, 160)]
    facts = [fact for at, frame in frames if (fact := leg.mark_heard(at, frame))]
    facts += leg.finish()
    assert [fact["second"] for fact in facts] == [0, 1, 2]
    for fact in facts:
        second = fact["second"]
        inside = [frame for at, frame in frames if at // 8000 == second]
        assert fact["frames"] == len(inside)
        assert fact["sha256"] == hashlib.sha256(b"".join(inside)).hexdigest()
        assert fact["leg"] == "agent"


def test_runs_of_frames_that_were_not_spoken_are_told_once() -> None:
    """From the first such sample, for so many samples."""
    leg = make()
    script = [True, False, False, True, False, True, True, False]
    facts = []
    for number, present in enumerate(script):
        fact = leg.mark_spoken(160 * number, present)
        facts += [fact] if fact else []
    facts += leg.finish()
    assert [(fact["sample"], fact["samples"]) for fact in facts] == [
        (160, 320), (640, 160), (1120, 160),
    ]  # fmt: skip


def test_a_long_run_is_told_every_second() -> None:
    """So that a crash loses a second of marks at most."""
    leg = make()
    facts = [fact for n in range(200) if (fact := leg.mark_spoken(160 * n, False))]
    assert [(fact["sample"], fact["samples"]) for fact in facts] == [
        (0, 8000), (8000, 8000), (16000, 8000),
    ]  # fmt: skip


def test_a_gap_ends_a_run() -> None:
    """What was lost was not concealed."""
    leg = make()
    leg.mark_spoken(0, False)
    fact = leg.mark_spoken(1600, False)
    assert fact is not None
    assert fact["samples"] == 160
    assert leg.finish()[0]["sample"] == 1600
