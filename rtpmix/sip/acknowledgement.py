"""What ends or confirms an INVITE of ours: ACK, for a refusal and for a 2xx, and CANCEL."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from .authentication import CREDENTIAL_HEADERS
from .message import Request, Response
from .session_id import NAME as SESSION_ID
from .session_id import acknowledging

if TYPE_CHECKING:
    from .core import Core
    from .dialog import Dialog
    from .flow import Flow

Header = tuple[str, str]

MAX_FORWARDS = ("Max-Forwards", "70")  # RFC 3261 section 8.1.1.6


def ack_for_failure(request: Request, response: Response) -> bytes:
    """Compose the ACK of the INVITE transaction for a 300-699 response.

    References
    ----------
    RFC 3261 section 17.1.1.3
    """
    fields = [
        ("Via", str(request.via)),
        MAX_FORWARDS,
        ("From", request.headers.get("From") or ""),
        ("To", response.headers.get("To") or ""),
        ("Call-ID", request.call_id),
        ("CSeq", f"{request.cseq.number} ACK"),
        *(("Route", line) for line in request.headers.lines("Route")),
        *acknowledging(request, response),
    ]
    return Request.create("ACK", request.uri, fields).to_bytes()


def cancel_for(request: Request, headers: Iterable[Header] = ()) -> Request:
    """Compose the CANCEL for an INVITE; its branch is the INVITE's.

    References
    ----------
    RFC 3261 section 9.1
    """
    fields = [
        ("Via", str(request.via)),
        MAX_FORWARDS,
        ("From", request.headers.get("From") or ""),
        ("To", request.headers.get("To") or ""),
        ("Call-ID", request.call_id),
        ("CSeq", f"{request.cseq.number} CANCEL"),
        *(("Route", line) for line in request.headers.lines("Route")),
        *((SESSION_ID, line) for line in request.headers.lines(SESSION_ID)),  # RFC 7989 section 6
        *headers,
    ]
    return Request.create("CANCEL", request.uri, fields)


class Acknowledgement:
    """The ACK for a 2xx: composed once, sent for every copy of the 2xx.

    References
    ----------
    RFC 3261 section 13.2.2.4
    """

    __slots__ = ("_core", "_credentials", "_data", "_dialog", "_flow", "_sequence")

    def __init__(self, core: Core, dialog: Dialog, invite: Request) -> None:
        self._core = core
        self._dialog = dialog
        self._sequence = invite.cseq.number
        self._credentials = [
            (name, line) for name in CREDENTIAL_HEADERS for line in invite.headers.lines(name)
        ]
        self._flow: Flow | None = None
        self._data = b""

    def send(self, body: bytes = b"", content_type: str | None = None) -> None:
        """Compose the ACK and send it."""
        self._flow = self._core.next_hop(self._dialog)
        self._data = self._core.dialog_request(
            self._dialog,
            "ACK",
            self._core.new_branch(),
            self._flow,
            sequence=self._sequence,
            headers=self._credentials,
            body=body,
            content_type=content_type,
        ).to_bytes()
        self.repeat()

    def repeat(self) -> None:
        """Send it again; nothing if there is no answer to put into it yet."""
        if self._flow is not None:
            self._core.layer.transmit(self._flow, self._data)
