"""What a capture keeps about one recorded leg between its frames."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

from .track import CLOCK_HZ, Track, TrackWriter

FRAME_SAMPLES = 160  # 20 ms at 8000 Hz


class RecordedLeg:
    """One leg's two tracks, the hash of what it heard, and the run of frames that it did not speak.

    Parameters
    ----------
    name
        Unique in the capture; its tracks are ``<name>.in`` and ``<name>.heard``.
    spoken, heard
        Its tracks.
    """

    __slots__ = (
        "_hashed", "_hashed_frames", "_hashed_second", "_invented_from", "_invented_to",
        "heard", "heard_writer", "name", "spoken", "spoken_writer",
    )  # fmt: skip

    def __init__(self, name: str, spoken: Track, heard: Track) -> None:
        self.name = name
        self.spoken = spoken
        self.heard = heard
        # None until the keys of the segment in force are on disk.
        self.spoken_writer: TrackWriter | None = None
        self.heard_writer: TrackWriter | None = None
        self._hashed: list[bytes | memoryview] = []  # what is said in a second: one hash, one call
        self._hashed_frames = 0
        self._hashed_second: int | None = None
        self._invented_from: int | None = None
        self._invented_to = 0

    @property
    def tracks(self) -> list[Track]:
        """All tracks of the leg."""
        return [self.spoken, self.heard]

    @property
    def writers(self) -> list[TrackWriter | None]:
        """The writers of its tracks, in that order."""
        return [self.spoken_writer, self.heard_writer]

    def open(self, make: Callable[[Track], TrackWriter]) -> None:
        """Make the writers that are missing."""
        self.spoken_writer = self.spoken_writer or make(self.spoken)
        self.heard_writer = self.heard_writer or make(self.heard)

    def shut(self) -> None:
        """Let the writers go: their segment is over."""
        self.spoken_writer = self.heard_writer = None

    @property
    def is_inventing(self) -> bool:
        """Whether the frame before this one was not spoken by the leg itself."""
        return self._invented_from is not None

    def mark_spoken(self, sample: int, present: bool) -> dict[str, Any] | None:
        """Note whether the leg itself spoke this frame; a run that ends comes back as a fact."""
        start = self._invented_from
        fact = None
        if start is not None and (
            present or sample != self._invented_to or sample - start >= CLOCK_HZ
        ):
            fact = self._invented_fact(start)
            start = None
        if not present:
            self._invented_from = sample if start is None else start
            self._invented_to = sample + FRAME_SAMPLES
        return fact

    def mark_heard(
        self, sample: int, mixed: bytes | memoryview, frames: int = 1
    ) -> dict[str, Any] | None:
        """Hash mixed frames into the second that they begin in; a full one comes back as a fact.

        Parameters
        ----------
        sample
            The first one of all.
        mixed
            int16 little endian, before encoding; kept until the second is over.
        frames
            How many there are, all of which begin in the same second.
        """
        second = sample // CLOCK_HZ
        fact = None
        if second != self._hashed_second:
            fact = self._hash_fact()
            self._hashed_second = second
        self._hashed.append(mixed)
        self._hashed_frames += frames
        return fact

    def finish(self) -> list[dict[str, Any]]:
        """Return the facts of what is still open; the leg ends here."""
        facts = [self._hash_fact()]
        if self._invented_from is not None:
            facts.append(self._invented_fact(self._invented_from))
        return [fact for fact in facts if fact is not None]

    def _hash_fact(self) -> dict[str, Any] | None:
        if self._hashed_second is None:
            return None
        mixed, self._hashed = b"".join(self._hashed), []
        frames, self._hashed_frames = self._hashed_frames, 0
        return {
            "event": "heard_sha256",
            "sample": self._hashed_second * CLOCK_HZ,
            "leg": self.name,
            "second": self._hashed_second,
            "frames": frames,
            "sha256": hashlib.sha256(mixed).hexdigest(),
        }

    def _invented_fact(self, start: int) -> dict[str, Any]:
        self._invented_from = None
        return {
            "event": "concealed",
            "sample": start,
            "leg": self.name,
            "samples": self._invented_to - start,
        }
