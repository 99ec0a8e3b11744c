"""Digits as RTP events: the payload, a receiver that tells each digit once, a sender.

The receiver's difficulty is that a digit is many packets: updates that repeat its first timestamp,
three copies of its end of which any may be lost, reordered or late, segments with new timestamps
when it lasts longer than 8 s, and the next digit possibly before the end of this one was seen.
What identifies a digit is its **timestamp**; what ends it is the E bit, a later digit, or silence.

References
----------
RFC 4733 sections 2.3, 2.5.1, 2.5.2
"""

from __future__ import annotations

import struct
from collections import deque
from dataclasses import dataclass
from typing import NamedTuple

from ..errors import RtpParseError, UsageError
from .sequence import TIMESTAMP_MODULUS, signed_difference

DIGITS = "0123456789*#ABCD"  # event codes 0 to 15, RFC 4733 section 3.2
MAX_DURATION = 0xFFFF  # clock units in one segment
END_COPIES = 3  # RFC 4733 section 2.5.1.4

_PAYLOAD = struct.Struct("!BBH")
_LONGEST = 1 << 30  # clock units: differences of timestamps stay below half their circle
_MAX_EVENTS = 4  # packed into one packet (section 2.5.1.5); more is no phone


@dataclass(frozen=True, slots=True)
class TelephoneEvent:
    """One event report: the payload of RFC 4733 section 2.3."""

    event: int
    duration: int  # clock units since the packet's timestamp
    end: bool = False
    volume: int = 10  # dBm0 with the sign dropped, 0 to 63

    @classmethod
    def parse(cls, payload: bytes) -> TelephoneEvent:
        """Read the first report of a payload; octets after it are ignored.

        Raises
        ------
        RtpParseError
            Fewer than four octets.
        """
        if len(payload) < _PAYLOAD.size:
            raise RtpParseError(f"a telephone event is 4 octets, this payload has {len(payload)}")
        event, flags, duration = _PAYLOAD.unpack_from(payload)
        return cls(event, duration, bool(flags & 0x80), flags & 0x3F)

    def to_bytes(self) -> bytes:
        """Return the four octets; UsageError when a field does not fit."""
        if not 0 <= self.volume <= 63:
            raise UsageError(f"an event volume of {self.volume}; it is 0 to 63 dBm0 below zero")
        try:
            return _PAYLOAD.pack(self.event, (0x80 if self.end else 0) | self.volume, self.duration)
        except struct.error as exc:
            raise UsageError(f"a telephone event field does not fit: {exc}") from exc


class Digit(NamedTuple):
    """A digit that was pressed and is over."""

    digit: str
    duration: int  # clock units
    timestamp: int  # RTP timestamp of its beginning


@dataclass(slots=True)
class _Pressed:
    """The digit that is being pressed."""

    event: int
    began: int  # timestamp of its first segment
    segment: int  # timestamp of its present segment
    before: int  # clock units in earlier segments
    duration: int  # clock units in the present segment, as far as told
    heard: int  # when its last report came


class DigitReceiver:
    """Turn event packets of one source into digits, each told once, at its end.

    Parameters
    ----------
    timeout
        A digit that no report was heard of for so many clock units is over: its end was lost.

    Notes
    -----
    Never raises for what a peer sends; `malformed` and `ignored` count what was of no use.
    ``now`` is any clock in the same units that does not wrap; RTP timestamps need not relate to it.
    """

    __slots__ = ("_ended", "_pressed", "ignored", "malformed", "timeout")

    def __init__(self, *, timeout: int = 1600) -> None:
        if timeout <= 0:
            raise UsageError(f"a digit timeout of {timeout} clock units; 1600 is 200 ms")
        self.timeout = timeout
        self.malformed = 0  # packets
        self.ignored = 0  # reports that are no DTMF digit, or say zero duration
        self._pressed: _Pressed | None = None
        self._ended: int | None = None  # timestamp of the last segment of the last digit

    @property
    def deadline(self) -> int | None:
        """When `expire` has something to tell if nothing more is heard; None between digits."""
        return None if self._pressed is None else self._pressed.heard + self.timeout

    def receive(
        self, payload: bytes, *, timestamp: int, now: int, marker: bool = False
    ) -> tuple[Digit, ...]:
        """Take the payload of one packet; return the digits that are now over, oldest first."""
        whole, rest = divmod(len(payload), _PAYLOAD.size)
        if rest or not 1 <= whole <= _MAX_EVENTS:
            self.malformed += 1
            return ()
        told = list(self.expire(now))
        for i in range(whole):
            report = TelephoneEvent.parse(payload[_PAYLOAD.size * i :])
            told += self._report(report, timestamp, now, marker)
            timestamp = (timestamp + report.duration) % TIMESTAMP_MODULUS
        return tuple(told)

    def expire(self, now: int) -> tuple[Digit, ...]:
        """Return the digit whose end was lost, when its timeout has passed."""
        if self._pressed is None or now - self._pressed.heard < self.timeout:
            return ()
        return (self._finish(self._pressed),)

    def reset(self) -> None:
        """Forget everything: the source began a new stream with timestamps of its own."""
        self._pressed = None
        self._ended = None

    def _report(
        self, report: TelephoneEvent, timestamp: int, now: int, marker: bool
    ) -> list[Digit]:
        # Duration 0 is for states; a digit is none, and section 2.3.5 says to ignore it.
        if report.event >= len(DIGITS) or report.duration == 0:
            self.ignored += 1
            return []
        if self._is_old(timestamp):
            return []
        told: list[Digit] = []
        pressed = self._pressed
        if pressed is None or timestamp != pressed.segment:
            if pressed is not None and self._continues(pressed, report, timestamp, marker):
                pressed.before = (timestamp - pressed.began) % TIMESTAMP_MODULUS
                pressed.segment, pressed.duration = timestamp, 0
            else:
                if pressed is not None:
                    told.append(self._finish(pressed))  # its end was lost
                pressed = _Pressed(report.event, timestamp, timestamp, 0, 0, now)
                self._pressed = pressed
        pressed.heard = now
        pressed.duration = max(pressed.duration, report.duration)  # packets may be reordered
        if report.end:
            told.append(self._finish(pressed))
        return told

    def _is_old(self, timestamp: int) -> bool:
        """True for a late or repeated report of a digit, or of a segment, that is over.

        More than a segment behind is no repetition: the source has restarted its timestamps.
        """
        if self._pressed is not None:
            return 0 < signed_difference(self._pressed.segment, timestamp) <= MAX_DURATION
        if self._ended is None:
            return False
        return 0 <= signed_difference(self._ended, timestamp) <= MAX_DURATION

    def _continues(
        self, pressed: _Pressed, report: TelephoneEvent, timestamp: int, marker: bool
    ) -> bool:
        """True for the next segment of a long digit: the same event, no gap, no marker.

        The reports before may be lost, so "no gap" is what the timeout would have bridged.
        """
        gap = signed_difference(timestamp, pressed.segment + pressed.duration)
        return report.event == pressed.event and not marker and 0 <= gap <= self.timeout

    def _finish(self, pressed: _Pressed) -> Digit:
        self._pressed = None
        self._ended = pressed.segment
        return Digit(DIGITS[pressed.event], pressed.before + pressed.duration, pressed.began)


