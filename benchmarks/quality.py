"""How lost frames sound: the log-spectral distance of what is played from what was said.

A synthetic speaker (`rtpmix.testing.speech`) loses frames, at random and in bursts of three on
average. What the engine plays in their place is compared with the clean signal, and so are silence
and the last frame repeated. The distance is the root mean square, over the telephone band, of the
difference of two spectra in dB, averaged over the windows that a lost frame touches and in which
something was said. ``value`` is how many times farther the better of silence and repetition is,
on average over all rates; more is better, 1 is no better.
"""

from __future__ import annotations

import argparse
import random
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.result import Result
from rtpmix.mixer import g711
from rtpmix.mixer.commands import OpenLeg, Record
from rtpmix.mixer.engine import Engine
from rtpmix.rtp.packet import RtpPacket
from rtpmix.testing import speech

FRAME = 160
RATES = (0.01, 0.03, 0.05, 0.10)
BURST = 3.0  # frames on average
WINDOW, HOP = 256, 64  # 32 ms, 8 ms
LOW, HIGH = 10, 109  # bins: 312 to 3406 Hz
FLOOR_DB = 50.0  # below the mean power of the speech: what is softer is not heard beside it

Samples = NDArray[np.int16]


def lost_frames(count: int, rate: float, burst: float, seed: int) -> list[bool]:
    """Draw which frames are lost; ``burst`` is the mean length of a loss, 1 for single frames.

    A chain of two states (E. N. Gilbert, "Capacity of a burst-noise channel", 1960).
    """
    dice, lost, found = random.Random(seed), False, []
    begins = rate / (burst * (1 - rate)) if burst > 1 else rate
    for number in range(count):
        goes_on = 1 - 1 / burst if burst > 1 else rate
        lost = dice.random() < (goes_on if lost else begins)
        found.append(lost and number > 50)
    return found


def played(codes: NDArray[np.uint8], lost: list[bool]) -> Samples:
    """Return what the engine plays of a stream that loses these frames."""
    engine = Engine(phases=1)
    engine.submit(OpenLeg(leg=1, ssrc=1, first_sequence=0, first_timestamp=0))
    engine.submit(Record(1))
    row = engine.row_of(1)
    assert row is not None
    frames = []
    for number, is_lost in enumerate(lost):
        if not is_lost:
            packet = RtpPacket(
                payload_type=0,
                sequence_number=number & 0xFFFF,
                timestamp=number * FRAME,
                ssrc=5,
                payload=codes[number].tobytes(),
            )
            engine.inbox.put(row, packet.to_bytes())
        engine.receive(engine.inbox.count)
        engine.tick()
        frames += [block.spoken[0] for block in engine.take_blocks()]
    return np.concatenate(frames)


def filled(clean: Samples, lost: list[bool], *, repeat: bool) -> Samples:
    """Return the stream with silence, or the last frame again, where frames are lost."""
    frames = clean.reshape(-1, FRAME).copy()
    for number, is_lost in enumerate(lost):
        if is_lost:
            frames[number] = frames[number - 1] if repeat else 0
    return frames.reshape(-1)


def spectra(sound: Samples) -> NDArray[np.float64]:
    """Return the power of each window and bin of the telephone band."""
    windows = np.lib.stride_tricks.sliding_window_view(sound.astype(float), WINDOW)[::HOP]
    power = np.abs(np.fft.rfft(windows * np.hanning(WINDOW), axis=1)) ** 2
    band: NDArray[np.float64] = power[:, LOW:HIGH]
    return band


def distance_db(clean: Samples, sound: Samples, lost: list[bool]) -> float:
    """Return the mean log-spectral distance where frames were lost."""
    before, after = spectra(clean), spectra(sound)
    floor = before.mean() * 10 ** (-FLOOR_DB / 10)
    difference = 10 * np.log10((before + floor) / (after + floor))
    each = np.sqrt((difference**2).mean(axis=1))
    begins = np.arange(len(each)) * HOP
    gone = np.concatenate([[0], np.cumsum(np.repeat(lost, FRAME))])
    touched = gone[begins + WINDOW] > gone[begins]
    said = before.mean(axis=1) > 100 * floor
    return float(each[touched & said].mean())


@dataclass(frozen=True)
class Rating:
    """Distances in dB at one rate of loss."""

    concealed: float
    silence: float
    repeated: float

    @property
    def ratio(self) -> float:
        """How many times farther the better of the simple ways is."""
        return min(self.silence, self.repeated) / self.concealed


def rate(loss: float, burst: float, *, seconds: float, voices: int = 3) -> Rating:
    """Compare the three ways, on average over some voices."""
    found = []
    for seed in range(voices):
        said = speech(seconds, pitch_hz=(110.0, 160.0, 210.0)[seed % 3], seed=seed)
        codes = g711.encode(said, g711.PCMU).reshape(-1, FRAME)
        clean = g711.decode(codes, g711.PCMU).reshape(-1)
        lost = lost_frames(len(codes), loss, burst, seed)
        ways = (
            played(codes, lost),
            filled(clean, lost, repeat=False),
            filled(clean, lost, repeat=True),
        )
        found.append([distance_db(clean, way, lost) for way in ways])
    return Rating(*np.mean(found, axis=0).tolist())


def run(arguments: list[str]) -> Result:
    """Rate every kind and rate of loss."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks quality")
    parser.add_argument("--seconds", type=float, default=60.0, help="of speech of each voice")
    options = parser.parse_args(arguments)
    details: dict[str, Any] = {}
    ratios = []
    for name, burst in (("random", 1.0), ("bursts", BURST)):
        for loss in RATES:
            rating = rate(loss, burst, seconds=options.seconds)
            ratios.append(rating.ratio)
            details[f"{name}_{loss:.0%}"] = {
                "concealed_db": round(rating.concealed, 2),
                "silence_db": round(rating.silence, 2),
                "repeated_db": round(rating.repeated, 2),
                "silence_ratio": round(rating.silence / rating.concealed, 2),
                "repeated_ratio": round(rating.repeated / rating.concealed, 2),
            }
    return Result(
        benchmark="quality",
        unit="times the distance of the better simple way",
        runs=(fmean(ratios),),
        details=details,
    )
