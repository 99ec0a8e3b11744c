"""Packets for listeners whose codec is not G.711: encoded, for dear codecs beside the tick."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..audio.coders import Encoder
from .layout import Layout
from .packetise import Packetiser
from .rows import Rows
from .wide import Party, WideLegs
from .wide_leg import WideLeg
from .wide_mix import WideMix

Linear = NDArray[np.int16]
Payloads = list[bytes]
Packets = list[tuple[int, bytes, bool]]
Work = list[tuple[Encoder, Linear]]
DEAR = frozenset({"OPUS"})  # encoded where the tick does not wait for it
LANES = 2  # side by side; a leg's frames stay in one
PATIENCE_MS = 60  # so far behind, encoders hold up the tick: else frames would pile up


class Promise(Protocol):
    """A result that may be there later."""

    def done(self) -> bool:
        """Whether it is there."""

    def result(self) -> Any:
        """Return it, waiting for it where it is not."""


# ``(lane, function, argument)``: jobs of one lane are done in order.
Workers = Callable[[int, Callable[[Work], list[Payloads]], Work], Promise]


def encode_all(work: Work) -> list[Payloads]:
    """Encode a frame each for some legs."""
    return [encoder.encode(frame) for encoder, frame in work]


@dataclass(slots=True)
class _Job:
    """Frames that are being encoded."""

    lane: int
    until: int  # the beat from which they are waited for
    rows: list[int]
    legs: list[WideLeg]
    timestamps: list[int]  # of the media clock
    promise: Promise


class WideSend:
    """Encodes and packetises for listeners whose codec is not G.711.

    Parameters
    ----------
    workers
        Encodes for the dear codecs beside the tick; their packets leave with the next beat, or the
        first one that finds them done. None: everything is encoded at once.

    Attributes
    ----------
    heard : list of (legs, frame) int16 ndarray or None
        What the parties of the last frame's layout heard before encoding; None for one of 8 kHz.
    """

    def __init__(
        self, rows: Rows, legs: WideLegs, packetiser: Packetiser, workers: Workers | None
    ) -> None:
        self._beat = 0
        self._patience = packetiser.beats(PATIENCE_MS)
        self._rows = rows
        self._legs = legs
        self._packetiser = packetiser
        self._workers = workers
        self._mix = WideMix(rows, legs)
        self._coding: list[_Job] = []
        self.heard: list[Linear | None] = []

    def forget(self, row: int) -> None:
        """Drop what is known of a row that is given back."""
        self._mix.forget(row)

    def send(
        self, layout: Layout, spoken: Linear, narrow: Linear, sent: NDArray[np.bool_]
    ) -> Packets:
        """Mix and encode a frame; return the packets that are ready, and older ones.

        Parameters
        ----------
        spoken, narrow : (n, 160) int16 ndarray
            What rows say, and what they hear at 8 kHz.
        sent : (n,) bool ndarray
            Who gets this frame's audio.
        """
        packets = self.collect()
        if not layout.wide.size:
            return packets
        self.heard = self._mix.mix(layout, spoken)
        for party, frames in zip(self._legs.parties(layout), self.heard, strict=True):
            which = np.flatnonzero(sent[party.places]).tolist()
            if which:
                own = narrow[party.places] if frames is None else frames
                packets += self._encode(party, own, which)
        return packets

    def _encode(self, party: Party, frames: Linear, which: list[int]) -> Packets:
        """Encode the frames of some legs of a party; return the packets that are ready."""
        times = self._rows.timestamp_out[party.rows].tolist()
        rows = party.rows.tolist()
        lanes: dict[int, list[int]] = {}
        plain: list[int] = []
        others: list[int] = []
        for number in which:
            leg = party.legs[number]
            if leg.is_plain:
                plain.append(number)
            elif self._workers is not None and leg.codec.encoding in DEAR:
                lanes.setdefault(rows[number] % LANES, []).append(number)
            else:
                others.append(number)
        for lane, numbers in lanes.items():
            self._begin(lane, party, numbers, rows, times, frames)
        payloads = encode_all([(party.legs[n].encoder, frames[n]) for n in others])
        if plain:
            payloads += _octets([party.legs[n] for n in plain], frames[plain])
        done = others + plain
        return self._packets(
            [rows[n] for n in done],
            [party.legs[n] for n in done],
            [times[n] for n in done],
            payloads,
        )

    def _begin(
        self,
        lane: int,
        party: Party,
        numbers: list[int],
        rows: list[int],
        times: list[int],
        frames: Linear,
    ) -> None:
        """Give some frames to the workers."""
        assert self._workers is not None
        legs = [party.legs[n] for n in numbers]
        work = [(leg.encoder, frames[n]) for leg, n in zip(legs, numbers, strict=True)]
        promise = self._workers(lane, encode_all, work)
        own = [rows[n] for n in numbers], legs, [times[n] for n in numbers]
        self._coding.append(_Job(lane, self._beat + self._patience, *own, promise))

    def collect(self) -> Packets:
        """Return the packets of frames that the workers have done; called once a beat."""
        self._beat += 1
        if not self._coding:
            return []
        jobs, self._coding = self._coding, []
        packets: Packets = []
        behind: set[int] = set()
        for job in jobs:
            late = self._beat >= job.until
            if job.lane in behind or not (late or job.promise.done()):
                behind.add(job.lane)  # what comes after in the lane is for the same legs
                self._coding.append(job)
                continue
            payloads = job.promise.result()
            # The rest has closed, or has another codec.
            live = [n for n, row in enumerate(job.rows) if self._legs.get(row) is job.legs[n]]
            packets += self._packets(
                [job.rows[n] for n in live],
                [job.legs[n] for n in live],
                [job.timestamps[n] for n in live],
                [payloads[n] for n in live],
            )
        return packets

    def _packets(
        self, rows: list[int], legs: list[WideLeg], times: list[int], payloads: list[Payloads]
    ) -> Packets:
        """Put headers before payloads: the first one of each leg, then the second ones."""
        for leg, own in zip(legs, payloads, strict=True):
            if not own:
                leg.paused = True
        packets: Packets = []
        place = 0
        while found := [n for n, own in enumerate(payloads) if len(own) > place]:
            stamps, paused = [], []
            for n in found:
                codec = legs[n].codec
                ticks = place * codec.packet_ms * codec.clock_hz // 1000
                stamps.append(times[n] * codec.scale + ticks)
                paused.append(legs[n].paused)
                legs[n].paused = False
            written = self._packetiser.some(
                np.array([rows[n] for n in found], np.int64),
                [payloads[n][place] for n in found],
                np.array(stamps, np.int64),
                np.array(paused),
            )
            packets += zip((rows[n] for n in found), written, (False,) * len(found), strict=True)
            place += 1
        return packets


def _octets(legs: list[WideLeg], frames: Linear) -> list[Payloads]:
    """Encode frames of L16 (RFC 3551 section 4.5.11)."""
    octets = frames.astype(">i2").tobytes()
    size = 2 * frames.shape[1]
    found: list[Payloads] = []
    for number, leg in enumerate(legs):
        begin, step = number * size, size * leg.codec.packet_ms // 20
        found.append([octets[at : at + step] for at in range(begin, begin + size, step)])
    return found
