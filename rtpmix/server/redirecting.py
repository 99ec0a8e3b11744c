"""Calls that are sent elsewhere by a 3xx: followed within bounds, where the policy allows it.

Each contact passes the policy that judges transfers (`Server.on_transfer`): a redirection by a
phone could else have this server call numbers that cost money, just as a REFER could.

References
----------
RFC 3261 section 8.1.3.4
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..errors import CallFailed, UsageError
from ..events import CallRedirected
from ..sip.redirection import FOLLOWED, Contact, Redirections
from ..sip.uri import SipUri, parse_uri
from ..sip.user_to_user import UserToUser, user_to_user_headers
from .destinations import parse_target
from .leg import Leg
from .outcomes import Redirected
from .outgoing import place_call
from .scope import current_scope

if TYPE_CHECKING:
    from .switchboard import Switchboard

Header = tuple[str, str]


async def call_or_follow(
    board: Switchboard,
    target: str,
    *,
    redirects: int | None,
    headers: Sequence[Header],
    user_to_user: UserToUser | Sequence[UserToUser] | None,
    timeout_s: float,
    **more: Any,
) -> Leg:
    """Place a call and follow where it is sent; see `Server.invite`.

    Raises
    ------
    CallFailed
        Of the last who was called; a 3xx where nothing more may be followed.
    """
    limit = board.config.redirects if redirects is None else redirects
    if not 0 <= limit <= 32:
        raise UsageError("redirects is 0 to 32 contacts")
    if more.get("identity") is not None and more.get("caller") is not None:
        raise UsageError("give a caller or an identity: the identity says what stands in From")
    given = user_to_user_headers(user_to_user)
    more["session_id"] = _session(board)
    deadline = board.now + timeout_s
    first = _first(board, target, more.get("trunk"))
    following: Redirections | None = None
    while True:
        try:
            return await place_call(
                board,
                target,
                headers=(*headers, *given),
                timeout_s=max(0.0, deadline - board.now),
                **more,
            )
        except Redirected as failed:
            if limit == 0 or failed.status not in FOLLOWED:
                raise
            if following is None:
                following = Redirections(first, limit)
            following.learn(_allowed(board, target, failed.where))
            contact = following.next()
            if contact is None:
                raise
        except CallFailed:
            contact = following.next() if following is not None else None
            if contact is None or board.now >= deadline:
                raise
        board.publish(
            CallRedirected(at=board.now, target=target, contact=str(contact.uri), followed=True)
        )
        target = str(contact.uri)
        if contact.uri.host.lower() != first.host.lower():
            more["credentials"] = None  # whoever gets an answer may try passwords against it
        if more.get("trunk") is not None and not _is_of_trunk(board, contact, more["trunk"]):
            more["trunk"] = None
        if contact.user_to_user is not None:  # RFC 7433 section 4.1
            given = user_to_user_headers(contact.user_to_user)
        await asyncio.sleep(0)


def _session(board: Switchboard) -> str | None:
    """Return the UUID that all attempts have: that of the conversation, or a fresh one."""
    scope = current_scope.get()
    return (scope.session if scope is not None else None) or board.agent.new_uuid()


def _first(board: Switchboard, target: str, trunk: str | None) -> SipUri:
    return parse_target(target if trunk is None else board.trunks.find(trunk).trunk.target(target))


def _is_of_trunk(board: Switchboard, contact: Contact, trunk: str) -> bool:
    """Tell whether a contact is the trunk's own, so that the call goes on through it."""
    home = parse_uri(board.trunks.find(trunk).trunk.address)
    return getattr(home, "host", "").lower() == contact.uri.host.lower()


def _allowed(board: Switchboard, target: str, contacts: tuple[Contact, ...]) -> tuple[Contact, ...]:
    """Return the contacts that the policy lets us call; tell of the others."""
    allowed = []
    for contact in contacts:
        uri = replace(contact.uri, headers=())
        if board.extensions.transfers.allows_redirect(uri):
            allowed.append(contact)
            continue
        board.publish(CallRedirected(at=board.now, target=target, contact=str(uri), followed=False))
    return tuple(allowed)
