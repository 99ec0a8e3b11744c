"""Dialogs: what two user agents keep between requests (RFC 3261 section 12)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from .exchange import Exchange
from .flow import Flow
from .headers import NameAddr
from .info_packages import read_recv_info
from .message import Request, Response
from .routing import next_hop_flow
from .uri import OpaqueUri, SipUri, parse_uri

if TYPE_CHECKING:
    from .authentication import Authentication
    from .session_id import SessionId

DialogId = tuple[str, str, str]  # Call-ID, local tag, remote tag ("" for an RFC 2543 peer)

MAX_CSEQ = 2**31 - 1  # section 8.1.1.5


class Dialog:
    """One dialog: its identity, its sequence numbers, and the way to the other side.

    Parameters
    ----------
    local, remote
        From and To of our own requests, the tags with them.
    remote_target
        Where requests are addressed; the Contact of the other side.
    route_set
        Route values in the order in which our requests carry them.
    local_sequence
        Of our last request.
    remote_sequence
        Of the other side's last request; None before the first.
    heard
        The flow of the last message in this dialog, for a target that is a name.
    created_call_id
        True where the Call-ID is our own (section 14.1 asks).
    allows_update
        True once the other side has said so.
    exchange
        Offers and answers in PRACK and UPDATE.
    session
        The UUIDs of both sides (RFC 7989); None where they are not said.
    recv_info
        The INFO packages that the other side takes (RFC 6086).
    changes_from
        True once the other side said that it follows a change of identity (RFC 4916).
    datagrams_only
        True once a large request could not be sent over a stream (RFC 3261 section 18.1.1).
    authentication
        Answers those who challenge our requests; None where we have nothing to prove.

    References
    ----------
    RFC 3261 section 12
    """

    __slots__ = (
        "allows_update",
        "authentication",
        "call_id",
        "changes_from",
        "created_call_id",
        "datagrams_only",
        "exchange",
        "heard",
        "id",
        "local",
        "local_sequence",
        "recv_info",
        "remote",
        "remote_sequence",
        "remote_target",
        "route_set",
        "session",
    )

    def __init__(
        self,
        *,
        call_id: str,
        local: NameAddr,
        remote: NameAddr,
        remote_target: SipUri | OpaqueUri,
        route_set: tuple[NameAddr, ...],
        local_sequence: int,
        remote_sequence: int | None,
        heard: Flow,
        created_call_id: bool,
    ) -> None:
        self.call_id = call_id
        self.local = str(local)
        self.remote = str(remote)
        self.id: DialogId = (call_id, local.tag or "", remote.tag or "")
        self.remote_target = remote_target
        self.route_set = route_set
        self.local_sequence = local_sequence
        self.remote_sequence = remote_sequence
        self.heard = heard
        self.created_call_id = created_call_id
        self.authentication: Authentication | None = None
        self.session: SessionId | None = None
        self.recv_info: frozenset[str] = frozenset()
        self.allows_update = False
        self.changes_from = False
        self.datagrams_only = False
        self.exchange = Exchange()

    @classmethod
    def from_request(cls, request: Request, local_tag: str, flow: Flow) -> Dialog:
        """Make the dialog of a server that answers a request with a To tag (section 12.1.1).

        The request has been checked: it has one Contact at least.
        """
        dialog = cls(
            call_id=request.call_id,
            local=request.to.with_tag(local_tag),
            remote=request.from_,
            remote_target=request.contacts[0].uri,
            route_set=tuple(request.record_routes),
            local_sequence=0,
            remote_sequence=request.cseq.number,
            heard=flow,
            created_call_id=False,
        )
        dialog.session = request.session
        dialog.note_allowed(request)
        return dialog

    @classmethod
    def from_response(cls, request: Request, response: Response, flow: Flow) -> Dialog:
        """Make the dialog of a client from a 101-299 response with a tag (section 12.1.2).

        A response without a Contact leaves the target where the request was addressed.
        """
        contacts = response.contacts
        dialog = cls(
            call_id=response.call_id,
            local=request.from_,
            remote=response.to,
            remote_target=contacts[0].uri if contacts else request.request_uri,
            route_set=tuple(reversed(response.record_routes)),
            local_sequence=request.cseq.number,
            remote_sequence=None,
            heard=flow,
            created_call_id=True,
        )
        dialog.note_allowed(response)
        return dialog

    def confirm(self, response: Response, flow: Flow) -> None:
        """Take over what a 2xx changes in an early dialog (section 13.2.2.4)."""
        self.route_set = tuple(reversed(response.record_routes))
        self.refresh_target(response)
        self.heard = flow

    def refresh_target(self, message: Request | Response) -> None:
        """Move the remote target to the Contact of a target refresh (section 12.2)."""
        contacts = message.contacts
        self.note_allowed(message)
        if isinstance(message, Request) and self.id[2]:
            self.remote = str(message.from_)  # its URI may change, the tag does not (RFC 4916)
        if contacts:
            self.remote_target = contacts[0].uri

    def note_allowed(self, message: Request | Response) -> None:
        """Learn what the other side takes: UPDATE (RFC 3311 section 5.1), changes of identity (RFC
        4916 section 4.2), INFO packages (RFC 6086 section 5.2.3)."""
        allow = message.allow
        if allow:
            self.allows_update = "UPDATE" in allow
        if not self.changes_from and "Supported" in message.headers:
            self.changes_from = "from-change" in message.supported
        packages = read_recv_info(message)
        if packages is not None:
            self.recv_info = packages

    def next_sequence(self) -> int:
        """Count up and return the CSeq number for a new request (section 12.2.1.1)."""
        self.local_sequence = self.local_sequence % MAX_CSEQ + 1
        return self.local_sequence

    def accepts_sequence(self, number: int) -> bool:
        """Take a request's CSeq number; False for one out of order (section 12.2.2).

        A gap is no error. The same number again is no retransmission, as those never come out of
        the transaction layer, and is out of order too.
        """
        if self.remote_sequence is not None and number <= self.remote_sequence:
            return False
        self.remote_sequence = number
        return True

    def addressing(self) -> tuple[str, list[tuple[str, str]]]:
        """Return the Request-URI and the Route headers of a request in this dialog.

        References
        ----------
        RFC 3261 section 12.2.1.1
        """
        if not self.route_set:
            return request_uri_text(self.remote_target), []
        first = self.route_set[0]
        if _is_loose(first):
            routes = [str(route) for route in self.route_set]
            return request_uri_text(self.remote_target), [("Route", ", ".join(routes))]
        # A strict router takes the Request-URI for its own and the last Route for the target.
        routes = [str(route) for route in self.route_set[1:]]
        routes.append(f"<{self.remote_target}>")
        return request_uri_text(first.uri), [("Route", ", ".join(routes))]

    @property
    def secure(self) -> bool:
        """True where the other side is a sips URI, so that our Contact must be one too."""
        return isinstance(self.remote_target, SipUri) and self.remote_target.scheme == "sips"

    def next_hop(self) -> Flow:
        """Return the flow for a request in this dialog (section 8.1.2)."""
        hop = self.route_set[0].uri if self.route_set else self.remote_target
        return next_hop_flow(hop, self.heard)


def request_uri_text(uri: SipUri | OpaqueUri) -> str:
    """Write a URI as a Request-URI: without what may not stand there (section 19.1.1, table 1)."""
    if isinstance(uri, OpaqueUri):
        return str(uri)
    kept = tuple(item for item in uri.parameters if item[0] != "method")
    return str(replace(uri, parameters=kept, headers=()))


def is_secure(target: str) -> bool:
    """Tell whether a URI as text is a sips URI."""
    return target.lstrip(" <")[:5].lower() == "sips:"


def _is_loose(route: NameAddr) -> bool:
    return isinstance(route.uri, SipUri) and route.uri.parameter("lr") is not None


def parsed_target(target: str) -> SipUri | OpaqueUri:
    """Read a URI that the caller gave; ``<sip:...>`` is taken as well."""
    text = target.strip()
    return NameAddr.parse(text).uri if text.startswith("<") else parse_uri(text)
