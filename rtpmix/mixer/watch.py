"""Media that stays away: legs that were heard and are no more, and legs that never were."""

from __future__ import annotations

import numpy as np

from .commands import MediaLost, MixerEvent, OneWayAudio
from .playout import Playout
from .rows import Kind, Rows

CLOCK_HZ = 8000
ONE_WAY_MS = 5000  # of sending without ever hearing the peer


class Watch:
    """Looks at every leg now and then, and tells."""

    def __init__(self, rows: Rows, playout: Playout, events: list[MixerEvent]) -> None:
        self._rows = rows
        self._events = events
        self._beat_samples = playout.beat_samples
        self._one_way_beats = playout.beats(ONE_WAY_MS)

    def look(self, beat: int) -> None:
        """Tell of what has changed since the last look."""
        self._look_for_silence(beat)
        self._look_for_one_way(beat)

    def _look_for_silence(self, beat: int) -> None:
        """Tell of legs that have not been heard for their timeout."""
        rows = self._rows
        idle = beat - rows.heard_at
        watched = (rows.timeout_beats > 0) & rows.receives & ~rows.media_lost
        for row in np.flatnonzero(watched & (idle >= rows.timeout_beats)).tolist():
            rows.media_lost[row] = True
            rows.media_seen[row] = False
            idle_ms = int(idle[row]) * self._beat_samples * 1000 // CLOCK_HZ
            self._tell(MediaLost(beat * self._beat_samples, int(rows.seat[row]), idle_ms))

    def _look_for_one_way(self, beat: int) -> None:
        """Tell of legs that get our audio and have never sent any, and when they do at last."""
        rows = self._rows
        silent = rows.sends & rows.receives & (rows.received == 0)
        silent &= beat - rows.opened_at >= self._one_way_beats
        changed = np.flatnonzero((silent != rows.never_heard) & (rows.kind == Kind.LEG))
        rows.never_heard[changed] = silent[changed]
        for row in changed.tolist():
            leg, on = int(rows.seat[row]), bool(silent[row])
            self._tell(OneWayAudio(beat * self._beat_samples, leg, "inbound", on))

    def _tell(self, event: MixerEvent) -> None:
        self._events.append(event)
