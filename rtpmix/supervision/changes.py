"""What a step of a supervised call gives its shell: a matrix to commit, facts, and orders.

Facts say what has happened and become public events once the matrix is committed.  Orders are
things that only the shell can do: play, say goodbye, hang up.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from .policy import Dtmf, Fate, Gains, Mode, Role

#: RFC 3326 Reason of the BYE to an agent whose call was taken over.
TAKEN_OVER_REASON = 'SIP;cause=200;text="Taken over by supervisor"'
CALL_OVER_REASON = 'SIP;cause=200;text="Call completed"'


@dataclass(frozen=True, slots=True)
class Routing:
    """The whole routing of the bridge, membership included, to be committed at one tick.

    ``gains[i][j]`` is the Q15 gain with which ``seats[i]`` hears ``seats[j]``; ``dtmf[i][j]``
    says whether digits pressed by ``seats[j]`` go to ``seats[i]``. ``private``: supervisors whom no
    customer may hear.
    """

    seats: tuple[int, ...]
    gains: Gains
    dtmf: Dtmf
    ramp_ms: int = 10
    # Not compared: a mode without a voice is no reason for a new matrix.
    private: frozenset[int] = field(default=frozenset(), compare=False)


@dataclass(frozen=True, slots=True)
class Fact:
    """Something has happened in the conversation."""


@dataclass(frozen=True, slots=True)
class Joined(Fact):
    """Somebody came into the conversation."""

    seat: int
    role: Role
    mode: Mode | None = None


@dataclass(frozen=True, slots=True)
class Left(Fact):
    """Somebody is no longer in the conversation; `cause` is "left", "lost" or "replaced"."""

    seat: int
    role: Role
    cause: str


@dataclass(frozen=True, slots=True)
class Replaced(Fact):
    """Somebody has the place of `before` in the conversation, and all that went with it."""

    seat: int
    before: int
    role: Role


@dataclass(frozen=True, slots=True)
class RoleChanged(Fact):
    """Somebody is now something else in the conversation."""

    seat: int
    before: Role
    after: Role


@dataclass(frozen=True, slots=True)
class ModeChanged(Fact):
    """A supervisor's mode changed."""

    seat: int
    before: Mode
    after: Mode


@dataclass(frozen=True, slots=True)
class TakeoverBegan(Fact):
    """A supervisor is about to take the call over: the agent's notice."""

    seat: int
    fate: Fate
    overlap_s: float


@dataclass(frozen=True, slots=True)
class TakeoverAborted(Fact):
    """The takeover did not happen; everybody hears what they heard before it."""

    seat: int
    why: str


@dataclass(frozen=True, slots=True)
class TakenOver(Fact):
    """The supervisor speaks in the place of `displaced`, which is empty in a rescue."""

    seat: int
    fate: Fate
    displaced: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class AgentRestored(Fact):
    """Somebody whose call had been taken over has it again."""

    seat: int


@dataclass(frozen=True, slots=True)
class CustomerOrphaned(Fact):
    """Nobody is left who talks to the customers."""

    seats: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class CustomerRescued(Fact):
    """Somebody talks to the customers again."""

    seats: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Over(Fact):
    """The last customer has left, and with them the conversation."""


@dataclass(frozen=True, slots=True)
class Order:
    """Something for the shell to do."""


@dataclass(frozen=True, slots=True)
class Goodbye(Order):
    """Play a short prompt to this seat alone, then send BYE with `reason` within `within_s`."""

    seat: int
    reason: str = TAKEN_OVER_REASON
    within_s: float = 3.0


@dataclass(frozen=True, slots=True)
class Comfort(Order):
    """Play something to these customers until `EndComfort`: nobody else talks to them."""

    seats: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class EndComfort(Order):
    """Stop what `Comfort` began."""


@dataclass(frozen=True, slots=True)
class HangUp(Order):
    """End this leg now: its conversation is over."""

    seat: int
    reason: str = CALL_OVER_REASON


@dataclass(frozen=True, slots=True)
class Change:
    """What one step changed.

    Parameters
    ----------
    commit
        The routing to put in force, None when it is the one in force.
    why
        One line for the routing log.
    """

    commit: Routing | None
    facts: tuple[Fact, ...] = ()
    orders: tuple[Order, ...] = ()
    why: str = ""

    def then(self, later: Change) -> Change:
        """Return this change and a later one as one, to be committed at one tick."""
        return Change(
            later.commit or self.commit,
            self.facts + later.facts,
            self.orders + later.orders,
            later.why if later.commit else self.why,
        )
