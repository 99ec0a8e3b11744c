"""The documents of event packages: dialog-info, conference, presence, message-summary.

XML is built by the standard library, which escapes; characters that XML 1.0 can't hold at all are
left out, since names come from peers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple
from xml.etree import ElementTree

DIALOG_INFO = "application/dialog-info+xml"
CONFERENCE_INFO = "application/conference-info+xml"
PIDF = "application/pidf+xml"
MESSAGE_SUMMARY = "application/simple-message-summary"

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_LONGEST = 256  # characters of anything that a peer named


class WatchedDialog(NamedTuple):
    """One dialog of a watched user, as that user's phone sees it."""

    id: str
    state: str  # "early" or "confirmed"
    direction: str  # "initiator" or "recipient"
    call_id: str | None = None  # with the tags: only for who may use them
    local_tag: str | None = None
    remote_tag: str | None = None
    remote: str | None = None


class Participant(NamedTuple):
    """Somebody in a conference."""

    entity: str
    endpoint: str
    role: str
    status: str = "connected"  # or "on-hold"


def dialog_info(entity: str, version: int, dialogs: Iterable[WatchedDialog]) -> bytes:
    """Return the full state of a user's dialogs (RFC 4235 section 4.1)."""
    root = _root("urn:ietf:params:xml:ns:dialog-info", "dialog-info", version, entity)
    for dialog in dialogs:
        element = _add(root, "dialog", id=dialog.id, direction=dialog.direction)
        named = {
            "call-id": dialog.call_id,
            "local-tag": dialog.local_tag,
            "remote-tag": dialog.remote_tag,
        }
        for name, value in named.items():
            if value is not None:
                element.set(name, _clean(value))
        _add(element, "state", dialog.state)
        if dialog.remote is not None:
            _add(_add(element, "remote"), "identity", dialog.remote)
    return _written(root)


def conference_info(entity: str, version: int, users: Iterable[Participant]) -> bytes:
    """Return the full state of a conference (RFC 4575 section 5)."""
    present = tuple(users)
    root = _root("urn:ietf:params:xml:ns:conference-info", "conference-info", version, entity)
    state = _add(root, "conference-state")
    _add(state, "user-count", str(len(present)))
    _add(state, "active", "true" if present else "false")
    listed = _add(root, "users")
    for each in present:
        user = _add(listed, "user", entity=each.entity, state="full")
        _add(_add(user, "roles"), "entry", each.role)
        endpoint = _add(user, "endpoint", entity=each.endpoint)
        _add(endpoint, "status", each.status)
    return _written(root)


def pidf(entity: str, *, available: bool, note: str | None = None) -> bytes:
    """Return somebody's presence (RFC 3863 section 4)."""
    root = ElementTree.Element("presence", xmlns="urn:ietf:params:xml:ns:pidf")
    root.set("entity", _clean(entity))
    entry = _add(root, "tuple", id="t1")
    _add(_add(entry, "status"), "basic", "open" if available else "closed")
    if note is not None:
        _add(entry, "note", note)
    return _written(root)


def message_summary(account: str, new: int, old: int) -> bytes:
    """Return the state of a mailbox (RFC 3842 section 5.2)."""
    lines = (
        f"Messages-Waiting: {'yes' if new else 'no'}",
        f"Message-Account: {re.sub(r'[^!-~]', '', account)[:_LONGEST]}",
        f"Voice-Message: {new}/{old}",
    )
    return ("\r\n".join(lines) + "\r\n").encode()


def _root(namespace: str, name: str, version: int, entity: str) -> ElementTree.Element:
    root = ElementTree.Element(name, xmlns=namespace, version=str(version), state="full")
    root.set("entity", _clean(entity))
    return root


def _add(
    parent: ElementTree.Element, tag: str, text: str | None = None, **attributes: str
) -> ElementTree.Element:
    cleaned = {key: _clean(value) for key, value in attributes.items()}
    element = ElementTree.SubElement(parent, tag, cleaned)
    if text is not None:
        element.text = _clean(text)
    return element


def _clean(text: str) -> str:
    return _NOT_XML.sub("", text)[:_LONGEST]


def _written(root: ElementTree.Element) -> bytes:
    written: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return written
