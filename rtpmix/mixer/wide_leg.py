"""One leg's coded side: its packets wait here, and are decoded in order, once, when they are due.

Frames are decoded at the codec's rate. Nearly always a packet is a frame, or two are; then it
goes straight from the packet to where the tick wants it (`WideLeg.fill`, `WideLeg.octets`).
Whatever is different, packets of other lengths, gaps, cuts, goes through `WideLeg.take`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..audio.codecs import NARROW_HZ, Codec
from ..audio.coders import decoder_of, encoder_of
from .conceal import GIVE_UP_FRAMES

MOST_WAITING = 64  # packets of a leg; the ring holds 320 ms

Linear = NDArray[np.int16]


class WideLeg:
    """The coded side of one leg.

    Attributes
    ----------
    at
        Its row in the pool of its rate.
    ready : (slot, native frame, view at 8 kHz) or None
        What was decoded before its tick.
    paused
        Whether the encoder had nothing to send, last.
    """

    def __init__(self, codec: Codec, fmtp: str, at: int) -> None:
        self.codec, self.fmtp, self.at = codec, fmtp, at
        self.encoder = encoder_of(codec, fmtp)
        self.paused = False
        self.ready: tuple[int, Linear, Linear] | None = None
        self.is_plain = codec.encoding == "L16"
        self._decoder = decoder_of(codec)
        self._frame, self._ratio = codec.frame, codec.rate_hz // NARROW_HZ
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
        self.ready = None

    def put(self, ticks: int, payload: bytes) -> None:
        """Keep a packet that begins so many ticks of the RTP clock after slot 0."""
        first = ticks * self.codec.rate_hz // self.codec.clock_hz
        self.keep(first, payload, self._decoder.samples(payload))

    def keep(self, first: int, payload: bytes, samples: int) -> None:
        """Keep a packet that begins so many samples after slot 0."""
        waiting = self._waiting
        if first not in waiting:
            while len(waiting) >= MOST_WAITING:
                del waiting[min(waiting)]
            waiting[first] = (payload, samples)

    # -------------------------------------------------------------------------------- decoding

    @property
    def makes_up(self) -> bool:
        """Whether the last frame came from the codec's own concealment."""
        return self._lost > 0

    def _packets_of(self, slot: int) -> bytes | None:
        """Take the one or two packets that are just a slot's frame; None: it is not so simple."""
        start, waiting = slot * self._frame, self._waiting
        found = waiting.get(start)
        if found is None or self._start != self._end:
            return None
        if len(waiting) > 1 and min(waiting) != start:
            return None
        payload, samples = found
        if samples == self._frame:
            del waiting[start]
        elif self.is_plain and 2 * samples == self._frame:
            second = waiting.get(start + samples)
            if second is None or second[1] != samples:
                return None
            del waiting[start], waiting[start + samples]
            payload += second[0]
        else:
            return None
        self._lost = 0
        self._start = self._end = start + self._frame
        return payload

    def octets(self, slot: int) -> bytes | None:
        """Return a slot's frame of L16 as it came, in network order; None: ask `take`."""
        return self._packets_of(slot) if self.is_plain else None

    def fill(self, slot: int, out: Linear) -> bool:
        """Decode the frame of a slot of which something has come into ``out``.

        False when none can be read.
        """
        payload = self._packets_of(slot)
        if payload is not None:
            return self._decoder.decode_into(payload, out)
        native = self.take(slot)
        if native is not None:
            out[:] = native
        return native is not None

    def take(self, slot: int) -> Linear | None:
        """Return the native frame of a slot, whatever its packets are; None: can't be read."""
        native = self._decode(slot)
        self._lost = 0
        return native

    def make_up(self, slot: int) -> tuple[Linear, bool] | None:
        """Return a frame of which nothing has come, and whether the next packet told it.

        None: the codec has no way of its own, or no more.
        """
        if not self._decoder.has_concealment or self._lost >= GIVE_UP_FRAMES:
            return None
        self._seek(slot)
        following = self._waiting.get(self._end + self._frame)
        recovers = following is not None and self._lost == 0
        native = (
            self._decoder.recover(following[0], self._frame)
            if following is not None and recovers
            else self._decoder.conceal(self._frame)
        )
        if native is None or len(native) != self._frame:
            return None
        self._end += self._frame
        self._start = self._end
        self._lost += 1
        return native, recovers

    def _seek(self, slot: int) -> None:
        """Stand at the begin of a slot: cuts, losses and late packets may have moved it."""
        start = slot * self._frame
        if self._start <= start <= self._end:
            self._pcm = self._pcm[start - self._start :]
        else:
            self._pcm, self._end = self._pcm[:0], start
        self._start = start

    def _decode(self, slot: int) -> Linear | None:
        """Decode what a slot needs, and keep what is over for the next."""
        self._seek(slot)
        stop = self._start + self._frame
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
        self._pcm, self._start = pcm[self._frame :], stop
        return pcm[: self._frame]

    def _next_packet(self) -> int | None:
        """Return where the first packet begins that reaches beyond what is decoded."""
        done = [at for at, (_, count) in self._waiting.items() if at + count <= self._end]
        for at in done:
            del self._waiting[at]
        return min(self._waiting, default=None)
