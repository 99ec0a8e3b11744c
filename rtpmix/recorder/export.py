"""From a capture to WAV: a file per track, or agent left and customer right.

Audio is placed by its timestamp, never by its position in the file: a gap is silence of its exact
length, and every file of one export begins at the same moment. A track keeps its own rate; where
tracks of several rates are mixed, the highest one is the mix's.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from ..audio.resample import resampled
from ..errors import RecordingError, UsageError
from ..rtp.packet import RtpPacket
from .keys import Recipients
from .manifest import Manifest
from .reader import read_capture
from .track import CLOCK_HZ, CODECS, Kind, Track

AGENT, CUSTOMER, SUPERVISOR = "agent", "customer", "supervisor"
_SPOKEN, _HEARD = (Kind.SPOKEN, Kind.SPOKEN_8K), (Kind.HEARD, Kind.HEARD_8K)
Pcm = NDArray[np.int16]


@dataclass(frozen=True, slots=True)
class Export:
    """What `export` wrote."""

    files: tuple[Path, ...]
    duration_s: float


def export(
    path: Path,
    keys: Recipients,
    out: Path,
    *,
    stereo: bool = False,
    tracks: Iterable[str] | None = None,
    coaching: bool = False,
) -> Export:
    """Decrypt a capture to 16-bit WAV files, each track at its own rate.

    Parameters
    ----------
    path
        The capture's directory.
    keys
        Opens it.
    out
        A directory for ``<track>.wav`` files, made if need be; with ``stereo`` the WAV file.
    stereo
        One file with what agents spoke on the left and what customers spoke on the right; a
        supervisor is on the left while the customer hears it. At the highest rate of what was
        spoken.
    tracks
        Names of the tracks to write, not with ``stereo``; by default all but those of 8 kHz
        beside a wideband leg's own.
    coaching
        Whether to include what a supervisor says that no customer hears.

    Raises
    ------
    RecordingError
        Not a capture, not for these keys, a packet that does not authenticate, or a file that
        can't be written.
    UsageError
        A track that the capture does not have.
    """
    audio = _Audio(path, keys)
    wanted = None if tracks is None else set(tracks)
    unknown = (wanted or set()) - {track.name for track in audio.tracks}
    if unknown:
        names = ", ".join(track.name for track in audio.tracks)
        raise UsageError(f"no track {', '.join(sorted(unknown))}: this capture has {names}")
    if not coaching:
        audio.mute_coaching()
    try:
        if stereo:
            if wanted is not None:
                raise UsageError("a stereo export has all tracks: leave out `tracks`")
            files = [_write(out, *audio.stereo())]
        else:
            out.mkdir(parents=True, exist_ok=True)
            chosen = [t for t in audio.tracks if wanted is None or t.name in wanted]
            if wanted is None:
                chosen = [t for t in chosen if t.kind in (Kind.SPOKEN, Kind.HEARD)]
            files = [_write(out / _file_name(t), audio.pcm[t.ssrc], t.rate_hz) for t in chosen]
    except (OSError, soundfile.LibsndfileError) as exc:
        raise RecordingError(f"can't write to {out}: {exc}", path=out) from exc
    return Export(tuple(files), audio.samples / CLOCK_HZ)


class _Audio:
    """All audio of one capture in memory: two bytes for each sample of each track."""

    def __init__(self, path: Path, keys: Recipients) -> None:
        manifest, records = read_capture(path, keys)
        self.tracks = [track for track in manifest.tracks if track.kind is not Kind.EVENTS]
        self._of = {track.ssrc: track for track in self.tracks}
        self._packets: dict[int, list[tuple[int, RtpPacket]]] = {t.ssrc: [] for t in self.tracks}
        for record in records:
            packet = record.packet
            if packet is not None and packet.ssrc in self._packets and record.sample >= 0:
                self._packets[packet.ssrc].append((record.sample, packet))
        self.samples = manifest.end_sample
        for placed in self._packets.values():
            for at, packet in placed[-1:]:
                length = self._of[packet.ssrc].duration(len(packet.payload))
                self.samples = max(self.samples, at + length)
        self.pcm = {track.ssrc: self._place(track) for track in self.tracks}
        self._overflow = manifest.overflow_csrc
        self._check(manifest, path)

    def _check(self, manifest: Manifest, path: Path) -> None:
        if not self.tracks:
            raise RecordingError(f"{path} has no audio ({manifest.state})", path=path)

    def _place(self, track: Track) -> Pcm:
        pcm = np.zeros(self.samples * track.scale, np.int16)
        for at, packet in self._packets[track.ssrc]:
            decoded, first = _decode(packet), at * track.scale
            pcm[first : first + len(decoded)] = decoded
        return pcm

    def _span(self, track: Track, at: int, packet: RtpPacket) -> slice:
        """Return what of the capture's clock a packet covers."""
        return slice(at, at + track.duration(len(packet.payload)))

    def mute_coaching(self) -> None:
        """Silence supervisors, and what others heard of them, where no customer heard them."""
        coaches = {t.ssrc for t in self.tracks if t.role == SUPERVISOR and t.kind is Kind.SPOKEN}
        public = {ssrc: self._heard_by_customers(ssrc) for ssrc in coaches}
        of_leg = {self._of[ssrc].leg: ssrc for ssrc in coaches}
        for track in self.tracks:
            if track.kind in _SPOKEN and track.leg in of_leg:
                heard = public[of_leg[track.leg]]
                self.pcm[track.ssrc].reshape(-1, track.scale)[~heard] = 0
        for track in self.tracks:
            if track.kind not in _HEARD or track.role == CUSTOMER:
                continue
            for at, packet in self._packets[track.ssrc]:
                span = self._span(track, at, packet)
                # A list that ran over may hide a coach: then all of them count as present.
                present = coaches if self._overflow in packet.csrc else coaches & {*packet.csrc}
                if any(not public[ssrc][span].all() for ssrc in present):
                    self.pcm[track.ssrc].reshape(-1, track.scale)[span] = 0

    def _heard_by_customers(self, ssrc: int) -> NDArray[np.bool_]:
        heard = np.zeros(self.samples, np.bool_)
        for track in self.tracks:
            if track.kind is Kind.HEARD and track.role == CUSTOMER:
                for at, packet in self._packets[track.ssrc]:
                    if ssrc in packet.csrc:
                        heard[self._span(track, at, packet)] = True
        return heard

    def stereo(self) -> tuple[Pcm, int]:
        """Return (samples, 2): everyone who is not a customer left, customers right; the rate."""
        spoken = [track for track in self.tracks if track.kind is Kind.SPOKEN]
        rate_hz = max((track.rate_hz for track in spoken), default=CLOCK_HZ)
        sides = np.zeros((self.samples * rate_hz // CLOCK_HZ, 2), np.int32)
        for track in spoken:
            pcm = resampled(self.pcm[track.ssrc], track.rate_hz, rate_hz)
            sides[:, 1 if track.role == CUSTOMER else 0] += pcm
        return sides.clip(-32768, 32767).astype(np.int16), rate_hz


def _decode(packet: RtpPacket) -> Pcm:
    codec = CODECS.get(packet.payload_type, "?")
    if codec == "L16":
        return np.frombuffer(packet.payload, ">i2").astype(np.int16)
    if codec not in ("PCMU", "PCMA"):
        raise RecordingError(f"payload type {packet.payload_type} is no audio of ours")
    return _g711_table(codec)[np.frombuffer(packet.payload, np.uint8)]


@lru_cache(maxsize=2)  # the two laws
def _g711_table(codec: str) -> Pcm:
    """Return what libsndfile decodes each of the 256 octets to (G.711)."""
    table, _ = soundfile.read(
        io.BytesIO(bytes(range(256))),
        dtype="int16",
        format="RAW",
        subtype="ULAW" if codec == "PCMU" else "ALAW",
        samplerate=CLOCK_HZ,
        channels=1,
    )
    return np.asarray(table, np.int16)


def _file_name(track: Track) -> str:
    # A leg's name is the embedding program's: it must not lead out of the directory.
    return "".join(c if c.isalnum() or c in "._-" else "_" for c in track.name).lstrip(".") + ".wav"


def _write(file: Path, pcm: Pcm, rate_hz: int) -> Path:
    soundfile.write(file, pcm, rate_hz, format="WAV", subtype="PCM_16")
    return file
