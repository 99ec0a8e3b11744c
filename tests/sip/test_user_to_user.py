"""User-to-User: read, written, and no way to break a header."""

from __future__ import annotations

import pytest

from rtpmix.errors import SipParseError, UsageError
from rtpmix.sip.headers import Headers
from rtpmix.sip.user_to_user import UserToUser, read_user_to_user, user_to_user_headers


def test_hexadecimal_octets_with_their_package_are_read() -> None:
    """RFC 7433 section 4.1, the example of a redirected INVITE."""
    text = "56a390f3d2b7310023a2;encoding=hex;purpose=foo;content=bar"
    found = UserToUser.parse(text)
    assert found == UserToUser(bytes.fromhex("56a390f3d2b7310023a2"), "foo", "bar")
    assert UserToUser.parse(str(found)) == found


def test_several_in_one_line_or_in_many_are_all_read() -> None:
    """RFC 7433 section 4.1: a receiver must be prepared for several; quotes are ignored (4.2)."""
    headers = Headers(
        [
            ("User-to-User", '0041;encoding=hex, "0042";encoding=hex'),
            ("user-to-user", '"a, b";purpose=x'),
        ]
    )
    assert read_user_to_user(headers) == (
        UserToUser(b"\x00\x41"),
        UserToUser(b"\x00\x42"),
        UserToUser(b"a, b", "x", None, None),
    )


@pytest.mark.parametrize(
    "text",
    ["", ";encoding=hex", "0g;encoding=hex", "012;encoding=hex", '"', "a b", "\udcff", "0" * 5000],
)
def test_what_is_malformed_is_left_out(text: str) -> None:
    with pytest.raises(SipParseError):
        UserToUser.parse(text)
    assert read_user_to_user(Headers([("User-to-User", text)])) == ()


def test_octets_of_any_kind_are_carried_whole() -> None:
    given = UserToUser(bytes(range(256)))
    headers = Headers(user_to_user_headers([given, UserToUser(b"", "empty")]))
    assert read_user_to_user(headers) == (given, UserToUser(b"", "empty"))


@pytest.mark.parametrize(
    "more",
    [
        {"data": b"x" * 1025},
        {"data": b"x", "purpose": "a\r\nX: y"},
        {"data": b"x", "content": "a;b"},
        {"data": b"a\r\nX: y", "encoding": None},
        {"data": b"\xff", "encoding": None},
    ],
)
def test_what_could_break_a_header_is_refused(more: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        UserToUser(**more)  # type: ignore[arg-type]
