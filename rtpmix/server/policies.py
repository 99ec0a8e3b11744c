"""What a program decides for its server: who may transfer, take seats and watch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import UsageError
from .messages import MessagePolicy, calls_and_users
from .seat_requests import SeatPolicy, own_calls_only
from .transfer_policy import TransferPolicy, inside_only
from .watching import WatchPolicy, users_only

if TYPE_CHECKING:
    from .switchboard import Switchboard


class Policies:
    """The decisions of a `Server`, closed until the program opens them."""

    _board: Switchboard | None

    def __init__(self) -> None:
        self._transfer_policy: TransferPolicy = inside_only
        self._seat_policy: SeatPolicy = own_calls_only
        self._watch_policy: WatchPolicy = users_only
        self._message_policy: MessagePolicy = calls_and_users

    def _put_in_force(self, board: Switchboard) -> None:
        board.extensions.transfers.policy = self._transfer_policy
        board.extensions.seats.policy = self._seat_policy
        board.extensions.watchers.policy = self._watch_policy
        board.extensions.messages.policy = self._message_policy

    def on_transfer(self, policy: TransferPolicy) -> TransferPolicy:
        """Register what says where phones may transfer calls to; usable as a decorator.

        Called with a `TransferRequest`; False refuses with 403. Without one only users of this
        server and its rooms can be transferred to: a number that costs money has to be allowed.
        """
        self._transfer_policy = policy
        if self._board is not None:
            self._board.extensions.transfers.policy = policy
        return policy

    def on_seat_request(self, policy: SeatPolicy) -> SeatPolicy:
        """Register what says who may replace, pick up or join calls; usable as a decorator.

        Called with a `SeatRequest` for an INVITE with Replaces (RFC 3891) or Join (RFC 3911);
        False refuses with 403. Without one users may replace and pick up their own calls with
        another phone, and nobody may join.
        """
        self._seat_policy = policy
        if self._board is not None:
            self._board.extensions.seats.policy = policy
        return policy

    def on_watch(self, policy: WatchPolicy) -> WatchPolicy:
        """Register what says who may watch what (SUBSCRIBE); usable as a decorator.

        Called with a `WatchRequest`. Without one users who log in may watch each other's lamps
        (dialog) and presence, the rooms that they are in, and their own mailbox.
        """
        self._watch_policy = policy
        if self._board is not None:
            self._board.extensions.watchers.policy = policy
        return policy

    def on_message(self, policy: MessagePolicy) -> MessagePolicy:
        """Register what says which MESSAGEs are taken (RFC 3428); usable as a decorator.

        Called with an `IncomingMessage`; True answers 200 and publishes a `MessageReceived`, False
        refuses with 403, or asks a stranger to log in. Without one, what comes in a call is taken
        and what users send who log in. `Config.message_types` says of which types at all.
        """
        self._message_policy = policy
        if self._board is not None:
            self._board.extensions.messages.policy = policy
        return policy

    async def send_message(
        self,
        target: str,
        text: str,
        *,
        caller: str | None = None,
        content_type: str = "text/plain;charset=UTF-8",
    ) -> None:
        """Send a MESSAGE outside of any call: to every phone of a user of ours, or to a SIP URI.

        Raises
        ------
        CallFailed
            No phone took it; with the status of the last.
        UsageError
            ``target`` is no SIP URI, or the text is above 1000 octets (RFC 3428 section 8).
        """
        if self._board is None:
            raise UsageError("start the server first: async with Server(...) as server")
        messages = self._board.extensions.messages
        await messages.send(target, text, caller=caller, content_type=content_type)
