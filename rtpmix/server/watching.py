"""Who watches what: lamps, rosters, presence and mailboxes, told by NOTIFY (RFC 6665).

After something has happened every watched state is worked out anew, at most four times a second,
and told where it differs from what was told last. So a supervisor who is not to be seen causes no
NOTIFY either.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..events import (
    BridgeChanged,
    BridgeClosed,
    Event,
    LegClosed,
    LegHeld,
    LegOpened,
    ModeChanged,
    Registered,
)
from ..sip import event_documents as documents
from ..sip import events as sip
from ..sip.notifier import Document
from ..sip.subscribe import read_event
from ..sip.uri import SipUri
from ..supervision import Mode

if TYPE_CHECKING:
    from .seating import Seating
    from .switchboard import Switchboard

PACKAGES = {
    "dialog": documents.DIALOG_INFO,
    "conference": documents.CONFERENCE_INFO,
    "presence": documents.PIDF,
    "message-summary": documents.MESSAGE_SUMMARY,
}
HIDDEN = frozenset((Mode.MONITOR, Mode.WHISPER))  # a roster never shows a silent supervisor
PAUSE_S = 0.25
_TELLING = (*(BridgeChanged, BridgeClosed, LegClosed, LegHeld, LegOpened, ModeChanged, Registered),)


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchRequest:
    """Somebody wants to be told of a state, for a policy to judge.

    Attributes
    ----------
    identity
        The user that the watcher proved to be, or None.
    package
        "dialog", "presence", "conference" or "message-summary".
    resource
        The user, or the name of the room.
    member
        The watcher is in that room, or is that user.
    """

    identity: str | None
    package: str
    resource: str
    member: bool


WatchPolicy = Callable[[WatchRequest], bool]


def users_only(request: WatchRequest) -> bool:
    """Let users see each other's lamps and presence, and their own rooms and mailbox."""
    if request.identity is None:
        return False
    return request.member or request.package in ("dialog", "presence")


@dataclass(slots=True)
class _Watcher:
    package: str
    resource: str
    identity: str | None
    told: Hashable = None


