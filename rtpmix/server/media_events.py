"""What media tells a server, handed to the legs and bridges that it concerns."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from ..events import (
    LegMediaLatched,
    LegMediaLost,
    LegOneWayAudio,
    LevelsMeasured,
    MediaWorkerLost,
)
from ..mixer import commands as media
from .latching_io import MediaLatched

if TYPE_CHECKING:
    from .leg import Leg
    from .switchboard import Switchboard

logger = logging.getLogger(__name__)


class MediaEvents:
    """Takes the events of the media host for one switchboard."""

    def __init__(self, board: Switchboard) -> None:
        self._board = board

    def take(self, event: media.MixerEvent) -> None:
        """Take one event of the media host."""
        if isinstance(event, media.TapFrame | media.Played):
            for bridge in self._board.bridges:
                bridge.seat_event(event)
        elif isinstance(event, media.MatrixCommitted | media.MatrixReached):
            if (bridge_ := self._board.bridges.get(event.bridge)) is not None:
                bridge_.router.matrix_event(event)
        elif isinstance(event, media.SeatsLeaving):
            if (bridge_ := self._board.bridges.get(event.bridge)) is not None and bridge_.recording:
                bridge_.recording.leaving(event.at, event.bridge, event.seats)
        elif isinstance(event, media.BridgeMoved):
            if (bridge_ := self._board.bridges.get(event.bridge)) is not None and bridge_.recording:
                bridge_.recording.moved(event.at, event.bridge, event.last)
        elif isinstance(event, media.LevelsMeasured):
            self._levels_measured(event)
        elif isinstance(event, media.CommandRefused):
            logger.error("the mixer refused %s: %s", type(event.command).__name__, event.why)
        elif isinstance(event, media.WorkerLost):
            self._worker_lost(event)
        elif (leg := self._board.legs.get(getattr(event, "leg", 0))) is not None:
            self._leg_event(leg, event)

    def _leg_event(self, leg: Leg, event: media.MixerEvent) -> None:
        if isinstance(event, media.LegClosed):
            leg.media_closed(event.stats)
        elif isinstance(event, media.DigitPressed):
            leg.digit_pressed(event.digit, event.duration_ms)
        elif isinstance(event, media.MediaSeen):
            leg.media_was_seen()
        elif isinstance(event, MediaLatched):
            self._latched(leg, event)
        elif isinstance(event, media.MediaLost):
            self._media_lost(leg, event)
        elif isinstance(event, media.OneWayAudio) and leg.is_open:
            self._board.publish(
                LegOneWayAudio(
                    at=self._board.now, leg=leg.id, direction=event.direction, on=event.on
                )
            )

    def _latched(self, leg: Leg, event: MediaLatched) -> None:
        if event.remote_rtcp is None and leg.is_open:  # told again when RTCP's source is known
            self._board.publish(
                LegMediaLatched(
                    at=self._board.now,
                    leg=leg.id,
                    remote=event.remote,
                    signalled=event.signalled,
                )
            )

    def _levels_measured(self, event: media.LevelsMeasured) -> None:
        """Tell the levels by bridge; a phase of the mixer has many."""
        found: dict[str, list[tuple[str, int, bool]]] = {}
        for number, dbov, speaking in zip(event.legs, event.dbov, event.speaking, strict=True):
            leg = self._board.legs.get(number)
            if leg is not None and leg.bridge is not None:
                found.setdefault(leg.bridge.id, []).append((leg.id, dbov, speaking))
        for bridge, told in found.items():
            legs, levels, speaks = zip(*told, strict=True)
            self._board.publish(
                LevelsMeasured(
                    at=self._board.now,
                    bridge=bridge,
                    sample=event.at,
                    legs=legs,
                    levels_dbov=levels,
                    speaking=speaks,
                )
            )

    def _worker_lost(self, event: media.WorkerLost) -> None:
        """End the calls whose media is gone: their peers would hear nothing for ever."""
        board = self._board
        legs = [board.legs[number] for number in event.legs if number in board.legs]
        board.publish(
            MediaWorkerLost(
                at=board.now,
                worker=event.worker,
                reason=event.why,
                legs=tuple(leg.id for leg in legs),
            )
        )
        for leg in legs:
            if leg.is_open:
                board.agent.bye(leg.call, board.now)
                leg.end("media-host", event.why)
        board.pump()

    def _media_lost(self, leg: Leg, event: media.MediaLost) -> None:
        if not leg.is_open:
            return
        self._board.publish(
            LegMediaLost(at=self._board.now, leg=leg.id, idle_s=event.idle_ms / 1000)
        )
        if leg.held or leg.early:
            return  # a phone on hold may be silent (RFC 3264 section 8.4)
        self._board.agent.bye(leg.call, self._board.now)
        leg.end("media-timeout")
        self._board.pump()
