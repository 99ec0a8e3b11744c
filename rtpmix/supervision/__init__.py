"""Supervision as policy: roles and modes in, a whole gain matrix out. Pure: no I/O, no clock.

`policy` is the table of who hears whom; `takeover` the steps of a takeover; `SupervisedCall` the
call that both act on; `RoutingLog` what was in force when.
"""

from __future__ import annotations

from .anchor import FOLLOW, Anchor, Follow, Moved
from .call import Authorise, SupervisedCall
from .changes import (
    CALL_OVER_REASON,
    TAKEN_OVER_REASON,
    AgentRestored,
    Change,
    Comfort,
    CustomerOrphaned,
    CustomerRescued,
    EndComfort,
    Fact,
    Goodbye,
    HangUp,
    Joined,
    Left,
    ModeChanged,
    Order,
    Over,
    Replaced,
    RoleChanged,
    Routing,
    TakenOver,
    TakeoverAborted,
    TakeoverBegan,
)
from .policy import AUDIBLE, UNITY, Fate, Mode, Party, Role, dtmf_for, gains_for, validate
from .routing_log import RoutingEntry, RoutingLog, fold, verify_chain
from .state import Limits
from .takeover import TAKEOVER, Input, Phase

__all__ = [
    "AUDIBLE",
    "CALL_OVER_REASON",
    "FOLLOW",
    "TAKEN_OVER_REASON",
    "TAKEOVER",
    "UNITY",
    "AgentRestored",
    "Anchor",
    "Authorise",
    "Change",
    "Comfort",
    "CustomerOrphaned",
    "CustomerRescued",
    "EndComfort",
    "Fact",
    "Fate",
    "Follow",
    "Goodbye",
    "HangUp",
    "Input",
    "Joined",
    "Left",
    "Limits",
    "Mode",
    "ModeChanged",
    "Moved",
    "Order",
    "Over",
    "Party",
    "Phase",
    "Replaced",
    "Role",
    "RoleChanged",
    "Routing",
    "RoutingEntry",
    "RoutingLog",
    "SupervisedCall",
    "TakenOver",
    "TakeoverAborted",
    "TakeoverBegan",
    "dtmf_for",
    "fold",
    "gains_for",
    "validate",
    "verify_chain",
]
