"""Sound files of every kind become int16 mono at 8000 Hz, or a reason why they don't."""

from __future__ import annotations

import builtins
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

import rtpmix
from rtpmix.errors import UsageError
from rtpmix.server import playing
from rtpmix.server.playing import load_own, load_pcm
from rtpmix.testing import level_db


def written(path: Path, rate: int, *, channels: int = 1, seconds: float = 1.0) -> Path:
    """A file with 437 Hz, peak -20 dB."""
    time = np.arange(round(seconds * rate)) / rate
    wave = 0.1 * np.sin(2 * np.pi * 437 * time)
    soundfile.write(path, np.column_stack([wave] * channels), rate)
    return path


def samples(pcm: bytes) -> np.ndarray:
    return np.frombuffer(pcm, "<i2").astype(np.int16)


def test_a_file_at_8000_hz_is_taken_as_it_is(tmp_path: Path) -> None:
    path = written(tmp_path / "a.wav", 8000)
    exact, _ = soundfile.read(path, dtype="int16")
    assert np.array_equal(samples(load_pcm(path)), exact)


@pytest.mark.parametrize(
    ("name", "rate", "channels"),
    [("a.wav", 44_100, 2), ("a.flac", 16_000, 1), ("a.ogg", 48_000, 2), ("a.mp3", 22_050, 1)],
)
def test_other_rates_and_formats_are_converted(
    tmp_path: Path, name: str, rate: int, channels: int
) -> None:
    pytest.importorskip("av")
    sound = samples(load_pcm(written(tmp_path / name, rate, channels=channels)))
    assert len(sound) == pytest.approx(8000, abs=800)
    assert level_db(sound[1600:6400], 437) == pytest.approx(-20, abs=1)


def test_what_only_ffmpeg_knows_is_played(tmp_path: Path) -> None:
    """AAC, in the container of films."""
    av = pytest.importorskip("av")
    path = tmp_path / "a.mp4"
    time = np.arange(48_000) / 48_000
    wave = (0.1 * np.sin(2 * np.pi * 437 * time)).astype(np.float32)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=48_000, layout="mono")
        for at in range(0, 47_104, 1024):
            frame = av.AudioFrame.from_ndarray(wave[None, at : at + 1024], "fltp", "mono")
            frame.sample_rate, frame.pts = 48_000, at
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    assert level_db(samples(load_pcm(path))[1600:6400], 437) == pytest.approx(-20, abs=1)


@pytest.mark.parametrize("content", [b"", b"this is no sound at all" * 100, bytes(4000)])
def test_what_is_no_sound_says_so(tmp_path: Path, content: bytes) -> None:
    pytest.importorskip("av")
    path = tmp_path / "a.txt"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=r"a\.txt"):
        load_pcm(path)


def test_a_file_that_is_not_there_says_so(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="can't read"):
        load_pcm(tmp_path / "none.wav")


def test_without_pyav_the_remedy_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, found = written(tmp_path / "a.wav", 16_000), builtins.__import__

    def missing(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "av":
            raise ImportError(name)
        return found(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(UsageError, match=r"rtpmix\[codecs\].*ffmpeg -i a\.wav"):
        load_pcm(path)


@pytest.mark.parametrize("rate", [8000, 16_000])
def test_more_than_an_hour_is_too_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rate: int
) -> None:
    if rate != 8000:
        pytest.importorskip("av")
    monkeypatch.setattr(playing, "MOST_SAMPLES", 16_000)
    with pytest.raises(UsageError, match=r"a\.wav is longer than 2 seconds"):
        load_pcm(written(tmp_path / "a.wav", rate, seconds=3))


@pytest.mark.parametrize(
    ("rate", "most", "played"),
    [
        (8000, 48_000, 8000),
        (11_025, 48_000, 16_000),
        (16_000, 48_000, 16_000),
        (22_050, 48_000, 48_000),
        (48_000, 16_000, 16_000),
        (48_000, 8000, 8000),
    ],
)
def test_a_file_is_played_at_its_own_quality_as_far_as_codecs_go(
    tmp_path: Path, rate: int, most: int, played: int
) -> None:
    if rate != played:
        pytest.importorskip("av")
    pcm, rate_hz = load_own(written(tmp_path / "a.wav", rate), most)
    assert rate_hz == played
    assert len(pcm) == pytest.approx(2 * played, rel=0.02)


def test_a_long_file_is_played_at_a_lower_rate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An hour of 8 kHz is what there is room for, or ten minutes of 48 kHz."""
    pytest.importorskip("av")
    monkeypatch.setattr(playing, "MOST_SAMPLES", 16_000)
    path = written(tmp_path / "a.wav", 48_000, seconds=0.9)
    assert load_own(path, 48_000)[1] == 16_000
    with pytest.raises(UsageError, match="longer than 2 seconds"):
        load_own(written(tmp_path / "b.wav", 48_000, seconds=2.5), 48_000)
    with pytest.raises(UsageError, match="or give a lower rate_hz"):
        load_pcm(path, 48_000)


def test_half_a_sample_is_refused() -> None:
    with pytest.raises(UsageError, match="even"):
        load_pcm(b"abc")


def test_a_tone_is_as_high_as_loud_and_as_long_as_asked_for() -> None:
    sound = samples(rtpmix.tone(437, 0.5, level_db=-12))
    assert len(sound) == 4000
    assert level_db(sound[400:3600], 437) == pytest.approx(-12, abs=0.2)
    assert abs(int(sound[0])) < 20  # it begins and ends softly
    assert abs(int(sound[-1])) < 200
