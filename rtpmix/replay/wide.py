"""What wide legs heard at their own rate, mixed again from what everybody said.

Talkers of the listener's rate are in its mix as they were recorded; others were resampled, by
filters that remember the frame before. Where that frame is not in the capture, the begin of the
mix can't be known, and it is compared from where the filters forget.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from ..audio.resample import resampler
from ..mixer.bridge import Bridge
from ..mixer.commands import UNITY
from ..mixer.gains import coefficients_of_frame, mix, mix_ramp, to_samples
from ..mixer.limiter import FORGETS, limit
from ..recorder.reader import Record
from ..recorder.track import CLOCK_HZ, Kind
from .report import ReplayReport

FRAME = 160
AHEAD = 2 * CLOCK_HZ  # samples: records of one moment are no farther apart
Linear = NDArray[np.int16]
Exact = NDArray[np.float64]


class WideWindow:
    """The frames of wide legs, read as far as they are wanted.

    Parameters
    ----------
    records
        Of the whole capture, in the order written.
    seats
        Of legs, by name.
    """

    def __init__(self, records: Iterator[Record], seats: Mapping[str, int]) -> None:
        self._records = records
        self._seats = seats
        self._latest = -1
        self._begun: dict[str, tuple[int, bytes]] = {}  # frames that are not whole, by track
        self._frames: dict[int, tuple[dict[int, Linear], dict[int, Linear]]] = {}

    def at(self, sample: int) -> tuple[dict[int, Linear], dict[int, Linear]]:
        """Return what was said and heard in the frame that begins at a sample, by seat."""
        while self._latest < sample + AHEAD:
            record = next(self._records, None)
            if record is None:
                break
            self._take(record)
        return self._frames.pop(sample, ({}, {}))

    def _take(self, record: Record) -> None:
        track, packet = record.track, record.packet
        if track is None or packet is None or track.leg is None:
            return
        self._latest = max(self._latest, record.sample)
        if track.rate_hz == CLOCK_HZ:
            return
        first, octets = self._begun.pop(track.name, (record.sample, b""))
        if first + track.duration(len(octets)) != record.sample:
            first, octets = record.sample, b""
        octets += packet.payload
        if track.duration(len(octets)) < FRAME:
            self._begun[track.name] = first, octets
            return
        said, heard = self._frames.setdefault(first, ({}, {}))
        side = said if track.kind is Kind.SPOKEN else heard
        side[self._seats[track.leg]] = np.frombuffer(octets, ">i2").astype(np.int16)


class WideMixes:
    """Mixes for wide listeners, tick by tick: `begin`, `mix` for each bridge, `end`.

    Parameters
    ----------
    rates
        Of the legs that are recorded at a higher rate than 8 kHz, by seat.
    resampled
        By seat the sample from which on its codec had another rate: what others heard of it, and
        the filters behind what it heard, are not in the capture then.
    report
        Where it is counted.
    """

    def __init__(
        self,
        rates: Mapping[int, int],
        resampled: Mapping[int, int],
        window: WideWindow,
        report: ReplayReport,
    ) -> None:
        self._rates = rates
        self._resampled = resampled
        self._window = window
        self._report = report
        self._sample = 0
        self._narrow: dict[int, Linear] = {}  # said in this tick, by seat
        self._said: dict[int, Linear] = {}
        self._heard: dict[int, Linear] = {}
        # By bridge, since a leg that comes into one may have been in another engine until then:
        # what was resampled last, for seat and rate, and Q15 gains of seats; and the sample.
        self._past: dict[tuple[int, int, int], tuple[int, Linear]] = {}
        self._limiter: dict[tuple[int, int], tuple[int, int]] = {}
        self._unsure: dict[int, int] = {}  # seat -> sample until which that gain may be another

    def begin(self, sample: int, spoken: dict[int, Linear]) -> None:
        """Begin a tick; ``spoken``: what everybody said at 8 kHz."""
        self._sample, self._narrow = sample, spoken
        self._said, self._heard = self._window.at(sample)

    def end(self) -> None:
        """End a tick: who was in no bridge, or hears nobody, heard silence."""
        for seat, heard in self._heard.items():
            self._count(seat, np.zeros_like(heard), 0, False)

    def mix(self, bridge: Bridge, unsettled: set[int]) -> None:
        """Compare what the wide legs of a bridge heard; ``unsettled``: whose matrix may be off."""
        by_rate: dict[int, list[int]] = {}
        for place, seat in enumerate(bridge.seats):
            if seat in self._rates:
                by_rate.setdefault(self._rates[seat], []).append(place)
        for rate_hz, places in by_rate.items():
            targets = bridge.gains if bridge.ramp is None else bridge.ramp.targets
            in_it = (bridge.gains[places] + targets[places]).any(axis=0)
            talk = {
                talker: self._frame(bridge.number, bridge.seats[talker], rate_hz)
                for talker in np.flatnonzero(in_it).tolist()
            }
            if not talk:
                continue  # silence, and no limiter moves
            for place in places:
                self._listen(bridge, place, rate_hz, talk, bridge.seats[place] in unsettled)

    def _frame(self, bridge: int, seat: int, rate_hz: int) -> tuple[Linear | None, int]:
        """Return what a seat says now at a rate, and how much of it an unknown past is in."""
        own = self._rates.get(seat, CLOCK_HZ)
        frame = (self._narrow if own == CLOCK_HZ else self._said).get(seat)
        if frame is None or frame.size != own // 50 or self._is_resampled(seat):
            return None, 0
        if own == rate_hz:
            return frame, 0
        to = resampler(own, rate_hz)
        key = bridge, seat, rate_hz
        at, before = self._past.get(key, (-1, np.zeros(own // 50, np.int16)))
        self._past[key] = self._sample, frame
        memory = 0 if at == self._sample - FRAME else -(-to.history * rate_hz // own)
        return to.process(frame[None], before[None, -to.history :])[0], memory

    def _listen(
        self,
        bridge: Bridge,
        place: int,
        rate_hz: int,
        talk: dict[int, tuple[Linear | None, int]],
        unsettled: bool,
    ) -> None:
        """Mix for one listener and compare."""
        seat, ramp = bridge.seats[place], bridge.ramp
        now = bridge.gains[place]
        then = now if ramp is None else ramp.targets[place]
        own = [talker for talker in talk if now[talker] or then[talker]]
        frames = [talk[talker][0] for talker in own]
        memory = max([talk[talker][1] for talker in own], default=0)
        whole = [frame for frame in frames if frame is not None]
        missing = len(whole) < len(frames) or self._is_resampled(seat)
        limited_at, gain = self._limiter.get((bridge.number, seat), (-1, UNITY))
        if bridge.limited and (memory or missing or limited_at != self._sample - FRAME):
            self._unsure[seat] = self._sample + (FORGETS + 1) * FRAME
        if missing:
            self._report.wide_unrecorded += self._heard.pop(seat, None) is not None
            return
        exact: Exact = np.zeros((1, rate_hz // 50))
        if own:
            spoken, gains = np.array(whole, np.float64), now[None, own]
            if ramp is None:
                exact = mix(spoken, gains)
            else:
                begin = ramp.position * (rate_hz // CLOCK_HZ)
                course = coefficients_of_frame(
                    ramp.ramp_ms, begin, rate_hz // 50, samples_a_ms=rate_hz // 1000
                )
                exact = mix_ramp(spoken, gains, then[None, own], course)
        if bridge.limited:
            after = limit(exact, np.array([gain], np.int64))
            self._limiter[bridge.number, seat] = self._sample, int(after[0])
        out = np.zeros(exact.shape, np.int16)
        to_samples(exact, out)
        self._heard_there(seat, out[0], memory, unsettled)

    def _is_resampled(self, seat: int) -> bool:
        return seat in self._resampled and self._sample >= self._resampled[seat]

    def _heard_there(self, seat: int, frame: Linear, memory: int, unsettled: bool) -> None:
        if seat in self._heard:
            self._count(seat, frame, memory, unsettled)
            del self._heard[seat]

    def _count(self, seat: int, frame: Linear, memory: int, unsettled: bool) -> None:
        heard, report = self._heard[seat], self._report
        unsettled = unsettled or self._sample < self._unsure.get(seat, 0)
        same_end = memory > 0 and np.array_equal(heard[memory:], frame[memory:])
        if heard.size != frame.size:
            report.wide_unrecorded += 1  # the seat has been recorded at two rates
        elif np.array_equal(heard, frame):
            report.wide_equal += 1
        elif unsettled or same_end:
            report.wide_unsettled += 1
        else:
            report.wide_different += 1
            if len(report.differences) < 10:
                rate_hz = self._rates[seat]
                report.differences.append(f"seat {seat} at sample {self._sample}, {rate_hz} Hz")
