"""Comfort noise, in and out: what is heard of a talker who is silent, and what is sent of silence.

*In.* A comfort-noise packet says from which slot on its talker is silent, how loud and of which
colour. Where no frame comes after that, noise is played until one comes. It fades in and out over
a frame, and what concealment does gives way to it. White noise is a hash of a row's seed and its
own count of samples, coloured by a short filter of whole numbers: the same bits on every run and
machine, whoever else is there.

*Out.* A leg that has agreed to it and has heard nothing for a while gets descriptions in place of
packets. What decides is what this leg hears, and nothing else.

References
----------
RFC 3389 sections 4 and 5
"""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from ..rtp.comfort_noise import ORDER, Noise, describe, level_of
from .layout import Layout
from .packetise import Packetiser
from .playout import Playout
from .rows import FRAME, NEVER, TAPS, Numbers, Rows

UNIT = 4096  # Q12: the filters
SPREAD = 148  # root mean square of the white noise: sums of four octets
HUSH_MEAN_SQUARE = 32**2  # -60 dBov: quieter than the noise of any microphone in use
HUSH_FRAMES = 10  # 200 ms of silence before packets stop
CHANGE_MS, REPEAT_MS = 200, 1000  # between descriptions: when the level changes, and when not
CHANGE_DB = 3

_RISING = np.arange(1, FRAME + 1)