class EventPacket(NamedTuple):
    """What to send instead of audio in this packet time."""

    payload: bytes
    timestamp: int
    marker: bool


class DigitSender:
    """Say a queue of digits, one packet per packet time.

    Parameters
    ----------
    packet_samples
        Clock units from one packet to the next.
    """

    __slots__ = ("_began", "_copies", "_queue", "_resume", "_segment", "packet_samples")

    def __init__(self, *, packet_samples: int = 160) -> None:
        if packet_samples <= 0:
            raise UsageError(f"{packet_samples} samples in a packet; 160 is 20 ms at 8000 Hz")
        self.packet_samples = packet_samples
        self._queue: deque[tuple[int, int, int]] = deque()  # event, duration, pause
        self._began: int | None = None  # timestamp of the digit in progress
        self._segment = 0  # timestamp of its present segment
        self._copies = 0  # of a final packet, sent so far
        self._resume: int | None = None  # timestamp before which the pause lasts

    def press(self, digits: str, *, duration: int = 1280, pause: int = 800) -> None:
        """Queue digits, each of ``duration`` clock units with ``pause`` after it.

        Raises
        ------
        UsageError
            A character that is no digit, or a length that is not positive.
        """
        unknown = sorted(set(digits.upper()) - set(DIGITS))
        if unknown:
            raise UsageError(f"no DTMF digit: {' '.join(unknown)!r}; there are {DIGITS}")
        if not 0 < duration <= _LONGEST or not 0 <= pause <= _LONGEST:
            raise UsageError(
                f"a digit of {duration} and a pause of {pause} clock units; "
                f"a digit lasts 1 to {_LONGEST}, a pause 0 to {_LONGEST}"
            )
        self._queue.extend((DIGITS.index(d), duration, pause) for d in digits.upper())

    @property
    def idle(self) -> bool:
        """True when no digit is being said or waits; the pause after the last may still last."""
        return self._began is None and not self._queue

    @property
    def waiting(self) -> int:
        """Clock units that the digits take which are being said or wait, with their pauses."""
        return sum(duration + pause for _, duration, pause in self._queue)

    def clear(self) -> None:
        """Drop the digits that have not begun."""
        while len(self._queue) > (self._began is not None):
            self._queue.pop()

    def next_packet(self, timestamp: int) -> EventPacket | None:
        """Return what to send in the packet time that begins at ``timestamp``.

        None while there is nothing to say or a pause lasts: send audio.
        """
        if self._began is None:
            waits = self._resume is not None and signed_difference(timestamp, self._resume) < 0
            if not self._queue or waits:
                return None
            self._began = self._segment = timestamp
            self._copies = 0
            return self._packet(timestamp, marker=True)
        return self._packet(timestamp, marker=False)

    def _packet(self, timestamp: int, *, marker: bool) -> EventPacket:
        event, duration, pause = self._queue[0]
        began = self._began if self._began is not None else timestamp
        end = began + duration
        so_far = min(signed_difference(timestamp + self.packet_samples, began), duration)
        in_segment = so_far - signed_difference(self._segment, began)
        if in_segment > MAX_DURATION:
            return self._segment_end(event, marker)
        if so_far < duration:
            return self._report(event, in_segment, marker, end=False)
        packet = self._report(event, in_segment, marker, end=True)
        self._copies += 1
        if self._copies == END_COPIES:
            self._queue.popleft()
            self._began = None
            self._resume = (end + pause) % TIMESTAMP_MODULUS
        return packet

    def _segment_end(self, event: int, marker: bool) -> EventPacket:
        """Section 2.5.1.3: the full duration, no E bit, and the next segment starts at its end."""
        packet = self._report(event, MAX_DURATION, marker, end=False)
        self._copies += 1
        if self._copies == END_COPIES:
            self._copies = 0
            self._segment = (self._segment + MAX_DURATION) % TIMESTAMP_MODULUS
        return packet

    def _report(self, event: int, duration: int, marker: bool, *, end: bool) -> EventPacket:
        return EventPacket(TelephoneEvent(event, duration, end).to_bytes(), self._segment, marker)
