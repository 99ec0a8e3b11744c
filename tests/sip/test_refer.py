"""REFER: what it asks for, and the fragments of its NOTIFYs."""

from __future__ import annotations

import pytest

from rtpmix.errors import SipParseError
from rtpmix.sip.dialog_reference import DialogReference
from rtpmix.sip.message import Request, parse_message
from rtpmix.sip.refer import Reference, read_refer, read_sipfrag, refer_to, sipfrag
from rtpmix.sip.uri import OpaqueUri
from tests.sip.agents import raw


def refer(headers: str) -> Request:
    message = parse_message(raw("REFER", headers=headers))
    assert isinstance(message, Request)
    return message


def test_a_blind_transfer_names_its_target_alone() -> None:
    found = read_refer(refer("Refer-To: Bob <sip:bob@192.0.2.2;transport=tcp;method=INVITE>"))
    assert str(found.target) == "sip:bob@192.0.2.2;transport=tcp"
    assert (found.replaces, found.referred_by, found.silent) == (None, None, False)


def test_the_attended_transfer_of_rfc_5589_is_read() -> None:
    """RFC 5589 section 7.3: the escaped Replaces within the Refer-To."""
    found = read_refer(
        refer(
            "Refer-To: <sip:transfertarget@chicago.example.com?"
            "Replaces=592435881734450904%3Bto-tag%3D9m2n3wq%3Bfrom-tag%3D763231"
            "&Require=replaces>\nReferred-By: <sip:alice@192.0.2.1>"
        )
    )
    assert found.replaces == DialogReference("592435881734450904", "9m2n3wq", "763231")
    assert str(found.target) == "sip:transfertarget@chicago.example.com"
    assert found.referred_by == "<sip:alice@192.0.2.1>"


def test_headers_hidden_in_the_target_reach_nobody() -> None:
    """RFC 3261 section 19.1.5: a URI's headers are not to be honoured blindly."""
    found = read_refer(refer("Refer-To: <sip:bob@h?Route=%3Csip%3Aevil%3E&Subject=x%0D%0AX%3Ay>"))
    assert str(found.target) == "sip:bob@h"
    assert isinstance(found, Reference)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ("", 400),
        ("Refer-To: <sip:a@h>\nRefer-To: <sip:b@h>", 400),
        ("Refer-To: nonsense", 400),
        ("Refer-To: <sip:a@h?Replaces=x&replaces=y>", 400),
        ("Refer-To: <sip:a@h?Replaces=x>", 400),
        ("Refer-To: <sip:a@h;method=BYE>", 501),
        (f"Refer-To: <sip:{'a' * 3000}@h>", 400),
    ],
)
def test_a_bad_refer_says_which_status_answers_it(headers: str, status: int) -> None:
    """RFC 3515 section 2.4.2: exactly one Refer-To, else 400."""
    with pytest.raises(SipParseError) as failed:
        read_refer(refer(headers))
    assert failed.value.status_hint == status


def test_other_schemes_are_for_the_policy_to_judge() -> None:
    assert read_refer(refer("Refer-To: <tel:+4990012345>")).target == OpaqueUri(
        "tel", "+4990012345"
    )


def test_refer_sub_false_wants_silence_and_a_bad_referrer_is_left_out() -> None:
    """RFC 4488 section 4; RFC 3892 section 3."""
    found = read_refer(refer("Refer-To: <sip:a@h>\nRefer-Sub: false;x=y\nReferred-By: <bad"))
    assert found.silent
    assert found.referred_by is None


def test_what_is_written_is_read_back() -> None:
    reference = DialogReference("call@h", "1", "2", early_only=True)
    found = read_refer(refer(f"Refer-To: {refer_to('sip:a@h;x=y', reference)}"))
    assert found.replaces == reference
    assert str(found.target) == "sip:a@h;x=y"
    assert refer_to("sip:a@h") == "<sip:a@h>"


def test_a_fragment_is_a_status_line_and_nothing_else() -> None:
    """RFC 3515 section 2.4.5."""
    assert sipfrag(180) == b"SIP/2.0 180 Ringing\r\n"
    assert sipfrag(486, "Busy\r\nEvil: yes") == b"SIP/2.0 486 BusyEvil: yes\r\n"
    assert read_sipfrag(sipfrag(200)) == (200, "OK")
    assert read_sipfrag(b"SIP/2.0 503 Service Unavailable\r\nWarning: x") == (
        503,
        "Service Unavailable",
    )
    for bad in (b"", b"SIP/2.0", b"SIP/2.0 abc x", b"\xff\xfe", b"HTTP/1.1 200 OK"):
        assert read_sipfrag(bad) is None
