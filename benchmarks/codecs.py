"""Microseconds a frame of 20 ms for each codec: decode, encode, resample; and of a leg in a mix.

``value`` is what a leg of the dearest codec costs an engine in a ptime, its packet taken in and
decoded, mixed with another one of its kind and with a PCMU leg, encoded and sent; less what a leg
of PCMU costs there. ``leg`` is the same for each codec, ``alone`` in a single bridge, and
``beside`` what of ``leg`` was not spent in the codec's own encoder and decoder. ``encode`` and
``decode`` are calls of those in a bare loop. All on speech-like noise, in processor time.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from statistics import median
from time import process_time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.result import Result
from rtpmix.audio.codecs import CODECS, NARROW_HZ, Codec
from rtpmix.audio.coders import decoder_of, encoder_of, unavailable
from rtpmix.audio.resample import RATES_HZ, Stream, resampler
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
    began = process_time()
    for _ in range(times):
        job()
    return (process_time() - began) * 1e6 / times


def coder_costs(codec: Codec, frames: int) -> dict[str, float]:
    """Return microseconds a frame to encode and to decode."""
    up = Stream(NARROW_HZ, codec.rate_hz)  # what the legs of the mix hear, too
    sound = [up.process(frame) for frame in noise(160 * frames).reshape(frames, -1)]
    encoder, decoder = encoder_of(codec, "useinbandfec=1"), decoder_of(codec)
    began = process_time()
    packets = [encoder.encode(frame) for frame in sound]
    middle = process_time()
    for payloads in packets:
        for payload in payloads:
            decoder.decode(payload)
    ended = process_time()
    each = 1e6 / frames
    return {"encode": (middle - began) * each, "decode": (ended - middle) * each}


def number_of(codec: Codec) -> int:
    """Return the payload type that the legs of a codec use."""
    return 96 if codec.payload_type is None else codec.payload_type


def opened(codec: Codec, bridges: int, phases: int) -> Engine:
    """Return an engine with bridges of two legs of a codec and one of PCMU."""
    engine = Engine(phases=phases)
    gains = tuple(tuple(UNITY * (i != j) for j in range(3)) for i in range(3))
    for leg in range(3 * bridges):
        own = CODECS["PCMU"] if leg % 3 == 2 else codec
        engine.submit(
            OpenLeg(
                leg=leg,
                codec=own.name,
                payload_type=number_of(own),
                ssrc=leg,
                first_sequence=0,
                first_timestamp=0,
            )
        )
    for bridge in range(bridges):
        seats = (3 * bridge, 3 * bridge + 1, 3 * bridge + 2)
        engine.submit(SetMatrix(bridge=bridge, seats=seats, gains=gains))
    return engine


def leg_packets(codec: Codec, leg: int, frames: int) -> list[list[bytes]]:
    """Return the packets of each frame of a leg."""
    mouth = Mouth(codec.name, "useinbandfec=1")
    found: list[list[bytes]] = []
    sequence = 0
    for frame, sound in enumerate(noise(160 * frames).reshape(frames, -1)):
        found.append([])
        for offset, payload in mouth.say(sound):
            stamp = (frame * 160 * codec.scale + offset).to_bytes(4, "big")
            head = bytes((0x80, number_of(codec))) + sequence.to_bytes(2, "big")
            found[-1].append(head + stamp + leg.to_bytes(4, "big") + payload)
            sequence += 1
    return found


class Coding:
    """Adds up the time inside the coders of an engine."""

    def __init__(self, engine: Engine) -> None:
        self.seconds = 0.0
        for leg in engine.legs():
            row = engine.row_of(leg)
            side = None if row is None else engine._wide.get(row)
            if side is not None:
                self._wrap(side.encoder, "encode")
                self._wrap(side._decoder, "decode_into")

    def _wrap(self, coder: Any, name: str) -> None:
        inner = getattr(coder, name)

        def timed(*args: Any) -> Any:
            began = process_time()
            result = inner(*args)
            self.seconds += process_time() - began
            return result

        setattr(coder, name, timed)


def tick_cost(codec: Codec, frames: int, bridges: int, phases: int) -> tuple[float, float]:
    """Return microseconds of a ptime of so many bridges, receiving included; those of coders."""
    engine = opened(codec, bridges, phases)
    coding = Coding(engine)
    says = {own: leg_packets(CODECS[own], 0, frames) for own in (codec.name, "PCMU")}
    rows = [engine.row_of(leg) for leg in range(3 * bridges)]
    spent = 0.0
    for frame in range(frames):
        kinds = [says["PCMU" if leg % 3 == 2 else codec.name][frame] for leg in range(3 * bridges)]
        for place in range(max(map(len, kinds))):  # one packet of a leg in a batch
            for leg, packets in enumerate(kinds):
                row = rows[leg]
                if place < len(packets) and row is not None:
                    packet = packets[place]
                    own = packet[:8] + leg.to_bytes(4, "big") + packet[12:]
                    engine.inbox.put(row, own)
            began = process_time()
            engine.receive(engine.inbox.count)
            spent += process_time() - began
        began = process_time()
        for _ in range(phases):
            engine.tick()
        spent += process_time() - began
        engine.take_events()
    return spent * 1e6 / frames, coding.seconds * 1e6 / frames


def run(arguments: list[str]) -> Result:
    """Measure every codec that is to be had, with the median of the runs."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks codecs")
    parser.add_argument("--frames", type=int, default=200, help="in each run")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--bridges", type=int, default=18, help="of two such legs and one of PCMU")
    parser.add_argument("--phases", type=int, default=4)
    options = parser.parse_args(arguments)
    if min(options.frames, options.runs, options.bridges) < 1:
        parser.error("give at least one frame, one run and one bridge")
    if options.phases not in (1, 2, 4, 5, 8, 10, 20):
        parser.error("phases divide 160 samples: 1, 2, 4, 5, 8, 10 or 20")
    codecs = [each for each in CODECS.values() if not each.is_g711 and not unavailable(each)]
    repeat, many = range(options.runs), options.bridges

    def dearer(codec: Codec, bridges: int) -> list[tuple[float, float]]:
        """Return what a leg costs more than PCMU, and its coders, in pairs of runs."""
        size, plain = (options.frames, bridges, options.phases), CODECS["PCMU"]
        pairs = [(tick_cost(codec, *size), tick_cost(plain, *size)) for _ in repeat]
        return [
            ((dear - cheap) / (2 * bridges), coding / (2 * bridges))
            for (dear, coding), (cheap, _) in pairs
        ]

    costs: dict[str, dict[str, float]] = {}
    found: dict[str, list[float]] = {}
    for codec in codecs:
        coding = [coder_costs(codec, options.frames) for _ in repeat]
        own = {name: median(one[name] for one in coding) for name in ("encode", "decode")}
        runs = dearer(codec, many)
        found[codec.name] = [leg for leg, _ in runs]
        own |= {"leg": median(found[codec.name]), "beside": median(leg - own for leg, own in runs)}
        own["alone"] = median(leg for leg, _ in dearer(codec, 1))
        costs[codec.name] = {name: round(value, 1) for name, value in own.items()}
    resampling = {}
    for low, high in ((a, b) for a in RATES_HZ for b in RATES_HZ if a != b):
        one = resampler(low, high)
        sound, past = noise(low // 50)[None], np.zeros((1, one.history), np.int16)
        took = [timed(lambda: one.process(sound, past), options.frames) for _ in repeat]  # noqa: B023
        resampling[f"{low // 1000}-{high // 1000} kHz"] = round(median(took), 1)
    dearest = max(found, key=lambda name: median(found[name]))
    return Result(
        benchmark="codecs",
        unit=f"us a ptime that a leg of {dearest} costs more than PCMU, all in the tick",
        runs=tuple(found[dearest]),
        details={"legs": 2 * many, "codecs": costs, "resample": resampling},
    )
