"""Does a capture agree with itself?  What went in, mixed again, must give what came out.

The `.in` tracks hold exactly what the mixer consumed and the `events` track every matrix that took
effect, at its sample.  The mixer's arithmetic is exact, so replaying them through the same bridge
gives every `.heard` packet bit for bit, on any machine.  A packet that differs was not sent by the
call that this capture claims to be.

Of a wideband leg this is about its rows of 8 kHz, ``.in.8k`` and ``.heard.8k``: they prove what
others heard of it at 8 kHz, and who was in its mix.  What the capture has at the leg's own rate is
not mixed again.

Frames that were mixed from something that is not recorded, an announcement for example, can't be
replayed; they are counted apart.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict, deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import RecordingError
from .mixer import g711
from .mixer.bridge import Bridge
from .mixer.commands import UNITY, SetMatrix
from .mixer.gains import coefficients_of_frame, mix, mix_ramp, to_samples
from .mixer.limiter import FORGETS, limit
from .recorder.keys import Recipients
from .recorder.reader import read_capture, read_facts
from .recorder.track import CLOCK_HZ, Kind

FRAME = 160
Linear = NDArray[np.int16]


@dataclass(slots=True)
class ReplayReport:
    """What a replay found; frames of all listeners together."""

    equal: int = 0
    different: int = 0
    unrecorded: int = 0  # mixed from something that has no track, or across a gap
    unsettled: int = 0  # differ while the first matrix may still have been ramping in
    seconds_equal: int = 0  # SHA-256 of the mixed frames before encoding
    seconds_different: int = 0
    differences: list[str] = field(default_factory=list)  # the first few

    @property
    def is_consistent(self) -> bool:
        """Whether nothing differs, and something was compared."""
        return not self.different and not self.seconds_different and self.equal > 0

    @property
    def lines(self) -> list[str]:
        """The report as text."""
        word = "CONSISTENT" if self.is_consistent else "INCONSISTENT"
        text = [
            f"{word}: {self.equal} frames replayed bit for bit, {self.different} differ, "
            f"{self.unrecorded} have unrecorded parts, {self.unsettled} unsettled at the start; "
            f"{self.seconds_equal} hashes agree, {self.seconds_different} do not"
        ]
        return text + [f"  {difference}" for difference in self.differences]


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
            continue  # of a wide leg there are rows of 8 kHz as well
        if track.kind in (Kind.SPOKEN, Kind.SPOKEN_8K):
            spoken = np.frombuffer(packet.payload, ">i2").astype(np.int16)
            run.spoken[record.sample][seat] = spoken
        else:
            run.heard[record.sample][seat] = (packet.payload, packet.payload_type)
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
        moves = _moves(facts)
        self._bridges = [
            _ReplayedBridge(number, found, moves[number])
            for number, found in _matrices(facts).items()
        ]
        self._report = ReplayReport()
        # (seat, second): hash, frames; None when a frame of it could not be replayed.
        self._seconds: dict[tuple[int, int], tuple[Any, int] | None] = {}

    def run(self) -> ReplayReport:
        for sample in sorted(self.spoken):
            spoken = self.spoken[sample]
            mixed: dict[int, Linear | None] = {}
            unsettled: set[int] = set()
            for bridge in self._bridges:
                if not bridge.ticks_at(sample, spoken):
                    continue
                part = bridge.mix(sample, spoken)
                mixed.update(part)
                unsettled.update(seat for seat in part if bridge.is_unsettled(sample, seat))
            for seat, (payload, law) in self.heard.get(sample, {}).items():
                # A leg in no bridge hears silence.
                frame = mixed[seat] if seat in mixed else np.zeros(FRAME, np.int16)
                self._compare(sample, seat, payload, law, frame, seat in unsettled)
        self._compare_hashes()
        return self._report

    def _compare(
        self,
        sample: int,
        seat: int,
        payload: bytes,
        law: int,
        frame: Linear | None,
        unsettled: bool,
    ) -> None:
        report = self._report
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
                self._report.seconds_equal += 1
            else:
                self._report.seconds_different += 1


class _ReplayedBridge:
    """The mixer's own bridge, driven by the matrix facts of one number."""

    def __init__(
        self, number: int, facts: list[dict[str, Any]], moves: deque[tuple[int, int]]
    ) -> None:
        self._bridge = Bridge(number, 0)
        self._moves = moves
        self._matrices, self._unsettled = _in_order(facts)
        self._next = 0
        self._ticked: int | None = None
        self._limiter: dict[int, int] = {}  # seat -> Q15 gain
        self._unsure: dict[int, int] = {}  # seat -> sample until which that gain may be another

    def ticks_at(self, sample: int, spoken: dict[int, Linear]) -> bool:
        """Whether the frames of this sample are of this bridge's phase."""
        self._take_in_force(sample)
        while self._moves and self._moves[0][0] <= sample:
            self._take_move(*self._moves.popleft())
        if self._ticked is not None and (sample - self._ticked) % FRAME:
            return False
        coming = set(self._bridge.seats)
        if self._next < len(self._matrices) and self._matrices[self._next]["sample"] <= sample:
            coming.update(self._matrices[self._next]["seats"])
        return bool(coming & spoken.keys())

    def is_unsettled(self, sample: int, seat: int) -> bool:
        """Whether a matrix told of as in force may still have been on its way, or a limiter."""
        if sample < self._unsure.get(seat, 0):
            return True
        return any(sample in window for window in self._unsettled)

    def mix(self, sample: int, spoken: dict[int, Linear]) -> dict[int, Linear | None]:
        """Return what each seat hears; None where something is in it that is not here."""
        self._miss_until(sample)
        self._begin(sample)
        self._ticked = sample
        bridge = self._bridge
        silence = np.zeros(FRAME, np.int16)
        talk = np.array([spoken.get(seat, silence) for seat in bridge.seats], np.float64)
        contributors = bridge.contributors()
        result: dict[int, Linear | None] = {}
        if bridge.seats:
            heard = np.zeros((len(bridge.seats), FRAME), np.int16)
            whole = [
                all(talker in spoken for talker in contributors[seat]) for seat in bridge.seats
            ]
            exact = self._mix(talk)
            if bridge.limited:
                self._limit(exact, whole, sample)
            to_samples(exact, heard)
            for row, seat in enumerate(bridge.seats):
                result[seat] = heard[row] if whole[row] else None
        self._advance()
        return result

    def _limit(self, exact: NDArray[np.float64], whole: list[bool], sample: int) -> None:
        """Limit a frame as the mixer did, from where it was; a gain that is not known, from 1.0."""
        seats = self._bridge.seats
        gains = limit(exact, np.array([self._limiter.get(seat, UNITY) for seat in seats], np.int64))
        self._limiter = dict(zip(seats, gains.tolist(), strict=True))
        for seat, is_whole in zip(seats, whole, strict=True):
            if not is_whole:
                self._unsure[seat] = sample + (FORGETS + 1) * FRAME

    def _take_move(self, sample: int, last: int) -> None:
        """Take a new time of the ticks: after the one at ``last`` comes the one at ``sample``."""
        if self._ticked is not None:
            self._miss_until(last + FRAME)
            self._ticked = sample - FRAME

    def _miss_until(self, sample: int) -> None:
        """Ticks that were lost in a gap moved a ramp on all the same."""
        if self._ticked is not None:
            for tick in range(self._ticked + FRAME, sample, FRAME):
                self._begin(tick)
                self._advance()
                if self._bridge.limited:
                    sure = tick + (FORGETS + 1) * FRAME
                    self._unsure |= dict.fromkeys(self._bridge.seats, sure)

    def _mix(self, talk: NDArray[np.float64]) -> NDArray[np.float64]:
        bridge, ramp = self._bridge, self._bridge.ramp
        if ramp is None:
            return mix(talk, bridge.gains)
        coefficients = coefficients_of_frame(ramp.ramp_ms, ramp.position, FRAME)
        return mix_ramp(talk, bridge.gains, ramp.targets, coefficients)

    def _take_in_force(self, sample: int) -> None:
        """Take a matrix that was in force when the recording began: it does not ramp in."""
        if self._next == len(self._matrices):
            return
        matrix = self._matrices[self._next]
        if matrix.get("in_force") and matrix["sample"] <= sample:
            self._next += 1
            self._bridge.settle()
            self._bridge.seats = tuple(matrix["seats"])
            self._bridge.gains = np.array(matrix["gains"], np.float64)
            self._bridge.limited = bool(matrix.get("limited"))

    def _begin(self, sample: int) -> None:
        """Take the newest matrix that took effect by this tick, and who left without one."""
        while self._next < len(self._matrices) and self._matrices[self._next]["sample"] <= sample:
            matrix = self._matrices[self._next]
            if matrix.get("in_force"):
                self._take_in_force(sample)
                continue
            self._next += 1
            if matrix["event"] == "leaving":
                self._bridge.leaving.update(matrix["seats"])
                self._bridge.begin(leave_only=True)
                continue
            self._bridge.pending = SetMatrix(
                bridge=self._bridge.number,
                seats=tuple(matrix["seats"]),
                gains=tuple(tuple(row) for row in matrix["gains"]),
                ramp_ms=int(matrix["ramp_ms"]),
                limited=bool(matrix.get("limited")),
            )
        if self._bridge.pending is not None:
            self._bridge.begin(leave_only=False)

    def _advance(self) -> None:
        if self._bridge.advance(FRAME):
            for seat in self._bridge.settle():
                self._limiter.pop(seat, None)


