"""The documents of event packages: what readers find in them, whatever a peer calls itself."""

from __future__ import annotations

from xml.etree import ElementTree

from rtpmix.sip.event_documents import (
    Participant,
    WatchedDialog,
    conference_info,
    dialog_info,
    message_summary,
    pidf,
)

EVIL = '"><evil a="b">&\x00\x0b\ud800]]>'
D = "{urn:ietf:params:xml:ns:dialog-info}"
C = "{urn:ietf:params:xml:ns:conference-info}"


def test_dialog_info_is_the_full_state_of_a_user() -> None:
    """RFC 4235 section 4.1."""
    dialog = WatchedDialog("leg-1", "confirmed", "recipient", "call@h", "1", "2", "sip:bob@h")
    root = ElementTree.fromstring(dialog_info("sip:a@h", 7, [dialog]))
    assert (root.tag, root.get("version"), root.get("state")) == (f"{D}dialog-info", "7", "full")
    (found,) = root
    assert found.attrib == {
        "id": "leg-1",
        "direction": "recipient",
        "call-id": "call@h",
        "local-tag": "1",
        "remote-tag": "2",
    }
    assert found.findtext(f"{D}state") == "confirmed"
    assert found.findtext(f"{D}remote/{D}identity") == "sip:bob@h"
    assert len(ElementTree.fromstring(dialog_info("sip:a@h", 0, []))) == 0


def test_a_conference_lists_who_is_there() -> None:
    """RFC 4575 section 5."""
    users = [Participant("sip:a@h", "leg-1", "agent"), Participant("leg-2", "leg-2", "customer")]
    root = ElementTree.fromstring(conference_info("sip:room@h", 1, users))
    assert root.findtext(f"{C}conference-state/{C}user-count") == "2"
    assert [user.get("entity") for user in root.iter(f"{C}user")] == ["sip:a@h", "leg-2"]


def test_presence_is_open_or_closed_with_a_note() -> None:
    """RFC 3863 section 4.1."""
    namespace = "{urn:ietf:params:xml:ns:pidf}"
    root = ElementTree.fromstring(pidf("sip:a@h", available=True, note="On the phone"))
    assert root.findtext(f"{namespace}tuple/{namespace}status/{namespace}basic") == "open"
    assert root.findtext(f"{namespace}tuple/{namespace}note") == "On the phone"
    assert b"closed" in pidf("sip:a@h", available=False)


def test_a_mailbox_is_the_text_of_the_rfc() -> None:
    """RFC 3842 section 5.2."""
    assert message_summary("sip:a@h", 2, 8) == (
        b"Messages-Waiting: yes\r\nMessage-Account: sip:a@h\r\nVoice-Message: 2/8\r\n"
    )
    assert b"\r\nEvil" not in message_summary("sip:a@h\r\nEvil: x", 0, 0)


def test_names_from_peers_stay_names() -> None:
    for body in (
        dialog_info(EVIL, 0, [WatchedDialog(EVIL, EVIL, EVIL, EVIL, EVIL, EVIL, EVIL)]),
        conference_info(EVIL, 0, [Participant(EVIL, EVIL, EVIL)]),
        pidf(EVIL, available=True, note=EVIL),
    ):
        root = ElementTree.fromstring(body)  # well-formed
        assert not [each for each in root.iter() if "evil" in each.tag]
    assert len(pidf("x" * 10_000, available=True)) < 1000
