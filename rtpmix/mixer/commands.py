"""What crosses the border to the media engine: commands in, events out; frozen and picklable.

Every command takes effect at a tick boundary of the bridge that it concerns.  Seats are numbered
from one space: a leg, a source (talks, has no socket) and a tap (listens, has no socket) are all
seats.  A seat is born silent: nobody hears it and it hears nobody until a `SetMatrix` names it.

Positions in time are **samples of the media clock** at 8000 Hz, counted from the engine's start.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

UNITY = 32768  # Q15: 1.0


@dataclass(frozen=True, slots=True)
class LegState:
    """All that an engine knows of a leg; for `AdoptLeg`, opaque to everybody else."""

    phases: int
    columns: dict[str, Any]
    report: Any
    fmtp: str = ""


# --------------------------------------------------------------------------- commands


@dataclass(frozen=True, slots=True)
class Command:
    """Something for the engine to do at the next tick."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenLeg(Command):
    """Give a leg a row. RTP identity is the caller's, so that virtual runs are reproducible."""

    leg: int
    codec: str = "PCMU"  # a name of `audio.codecs.CODECS`
    payload_type: int = 0  # on what we send
    payload_type_in: int | None = None  # on what comes; None: the same
    fmtp: str = ""  # what the peer says of the codec that it would like to get
    dtmf_payload_type: int | None = None
    dtmf_payload_type_in: int | None = None  # None: the same
    dtmf_clock_hz: int = 8000
    noise_payload_type: int | None = None  # of RFC 3389 in place of silence; None: send packets
    ssrc: int
    first_sequence: int
    first_timestamp: int
    cname: str = "rtpmix"
    sends: bool = True  # False: we send no RTP (the peer is sendonly or inactive)
    receives: bool = True  # False: what arrives is dropped and counted
    jitter_ms: int = 0  # least delay between arrival and playout
    media_timeout_ms: int = 0  # 0: never tell
    reduced_rtcp: bool = False  # reports may come alone, not in a compound (RFC 5506)
    extended_reports: bool = False  # XR from the first report on, not only in answer to XR


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateLeg(Command):
    """A renegotiated session: hold, resume, other codec. RTP identity and counters go on."""

    leg: int
    codec: str = "PCMU"
    payload_type: int = 0
    payload_type_in: int | None = None
    fmtp: str = ""
    dtmf_payload_type: int | None = None
    dtmf_payload_type_in: int | None = None
    dtmf_clock_hz: int = 8000
    noise_payload_type: int | None = None
    sends: bool = True
    receives: bool = True
    reduced_rtcp: bool = False


@dataclass(frozen=True, slots=True)
class CloseLeg(Command):
    """Free the row; the leg leaves its bridge's matrix first. Answered by `LegClosed`."""

    leg: int


@dataclass(frozen=True, slots=True)
class PartLeg(Command):
    """Take a leg out to go on in another engine. Answered by `LegParted`; no BYE is sent."""

    leg: int


@dataclass(frozen=True, slots=True)
class AdoptLeg(Command):
    """Go on with a leg that came out of another engine: same stream, same counters.

    Both engines keep the same time: equal beats, of equal length.
    """

    leg: int
    state: LegState


@dataclass(frozen=True, slots=True)
class OpenSource(Command):
    """A talker without a socket. It speaks what `Play` gave it, then silence.

    ``rate_hz``: of that PCM; 8000, 16000 or 48000.
    """

    source: int
    rate_hz: int = 8000


@dataclass(frozen=True, slots=True)
class Play(Command):
    """Queue PCM on a source: int16 little endian mono at its rate. `loop` repeats it for ever."""

    source: int
    pcm: bytes
    loop: bool = False
    token: int = 0  # comes back in `Played`


@dataclass(frozen=True, slots=True)
class StopPlaying(Command):
    """Drop what a source still has to say."""

    source: int


