"""The media engine: commands and datagrams in, packets and events out, one beat at a time.

Theory of operation. A ptime (20 ms, 160 samples) is divided into *phases*; each bridge ticks on its
own phase, each beat is the tick of one of them. At a beat a host

1. hands over the commands that came (`submit`),
2. fills `inbox` and calls `receive`, some times over,
3. calls `tick`, sends what it returns, and takes `events` and `blocks` away.

Everything is arrays with one row a seat (`rows`), worked on by a fixed number of numpy calls a
tick. There is no clock: beat *k* is media sample ``k * 160 / phases``, and a host that is late is
late only; one that has slept too long says so with `skip`.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import UsageError
from . import figures, g711
from .boxes import Inbox, Outbox
from .bursts import count_gaps
from .comfort import ComfortIn, ComfortOut
from .commands import (
    Command,
    CommandRefused,
    LegClosed,
    LegParted,
    LegStats,
    MediaSeen,
    MixerEvent,
    Played,
)
from .conceal import conceal
from .desk import Desk
from .digits import Digits
from .gains import to_samples
from .layout import Layout
from .levels import Levels
from .moving import taken_out
from .packetise import Packetiser
from .placing import Placing
from .playout import Playout
from .receive import Receiver
from .recording import Copies
from .reports import Reports
from .rows import FRAME, Kind, Numbers, Rows
from .saying import say_digits
from .stream import Stream
from .switchboard import Switchboard
from .tap import TapBlock
from .timescale import TimeScale
from .watch import Watch
from .wide_send import WideSend, Workers

WATCH_MS = 100  # how often media timeouts are looked at
WINDOW_MS = 250  # of the playout buffer's search for delay that nobody needs
DRAIN_MS = 500  # after a stall: until what waited in the kernel has been read
CLOCK_HZ = 8000


class Engine:
    """Mixes every bridge of one media host.

    Parameters
    ----------
    phases
        Beats in a ptime: 1, 2, 4, 5, 8, 10 or 20.
    capacity
        Rows to begin with; more are made when they are used up.
    batch
        Datagrams that one `receive` takes.
    epoch
        Wall-clock time (seconds since 1970) of sample 0, for RTCP.
    source
        Randomness for the spacing of RTCP reports.
    workers
        Who encodes dear codecs beside the tick; None: the tick does.

    Attributes
    ----------
    inbox
        To be filled before `receive`.
    beat
        The number of the next `tick`.
    """

    def __init__(
        self,
        *,
        phases: int = 4,
        capacity: int = 64,
        batch: int = 512,
        epoch: float = 0.0,
        source: random.Random | None = None,
        workers: Workers | None = None,
    ) -> None:
        if phases not in (1, 2, 4, 5, 8, 10, 20):
            raise UsageError(f"{phases} phases don't divide a frame; give 1, 2, 4, 5, 8, 10, 20")
        self.phases = phases
        self.beat_samples = FRAME // phases
        self.beat = 0
        self.inbox = Inbox(batch)
        self.rows = Rows(capacity)
        self._events: list[MixerEvent] = []
        self._board = Switchboard(self.rows, phases, self._events)
        self._digits = Digits(self.rows, self._board, self._events)
        self._digits.now = lambda: self.sample
        self._playout = Playout(self.rows, phases)
        self._comfort_in = ComfortIn(self.rows, self._playout)
        self._stream = Stream(self.rows, self._playout, self._digits.take, self._comfort_in.take)
        self._receiver = Receiver(self.rows, self.inbox, self._playout, self._stream)
        self._packetiser = Packetiser(self.rows, phases)
        self._wide = self._playout.wide
        self._wide_send = WideSend(self.rows, self._wide, self._packetiser, workers)
        self._comfort_out = ComfortOut(self.rows, self._packetiser, self._playout)
        self._levels = Levels(self.rows, self._events, phases)
        self._copies = Copies(self.rows, self._board, self._events, self._wide)
        self._reports = Reports(
            self.rows,
            self._events,
            beat_samples=self.beat_samples,
            epoch=epoch,
            delay_ms=self._playout.delay_ms,
            seed=(source or random.Random(0)).getrandbits(64),
        )
        self._desk = Desk(
            rows=self.rows,
            board=self._board,
            playout=self._playout,
            packetiser=self._packetiser,
            digits=self._digits,
            copies=self._copies,
            reports=self._reports,
            comfort=self._comfort_out,
            levels=self._levels,
        )
        self._sending: list[Numbers] = [np.zeros(0, np.int64)] * phases  # places in the layout
        self._sent: list[NDArray[np.bool_]] = [np.zeros(0, np.bool_)] * phases
        self._watch_beats = self._playout.beats(WATCH_MS)
        self._watch = Watch(self.rows, self._playout, self._events)
        self._window_beats = self._playout.beats(WINDOW_MS)
        self._placing = Placing(self.rows, self._board, self._playout, self._events)
        self._timescale = TimeScale(self.rows, self._playout, self._decode)

    # ---------------------------------------------------------------------------------- in

    @property
    def sample(self) -> int:
        """The media position of the next tick."""
        return self.beat * self.beat_samples

    def submit(self, command: Command) -> None:
        """Take a command. What can't be done comes out as `CommandRefused`; nothing is raised."""
        why = self._desk.do(command, self.beat)
        if why is not None:
            self._events.append(CommandRefused(self.sample, command, why))

    @property
    def rests(self) -> bool:
        """True when nobody is mixed in the next tick, and nothing changes in it."""
        return self._board.rests(self.beat % self.phases)

    @property
    def behind(self) -> int:
        """Beats that the host runs late; set it before `receive`."""
        return self._playout.behind

    @behind.setter
    def behind(self, beats: int) -> None:
        self._playout.behind = beats

    def receive(self, count: int) -> None:
        """Take the first ``count`` datagrams of the inbox, at most one a row and kind."""
        self.inbox.count = 0
        if not count:
            return
        (receiver := self._receiver).take(count, self.beat)
        for row in receiver.first_heard:
            self._events.append(MediaSeen(self.sample, int(self.rows.seat[row])))
        receiver.first_heard.clear()
        for row, datagram in receiver.reports:
            self._reports.take(row, datagram, self.beat)
        receiver.reports.clear()
        for row in self._stream.restarted:
            self._digits.restart(row)
        self._stream.restarted.clear()

    def skip(self, frames: int) -> None:
        """Leave out whole frames after a stall: RTP timestamps and playout stay on the clock."""
        self.beat += frames * self.phases
        self._reports.skip(frames * self.phases)
        self._playout.blind_until = self.beat + self._playout.beats(DRAIN_MS)
        self.rows.timestamp_out[self.rows.kind == Kind.LEG] += frames * FRAME

    def send_failed(self, row: int) -> None:
        """Count a datagram of this row that the network did not take."""
        self.rows.send_errors[row] += 1

    # -------------------------------------------------------------------------------- tick

    def tick(self) -> Outbox:
        """Mix one frame of the phase whose turn it is; return what to send."""
        beat, at = self.beat, self.sample
        phase = beat % self.phases
        self._board.commit(phase, at)
        layout, is_new = self._board.layout(phase)
        if is_new:
            self._arrange(phase, layout)
        if layout.rows.size or self._levels.busy:
            outbox = self._mix_frame(layout, phase)
        else:
            outbox = self._packetiser.nothing(phase)
            outbox.extra += self._wide_send.collect()
        self._board.finish(phase, at)
        self._housekeeping(beat, outbox)
        self._close_freed(outbox)
        self._placing.step(beat, phase)
        self.beat = beat + 1
        return outbox

    def _mix_frame(self, layout: Layout, phase: int) -> Outbox:
        """Mix one frame of everybody in a phase; return what to send."""
        beat, at, rows = self.beat, self.sample, self.rows
        spoken, present = self._listen(layout, beat, at)
        heard = self._mix(layout, spoken)
        if self._comfort_out.agreed and self._comfort_out.look(layout, heard):
            self._arrange(phase, layout)
        codes = self._encode(layout, heard)
        outbox = self._packetiser.write(phase, codes[self._sending[phase]])
        sent = self._sent[phase]
        if self._digits.saying:
            sent = say_digits(rows, self._digits, self._packetiser, layout, codes, sent, outbox)
        if self._comfort_out.agreed:
            busy = set(self._digits.saying)
            outbox.extra += self._comfort_out.packets(layout, heard, beat, busy)
        outbox.extra += self._wide_send.send(layout, spoken, heard, sent)
        self._copies.take(layout, at, spoken, heard, codes, present, sent, self._wide_send.heard)
        rows.timestamp_out[legs := layout.rows[layout.legs]] += FRAME
        rows.ticked_at[legs] = beat
        return outbox

    def _listen(
        self, layout: Layout, beat: int, at: int
    ) -> tuple[NDArray[np.int16], NDArray[np.bool_]]:
        """Return this frame of every row, and which of them really came."""
        codes, present, missing, idle = self._playout.take(layout.rows, beat)
        spoken = g711.decode(codes, g711.PCMU)
        if layout.alaw.size:
            spoken[layout.alaw] = g711.decode(codes[layout.alaw], g711.PCMA)
        even = beat // self.phases % 2 == 0
        wide = self._wide if layout.wide.size else None
        if wide is not None:
            wide.listen(layout, spoken, present, missing)
        comfort = self._comfort_in
        if comfort.playing:
            comfort.excuse(layout.rows, beat)
        conceal(self.rows, layout.rows, spoken, present, missing, idle, beat, even)
        if wide is not None:
            wide.patch(layout, spoken, even)
        if comfort.playing:
            comfort.fill(layout.rows, spoken, present, even)
        if self._playout.cutting:
            self._timescale.apply(layout.rows, spoken, present, even)
        if missing.any():
            count_gaps(self.rows, layout.rows, missing, beat)
        self._digits.inband.take(layout, spoken)
        if self._levels.busy:
            self._levels.spoken(layout, spoken, present, beat, at)
        if wide is not None:
            wide.settle(layout, spoken)
        for row in layout.sources:
            place, seat = layout.positions[row], int(self.rows.seat[row])
            for token in self._desk.sources[seat].next_frame(spoken[place]):
                self._events.append(Played(at + FRAME, seat, token))
        return spoken, present

    def _decode(self, codes: NDArray[np.uint8], index: Numbers) -> NDArray[np.int16]:
        """Decode frames of any rows, each by its own law."""
        spoken = g711.decode(codes, g711.PCMU)
        alaw = self.rows.law[index] == g711.PCMA
        spoken[alaw] = g711.decode(codes[alaw], g711.PCMA)
        self._wide.decode_next(index, spoken)
        return spoken

    def _mix(self, layout: Layout, spoken: NDArray[np.int16]) -> NDArray[np.int16]:
        """Return this frame of every listener; silence for rows without a bridge."""
        heard = np.zeros(spoken.shape, np.int16)
        if layout.mixed:
            exact = layout.mix(spoken)
            if layout.limited.size:
                self._levels.limit(layout, exact)
            clipped = to_samples(exact, heard[: layout.mixed])
            if clipped is not None:
                self.rows.clipped[layout.rows[: layout.mixed]] += clipped
        return heard

    def _encode(self, layout: Layout, heard: NDArray[np.int16]) -> NDArray[np.uint8]:
        codes = g711.encode(heard, g711.PCMU)
        if layout.alaw.size:
            codes[layout.alaw] = g711.encode(heard[layout.alaw], g711.PCMA)
        return codes

    def _arrange(self, phase: int, layout: Layout) -> None:
        """Find out who sends audio in a phase, after its layout has changed."""
        sends = self.rows.sends[layout.rows] & ~self.rows.hushed[layout.rows]
        if self._digits.saying:
            sends &= ~np.isin(layout.rows, list(self._digits.saying))
        in_pattern = sends & ~self.rows.is_wide[layout.rows]
        self._sending[phase], self._sent[phase] = np.flatnonzero(in_pattern), sends
        self._packetiser.arrange(phase, layout.rows[in_pattern])

    def _housekeeping(self, beat: int, outbox: Outbox) -> None:
        """Do what has no frame: digits without an end, RTCP, media timeouts, delay."""
        self._digits.expire()
        outbox.extra += self._reports.due(beat)
        if beat % self._watch_beats == 0:
            self._watch.look(beat)
        if beat % self._window_beats == 0:
            self._playout.adjust(beat)

    def _close_freed(self, outbox: Outbox) -> None:
        """Say goodbye for the seats that have closed and faded out, and give back their rows."""
        freed = self._board.freed
        if not freed:
            return
        for seat in freed:
            row = self.rows.of_seat[seat]
            if seat in self._desk.parting:
                self._desk.parting.discard(seat)
                fmtp = self._wide.fmtp(row)
                state = taken_out(self.rows, self._reports, row, self.phases, fmtp)
                self._events.append(LegParted(self.sample, seat, state))
            elif self.rows.kind[row] == Kind.LEG:
                goodbye = self._reports.goodbye(row, self.beat)
                if goodbye is not None and self.rows.sends[row]:
                    outbox.extra.append(goodbye)
                self._events.append(LegClosed(self.sample, seat, self._stats(row)))
            self._stream.forget(row)
            self._digits.forget(row)
            self._reports.forget(row)
            self._copies.forget(seat)
            self._wide.forget(row)
            self._wide_send.forget(row)
            self._desk.sources.pop(seat, None)
            self._board.closing.discard(seat)
            self.rows.remove(seat)
        freed.clear()

    # --------------------------------------------------------------------------------- out

    def take_events(self) -> list[MixerEvent]:
        """Return what happened since the last call, in order."""
        events = self._events[:]
        self._events.clear()
        return events

    def take_blocks(self) -> list[TapBlock]:
        """Return the recorded frames since the last call."""
        blocks = self._copies.blocks[:]
        self._copies.blocks.clear()
        return blocks

    def row_of(self, leg: int) -> int | None:
        """Return the row of an open leg."""
        row = self.rows.of_seat.get(leg)
        return row if row is not None and self.rows.kind[row] == Kind.LEG else None

    def legs(self) -> list[int]:
        """Return the legs that are open, in the order of their rows."""
        legs: list[int] = self.rows.seat[self.rows.kind == Kind.LEG].tolist()
        return legs

    def leg_stats(self, leg: int) -> LegStats | None:
        """Return a leg's counters; None when it isn't open."""
        return None if (row := self.row_of(leg)) is None else self._stats(row)

    def leg_counts(self, legs: Iterable[int]) -> figures.LegCounts:
        """Return the counters of those legs that are open, for others to make sense of."""
        rows = {leg: row for leg in legs if (row := self.row_of(leg)) is not None}
        index = np.array(list(rows.values()), np.int64)
        told, delays = map(self._reports.told, rows.values()), self._playout.delays_ms(index)
        return figures.LegCounts.of(self.rows, index, tuple(rows), tuple(told), delays)

    def _stats(self, row: int) -> LegStats:
        told = self._reports.told(row)
        return figures.leg_stats(self.rows, row, told, self._playout.delay_ms(row))

    def snapshot(self) -> dict[str, Any]:
        """Return counts of what is open, and sums of what the open legs counted."""
        return {
            **figures.snapshot(self.rows),
            **self._placing.snapshot(),
            "beat": self.beat,
        }