def _matrices(facts: list[dict[str, Any]]) -> dict[int, list[dict[str, Any]]]:
    """Return the matrices of each bridge and, in between, who left before a matrix said so."""
    found: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for fact in facts:
        bridge = int(fact.get("bridge", -1))
        if fact["event"] == "matrix" or (fact["event"] == "leaving" and bridge in found):
            found[bridge].append(fact)
    return found


def _moves(facts: list[dict[str, Any]]) -> dict[int, deque[tuple[int, int]]]:
    """Return when the ticks of each bridge moved: the first tick, and the last one before."""
    found: dict[int, deque[tuple[int, int]]] = defaultdict(deque)
    for fact in facts:
        if fact["event"] == "moved":
            sample = int(fact["sample"])
            found[int(fact["bridge"])].append((sample, sample - int(fact["after"])))
    return found


def _in_order(facts: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[range]]:
    """Return the facts of one bridge by sample, and when its matrix was not settled.

    A recording that begins in mid-call tells the newest matrix as in force. It may still ramp then,
    or wait behind others; those that waited are told when they are in, perhaps at a sample before.
    Of several facts at one sample the last counts.
    """
    kept: dict[int, dict[str, Any]] = {}
    unsettled: list[range] = []
    begun, waiting = -1, 0
    for fact in facts:
        sample = int(fact["sample"])
        settled = sample + 8 * int(fact.get("ramp_ms", 0)) + 2 * FRAME
        if fact.get("limited") and fact.get("in_force"):
            settled += (FORGETS + 1) * FRAME  # where its gains were is not told
        if fact.get("in_force"):
            begun, waiting = sample, int(fact["waiting"])
            unsettled.append(range(begun, settled))
        elif fact["event"] == "matrix" and waiting:
            waiting -= 1
            unsettled[-1] = range(begun, max(settled, unsettled[-1].stop))
        elif fact["event"] == "matrix" and sample == begun and unsettled:
            # Newer than what was in force, and in at the same tick: from what was there before.
            unsettled[-1] = range(begun, max(settled, unsettled[-1].stop))
            kept[sample] = fact
        if sample > begun or fact.get("in_force"):
            kept[sample] = fact
    return [kept[sample] for sample in sorted(kept)], unsettled
