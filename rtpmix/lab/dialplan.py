"""What a dialled number means: pure, and refused where the caller may not.

===========  ==========================================================================
dialled      meaning
===========  ==========================================================================
a user       call that user, by name or extension
a queue      wait for an agent of that queue, by name or extension
conf-NAME    the bridge of that name, made when the first caller comes
``*80EXT``   monitor the call of the user with that extension; ``*81`` whispers, ``*82``
             barges in, ``*83`` takes the call over and sends the agent away
===========  ==========================================================================

Once in a call, a supervisor's keys 4, 5, 6 and 7 mean monitor, whisper, barge and takeover. Key 7
keeps the agent listening, so that any other key may follow.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from rtpmix import Mode

from .config import LabConfig, User

FEATURE_CODES = {
    "*80": Mode.MONITOR,
    "*81": Mode.WHISPER,
    "*82": Mode.BARGE,
    "*83": Mode.TAKEOVER,
}
MODE_KEYS = {"4": Mode.MONITOR, "5": Mode.WHISPER, "6": Mode.BARGE, "7": Mode.TAKEOVER}
ROOM = re.compile(r"conf-([A-Za-z0-9._-]{1,64})")


@dataclass(frozen=True, slots=True)
class Action:
    """What is to be done with a call."""


@dataclass(frozen=True, slots=True)
class CallUser(Action):
    """Ring a user's phones."""

    user: str


@dataclass(frozen=True, slots=True)
class EnterQueue(Action):
    """Wait for an agent."""

    queue: str


@dataclass(frozen=True, slots=True)
class EnterRoom(Action):
    """Join the bridge of a name."""

    room: str


@dataclass(frozen=True, slots=True)
class Supervise(Action):
    """Attach to the call of a user."""

    user: str
    mode: Mode


@dataclass(frozen=True, slots=True)
class Login(Action):
    """Ask the caller to prove who they are, and to call again."""


@dataclass(frozen=True, slots=True)
class Refuse(Action):
    """Answer with a final response."""

    status: int
    reason: str


def plan(number: str, caller: User | None, config: LabConfig) -> Action:
    """Return what a call to ``number`` means.

    Parameters
    ----------
    caller
        Who the caller has *proved* to be; None for a stranger.
    """
    mode = FEATURE_CODES.get(number[:3])
    if mode is not None:
        # The role first: who may not supervise learns nothing about extensions and calls.
        if caller is None:
            return Login() if config.users else Refuse(403, "Supervisors Only")
        if not caller.may_supervise:
            return Refuse(403, "Supervisors Only")
        supervised = config.user_called(number[3:])
        if supervised is None:
            return Refuse(404, "No Such Extension")
        if supervised.name == caller.name:
            return Refuse(403, "Not Your Own Call")
        return Supervise(supervised.name, mode)
    if room := ROOM.fullmatch(number):
        return EnterRoom(room[1])
    if queue := config.queue_called(number):
        return EnterQueue(queue.name)
    if user := config.user_called(number):
        return CallUser(user.name)
    return Refuse(404, "Not Found")
