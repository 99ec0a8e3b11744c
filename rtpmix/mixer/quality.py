"""How each leg sounds, in both directions: VoIP metrics for its reports, and MOS for programs.

*Inbound* is what we hear of the peer: the frames that were missing when they were due, and how they
were spread. *Outbound* is what the peer hears of us: its own VoIP metrics where it sends them, else
the loss of its receiver reports.

References
----------
RFC 3611 section 4.7; ITU-T G.107
"""

from __future__ import annotations

from dataclasses import dataclass

from ..rtp import quality
from ..rtp.extended_report import GMIN, UNAVAILABLE, VoipMetrics
from . import bursts
from .rows import SLOTS

FRAME_MS = 20
# Packet loss concealment beyond repetition (10), an adaptive playout buffer (11): section 4.7.6.
RECEIVER_CONFIGURATION = 0b10_11_0000


@dataclass(frozen=True, slots=True)
class Quality:
    """A judgement of one direction: rating R (0 to 93.2) and mean opinion score (1 to 4.5)."""

    r_factor: float
    mos: float


def inbound(seen: bursts.Bursts, playout_ms: float, round_trip_ms: float | None) -> Quality | None:
    """Judge what we hear of a peer; None before it was heard."""
    if not seen.frames:
        return None
    one_way_ms = (round_trip_ms or 0.0) / 2 + FRAME_MS + playout_ms
    return _judged(seen.missing_fraction, one_way_ms, seen.burst_ratio)


def outbound(
    lost_fraction: float, round_trip_ms: float | None, metrics: VoipMetrics | None
) -> Quality | None:
    """Judge what the peer hears of us; None while it has reported nothing."""
    if metrics is not None and metrics.r_factor <= 100:
        rating = float(metrics.r_factor)
        return Quality(rating, quality.mos(rating))
    if metrics is not None:
        lost = min((metrics.loss_rate + metrics.discard_rate) / 256, 1.0)
        delay_ms = metrics.round_trip_ms / 2 + metrics.end_system_delay_ms
        return _judged(lost, delay_ms, 1.0)
    if round_trip_ms is None:
        return None
    return _judged(lost_fraction, round_trip_ms / 2 + FRAME_MS, 1.0)


def _judged(lost: float, one_way_ms: float, burst_ratio: float) -> Quality:
    rating = quality.r_factor(lost, one_way_ms, burst_ratio)
    return Quality(rating, quality.mos(rating))


def voip_metrics(
    seen: bursts.Bursts, *, ssrc: int, lost: int, delay_ms: float, round_trip: float | None
) -> VoipMetrics:
    """Return the block about a leg's source.

    Parameters
    ----------
    seen
        What was missing of the source's frames.
    lost
        Packets that the network lost since the source began.
    delay_ms
        From arrival to playout.
    round_trip
        In ms, None while it is not known.
    """
    judged = inbound(seen, delay_ms, round_trip)
    playout_ms = min(round(delay_ms), 65535)
    discarded = max(0, seen.missing - max(lost, 0))
    outside_ms = max(0, seen.frames - seen.burst_frames) * FRAME_MS
    times = max(seen.bursts, 1)
    return VoipMetrics(
        ssrc=ssrc,
        loss_rate=_in_256(max(lost, 0), seen.frames),
        discard_rate=_in_256(discarded, seen.frames),
        burst_density=min(int(seen.burst_density * 256), 255),
        gap_density=min(int(seen.gap_density * 256), 255),
        burst_duration_ms=min(seen.burst_frames * FRAME_MS // times, 65535),
        gap_duration_ms=min(outside_ms // times, 65535),
        round_trip_ms=min(round(round_trip or 0), 65535),
        end_system_delay_ms=min(FRAME_MS + playout_ms, 65535),
        gmin=GMIN,
        r_factor=UNAVAILABLE if judged is None else round(judged.r_factor),
        mos_listening=UNAVAILABLE if judged is None else _listening(seen),
        mos_conversation=UNAVAILABLE if judged is None else round(judged.mos * 10),
        receiver_configuration=RECEIVER_CONFIGURATION,
        nominal_delay_ms=playout_ms,
        maximum_delay_ms=playout_ms,
        absolute_maximum_delay_ms=SLOTS * FRAME_MS,
    )


def _listening(seen: bursts.Bursts) -> int:
    """Ten times the score without delay, which only a conversation suffers from."""
    return round(_judged(seen.missing_fraction, 0.0, seen.burst_ratio).mos * 10)


def _in_256(part: int, whole: int) -> int:
    return min(part * 256 // whole, 255) if whole > 0 else 0
