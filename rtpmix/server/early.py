"""What SIP tells of offers outside of an INVITE and its answer: PRACK, UPDATE, session timers."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..sip import events as sip

if TYPE_CHECKING:
    from .switchboard import Switchboard


def _offered(board: Switchboard, event: sip.Offered) -> None:
    leg = board.leg_of(event.call)
    if leg is None or not leg.is_open:
        board.agent.answer_offer(event.call, 488, board.now)
    else:
        leg.offered(event)
        board.extensions.identities.renewed(leg, event.request)


def _pracked(board: Switchboard, event: sip.Pracked) -> None:
    leg = board.leg_of(event.call)
    if leg is not None:
        leg.acked(event.request.body)


def _identified(board: Switchboard, event: sip.Identified) -> None:
    leg = board.leg_of(event.call)
    if leg is not None and leg.is_open:
        board.extensions.identities.renewed(leg, event.request)


def _refresh_due(board: Switchboard, event: sip.RefreshDue) -> None:
    leg = board.leg_of(event.call)
    if leg is not None:
        board.spawn(leg.refresh())


SIP_EVENTS: dict[type[sip.Event], Callable[[Switchboard, Any], None]] = {
    sip.Offered: _offered,
    sip.Identified: _identified,
    sip.Pracked: _pracked,
    sip.RefreshDue: _refresh_due,
}
