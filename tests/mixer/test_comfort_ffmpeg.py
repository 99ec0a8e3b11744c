"""Comfort noise against ffmpeg's coder: the sign of a coefficient, the colour, both directions.

RFC 3389 section 3.2 leaves the sign to the figure of its coefficients; what others read decides.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from rtpmix.mixer import g711
from rtpmix.mixer.commands import Record
from rtpmix.rtp.comfort_noise import Noise, describe
from rtpmix.rtp.packet import RtpPacket

av = pytest.importorskip("av", reason="PyAV comes with the extra dtls")
FRAME = 160


def coder(mode: str) -> Any:
    context = av.CodecContext.create("comfortnoise", mode)
    context.sample_rate, context.layout, context.format = 8000, "mono", "s16"
    if mode == "w":
        context.time_base = Fraction(1, 8000)
    context.open()
    return context


def decoded(payload: bytes) -> np.ndarray:
    """What ffmpeg makes of a payload, some seconds of it."""
    context = coder("r")
    frames = [f.to_ndarray().ravel() for _ in range(60) for f in context.decode(av.Packet(payload))]
    return np.concatenate(frames[5:])


def encoded(sound: np.ndarray) -> bytes:
    """ffmpeg's description of a sound."""
    context = coder("w")
    size = context.frame_size
    found = []
    for at in range(0, len(sound) - size + 1, size):
        frame = av.AudioFrame.from_ndarray(sound[None, at : at + size], format="s16", layout="mono")
        frame.sample_rate, frame.pts = 8000, at
        found += [bytes(packet) for packet in context.encode(frame)]
    return found[10]


def tilt_db(sound: np.ndarray) -> float:
    """How much stronger low frequencies are than high ones."""
    frames = sound[: len(sound) // 320 * 320].reshape(-1, 320).astype(float)
    power = np.abs(np.fft.rfft(frames, axis=1)) ** 2
    return float(10 * np.log10(power[:, 5:40].mean() / power[:, -40:-5].mean()))


def coloured(pole: float) -> np.ndarray:
    """Noise of about -40 dBov with one pole: low frequencies prevail where it is positive."""
    dice = np.random.default_rng(1)
    sound = dice.standard_normal(8000 * 3)
    for at in range(1, sound.size):
        sound[at] += pole * sound[at - 1]
    return np.rint(sound * 300 / sound.std()).astype(np.int16)


def heard(rig, payload: bytes) -> np.ndarray:
    """What our mixer makes of a payload."""
    rig.open(1)
    rig.engine.submit(Record(1))
    silence = g711.encode(np.zeros(FRAME, np.int16), g711.PCMU).tobytes()
    for _ in range(5):
        rig.frame({1: silence})
    sequence, timestamp = rig._next[1]
    packet = RtpPacket(
        payload_type=13, sequence_number=sequence, timestamp=timestamp, ssrc=0x5001, payload=payload
    )
    rig.hand_in(1, packet.to_bytes())
    rig.beat(4 * 200)
    return np.concatenate([block.spoken[0] for block in rig.blocks[20:]])


@pytest.mark.parametrize("pole", [0.8, -0.5, 0.0])
def test_ffmpeg_hears_the_colour_that_we_describe(pole: float) -> None:
    sound = coloured(pole)
    part = sound[: 10 * FRAME].astype(int)
    noise = describe([int(part[: part.size - lag] @ part[lag:]) for lag in range(5)], part.size)
    assert tilt_db(decoded(noise.to_bytes())) == pytest.approx(tilt_db(sound), abs=1.5)


@pytest.mark.parametrize("pole", [0.8, -0.5, 0.0])
def test_we_hear_the_colour_and_the_level_that_ffmpeg_describes(rig, pole: float) -> None:
    sound = coloured(pole)
    ours = heard(rig, encoded(sound))
    assert tilt_db(ours) == pytest.approx(tilt_db(sound), abs=2)
    assert 20 * np.log10(ours.std() / sound.std()) == pytest.approx(0, abs=1.5)


def test_the_first_coefficient_is_negative_where_low_frequencies_prevail() -> None:
    """As in ITU-T G.711 Appendix II; of both coders."""
    sound = coloured(0.8)
    part = sound[: 10 * FRAME].astype(int)
    ours = describe([int(part[: part.size - lag] @ part[lag:]) for lag in range(5)], part.size)
    theirs = Noise.parse(encoded(sound))
    assert ours.reflection[0] == pytest.approx(-0.8, abs=0.05)
    assert theirs.reflection[0] == pytest.approx(-0.8, abs=0.05)
    assert tilt_db(decoded(bytes((30, 50)))) > 8  # (50 - 127) / 127
    assert tilt_db(decoded(bytes((30, 204)))) < -8
