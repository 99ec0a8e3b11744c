"""What a server remembers of legs, bridges and sources that its workers carry."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from ..mixer import commands as media
from ..mixer.commands import Command
from . import worker_messages as say
from .secure_io import Position
from .worker_process import WorkerProcess


@dataclass(slots=True)
class PlacedBridge:
    """A bridge: who mixes it, and what has not been told yet."""

    worker: WorkerProcess
    held: deque[media.SetMatrix | media.CloseBridge] = field(default_factory=deque)
    tokens: dict[int, bool] = field(default_factory=dict)  # not reached yet: committed?


@dataclass(slots=True)
class PlacedLeg:
    """What must be said again when a leg moves."""

    connect: say.Connect | None = None
    recorded: media.Record | None = None
    detects: media.DetectDigits | None = None
    taps: dict[int, media.OpenTap] = field(default_factory=dict)
    keyed: bool = False  # by signalling, or by a DTLS handshake
    position: Position | None = None  # of its keys, while it is on its way
    going_to: WorkerProcess | None = None
    waiting: list[object] = field(default_factory=list)  # for it to arrive

    def note(self, message: object) -> None:
        """Remember what is being said to its worker."""
        if isinstance(message, say.Connect):
            self.connect = message
        elif isinstance(message, say.Secure):
            self.keyed = message.keys is not None
        elif isinstance(message, media.Record):
            self.recorded = message if message.on else None
        elif isinstance(message, media.DetectDigits):
            self.detects = message if message.on else None
        elif isinstance(message, media.OpenTap):
            self.taps[message.tap] = message
        elif isinstance(message, media.CloseSeat):
            self.taps.pop(message.seat, None)


@dataclass(slots=True)
class PlacedSource:
    """A source or a tap that sits in a bridge, as soon as one is known."""

    opening: Command
    worker: WorkerProcess | None = None
    plays: list[media.Play] = field(default_factory=list)  # what it still has to say
