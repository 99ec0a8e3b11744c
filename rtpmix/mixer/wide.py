"""Legs whose codec has a state or a rate of its own: coded packets in, frames at two rates out.

Theory of operation. The playout buffer knows frames of 20 ms and what is due when, for every codec;
for these legs its ring is only marked, and the payloads wait in `wide_leg`. When a frame is due its
packets are decoded, in order, once: the codec has a state. What comes out is the *native* frame, at
the codec's rate, and its *view* at 8 kHz, which is what all other parts work on: concealment,
comfort noise, levels, digits, recordings, and listeners of 8 kHz. Nothing that is done for
listeners of another rate can therefore change what those hear.

Who listens at a higher rate gets the native frame where the view was played as it is (or with a
gain); where it was concealed, shortened or filled with noise, the 8 kHz frame is resampled, and
leans over from the last native sample, so that there is no step.

A frame that did not come is taken out of the next packet's error correction where the codec has
that (it then counts as played), or concealed by the codec, or by `conceal`.

The codecs themselves are called leg by leg. All else is done for all legs of one rate at once, in
the rows of a `Pool`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..audio.codecs import BY_NUMBER, NARROW_HZ
from .layout import Layout
from .rows import FRAME, Numbers, Rows
from .wide_leg import WideLeg
from .wide_pool import Pool, Voice

Linear = NDArray[np.int16]
Flags = NDArray[np.bool_]


@dataclass(slots=True)
class Party:
    """The wide legs of one rate in a layout.

    Attributes
    ----------
    places, rows, at : (n,) int64 ndarray
        Where they are in the layout, in the engine, in the pool.
    """

    pool: Pool
    places: Numbers
    rows: Numbers
    at: Numbers
    legs: list[WideLeg]


class WideLegs:
    """The wide legs of an engine, by row."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self._legs: dict[int, WideLeg] = {}
        self._voices: dict[int, Voice] = {}  # of sources
        self._pools: dict[int, Pool] = {}
        self._patches: list[tuple[int, Linear]] = []  # place, view

    def __len__(self) -> int:
        return len(self._legs)

    def open(self, row: int, number: int, fmtp: str) -> None:
        """Let a row have a codec; the same one as before goes on as it is."""
        codec = BY_NUMBER[number]
        before = self._legs.get(row)
        if codec.is_g711:
            self.forget(row)
        elif before is None or (before.codec, before.fmtp) != (codec, fmtp):
            self.forget(row)
            self._legs[row] = WideLeg(codec, fmtp, self._pool(codec.rate_hz).add())

    def _pool(self, rate_hz: int) -> Pool:
        if rate_hz not in self._pools:
            self._pools[rate_hz] = Pool(rate_hz)
        return self._pools[rate_hz]

    def open_voice(self, row: int, rate_hz: int) -> Voice | None:
        """Let the source of a row speak at a rate; None for 8 kHz, which needs no help."""
        if rate_hz == NARROW_HZ:
            return None
        voice = self._voices[row] = Voice(self._pool(rate_hz))
        return voice

    def forget(self, row: int) -> None:
        """Drop a row that is given back."""
        leg = self._legs.pop(row, None)
        if leg is not None:
            self.pool(leg).remove(leg.at)
        voice = self._voices.pop(row, None)
        if voice is not None:
            voice.pool.remove(voice.at)

    def get(self, row: int) -> WideLeg | None:
        """Return the coded side of a row; None for G.711."""
        return self._legs.get(row)

    def pool(self, leg: WideLeg) -> Pool:
        """Return where the frames of a leg are."""
        return self._pools[leg.codec.rate_hz]

    def native(self, row: int) -> tuple[Pool, int] | None:
        """Return where the frames of a row of a higher rate than 8 kHz are; None: it has none."""
        voice = self._voices.get(row)
        if voice is not None:
            return voice.pool, voice.at
        leg = self._legs.get(row)
        if leg is None or leg.codec.rate_hz == NARROW_HZ:
            return None
        return self.pool(leg), leg.at

    def fmtp(self, row: int) -> str:
        """Return what the peer of a row would like to get."""
        leg = self._legs.get(row)
        return leg.fmtp if leg is not None else ""

    def parties(self, layout: Layout) -> list[Party]:
        """Return the wide legs of a layout by their rates; found once a layout."""
        if layout.parties is None:
            by_rate: dict[int, list[int]] = {}
            for place in layout.wide.tolist():
                leg = self._legs[int(layout.rows[place])]
                by_rate.setdefault(leg.codec.rate_hz, []).append(place)
            layout.parties = [self._party(layout, by_rate[rate]) for rate in sorted(by_rate)]
        found: list[Party] = layout.parties
        return found

    def _party(self, layout: Layout, places: list[int]) -> Party:
        rows = layout.rows[places]
        legs = [self._legs[row] for row in rows.tolist()]
        at = np.array([leg.at for leg in legs], np.int64)
        return Party(self.pool(legs[0]), np.array(places, np.int64), rows, at, legs)

    # ---------------------------------------------------------------------------------- a tick

    def listen(self, layout: Layout, spoken: Linear, present: Flags, missing: Flags) -> None:
        """Put the views of the frames that came into ``spoken``.

        Parameters
        ----------
        spoken, present, missing
            Of all rows, in layout order; changed for those of this class.
        """
        self._patches.clear()
        for party in self.parties(layout):
            self._listen(party, spoken, present, missing)

    def _listen(self, party: Party, spoken: Linear, present: Flags, missing: Flags) -> None:
        pool, places = party.pool, party.places
        slots = self._rows.played_slot[party.rows].tolist()
        came, gone = present[places].tolist(), missing[places].tolist()
        pool.has[party.at] = False
        plain: list[int] = []  # numbers of legs, and the octets of their L16
        octets: list[bytes] = []
        fresh: list[int] = []  # whose native frame was decoded
        patched: list[int] = []
        for number, leg in enumerate(party.legs):
            if came[number]:
                if leg.makes_up:
                    # The decoder goes over from what it made up; nothing is to be faded in.
                    patched.append(number)
                if self._was_ready(leg, slots[number]):
                    continue
                payload = leg.octets(slots[number])
                if payload is not None:
                    plain.append(number)
                    octets.append(payload)
                elif leg.fill(slots[number], pool.decoded[leg.at]):
                    fresh.append(number)
                else:
                    came[number], gone[number] = False, True
            elif gone[number] and (made := leg.make_up(slots[number])) is not None:
                pool.decoded[leg.at], came[number] = made
                gone[number] = not came[number]
                fresh.append(number)
                if gone[number]:
                    patched.append(number)
        if octets:
            frames = np.frombuffer(b"".join(octets), ">i2").reshape(len(plain), -1)
            pool.decoded[party.at[plain]] = frames
        if fresh or plain:
            at = party.at[fresh + plain]
            pool.look(at)
            pool.has[at] = True
        shown = np.flatnonzero(np.array(came) & pool.has[party.at])
        spoken[places[shown]] = pool.view[party.at[shown]]
        present[places], missing[places] = came, gone
        self._patches += [
            (int(places[number]), pool.view[party.legs[number].at])
            for number in patched
            if pool.has[party.legs[number].at]
        ]

    def _was_ready(self, leg: WideLeg, slot: int) -> bool:
        """Show a frame that was decoded before its tick, where it is the one that is due."""
        if leg.ready is None:
            return False
        due, native, view = leg.ready
        leg.ready = None
        if due != slot:
            return False
        pool = self.pool(leg)
        pool.decoded[leg.at], pool.view[leg.at], pool.has[leg.at] = native, view, True
        return True

    def patch(self, layout: Layout, spoken: Linear, even: bool) -> None:
        """Prefer the codec's own concealment to what `conceal` has put in."""
        for place, view in self._patches:
            spoken[place] = view
            row = layout.rows[place]
            (self._rows.even_frame if even else self._rows.odd_frame)[row] = view

    def decode_next(self, index: Numbers, spoken: Linear) -> None:
        """Put the next frames of rows into ``spoken``, before their tick."""
        for place in np.flatnonzero(self._rows.is_wide[index]).tolist():
            leg = self._legs[int(index[place])]
            spoken[place] = self._peek(leg, int(self._rows.played_slot[index[place]]) + 1)

    def _peek(self, leg: WideLeg, slot: int) -> Linear:
        """Return the view of the next frame, decoding it before its tick."""
        leg.ready = None
        native = leg.take(slot)
        if native is None:
            return np.zeros(FRAME, np.int16)
        view: Linear = self.pool(leg).down(np.array([leg.at]), native[None])[0]
        leg.ready = slot, native, view
        return view

    def settle(self, layout: Layout, spoken: Linear) -> None:
        """Make the native frames, when the frames at 8 kHz are final."""
        for party in self.parties(layout):
            gains = self._rows.gain_q12[party.rows]
            party.pool.settle(party.at, spoken[party.places], gains)
