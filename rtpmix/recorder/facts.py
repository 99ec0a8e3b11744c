"""The framing of the `events` track: facts as JSON lines, split over RTP packets where long.

The payloads from one packet after a marker bit up to the next marker bit, joined, are one frame:
UTF-8 JSON objects, one a line, each line ended by a newline.  All packets of a frame share a
timestamp, and the marker is on the last (RFC 3550 section 5.1 leaves its meaning to the payload
format).  A reader that lost a packet drops what it has and starts again after the next marker.

Every fact has ``"event"``, its kind, and ``"sample"``, its place on the capture's clock.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

FRAGMENT = 1200  # payload bytes: within libsrtp's limit and any path's MTU
_LONGEST_FRAME = 4 * 1024 * 1024


def encode_facts(facts: Iterable[Mapping[str, Any]]) -> list[tuple[bytes, bool]]:
    """Return one frame: (payload, whether it is the last) for each RTP packet.

    Raises
    ------
    TypeError
        A fact holds something that is not JSON.
    """
    text = b"".join(json.dumps(fact, separators=(",", ":")).encode() + b"\n" for fact in facts)
    pieces = [text[at : at + FRAGMENT] for at in range(0, len(text), FRAGMENT)]
    return [(piece, number == len(pieces) - 1) for number, piece in enumerate(pieces)]


class FactQueue:
    """Facts that wait to be written: so many, while the disk refuses; then they are counted."""

    def __init__(self, most: int = 10_000) -> None:
        self._facts: list[dict[str, Any]] = []
        self._most = most
        self.lost = 0

    def put(self, fact: dict[str, Any]) -> None:
        """Add a fact at the end."""
        if len(self._facts) < self._most:
            self._facts.append(fact)
        else:
            self.lost += 1

    def take(self) -> list[dict[str, Any]]:
        """Return what waits, in order, and forget it."""
        taken, self._facts = self._facts, []
        return taken


class FactReader:
    """Joins the packets of an `events` track back into facts."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._size = 0
        self._expected = 0
        self._whole = True  # the frame in progress began at its first packet
        self.lost = 0  # frames that could not be read

    def receive(self, sequence: int, marker: bool, payload: bytes) -> list[dict[str, Any]]:
        """Take one packet and return the facts of the frame that it ends, if any."""
        if sequence != self._expected:
            self._whole = False
        self._expected = (sequence + 1) & 0xFFFF
        self._size += len(payload)
        if self._size > _LONGEST_FRAME:
            self._whole = False
        if self._whole:
            self._pieces.append(payload)
        if not marker:
            return []
        text, whole = b"".join(self._pieces), self._whole
        self._pieces, self._size, self._whole = [], 0, True
        if not whole:
            self.lost += 1
            return []
        try:
            facts = [json.loads(line) for line in text.splitlines()]
        except ValueError:
            self.lost += 1
            return []
        return [fact for fact in facts if isinstance(fact, dict)]
