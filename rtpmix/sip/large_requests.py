"""Requests in a dialog that are too large for a datagram: over TCP, and over UDP if that fails.

A datagram of more than 1300 octets may be cut on the way and is lost with any of its pieces.

References
----------
RFC 3261 section 18.1.1
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .message import Request, Response
from .routing import literal_address
from .transaction import NOBODY, TransactionUser

if TYPE_CHECKING:
    from .dialog import Dialog
    from .flow import Flow

LARGE = 1300  # octets

StreamFor = Callable[["Flow"], "Flow | None"]
"""Returns the way over TCP to where a flow of datagrams leads; None where there is none."""

_MAY_BE_LARGE = 300  # octets of body and of routes: less than that is never 1300 in all


def stream_instead(
    dialog: Dialog, request: Request, flow: Flow, stream_for: StreamFor
) -> Flow | None:
    """Return the flow to take in place of UDP, or None to stay with it."""
    if flow.transport != "UDP" or dialog.datagrams_only:
        return None
    target = literal_address(dialog.remote_target)
    if not dialog.route_set and target is not None and target != flow.remote:
        return None  # the peer is behind a NAT: nobody can connect to it
    variable = len(request.body) + sum(len(line) for line in request.headers.lines("Route"))
    if variable < _MAY_BE_LARGE or len(request.to_bytes()) <= LARGE:
        return None
    return stream_for(flow)


class Switchable(TransactionUser):
    """Stands between a request in a dialog and its user, and sends it again over UDP.

    Parameters
    ----------
    again
        Sends the request anew.
    """

    __slots__ = ("_again", "_dialog", "_user", "switched")

    def __init__(
        self, user: TransactionUser, dialog: Dialog, again: Callable[[float], None]
    ) -> None:
        self._user = user
        self._dialog = dialog
        self._again = again
        self.switched = False  # the last attempt went over TCP in place of UDP

    def transport_failed(self, transaction: Any, now: float) -> None:
        """Go back to UDP where it was TCP that failed, and stay there for this dialog."""
        if self.switched:
            self.switched = False
            self._dialog.datagrams_only = True
            transaction.user = NOBODY  # its end is not the end of the request
            self._again(now)
        else:
            self._user.transport_failed(transaction, now)

    def response_received(self, transaction: Any, response: Response, now: float) -> None:
        """Pass it on."""
        self._user.response_received(transaction, response, now)

    def timed_out(self, transaction: Any, now: float) -> None:
        """Pass it on."""
        self._user.timed_out(transaction, now)

    def transaction_ended(self, transaction: Any, now: float) -> None:
        """Pass it on."""
        self._user.transaction_ended(transaction, now)
