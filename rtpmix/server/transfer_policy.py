"""Where a telephone may transfer a call to: a decision of the program's, closed by default."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..sip.uri import OpaqueUri, SipUri

if TYPE_CHECKING:
    from .leg import Leg
    from .switchboard import Switchboard


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferRequest:
    """What a telephone asks with REFER or by a redirection, for a policy to judge.

    Attributes
    ----------
    leg
        Who asks; `Leg.user` is who that proved to be, None for a stranger. None itself where a 3xx
        answered a call of ours: see `Config.redirects`.
    target
        The URI to be called.
    user
        Its user part, unescaped.
    attended
        The target is to be called in the place of a call that it has already.
    inside
        The target is a user of this server, or a room: an open bridge with that name.
    """

    leg: Leg | None
    target: str
    user: str
    attended: bool
    inside: bool


TransferPolicy = Callable[[TransferRequest], bool]


def inside_only(request: TransferRequest) -> bool:
    """Allow users of this server and its rooms, and nothing that could cost money."""
    return request.inside


def is_here(board: Switchboard, uri: SipUri | OpaqueUri) -> bool:
    """Tell whether a URI's host is this server."""
    if not isinstance(uri, SipUri):
        return False
    if uri.host.lower() == board.config.realm.lower():
        return True
    return board.open_shell.is_own_address(uri.host, uri.port or 5060)


def is_user(board: Switchboard, uri: SipUri | OpaqueUri) -> bool:
    """Tell whether a URI names somebody who can register here."""
    if not isinstance(uri, SipUri) or not board.is_local(uri):
        return False
    return (uri.decoded_user or "") in board.config.users or bool(
        board.contacts(uri.decoded_user or "")
    )
