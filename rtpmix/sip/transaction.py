"""What the four SIP transaction machines share (RFC 3261 section 17).

Theory of operation
-------------------
Each machine is one table, ``(state, input) -> (next state, actions)``. A pair that is not in the
table is ignored, because the RFC says so: the table is the whole truth about what may happen, the
diagrams of the documentation are drawn from it and the tests walk over it. Actions are methods
named in the table. No action changes ``state``; only `Transaction.handle` does.

A machine never looks into a message: what it keeps to send again is bytes, and what it passes to
its user is passed as it came.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NamedTuple, Protocol

from .flow import Flow
from .timers import Timers


class State(enum.Enum):
    """The states of figures 5 to 8, by their names there."""

    CALLING = "Calling"
    TRYING = "Trying"
    PROCEEDING = "Proceeding"
    ACCEPTED = "Accepted"  # RFC 6026
    COMPLETED = "Completed"
    CONFIRMED = "Confirmed"
    TERMINATED = "Terminated"

    __hash__ = object.__hash__  # members are unique; Enum's own hash is a Python function


class Input(enum.Enum):
    """What can happen to a transaction; also the names of its timers."""

    REQUEST = "request"  # again: a retransmission
    ACK = "ACK"
    RECEIVED_1XX = "1xx"
    RECEIVED_2XX = "2xx"
    RECEIVED_300_699 = "300-699"
    TU_1XX = "1xx from TU"
    TU_2XX = "2xx from TU"
    TU_300_699 = "300-699 from TU"
    TU_GIVES_UP = "TU gives up"
    TRANSPORT_ERROR = "transport error"
    TIMER_A = "timer A"
    TIMER_B = "timer B"
    TIMER_D = "timer D"
    TIMER_E = "timer E"
    TIMER_F = "timer F"
    TIMER_G = "timer G"
    TIMER_H = "timer H"
    TIMER_I = "timer I"
    TIMER_J = "timer J"
    TIMER_K = "timer K"
    TIMER_L = "timer L"  # RFC 6026
    TIMER_M = "timer M"  # RFC 6026

    __hash__ = object.__hash__


class Step(NamedTuple):
    """Where an input leads, and what is done on the way."""

    state: State
    actions: tuple[str, ...] = ()


Table = Mapping[tuple[State, Input], Step]


class TransactionUser:
    """The transaction user (TU) of RFC 3261: told what its transactions learn.

    Every method does nothing here, so that a user overrides what it wants to know.
    """

    __slots__ = ()

    def response_received(self, transaction: Any, response: Any, now: float) -> None:
        """A client transaction passes a response up."""

    def acknowledged(self, transaction: Any, ack: Any, now: float) -> None:
        """An INVITE server transaction in Accepted passes an ACK up (RFC 6026)."""

    def confirmed(self, transaction: Any, now: float) -> None:
        """The ACK for a 300-699 arrived: the INVITE server transaction is Confirmed."""

    def timed_out(self, transaction: Any, now: float) -> None:
        """Timer B, F or H fired."""

    def transport_failed(self, transaction: Any, now: float) -> None:
        """The transport could not send."""

    def transaction_ended(self, transaction: Any, now: float) -> None:
        """The transaction is destroyed; it is always the last call."""


class Surroundings(Protocol):
    """What a transaction needs around it; `transaction_layer.TransactionLayer` in production."""

    timers: Timers

    def transmit(self, flow: Flow, data: bytes) -> None:
        """Hand one message to the transport."""

    def forget(self, transaction: Transaction) -> None:
        """Drop a transaction that reached Terminated."""


class Transaction:
    """One transaction: a state, a table, and the bytes to send again.

    Parameters
    ----------
    around
        Timers, the way to the transport, and the index to leave at the end.
    flow
        Where this transaction's messages go; its ``reliable`` rules the timers.
    user
        Told what happens.
    key
        The index entry under which the layer holds this transaction.
    """

    TABLE: ClassVar[Table] = {}
    MACHINE: ClassVar[str] = ""
    TIMERS: ClassVar[tuple[Input, ...]] = ()
    _steps: ClassVar[
        Mapping[tuple[State, Input], tuple[State, tuple[Callable[[Any, float], None], ...]]]
    ] = {}

    __slots__ = ("_around", "_message", "flow", "key", "state", "user")

    def __init__(self, around: Surroundings, flow: Flow, user: TransactionUser, key: Any) -> None:
        self.state: State  # set by each machine
        self._around = around
        self._message: Any = None
        self.flow = flow
        self.user = user
        self.key = key

    def __init_subclass__(cls) -> None:
        """Resolve the action names once, so that a misspelt one fails at import."""
        cls._steps = {
            pair: (step.state, tuple(getattr(cls, f"_{action}") for action in step.actions))
            for pair, step in cls.TABLE.items()
        }
        named = {what for _, what in cls.TABLE if what.name.startswith("TIMER_")}
        cls.TIMERS = tuple(sorted(named, key=lambda what: what.value))

    def handle(self, what: Input, now: float, message: Any = None) -> bool:
        """Feed one input; False if the table does not list it here, and nothing was done."""
        step = self._steps.get((self.state, what))
        if step is None:
            return False
        self._message = message
        self.state = step[0]
        for action in step[1]:
            action(self, now)
        self._message = None  # a lingering transaction must not keep parsed messages alive
        return True

    def timer_fired(self, name: Input, now: float) -> None:
        """Feed a timer."""
        self.handle(name, now)

    # Actions that every machine has.

    def _tell_timeout(self, now: float) -> None:
        self.user.timed_out(self, now)

    def _tell_transport_error(self, now: float) -> None:
        self.user.transport_failed(self, now)

    def _end(self, now: float) -> None:
        for name in self.TIMERS:
            self._around.timers.stop(self, name)
        self._around.forget(self)
        user, self.user = self.user, NOBODY  # no cycle outlives the transaction
        user.transaction_ended(self, now)


NOBODY = TransactionUser()
