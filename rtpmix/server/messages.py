"""MESSAGE, in a call and outside of any: who may send one here, and sending one.

References
----------
RFC 3428
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import CallFailed, UsageError
from ..events import MessageReceived
from ..sip import events as sip
from ..sip.uri import SipUri
from .correspondence import check_media_type
from .destinations import parse_target, resolve

if TYPE_CHECKING:
    from .leg import Leg
    from .switchboard import Switchboard

MAX_RECEIVED = 16_384  # octets of a body that is taken
MAX_PAGER = 1000  # octets: RFC 3428 section 8 keeps a whole MESSAGE over UDP below 1300


@dataclass(frozen=True, slots=True)
class IncomingMessage:
    """A MESSAGE that waits for a policy.

    Attributes
    ----------
    leg
        In whose call it came; None outside of any.
    sender
        The address in From: what the sender claims to be.
    identity
        The user that the sender proved to be, or None.
    target
        The user part that it is for.
    content_type, body
        One of `Config.message_types`, and at most 16 KiB.
    """

    leg: Leg | None
    sender: str
    identity: str | None
    target: str
    content_type: str
    body: bytes


MessagePolicy = Callable[[IncomingMessage], bool]


def calls_and_users(message: IncomingMessage) -> bool:
    """Take what comes in a call, and what users send who have logged in."""
    return message.leg is not None or message.identity is not None


class Messages:
    """The MESSAGEs of one server."""

    def __init__(self, board: Switchboard) -> None:
        self.policy: MessagePolicy = calls_and_users
        self.counters = {"taken": 0, "refused": 0}
        self._board = board

    def received(self, event: sip.Requested) -> None:
        """Take a MESSAGE, or say why not."""
        board, request = self._board, event.message
        types = board.config.message_types
        leg = board.leg_of(event.call)
        if event.call is not None and leg is None:
            self._refuse(event, 481)
            return
        identity = leg.user if leg is not None and leg.direction == "inbound" else None
        if leg is None:
            identity, refusal = board.directory.identify(request, event.flow, board.now)
            if refusal is not None:
                self._refuse(event, refusal.status, refusal.headers)
                return
        encoding = (request.headers.get("Content-Encoding") or "identity").lower()
        if (request.content_type or "text/plain") not in types or encoding != "identity":
            self._refuse(event, 415, [("Accept", ", ".join(types))])
            return
        if len(request.body) > MAX_RECEIVED:
            self._refuse(event, 413)
            return
        sender, target = request.from_.uri, request.request_uri
        message = IncomingMessage(
            leg,
            sender.address_of_record if isinstance(sender, SipUri) else str(sender),
            identity,
            (target.decoded_user or "") if isinstance(target, SipUri) else str(target),
            request.content_type or "text/plain",
            request.body,
        )
        if not self.policy(message):
            ask = identity is None and leg is None and board.config.has_users
            self._refuse(event, *((401, board.challenge(request)) if ask else (403, [])))
            return
        self.counters["taken"] += 1
        board.agent.respond(event.request, 200, board.now)
        board.publish(
            MessageReceived(
                at=board.now,
                leg=leg.id if leg is not None else None,
                sender=message.sender,
                identity=identity,
                content_type=message.content_type,
                body=message.body,
            )
        )

    def _refuse(
        self, event: sip.Requested, status: int, headers: list[tuple[str, str]] | None = None
    ) -> None:
        self.counters["refused"] += 1
        self._board.agent.respond(event.request, status, self._board.now, headers=headers or ())

    async def send(self, target: str, text: str, *, caller: str | None, content_type: str) -> None:
        """Send a MESSAGE to each phone of a target; see `Server.send_message`."""
        board, body = self._board, text.encode()
        if len(body) > MAX_PAGER:
            raise UsageError(f"a MESSAGE outside of a call has at most {MAX_PAGER} octets")
        check_media_type(content_type)
        devices = await resolve(board, parse_target(target))
        failure: CallFailed | None = None
        delivered = False
        for flows in devices:
            for destination in flows:
                number = board.agent.request(
                    "MESSAGE",
                    destination.uri,
                    flow=destination.flow,
                    from_uri=caller or board.own_uri(destination.flow),
                    headers=destination.routes,
                    body=body,
                    content_type=content_type,
                    credentials=destination.credentials,
                    now=board.now,
                )
                answer = await board.response_to(number)
                if answer.status < 300:
                    delivered = True
                    break
                failure = CallFailed(status=answer.status, reason=answer.reason, target=target)
                if answer.response is not None and answer.status != 503:
                    break  # this device has answered: its other flows would say the same
        if not delivered and failure is not None:
            raise failure