class Watchers:
    """The subscriptions of one server's watchers."""

    def __init__(self, board: Switchboard) -> None:
        self.policy: WatchPolicy = users_only
        self.mailboxes: dict[str, tuple[int, int]] = {}
        self.refused = 0
        self._board = board
        self._watchers: dict[int, _Watcher] = {}
        self._timer: asyncio.TimerHandle | None = None
        board.bus.call(self._happened)

    def __len__(self) -> int:
        return len(self._watchers)

    # ------------------------------------------------------------------ subscriptions

    def subscribe(self, event: sip.Requested) -> None:
        """Take a SUBSCRIBE outside of any call."""
        board, now = self._board, self._board.now
        agent, request = board.agent, event.message
        identity, asked = board.directory.identify(request, event.flow, now)
        refusal = agent.notifier.refusal(event, PACKAGES) or asked
        if refusal is not None:
            agent.respond(
                event.request,
                refusal.status,
                now,
                reason=refusal.reason,
                headers=refusal.headers,
            )
            return
        name, target = read_event(request), request.request_uri
        resource = (target.decoded_user or "") if isinstance(target, SipUri) else ""
        package = name.package if name is not None else ""
        member = identity is not None and identity in self._members(package, resource)
        wanted = WatchRequest(identity=identity, package=package, resource=resource, member=member)
        if not self.policy(wanted):
            self._refuse(event, identity)
            return
        number = agent.notifier.accept(event, PACKAGES[package], now)
        watcher = self._watchers[number] = _Watcher(package, resource, identity)
        if request.expires == 0:
            agent.notifier.end(number, "timeout", now, self._document(watcher))
        else:
            self._tell(number, watcher)

    def _refuse(self, event: sip.Requested, identity: str | None) -> None:
        self.refused += 1
        challenge = self._board.challenge(event.message) if identity is None else []
        status = 401 if challenge else 403
        self._board.agent.respond(event.request, status, self._board.now, headers=challenge)

    def _members(self, package: str, resource: str) -> set[str | None]:
        if package != "conference":
            return {resource}
        room = self._board.find_bridge(resource)
        return {leg.user for leg in room.legs} if room is not None else set()

    def refreshed(self, event: sip.SubscriptionRefreshed) -> None:
        """Tell a watcher the state again, or for the last time."""
        watcher = self._watchers.get(event.subscription)
        if watcher is None:
            return
        document, now = self._document(watcher), self._board.now
        if event.over:
            self._board.agent.notifier.end(event.subscription, "timeout", now, document)
        else:
            self._board.agent.notifier.notify(event.subscription, document, now)

    def ended(self, event: sip.SubscriptionEnded) -> None:
        """Forget a watcher."""
        self._watchers.pop(event.subscription, None)

    # ------------------------------------------------------------------ changes

    def _happened(self, event: Event) -> None:
        if isinstance(event, _TELLING):
            self.touch()

    def touch(self) -> None:
        """Look at every watched state, soon."""
        if self._timer is None and self._watchers:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(PAUSE_S, self._look)

    def _look(self) -> None:
        self._timer = None
        for number, watcher in tuple(self._watchers.items()):
            if self._state(watcher) != watcher.told:
                self._tell(number, watcher)
        self._board.pump()

    def _tell(self, number: int, watcher: _Watcher) -> None:
        watcher.told = self._state(watcher)
        self._board.agent.notifier.notify(number, self._document(watcher), self._board.now)

    def close(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()

    # ------------------------------------------------------------------ states

    def _state(self, watcher: _Watcher) -> Hashable:
        if watcher.package == "dialog":
            return tuple(self._dialogs(watcher))
        if watcher.package == "conference":
            return tuple(self._participants(self._board.find_bridge(watcher.resource)))
        if watcher.package == "presence":
            busy = any(leg.user == watcher.resource for leg in self._board.legs.values())
            return bool(self._board.contacts(watcher.resource)), busy
        return self.mailboxes.get(watcher.resource, (0, 0))

    def _document(self, watcher: _Watcher) -> Document:
        entity = self._board.directory.address_of(watcher.resource)
        package = watcher.package

        def document(version: int) -> bytes:
            if package == "dialog":
                return documents.dialog_info(entity, version, self._dialogs(watcher))
            if package == "conference":
                room = self._board.find_bridge(watcher.resource)
                return documents.conference_info(entity, version, self._participants(room))
            if package == "presence":
                available = bool(self._board.contacts(watcher.resource))
                busy = any(leg.user == watcher.resource for leg in self._board.legs.values())
                note = "On the phone" if busy else None
                return documents.pidf(entity, available=available, note=note)
            return documents.message_summary(entity, *self.mailboxes.get(watcher.resource, (0, 0)))

        return document

    def _dialogs(self, watcher: _Watcher) -> list[documents.WatchedDialog]:
        """Return a user's calls; what names them is for that user alone, who may pick them up."""
        found, own = [], watcher.identity == watcher.resource
        for leg in self._board.legs.values():
            if leg.user != watcher.resource or not leg.is_open:
                continue
            direction = "initiator" if leg.direction == "inbound" else "recipient"
            name = self._board.agent.dialog_id(leg.call) if own else None
            found.append(
                documents.WatchedDialog(
                    leg.id,
                    "confirmed",
                    direction,
                    *((name[0], name[2], name[1]) if name is not None else (None, None, None)),
                )
            )
        for call in self._board.ringing(watcher.resource):
            found.append(documents.WatchedDialog(f"call-{call}", "early", "recipient"))
        return found

    def _participants(self, room: Seating | None) -> list[documents.Participant]:
        if room is None:
            return []
        silent = {s.leg.number for s in room.supervisions if s.mode in HIDDEN}
        return [
            documents.Participant(
                self._board.directory.address_of(leg.user) if leg.user else leg.id,
                leg.id,
                room.role(leg).value,
                "on-hold" if leg.held else "connected",
            )
            for leg in room.legs
            if leg.number not in silent
        ]
