"""What a server and its media workers tell each other besides the engine's commands and events."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..mixer.commands import MixerEvent, TapFrame
from ..mixer.figures import LegCounts
from ..mixer.tap import TapBlock
from ..rtp.latching import Terms
from .latching_io import Learned
from .media_io import Address
from .secure_io import Position, Secret

# ------------------------------------------------------------------------------ to a worker


@dataclass(frozen=True, slots=True)
class Settings:
    """The first message: what the worker is to be.

    ``origin`` is the monotonic time of media sample 0, alike in all workers of a host.
    """

    media_address: str
    media_address_v6: str | None
    ports: range
    phases: int
    origin: float
    epoch: float
    legs_per_port: int = 1


@dataclass(frozen=True, slots=True)
class Adopt:
    """Sockets of a leg come along: RTP, RTCP. ``fresh``: not connected before."""

    leg: int
    fresh: bool


@dataclass(frozen=True, slots=True)
class Share:
    """The sockets of a shared pair come along, for one more leg on it, whose peer is named."""

    leg: int
    number: int  # the pair's even port
    remote: Address


@dataclass(frozen=True, slots=True)
class Connect:
    """See `MediaIO.connect`."""

    leg: int
    remote: Address | None
    remote_rtcp: Address | None
    rtcp_mux: bool
    terms: Terms | None = None
    learned: Learned | None = None


@dataclass(frozen=True, slots=True)
class Secure:
    """See `MediaHost.secure`."""

    leg: int
    keys: Secret | None


@dataclass(frozen=True, slots=True)
class Release:
    """See `MediaIO.release`."""

    leg: int


@dataclass(frozen=True, slots=True)
class StartRecording:
    """Open a capture; answered by `Answer`. The key is read from its file, it is not sent."""

    ask: int
    recording: int
    path: Path
    conversation_id: str
    key: Path
    metadata: dict[str, Any]


@dataclass(frozen=True, slots=True)
class StopRecording:
    """Seal a capture; answered by `Answer` with its summary."""

    ask: int
    recording: int


@dataclass(frozen=True, slots=True)
class RecordLeg:
    """A leg comes into a recording, or (``on`` false) goes out of it."""

    recording: int
    leg: int
    name: str = ""
    role: str = ""
    codec: str = ""
    on: bool = True
    rate_hz: int = 8000


@dataclass(frozen=True, slots=True)
class RecordFact:
    """A fact for a recording."""

    recording: int
    sample: int
    fact: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Forward:
    """Send this leg's recorded frames along, too: they are recorded in another worker."""

    leg: int
    on: bool


@dataclass(frozen=True, slots=True)
class Block:
    """Recorded frames on their way from one worker to another."""

    block: TapBlock


@dataclass(frozen=True, slots=True)
class Stop:
    """Close every leg, seal what is open, and end."""


# ---------------------------------------------------------------------------- from a worker


@dataclass(frozen=True, slots=True)
class Ready:
    """The worker beats."""


@dataclass(frozen=True, slots=True)
class Happened:
    """Events of one beat."""

    events: list[MixerEvent]


@dataclass(frozen=True, slots=True)
class Frames:
    """The frames for programs of one beat, in one piece: an object for each costs three times that.

    Parameters
    ----------
    heads
        Of each frame: its position in time, its tap, its octets.
    pcm
        The octets of all.
    """

    heads: list[tuple[int, int, int]]
    pcm: bytes

    @classmethod
    def of(cls, frames: list[TapFrame]) -> Frames:
        """Pack frames."""
        heads = [(frame.at, frame.tap, len(frame.pcm)) for frame in frames]
        return cls(heads, b"".join([frame.pcm for frame in frames]))

    def unpacked(self) -> Iterator[TapFrame]:
        """Yield the frames."""
        begin = 0
        for at, tap, size in self.heads:
            yield TapFrame(at, tap, self.pcm[begin : begin + size])
            begin += size


@dataclass(frozen=True, slots=True)
class Carried:
    """How far the keys of a leg are used that goes elsewhere, told before it has parted."""

    leg: int
    position: Position


@dataclass(frozen=True, slots=True)
class Figures:
    """Counters, a share of the legs' at a time; also the sign that the worker lives."""

    beats: int
    late_beats: int
    counts: LegCounts
    media: dict[str, Any] | None  # now and then
    recording: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class Answer:
    """To a question: its result, or what went wrong and by whose fault."""

    ask: int
    result: Any = None
    problem: str | None = None
    usage: bool = False


@dataclass(frozen=True, slots=True)
class Gap:
    """A recording lost frames."""

    recording: int
    frames: int
    why: str
