"""What every part of a user agent shares, and how requests and responses are composed."""

from __future__ import annotations

import enum
import hashlib
import random
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from ..errors import SipParseError, UsageError
from .acknowledgement import MAX_FORWARDS
from .agent_config import UserAgentConfig
from .authentication import AuthenticatedRequest
from .dialog import Dialog, DialogId, parsed_target, request_uri_text
from .events import Event
from .flow import Flow
from .framing import StreamFramer
from .headers import NameAddr
from .large_requests import StreamFor, Switchable, stream_instead
from .message import Request, respond
from .routing import response_flow, sent_by
from .session_id import SessionId, derived
from .timers import Timers
from .transaction import TransactionUser
from .transaction_layer import TransactionLayer

Header = tuple[str, str]

# Requests that tell the peer where we are, beside INVITE: RFC 3515 section 2.2, RFC 6665 8.1.
TARGET_REFRESH = ("REFER", "SUBSCRIBE", "NOTIFY")


# Returns the Retry-After of the 503 that refuses a request outside of a call, or None.
Admit = Callable[[Request, Flow, float], int | None]


class Timer(enum.Enum):
    """The timers of the core, beside those of the transactions."""

    RING = "an INVITE is answered or given up"
    REFRESH = "a provisional response is said again"  # section 13.3.1.1
    REPEAT = "a 2xx is sent again"  # section 13.3.1.4
    GIVE_UP = "nobody answers any more"
    RETRY = "a re-INVITE that met another is sent again"  # section 14.1
    TRYING = "a 100 to a request that takes long"  # RFC 4320
    EXPIRE = "a subscription has not been refreshed"  # RFC 6665 section 4.2.1.4

    __hash__ = object.__hash__


class DialogUsage(Protocol):
    """What a dialog's messages are given to."""

    def receive_request(self, request: Request, flow: Flow, now: float) -> None:
        """Take a request, other than ACK and CANCEL, that matched no transaction."""

    def receive_ack(self, ack: Request, now: float) -> None:
        """Take an ACK for a 2xx."""


