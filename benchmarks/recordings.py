"""What is in the files after every call of a load was recorded: read, authenticated, counted."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from rtpmix.recorder import Recipients, Verdict, load_key, verify
from rtpmix.recorder.manifest import load_manifest
from rtpmix.recorder.pcap import scan
from rtpmix.recorder.track import Kind

FRAME = 160  # samples
KEY = "recording.key"


class _Track(NamedTuple):
    frames: int
    missing: int


def key_file(directory: Path) -> Path:
    """Return where the server keeps the key of its recordings."""
    return directory / KEY


def judge(directory: Path, legs: int, at_least: int) -> dict[str, Any]:
    """Verify every capture below a directory and count the frames that are not there.

    Parameters
    ----------
    legs
        How many were recorded.
    at_least
        Frames that each track has to have: of the time in which all legs were up.

    Returns
    -------
    Captures, those that are not sealed and unchanged, tracks, frames and frames missing: between
    two packets of a track, to the least number, and what the recorder itself declared lost.
    """
    keys = load_key(key_file(directory))
    broken, declared, tracks = 0, 0, list[_Track]()
    captures = sorted(path for path in directory.iterdir() if path.is_dir())
    for path in captures:
        verdict, lost, found = _judge_one(path, keys, at_least)
        broken += verdict is not Verdict.SEALED
        declared += lost
        tracks += found
    absent = max(2 * legs - len(tracks), 0)
    return {
        "captures": len(captures),
        "captures_not_sealed": broken,
        "tracks": len(tracks),
        "frames_in_files": sum(track.frames for track in tracks),
        "frames_missing_in_files": sum(track.missing for track in tracks) + absent * at_least,
        "frames_declared_lost": declared,
    }


def _judge_one(path: Path, keys: Recipients, at_least: int) -> tuple[Verdict, int, list[_Track]]:
    report = verify(path, keys)  # authenticates every packet
    left_out = _left_out(path)
    tracks = []
    for found in report.tracks:
        if found.track.kind is Kind.EVENTS:
            continue
        short = max(at_least - found.packets, 0)
        tracks.append(_Track(found.packets, max(left_out.get(found.track.ssrc, 0), short)))
    lost = sum(int(gap.get("frames", 0)) for gap in report.gaps)
    return (report.verdict if report.with_keys else Verdict.UNSEALED), lost, tracks


def _left_out(path: Path) -> dict[int, int]:
    """Return by SSRC how many frames would fit between those that are there.

    A bridge that is moved to another phase of the tick is mixed a fraction of a frame later or
    earlier, once: that is less than a frame.
    """
    manifest, _ = load_manifest(path)
    events = {track.ssrc for track in manifest.tracks if track.kind is Kind.EVENTS}
    last: dict[int, int] = {}
    missing: dict[int, int] = {}
    for segment in manifest.segments:
        for datagram in scan((path / segment.file).read_bytes()):
            ssrc = int.from_bytes(datagram.payload[8:12], "big")
            if datagram.port & 1 or ssrc in events:
                continue
            at = int.from_bytes(datagram.payload[4:8], "big")
            step = at - last.get(ssrc, at - FRAME)
            missing[ssrc] = missing.get(ssrc, 0) + max(step // FRAME - 1, 0)
            last[ssrc] = at
    return missing
