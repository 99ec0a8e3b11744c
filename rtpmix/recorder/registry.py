"""Who is who in a capture: names, SSRCs, ports, and the CSRC list of what was heard.

The CSRC of a contributor is the SSRC of its own ``.in`` track, so that
``rtp.ssrc==CUSTOMER_HEARD && rtp.csrc.item==SUPERVISOR_IN`` matching nothing proves, without any
key, that the customer never heard the supervisor.  A contributor that is not recorded has a CSRC
of its own, named in the manifest.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .legs import WideTracks
from .manifest import Manifest
from .track import CLOCK_HZ, FIRST_PORT, MOST_CSRCS, Kind, Track

_MOST_SETS = 256  # of contributors, remembered


class Registry:
    """Gives out the identities of one capture and keeps them in its manifest.

    Parameters
    ----------
    manifest
        Where tracks and contributors are written down.
    new_ssrc
        From `ssrc_maker`, which made the manifest's own too.
    note
        Takes facts for the `events` track.
    """

    def __init__(
        self,
        manifest: Manifest,
        new_ssrc: Callable[[], int],
        note: Callable[[dict[str, Any]], None],
    ) -> None:
        self._manifest = manifest
        self._new_ssrc = new_ssrc
        self._note = note
        self._csrcs: dict[tuple[int, ...], tuple[int, ...]] = {}

    def add_leg(
        self, seat: int, name: str, role: str, codec: str, rate_hz: int = CLOCK_HZ
    ) -> tuple[str, Track, Track]:
        """Return a leg's name, made unique, and its spoken and heard tracks."""
        taken = {track.name for track in self._manifest.tracks}
        unique, number = name, 2
        while f"{unique}.in" in taken:
            unique, number = f"{name}-{number}", number + 1
        # Others may have heard the seat before it was recorded: it keeps the CSRC it had then.
        # But a seat that is given again is somebody else.
        csrc = self._manifest.contributors.get(seat)
        if any(track.ssrc == csrc for track in self._manifest.tracks):
            csrc = None
        more: dict[str, Any] = {"leg": unique, "role": role, "rate_hz": rate_hz}
        spoken = self.add_track(f"{unique}.in", Kind.SPOKEN, ssrc=csrc, codec="L16", **more)
        heard = self.add_track(f"{unique}.heard", Kind.HEARD, codec=codec, **more)
        self._manifest.contributors[seat] = spoken.ssrc
        self._csrcs.clear()
        return unique, spoken, heard

    def add_wide_leg(
        self, seat: int, name: str, role: str, codec: str, rate_hz: int
    ) -> tuple[str, Track, Track, WideTracks]:
        """Return a leg's name, its tracks of 8 kHz, and those at a higher rate.

        The latter are its `.in` and `.heard`; contributors are named by the SSRC of that `.in`.
        """
        unique, spoken, heard = self.add_leg(seat, name, role, "L16", rate_hz)
        more: dict[str, Any] = {"leg": unique, "role": role}
        narrow = self.add_track(f"{unique}.in.8k", Kind.SPOKEN_8K, codec="L16", **more)
        narrow_heard = self.add_track(f"{unique}.heard.8k", Kind.HEARD_8K, codec=codec, **more)
        return unique, narrow, narrow_heard, WideTracks(spoken, heard)

    def add_track(self, name: str, kind: Kind, *, ssrc: int | None = None, **more: Any) -> Track:
        """Return a track with an SSRC and a port of its own."""
        port = FIRST_PORT + 2 * len(self._manifest.tracks)
        track = Track(name, kind, ssrc or self._new_ssrc(), port, **more)
        self._manifest.tracks.append(track)
        return track

    def csrcs(self, seats: tuple[int, ...], at: int) -> tuple[int, ...]:
        """Return the CSRC list for what these seats contributed to at sample ``at``."""
        known = self._csrcs.get(seats)
        return self._make_csrcs(seats, at) if known is None else known

    def _make_csrcs(self, seats: tuple[int, ...], at: int) -> tuple[int, ...]:
        known = self._manifest.contributors
        for seat in seats:
            if seat not in known:
                known[seat] = csrc = self._new_ssrc()
                self._note({"event": "contributor", "sample": at, "seat": seat, "csrc": csrc})
        csrcs = tuple(known[seat] for seat in seats)
        if len(csrcs) > MOST_CSRCS:
            # Silence about the rest would turn a keyless proof of absence into a lie, so the last
            # place says that there are more; the fact has all of them.
            everyone = {"seats": list(seats), "csrcs": list(csrcs)}
            self._note({"event": "contributors", "sample": at, **everyone})
            csrcs = (*csrcs[: MOST_CSRCS - 1], self._manifest.overflow_csrc)
        if len(self._csrcs) >= _MOST_SETS:
            self._csrcs.clear()
        self._csrcs[seats] = csrcs
        return csrcs


def ssrc_maker(entropy: Callable[[int], bytes]) -> Callable[[], int]:
    """Return a function that never gives the same SSRC twice, nor 0."""
    given = {0}

    def make() -> int:
        while True:
            ssrc = int.from_bytes(entropy(4), "big")
            if ssrc not in given:
                given.add(ssrc)
                return ssrc

    return make
