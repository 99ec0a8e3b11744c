"""The two server transaction machines (RFC 3261 section 17.2, RFC 6026 section 7.1).

Figure 8 ends a non-INVITE transaction on a transport error, while section 17.2.4 as RFC 6026
section 8.8 replaces it keeps every server transaction in its state; the later text wins here.

"Tell confirmed" is not in figure 7: section 14.1 makes the user wait for that state before it sends
an INVITE of its own.

"TU gives up" is not in the figures: it is RFC 4320 section 4.2, by which a server that can't
answer a non-INVITE request in time sends no 408 and, in the end, nothing at all.
"""

from __future__ import annotations

from typing import Any

from .flow import Flow
from .timers import SIXTY_FOUR_T1, T1, T2, T4
from .transaction import Input, State, Step, Surroundings, Table, Transaction, TransactionUser

S, I = State, Input  # noqa: E741

# RFC 3261 figure 7 as RFC 6026 section 8.6 replaces it.
INVITE_SERVER: Table = {
    (S.PROCEEDING, I.REQUEST): Step(S.PROCEEDING, ("resend",)),
    (S.PROCEEDING, I.TU_1XX): Step(S.PROCEEDING, ("send",)),
    (S.PROCEEDING, I.TU_2XX): Step(S.ACCEPTED, ("send", "start_l")),
    (S.PROCEEDING, I.TU_300_699): Step(S.COMPLETED, ("send", "start_g", "start_h")),
    (S.PROCEEDING, I.TRANSPORT_ERROR): Step(S.PROCEEDING, ("tell_transport_error",)),
    (S.ACCEPTED, I.REQUEST): Step(S.ACCEPTED),  # absorbed: the user repeats its 2xx itself
    (S.ACCEPTED, I.TU_2XX): Step(S.ACCEPTED, ("send",)),
    (S.ACCEPTED, I.ACK): Step(S.ACCEPTED, ("pass_ack",)),
    (S.ACCEPTED, I.TRANSPORT_ERROR): Step(S.ACCEPTED, ("tell_transport_error",)),
    (S.ACCEPTED, I.TIMER_L): Step(S.TERMINATED, ("end",)),
    (S.COMPLETED, I.REQUEST): Step(S.COMPLETED, ("resend",)),
    (S.COMPLETED, I.TIMER_G): Step(S.COMPLETED, ("resend", "double_g", "start_g")),
    (S.COMPLETED, I.ACK): Step(S.CONFIRMED, ("stop_g_h", "start_i", "tell_confirmed")),
    (S.COMPLETED, I.TRANSPORT_ERROR): Step(S.COMPLETED, ("tell_transport_error",)),
    (S.COMPLETED, I.TIMER_H): Step(S.TERMINATED, ("tell_timeout", "end")),
    (S.CONFIRMED, I.ACK): Step(S.CONFIRMED),
    (S.CONFIRMED, I.TIMER_I): Step(S.TERMINATED, ("end",)),
}

# RFC 3261 figure 8.
NON_INVITE_SERVER: Table = {
    (S.TRYING, I.REQUEST): Step(S.TRYING),  # discarded: there is nothing to repeat yet
    (S.TRYING, I.TU_1XX): Step(S.PROCEEDING, ("send",)),
    (S.TRYING, I.TU_2XX): Step(S.COMPLETED, ("send", "start_j")),
    (S.TRYING, I.TU_300_699): Step(S.COMPLETED, ("send", "start_j")),
    (S.TRYING, I.TU_GIVES_UP): Step(S.TERMINATED, ("end",)),
    (S.PROCEEDING, I.REQUEST): Step(S.PROCEEDING, ("resend",)),
    (S.PROCEEDING, I.TU_1XX): Step(S.PROCEEDING, ("send",)),
    (S.PROCEEDING, I.TU_2XX): Step(S.COMPLETED, ("send", "start_j")),
    (S.PROCEEDING, I.TU_300_699): Step(S.COMPLETED, ("send", "start_j")),
    (S.PROCEEDING, I.TU_GIVES_UP): Step(S.TERMINATED, ("end",)),
    (S.PROCEEDING, I.TRANSPORT_ERROR): Step(S.PROCEEDING, ("tell_transport_error",)),
    (S.COMPLETED, I.REQUEST): Step(S.COMPLETED, ("resend",)),
    (S.COMPLETED, I.TRANSPORT_ERROR): Step(S.COMPLETED, ("tell_transport_error",)),
    (S.COMPLETED, I.TIMER_J): Step(S.TERMINATED, ("end",)),
}


