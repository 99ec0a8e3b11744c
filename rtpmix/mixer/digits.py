"""Digits of all legs: heard as RFC 4733 events, told once, forwarded along a matrix of their own.

A digit is forwarded when it is over, whole: half a digit whose end was lost never leaves here.
"""

from __future__ import annotations

from collections.abc import Callable

from ..rtp.dtmf import Digit, DigitReceiver, DigitSender, EventPacket
from ..rtp.packet import RtpPacket
from .commands import DigitPressed, MixerEvent, SendDigits
from .inband import InbandDigits
from .rows import FRAME, Rows
from .switchboard import Switchboard

SAMPLES_A_MS = 8
MAX_WAITING = 64  # digits that wait to be sent to one leg
FORWARD_PAUSE = 40 * SAMPLES_A_MS
# Events take the place of audio, so no more of others' digits than this waits for one listener. Who
# presses keys presses no more than time goes on; packets may claim that they did.
MAX_FORWARDED = 5000 * SAMPLES_A_MS
TIMEOUT = 200 * SAMPLES_A_MS  # a digit of which nothing was heard for so long is over


class Digits:
    """Receives, tells, forwards and sends digits."""

    def __init__(self, rows: Rows, board: Switchboard, events: list[MixerEvent]) -> None:
        self._rows = rows
        self._board = board
        self._events = events
        self._receivers: dict[int, DigitReceiver] = {}  # by row
        self._pressed: set[int] = set()  # rows with a digit that is not over
        self._senders: dict[int, DigitSender] = {}
        self.saying: dict[int, DigitSender] = {}  # rows that send events now
        self._waiting: dict[int, int] = {}
        self.now: Callable[[], int] = lambda: 0
        self.inband = InbandDigits(self.heard_inband)

    def forget(self, row: int) -> None:
        """Drop everything of a row that is given back."""
        self._receivers.pop(row, None)
        self.inband.watch(row, False)
        self._pressed.discard(row)
        self._senders.pop(row, None)
        self._waiting.pop(row, None)
        self.saying.pop(row, None)

    def change_clock(self, row: int) -> None:
        """The clock of a row's events is another one: what is being said or pressed is dropped."""
        if row in self.saying:
            self._board.changed(int(self._rows.phase[row]))
        self._receivers.pop(row, None)
        self._pressed.discard(row)
        self._senders.pop(row, None)
        self._waiting.pop(row, None)
        self.saying.pop(row, None)

    def restart(self, row: int) -> None:
        """The source of a row began a new stream."""
        receiver = self._receivers.get(row)
        if receiver is not None:
            receiver.reset()
        self._pressed.discard(row)

    def take(self, row: int, packet: RtpPacket) -> None:
        """Take one event packet."""
        receiver = self._receivers.get(row)
        if receiver is None:
            timeout = TIMEOUT * self._scale(row)
            receiver = self._receivers[row] = DigitReceiver(timeout=timeout)
        now = self.now() * self._scale(row)
        told = receiver.receive(
            packet.payload, timestamp=packet.timestamp, now=now, marker=packet.marker
        )
        self._tell(row, told)
        if receiver.deadline is None:
            self._pressed.discard(row)
        else:
            self._pressed.add(row)

    def expire(self) -> None:
        """Tell the digits whose end was lost."""
        now = self.now()
        for row in list(self._pressed):
            receiver = self._receivers[row]
            self._tell(row, receiver.expire(now * self._scale(row)))
            if receiver.deadline is None:
                self._pressed.discard(row)

    def heard_inband(self, row: int, digit: str, duration: int) -> None:
        """Tell a digit that came as tones and lasted so many samples."""
        self._tell(row, (Digit(digit, duration * self._scale(row), 0),))

    def _tell(self, row: int, digits: tuple[Digit, ...]) -> None:
        now, scale = self.now(), self._scale(row)
        for digit in digits:
            seat = int(self._rows.seat[row])
            self._rows.digits[row] += 1
            duration = digit.duration // scale
            duration_ms = duration // SAMPLES_A_MS
            self._events.append(DigitPressed(now, seat, digit.digit, duration_ms))
            self._forward(seat, digit.digit, duration)

    def _scale(self, row: int) -> int:
        """Return how many units of the clock of a row's events make one of 8000 Hz."""
        return int(self._rows.dtmf_scale[row])

    def _forward(self, seat: int, digit: str, duration: int) -> None:
        bridge = self._board.bridge_of.get(seat)
        if bridge is None:
            return
        for listener in bridge.forwards.of(seat):
            row = self._rows.of_seat.get(listener)
            if row is None or self._refusal(row, 1) is not None:
                continue
            sender = self._senders.get(row)
            waits = sender.waiting // self._scale(row) if sender is not None else 0
            duration = min(max(duration, 2 * FRAME), MAX_FORWARDED)
            if waits + duration <= MAX_FORWARDED:
                self._press(row, digit, duration, FORWARD_PAUSE)

    # -------------------------------------------------------------------------------- sending

    def send(self, row: int, command: SendDigits) -> str | None:
        """Queue digits for a leg; return why not, or None."""
        why = self._refusal(row, len(command.digits))
        if why is not None:
            return why
        unknown = set(command.digits.upper()) - set("0123456789*#ABCD")
        if unknown or command.duration_ms <= 0 or command.pause_ms < 0:
            return "digits are 0-9 * # A-D, their duration above 0 ms, their pause not below"
        duration = command.duration_ms * SAMPLES_A_MS
        self._press(row, command.digits, duration, command.pause_ms * SAMPLES_A_MS)
        return None

    def _refusal(self, row: int, count: int) -> str | None:
        if self._rows.dtmf_payload_type[row] < 0:
            return "the leg has not negotiated telephone-event"
        if not self._rows.sends[row]:
            return "nothing is sent to the leg now"
        if self._waiting.get(row, 0) + count > MAX_WAITING:
            return f"{MAX_WAITING} digits wait already"
        return None

    def _press(self, row: int, digits: str, duration: int, pause: int) -> None:
        sender = self._senders.get(row)
        if sender is None:
            packet_samples = FRAME * self._scale(row)
            sender = self._senders[row] = DigitSender(packet_samples=packet_samples)
        scale = self._scale(row)
        sender.press(digits, duration=duration * scale, pause=pause * scale)
        self._waiting[row] = self._waiting.get(row, 0) + len(digits)
        if row not in self.saying:
            self.saying[row] = sender
            self._board.changed(int(self._rows.phase[row]))

    def next_packet(self, row: int) -> EventPacket | None:
        """Return the event to send in this frame; None: audio, in a pause or when all is said."""
        sender = self.saying[row]
        timestamp = int(self._rows.timestamp_out[row]) * self._scale(row)
        packet = sender.next_packet(timestamp & 0xFFFF_FFFF)
        if packet is None and sender.idle:
            del self.saying[row]
            self._waiting.pop(row, None)
            self._board.changed(int(self._rows.phase[row]))
        return packet
