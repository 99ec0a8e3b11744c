"""The calls of the lab: which bridge is which, who is who in it, and how it is shown."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import rtpmix
from rtpmix import Bridge, Leg, Mode, Role, Supervision

from .table import CallView, PartyView


@dataclass(slots=True, eq=False)
class LabCall:
    """One bridge, and what the lab knows of it."""

    bridge: Bridge
    kind: str
    opened_at: float
    names: dict[str, str] = field(default_factory=dict)  # of people, by leg id

    def name_of(self, leg: Leg) -> str:
        """Return a name for people: the user's, or what the peer calls itself."""
        if leg.id in self.names:
            return self.names[leg.id]
        return leg.user or leg.remote.removeprefix("sip:").partition("@")[0] or leg.id

    def leg_of(self, user: str) -> Leg | None:
        """Return the leg of a user in this call, supervisors left out."""
        for leg in self.bridge.legs:
            if leg.user == user and self.bridge.role(leg) is not Role.SUPERVISOR:
                return leg
        return None

    def agent(self) -> Leg | None:
        """Return the leg that a supervision is about: the agent, else whoever was called."""
        people = [leg for leg in self.bridge.legs if self.bridge.role(leg) is not Role.SUPERVISOR]
        agents = [leg for leg in people if self.bridge.role(leg) is Role.AGENT]
        called = [leg for leg in people if leg.direction == "outbound"]
        return next(iter((*agents, *called, *people[1:])), None)

    def view(self, now: float) -> CallView:
        """Return the call as it is shown."""
        matrix = self.bridge.matrix()
        names = {leg.id: self.name_of(leg) for leg in self.bridge.legs}
        modes = {each.leg.id: each for each in self.bridge.supervisions}
        recording = self.bridge.recording
        return CallView(
            call=self.bridge.id,
            kind=self.kind,
            seconds=now - self.opened_at,
            recording=str(recording.path) if recording is not None else None,
            parties=tuple(
                PartyView(
                    name=names[leg.id],
                    role=self.bridge.role(leg).value,
                    hears=tuple(names.get(talker, "prompt") for talker in matrix.get(leg.id, ())),
                    mode=_mode(modes.get(leg.id)),
                    supervision=modes[leg.id].id if leg.id in modes else None,
                )
                for leg in self.bridge.legs
            ),
        )


class CallBook:
    """Every call of the lab that is up."""

    def __init__(self) -> None:
        self._calls: dict[str, LabCall] = {}

    def open(self, bridge: Bridge, kind: str) -> LabCall:
        """Note a new call."""
        call = LabCall(bridge, kind, asyncio.get_running_loop().time())
        self._calls[bridge.id] = call
        return call

    def close(self, call: LabCall) -> None:
        """Forget a call that is over."""
        self._calls.pop(call.bridge.id, None)

    def views(self) -> list[CallView]:
        """Return every call as it is shown, oldest first."""
        now = asyncio.get_running_loop().time()
        return [call.view(now) for call in self._calls.values()]

    def find(self, text: str) -> LabCall:
        """Return the call with this id, number or participant.

        Raises
        ------
        UsageError
            There is none.
        """
        for call in self._calls.values():
            if text in (call.bridge.id, call.bridge.id.removeprefix("bridge-"), call.bridge.name):
                return call
        found = self.call_of(text)
        if found is None:
            known = ", ".join(self._calls) or "none"
            raise rtpmix.UsageError(f"there is no call {text!r}; calls now: {known}")
        return found[0]

    def call_of(self, user: str) -> tuple[LabCall, Leg] | None:
        """Return the call that a user is in, and their leg; the newest if there are several."""
        for call in reversed(self._calls.values()):
            if (leg := call.leg_of(user)) is not None:
                return call, leg
        return None

    def supervision(self, text: str) -> Supervision:
        """Return the supervision with this id or number.

        Raises
        ------
        UsageError
            There is none.
        """
        everyone = [each for call in self._calls.values() for each in call.bridge.supervisions]
        for supervision in everyone:
            if text in (supervision.id, supervision.id.removeprefix("supervision-")):
                return supervision
        known = ", ".join(each.id for each in everyone) or "none"
        raise rtpmix.UsageError(f"there is no supervision {text!r}; supervisions now: {known}")


def _mode(supervision: Supervision | None) -> str | None:
    mode: Mode | None = supervision.mode if supervision is not None else None
    return mode.value if mode is not None else None