@dataclass(frozen=True, slots=True)
class OpenTap(Command):
    """A listener without a socket: what it hears comes out as `TapFrame` events.

    With ``follow`` set it is a copy of that leg's own input ("spoken") or output ("heard") instead
    and needs no seat in a matrix; at ``rate_hz`` (8000, 16000 or 48000) then: what was "spoken" is
    resampled to it where it has another, what is "heard" is mixed at it.
    """

    tap: int
    follow: int | None = None
    side: str = "heard"  # with follow: "spoken" or "heard"
    rate_hz: int = 8000


@dataclass(frozen=True, slots=True)
class CloseSeat(Command):
    """Free a source or a tap."""

    seat: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SetMatrix(Command):
    """The whole routing of one bridge, membership included, at one tick.

    ``gains[i][j]`` is the Q15 gain with which ``seats[i]`` hears ``seats[j]``; the diagonal is 0.
    A seat that belonged to the bridge and is not listed loses its row and column.  A seat that
    belonged to another bridge moves.  A bridge exists from its first matrix to `CloseBridge`.
    ``dtmf[i][j]`` true: digits pressed by ``seats[j]`` are forwarded to ``seats[i]``.
    ``untimed``: seats whose packets have no say in when in each 20 ms the bridge is mixed.
    ``limited``: what is too loud for a listener is turned down (`limiter`) instead of clipped.
    """

    bridge: int
    seats: tuple[int, ...]
    gains: tuple[tuple[int, ...], ...]
    dtmf: tuple[tuple[bool, ...], ...] = ()  # () forwards nothing
    ramp_ms: int = 10
    token: int = 0  # comes back in `MatrixCommitted` and `MatrixReached`
    untimed: frozenset[int] = frozenset()
    limited: bool = False


@dataclass(frozen=True, slots=True)
class CloseBridge(Command):
    """Every seat of the bridge falls silent and belongs to no bridge."""

    bridge: int


@dataclass(frozen=True, slots=True)
class SendDigits(Command):
    """Send RFC 4733 events to a leg: one of 0-9 * # A-D each."""

    leg: int
    digits: str
    duration_ms: int = 160
    pause_ms: int = 100


@dataclass(frozen=True, slots=True)
class DetectDigits(Command):
    """Look for digits as tones in what this leg says; told as `DigitPressed`, forwarded alike.

    ``mask``: the tones themselves are silence for everybody, recordings included.
    """

    leg: int
    on: bool = True
    mask: bool = False


@dataclass(frozen=True, slots=True)
class MeasureLevels(Command):
    """Tell five times a second how loud this leg is, in `LevelsMeasured`."""

    leg: int
    on: bool = True


@dataclass(frozen=True, slots=True)
class SetAutoGain(Command):
    """Even out how loud this leg is: its speech comes slowly to -26 dBov."""

    leg: int
    on: bool = True


@dataclass(frozen=True, slots=True)
class Record(Command):
    """From the next tick, hand out a leg's input and output in every `TapBlock`, also at a rate."""

    leg: int
    on: bool = True
    rate_hz: int = 8000


# ----------------------------------------------------------------------------- events


@dataclass(frozen=True, slots=True)
class MixerEvent:
    """Something happened in the engine at media sample ``at``."""

    at: int


@dataclass(frozen=True, slots=True)
class MatrixCommitted(MixerEvent):
    """A matrix took effect: its first changed sample is ``at``."""

    bridge: int
    token: int


@dataclass(frozen=True, slots=True)
class MatrixReached(MixerEvent):
    """The ramp to a matrix ended: from ``at`` on every gain is exactly as commanded."""

    bridge: int
    token: int


@dataclass(frozen=True, slots=True)
class SeatsLeaving(MixerEvent):
    """From ``at`` seats fade out of a bridge without a new matrix: closed, or seated elsewhere."""

    bridge: int
    seats: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class BridgeMoved(MixerEvent):
    """A bridge is mixed at other times: at ``at``, the tick before was at ``last``, then evenly."""

    bridge: int
    last: int


