"""The playout buffer of one leg, once more, as plainly as it can be said: a reference to test by.

Nothing is shared with `rtpmix.mixer`, not even the numbers. A stream is a dict of frames by slot,
time is counted in beats of 5 ms, and what is compared is which frame is played at which tick. The
sound is quiet enough for a frame of delay to be cut out whole, so no audio is needed here.

And scenarios as letters, one for each 20 ms of the sender:

``.`` a packet; ``L`` lost; ``D`` comes twice; ``R`` comes after the next; ``T`` comes 60 ms late;
``H`` the network holds everything back for 60 ms from here, ``W`` for 200 ms; ``_`` silence: no
packet, time passes; ``P`` the sender's clock stops for a second; ``S`` a new SSRC; ``Q`` sequence
numbers begin anew; ``J`` timestamps jump.
"""

from __future__ import annotations

from dataclasses import dataclass, field

BEATS = 4  # a frame: 20 ms
GRACE = 1  # beat that is left above what packets needed
FRAME = 160
RING = 16  # frames that can wait
NEVER = float("inf")


@dataclass(frozen=True)
class Packet:
    """As it arrives."""

    beat: int
    number: int  # of the frame, to know it by
    sequence: int
    timestamp: int
    ssrc: int


@dataclass
class Oracle:
    """One leg's buffer; ``phase`` is the beat of each 20 ms at which it is mixed."""

    phase: int
    counts: dict[str, int] = field(
        default_factory=lambda: dict.fromkeys(
            ("received", "played", "late", "duplicate", "reordered", "dropped", "trimmed",
             "stretched"), 0
        )
    )  # fmt: skip
    # The stream
    ssrc: int | None = None
    highest: int = 0
    came: set[int] = field(default_factory=set)
    newest_timestamp: int = 0
    heard_at: float = -NEVER
    doubt: tuple[int, int] | None = None
    # The timeline: slot 0 is played at the first tick from `origin` on
    origin: int | None = None
    zero: int = 0  # its timestamp
    played: float = -NEVER  # slot
    waiting: dict[int, tuple[int, int]] = field(default_factory=dict)  # place: slot, frame
    run: int = 0  # frames that did not come
    # How late packets are, less their slot
    latest: float = -NEVER
    windows: list[float] = field(default_factory=list)
    late_at: float = -NEVER
    late_since: float = NEVER
    to_cut: int = 0
    waited: int = 0

    # ------------------------------------------------------------------------ a packet arrives

    def receive(self, packet: Packet) -> None:
        newest = self._in_sequence(packet)
        if newest is None:
            return
        self.counts["received"] += 1
        self.heard_at = packet.beat
        half = 1 << 31
        step = (packet.timestamp - self.newest_timestamp + half) % (1 << 32) - half
        timestamp = self.newest_timestamp + step
        if newest:
            in_a_row = {self.highest - 1, self.highest} <= self.came
            if step > FRAME and in_a_row and self.origin is not None:
                self._cut_in_silence((timestamp - self.zero) // FRAME, packet.beat)
            self.newest_timestamp = timestamp
            if step > FRAME and self.origin is not None and self._leaps(timestamp, packet.beat):
                self._anchor(timestamp, packet.beat)
        if not self._place(timestamp, packet, newest):
            self.counts["late"] += 1

    def _in_sequence(self, packet: Packet) -> bool | None:
        """Whether it is the newest; None: it does not count."""
        step = (packet.sequence - self.highest + 32768) % 65536 - 32768
        if packet.ssrc == self.ssrc and 0 < step < 3000:
            self.highest += step
            self.came.add(self.highest)
            self.doubt = None
            return True
        if packet.ssrc == self.ssrc and -64 < step <= 0:
            if self.highest + step in self.came:
                self.counts["duplicate"] += 1
                return None
            self.came.add(self.highest + step)
            self.counts["reordered"] += 1
            return False
        silent = packet.ssrc != self.ssrc and packet.beat - self.heard_at >= 5 * BEATS
        if not silent and self.doubt != (packet.ssrc, packet.sequence):
            self.doubt = packet.ssrc, (packet.sequence + 1) % 65536
            self.counts["dropped"] += 1
            return None
        self.doubt = None
        self.ssrc, self.highest, self.came = packet.ssrc, packet.sequence, {packet.sequence}
        self.newest_timestamp = packet.timestamp
        self.origin = None
        return True

    def _place(self, timestamp: int, packet: Packet, newest: bool) -> bool:
        beat = packet.beat
        if self.origin is None:
            self._anchor(timestamp, beat)
        slot = (timestamp - self.zero) // FRAME
        ahead = slot - self._next_slot(beat)
        fits = 0 <= ahead < RING
        if newest and not fits:
            self.late_since = min(self.late_since, beat)
            late_for_100_ms = beat - self.late_since >= 5 * BEATS
            if late_for_100_ms or self.run >= 5 or ahead < -50 or ahead >= 0:
                self._anchor(timestamp, beat)
                slot = ahead = 0
        elif ahead >= 0:
            self.late_since = NEVER
        transit = beat - slot * BEATS
        if newest and ahead < 0 and self._regain(slot, ahead, beat):
            ahead = 0
        if -4 <= ahead < RING:
            self.latest = max(self.latest, transit)
        if not 0 <= ahead < RING:
            return False
        self.waiting[slot % RING] = slot, packet.number
        return True

    def _leaps(self, timestamp: int, beat: int) -> bool:
        """Whether 200 ms and more of nothing, or nearly, would have to pass before it is due."""
        slot, due = (timestamp - self.zero) // FRAME, self._next_slot(beat)
        between = [held for held, _ in self.waiting.values() if due <= held < slot]
        return slot - due >= 10 and len(between) <= 2

    def _anchor(self, timestamp: int, beat: int) -> None:
        self.origin, self.zero, self.played = beat, timestamp, -NEVER
        self.waiting, self.windows = {}, []
        self.latest = self.late_at = -NEVER
        self.late_since, self.to_cut = NEVER, 0

    def _next_slot(self, beat: int) -> int:
        """The first slot for which a packet is not too late."""
        assert self.origin is not None
        tick = beat + (self.phase - beat) % BEATS
        due = (tick - self.origin) // BEATS
        return int(max(due, self.played + 1))

    @property
    def _start(self) -> int:
        """The beat at which slot 0 was due."""
        assert self.origin is not None
        return self.origin + (self.phase - self.origin) % BEATS

    def _needed(self, *more: float) -> float:
        """The second highest of the last 8 s."""
        known = sorted([*self.windows, *more, -NEVER, -NEVER])
        return known[-2]

    def _regain(self, slot: int, ahead: int, beat: int) -> bool:
        """Whether a late packet is played all the same, and becomes delay."""
        again = beat - self.late_at
        if again >= BEATS:
            self.late_at = beat
        self.latest = max(self.latest, beat - slot * BEATS)
        often = BEATS <= again <= 25 * BEATS
        slow = self._needed(self.latest) + GRACE > self._start
        depth = self._start - ahead * BEATS - min(self.windows, default=NEVER)
        if not (often or slow) or ahead < -4 or depth > 10 * BEATS:
            return False
        assert self.origin is not None
        self.origin -= ahead * BEATS
        self.counts["stretched"] -= ahead
        self.played = slot - 1
        self.late_since, self.to_cut = NEVER, 0
        return True

    def _cut_in_silence(self, slot: int, beat: int) -> None:
        cut = min(self.to_cut, slot - self._next_slot(beat))
        if cut > 0:
            self._shorten(cut)

    def _shorten(self, frames: int) -> None:
        assert self.origin is not None
        self.origin -= frames * BEATS
        self.counts["trimmed"] += frames
        self.to_cut -= frames

    # ---------------------------------------------------------------------------- a beat passes

    def beat(self, beat: int) -> str | int | None:
        """Return what is played at this beat, the number of a frame or ``~``; None: no tick."""
        heard = self._tick(beat) if beat % BEATS == self.phase else None
        if beat % (250 // 5) == 0 and self.origin is not None and self.latest > -NEVER:
            self._end_window()
        return heard

    def _tick(self, beat: int) -> str | int:
        if self.origin is None:
            return "~"
        due = (beat - self.origin) // BEATS
        fresh = due > self.played
        self.played = max(due, self.played)
        slot, frame = self.waiting.get(due % RING, (None, 0))
        present = fresh and slot == due
        if present:
            self.run = 0
            self.counts["played"] += 1
        elif due >= 0:
            self.run += 1
        if self.to_cut > 0:
            self.waited += 1
            following, number = self.waiting.get((due + 1) % RING, (None, 0))
            if present and self.waited >= 3 and following == due + 1:
                self.played += 1
                self._shorten(1)
                self.counts["played"] += 1
                self.waited = 0
                return number
        return frame if present else "~"

    def _end_window(self) -> None:
        latest, start = self.latest, self._start
        self.latest = -NEVER
        self.windows = [*self.windows, latest][-32:]
        spare = (start - latest) // BEATS
        self.to_cut = int(max(0, min(spare, self.to_cut)))
        if len(self.windows) < 2:
            return
        needed = self._needed()
        if start - latest >= BEATS:
            excess = (start - needed - GRACE) // BEATS
            if len(self.windows) == 32:
                excess = max(excess, (start - max(self.windows)) // BEATS)
            kept = min(self.to_cut, (start - needed) // BEATS)
            self.to_cut = int(max(excess, kept, 0))
        if latest > start:
            frames = int(min(max(-(-(needed - start) // BEATS), 0), 4))
            assert self.origin is not None
            self.origin += frames * BEATS
            self.counts["stretched"] += frames


# --------------------------------------------------------------------------------- scenarios


def arrivals(story: str, jitter: list[int], *, first: int = 40) -> list[Packet]:
    """Return the packets of a story in the order in which they arrive.

    ``jitter`` has a delay in beats for each letter; packets that it lets overtake others do.
    """
    sequence, timestamp, ssrc = 65_500, (1 << 32) - 40 * FRAME, 5
    stalled, found = 0, []
    for number, (letter, delay) in enumerate(zip(story, jitter, strict=True)):
        at = first + number * BEATS + delay
        if letter == "S":
            ssrc, sequence, timestamp = ssrc + 1, sequence + 777, timestamp + 123_456_789
        if letter == "Q":
            sequence += 20_000
        if letter == "J":
            timestamp += 10_000_007
        if letter in "HW":
            stalled = at + {"H": 3, "W": 10}[letter] * BEATS
        if letter not in "_P":
            sequence += 1
        if letter in "R":
            at += BEATS + 1
        if letter == "T":
            at += 3 * BEATS
        at = max(at, stalled)
        wire = sequence % 65_536, timestamp % (1 << 32), ssrc
        if letter not in "L_P":
            found.append(Packet(at, number, *wire))
        if letter == "D":
            found.append(Packet(at + 2, number, *wire))
        timestamp += -49 * FRAME if letter == "P" else FRAME
    return sorted(found, key=lambda packet: packet.beat)
