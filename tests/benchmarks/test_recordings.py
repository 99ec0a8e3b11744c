"""The judge of recorded loads: it must see what is missing, or its figures say nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.density import is_held
from benchmarks.recordings import judge, key_file
from rtpmix.recorder import Capture, load_or_make_key
from tests.benchmarks.test_rooms import GOOD


def record(directory: Path, samples: list[int], *, sealed: bool = True) -> None:
    capture = Capture(
        directory / "conf-1",
        conversation_id="1",
        recipients=load_or_make_key(key_file(directory)),
        metadata={},
        wall_clock=lambda: 1e9,
    )
    capture.add_leg(1, "leg", "agent", "PCMU", 0)
    for at in samples:
        capture.frame(
            1, at, spoken=bytes(320), present=True, heard=bytes(160), law="PCMU",
            mixed=bytes(320), contributors=(),
        )  # fmt: skip
        capture.tick(at / 8000)
    if sealed:
        capture.close()


WHOLE = [160 * n for n in range(50)]


@pytest.mark.parametrize(
    ("samples", "missing"),
    [
        (WHOLE, 0),
        (WHOLE[:20] + WHOLE[21:], 2 * 1),  # of both tracks
        (WHOLE[:20] + WHOLE[25:], 2 * 5),
        (WHOLE[:20] + [at + 120 for at in WHOLE[20:]], 0),  # moved to another phase
        (WHOLE[:30], 2 * 10),  # it ends too soon
    ],
)
def test_frames_that_are_not_in_the_files_are_counted(
    tmp_path: Path, samples: list[int], missing: int
) -> None:
    record(tmp_path, samples)
    found = judge(tmp_path, 1, 40)
    assert found == {
        "captures": 1,
        "captures_not_sealed": 0,
        "tracks": 2,
        "frames_in_files": 2 * len(samples),
        "frames_missing_in_files": missing,
        "frames_declared_lost": 0,
    }
    assert is_held(GOOD | found) == (missing == 0)


def test_a_capture_without_a_seal_and_a_leg_without_tracks_are_counted(tmp_path: Path) -> None:
    record(tmp_path, WHOLE, sealed=False)
    found = judge(tmp_path, 2, 40)
    assert found["captures_not_sealed"] == 1
    assert found["frames_missing_in_files"] >= 2 * 40
    assert not is_held(GOOD | found)
