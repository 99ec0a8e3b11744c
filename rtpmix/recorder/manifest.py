"""`manifest.json`: what a capture is, in clear while it is written, signed when it is sealed.

While a capture is written the file is the manifest itself.  Sealed, it is a flattened JWS whose
payload is the manifest.  It holds no key and no audio; who called whom is in it only if the
embedding program put it into the metadata.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import RecordingError
from .durable import replace_durably
from .segment import SegmentEntry
from .signing import SigningKey, VerifyKey, check_signature, is_signed
from .track import CLOCK_HZ, Track

MANIFEST = "manifest.json"
KEYS = "keys.jwe"
FORMAT = "rtpmix-capture-1"
_LARGEST = 64 * 1024 * 1024


@dataclass(slots=True, kw_only=True)
class Manifest:
    """The facts of one capture."""

    conversation_id: str
    capture_id: str
    suite: str
    state: str = "recording"  # then "sealed", or "recovered" by another process
    created: float  # seconds since the epoch, at sample 0
    origin: int = 0  # sample 0 on the media host's own clock
    end_sample: int = 0
    overflow_csrc: int  # stands in a CSRC list for the contributors that did not fit
    metadata: dict[str, Any] = field(default_factory=dict)
    policies: dict[str, Any] = field(default_factory=dict)
    tracks: list[Track] = field(default_factory=list)
    contributors: dict[int, int] = field(default_factory=dict)  # seat: CSRC
    segments: list[SegmentEntry] = field(default_factory=list)
    gaps: list[dict[str, Any]] = field(default_factory=list)
    recovery: dict[str, Any] | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the manifest as JSON values."""
        return {
            "format": FORMAT,
            "conversation_id": self.conversation_id,
            "capture_id": self.capture_id,
            "state": self.state,
            "created": self.created,
            "media_clock": {"rate": CLOCK_HZ, "origin": self.origin, "end": self.end_sample},
            "suite": self.suite,
            "metadata": self.metadata,
            "policies": self.policies,
            "tracks": [track.to_json() for track in self.tracks],
            "contributors": [
                {"seat": seat, "csrc": csrc} for seat, csrc in self.contributors.items()
            ],
            "overflow_csrc": self.overflow_csrc,
            "segments": [segment.to_json() for segment in self.segments],
            "gaps": self.gaps,
            "recovery": self.recovery,
        }

    @classmethod
    def from_json(cls, entry: Any) -> Manifest:
        """Read a manifest's JSON values.

        Raises
        ------
        RecordingError
            They are none.
        """
        try:
            if entry["format"] != FORMAT:
                raise ValueError("another format")
            clock = entry["media_clock"]
            return cls(
                conversation_id=str(entry["conversation_id"]),
                capture_id=str(entry["capture_id"]),
                suite=str(entry["suite"]),
                state=str(entry["state"]),
                created=float(entry["created"]),
                origin=int(clock["origin"]),
                end_sample=int(clock["end"]),
                overflow_csrc=int(entry["overflow_csrc"]),
                metadata=dict(entry["metadata"]),
                policies=dict(entry["policies"]),
                tracks=[Track.from_json(track) for track in entry["tracks"]],
                contributors={int(c["seat"]): int(c["csrc"]) for c in entry["contributors"]},
                segments=[SegmentEntry.from_json(segment) for segment in entry["segments"]],
                gaps=[dict(gap) for gap in entry["gaps"]],
                recovery=None if entry["recovery"] is None else dict(entry["recovery"]),
            )
        except (KeyError, ValueError, TypeError, AttributeError) as exc:
            raise RecordingError(f"{MANIFEST} is not a capture's manifest") from exc

    def save(self, directory: Path, signing_key: SigningKey | None = None) -> None:
        """Write the manifest, signed if a key is given, so that it outlives a power cut.

        Raises
        ------
        OSError
            The disk refused; the manifest on disk is unchanged.
        """
        payload = json.dumps(self.to_json(), indent=1).encode() + b"\n"
        data = payload if signing_key is None else signing_key.sign(payload)
        replace_durably(directory / MANIFEST, data)


def load_manifest(directory: Path) -> tuple[Manifest, VerifyKey | None]:
    """Read a capture's manifest, and tell who signed it (None: nobody has yet).

    Raises
    ------
    RecordingError
        There is none, it is none, or its signature is wrong.
    """
    path = directory / MANIFEST
    try:
        if path.stat().st_size > _LARGEST:
            raise RecordingError(f"{path} is too large to be a manifest", path=path)
        document = json.loads(path.read_bytes())
    except OSError as exc:
        raise RecordingError(f"can't read {path}: {exc.strerror}", path=path) from exc
    except (ValueError, RecursionError):
        raise RecordingError(f"{path} is not JSON", path=path) from None
    if not is_signed(document):
        return Manifest.from_json(document), None
    payload, signer = check_signature(document)
    try:
        return Manifest.from_json(json.loads(payload)), signer
    except (ValueError, RecursionError):
        raise RecordingError(f"{path} is not JSON", path=path) from None
