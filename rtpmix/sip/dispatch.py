"""From one message of the network to whom it concerns (RFC 3261 sections 18 and 8.2)."""

from __future__ import annotations

from .core import Core, DialogUsage
from .dialog import Dialog
from .events import AliasOffered
from .flow import Flow
from .message import (
    MessageError,
    Request,
    Response,
    mark_received,
    marked_via,
    parse_message,
    respond,
)
from .peek import peek_invite
from .pending import PendingRequest
from .refusal import options_answer, refusal_of
from .routing import SECURE_PORT, response_flow
from .session import Session
from .transaction import Input
from .uac import OutgoingCall
from .uas import IncomingCall

_RETRY_AFTER = ("Retry-After", "5")  # seconds; long enough for retries not to add to the load


def dialog_of(usage: object, tag: str) -> Dialog | None:
    """Return the dialog of a usage; of a call of ours that is not answered, the one of a tag."""
    if isinstance(usage, OutgoingCall):
        return next((dialog for dialog in usage.dialogs if dialog.id[2] == tag), None)
    found = getattr(usage, "dialog", None)
    return found if isinstance(found, Dialog) else None


class Dispatcher:
    """Gives each message to its transaction, its dialog, or a new call or request."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def receive(self, data: bytes, flow: Flow, now: float, *, admitted: bool = False) -> None:
        """Take one whole message; whatever it is, nothing is raised.

        Parameters
        ----------
        admitted
            A new call has been let in already; `Core.admit` is not asked again.
        """
        core = self._core
        core.counters["received"] += 1
        try:
            message = parse_message(data)
        except MessageError as error:
            self._answer_malformed(error, flow)
            return
        if isinstance(message, Request):
            mark_received(message, flow.remote)
            self._receive_request(message, flow, now, admitted)
        elif len(message.vias) > 1 or not self._answered(message, flow, now):
            # More than one Via: misrouted (section 8.1.3.3). No transaction: RFC 6026 section 8.9.
            core.counters["stray_responses"] += 1

    def _answered(self, response: Response, flow: Flow, now: float) -> bool:
        """Give a response to its transaction; False where there is none."""
        core = self._core
        if core.config.session_ids:  # a dialog's remote UUID may change: RFC 7989 section 8
            tags = response.from_.tag or "", response.to.tag or ""
            dialog = dialog_of(core.dialogs.get((response.call_id, *tags)), tags[1])
            if dialog is not None and dialog.session is not None:
                dialog.session.learn(response)
        return core.layer.receive_response(response, flow, now)

    def _note_session(self, request: Request, usage: DialogUsage | None) -> None:
        """Find what the answers to a request say of its session (RFC 7989 section 6)."""
        dialog = dialog_of(usage, request.from_.tag or "")
        if dialog is None:
            request.session = self._core.session_for(request)
        elif dialog.session is not None:
            request.session = dialog.session
            dialog.session.learn(request)

    def refuse_unread(self, data: bytes, flow: Flow, now: float, pause: int) -> None:
        """Refuse an INVITE with 503 and Retry-After, reading as little of it as that takes.

        A copy of one that was let in is not refused. What is spelled in an unusual way is read
        as a whole.

        References
        ----------
        RFC 3261 sections 8.2.7 and 21.5.4
        """
        core = self._core
        peeked = peek_invite(data)
        if peeked is None:
            self._refuse_read(data, flow, now, pause)
            return
        if core.layer.has_server(peeked.key):
            self.receive(data, flow, now)
            return
        core.counters["refused_unread"] += 1
        core.counters["answered_503"] += 1
        via = peeked.via
        response = peeked.response(
            b"SIP/2.0 503 Service Unavailable",
            marked_via(via, flow.remote),
            core.tag_without_state(via.branch, peeked.call_id.decode("ascii")),
            b"Retry-After: %d\r\n" % pause,
        )
        core.layer.transmit(response_flow(via, flow), response)

    def _refuse_read(self, data: bytes, flow: Flow, now: float, pause: int) -> None:
        core = self._core
        try:
            message = parse_message(data)
        except MessageError as error:
            self._answer_malformed(error, flow)
            return
        if not isinstance(message, Request):
            return
        mark_received(message, flow.remote)
        transaction = core.layer.find_server(message)
        if message.method != "INVITE" or message.to.tag is not None or transaction is not None:
            self._receive_request(message, flow, now, admitted=False)
        else:
            core.refuse(message, flow, 503, headers=[("Retry-After", str(pause))])

    def _answer_malformed(self, error: MessageError, flow: Flow) -> None:
        core, partial = self._core, error.partial
        core.counters["malformed"] += 1
        if partial is None or error.status_hint is None:
            return
        mark_received(partial, flow.remote)
        core.refuse(partial, flow, error.status_hint)

    def _receive_request(self, request: Request, flow: Flow, now: float, admitted: bool) -> None:
        core, method = self._core, request.method
        transaction = core.layer.find_server(request)
        if transaction is not None:
            transaction.handle(Input.ACK if method == "ACK" else Input.REQUEST, now, request)
            return
        if method == "CANCEL":
            self._receive_cancel(request, flow, now)
            return
        tag = request.to.tag
        usage = None
        if tag is not None:
            usage = core.dialogs.get((request.call_id, tag, request.from_.tag or ""))
        if method == "ACK":
            if usage is None:
                core.counters["stray_acks"] += 1
            else:
                usage.receive_ack(request, now)
            return
        self._note_session(request, usage)
        refusal = refusal_of(request, core.config)
        if refusal is not None:
            core.refuse(request, flow, refusal.status, refusal.reason, refusal.headers)
        elif tag is None:
            self._offer_alias(request, flow)
            self._receive_outside(request, flow, now, admitted)
        elif usage is None:
            core.refuse(request, flow, 481)
        elif method != "BYE" and self._is_full():  # a call can always be ended
            core.refuse(request, flow, 503, headers=[_RETRY_AFTER])
        else:
            usage.receive_request(request, flow, now)

    def _receive_outside(self, request: Request, flow: Flow, now: float, admitted: bool) -> None:
        """Take a request without a To tag (section 8.2)."""
        core, method = self._core, request.method
        if method == "OPTIONS":
            core.refuse(request, flow, 200, headers=options_answer(core, flow))
        elif method == "BYE":
            core.refuse(request, flow, 481)
        elif core.layer.is_merged(request):
            core.refuse(request, flow, 482)
        elif self._is_full():
            core.refuse(request, flow, 503, headers=[_RETRY_AFTER])
        elif not admitted and (pause := core.admit(request, flow, now)) is not None:
            core.refuse(request, flow, 503, headers=[("Retry-After", str(pause))])
        elif method != "INVITE":
            PendingRequest(core, request, flow, None, now)
        elif len(core.calls) >= core.config.max_calls:
            core.refuse(request, flow, 503, headers=[_RETRY_AFTER])
        else:
            transaction = core.layer.accept_request(request, flow)
            IncomingCall(core, request, transaction, flow, now)

    def _offer_alias(self, request: Request, flow: Flow) -> None:
        """Tell of a client that takes requests over its own connection (RFC 5923 section 8.2)."""
        via = request.via
        if flow.transport == "TLS" and any(name == "alias" for name, _ in via.parameters):
            address = (flow.remote[0], via.port or SECURE_PORT)
            self._core.events.append(AliasOffered(flow, address))

    def _is_full(self) -> bool:
        return len(self._core.layer) >= self._core.config.max_transactions

    def _receive_cancel(self, request: Request, flow: Flow, now: float) -> None:
        """Take a CANCEL (section 9.2)."""
        core = self._core
        cancelled = core.layer.find_server(request, "INVITE")
        if cancelled is None:
            core.refuse(request, flow, 481)
            return
        user = cancelled.user
        if isinstance(user, IncomingCall | Session):
            tag = user.dialog.id[1]  # the one that the INVITE gets, or got
            request.session = user.dialog.session
        else:
            tag = core.stateless_tag(request)
        response = respond(request, 200, to_tag=tag)
        core.layer.transmit(response_flow(request.via, flow), response.to_bytes())
        if cancelled.answered:
            return
        if isinstance(user, IncomingCall):
            user.cancel(request, now)
        elif isinstance(user, Session):
            user.cancel(cancelled, now)
