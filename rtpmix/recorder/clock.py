"""The clock of a capture: samples since it began, and what wall-clock time they are.

The media host counts samples from its own start, for weeks perhaps; a capture counts from its first
leg or fact, so that timestamps begin at 0 and last for six days before they wrap.
"""

from __future__ import annotations

from collections.abc import Callable

from .manifest import Manifest
from .pcap import pack_time
from .track import CLOCK_HZ, Moment

_MICROSECONDS = 1_000_000


class CaptureClock:
    """Places the media host's samples on the capture's clock.

    Parameters
    ----------
    manifest
        Where the origin is written down.
    wall_clock
        Seconds since the epoch; read once, at the origin: from there record times follow the
        media clock, and only the NTP timestamps of the reports tell how the two drift apart.
    """

    def __init__(self, manifest: Manifest, wall_clock: Callable[[], float]) -> None:
        self._manifest = manifest
        self._wall_clock = wall_clock
        self._begun = False
        self._latest = self._make(0)

    @property
    def origin(self) -> int:
        """Sample 0 on the media host's clock."""
        return self._manifest.origin

    @property
    def created_us(self) -> int:
        """Sample 0 on the wall clock, in microseconds since the epoch."""
        return round(self._manifest.created * _MICROSECONDS)

    def place(self, sample: int) -> int:
        """Return a sample of the media host's clock on the capture's own; the first is 0."""
        if not self._begun:
            self._begun = True
            self._manifest.origin = sample
            self._manifest.created = self._wall_clock()
            self._latest = self._make(0)
        return sample - self._manifest.origin

    def moment(self, at: int) -> Moment:
        """Return a sample of the capture's clock with its record time."""
        latest = self._latest
        if latest.sample != at:
            latest = self._latest = self._make(at)
        return latest

    def _make(self, at: int) -> Moment:
        return Moment(at, pack_time(self.created_us + at * (_MICROSECONDS // CLOCK_HZ)))
