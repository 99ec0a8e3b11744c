"""What a `Server` tells its program: frozen facts, in the order in which they became true.

``at`` is the loop's time in seconds; ``sample`` is a position on the media clock, at 8000 Hz.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .mixer.commands import LegStats
from .sip.identity import CallerIdentity
from .sip.user_to_user import UserToUser
from .supervision import Mode


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something happened at loop time ``at``."""

    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CallArrived(Event):
    """An INVITE reached the server; its handler has been started."""

    caller: str
    target: str
    identity: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LegOpened(Event):
    """A call was set up and has media."""

    leg: str
    remote: str
    direction: str  # "inbound" or "outbound"


@dataclass(frozen=True, slots=True, kw_only=True)
class LegHeld(Event):
    """The peer put us on hold, or took us off."""

    leg: str
    held: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class LegIdentified(Event):
    """A leg's peer is somebody else now, as after a transfer behind it (RFC 4916): `asserted` by a
    trusted peer, or None; `sender` is what From says."""

    leg: str
    sender: str
    asserted: CallerIdentity | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LegMediaLost(Event):
    """Neither RTP nor RTCP came for the media timeout."""

    leg: str
    idle_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LegMediaLatched(Event):
    """A leg's media comes from `remote`, behind NAT, and not from where its session description
    says: host and port each. Learned by latching (RFC 7362) or, of a browser, by checks (RFC 8445);
    told again when it changes."""

    leg: str
    remote: tuple[str, int]
    signalled: tuple[str, int] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LegOneWayAudio(Event):
    """Audio goes one way only, or, with `on` false, both ways again.

    `direction` "inbound": we send and have not heard the peer for five seconds since it could be
    heard. "outbound": by its own RTCP reports the peer receives nothing of what we send.
    """

    leg: str
    direction: str
    on: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class LegClosed(Event):
    """A leg is gone; `cause` says by whom: "remote-bye", "local-bye", "media-timeout" ..."""

    leg: str
    cause: str
    reason: str | None
    duration_s: float
    stats: LegStats
    user_to_user: tuple[UserToUser, ...] = ()  # that the peer sent with the call and its end


@dataclass(frozen=True, slots=True, kw_only=True)
class DigitReceived(Event):
    """A phone's key, told at its release (RFC 4733)."""

    leg: str
    digit: str
    duration_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelsMeasured(Event):
    """How loud legs of a bridge were in the 200 ms before ``sample``, and who speaks.

    Told where `Bridge.measure_levels` asked for it. Levels are in dBov (RFC 6464 section 3): 0 is
    the loudest that G.711 can say, -127 is silence.
    """

    bridge: str
    sample: int
    legs: tuple[str, ...]
    levels_dbov: tuple[int, ...]
    speaking: tuple[bool, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class BridgeChanged(Event):
    """A routing took effect at ``sample``: `gains[i][j]` is how `legs[i]` hears `legs[j]` (Q15)."""

    bridge: str
    legs: tuple[str, ...]
    gains: tuple[tuple[int, ...], ...]
    sample: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BridgeClosed(Event):
    """A bridge is gone; its legs live on unless they were closed too."""

    bridge: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ModeChanged(Event):
    """A supervisor's mode is in force; the matrix is the one that the mixer now uses."""

    bridge: str
    supervision: str
    supervisor: str
    before: Mode | None
    after: Mode | None
    sample: int
    legs: tuple[str, ...]
    gains: tuple[tuple[int, ...], ...]
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SupervisionEvent(Event):
    """A step of a supervision: "attached", "takeover-started", "agent-released", "orphaned" ..."""

    bridge: str
    fact: str
    leg: str | None
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferStarted(Event):
    """A phone transfers its call; `attended` to somebody it talks with, or talked, already."""

    leg: str
    bridge: str
    target: str
    attended: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferEnded(Event):
    """A transfer is done (`status` 200) or failed; after a failure the call is as it was.

    `by` is the leg that has the place of `leg` now, None where two calls were joined.
    """

    leg: str
    bridge: str
    target: str
    status: int
    reason: str
    by: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferRefused(Event):
    """The policy did not let a phone transfer its call there."""

    leg: str
    target: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRedirected(Event):
    """A 3xx sent a call of ours elsewhere; the policy let it be followed, or did not."""

    target: str
    contact: str
    followed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageReceived(Event):
    """A MESSAGE was taken (RFC 3428): in the call of ``leg``, or outside of any."""

    leg: str | None
    sender: str  # what From says
    identity: str | None  # who that proved to be
    content_type: str
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class InfoReceived(Event):
    """An INFO of a package of `Config.info_packages` came in a call (RFC 6086)."""

    leg: str
    package: str
    content_type: str
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class SeatRefused(Event):
    """The policy kept somebody out of a call of others: `act` is what `identity` asked for."""

    leg: str | None
    act: str
    identity: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingStarted(Event):
    """A capture is open and its keys are on disk."""

    bridge: str
    recording: str
    path: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingGap(Event):
    """Frames were lost to a slow or full disk; the capture says where."""

    recording: str
    frames: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingStopped(Event):
    """A capture was closed; `sealed` is False when it could not be completed."""

    bridge: str
    recording: str
    path: Path
    packets: int
    duration_s: float
    gaps: int
    sealed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Registered(Event):
    """A phone registered, or refreshed; `contacts` is how many it now has."""

    user: str
    contacts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginThrottled(Event):
    """Too many wrong passwords, from `source` or (with `by_user`) for `user`: told once, when the
    server stops looking at them; `Server.snapshot` counts the rest."""

    source: str
    user: str
    by_user: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TrunkRegistered(Event):
    """This server is registered with a trunk, or is so again; `registrar` is the one in use."""

    trunk: str
    registrar: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TrunkFailed(Event):
    """Every registrar of a trunk has failed, the last of them so; they are tried again."""

    trunk: str
    status: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaWorkerLost(Event):
    """A media worker process died: these calls end, a new process takes its place."""

    worker: int  # -1: it had died before this leg was opened
    reason: str
    legs: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class EventsDropped(Event):
    """This subscriber was too slow: `count` events before this one are missing."""

    count: int
