"""Tests of `rtpmix.recorder.export`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from aiortc.codecs.g711 import PcmaDecoder, PcmuDecoder
from aiortc.jitterbuffer import JitterFrame

from rtpmix.errors import RecordingError, UsageError
from rtpmix.recorder import Recipients, export

START = 123_456_789


def decode(codec: str, payload: bytes) -> Any:
    decoder = PcmuDecoder() if codec == "PCMU" else PcmaDecoder()
    (frame,) = decoder.decode(JitterFrame(data=payload, timestamp=0))
    return np.frombuffer(bytes(frame.planes[0]), np.int16)


def read(path: Path) -> Any:
    pcm, rate = soundfile.read(path, dtype="int16")
    assert rate == 8000
    return pcm


def test_every_track_is_decoded_bit_for_bit(sealed: Any, tmp_path: Path) -> None:
    """L16 as it is; G.711 as aiortc decodes it."""
    made = export(sealed.path, sealed.keys, tmp_path / "out", coaching=True)
    assert [file.name for file in made.files] == [
        "customer.in.wav", "customer.heard.wav", "agent.in.wav", "agent.heard.wav",
        "coach.in.wav", "coach.heard.wav",
    ]  # fmt: skip
    assert made.duration_s == 2.0
    for name, payloads in sealed.payloads.items():
        whole = b"".join(payloads)
        pcm = read(tmp_path / "out" / f"{name}.wav")
        expected = np.frombuffer(whole, ">i2") if name.endswith(".in") else decode("PCMU", whole)
        assert (pcm == expected).all()


def test_all_256_codes_of_both_laws_are_decoded_as_by_another_library() -> None:
    """ITU-T G.711; aiortc's decoder is the oracle."""
    from rtpmix.recorder.export import _g711_table

    for codec in ("PCMU", "PCMA"):
        assert (_g711_table(codec) == decode(codec, bytes(range(256)))).all()


def test_a_gap_is_silence_of_its_exact_length(begin: Any, tmp_path: Path) -> None:
    """Audio is placed by timestamp."""
    made = begin()
    made.speak(10)
    made.frames += 25
    made.speak(10)
    made.close()
    export(made.path, made.keys, tmp_path / "out", tracks=["agent.in"])
    pcm = read(tmp_path / "out" / "agent.in.wav")
    assert len(pcm) == 45 * 160
    assert not pcm[1600 : 35 * 160].any()
    expected = np.frombuffer(b"".join(made.payloads["agent.in"][10:]), ">i2")
    assert (pcm[35 * 160 :] == expected).all()
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["agent.in.wav"]


def test_stereo_has_the_agent_left_and_the_customer_right(sealed: Any, tmp_path: Path) -> None:
    """What the coach whispers is in neither, unless it is asked for."""
    samples = {
        name: np.frombuffer(b"".join(payloads), ">i2").astype(np.int32)
        for name, payloads in sealed.payloads.items()
        if name.endswith(".in")
    }
    (file,) = export(sealed.path, sealed.keys, tmp_path / "s.wav", stereo=True).files
    pcm = read(file)
    assert pcm.shape == (16000, 2)
    assert (pcm[:, 0] == samples["agent.in"]).all()
    assert (pcm[:, 1] == samples["customer.in"]).all()
    export(sealed.path, sealed.keys, tmp_path / "c.wav", stereo=True, coaching=True)
    both = (samples["agent.in"] + samples["coach.in"]).clip(-32768, 32767)
    assert (read(tmp_path / "c.wav")[:, 0] == both).all()


def test_coaching_is_silent_everywhere_until_the_customer_hears_it(
    begin: Any, tmp_path: Path
) -> None:
    """Whisper, then barge: the CSRC lists of what customers heard decide, frame by frame."""
    made = begin()
    for number in range(20):
        barge = number >= 10
        for leg, contributors in ((1, (2, 3) if barge else (2,)), (2, (1, 3)), (3, (1, 2))):
            made.capture.frame(
                leg, START + 160 * number, spoken=(1000 * leg).to_bytes(2, "big") * 160,
                present=True, heard=b"\x10" * 160, law="PCMU", mixed=bytes(320),
                contributors=contributors,
            )  # fmt: skip
    made.close()
    export(made.path, made.keys, tmp_path / "out")
    for name in ("coach.in", "agent.heard"):
        pcm = read(tmp_path / "out" / f"{name}.wav")
        assert not pcm[:1600].any(), name
        assert pcm[1600:].all(), name
    for name in ("agent.in", "customer.in", "customer.heard", "coach.heard"):
        assert read(tmp_path / "out" / f"{name}.wav").all(), name
    export(made.path, made.keys, tmp_path / "s.wav", stereo=True)
    left = read(tmp_path / "s.wav")[:, 0]
    assert set(left[:1600].tolist()) == {2000}
    assert set(left[1600:].tolist()) == {5000}


