"""The two client transaction machines (RFC 3261 section 17.1, RFC 6026 section 7.2).

"TU gives up" is not in the figures: it is section 9.1, which lets the client destroy an INVITE
transaction that got no final response 64*T1 after its CANCEL.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .flow import Flow
from .timers import SIXTY_FOUR_T1, T1, T2, T4
from .transaction import Input, State, Step, Surroundings, Table, Transaction, TransactionUser

S, I = State, Input  # noqa: E741

TIMER_D = 32.0  # seconds: not 64*T1, as the server's T1 is unknown here (section 17.1.1.2)

# RFC 3261 figure 5 as RFC 6026 section 8.4 replaces it.
INVITE_CLIENT: Table = {
    (S.CALLING, I.TIMER_A): Step(S.CALLING, ("resend", "double_a", "start_a")),
    (S.CALLING, I.TIMER_B): Step(S.TERMINATED, ("tell_timeout", "end")),
    (S.CALLING, I.TRANSPORT_ERROR): Step(S.TERMINATED, ("tell_transport_error", "end")),
    (S.CALLING, I.RECEIVED_1XX): Step(S.PROCEEDING, ("stop_a_b", "pass_response")),
    (S.CALLING, I.RECEIVED_2XX): Step(S.ACCEPTED, ("stop_a_b", "start_m", "pass_response")),
    (S.CALLING, I.RECEIVED_300_699): Step(
        S.COMPLETED, ("stop_a_b", "send_ack", "start_d", "pass_response")
    ),
    (S.CALLING, I.TU_GIVES_UP): Step(S.TERMINATED, ("end",)),
    (S.PROCEEDING, I.RECEIVED_1XX): Step(S.PROCEEDING, ("pass_response",)),
    (S.PROCEEDING, I.RECEIVED_2XX): Step(S.ACCEPTED, ("start_m", "pass_response")),
    (S.PROCEEDING, I.RECEIVED_300_699): Step(S.COMPLETED, ("send_ack", "start_d", "pass_response")),
    (S.PROCEEDING, I.TU_GIVES_UP): Step(S.TERMINATED, ("end",)),
    (S.COMPLETED, I.RECEIVED_300_699): Step(S.COMPLETED, ("resend_ack",)),
    (S.COMPLETED, I.TRANSPORT_ERROR): Step(S.TERMINATED, ("tell_transport_error", "end")),
    (S.COMPLETED, I.TIMER_D): Step(S.TERMINATED, ("end",)),
    (S.ACCEPTED, I.RECEIVED_2XX): Step(S.ACCEPTED, ("pass_response",)),
    (S.ACCEPTED, I.TIMER_M): Step(S.TERMINATED, ("end",)),
}

# RFC 3261 figure 6.
NON_INVITE_CLIENT: Table = {
    (S.TRYING, I.TIMER_E): Step(S.TRYING, ("resend", "double_e", "start_e")),
    (S.TRYING, I.TIMER_F): Step(S.TERMINATED, ("tell_timeout", "end")),
    (S.TRYING, I.TRANSPORT_ERROR): Step(S.TERMINATED, ("tell_transport_error", "end")),
    (S.TRYING, I.RECEIVED_1XX): Step(S.PROCEEDING, ("pass_response",)),
    (S.TRYING, I.RECEIVED_2XX): Step(S.COMPLETED, ("stop_e_f", "start_k", "pass_response")),
    (S.TRYING, I.RECEIVED_300_699): Step(S.COMPLETED, ("stop_e_f", "start_k", "pass_response")),
    (S.PROCEEDING, I.TIMER_E): Step(S.PROCEEDING, ("resend", "slow_e", "start_e")),
    (S.PROCEEDING, I.TIMER_F): Step(S.TERMINATED, ("tell_timeout", "end")),
    (S.PROCEEDING, I.TRANSPORT_ERROR): Step(S.TERMINATED, ("tell_transport_error", "end")),
    (S.PROCEEDING, I.RECEIVED_1XX): Step(S.PROCEEDING, ("pass_response",)),
    (S.PROCEEDING, I.RECEIVED_2XX): Step(S.COMPLETED, ("stop_e_f", "start_k", "pass_response")),
    (S.PROCEEDING, I.RECEIVED_300_699): Step(S.COMPLETED, ("stop_e_f", "start_k", "pass_response")),
    (S.COMPLETED, I.TIMER_K): Step(S.TERMINATED, ("end",)),
}


class ClientTransaction(Transaction):
    """What both client machines do.

    Parameters
    ----------
    request
        The request on the wire; sent by `start`, and again whenever the table says so.
    """

    __slots__ = ("_interval", "_request")

    def __init__(
        self,
        around: Surroundings,
        flow: Flow,
        user: TransactionUser,
        key: Any,
        *,
        request: bytes,
    ) -> None:
        super().__init__(around, flow, user, key)
        self._request = request
        self._interval = T1

    def receive(self, status: int, response: Any, now: float) -> None:
        """Feed a response that matched (section 17.1.3)."""
        if status < 200:
            self.handle(Input.RECEIVED_1XX, now, response)
        else:
            final = Input.RECEIVED_2XX if status < 300 else Input.RECEIVED_300_699
            self.handle(final, now, response)

    def _resend(self, now: float) -> None:
        self._around.transmit(self.flow, self._request)

    def _pass_response(self, now: float) -> None:
        self.user.response_received(self, self._message, now)


class InviteClientTransaction(ClientTransaction):
    """An INVITE client transaction.

    Parameters
    ----------
    make_ack
        Builds the ACK for a 300-699 response, as bytes (section 17.1.1.3). A 2xx is acknowledged
        by the user, outside of this transaction.
    """

    TABLE = INVITE_CLIENT
    MACHINE = "invite_client"
    __slots__ = ("_ack", "_make_ack")

    def __init__(
        self,
        around: Surroundings,
        flow: Flow,
        user: TransactionUser,
        key: Any,
        *,
        request: bytes,
        make_ack: Callable[[Any], bytes],
    ) -> None:
        super().__init__(around, flow, user, key, request=request)
        self.state = State.CALLING
        self._make_ack: Callable[[Any], bytes] | None = make_ack
        self._ack = b""

    def start(self, now: float) -> None:
        """Send the request and start timers A and B."""
        self._resend(now)
        self._start_a(now)
        self._around.timers.start(self, Input.TIMER_B, now + SIXTY_FOUR_T1)

    def _start_a(self, now: float) -> None:
        if not self.flow.reliable:
            self._around.timers.start(self, Input.TIMER_A, now + self._interval)

    def _double_a(self, now: float) -> None:
        self._interval *= 2  # no T2 here: only timer B ends it

    def _stop_a_b(self, now: float) -> None:
        self._around.timers.stop(self, Input.TIMER_A)
        self._around.timers.stop(self, Input.TIMER_B)

    def _start_d(self, now: float) -> None:
        wait = 0.0 if self.flow.reliable else TIMER_D
        self._around.timers.start(self, Input.TIMER_D, now + wait)

    def _start_m(self, now: float) -> None:
        self._request = b""
        self._around.timers.start(self, Input.TIMER_M, now + SIXTY_FOUR_T1)

    def _send_ack(self, now: float) -> None:
        assert self._make_ack is not None  # only once: Completed is entered once
        self._ack = self._make_ack(self._message)
        self._make_ack = None
        self._request = b""
        self._around.transmit(self.flow, self._ack)

    def _resend_ack(self, now: float) -> None:
        self._around.transmit(self.flow, self._ack)


class NonInviteClientTransaction(ClientTransaction):
    """A client transaction for any other request."""

    TABLE = NON_INVITE_CLIENT
    MACHINE = "non_invite_client"
    __slots__ = ()

    def __init__(
        self,
        around: Surroundings,
        flow: Flow,
        user: TransactionUser,
        key: Any,
        *,
        request: bytes,
    ) -> None:
        super().__init__(around, flow, user, key, request=request)
        self.state = State.TRYING

    def start(self, now: float) -> None:
        """Send the request and start timers E and F."""
        self._resend(now)
        self._start_e(now)
        self._around.timers.start(self, Input.TIMER_F, now + SIXTY_FOUR_T1)

    def _start_e(self, now: float) -> None:
        if not self.flow.reliable:
            self._around.timers.start(self, Input.TIMER_E, now + self._interval)

    def _double_e(self, now: float) -> None:
        self._interval = min(2 * self._interval, T2)

    def _slow_e(self, now: float) -> None:
        self._interval = T2  # a provisional response slows us down, it does not stop us

    def _stop_e_f(self, now: float) -> None:
        self._around.timers.stop(self, Input.TIMER_E)
        self._around.timers.stop(self, Input.TIMER_F)

    def _start_k(self, now: float) -> None:
        self._request = b""
        wait = 0.0 if self.flow.reliable else T4
        self._around.timers.start(self, Input.TIMER_K, now + wait)
