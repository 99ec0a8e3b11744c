"""Legs whose codec has a state or a rate of its own: coded packets in, frames at two rates out.

Theory of operation. The playout buffer knows frames of 20 ms and what is due when, for every codec;
for these legs its ring is only marked, and the payloads wait here. When a frame is due its packets
are decoded, in order, once: the codec has a state. What comes out is the *native* frame, at the
codec's rate, and its *view* at 8 kHz, which is what all other parts work on: concealment, comfort
noise, levels, digits, recordings, and listeners of 8 kHz. Nothing that is done for listeners of
another rate can therefore change what those hear.

Who listens at a higher rate gets the native frame where the view was played as it is (or with a
gain); where it was concealed, shortened or filled with noise, the 8 kHz frame is resampled, and
leans over from the last native sample, so that there is no step.

A frame that did not come is taken out of the next packet's error correction where the codec has
that (it then counts as played), or concealed by the codec, or by `conceal`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..audio.codecs import BY_NUMBER, NARROW_HZ, Codec
from ..audio.coders import decoder_of, encoder_of
from ..audio.resample import Stream, resampler
from .conceal import GIVE_UP_FRAMES
from .layout import Layout
from .rows import FRAME, Numbers, Rows

MOST_WAITING = 64  # packets of a leg; the ring holds 320 ms
UNIT_GAIN = 4096  # Q12, as in `levels`
LEAN_MS = 5
_TIME = np.arange(1, FRAME + 1)

Linear = NDArray[np.int16]


@dataclass(slots=True)
class Frame:
    """One decoded frame."""

    slot: int
    native: Linear
    view: Linear  # (160,), at 8 kHz
    concealed: bool = False


class WideLeg:
    """The coded side of one leg.

    Attributes
    ----------
    native : (frame,) int16 ndarray
        This tick's frame at the codec's rate, after `settle`.
    now : Frame or None
        What was decoded for this tick.
    limiter_gain
        Q15, of what it hears at its own rate.
    paused
        Whether the encoder had nothing to send, last.
    """

    def __init__(self, codec: Codec, fmtp: str) -> None:
        self.codec, self.fmtp = codec, fmtp
        self.encoder = encoder_of(codec, fmtp)
        self.native: Linear = np.zeros(codec.frame, np.int16)
        self.limiter_gain, self.paused = 32768, False
        self._decoder = decoder_of(codec)
        self._ratio = codec.rate_hz // NARROW_HZ
        self._down = Stream(codec.rate_hz, NARROW_HZ)
        self._up = None if self._ratio == 1 else resampler(NARROW_HZ, codec.rate_hz)
        self._past = np.zeros(0 if self._up is None else self._up.history, np.int16)
        self._converted: dict[int, Stream] = {}  # to other rates
        self._was_native, self._last, self._gain = True, 0, UNIT_GAIN
        self._ready: Frame | None = None  # decoded before its tick
        self.now: Frame | None = None
        self._lost = 0  # frames that the codec concealed in a row
        self._waiting: dict[int, tuple[bytes, int]] = {}  # by first sample
        self._pcm = np.zeros(0, np.int16)  # decoded, from `_start` to `_end`
        self._start = self._end = 0

    # ------------------------------------------------------------------------------ coming in

    def size(self, payload: bytes) -> int:
        """Return the length of a payload in samples of 8 kHz, rounded up; 0: can't be read."""
        return -(-self._decoder.samples(payload) // self._ratio)

    def restart(self) -> None:
        """Begin a timeline: what waited is of another one."""
        self._waiting.clear()
        self._pcm = self._pcm[:0]
        self._start = self._end = 0
        self._ready = self.now = None

    def put(self, ticks: int, payload: bytes) -> None:
        """Keep a packet that begins so many ticks of the RTP clock after slot 0."""
        first = ticks * self.codec.rate_hz // self.codec.clock_hz
        if first not in self._waiting:
            while len(self._waiting) >= MOST_WAITING:
                del self._waiting[min(self._waiting)]
            self._waiting[first] = (payload, self._decoder.samples(payload))

    # -------------------------------------------------------------------------------- decoding

    def take(self, slot: int) -> Frame | None:
        """Return the frame of a slot of which something has come; None when none can be read."""
        if self._ready is not None and self._ready.slot == slot:
            frame, self._ready = self._ready, None
            return frame
        self._ready = None
        native = self._decode(slot)
        self._lost = 0
        return None if native is None else Frame(slot, native, self._down.process(native))

    def peek(self, slot: int) -> Linear:
        """Return the view of the next frame, decoding it before its tick."""
        frame = self.take(slot)
        if frame is None:
            return np.zeros(FRAME, np.int16)
        self._ready = frame
        return frame.view

    def make_up(self, slot: int) -> Frame | None:
        """Return a frame of which nothing has come, from the codec itself; None: it has no way."""
        if not self._decoder.has_concealment or self._lost >= GIVE_UP_FRAMES:
            return None
        self._seek(slot)
        following = self._waiting.get(self._end + self.codec.frame)
        recovers = following is not None and self._lost == 0
        native = (
            self._decoder.recover(following[0], self.codec.frame)
            if following is not None and recovers
            else self._decoder.conceal(self.codec.frame)
        )
        if native is None or len(native) != self.codec.frame:
            return None
        self._end += self.codec.frame
        self._start = self._end
        self._lost += 1
        return Frame(slot, native, self._down.process(native), concealed=not recovers)

    @property
    def makes_up(self) -> bool:
        """Whether the last frame came from the codec's own concealment."""
        return self._lost > 0

    def _seek(self, slot: int) -> None:
        """Stand at the begin of a slot: cuts, losses and late packets may have moved it."""
        start = slot * self.codec.frame
        if self._start <= start <= self._end:
            self._pcm = self._pcm[start - self._start :]
        else:
            self._pcm, self._end = self._pcm[:0], start
        self._start = start

    def _decode(self, slot: int) -> Linear | None:
        """Decode what a slot needs, and keep what is over for the next."""
        self._seek(slot)
        stop = self._start + self.codec.frame
        parts, came = [self._pcm], len(self._pcm) > 0
        while self._end < stop:
            first = self._next_packet()
            if first is None or first >= stop:
                part = self._decoder.conceal(stop - self._end) if came else None
                gap = stop - self._end
            elif first > self._end:
                part, gap = self._decoder.conceal(first - self._end), first - self._end
            else:
                payload, gap = self._waiting.pop(first)
                part = self._decoder.decode(payload)
                came = came or part is not None
                if part is not None:
                    part, gap = part[self._end - first :], gap - (self._end - first)
            if part is None or not len(part):
                part = np.zeros(gap, np.int16)
            parts.append(part)
            self._end += len(part)
        if not came:
            self._pcm, self._start = self._pcm[:0], self._end
            return None
        pcm = np.concatenate(parts)
        self._pcm, self._start = pcm[self.codec.frame :], stop
        return pcm[: self.codec.frame]

    def _next_packet(self) -> int | None:
        """Return where the first packet begins that reaches beyond what is decoded."""
        done = [at for at, (_, count) in self._waiting.items() if at + count <= self._end]
        for at in done:
            del self._waiting[at]
        return min(self._waiting, default=None)

    # -------------------------------------------------------------------------- after the tick

    def settle(self, spoken: Linear, gain: int) -> None:
        """Find this tick's native frame, now that the frame at 8 kHz is final.

        Parameters
        ----------
        spoken : (160,) int16 ndarray
            What the leg says, as everybody at 8 kHz hears it.
        gain
            Q12 gain at the end of the frame.
        """
        if self._up is None:
            self.native = spoken
            return
        native = self._as_played(spoken, gain)
        is_native = native is not None
        if native is None:
            native = self._up.process(spoken[None], self._past[None])[0]
            if self.now is None:
                self._down.remember(native)
        if is_native != self._was_native:
            native = self._leaning(native)
        self._was_native, self._last, self._gain = is_native, int(native[-1]), gain
        self._past = spoken[-self._past.size :].copy()
        self.native, self.now = native, None

    def _as_played(self, spoken: Linear, gain: int) -> Linear | None:
        """Return the native frame where the view was played, if with a gain; else None."""
        now = self.now
        if now is None:
            return None
        if self._gain == gain == UNIT_GAIN:
            return now.native if np.array_equal(now.view, spoken) else None
        gains = self._gain + (gain - self._gain) * _TIME // FRAME
        if not np.array_equal(_amplified(now.view, gains), spoken):
            return None
        return _amplified(now.native, np.repeat(gains, self._ratio))

    def _leaning(self, native: Linear) -> Linear:
        """Let a frame begin where the one before ended, and go over to what it is."""
        count = self.codec.rate_hz * LEAN_MS // 1000
        fade = np.arange(count - 1, -1, -1, dtype=np.int64)
        leaning = native.astype(np.int64)
        leaning[:count] += (self._last - int(native[0])) * fade // count
        result: Linear = leaning.clip(-32768, 32767).astype(np.int16)
        return result

    def at_rate(self, rate_hz: int) -> Linear:
        """Return this tick's frame at another rate than 8 kHz; once a tick and rate."""
        if rate_hz == self.codec.rate_hz:
            return self.native
        stream = self._converted.get(rate_hz)
        if stream is None:
            stream = self._converted[rate_hz] = Stream(self.codec.rate_hz, rate_hz)
        return stream.process(self.native)


def _amplified(frame: Linear, gains: Numbers) -> Linear:
    """Return a frame with Q12 gains, rounded as `levels` does."""
    amplified = (frame.astype(np.int64) * gains + UNIT_GAIN // 2) >> 12
    result: Linear = amplified.clip(-32768, 32767).astype(np.int16)
    return result


class WideLegs:
    """The wide legs of an engine, by row."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self._legs: dict[int, WideLeg] = {}
        self._patches: list[tuple[int, Linear]] = []  # place, view

    def open(self, row: int, number: int, fmtp: str) -> None:
        """Let a row have a codec; the same one as before goes on as it is."""
        codec = BY_NUMBER[number]
        before = self._legs.get(row)
        if codec.is_g711:
            self.forget(row)
        elif before is None or (before.codec, before.fmtp) != (codec, fmtp):
            self._legs[row] = WideLeg(codec, fmtp)

    def forget(self, row: int) -> None:
        """Drop a row that is given back."""
        self._legs.pop(row, None)

    def get(self, row: int) -> WideLeg | None:
        """Return the coded side of a row; None for G.711."""
        return self._legs.get(row)

    def fmtp(self, row: int) -> str:
        """Return what the peer of a row would like to get."""
        leg = self._legs.get(row)
        return leg.fmtp if leg is not None else ""

    def listen(
        self,
        layout: Layout,
        spoken: Linear,
        present: NDArray[np.bool_],
        missing: NDArray[np.bool_],
    ) -> None:
        """Put the views of the frames that came into ``spoken``.

        Parameters
        ----------
        spoken, present, missing
            Of all rows, in layout order; changed for those of this class.
        """
        self._patches.clear()
        slots = self._rows.played_slot[layout.rows[layout.wide]]
        for place, slot in zip(layout.wide.tolist(), slots.tolist(), strict=True):
            leg = self._legs[int(layout.rows[place])]
            leg.now = None
            if present[place]:
                follows = leg.makes_up
                leg.now = leg.take(slot)
                if follows and leg.now is not None:
                    # The decoder has gone over from what it made up; nothing is to be faded in.
                    self._patches.append((place, leg.now.view))
                present[place] = leg.now is not None
                missing[place] = leg.now is None
            elif missing[place]:
                leg.now = leg.make_up(slot)
                if leg.now is not None and leg.now.concealed:
                    self._patches.append((place, leg.now.view))
                    continue
                present[place] = leg.now is not None
                missing[place] = leg.now is None
            if leg.now is not None:
                spoken[place] = leg.now.view

    def patch(self, layout: Layout, spoken: Linear, even: bool) -> None:
        """Prefer the codec's own concealment to what `conceal` has put in."""
        for place, view in self._patches:
            spoken[place] = view
            row = layout.rows[place]
            (self._rows.even_frame if even else self._rows.odd_frame)[row] = view

    def decode_next(self, index: Numbers, spoken: Linear) -> None:
        """Put the next frames of rows into ``spoken``, before their tick."""
        for place in np.flatnonzero(self._rows.is_wide[index]).tolist():
            row = int(index[place])
            spoken[place] = self._legs[row].peek(int(self._rows.played_slot[row]) + 1)

    def settle(self, layout: Layout, spoken: Linear) -> None:
        """Make the native frames, when the frames at 8 kHz are final."""
        for place in layout.wide.tolist():
            row = int(layout.rows[place])
            self._legs[row].settle(spoken[place], int(self._rows.gain_q12[row]))
