"""Whose word on identities counts, and what is said of callers to whom."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..events import LegIdentified
from ..sip.flow import Flow
from ..sip.identity import CallerIdentity, identity_headers, read_identity, read_preferred, strike
from ..sip.message import Request, Response
from ..sip.trust import TrustDomain

if TYPE_CHECKING:
    from .destinations import Destination
    from .leg import Leg
    from .switchboard import Switchboard

Header = tuple[str, str]


class Identities:
    """The trust domain of one server.

    References
    ----------
    RFC 3325 sections 5 to 7; RFC 4916
    """

    def __init__(self, board: Switchboard) -> None:
        self._board = board
        self._domain = TrustDomain(board.config.trusted_peers)

    def trusts(self, flow: Flow) -> bool:
        """Tell whether what came over a flow came from a trusted peer."""
        if not self._domain:
            return False
        host = flow.remote[0]
        if self._domain.has_address(host):
            return True
        if self._board.trunks.have_address(self._domain.trunks, host):
            return True
        return self._domain.has_name(self._board.open_shell.streams.peer_names(flow))

    def trusts_way(self, destination: Destination, trunk: str | None) -> bool:
        """Tell whether a call goes to a trusted peer; a TLS peer has to prove its name."""
        flow, tls = destination.flow, self._board.config.tls
        if trunk is not None and trunk in self._domain.trunks:
            return True
        proves = flow.transport == "TLS" and tls is not None and tls.verify
        if proves and self._domain.has_name((flow.name,)):
            return True
        return self._domain.has_address(flow.remote[0])

    def read(self, message: Request | Response, flow: Flow) -> CallerIdentity | None:
        """Return what a trusted peer asserts; what anybody else says of it is struck out."""
        if self.trusts(flow):
            return read_identity(message)
        strike(message)
        return None

    @staticmethod
    def preferred(request: Request, user: str | None) -> CallerIdentity | None:
        """Return which identity a user of ours, who has logged in, wants asserted."""
        return read_preferred(request) if user is not None else None

    def headers(self, identity: CallerIdentity, *, trusted: bool) -> tuple[Header, ...]:
        """Return what goes beside From."""
        return identity_headers(identity, trusted=trusted, form=self._board.config.identity_form)

    def renewed(self, leg: Leg, request: Request) -> None:
        """Take what a request in a leg's call says of who its peer is now."""
        flow = self._board.agent.heard_over(leg.call)
        asserted = self.read(request, flow) if flow is not None else None
        sender = str(request.from_.uri)
        if asserted in (None, leg.asserted) and sender == leg.known_as:
            return
        leg.asserted, leg.known_as = asserted, sender
        self._board.publish(
            LegIdentified(at=self._board.now, leg=leg.id, sender=sender, asserted=asserted)
        )

    async def show(self, leg: Leg, identity: CallerIdentity) -> bool:
        """Tell a peer who it is connected to now, if it asked for that; see `Leg.show_identity`."""
        board = self._board
        if not leg.is_open or not board.agent.follows_identity(leg.call):
            return False
        headers = self.headers(identity, trusted=self.trusts(leg.flow))
        board.agent.change_from(leg.call, identity.sender)
        board.agent.update(leg.call, board.now, headers=headers)
        board.pump()
        return True
