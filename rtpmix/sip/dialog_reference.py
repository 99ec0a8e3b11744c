"""Headers that name a dialog: Replaces and Join, and finding the dialog that they name."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import NamedTuple

from ..errors import SipParseError
from .core import Core
from .dialog import DialogId
from .grammar import is_call_id, is_token, parse_parameters
from .message import Request
from .session import Session
from .uac import OutgoingCall
from .uas import IncomingCall

_LONGEST = 512  # characters; a Call-ID and two tags are far below


@dataclass(frozen=True, slots=True)
class DialogReference:
    """The value of a Replaces or a Join header.

    Parameters
    ----------
    to_tag, from_tag
        As they would stand in a request to whom the header is sent: ``to_tag`` is the receiver's.
    early_only
        Replace only a call that nobody has answered yet.
    mode
        An extension parameter of Join, such as ``mode=whisper``; None where there is none.

    References
    ----------
    RFC 3891 section 6.1; RFC 3911 section 7.1
    """

    call_id: str
    to_tag: str
    from_tag: str
    early_only: bool = False
    mode: str | None = None

    @classmethod
    def parse(cls, text: str) -> DialogReference:
        """Read a header value; `SipParseError` (400) unless both tags are there, once each."""
        if len(text) > _LONGEST:
            raise SipParseError("a dialog reference is too long", status_hint=400)
        call_id, semicolon, rest = text.partition(";")
        call_id = call_id.strip(" \t")
        if not is_call_id(call_id):
            raise SipParseError("a dialog reference has a bad Call-ID", status_hint=400)
        if rest.lower().count("to-tag=") != 1 or rest.lower().count("from-tag=") != 1:
            raise SipParseError("a dialog reference needs one of each tag", status_hint=400)
        parameters = dict(parse_parameters(semicolon + rest))
        to_tag, from_tag = parameters.get("to-tag"), parameters.get("from-tag")
        if to_tag is None or from_tag is None or not (is_token(to_tag) and is_token(from_tag)):
            raise SipParseError("a dialog reference has a bad tag", status_hint=400)
        return cls(call_id, to_tag, from_tag, "early-only" in parameters, parameters.get("mode"))

    def __str__(self) -> str:
        early = ";early-only" if self.early_only else ""
        mode = f";mode={self.mode}" if self.mode is not None else ""
        return f"{self.call_id};to-tag={self.to_tag};from-tag={self.from_tag}{early}{mode}"

    @property
    def dialog_id(self) -> DialogId:
        """The dialog's index entry, seen by the receiver of the header."""
        return self.call_id, self.to_tag, self.from_tag


def read_target_dialog(request: Request) -> DialogId | None:
    """Return the dialog in which a request outside of any is meant, as we index it; None for none.

    The tags are as the sender sees them, so its local tag is our remote one.

    Raises
    ------
    SipParseError
        400: more than one such header, or a malformed one.

    References
    ----------
    RFC 4538 sections 4 and 7
    """
    lines = request.headers.lines("Target-Dialog")
    if not lines:
        return None
    if len(lines) > 1 or len(lines[0]) > _LONGEST:
        raise SipParseError("a request has one Target-Dialog", status_hint=400)
    call_id, semicolon, rest = lines[0].partition(";")
    parameters = dict(parse_parameters(semicolon + rest))
    theirs, ours = parameters.get("local-tag"), parameters.get("remote-tag")
    call_id = call_id.strip(" \t")
    if not is_call_id(call_id) or theirs is None or ours is None:
        raise SipParseError("a Target-Dialog needs both tags", status_hint=400)
    return call_id, ours, theirs


class References(NamedTuple):
    """What an INVITE says about other dialogs; one of the two at most."""

    replaces: DialogReference | None = None
    join: DialogReference | None = None


def read_references(request: Request) -> References:
    """Return the dialogs that an INVITE names.

    Raises
    ------
    SipParseError
        400: more than one such header, or both kinds in one INVITE.

    References
    ----------
    RFC 3891 section 3; RFC 3911 section 4
    """
    replaces, join = request.headers.lines("Replaces"), request.headers.lines("Join")
    if len(replaces) + len(join) > 1:
        raise SipParseError("an INVITE can replace or join one dialog only", status_hint=400)
    return References(
        DialogReference.parse(replaces[0]) if replaces else None,
        DialogReference.parse(join[0]) if join else None,
    )


class Stage(enum.Enum):
    """How far the INVITE of a dialog has come."""

    EARLY_OURS = "our INVITE is not answered yet"
    EARLY_THEIRS = "their INVITE is not answered yet"
    CONFIRMED = "answered"


class FoundDialog(NamedTuple):
    """A dialog that an INVITE made here."""

    call: int
    stage: Stage


def find_dialog(core: Core, dialog_id: DialogId) -> FoundDialog | None:
    """Return the INVITE dialog of that identity, or None.

    A dialog that a SUBSCRIBE made is none of them, and one that is ending is gone.

    References
    ----------
    RFC 3891 section 3
    """
    usage = core.dialogs.get(dialog_id)
    if isinstance(usage, Session) and usage.number in core.calls and usage.number is not None:
        return FoundDialog(usage.number, Stage.CONFIRMED)
    if isinstance(usage, OutgoingCall) and not usage.over:
        return FoundDialog(usage.number, Stage.EARLY_OURS)
    if isinstance(usage, IncomingCall):
        return FoundDialog(usage.number, Stage.EARLY_THEIRS)
    return None


def dialog_id_of(core: Core, call: int) -> DialogId | None:
    """Return the identity of an answered call's dialog: Call-ID, local tag, remote tag."""
    session = core.calls.get(call)
    return session.dialog.id if isinstance(session, Session) else None
