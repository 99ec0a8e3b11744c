"""As whom a call is placed, and what each peer may know of that."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..sdp.security import Encryption
from ..sip.identity import CallerIdentity

if TYPE_CHECKING:
    from .destinations import Destination
    from .switchboard import Switchboard

Headers = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Sender:
    """Who calls.

    Parameters
    ----------
    caller
        The From address, where there is no identity; None for this server's own.
    identity
        Told to trusted peers, and in From to all unless it is to be withheld.
    headers
        More headers of the INVITE.
    trunk
        Through which the call goes, or None.
    session_id
        Our UUID (RFC 7989), or None for a fresh one.
    encryption
        Of media, in place of `Config.encryption`.
    """

    caller: str | None
    identity: CallerIdentity | None
    headers: Headers
    trunk: str | None = None
    session_id: str | None = None
    encryption: Encryption | None = None

    def seen_by(
        self, board: Switchboard, destination: Destination
    ) -> tuple[str, str | None, Headers]:
        """Return URI and name for From and all other headers, as one destination gets them."""
        identity, headers = self.identity, self.headers
        if identity is None:
            return self.caller or board.own_uri(destination.flow), None, headers
        identities = board.extensions.identities
        trusted = identities.trusts_way(destination, self.trunk)
        party = identity.sender
        more = identities.headers(identity, trusted=trusted)
        return str(party.uri), party.display_name, (*headers, *more)
