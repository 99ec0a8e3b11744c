"""Microseconds that the recording writer takes for a leg and frame: its two encrypted packets.

Calls of three legs, each a capture of its own; blocks come straight from memory, and are written
as the writer's thread does it, those of a quarter of a second together; facts, reports and writing
are done as they fall due. ``--rate-hz`` has all legs wideband, with four tracks each. ``value``
counts processor time of the writer alone, the kernel's for its files included. The floor is
libsrtp, through its binding, for as many packets as a narrowband leg has.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from statistics import median
from time import process_time

import numpy as np

from benchmarks.result import Result
from rtpmix.audio.codecs import NARROW_HZ
from rtpmix.audio.resample import RATES_HZ
from rtpmix.mixer.tap import TapBlock, WideFrames
from rtpmix.recorder import Recipients
from rtpmix.rtp.srtp import MasterKey, SrtpSession
from rtpmix.server.recording_writer import RecordingWriter

PER_CALL = 3
FRAME = 160
FRAME_US = 20_000
TOGETHER = 12  # frames that have come when the thread looks at its queue


class _Driven(RecordingWriter):
    """The writer, whose thread is the caller's."""

    def _begin(self) -> None:
        """There is no thread to begin."""

    def look(self, now: float) -> None:
        """Do what the thread does when it looks at its queue."""
        while self._drain():
            pass
        self._desk.tick(now)


def block(legs: int, frame: int, rate_hz: int = NARROW_HZ) -> TapBlock:
    """Return one frame of every leg: noise, of which each hears what the others say."""
    noise = np.random.default_rng(frame % 7)
    spoken = noise.integers(-9000, 9000, (legs, FRAME)).astype(np.int16)
    others = (
        tuple(PER_CALL * (leg // PER_CALL) + seat for seat in range(PER_CALL) if seat != leg % 3)
        for leg in range(legs)
    )
    return TapBlock(
        sample=frame * FRAME,
        legs=tuple(range(legs)),
        spoken=spoken,
        heard=noise.integers(0, 256, (legs, FRAME)).astype(np.uint8),
        laws=("PCMU",) * legs,
        sent=np.ones(legs, np.bool_),
        present=np.ones(legs, np.bool_),
        contributors=tuple(others),
        heard_mixed=spoken,
        wide=() if rate_hz == NARROW_HZ else (wide_frames(noise, legs, rate_hz),),
    )


def wide_frames(noise: np.random.Generator, legs: int, rate_hz: int) -> WideFrames:
    """Return one frame of every leg at a higher rate."""
    size = (legs, rate_hz // 50)
    spoken, heard = (noise.integers(-9000, 9000, size).astype(np.int16) for _ in range(2))
    return WideFrames(rate_hz, tuple(range(legs)), spoken, heard)


def one_run(legs: int, frames: int, directory: Path, rate_hz: int = NARROW_HZ) -> float:
    """Return the seconds that so many frames took."""
    writer = _Driven()
    keys = Recipients.of(bytes(32))
    for call in range(legs // PER_CALL):
        writer.start(
            call,
            directory / str(call),
            conversation_id=str(call),
            keys=keys,
            metadata={},
            wall_clock=lambda: 0.0,
        )
        for leg in range(PER_CALL * call, PER_CALL * (call + 1)):
            writer.add_leg(call, leg, f"leg{leg}", "customer", "PCMU", 0, rate_hz)
    writer.look(0.0)
    spent = 0.0
    for first in range(-TOGETHER, frames, TOGETHER):  # the first round opens files
        for frame in range(first, first + TOGETHER):
            writer.put_block(block(legs, frame + TOGETHER, rate_hz))
        began = process_time()
        writer.look((first + 2 * TOGETHER) * FRAME_US / 1e6)
        spent += process_time() - began if first >= 0 else 0.0
    writer.close()
    writer.look(0.0)
    return spent


def protect_only(frames: int) -> float:
    """Return the seconds that libsrtp takes for one leg's packets of so many frames."""
    session = SrtpSession.sender(MasterKey.generate())
    rest = bytes(8 + 2 * FRAME)
    packets = [b"\x80\x60" + number.to_bytes(2, "big") + rest for number in range(frames)]
    began = process_time()
    for packet in packets:
        session.protect(packet)
    return 2 * (process_time() - began)


def run(arguments: list[str]) -> Result:
    """Measure, with the median of the runs."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks recorder")
    parser.add_argument("--legs", type=int, default=180)
    parser.add_argument("--frames", type=int, default=96, help="ptimes in each run")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--rate-hz", type=int, choices=RATES_HZ, default=NARROW_HZ)
    options = parser.parse_args(arguments)
    if options.legs < PER_CALL or options.runs < 1 or options.frames < 1:
        parser.error(f"give at least {PER_CALL} legs, one frame and one run")
    legs = options.legs - options.legs % PER_CALL
    options.frames -= options.frames % -TOGETHER
    each = 1e6 / (legs * options.frames)
    found = []
    for _ in range(options.runs):
        with tempfile.TemporaryDirectory() as directory:
            found.append(one_run(legs, options.frames, Path(directory), options.rate_hz) * each)
    floors = [protect_only(2000) * 1e6 / 2000 for _ in range(options.runs)]
    return Result(
        benchmark="recorder",
        unit="us per leg and frame",
        runs=tuple(found),
        floor=median(floors),
        details={"legs": legs, "legs_that_fill_a_core": int(FRAME_US / median(found))},
    )
