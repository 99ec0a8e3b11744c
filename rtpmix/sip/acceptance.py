"""Our 2xx to an INVITE on its way to the caller (RFC 3261 section 13.3.1.4)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .core import Timer
from .server_transaction import ServerTransaction
from .timers import SIXTY_FOUR_T1, T1, T2

if TYPE_CHECKING:
    from .session import Session


class Acceptance:
    """Our 2xx to an INVITE, repeated until its ACK comes.

    The transport does not matter: a hop further on may lose the 2xx.

    References
    ----------
    RFC 3261 section 13.3.1.4; RFC 6026 section 8.1
    """

    __slots__ = ("_core", "_data", "_interval", "_session", "_transaction", "offers", "sequence")

    def __init__(
        self,
        session: Session,
        transaction: ServerTransaction,
        sequence: int,
        data: bytes,
        *,
        offers: bool,
    ) -> None:
        self._core = session.core
        self._session = session
        self._transaction = transaction
        self.sequence = sequence
        self.offers = offers  # it answers an INVITE without a body: the ACK has the answer
        self._data = data
        self._interval = T1

    def start(self, now: float) -> None:
        """Send the 2xx for the first time."""
        self._transaction.respond(200, self._data, now)
        self._core.timers.start(self, Timer.REPEAT, now + self._interval)
        self._core.timers.start(self, Timer.GIVE_UP, now + SIXTY_FOUR_T1)

    def stop(self) -> None:
        """Be silent: the ACK is here, or nobody waits for it any more."""
        self._core.timers.stop(self, Timer.REPEAT)
        self._core.timers.stop(self, Timer.GIVE_UP)

    def timer_fired(self, name: Timer, now: float) -> None:
        """Repeat the 2xx, or stop waiting."""
        if name is Timer.GIVE_UP:
            self.stop()
            self._session.ack_timed_out(now)
            return
        self._interval = min(2 * self._interval, T2)
        self._core.timers.start(self, Timer.REPEAT, now + self._interval)
        self._transaction.respond(200, self._data, now)