def test_coaching_of_wide_legs_is_silent_at_every_rate(begin: Any, tmp_path: Path) -> None:
    """Whisper, then barge, with a coach at 48 kHz and an agent at 16; the mix is at 48."""
    made = begin()
    for leg, name, role, rate_hz in (
        (5, "guide", "supervisor", 48_000), (6, "clerk", "agent", 16_000),
    ):  # fmt: skip
        made.capture.add_leg(leg, name, role, "PCMU", START, rate_hz)
    for number in range(20):
        barge = number >= 10
        for leg, contributors in ((1, (5, 6) if barge else (6,)), (6, (1, 5)), (5, (1, 6))):
            size = {1: 160, 5: 960, 6: 320}[leg]
            wide = (1000 * leg).to_bytes(2, "big") * size
            made.capture.frame(
                leg, START + 160 * number, spoken=(1000 * leg).to_bytes(2, "big") * 160,
                present=True, heard=b"\x10" * 160, law="PCMU", mixed=bytes(320),
                contributors=contributors, wide=None if leg == 1 else (wide, wide),
            )  # fmt: skip
    made.close()
    rates = {"guide.in": 48_000, "clerk.heard": 16_000, "guide.in.8k": 8000, "clerk.heard.8k": 8000}
    export(made.path, made.keys, tmp_path / "out", tracks=rates)
    for name, rate_hz in rates.items():
        pcm, found_hz = soundfile.read(tmp_path / "out" / f"{name}.wav", dtype="int16")
        assert found_hz == rate_hz
        assert len(pcm) == rate_hz * 4 // 10
        assert not pcm[: len(pcm) // 2].any(), name
        assert pcm[len(pcm) // 2 :].all(), name
    export(made.path, made.keys, tmp_path / "s.wav", stereo=True)
    stereo, rate_hz = soundfile.read(tmp_path / "s.wav", dtype="int16")
    assert rate_hz == 48_000
    assert set(stereo[1000:9000, 0].tolist()) == {6000}  # the agent, resampled, alone
    assert set(stereo[10_000:18_000, 0].tolist()) == {11_000}
    assert set(stereo[1000:18_000, 1].tolist()) == {1000}


def test_a_track_name_never_leads_out_of_the_directory(begin: Any, tmp_path: Path) -> None:
    """A leg's name is the embedding program's."""
    made = begin()
    made.capture.add_leg(9, "../../evil/.name", "agent", "PCMU", START)
    made.speak(1)
    made.close()
    for file in export(made.path, made.keys, tmp_path / "out").files:
        assert file.parent == tmp_path / "out"
        assert not file.name.startswith(".")


def test_an_unknown_track_is_the_callers_mistake(sealed: Any, tmp_path: Path) -> None:
    """The error has the names that there are."""
    with pytest.raises(UsageError, match=r"customer\.in"):
        export(sealed.path, sealed.keys, tmp_path / "out", tracks=["boss.in"])
    with pytest.raises(UsageError, match="leave out"):
        export(sealed.path, sealed.keys, tmp_path / "x.wav", stereo=True, tracks=["agent.in"])


def test_the_wrong_key_or_place_is_one_clear_error(sealed: Any, tmp_path: Path) -> None:
    """Not a traceback of a library."""
    with pytest.raises(RecordingError, match="none of these keys"):
        export(sealed.path, Recipients.of(bytes(32)), tmp_path / "out")
    with pytest.raises(RecordingError, match="can't write"):
        export(sealed.path, sealed.keys, tmp_path / "no" / "such" / "s.wav", stereo=True)
