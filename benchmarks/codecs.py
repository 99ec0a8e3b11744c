"""Microseconds a frame of 20 ms for each codec: decode, encode, resample; and of a leg in a mix.

``value`` is what a leg of the dearest codec costs an engine in a tick, its packet taken in and
decoded, mixed with another one of its kind and with a PCMU leg, encoded and sent; less what the
same bridge of PCMU alone costs. The coders are called in a bare loop, on speech-like noise.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from statistics import median
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from benchmarks.result import Result
from rtpmix.audio.codecs import CODECS, Codec
from rtpmix.audio.coders import decoder_of, encoder_of, unavailable
from rtpmix.audio.resample import RATES_HZ, resampler
from rtpmix.mixer.commands import OpenLeg, SetMatrix
from rtpmix.mixer.engine import Engine
from rtpmix.testing.phone_codec import Mouth

UNITY = 32768
Linear = NDArray[np.int16]


def noise(samples: int) -> Linear:
    """Return noise that swells and fades like syllables."""
    chance = np.random.default_rng(1)
    swell = 1500 * (1 + np.sin(np.arange(samples) * 25 / samples))
    sound = np.rint(chance.standard_normal(samples) * swell).clip(-32768, 32767)
    result: Linear = sound.astype(np.int16)
    return result


def timed(job: Callable[[], object], times: int) -> float:
    """Return the microseconds of one of many calls."""
    began = perf_counter()
    for _ in range(times):
        job()
    return (perf_counter() - began) * 1e6 / times


def coder_costs(codec: Codec, frames: int) -> dict[str, float]:
    """Return microseconds a frame to encode and to decode."""
    sound = noise(codec.frame * frames).reshape(frames, -1)
    encoder, decoder = encoder_of(codec, "useinbandfec=1"), decoder_of(codec)
    began = perf_counter()
    packets = [encoder.encode(frame) for frame in sound]
    middle = perf_counter()
    for payloads in packets:
        for payload in payloads:
            decoder.decode(payload)
    ended = perf_counter()
    each = 1e6 / frames
    return {"encode": (middle - began) * each, "decode": (ended - middle) * each}


def bridge_cost(codec: Codec, frames: int) -> float:
    """Return microseconds a tick of a bridge of two legs of a codec and one of PCMU."""
    kinds = (codec.name, codec.name, "PCMU")
    engine = Engine(phases=1)
    for leg, name in enumerate(kinds):
        number = CODECS[name].payload_type
        number = 96 if number is None else number
        engine.submit(
            OpenLeg(
                leg=leg,
                codec=name,
                payload_type=number,
                ssrc=leg,
                first_sequence=0,
                first_timestamp=0,
            )
        )
    gains = tuple(tuple(UNITY * (i != j) for j in range(3)) for i in range(3))
    engine.submit(SetMatrix(bridge=1, seats=(0, 1, 2), gains=gains))
    mouths = [Mouth(name, "useinbandfec=1") for name in kinds]
    sound = noise(160 * frames).reshape(frames, -1)
    spent, sequences = 0.0, [0, 0, 0]
    for frame in range(frames):
        coming = [mouth.say(sound[frame]) for mouth in mouths]
        for leg, payloads in enumerate(coming):
            scale = CODECS[kinds[leg]].scale
            number = CODECS[kinds[leg]].payload_type
            for offset, payload in payloads:
                stamp = (frame * 160 * scale + offset).to_bytes(4, "big")
                head = bytes((0x80, 96 if number is None else number))
                packet = head + sequences[leg].to_bytes(2, "big") + stamp
                packet += leg.to_bytes(4, "big") + payload
                sequences[leg] += 1
                row = engine.row_of(leg)
                assert row is not None
                began = perf_counter()
                engine.inbox.put(row, packet)
                engine.receive(engine.inbox.count)
                spent += perf_counter() - began
        began = perf_counter()
        engine.tick()
        spent += perf_counter() - began
        engine.take_events()
    return spent * 1e6 / frames


def run(arguments: list[str]) -> Result:
    """Measure every codec that is to be had, with the median of the runs."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks codecs")
    parser.add_argument("--frames", type=int, default=200, help="in each run")
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args(arguments)
    if options.frames < 1 or options.runs < 1:
        parser.error("give at least one frame and one run")
    codecs = [each for each in CODECS.values() if not each.is_g711 and not unavailable(each)]
    repeat = range(options.runs)
    costs: dict[str, dict[str, float]] = {}
    bridges: dict[str, list[float]] = {}
    plain = [bridge_cost(CODECS["PCMU"], options.frames) for _ in repeat]
    for codec in codecs:
        found = [coder_costs(codec, options.frames) for _ in repeat]
        bridges[codec.name] = [bridge_cost(codec, options.frames) for _ in repeat]
        costs[codec.name] = {
            name: round(median(one[name] for one in found), 1) for name in ("encode", "decode")
        } | {"leg": round((median(bridges[codec.name]) - median(plain)) / 2, 1)}
    resampling = {}
    for low, high in ((a, b) for a in RATES_HZ for b in RATES_HZ if a != b):
        one = resampler(low, high)
        sound, past = noise(low // 50)[None], np.zeros((1, one.history), np.int16)
        took = [timed(lambda: one.process(sound, past), options.frames) for _ in repeat]  # noqa: B023
        resampling[f"{low // 1000}-{high // 1000} kHz"] = round(median(took), 1)
    dearest = max(bridges, key=lambda name: median(bridges[name]))
    base = median(plain)
    return Result(
        benchmark="codecs",
        unit=f"us a tick that a leg of {dearest} costs more than PCMU, all in the tick",
        runs=tuple((each - base) / 2 for each in bridges[dearest]),
        details={"pcmu_bridge": round(base, 1), "codecs": costs, "resample": resampling},
    )
