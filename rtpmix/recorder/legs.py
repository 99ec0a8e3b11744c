"""What a capture keeps about one recorded leg between its frames."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from typing import Any

from .track import CLOCK_HZ, L16_TYPES, Moment, Track, TrackWriter

FRAME_SAMPLES = 160  # 20 ms at 8000 Hz


class WideTracks:
    """The two tracks of a leg at its codec's rate, beside those of 8 kHz.

    Attributes
    ----------
    payload_type, pieces
        Of their packets, and how many a frame of 20 ms takes.
    """

    __slots__ = ("heard", "heard_writer", "payload_type", "pieces", "spoken", "spoken_writer")

    def __init__(self, spoken: Track, heard: Track) -> None:
        self.spoken, self.heard = spoken, heard
        self.spoken_writer: TrackWriter | None = None
        self.heard_writer: TrackWriter | None = None
        self.payload_type = L16_TYPES[spoken.rate_hz]
        self.pieces = 2 if spoken.rate_hz == 48000 else 1

    def records(
        self,
        frames: tuple[bytes, bytes | None],
        moments: Callable[[int], Moment],
        at: int,
        csrcs: tuple[int, ...],
    ) -> Iterator[bytes]:
        """Return the records of one frame.

        Parameters
        ----------
        frames
            What was said and, if it was sent, what was heard: int16 big endian.
        moments
            Gives the capture's moment of a sample; ``at`` is the frame's first.
        csrcs
            Of what was heard.
        """
        span = FRAME_SAMPLES // self.pieces
        writers = (self.spoken_writer, ()), (self.heard_writer, csrcs)
        for frame, (writer, listed) in zip(frames, writers, strict=True):
            if frame is None or writer is None or len(frame) != self.spoken.rate_hz // 25:
                continue  # not sent, or of a rate that the leg had in another recording
            size = len(frame) // self.pieces
            for piece in range(self.pieces):
                payload = frame[piece * size : (piece + 1) * size]
                moment = moments(at + piece * span)
                yield writer.audio(payload, moment, self.payload_type, span, listed)


class RecordedLeg:
    """One leg's tracks, the hash of what it heard, and the run of frames that it did not speak.

    Parameters
    ----------
    name
        Unique in the capture; its tracks are ``<name>.in`` and ``<name>.heard``.
    spoken, heard
        Its tracks of 8 kHz.
    wide
        Those of a higher rate; None for a leg without.
    """

    __slots__ = (
        "_hashed", "_hashed_frames", "_hashed_second", "_invented_from", "_invented_to",
        "_resampled",
        "heard", "heard_writer", "name", "spoken", "spoken_writer", "wide",
    )  # fmt: skip

    def __init__(
        self, name: str, spoken: Track, heard: Track, wide: WideTracks | None = None
    ) -> None:
        self.name = name
        self.wide = wide
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
        self._resampled = False

    @property
    def tracks(self) -> list[Track]:
        """All tracks of the leg."""
        wide = [] if self.wide is None else [self.wide.spoken, self.wide.heard]
        return [self.spoken, self.heard, *wide]

    @property
    def writers(self) -> list[TrackWriter | None]:
        """The writers of its tracks, in that order."""
        wide = [] if self.wide is None else [self.wide.spoken_writer, self.wide.heard_writer]
        return [self.spoken_writer, self.heard_writer, *wide]

    @property
    def packets(self) -> int:
        """How many its longest track has in the segment in force."""
        return max(0 if writer is None else writer.packets for writer in self.writers)

    @property
    def most_a_frame(self) -> int:
        """How many packets of one track a frame takes."""
        return 1 if self.wide is None else self.wide.pieces

    def open(self, make: Callable[[Track], TrackWriter]) -> None:
        """Make the writers that are missing."""
        for part in (self, self.wide):
            if part is not None:
                part.spoken_writer = part.spoken_writer or make(part.spoken)
                part.heard_writer = part.heard_writer or make(part.heard)

    def shut(self) -> None:
        """Let the writers go: their segment is over."""
        for part in (self, self.wide):
            if part is not None:
                part.spoken_writer = part.heard_writer = None

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

    def mark_resampled(self, sample: int) -> dict[str, Any] | None:
        """Note that the leg's codec has another rate than its tracks; a fact, the first time."""
        if self._resampled:
            return None
        self._resampled = True
        return {"event": "resampled", "sample": sample, "leg": self.name}

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
