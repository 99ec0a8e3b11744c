"""What listeners of a higher rate hear: their bridges once more, at their rate, for them alone.

Each talker is resampled to the rates that somebody hears it at, once a rate, and the rows of these
listeners in the matrix are applied to that. Nothing here reads or changes what is mixed at 8 kHz.

References
----------
RFC 3550 section 5.1; RFC 3551 section 4.1; RFC 7587 section 4.1
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..audio.codecs import NARROW_HZ
from ..audio.resample import resampler
from .bridge import Bridge
from .gains import UNITY, Exact, coefficients_of_frame, mix, mix_ramp, to_samples
from .layout import Layout, Room
from .limiter import limit
from .packetise import Packetiser
from .rows import FRAME, HEADER, Rows
from .wide import WideLeg, WideLegs

Linear = NDArray[np.int16]
Payloads = list[bytes]
DEAR = frozenset({"OPUS"})  # encoded where the tick does not wait for it


class Promise(Protocol):
    """A result that may be there later."""

    def done(self) -> bool:
        """Whether it is there."""

    def result(self) -> Any:
        """Return it, waiting for it where it is not."""


# ``(lane, function, argument)``: jobs of one lane are done in order.
Workers = Callable[[int, Callable[[Linear], Payloads], Linear], Promise]


@dataclass(slots=True)
class _Job:
    """A frame that is being encoded."""

    row: int
    leg: WideLeg
    timestamp: int  # of the media clock
    promise: Promise


class WideMix:
    """Mixes, encodes and packetises for listeners whose codec is not G.711.

    Parameters
    ----------
    workers
        Encodes for the dear codecs beside the tick; their packets leave one beat later. None:
        everything is encoded at once.
    """

    def __init__(
        self, rows: Rows, legs: WideLegs, packetiser: Packetiser, workers: Workers | None
    ) -> None:
        self._rows = rows
        self._legs = legs
        self._packetiser = packetiser
        self._workers = workers
        self._past: dict[tuple[int, int], Linear] = {}  # (row, rate): last samples at 8 kHz
        self._coding: list[_Job] = []

    # ----------------------------------------------------------------------------------- mixing

    def mix(self, layout: Layout, spoken: Linear) -> dict[int, Linear]:
        """Return, by place in the layout, this frame of each listener of a higher rate."""
        heard: dict[int, Linear] = {}
        for rate_hz in sorted({room.rate_hz for room in layout.rooms}):
            rooms = [room for room in layout.rooms if room.rate_hz == rate_hz]
            frames = self._talkers(layout, spoken, rooms, rate_hz)
            for room in rooms:
                self._mix_room(layout, room, frames, heard)
        return heard

    def _talkers(
        self, layout: Layout, spoken: Linear, rooms: list[Room], rate_hz: int
    ) -> dict[int, Linear]:
        """Return the frames, at this rate, of all who are heard at it, by place."""
        frames: dict[int, Linear] = {}
        narrow: list[int] = []
        for place in {place for room in rooms for place in room.talkers}:
            leg = self._legs.get(int(layout.rows[place]))
            if leg is None or leg.codec.rate_hz == NARROW_HZ:
                narrow.append(place)
            else:
                frames[place] = leg.at_rate(rate_hz)
        if narrow:
            frames |= self._resampled(layout, spoken, sorted(narrow), rate_hz)
        return frames

    def _resampled(
        self, layout: Layout, spoken: Linear, places: list[int], rate_hz: int
    ) -> dict[int, Linear]:
        """Resample talkers of 8 kHz, all at once."""
        up, past = resampler(NARROW_HZ, rate_hz), self._past
        keys = [(int(layout.rows[place]), rate_hz) for place in places]
        silence = np.zeros(up.history, np.int16)
        now = spoken[places]
        out = up.process(now, np.array([past.get(key, silence) for key in keys]))
        for key, last in zip(keys, now[:, -up.history :], strict=True):
            past[key] = last
        return dict(zip(places, out, strict=True))

    def _mix_room(
        self, layout: Layout, room: Room, frames: dict[int, Linear], heard: dict[int, Linear]
    ) -> None:
        bridge, places = room.bridge, room.listeners
        if not room.talkers:
            return  # silence
        talk = np.array([frames[place] for place in room.talkers], np.float64)
        exact = _gained(room, bridge, talk)
        if bridge.limited:
            self._limit(layout, places, exact)
        out = np.zeros(exact.shape, np.int16)
        clipped = to_samples(exact, out)
        if clipped is not None:
            self._rows.clipped[layout.rows[places]] += clipped
        heard |= dict(zip(places, out, strict=True))

    def _limit(self, layout: Layout, places: list[int], exact: Exact) -> None:
        legs = [self._legs.get(int(layout.rows[place])) for place in places]
        before = np.array([leg.limiter_gain if leg else UNITY for leg in legs], np.int64)
        for leg, gain in zip(legs, limit(exact, before).tolist(), strict=True):
            if leg is not None:
                leg.limiter_gain = gain

    # --------------------------------------------------------------------------------- sending

    def send(
        self, layout: Layout, spoken: Linear, narrow: Linear, sent: NDArray[np.bool_]
    ) -> list[tuple[int, bytes, bool]]:
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
        heard = self.mix(layout, spoken)
        for place in layout.wide[sent[layout.wide]].tolist():
            row = int(layout.rows[place])
            leg = self._legs.get(row)
            if leg is None:
                continue
            if leg.codec.rate_hz == NARROW_HZ:
                frame = narrow[place]
            else:
                frame = heard.get(place, np.zeros(leg.codec.frame, np.int16))
            timestamp = int(self._rows.timestamp_out[row])
            if self._workers is not None and leg.codec.encoding in DEAR:
                promise = self._workers(row, leg.encoder.encode, frame)
                self._coding.append(_Job(row, leg, timestamp, promise))
            else:
                packets += self._packets(row, leg, timestamp, leg.encoder.encode(frame))
        return packets

    def collect(self) -> list[tuple[int, bytes, bool]]:
        """Return the packets of frames that were given to the workers before."""
        if not self._coding:
            return []
        jobs, self._coding = self._coding, []
        packets: list[tuple[int, bytes, bool]] = []
        for job in jobs:
            if self._legs.get(job.row) is job.leg:  # else closed, or another codec
                payloads = job.promise.result()
                packets += self._packets(job.row, job.leg, job.timestamp, payloads)
        return packets

    def _packets(
        self, row: int, leg: WideLeg, timestamp: int, payloads: Payloads
    ) -> list[tuple[int, bytes, bool]]:
        rows, codec = self._rows, leg.codec
        if not payloads:
            leg.paused = True
        packets = []
        for number, payload in enumerate(payloads):
            marker = bool(rows.marker[row]) or leg.paused
            leg.paused = False
            at = timestamp * codec.scale + number * codec.packet_ms * codec.clock_hz // 1000
            packet = self._packetiser.one(
                row,
                payload_type=int(rows.payload_type[row]),
                payload=payload,
                timestamp=at,
                marker=marker,
            )
            assert len(packet) == HEADER + len(payload)
            packets.append((row, packet, False))
        return packets

    def forget(self, row: int) -> None:
        """Drop what is known of a row that is given back."""
        for key in [key for key in self._past if key[0] == row]:
            del self._past[key]


def _gained(room: Room, bridge: Bridge, talk: Exact) -> Exact:
    """Apply the listeners' part of a bridge's matrix, ramps included."""
    rows, columns = np.ix_(room.listeners_of, room.talkers_of)
    ramp = bridge.ramp
    if ramp is None:
        return mix(talk, bridge.gains[rows, columns])
    ratio = talk.shape[1] // FRAME
    coefficients = coefficients_of_frame(
        ramp.ramp_ms, ramp.position * ratio, talk.shape[1], samples_a_ms=room.rate_hz // 1000
    )
    return mix_ramp(talk, bridge.gains[rows, columns], ramp.targets[rows, columns], coefficients)
