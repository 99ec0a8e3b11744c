"""What the user agent tells a server, handed to the calls and legs that it concerns."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..events import CallArrived, Registered
from ..sip import events as sip
from . import early
from .incoming import IncomingCall
from .outgoing import OutgoingCall

if TYPE_CHECKING:
    from .switchboard import Switchboard


def take(board: Switchboard, event: sip.Event) -> None:
    """Take one event of the user agent."""
    handle = _HANDLERS.get(type(event))
    if handle is not None:
        handle(board, event)


def _invited(board: Switchboard, event: sip.Invited) -> None:
    identity, refusal = board.directory.identify(event.request, event.flow, board.now)
    if refusal is not None:
        board.agent.reject(event.call, refusal.status, board.now, refusal.reason, refusal.headers)
        return
    handler = board.extensions.seats.handler_for(event.request) or board.handler
    if handler is None or not board.accepting:
        board.agent.reject(event.call, 480, board.now)
        return
    call = IncomingCall(
        board, call=event.call, request=event.request, flow=event.flow, identity=identity
    )
    board.waiting[event.call] = call
    board.publish(
        CallArrived(at=board.now, caller=call.caller, target=call.target, identity=identity)
    )
    task = call.start(handler)
    board.handlers.add(task)
    task.add_done_callback(lambda done: _handler_done(board, done, call))


def _handler_done(board: Switchboard, task: asyncio.Task[None], call: IncomingCall) -> None:
    board.handlers.discard(task)
    if board.waiting.get(call.call) is call:
        del board.waiting[call.call]


def _cancelled(board: Switchboard, event: sip.Cancelled) -> None:
    waiting = board.waiting.pop(event.call, None)
    if isinstance(waiting, IncomingCall):
        waiting.cancelled(event)


def _answered(board: Switchboard, event: sip.Answered) -> None:
    waiting = board.waiting.get(event.call)
    if isinstance(waiting, OutgoingCall):
        waiting.answered(event)
    else:  # its program gave up on the call a moment ago
        board.agent.bye(event.call, board.now)


def _failed(board: Switchboard, event: sip.Failed) -> None:
    waiting = board.waiting.get(event.call)
    if isinstance(waiting, OutgoingCall):
        waiting.failed(event)


def _ended(board: Switchboard, event: sip.Ended) -> None:
    leg = board.leg_of(event.call)
    if leg is not None:
        if event.bye is not None:
            leg.note_user_to_user(event.bye)
        leg.end(event.cause, event.reason)
    elif (waiting := board.waiting.pop(event.call, None)) is not None:
        waiting.ended(event)


def _progressed(board: Switchboard, event: sip.Progressed) -> None:
    waiting = board.waiting.get(event.call)
    if isinstance(waiting, OutgoingCall):
        waiting.progressed(event)
        board.extensions.watchers.touch()


def _responded(board: Switchboard, event: sip.Responded) -> None:
    board.response_came(event)


def _subscription(
    board: Switchboard, event: sip.SubscriptionRefreshed | sip.SubscriptionEnded
) -> None:
    board.extensions.subscription(event)


def _acked(board: Switchboard, event: sip.Acked) -> None:
    if (leg := board.leg_of(event.call)) is not None:
        leg.acked(event.body)


def _reinvited(board: Switchboard, event: sip.Reinvited) -> None:
    leg = board.leg_of(event.call)
    if leg is None or not leg.is_open:
        board.agent.answer_reinvite(event.call, 481, board.now)
    else:
        leg.reinvited(event)
        board.extensions.identities.renewed(leg, event.request)


def _reinvite_answered(board: Switchboard, event: sip.ReinviteAnswered) -> None:
    if (leg := board.leg_of(event.call)) is not None:
        leg.reinvite_answered(event)


def _requested(board: Switchboard, event: sip.Requested) -> None:
    request = event.message
    if request.method == "REGISTER":
        _register(board, event)
    elif not board.extensions.requested(event):
        board.agent.respond(event.request, 405, board.now)


def _register(board: Switchboard, event: sip.Requested) -> None:
    if not board.config.has_users:
        board.agent.respond(event.request, 403, board.now)
        return
    reply, user = board.directory.register(event.message, event.flow, board.now, board.is_local)
    board.agent.respond(
        event.request, reply.status, board.now, reason=reply.reason, headers=reply.headers
    )
    if user is not None and reply.status == 200:
        board.publish(Registered(at=board.now, user=user, contacts=len(board.contacts(user))))


_HANDLERS: dict[type[sip.Event], Callable[[Switchboard, Any], None]] = {
    sip.Invited: _invited,
    sip.Cancelled: _cancelled,
    sip.Acked: _acked,
    sip.Answered: _answered,
    sip.Failed: _failed,
    sip.Reinvited: _reinvited,
    sip.ReinviteAnswered: _reinvite_answered,
    sip.Ended: _ended,
    sip.Requested: _requested,
    sip.Progressed: _progressed,
    **early.SIP_EVENTS,
    sip.Responded: _responded,
    sip.SubscriptionRefreshed: _subscription,
    sip.SubscriptionEnded: _subscription,
}
