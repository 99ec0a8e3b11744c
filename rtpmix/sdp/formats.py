"""Which formats are offered, and the payload type numbers that they get.

References
----------
RFC 3264 sections 5.1 and 8.3.2; RFC 3551 section 6; RFC 4733 section 2.1
"""

from __future__ import annotations

from typing import Protocol

from ..audio.codecs import CODECS
from .description import RtpMap
from .stream import CLOCK_HZ, COMFORT_NOISE, EVENTS

_USUAL_EVENTS_PAYLOAD_TYPE = 101
_DYNAMIC = range(96, 128)  # RFC 3551 section 6


class Slot(Protocol):
    """An ``m=`` line of before."""

    @property
    def formats(self) -> tuple[str, ...]:
        """Its payload types."""


class Session(Protocol):
    """What is agreed on so far; `negotiation.Negotiated`."""

    @property
    def codec(self) -> str:
        """The codec in use."""

    @property
    def receive_payload_type(self) -> int:
        """Its number on what the peer sends."""

    @property
    def numbers(self) -> tuple[RtpMap, ...]:
        """What every number means."""

    @property
    def slots(self) -> tuple[Slot, ...]:
        """The ``m=`` lines."""

    @property
    def index(self) -> int:
        """Which of them is the audio."""


def merged(
    before: tuple[RtpMap, ...], said: tuple[RtpMap, ...], formats: list[RtpMap]
) -> tuple[RtpMap, ...]:
    """Return what every number means, as first told (RFC 3264 section 8.3.2)."""
    found: dict[int, RtpMap] = {}
    for mapping in (*before, *said, *formats):
        found.setdefault(mapping.payload_type, mapping)
    return tuple(found.values())


class _Numbers:
    """Gives out payload type numbers; in a session one number keeps its meaning."""

    def __init__(self, previous: Session | None) -> None:
        known = previous.numbers if previous is not None else ()
        self._known = {(m.encoding, m.clock_hz, m.channels): m.payload_type for m in known}
        self._taken = {mapping.payload_type for mapping in known}
        if previous is not None and previous.index < len(previous.slots):
            used = previous.slots[previous.index].formats
            self._taken |= {int(text) for text in used if text.isascii() and text.isdigit()}

    def take(self, encoding: str, clock_hz: int, channels: int, *usual: int) -> RtpMap | None:
        """Return the mapping of a format; None when no number is left."""
        number = self._known.get((encoding, clock_hz, channels))
        if number is None:
            order = (*usual, *(n for n in _DYNAMIC if n != _USUAL_EVENTS_PAYLOAD_TYPE))
            number = next((n for n in order if n not in self._taken), None)
        if number is None:
            return None
        self._taken.add(number)
        return RtpMap(number, encoding, clock_hz, channels)


def formats_to_offer(
    codecs: tuple[str, ...], previous: Session | None, *, noise: bool, dtmf: bool
) -> list[RtpMap]:
    """Return all our formats, the codec in use first."""
    numbers = _Numbers(previous)
    names = list(codecs)
    if previous is not None and previous.codec in names:
        names.sort(key=lambda name: name != previous.codec)
    formats: list[RtpMap | None] = []
    clocks: dict[int, None] = {}
    for codec in (CODECS[name] for name in names):
        form = (codec.encoding, codec.clock_hz, codec.channels)
        if previous is not None and codec.name == previous.codec:
            formats.append(RtpMap(previous.receive_payload_type, *form))
        elif codec.payload_type is not None:
            formats.append(RtpMap(codec.payload_type, *form))
        else:
            formats.append(numbers.take(*form))
        clocks[codec.clock_hz] = None
    if noise:
        formats.append(COMFORT_NOISE)
    if dtmf:
        # RFC 4733 section 2.1: the clock of events is that of the audio beside them.
        for clock_hz in clocks:
            usual = (_USUAL_EVENTS_PAYLOAD_TYPE,) if clock_hz == CLOCK_HZ else ()
            formats.append(numbers.take(EVENTS, clock_hz, 1, *usual))
    return [mapping for mapping in formats if mapping is not None]
