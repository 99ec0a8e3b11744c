"""Identities, history, octets for programs, sessions and redirections, from spoilt messages."""

from __future__ import annotations

from contextlib import suppress

import pytest

from rtpmix.errors import SipParseError
from rtpmix.sip.dialog_reference import read_target_dialog
from rtpmix.sip.headers import Headers
from rtpmix.sip.history import read_history
from rtpmix.sip.identity import identity_headers, read_identity, read_preferred
from rtpmix.sip.info_packages import read_recv_info, refusal_of_info
from rtpmix.sip.message import MessageError, Request, parse_message
from rtpmix.sip.redirection import read_contacts
from rtpmix.sip.session_id import SessionId
from rtpmix.sip.user_to_user import read_user_to_user, user_to_user_headers
from tests.fuzz.corpus import SIP_WORDS
from tests.fuzz.mutation import SEED, Mutator, attack

HEADERS = (
    b'P-Asserted-Identity: "Cullen" <sip:fluffy@cisco.com>, <tel:+14085264000>\r\n'
    b'P-Preferred-Identity: "Sales" <sip:sales@example.com>\r\n'
    b'Remote-Party-ID: "John" <sip:j@example.com>;party=calling;screen=yes;privacy=full\r\n'
    b"Privacy: id;critical\r\n"
    b"History-Info: <sip:b@h?Reason=SIP%3Bcause%3D302&Privacy=history>;index=1, <sip:c@h>;index=1.1"
    b"\r\nDiversion: <tel:+15551234>;reason=user-busy;counter=2;privacy=full\r\n"
    b'User-to-User: 56a390;encoding=hex;purpose=foo;content=bar, "a;b"\r\n'
    b"Session-ID: ab30317f1a784dc48ff824d0d3715d86;remote=47755a9de7794ba387653f2099600ef2\r\n"
    b"Recv-Info: x-notes, rtpmix-supervision;p=1\r\nInfo-Package: x-notes\r\n"
    b"Target-Dialog: fa77as7dad8@pc.example.com;local-tag=kkaz-;remote-tag=6544\r\n"
    b"Contact: <sip:d@h;method=INVITE?User-to-User=00%3Bencoding%3Dhex>;q=0.7, <sips:e@h>\r\n"
)
ESSENTIALS = (
    b"Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKx\r\nFrom: <sip:a@h>;tag=1\r\n"
    b"To: <sip:b@h>\r\nCall-ID: c\r\nCSeq: 1 INFO\r\n"
)
REQUEST = b"INFO sip:b@192.0.2.2 SIP/2.0\r\n" + ESSENTIALS + HEADERS + b"\r\n"
RESPONSE = b"SIP/2.0 302 Moved\r\n" + ESSENTIALS + HEADERS + b"\r\n"
WORDS = (*SIP_WORDS, b"Privacy: ", b"tel:", b"%0d%0a", b";index=1.", b";encoding=hex", b";q=", b"?")


def read_session_headers(data: bytes) -> None:
    """Read all there is; what would be passed on must stay one header each."""
    try:
        message = parse_message(data)
    except MessageError:
        return
    identity = read_identity(message)
    read_history(message.headers)
    said = read_user_to_user(message.headers)
    session = SessionId("0" * 31 + "1")
    session.learn(message)
    read_recv_info(message)
    lines = [session.header, *user_to_user_headers(said)]
    if identity is not None:
        lines += identity_headers(identity, trusted=True, form="both")
        lines.append(("From", str(identity.sender)))
    Headers(lines)  # refuses what could end a line
    assert len(said) <= 16
    assert read_user_to_user(Headers(user_to_user_headers(said))) == said
    if isinstance(message, Request):
        read_preferred(message)
        refusal_of_info(message, ("x-notes",))
        with suppress(SipParseError):  # a 400
            read_target_dialog(message)
    else:
        assert len(read_contacts(message)) <= 16


def test_spoilt_headers_are_read_without_an_error_and_passed_on_whole(
    capsys: pytest.CaptureFixture[str],
) -> None:
    read_session_headers(REQUEST)
    read_session_headers(RESPONSE)
    count = attack(read_session_headers, Mutator(SEED, (REQUEST, RESPONSE), WORDS))
    with capsys.disabled():
        print(f"\nfuzz: {count:,} inputs to {read_session_headers.__name__}", end=" ")
