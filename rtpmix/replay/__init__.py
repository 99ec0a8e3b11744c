"""Does a capture agree with itself?  What went in, mixed again, must give what came out.

The `.in` tracks hold exactly what the mixer consumed and the `events` track every matrix that took
effect, at its sample.  The mixer's arithmetic is exact, so replaying them through the same bridge
gives every `.heard` packet bit for bit, on any machine.  A packet that differs was not sent by the
call that this capture claims to be.

Of a wideband leg the verdict is about its rows of 8 kHz, ``.in.8k`` and ``.heard.8k``: they prove
what others heard of it at 8 kHz, and who was in its mix.  What it heard at its own rate is mixed
again as well (`wide`), as long as it and its talkers keep the rates at which they are recorded.

Frames that were mixed from something that is not recorded, an announcement for example, can't be
replayed; they are counted apart.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import RecordingError
from ..mixer import g711
from ..recorder.keys import Recipients
from ..recorder.reader import read_capture, read_facts
from ..recorder.track import CLOCK_HZ, Kind
from .bridge import FRAME, Linear, ReplayedBridge, matrices, moves
from .report import ReplayReport
from .wide import WideMixes, WideWindow

__all__ = ["ReplayReport", "replay"]


def replay(path: Path, keys: Recipients) -> ReplayReport:
    """Mix a capture again and compare.

    Raises
    ------
    RecordingError
        Not a capture, not for these keys, or a packet that does not authenticate.
    """
    facts = read_facts(path, keys)
    run = _Replay(facts)
    _, records = read_capture(path, keys)
    for record in records:
        track, packet = record.track, record.packet
        if track is None or packet is None or track.leg is None:
            continue
        seat = run.seats.get(track.leg)
        if seat is None:
            raise RecordingError(f"{path}: the events track does not name {track.leg}", path=path)
        if track.rate_hz != CLOCK_HZ:
            run.rates[seat] = track.rate_hz
            continue  # there are rows of 8 kHz as well
        if track.kind in (Kind.SPOKEN, Kind.SPOKEN_8K):
            spoken = np.frombuffer(packet.payload, ">i2").astype(np.int16)
            run.spoken[record.sample][seat] = spoken
        else:
            run.heard[record.sample][seat] = (packet.payload, packet.payload_type)
    if run.rates:
        _, records = read_capture(path, keys)
        window = WideWindow(records, run.seats)
        run.wide = WideMixes(run.rates, run.resampled, window, run.report)
    return run.run()


class _Replay:
    """One pass over the media clock."""

    def __init__(self, facts: list[dict[str, Any]]) -> None:
        self.seats: dict[str, int] = {
            fact["leg"]: fact["seat"] for fact in facts if fact["event"] == "leg_added"
        }
        self.spoken: dict[int, dict[int, Linear]] = defaultdict(dict)  # sample: seat: frame
        self.heard: dict[int, dict[int, tuple[bytes, int]]] = defaultdict(dict)
        self._hashes = [fact for fact in facts if fact["event"] == "heard_sha256"]
        moved = moves(facts)
        self._bridges = [
            ReplayedBridge(number, found, moved[number])
            for number, found in matrices(facts).items()
        ]
        self.report = ReplayReport()
        self.rates: dict[int, int] = {}  # seat: Hz, of wide legs
        self.resampled: dict[int, int] = {  # seat: the sample from which on its codec has another
            self.seats[fact["leg"]]: int(fact["sample"])
            for fact in facts
            if fact["event"] == "resampled"
        }
        self.wide: WideMixes | None = None
        # (seat, second): hash, frames; None when a frame of it could not be replayed.
        self._seconds: dict[tuple[int, int], tuple[Any, int] | None] = {}

    def run(self) -> ReplayReport:
        for sample in sorted(self.spoken):
            spoken = self.spoken[sample]
            mixed: dict[int, Linear | None] = {}
            unsettled: set[int] = set()
            if self.wide is not None:
                self.wide.begin(sample, spoken)
            for bridge in self._bridges:
                if not bridge.ticks_at(sample, spoken):
                    continue
                part = bridge.mix(sample, spoken, self.wide)
                mixed.update(part)
                unsettled.update(seat for seat in part if bridge.is_unsettled(sample, seat))
            for seat, (payload, law) in self.heard.get(sample, {}).items():
                # A leg in no bridge hears silence.
                frame = mixed[seat] if seat in mixed else np.zeros(FRAME, np.int16)
                self._compare(sample, seat, payload, law, frame, seat in unsettled)
            if self.wide is not None:
                self.wide.end()
        self._compare_hashes()
        return self.report

    def _compare(
        self,
        sample: int,
        seat: int,
        payload: bytes,
        law: int,
        frame: Linear | None,
        unsettled: bool,
    ) -> None:
        report = self.report
        if frame is None:
            report.unrecorded += 1
        elif g711.encode(frame, law).tobytes() == payload:
            report.equal += 1
        elif unsettled:
            report.unsettled += 1
            frame = None
        else:
            report.different += 1
            if len(report.differences) < 10:
                report.differences.append(f"seat {seat} at sample {sample}")
        self._hash(sample, seat, frame)

    def _hash(self, sample: int, seat: int, frame: Linear | None) -> None:
        place = (seat, sample // CLOCK_HZ)
        known = self._seconds.setdefault(place, (hashlib.sha256(), 0))
        if known is None or frame is None:
            self._seconds[place] = None
            return
        known[0].update(frame.astype("<i2").tobytes())
        self._seconds[place] = (known[0], known[1] + 1)

    def _compare_hashes(self) -> None:
        for fact in self._hashes:
            replayed = self._seconds.get((self.seats[fact["leg"]], fact["second"]))
            if replayed is None:
                continue
            digest, frames = replayed[0].hexdigest(), replayed[1]
            if (digest, frames) == (fact["sha256"], fact["frames"]):
                self.report.seconds_equal += 1
            else:
                self.report.seconds_different += 1