class ServerTransaction(Transaction):
    """What both server machines do."""

    __slots__ = ("_response", "merge_key", "via_port")

    def __init__(self, around: Surroundings, flow: Flow, user: TransactionUser, key: Any) -> None:
        super().__init__(around, flow, user, key)
        self._response = b""
        self.merge_key: Any = None  # set by the layer for a request that could be merged
        self.via_port: int | None = None  # where its client listens, should the connection go

    def respond(self, status: int, response: bytes, now: float) -> bool:
        """Feed a response from the user; False if it comes too late to be sent."""
        if status < 200:
            return self.handle(Input.TU_1XX, now, response)
        return self.handle(Input.TU_2XX if status < 300 else Input.TU_300_699, now, response)

    @property
    def answered(self) -> bool:
        """True once a final response was sent."""
        return self.state is not State.PROCEEDING and self.state is not State.TRYING

    def _send(self, now: float) -> None:
        self._response = self._message
        self._around.transmit(self.flow, self._response)

    def _resend(self, now: float) -> None:
        if self._response:  # an INVITE may repeat before the user has said anything
            self._around.transmit(self.flow, self._response)


class InviteServerTransaction(ServerTransaction):
    """An INVITE server transaction; it absorbs retransmissions on both sides."""

    TABLE = INVITE_SERVER
    MACHINE = "invite_server"
    __slots__ = ("_interval",)

    def __init__(self, around: Surroundings, flow: Flow, user: TransactionUser, key: Any) -> None:
        super().__init__(around, flow, user, key)
        self.state = State.PROCEEDING
        self._interval = T1

    def _start_g(self, now: float) -> None:
        if not self.flow.reliable:
            self._around.timers.start(self, Input.TIMER_G, now + self._interval)

    def _double_g(self, now: float) -> None:
        self._interval = min(2 * self._interval, T2)

    def _start_h(self, now: float) -> None:
        self._around.timers.start(self, Input.TIMER_H, now + SIXTY_FOUR_T1)

    def _stop_g_h(self, now: float) -> None:
        self._around.timers.stop(self, Input.TIMER_G)
        self._around.timers.stop(self, Input.TIMER_H)

    def _start_i(self, now: float) -> None:
        wait = 0.0 if self.flow.reliable else T4
        self._around.timers.start(self, Input.TIMER_I, now + wait)

    def _start_l(self, now: float) -> None:
        self._around.timers.start(self, Input.TIMER_L, now + SIXTY_FOUR_T1)

    def _tell_confirmed(self, now: float) -> None:
        self.user.confirmed(self, now)

    def _pass_ack(self, now: float) -> None:
        self.user.acknowledged(self, self._message, now)


class NonInviteServerTransaction(ServerTransaction):
    """A server transaction for any request but INVITE and ACK."""

    TABLE = NON_INVITE_SERVER
    MACHINE = "non_invite_server"
    __slots__ = ()

    def __init__(self, around: Surroundings, flow: Flow, user: TransactionUser, key: Any) -> None:
        super().__init__(around, flow, user, key)
        self.state = State.TRYING

    def _start_j(self, now: float) -> None:
        wait = 0.0 if self.flow.reliable else SIXTY_FOUR_T1
        self._around.timers.start(self, Input.TIMER_J, now + wait)
