"""The phones of the soak, each with the network before it.

A phone loses, delays and stalls what it sends, its clock is off, it suppresses silence, draws a new
stream now and then, and presses keys. A steady one does nothing but talk, over a network that loses
as much but delays little.
"""

from __future__ import annotations

import random
import struct

import numpy as np

from rtpmix.mixer import g711
from rtpmix.rtp.dtmf import DigitSender

FRAME = 160
LOSS, JITTER_S, STEADY_JITTER_S = 0.01, 0.03, 0.004
NOISE, EVENTS = 13, 101  # payload types

_T = np.arange(50 * FRAME) / 8000
_VOICE = sum(np.sin(2 * np.pi * 130 * k * _T) / k for k in range(1, 6)) * (1 + np.sin(8 * _T))
CODES = [
    frame.tobytes()
    for frame in g711.encode(np.rint(2500 * _VOICE).astype(np.int16), g711.PCMU).reshape(-1, FRAME)
]


class Peer:
    """A phone and the network before it."""

    def __init__(self, dice: random.Random, now: float, *, skew: float, steady: bool) -> None:
        self._dice = dice
        self._step = 0.02 * (1 + skew)
        self._steady = steady
        self._due = now + dice.random() * 0.02
        self._quiet_until = 0.0
        self._stalled_until = 0.0
        self._frame = 0
        self._restart()

    def _restart(self) -> None:
        dice = self._dice
        self._ssrc, self._timestamp = dice.getrandbits(32), dice.getrandbits(32)
        self._sequence = dice.getrandbits(16)
        self._digits = DigitSender(packet_samples=FRAME)  # a key that was pressed goes with it

    def sent(self, until: float) -> list[tuple[float, bytes]]:
        """Return what it sends until then: time of arrival, datagram."""
        found = []
        while self._due < until:
            packet = self._packet()
            if packet is not None and self._dice.random() >= LOSS:
                found.append((self._arrival(), packet))
            self._due += self._step
            self._timestamp += FRAME
        return found

    def _arrival(self) -> float:
        dice = self._dice
        if self._steady:
            return self._due + dice.random() * STEADY_JITTER_S
        if dice.random() < 1 / 20_000:
            self._stalled_until = self._due + 0.2
        return max(self._due + dice.random() * JITTER_S, self._stalled_until)

    def _packet(self) -> bytes | None:
        kind, payload = 0, CODES[self._frame % 50]
        self._frame += 1
        if not self._steady:
            fate = self._dice.random()
            if fate < 1 / 20_000:
                self._restart()
            elif fate < 1 / 5000 and self._due > self._quiet_until:
                self._quiet_until = self._due + self._dice.random() * 5
                kind, payload = NOISE, bytes((50, 120))
            elif fate < 1 / 4000:
                self._digits.press("7", duration=1280, pause=640)
        if kind == 0 and self._due < self._quiet_until:
            return None
        if not self._digits.idle:
            event = self._digits.next_packet(self._timestamp & 0xFFFF_FFFF)
            if event is not None:
                return self._write(EVENTS, event.payload, event.timestamp)
        return self._write(kind, payload, self._timestamp)

    def _write(self, kind: int, payload: bytes, timestamp: int) -> bytes:
        self._sequence = self._sequence + 1 & 0xFFFF
        head = (0x80, kind, self._sequence, timestamp & 0xFFFF_FFFF, self._ssrc)
        return struct.pack("!BBHII", *head) + payload
