"""Recordings: what taps a bridge and hands it to the capture writer."""

from __future__ import annotations

import asyncio
import dataclasses
import enum
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..audio.codecs import CODECS, NARROW_HZ
from ..events import RecordingGap, RecordingStarted, RecordingStopped
from ..mixer.commands import Record
from ..mixer.g711 import LAWS
from ..recorder import CaptureSummary, Recipients, load_or_make_key
from ..supervision import Fact, Routing
from .process_host import ProcessHost
from .recording_writer import InlineRecordingWriter, RecordingWriter

if TYPE_CHECKING:
    from .bridge import Bridge
    from .leg import Leg
    from .seating import Seating
    from .switchboard import Switchboard

DEFAULT_KEY = Path("~/.config/rtpmix/recording.key")


class Recording:
    """A capture in the making; made by `Bridge.record`.

    Attributes
    ----------
    id
        Name in events, "recording-14".
    path
        The capture's directory.
    """

    def __init__(self, board: Switchboard, bridge: Seating, number: int, path: Path) -> None:
        self.id = f"recording-{number}"
        self.number = number
        self.path = path
        self._board = board
        self._bridge = bridge
        self._stopping: asyncio.Task[RecordingStopped] | None = None
        self._legs: set[int] = set()

    def __repr__(self) -> str:
        return f"<Recording {self.id}>"

    @property
    def _writer(self) -> RecordingWriter:
        return self._board.recorders.writer

    def add_leg(self, leg: Leg) -> None:
        """Record a leg from the next tick on."""
        role = self._bridge.role(leg).value
        host = self._board.host
        self._legs.add(leg.number)
        # Of other codecs the capture has the view at 8 kHz, and what there is at a higher rate.
        law = leg.codec if leg.codec in LAWS else "PCMU"
        codec = CODECS.get(leg.codec)
        rate_hz = NARROW_HZ if codec is None else codec.rate_hz
        rate_hz = min(rate_hz, self._board.config.recording_rate_hz)
        self._writer.add_leg(self.number, leg.number, leg.id, role, law, host.sample, rate_hz)
        host.submit(Record(leg.number, rate_hz=rate_hz))

    def remove_leg(self, leg: Leg) -> None:
        """Record a leg no longer."""
        if leg.number in self._legs:
            self._legs.discard(leg.number)
            self._board.host.submit(Record(leg.number, on=False))
            self._writer.remove_leg(self.number, leg.number, self._board.host.sample)

    def go_on_in(self, bridge: Seating) -> None:
        """Follow a conversation that goes on in another bridge: the same capture, more legs."""
        self._bridge = bridge
        bridge.recording = self
        self.take_up(bridge, "conversation moved")

    def take_up(self, bridge: Seating, why: str) -> None:
        """Begin to record a bridge: the routing in force, then every leg.

        In this order: the media thread goes on meanwhile, and no frame may come before the routing
        by which it was mixed.
        """
        routing = bridge.call.routing
        if routing.seats:
            fact = self._routing_fact(bridge, routing, "", why)
            fact |= {"in_force": True, "waiting": bridge.router.untold}
            self._writer.event(self.number, self._board.host.sample, fact)
        for leg in bridge.legs:
            self.add_leg(leg)

    def matrix(self, sample: int, bridge: Seating, routing: Routing, who: str, why: str) -> None:
        """Note a routing that took effect at ``sample``."""
        fact = self._routing_fact(bridge, routing, who, why) | {"in_force": False}
        self._writer.event(self.number, sample, fact)

    def _routing_fact(
        self, bridge: Seating, routing: Routing, who: str, why: str
    ) -> dict[str, Any]:
        fact = {
            "event": "matrix",
            "bridge": bridge.number,
            "seats": list(routing.seats),
            "gains": [list(row) for row in routing.gains],
            "ramp_ms": routing.ramp_ms,
            "who": who,
            "why": why,
        }
        return fact | ({"limited": True} if bridge.router.limited else {})

    def leaving(self, sample: int, bridge: int, seats: tuple[int, ...]) -> None:
        """Note seats that began to fade out before a routing said so."""
        fact = {"event": "leaving", "bridge": bridge, "seats": list(seats)}
        self._writer.event(self.number, sample, fact)

    def moved(self, sample: int, bridge: int, last: int) -> None:
        """Note that a bridge was mixed at ``last``, then at ``sample``, then evenly."""
        # How much later, not when: samples of a capture count from its begin.
        fact = {"event": "moved", "bridge": bridge, "after": sample - last}
        self._writer.event(self.number, sample, fact)

    def fact(self, sample: int, fact: Fact, who: str) -> None:
        """Note what happened in the conversation."""
        self._writer.event(self.number, sample, {"event": _kebab(fact), "who": who} | _plain(fact))

    def note(self, text: str, who: str = "") -> None:
        """Note something that a program has to say about this moment."""
        fact = {"event": "note", "who": who, "text": text}
        self._writer.event(self.number, self._board.host.sample, fact)

    async def stop(self) -> RecordingStopped:
        """Write what is left, seal the capture, and return what became of it.

        Sealing goes on when the caller is cancelled: a handler that ends must not leave a capture
        open behind it.
        """
        if self._stopping is None:
            self._bridge.recording = None
            self._stopping = asyncio.get_running_loop().create_task(self._stop())
        return await asyncio.shield(self._stopping)

    async def _stop(self) -> RecordingStopped:
        for number in self._legs:
            self._board.host.submit(Record(number, on=False))
        event = self._summarise(await asyncio.wrap_future(self._writer.stop(self.number)))
        self._board.recorders.forget(self)
        self._board.publish(event)
        return event

    def _summarise(self, summary: CaptureSummary) -> RecordingStopped:
        return RecordingStopped(
            at=self._board.now,
            bridge=self._bridge.id,
            recording=self.id,
            path=summary.path,
            packets=summary.packets,
            duration_s=summary.duration_s,
            gaps=summary.gaps,
            sealed=summary.sealed,
        )


