"""Where a call goes: to the phones of a user of ours, or to the servers behind a name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import CallFailed, SipParseError, UsageError
from ..sip.authentication import Credential
from ..sip.flow import Flow
from ..sip.locating import Hop
from ..sip.registrar import Binding
from ..sip.uri import SipUri, parse_uri

if TYPE_CHECKING:
    from .switchboard import Switchboard


@dataclass(frozen=True, slots=True)
class Destination:
    """Where one INVITE goes: to a place, or to a binding of one of our users."""

    uri: str
    flow: Flow
    binding: Binding | None = None
    credentials: Credential | None = None
    is_one_of_several: bool = False  # servers of a trunk or of a domain
    route_set: tuple[str, ...] = ()
    hop: Hop | None = None  # as it was located

    @property
    def routes(self) -> tuple[tuple[str, str], ...]:
        """The Route headers that lead there (RFC 3261 section 8.1.2, RFC 3327 section 5.4)."""
        path = self.route_set if self.binding is None else self.binding.path
        return tuple(("Route", value) for value in path)


def parse_target(target: str) -> SipUri:
    """Read a target that a program gave.

    Raises
    ------
    UsageError
        When it is no SIP URI.
    """
    try:
        uri = parse_uri(target)
    except SipParseError as error:
        raise UsageError(f"{target!r} is not a SIP URI ({error}); write sip:user@host") from error
    if not isinstance(uri, SipUri):
        raise UsageError(f"{target!r} is not a SIP URI; write sip:user@host")
    return uri


async def resolve(
    board: Switchboard, uri: SipUri, *, direct: bool = False
) -> list[list[Destination]]:
    """Return where a target can be reached: a user's registered contacts, or the host named.

    Each inner list is one device; its flows are tried one after the other, never at once
    (RFC 5626 section 5.3; RFC 3263 section 4.3).

    Parameters
    ----------
    direct
        Leave the outbound proxy out.

    Raises
    ------
    CallFailed
        480 when a user of ours has no registered phone, 503 when a host name is not known.
    """
    if board.is_local(uri):
        bindings = board.contacts(uri.decoded_user or "")
        if not bindings:
            raise CallFailed(status=480, reason="Temporarily Unavailable", target=str(uri))
        devices: dict[object, list[Destination]] = {}
        for binding in bindings:
            device = binding.instance if binding.is_outbound else binding
            destination = Destination(str(binding.contact), binding.flow, binding)
            devices.setdefault(device, []).append(destination)
        return list(devices.values())
    route_set = () if direct else board.config.route_set
    next_hop = parse_uri(route_set[0][1:-1]) if route_set else uri  # RFC 3261 section 8.1.2
    assert isinstance(next_hop, SipUri)  # `Config` has checked it
    hops = await board.locator.find(next_hop, board.open_shell.reachable, board.now)
    if not hops:
        raise CallFailed(status=503, reason="Host Not Found", target=str(uri))
    credentials = board.config.credentials.get(uri.host.lower())
    return [
        [
            Destination(
                str(uri),
                board.flow_to(hop.transport, hop.address, next_hop.host.lower()),
                credentials=credentials,
                is_one_of_several=len(hops) > 1,
                route_set=route_set,
                hop=hop,
            )
            for hop in hops
        ]
    ]