class ComfortIn:
    """Plays noise for talkers who are silent.

    Attributes
    ----------
    playing
        Whether any row has been told to.
    """

    def __init__(self, rows: Rows, playout: Playout) -> None:
        self._rows = rows
        self._playout = playout
        self.playing = False

    def take(self, row: int, payload: bytes, timestamp: int, beat: int) -> None:
        """Read a talker's newest comfort noise, from whatever octets."""
        rows = self._rows
        if rows.origin[row] == NEVER:
            self._playout.anchor(row, timestamp, beat, FRAME)
        noise = Noise.parse(payload)
        if rows.noise_since[row] == NEVER:
            frame = FRAME * int(rows.clock_scale[row])
            rows.noise_since[row] = (timestamp - int(rows.slot_timestamp[row])) // frame
            rows.noise_seed[row] = int(rows.ssrc_in[row]) & 0xFFFF_FFFF
        rows.noise_target[row] = noise.amplitude
        rows.noise_taps[row] = noise.impulse_response(TAPS, UNIT)
        self.playing = True

    def excuse(self, index: Numbers, beat: int) -> None:
        """See to it that what does not come of silent talkers is not counted as lost."""
        rows = self._rows
        at = index[rows.noise_since[index] <= rows.played_slot[index]]
        rows.quiet_until[at] = np.maximum(rows.quiet_until[at], beat + 1)

    def fill(
        self, index: Numbers, spoken: NDArray[np.int16], present: NDArray[np.bool_], even: bool
    ) -> None:
        """Add noise to the frames of silent talkers, after concealment.

        Parameters
        ----------
        index, spoken, present, even
            As in `conceal`.
        """
        rows = self._rows
        places = np.flatnonzero(rows.noise_since[index] <= rows.played_slot[index])
        if not places.size:
            self.playing = bool((rows.noise_since < NEVER).any())
            return
        at, came = index[places], present[places]
        before = rows.noise_amplitude[at]
        after = np.where(came | rows.media_lost[at], 0, rows.noise_target[at])
        white = self._coloured(at)
        level = before[:, None] * FRAME + (after - before)[:, None] * _RISING
        noise = white * level // (SPREAD * UNIT * FRAME)
        # Who says that it is silent is not carried on by concealment beyond the frame of the noise.
        begins = rows.played_slot[at] == rows.noise_since[at]
        carried_on = np.where(begins[:, None], FRAME - _RISING, 0)
        voice = spoken[places].astype(np.int64)
        voice = np.where(came[:, None], voice, voice * carried_on // FRAME)
        spoken[places] = (voice + noise).clip(-32768, 32767)
        rows.noise_amplitude[at] = after
        rows.noise_time[at] += FRAME
        rows.noise_since[at[came]] = NEVER
        (rows.even_frame if even else rows.odd_frame)[at] = spoken[places]

    def _coloured(self, at: Numbers) -> Numbers:
        """Return a frame of noise for each row, of a mean square of ``(SPREAD * UNIT)**2``."""
        rows = self._rows
        span = np.arange(1 - TAPS, FRAME, dtype=np.int64)
        time = rows.noise_time[at][:, None] + span
        x = (time * 0x9E37_79B1 + rows.noise_seed[at][:, None]).astype(np.uint32)
        for shift, factor in ((16, 0x7FEB_352D), (15, 0x846C_A68B)):
            x ^= x >> np.uint32(shift)
            x *= np.uint32(factor)
        x ^= x >> np.uint32(16)
        octets = x.view(np.uint8).reshape(len(at), -1, 4)
        white = octets.sum(axis=2, dtype=np.int64) - 510
        taps = rows.noise_taps[at]
        if not taps[:, 1:].any():
            plain: Numbers = white[:, TAPS - 1 :] * UNIT
            return plain
        windows = sliding_window_view(white.astype(np.float64), TAPS, axis=1)
        # Whole numbers far below 2**53: exact.
        filtered = np.matmul(windows, taps[:, ::-1, None].astype(np.float64))[:, :, 0]
        coloured: Numbers = filtered.astype(np.int64)
        return coloured


class ComfortOut:
    """Stops packets to legs that hear nothing, and describes the silence instead.

    Attributes
    ----------
    agreed
        Whether any leg has ever agreed to it.
    """

    def __init__(self, rows: Rows, packetiser: Packetiser, playout: Playout) -> None:
        self._rows = rows
        self._packetiser = packetiser
        self._change_beats = playout.beats(CHANGE_MS)
        self._repeat_beats = playout.beats(REPEAT_MS)
        self._quiet: Numbers = np.zeros(0, np.int64)
        self.agreed = False

    def look(self, layout: Layout, heard: NDArray[np.int16]) -> bool:
        """Find out who hears nothing; True when packets to somebody begin or stop."""
        rows = self._rows
        places = np.flatnonzero((rows.noise_payload_type >= 0)[layout.rows])
        at = layout.rows[places]
        frames = heard[places].astype(np.float64)
        quiet = np.einsum("ij,ij->i", frames, frames) < HUSH_MEAN_SQUARE * FRAME
        rows.hush_frames[at] = np.where(quiet, rows.hush_frames[at] + 1, 0)
        hushed = rows.hush_frames[at] > HUSH_FRAMES
        changed = hushed != rows.hushed[at]
        rows.hushed[at] = hushed
        rows.described_at[at[changed & hushed]] = -NEVER
        rows.marker[at[changed & ~hushed]] = True
        self._quiet = places[hushed & rows.sends[at]]
        return bool(changed.any())

    def packets(
        self, layout: Layout, heard: NDArray[np.int16], beat: int, busy: set[int]
    ) -> list[tuple[int, bytes, bool]]:
        """Return the descriptions that are due; ``busy`` are rows that digits are said to."""
        rows = self._rows
        found: list[tuple[int, bytes, bool]] = []
        waited = beat - rows.described_at[layout.rows[self._quiet]]
        for place in self._quiet[waited >= self._change_beats].tolist():
            row = int(layout.rows[place])
            frame = heard[place].astype(np.int64)
            level = level_of(int(frame @ frame) / FRAME)
            since = beat - int(rows.described_at[row])
            same = abs(level - int(rows.described_level[row])) < CHANGE_DB
            if row in busy or (same and since < self._repeat_beats):
                continue
            rows.described_at[row], rows.described_level[row] = beat, level
            products = [int(frame[: FRAME - lag] @ frame[lag:]) for lag in range(ORDER + 1)]
            packet = self._packetiser.one(
                row,
                payload_type=int(rows.noise_payload_type[row]),
                payload=describe(products, FRAME).to_bytes(),
                timestamp=int(rows.timestamp_out[row]),
                marker=False,
            )
            found.append((row, packet, False))
        return found
