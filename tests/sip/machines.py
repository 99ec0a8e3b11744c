"""A transaction alone, with everything around it written down."""

from __future__ import annotations

from typing import Any

from rtpmix.sip.client_transaction import InviteClientTransaction, NonInviteClientTransaction
from rtpmix.sip.flow import Flow
from rtpmix.sip.server_transaction import InviteServerTransaction, NonInviteServerTransaction
from rtpmix.sip.timers import Timers
from rtpmix.sip.transaction import Input, Transaction, TransactionUser

UDP = Flow("UDP", ("192.0.2.2", 5060), ("192.0.2.1", 5060))
TCP = Flow("TCP", ("192.0.2.2", 5060), ("192.0.2.1", 5060), 7)

MACHINES = (
    InviteClientTransaction,
    NonInviteClientTransaction,
    InviteServerTransaction,
    NonInviteServerTransaction,
)


class Recorder(TransactionUser):
    """A transaction user that notes what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def response_received(self, transaction: Any, response: Any, now: float) -> None:
        self.told.append(f"response {response}")

    def acknowledged(self, transaction: Any, ack: Any, now: float) -> None:
        self.told.append("ACK")

    def confirmed(self, transaction: Any, now: float) -> None:
        self.told.append("confirmed")

    def timed_out(self, transaction: Any, now: float) -> None:
        self.told.append("timeout")

    def transport_failed(self, transaction: Any, now: float) -> None:
        self.told.append("transport error")

    def transaction_ended(self, transaction: Any, now: float) -> None:
        self.told.append("ended")


class Bench:
    """One transaction on a bench: its timers, what it sends and when, what it tells."""

    def __init__(self, machine: type[Transaction], flow: Flow = UDP) -> None:
        self.timers = Timers()
        self.sent: list[tuple[float, bytes]] = []
        self.forgotten = 0
        self.user = Recorder()
        self.now = 0.0
        more: dict[str, Any] = {}
        if machine in (InviteClientTransaction, NonInviteClientTransaction):
            more["request"] = b"request"
        if machine is InviteClientTransaction:
            more["make_ack"] = lambda response: b"ACK"
        self.transaction: Any = machine(self, flow, self.user, "key", **more)
        if more:
            self.transaction.start(0.0)

    def transmit(self, flow: Flow, data: bytes) -> None:
        self.sent.append((self.now, data))

    def forget(self, transaction: Transaction) -> None:
        assert transaction is self.transaction
        self.forgotten += 1

    def feed(self, what: Input, at: float | None = None, message: Any = None) -> bool:
        """Feed one input, at a time if given."""
        if at is not None:
            self.run(at)
        fed: bool = self.transaction.handle(what, self.now, message or what.value.encode())
        return fed

    def run(self, until: float) -> None:
        """Let every timer fire until then, each at its own time."""
        while (at := self.timers.next()) is not None and at <= until:
            self.now = at
            for owner, name in self.timers.due(at):
                owner.timer_fired(name, at)
        self.now = until

    def times(self, data: bytes | None = None) -> list[float]:
        """When messages were sent, in milliseconds; of one kind if given."""
        return [round(at * 1000) for at, sent in self.sent if data is None or sent == data]
