"""INFO in a call: keys as ``application/dtmf-relay``, and packages that were negotiated."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..events import InfoReceived
from ..sip import events as sip
from ..sip.info_packages import package_of
from .dtmf_relay import relayed_digit

if TYPE_CHECKING:
    from .switchboard import Switchboard


def take_info(board: Switchboard, event: sip.Requested) -> None:
    """Take an INFO.

    One with a package of `Config.info_packages` becomes an event; others were refused with 469
    before they came here. One without is a legacy use (RFC 6086 section 2), of which keys are
    known.
    """
    request, leg = event.message, board.leg_of(event.call)
    if leg is None:
        board.agent.respond(event.request, 481, board.now)
        return
    package = package_of(request.headers)
    if package is not None:
        board.agent.respond(event.request, 200, board.now)
        board.publish(
            InfoReceived(
                at=board.now,
                leg=leg.id,
                package=package,
                content_type=request.content_type or "",
                body=request.body,
            )
        )
        return
    digit = relayed_digit(request)
    if digit is None:
        board.agent.respond(event.request, 415, board.now)
        return
    board.agent.respond(event.request, 200, board.now)
    leg.digit_pressed(*digit)
