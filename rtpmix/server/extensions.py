"""What the server does beyond plain calls: each method to the part that takes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..sip import events as sip
from .hold_music import HoldMusic
from .identities import Identities
from .infos import take_info
from .messages import Messages
from .notices import Notices
from .referring import Referrals
from .seat_requests import SeatRequests
from .transfer import Transfers
from .watching import Watchers

if TYPE_CHECKING:
    from .switchboard import Switchboard

METHODS = ("REFER", "NOTIFY", "SUBSCRIBE")  # and MESSAGE where types of it are configured
# Option tags: RFC 3891, RFC 3911, RFC 4488, RFC 4538, RFC 4916, RFC 7433.
SUPPORTED = ("replaces", "join", "norefersub", "tdialog", "from-change", "uui")


class Extensions:
    """Transfers and what else there is, over one switchboard."""

    def __init__(self, board: Switchboard) -> None:
        self._board = board
        self.transfers = Transfers(board)
        self.referrals = Referrals(board)
        self.seats = SeatRequests(board)
        self.watchers = Watchers(board)
        self.identities = Identities(board)
        self.messages = Messages(board)
        self.notices = Notices(board)
        self.hold_music = HoldMusic(board)

    def requested(self, event: sip.Requested) -> bool:
        """Take a request, and say whether it was one for us."""
        method = event.message.method
        if method == "REFER":
            self.transfers.referred(event, self._board.leg_of(event.call))
        elif method == "NOTIFY":
            self.referrals.notified(event)
        elif method == "SUBSCRIBE":
            self._subscribe(event)
        elif method == "INFO" and event.call is not None:
            take_info(self._board, event)
        elif method == "MESSAGE" and self._board.config.message_types:
            self.messages.received(event)
        else:
            return False
        return True

    def _subscribe(self, event: sip.Requested) -> None:
        agent, now = self._board.agent, self._board.now
        if event.call is not None:
            agent.notifier.receive(event, now)
            return
        self.watchers.subscribe(event)

    def subscription(self, event: sip.SubscriptionRefreshed | sip.SubscriptionEnded) -> None:
        """Take what a watcher did."""
        if isinstance(event, sip.SubscriptionRefreshed):
            if not self.transfers.subscription_refreshed(event):
                self.watchers.refreshed(event)
        elif not self.transfers.subscription_ended(event):
            self.watchers.ended(event)

    def snapshot(self) -> dict[str, Any]:
        """Return the counters of all parts."""
        return {
            "transfers": {"under_way": len(self.transfers), **self.transfers.counters},
            "seats": dict(self.seats.counters),
            "messages": dict(self.messages.counters),
            "notices": dict(self.notices.counters),
            "watchers": {"watching": len(self.watchers), "refused": self.watchers.refused},
        }