class Recorders:
    """All recordings of one server, and the one writer behind them."""

    def __init__(self, board: Switchboard) -> None:
        self._board = board
        self._writer: RecordingWriter | None = None
        self._recipients: Recipients | None = None
        self._loading = asyncio.Lock()
        self._open: dict[int, Recording] = {}

    @property
    def writer(self) -> RecordingWriter:
        """The writer; there is one as soon as a recording was started."""
        assert self._writer is not None
        return self._writer

    async def start(
        self,
        bridge: Bridge,
        path: Path,
        *,
        conversation_id: str | None,
        metadata: Mapping[str, Any],
    ) -> Recording:
        """Open a capture: when this returns its keys are on disk."""
        board, number = self._board, self._board.next_seat()
        if self._writer is None:
            self._writer = self._make_writer()
        async with self._loading:  # recordings that begin together must not make a key each
            if self._recipients is None:
                key = Path(board.config.recording_key or DEFAULT_KEY)
                self._recipients = await board.off_loop(lambda: load_or_make_key(key.expanduser()))
        writer, recipients = self._writer, self._recipients
        writer.place(number, bridge.number)

        def open_capture() -> None:
            writer.start(
                number,
                path,
                conversation_id=conversation_id or path.name,
                keys=recipients,
                metadata=metadata,
                wall_clock=time.time,
            )

        await board.off_loop(open_capture)
        recording = self._open[number] = Recording(self._board, bridge, number, path)
        self._board.publish(
            RecordingStarted(
                at=self._board.now, bridge=bridge.id, recording=recording.id, path=path
            )
        )
        return recording

    def _make_writer(self) -> RecordingWriter:
        loop = asyncio.get_running_loop()

        def gap(number: int, frames: int, reason: str) -> None:
            loop.call_soon_threadsafe(self._gap, number, frames, reason)

        host = self._board.host
        if isinstance(host, ProcessHost):
            return host.recording_writer(gap)
        kind = InlineRecordingWriter if self._board.inline else RecordingWriter
        writer = kind(on_gap=gap)
        self._board.host.writer = writer
        return writer

    def _gap(self, number: int, frames: int, reason: str) -> None:
        recording = self._open.get(number)
        if recording is not None:
            self._board.publish(
                RecordingGap(
                    at=self._board.now, recording=recording.id, frames=frames, reason=reason
                )
            )

    def forget(self, recording: Recording) -> None:
        """Let go of a recording that was stopped."""
        self._open.pop(recording.number, None)

    def snapshot(self) -> dict[str, Any]:
        """Return the writer's counters and the number of open recordings."""
        counters = self._writer.snapshot() if self._writer is not None else {}
        return {"open": len(self._open), **counters}

    async def close(self) -> None:
        """Seal what is open and end the writer."""
        for recording in tuple(self._open.values()):
            await recording.stop()
        if self._writer is not None:
            await self._board.off_loop(self._writer.close)


def _kebab(fact: Fact) -> str:
    name = type(fact).__name__
    return "".join(f"-{c.lower()}" if c.isupper() else c for c in name).removeprefix("-")


def _plain(fact: Fact) -> dict[str, Any]:
    """Return a fact's fields as JSON can hold them."""
    plain: dict[str, Any] = {}
    for field in dataclasses.fields(fact):
        value = getattr(fact, field.name)
        if isinstance(value, enum.Enum):
            value = value.value
        plain[field.name] = list(value) if isinstance(value, tuple) else value
    return plain