class Core:
    """State that calls, dialogs and requests of one user agent share."""

    def __init__(self, config: UserAgentConfig, token: Callable[[], str]) -> None:
        self.config = config
        self.token = token
        # For back-off times only; tags and branches come from `token` itself.
        self.random = random.Random(token())
        self.timers = Timers()
        self.layer = TransactionLayer(self.timers)
        self.events: deque[Event] = deque()
        self.calls: dict[int, object] = {}
        self.dialogs: dict[DialogId, DialogUsage] = {}
        self.requests: dict[int, object] = {}
        # One for each open connection; None where the stream is broken and only waits to be closed.
        self.streams: dict[int, StreamFramer | None] = {}
        self.counters: Counter[str] = Counter()
        self.admit: Admit = lambda request, flow, now: None
        self.stream_for: StreamFor | None = None  # None: datagrams stay datagrams
        self._number = 0
        self._tag_key = token().encode()[:64]
        # Every tag that is given without state begins with it: so the ACK for a refusal, which
        # belongs to nothing, is known without being read.
        self._tag_mark = hashlib.blake2b(b"mark", key=self._tag_key, digest_size=6).hexdigest()
        self.refusal_mark = f"tag={self._tag_mark}".encode()
        allow = ("Allow", ", ".join(config.methods))
        supported = ("Supported", ", ".join(config.options))
        packages = ("Recv-Info", ", ".join(config.info_packages))
        self.capabilities: tuple[Header, ...] = (
            allow,
            *((supported,) if config.options else ()),
            *((packages,) if config.info_packages else ()),
        )
        # What an INVITE says beside that (RFC 4028 section 7.1, RFC 3262 section 4).
        expires = ("Session-Expires", str(config.session_expires))
        self.invite_headers: tuple[Header, ...] = (
            *([expires] if config.session_expires else []),
            *([("Require", "100rel")] if config.reliable == "required" else []),
        )
        self.accept: Header = ("Accept", ", ".join(config.accept))

    def new_session(self, local: str | None = None) -> SessionId | None:
        """Return the Session-ID of a new call of ours; None where none is said.

        Parameters
        ----------
        local
            Our UUID, where the call belongs to a session that has one.
        """
        if not self.config.session_ids:
            return None
        return SessionId(local or derived(self._tag_key, f"session {self.token()}"))

    def session_for(self, request: Request) -> SessionId | None:
        """Return the Session-ID of what answers a request outside of a dialog."""
        if not self.config.session_ids:
            return None
        text = f"{request.via.branch}\n{request.headers.get('Call-ID')}"
        session = SessionId(derived(self._tag_key, text))
        session.learn(request)
        return session

    def next_number(self) -> int:
        """Return a number for a call or a request that was never given before."""
        self._number += 1
        return self._number

    def contact(self, flow: Flow, *, secure: bool = False) -> Header:
        """Return our Contact for messages over that flow.

        Parameters
        ----------
        secure
            The request is for a sips URI: so is the Contact (RFC 3261 sections 8.1.1.8 and
            12.1.1). Without, ``transport=tls`` says what everybody understands, though section
            26.2.2 deprecates it.
        """
        # RFC 7118 section 5.2: "ws" is the one parameter for WS and WSS; the scheme says which.
        name = {"UDP": "", "WSS": "ws", "TLS": "" if secure else "tls"}.get(
            flow.transport, flow.transport.lower()
        )
        scheme, transport = "sips" if secure else "sip", f";transport={name}" if name else ""
        return "Contact", f"<{scheme}:{self.config.contact_user}@{sent_by(flow)}{transport}>"

    # ------------------------------------------------------------------ requests

    def via(self, flow: Flow, branch: str) -> Header:
        """Return the Via of a request over that flow; ``rport`` is RFC 3581, ``alias`` RFC 5923."""
        # RFC 5923 section 8.1: the server may use this connection for its own requests.
        alias = ";alias" if flow.transport == "TLS" else ""
        return "Via", f"SIP/2.0/{flow.transport} {sent_by(flow)};branch={branch};rport{alias}"

    def new_branch(self) -> str:
        """Return a branch with the magic cookie (section 8.1.1.7)."""
        return f"z9hG4bK{self.token()}"

    def next_hop(self, dialog: Dialog) -> Flow:
        """Return the flow for a request in a dialog; never a connection that is gone."""
        heard = dialog.heard
        if heard.connection and heard.connection not in self.streams:
            dialog.heard = heard._replace(connection=0)
        return dialog.next_hop()

    def dialog_request(
        self,
        dialog: Dialog,
        method: str,
        branch: str,
        flow: Flow,
        *,
        sequence: int | None = None,
        headers: Iterable[Header] = (),
        body: bytes = b"",
        content_type: str | None = None,
    ) -> Request:
        """Compose a request in a dialog (section 12.2.1.1).

        Parameters
        ----------
        sequence
            The CSeq number; None takes the next one.
        """
        uri, routes = dialog.addressing()
        number = dialog.next_sequence() if sequence is None else sequence
        fields = [
            self.via(flow, branch),
            MAX_FORWARDS,
            ("From", dialog.local),
            ("To", dialog.remote),
            ("Call-ID", dialog.call_id),
            ("CSeq", f"{number} {method}"),
            *routes,
            *((dialog.session.header,) if dialog.session is not None else ()),
            *headers,
        ]
        # The ACK has those of its INVITE (section 22.1).
        if dialog.authentication is not None and method != "ACK":
            fields += dialog.authentication.headers(method, uri, body)
        return Request.create(method, uri, fields, body, content_type)

    def outside_request(
        self,
        method: str,
        target: str,
        flow: Flow,
        from_uri: str,
        from_name: str | None,
        headers: Iterable[Header],
        body: bytes,
        content_type: str | None,
        to_uri: str | None = None,
    ) -> tuple[Request, str]:
        """Compose a request outside of a dialog (section 8.1.1); also return its branch."""
        try:
            uri = parsed_target(target)
            to = parsed_target(to_uri) if to_uri is not None else uri
            origin = NameAddr(from_name, parsed_target(from_uri)).with_tag(self.token())
        except SipParseError as error:
            raise UsageError(f"{error}: write it like sip:alice@192.0.2.1") from error
        branch = self.new_branch()
        user_agent = self.config.user_agent
        fields: Sequence[Header] = [
            self.via(flow, branch),
            MAX_FORWARDS,
            ("From", str(origin)),
            ("To", str(NameAddr(None, to))),
            ("Call-ID", self.token()),
            ("CSeq", f"1 {method}"),
            *([("User-Agent", user_agent)] if user_agent else []),
            *headers,
        ]
        request = Request.create(method, request_uri_text(uri), fields, body, content_type)
        return request, branch

    def send_in_dialog(
        self,
        dialog: Dialog,
        method: str,
        user: TransactionUser,
        now: float,
        *,
        headers: Iterable[Header] = (),
        body: bytes = b"",
        content_type: str | None = None,
    ) -> None:
        """Send a request other than INVITE in a dialog."""

        def compose() -> tuple[Request, str, Flow]:
            hop, sequence = self.next_hop(dialog), dialog.next_sequence()
            contact = (self.contact(hop),) if method in TARGET_REFRESH else ()

            def over(flow: Flow) -> tuple[Request, str, Flow]:
                branch = self.new_branch()
                request = self.dialog_request(
                    dialog,
                    method,
                    branch,
                    flow,
                    sequence=sequence,
                    headers=(*contact, *fixed),
                    body=body,
                    content_type=content_type,
                )
                return request, branch, flow

            composed, guard.switched = self.fitting(dialog, hop, over)
            return composed

        def send(now: float) -> None:
            if dialog.authentication is not None:
                AuthenticatedRequest(self, guard, dialog.authentication, compose).send(now)
            else:
                self.layer.send_request(*compose(), guard, now)

        fixed = tuple(headers)
        guard = Switchable(user, dialog, send)
        send(now)

    def fitting(
        self, dialog: Dialog, hop: Flow, over: Callable[[Flow], tuple[Request, str, Flow]]
    ) -> tuple[tuple[Request, str, Flow], bool]:
        """Return a request composed for a way that takes its size, and whether that is another.

        References
        ----------
        RFC 3261 section 18.1.1
        """
        composed = over(hop)
        if self.stream_for is None:
            return composed, False
        stream = stream_instead(dialog, composed[0], hop, self.stream_for)
        return (composed, False) if stream is None else (over(stream), True)

    # ------------------------------------------------------------------ responses

    def stateless_tag(self, request: Request) -> str:
        """Return the same unguessable To tag for every copy of one request (section 8.2.7)."""
        return self.tag_without_state(request.via.branch, request.headers.get("Call-ID"))

    def tag_without_state(self, branch: str | None, call_id: str | None) -> str:
        """Return what `stateless_tag` does, from the two values that it rests on."""
        text = f"{branch}\n{call_id}"
        digest = hashlib.blake2b(
            text.encode("utf-8", "surrogateescape"), key=self._tag_key, digest_size=8
        )
        return self._tag_mark + digest.hexdigest()

    def refuse(
        self,
        request: Request,
        flow: Flow,
        status: int,
        reason: str | None = None,
        headers: Iterable[Header] = (),
    ) -> None:
        """Answer a request without keeping any state for it.

        A copy of the request gets the same answer again, so no transaction is needed, and a
        flood of bad requests costs no memory.

        References
        ----------
        RFC 3261 section 8.2.7
        """
        if request.method == "ACK":
            return
        self.counters[f"answered_{status}"] += 1
        response = respond(
            request, status, reason, to_tag=self.stateless_tag(request), headers=headers
        )
        self.layer.transmit(response_flow(request.via, flow), response.to_bytes())
