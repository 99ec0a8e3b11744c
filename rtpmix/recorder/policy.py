"""How a capture is written: one frozen, checked set of figures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..errors import SrtpError, UsageError
from ..rtp.srtp import DEFAULT_SUITE, find_suite

SUITES = (DEFAULT_SUITE, "AEAD_AES_256_GCM")
_MOST_PACKETS = 65_000  # of one track in one segment: its sequence number must not wrap


@dataclass(frozen=True, slots=True, kw_only=True)
class CapturePolicy:
    """The promises of a capture.

    Parameters
    ----------
    suite
        SRTP suite; AES-CM is read by ffmpeg and GStreamer alike, GCM by GStreamer.
    segment_packets
        A new segment, with new keys, begins when a track has this many packets.
    report_every_s
        Media seconds between the sender reports that count each track.
    flush_s
        Seconds until bytes are given to the system: what a killed process loses at most.
    sync_s
        Seconds until they are on disk: what a power cut loses at most.
    pending_limit
        Bytes that wait for a disk that refuses them; beyond, audio is lost as a counted gap.

    Raises
    ------
    UsageError
        A figure out of its range.
    """

    suite: str = DEFAULT_SUITE
    segment_packets: int = _MOST_PACKETS
    report_every_s: float = 10.0
    flush_s: float = 0.5
    sync_s: float = 5.0
    pending_limit: int = 1 << 20

    def __post_init__(self) -> None:
        try:
            find_suite(self.suite)
        except SrtpError as exc:
            raise UsageError(f"no capture suite {self.suite!r}: use one of {SUITES}") from exc
        if self.suite not in SUITES:
            raise UsageError(f"no capture suite {self.suite!r}: use one of {SUITES}")
        if not 1 <= self.segment_packets <= _MOST_PACKETS:
            raise UsageError(f"segment_packets is 1 to {_MOST_PACKETS}, not {self.segment_packets}")
        for name in ("report_every_s", "flush_s", "sync_s", "pending_limit"):
            if not getattr(self, name) > 0:
                raise UsageError(f"{name} must be positive, not {getattr(self, name)}")

    def to_json(self) -> dict[str, Any]:
        """Return the manifest's form."""
        return {
            "segment_packets": self.segment_packets,
            "report_every_s": self.report_every_s,
            "written_within_s": self.flush_s,
            "synced_within_s": self.sync_s,
        }
