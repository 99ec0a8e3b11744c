"""Concealment is nearer to what was said than silence, and than the last frame again."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.quality import FRAME, distance_db, filled, lost_frames, rate
from rtpmix.testing import speech


@pytest.mark.parametrize(
    ("loss", "burst", "ratio"), [(0.03, 1.0, 1.3), (0.10, 1.0, 1.3), (0.10, 3.0, 1.05)]
)
def test_concealment_beats_silence_and_repetition(loss: float, burst: float, ratio: float) -> None:
    rating = rate(loss, burst, seconds=15)
    assert rating.silence > ratio * rating.concealed
    assert rating.repeated > ratio * rating.concealed


def test_the_distance_is_in_decibels_and_nothing_where_nothing_is_wrong() -> None:
    clean = speech(4.0, seed=3)
    lost = lost_frames(200, 0.1, 1.0, 3)
    assert distance_db(clean, clean, lost) == 0
    louder = (clean.astype(int) * 2).clip(-32768, 32767).astype(np.int16)
    assert distance_db(clean, louder, lost) == pytest.approx(6, abs=0.5)
    assert distance_db(clean, filled(clean, lost, repeat=False), lost) > 5


@pytest.mark.parametrize("burst", [1.0, 3.0])
def test_losses_have_the_rate_and_the_length_asked_for(burst: float) -> None:
    lost = lost_frames(100_000, 0.05, burst, 1)
    runs = sum(now and not before for before, now in zip([False, *lost], lost, strict=False))
    assert sum(lost) / len(lost) == pytest.approx(0.05, rel=0.1)
    assert sum(lost) / runs == pytest.approx(max(burst, 1 / 0.95), rel=0.1)


def test_the_speaker_is_the_same_for_a_seed_and_of_the_level_asked_for() -> None:
    said = speech(10.0, level_db=-20.0, seed=5)
    assert np.array_equal(said, speech(10.0, level_db=-20.0, seed=5))
    assert not np.array_equal(said, speech(10.0, level_db=-20.0, seed=6))
    sounds = said[said != 0].astype(float)
    assert 20 * np.log10(np.sqrt(np.mean(sounds**2)) / 32767) == pytest.approx(-20, abs=0.5)
    pauses = (np.abs(said.reshape(-1, FRAME)).max(axis=1) == 0).mean()
    assert 0.05 < pauses < 0.4
