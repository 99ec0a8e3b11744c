"""Telling an agent of a supervisor, on the agent's own phone and nowhere else.

Only what is configured, or asked for when the supervision began, is sent, and an INFO only to a
phone that names the package in its Recv-Info. Customers and other supervisors are never told.

References
----------
RFC 6086 section 4.2.1; RFC 3428 section 6
"""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING

from ..config import NOTICES
from ..errors import CallFailed, RtpmixError, UsageError
from ..events import Event, ModeChanged, SupervisionEvent
from ..supervision import Mode, Role

if TYPE_CHECKING:
    from .bridge import Bridge
    from .leg import Leg
    from .switchboard import Switchboard

logger = logging.getLogger(__name__)

PACKAGE = "rtpmix-supervision"


class Notices:
    """What agents were told, by supervisor's leg."""

    def __init__(self, board: Switchboard) -> None:
        self.counters = {"sent": 0, "failed": 0}
        self._board = board
        self._told: dict[tuple[str, str], str] = {}  # bridge and supervisor's leg -> mode
        self._by: dict[str, str] = {}  # supervisor's leg -> its own kind of notice
        board.bus.call(self._heard)

    def choose(self, leg: Leg, kind: str | None) -> None:
        """Say how the agent is told of one supervisor; None: as the configuration says."""
        if kind is not None:
            self._by[leg.id] = kind

    def _heard(self, event: Event) -> None:
        if isinstance(event, ModeChanged):
            self._tell(event.bridge, event.supervisor, event.after)
        elif isinstance(event, SupervisionEvent) and event.fact == "left" and event.leg:
            self._tell(event.bridge, event.leg, None)
            self._by.pop(event.leg, None)
        elif isinstance(event, SupervisionEvent) and event.fact == "over":
            self._told = {key: mode for key, mode in self._told.items() if key[0] != event.bridge}

    def _tell(self, bridge_id: str, supervisor: str, mode: Mode | None) -> None:
        """Tell the agents what changed for them; of a hidden monitor nothing."""
        config, key = self._board.config, (bridge_id, supervisor)
        kind = self._by.get(supervisor, config.supervision_notice)
        shown = "" if mode is None or self._is_hidden(mode) else mode.value
        if kind == "silent" or shown == self._told.get(key, ""):
            return
        if shown:
            self._told[key] = shown
        else:
            self._told.pop(key, None)
        bridge = self._board.find_bridge(bridge_id)
        for leg in _agents(bridge) if bridge is not None else ():
            if kind == "message" or leg.takes_info(PACKAGE):
                self._board.spawn(self._send(leg, kind, shown or "none"))

    def _is_hidden(self, mode: Mode) -> bool:
        return mode is Mode.MONITOR and not self._board.config.notice_of_monitor

    async def _send(self, leg: Leg, kind: str, mode: str) -> None:
        try:
            if kind == "info":
                body = json.dumps({"supervision": mode}).encode()
                await leg.send_info(PACKAGE, body, "application/json")
            else:
                await leg.send_message(f"Supervision: {mode}")
        except CallFailed as failed:
            self.counters["failed"] += 1
            logger.info("a supervision notice was answered with %d", failed.status)
        except RtpmixError:
            self.counters["failed"] += 1  # the agent has hung up meanwhile
        else:
            self.counters["sent"] += 1


def check_notice(kind: str | None) -> None:
    """Refuse a kind of notice that there is not."""
    if kind is not None and kind not in NOTICES:
        raise UsageError(f"notice is {kind!r}: use {', '.join(NOTICES)}, or None")


def _agents(bridge: Bridge) -> list[Leg]:
    """Return the legs of the agents, supervisors left out."""
    seats = {party.seat for party in bridge.call.parties if party.role is Role.AGENT}
    return [leg for leg in bridge.speakers() if leg.number in seats]
