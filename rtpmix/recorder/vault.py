"""The SRTP keys of a capture: fresh for each track and segment, on disk before they are used."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from ..errors import RecordingError, SrtpError, UsageError
from ..rtp.srtp import MasterKey, find_suite
from .durable import replace_durably
from .keys import KeysTamperedError, Recipients
from .manifest import FORMAT, KEYS
from .track import Track


class KeyVault:
    """Makes a capture's keys and keeps `keys.jwe` ahead of every packet.

    Parameters
    ----------
    path
        The capture's directory.
    capture_id
        Ties `keys.jwe` to its manifest.
    """

    def __init__(
        self,
        path: Path,
        *,
        capture_id: str,
        suite: str,
        recipients: Recipients,
        entropy: Callable[[int], bytes],
    ) -> None:
        self._path = path / KEYS
        self._capture_id = capture_id
        self._suite = suite
        self._recipients = recipients
        self._entropy = entropy
        self._keys: dict[tuple[int, str], tuple[Track, MasterKey]] = {}
        self._durable = False

    def provide(self, segment: int, tracks: Iterable[Track]) -> None:
        """Make the keys that are missing and put all of them on disk.

        Raises
        ------
        OSError
            The disk refused: no key that is not on disk may be used.
        """
        for track in tracks:
            if (segment, track.name) not in self._keys:
                key = MasterKey.generate(self._suite, random_bytes=self._entropy)
                self._keys[segment, track.name] = (track, key)
                self._durable = False
        if not self._durable:
            replace_durably(self._path, self._recipients.seal(self._content()))
            self._durable = True

    def key(self, segment: int, track: Track) -> MasterKey:
        """Return a key that `provide` made."""
        return self._keys[segment, track.name][1]

    def _content(self) -> dict[str, Any]:
        segments: dict[int, list[dict[str, Any]]] = {}
        for (segment, name), (track, key) in self._keys.items():
            segments.setdefault(segment, []).append({
                "name": name,
                "ssrc": track.ssrc,
                "port": track.port,
                "key": base64.b64encode(key.material).decode(),
            })  # fmt: skip
        return {
            "format": FORMAT,
            "capture_id": self._capture_id,
            "suite": self._suite,
            "segments": [
                {"number": number, "tracks": tracks} for number, tracks in segments.items()
            ],
        }


def open_vault(
    directory: Path, recipients: Recipients, capture_id: str
) -> dict[tuple[int, int], MasterKey]:
    """Decrypt a capture's `keys.jwe`.

    Returns
    -------
    dict
        The master key of each (segment, SSRC).

    Raises
    ------
    KeysTamperedError
        It was changed, or is another capture's.
    RecordingError
        It is missing, or not for these recipients.
    """
    path = directory / KEYS
    try:
        data = path.read_bytes()
    except OSError as exc:
        raise RecordingError(f"can't read {path}: {exc.strerror}", path=path) from exc
    content = recipients.open(data, path=path)
    try:
        if content["capture_id"] != capture_id:
            raise KeysTamperedError("keys.jwe belongs to another capture", path=path)
        suite = find_suite(content["suite"])
        return {
            (int(segment["number"]), int(track["ssrc"])): MasterKey(
                suite, base64.b64decode(track["key"], validate=True)
            )
            for segment in content["segments"]
            for track in segment["tracks"]
        }
    except (KeyError, ValueError, TypeError, binascii.Error, SrtpError, UsageError):
        # The cause would carry key material into a traceback.
        raise KeysTamperedError("keys.jwe does not hold a capture's keys", path=path) from None
