"""A takeover, step by step, as a table.

::

    IDLE ──asked──> PREPARING ──ready──────────────────────────> UNDOABLE ──time──> IDLE
                       │  └──ready, warm──> OVERLAPPING ──time──>   │
                       │                        │                   └──hand back──> IDLE
                       └─time, gone, withdrawn──┴──────────────────────> IDLE

PREPARING waits until the supervisor's leg has been heard; OVERLAPPING is the warm handover, in
barge; the whole change of speakers is one matrix at one tick, on the step into UNDOABLE.
Whatever fails on the way leads back to the conversation as it was.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass


class Phase(enum.Enum):
    """Where a takeover stands."""

    IDLE = "idle"
    PREPARING = "preparing"  # the supervisor's media is awaited; nothing has changed yet
    OVERLAPPING = "overlapping"  # supervisor and agent both speak
    UNDOABLE = "undoable"  # done; the supervisor can still hand the call back
    OVER = "over"  # the last customer has left


class Input(enum.Enum):
    """What can happen to a takeover."""

    ASKED = "asked"
    READY = "ready"  # the supervisor's media is there, and no overlap was asked for
    READY_WARM = "ready, warm"  # it is there, and the overlap begins
    TIME_OUT = "time out"  # of the phase's own timer
    AGENT_GONE = "agent gone"  # the last agent
    TAKER_GONE = "taker gone"  # the supervisor who takes over
    WITHDRAWN = "withdrawn"  # the supervisor chose another mode
    HAND_BACK = "hand back"
    CUSTOMER_GONE = "customer gone"  # the last customer


@dataclass(frozen=True, slots=True)
class Step:
    """The next phase, and what to do on the way, in order."""

    phase: Phase
    actions: tuple[str, ...] = ()


P, I = Phase, Input  # noqa: E741

#: A pair that is absent is refused (409) when a person asked for it, and ignored otherwise.
TAKEOVER: Mapping[tuple[Phase, Input], Step] = {
    (P.IDLE, I.ASKED): Step(P.PREPARING, ("begin", "start_prepare")),
    (P.IDLE, I.CUSTOMER_GONE): Step(P.OVER, ("end",)),
    (P.PREPARING, I.READY): Step(P.UNDOABLE, ("commit", "start_undo")),
    (P.PREPARING, I.READY_WARM): Step(P.OVERLAPPING, ("barge", "start_overlap")),
    (P.PREPARING, I.TIME_OUT): Step(P.IDLE, ("abort",)),
    (P.PREPARING, I.TAKER_GONE): Step(P.IDLE, ("abort",)),
    (P.PREPARING, I.WITHDRAWN): Step(P.IDLE, ("abort",)),
    (P.PREPARING, I.HAND_BACK): Step(P.IDLE, ("abort",)),
    # The agent vanished first: it goes on, as a rescue.
    (P.PREPARING, I.AGENT_GONE): Step(P.PREPARING),
    (P.PREPARING, I.CUSTOMER_GONE): Step(P.OVER, ("abort", "end")),
    (P.OVERLAPPING, I.TIME_OUT): Step(P.UNDOABLE, ("commit", "start_undo")),
    (P.OVERLAPPING, I.AGENT_GONE): Step(P.UNDOABLE, ("commit", "start_undo")),
    (P.OVERLAPPING, I.TAKER_GONE): Step(P.IDLE, ("abort",)),
    (P.OVERLAPPING, I.WITHDRAWN): Step(P.IDLE, ("abort",)),
    (P.OVERLAPPING, I.HAND_BACK): Step(P.IDLE, ("abort",)),
    (P.OVERLAPPING, I.CUSTOMER_GONE): Step(P.OVER, ("abort", "end")),
    (P.UNDOABLE, I.TIME_OUT): Step(P.IDLE, ("forget",)),
    (P.UNDOABLE, I.AGENT_GONE): Step(P.UNDOABLE),
    (P.UNDOABLE, I.TAKER_GONE): Step(P.IDLE, ("restore", "forget")),
    (P.UNDOABLE, I.WITHDRAWN): Step(P.IDLE, ("restore", "forget")),
    (P.UNDOABLE, I.HAND_BACK): Step(P.IDLE, ("restore", "step_down", "forget")),
    (P.UNDOABLE, I.CUSTOMER_GONE): Step(P.OVER, ("forget", "end")),
}