@dataclass(frozen=True, slots=True)
class DigitPressed(MixerEvent):
    """A leg's phone sent an RFC 4733 event; told once, at its end (or when it times out)."""

    leg: int
    digit: str
    duration_ms: int


@dataclass(frozen=True, slots=True)
class MediaSeen(MixerEvent):
    """A leg's first valid RTP packet (again after a `MediaLost`)."""

    leg: int


@dataclass(frozen=True, slots=True)
class MediaLost(MixerEvent):
    """Neither RTP nor RTCP for the leg's media timeout."""

    leg: int
    idle_ms: int


@dataclass(frozen=True, slots=True)
class OneWayAudio(MixerEvent):
    """Audio goes one way only, or (``on`` false) both ways again.

    ``direction`` "inbound": we send and have never heard the peer. "outbound": the peer reports
    (RTCP) and has received nothing of what we sent since its report before.
    """

    leg: int
    direction: str
    on: bool = True


@dataclass(frozen=True, slots=True)
class PeerSaidBye(MixerEvent):
    """An RTCP BYE for the leg's own SSRC (RFC 3550 section 6.6): a hint, nothing was closed."""

    leg: int


@dataclass(frozen=True, slots=True)
class LevelsMeasured(MixerEvent):
    """How loud legs of one phase were in the last 200 ms, and whether they speak."""

    legs: tuple[int, ...]
    dbov: tuple[int, ...]  # -127 to 0, as in RFC 6464 section 3
    speaking: tuple[bool, ...]


@dataclass(frozen=True, slots=True)
class Played(MixerEvent):
    """The source has said all of the `Play` with this token."""

    source: int
    token: int


@dataclass(frozen=True, slots=True)
class TapFrame(MixerEvent):
    """One frame for a tap's owner: int16 little endian mono at 8000 Hz."""

    tap: int
    pcm: bytes


@dataclass(frozen=True, slots=True)
class LegStats:
    """Counters of one leg since it was opened; packets unless the name says otherwise."""

    received: int = 0
    played: int = 0
    concealed: int = 0  # frames that the mixer had to invent
    late: int = 0
    lost: int = 0
    duplicate: int = 0
    reordered: int = 0
    dropped: int = 0  # wrong source, payload type, version, SSRC, or direction
    sent: int = 0
    send_errors: int = 0
    clipped: int = 0  # samples limited to full scale in what this leg heard
    digits: int = 0
    jitter_ms: float = 0.0  # RFC 3550 section 6.4.1, of what we receive
    playout_delay_ms: float = 0.0  # that the newest packet waits until it is played
    remote_lost_fraction: float = 0.0  # from the peer's last receiver report
    round_trip_ms: float | None = None
    delay_ms: float = 0.0  # that we add to what it says now: a packet's arrival to its tick, +-5
    bursts: int = 0  # of missing frames, RFC 3611 section 4.7.2
    inbound_mos: float | None = None  # of what we hear, 1 to 4.5 (ITU-T G.107)
    inbound_r_factor: float | None = None
    outbound_mos: float | None = None  # of what the peer hears, by its own reports
    outbound_r_factor: float | None = None


@dataclass(frozen=True, slots=True)
class LegClosed(MixerEvent):
    """The row is free; its counters are final."""

    leg: int
    stats: LegStats


@dataclass(frozen=True, slots=True)
class LegParted(MixerEvent):
    """The leg is out of this engine, and can go on in another."""

    leg: int
    state: LegState


@dataclass(frozen=True, slots=True)
class WorkerLost(MixerEvent):
    """A process that carried media is gone, and these legs with it."""

    worker: int
    why: str
    legs: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class CommandRefused(MixerEvent):
    """A command named a seat or a bridge that does not exist; nothing changed."""

    command: Command
    why: str
