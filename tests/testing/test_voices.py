"""What a phone says: whole frames, without seams."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import soundfile

from rtpmix.errors import UsageError
from rtpmix.testing import click_db, level_db, tone
from rtpmix.testing.voices import pcm_voice, read_clip, tone_voice


def test_a_tone_has_no_seam_between_its_frames() -> None:
    frames = list(itertools.islice(tone_voice(437.0, level_db=-6), 100))
    assert {len(frame) for frame in frames} == {160}
    pcm = np.concatenate(frames)
    assert pcm.tolist() == tone(437.0, 2.0, level_db=-6).tolist()
    assert click_db(pcm) < -90
    assert level_db(pcm, 437.0) == pytest.approx(-6, abs=0.05)


def test_a_clip_is_said_once_and_its_last_frame_filled_up() -> None:
    frames = list(pcm_voice(np.arange(1, 401).astype(np.int16)))
    assert [len(frame) for frame in frames] == [160, 160, 160]
    assert np.concatenate(frames)[:400].tolist() == [*range(1, 401)]
    assert not frames[2][80:].any()
    assert list(pcm_voice(np.zeros(0, np.int16))) == []


def test_a_looped_clip_begins_again() -> None:
    frames = pcm_voice(np.arange(320).astype(np.int16), loop=True)
    assert [int(frame[0]) for frame in itertools.islice(frames, 5)] == [0, 160, 0, 160, 0]


def test_a_sound_file_is_read_as_it_is(tmp_path: Path) -> None:
    pcm = tone(1013, 0.1)
    soundfile.write(tmp_path / "a.wav", pcm, 8000)
    assert read_clip(tmp_path / "a.wav").tolist() == pcm.tolist()


@pytest.mark.parametrize(("rate", "channels"), [(16000, 1), (8000, 2)])
def test_another_rate_or_stereo_is_the_callers_error(
    tmp_path: Path, rate: int, channels: int
) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros((80, channels), np.int16), rate)
    with pytest.raises(UsageError, match="mono at 8000 Hz"):
        read_clip(tmp_path / "a.wav")
    with pytest.raises(UsageError, match="can't be read"):
        read_clip(tmp_path / "missing.wav")
