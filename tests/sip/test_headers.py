"""The map of a message's headers: RFC 3261 section 7.3."""

from __future__ import annotations

import pytest

from rtpmix.errors import SipParseError, UsageError
from rtpmix.sip import headers as headers_module
from rtpmix.sip.headers import Headers, canonical_name

LINES = [
    "v: SIP/2.0/UDP a",
    "VIA : SIP/2.0/UDP b, SIP/2.0/UDP c",
    "x-Thing:  1 ",
    "Subject:",
    "X-THING:2",
]


def test_names_are_one_in_any_case_and_form() -> None:
    """RFC 3261 sections 7.3.1 and 7.3.3."""
    headers = Headers.from_lines(LINES)
    assert headers.get("Via") == headers.get("v") == headers.get("VIA") == "SIP/2.0/UDP a"
    assert headers.get_all("via") == ["SIP/2.0/UDP a", "SIP/2.0/UDP b", "SIP/2.0/UDP c"]
    assert headers.lines("Via") == ["SIP/2.0/UDP a", "SIP/2.0/UDP b, SIP/2.0/UDP c"]
    assert headers.get_all("X-Thing") == ["1", "2"]
    assert headers.get("s") == ""
    assert "Subject" in headers
    assert "To" not in headers
    assert headers.get("To") is None
    assert headers.get_all("To") == []
    assert len(headers) == 5


@pytest.mark.parametrize(
    ("compact", "name"),
    [
        *(("a", "Accept-Contact"), ("b", "Referred-By"), ("c", "Content-Type")),
        *(("d", "Request-Disposition"), ("e", "Content-Encoding"), ("f", "From")),
        *(("i", "Call-ID"), ("j", "Reject-Contact"), ("k", "Supported"), ("l", "Content-Length")),
        *(("m", "Contact"), ("o", "Event"), ("r", "Refer-To"), ("s", "Subject"), ("t", "To")),
        *(("u", "Allow-Events"), ("v", "Via"), ("x", "Session-Expires"), ("y", "Identity")),
    ],
)
def test_compact_forms_have_one_name(compact: str, name: str) -> None:
    for spelling in (compact, compact.upper(), name, name.lower(), name.upper(), name.swapcase()):
        assert canonical_name(spelling) == name


def test_items_come_in_order_with_their_spelling() -> None:
    assert list(Headers.from_lines(LINES).items()) == [
        ("Via", "SIP/2.0/UDP a"),
        ("Via", "SIP/2.0/UDP b, SIP/2.0/UDP c"),
        ("x-Thing", "1"),
        ("x-Thing", "2"),
        ("Subject", ""),
    ]


def test_a_folded_line_goes_on() -> None:
    """RFC 3261 section 7.3.1: a line end and white space are one space."""
    headers = Headers.from_lines(
        ["Subject: I know", " \t you're there,", "\tpick up", " ", "To:", " x"]
    )
    assert headers.get("Subject") == "I know you're there, pick up"
    assert headers.get("To") == "x"


@pytest.mark.parametrize(
    "line", ["", "Via", "no name", ": x", " folded: first", "a b: c", "é: x", "\x00: a"]
)
def test_a_line_without_a_name_is_refused(line: str) -> None:
    with pytest.raises(SipParseError) as caught:
        Headers.from_lines([line])
    assert caught.value.status_hint == 400


@pytest.mark.parametrize("value", ["a\r\nVia: x", "a\n", "\r", "a\x00b", "\ud800"])
def test_a_value_can_write_no_other_header(value: str) -> None:
    headers = Headers()
    for change in (headers.add, headers.set, headers.set_first):
        with pytest.raises(UsageError):
            change("Subject", value)
    assert len(headers) == 0


@pytest.mark.parametrize("name", ["", "a b", "a:", "a\r\n", "é", "a\x00"])
def test_a_name_is_a_token(name: str) -> None:
    with pytest.raises(UsageError):
        Headers([(name, "x")])


def test_headers_are_set_replaced_and_removed() -> None:
    headers = Headers([("To", "a"), ("X-One", "1"), ("x-one", "2")])
    headers.set("X-ONE", "3")
    assert list(headers.items()) == [("To", "a"), ("X-One", "3")]
    headers.remove("t")
    headers.remove("t")
    assert list(headers.items()) == [("X-One", "3")]


def test_the_topmost_value_alone_is_replaced() -> None:
    headers = Headers([("Via", "a, b"), ("Via", "c")])
    headers.set_first("Via", "z")
    assert headers.lines("Via") == ["z, b", "c"]
    headers.set_first("Subject", "x, y")
    headers.set_first("Subject", "z")
    assert headers.lines("Subject") == ["z"]


def test_commas_separate_only_in_lists() -> None:
    headers = Headers([("Date", "Sat, 13 Nov"), ("Require", "a, b"), ("Require", ",c,")])
    assert headers.get_all("Date") == ["Sat, 13 Nov"]
    assert headers.get_all("Require") == ["a", "b", "c"]


def test_typed_values_are_read_once_until_the_header_changes() -> None:
    headers = Headers([("To", "a")])
    calls: list[list[str]] = []

    def read(lines: object) -> int:
        calls.append(list(lines))  # type: ignore[call-overload]
        return len(calls)

    assert [headers.typed("To", read), headers.typed("To", read)] == [1, 1]
    headers.add("t", "b")
    assert headers.typed("To", read) == 2
    headers.set("To", "c")
    assert headers.typed("To", read) == 3
    headers.append_to_value("To", ";tag=1")
    assert headers.typed("To", read) == 4
    headers.remove("To")
    assert headers.typed("To", read) == 5
    assert calls == [["a"], ["a", "b"], ["c"], ["c;tag=1"], []]


def test_a_copy_is_independent() -> None:
    headers = Headers([("X-One", "1")])
    copied = headers.copy()
    copied.add("X-One", "2")
    assert headers.get_all("X-One") == ["1"]
    assert list(copied.items()) == [("X-One", "1"), ("X-One", "2")]
    assert repr(headers) == "Headers([('X-One', '1')])"


def test_lines_are_copied_as_they_are() -> None:
    received = Headers.from_lines(['To: "\\\x00" <sip:a@b>', "X-A: 1"])
    copied = Headers()
    copied.copy_lines(received, "To")
    copied.copy_lines(received, "From")
    assert list(copied.items()) == [("To", '"\\\x00" <sip:a@b>')]


def test_lines_that_strangers_repeat_are_not_kept_for_ever() -> None:
    for number in range(3 * headers_module._REMEMBERED):
        Headers.from_lines([f"Allow: X{number}", f"Supported: {'y' * 500}{number}"])
    assert len(headers_module._remembered) <= headers_module._REMEMBERED
    assert all(len(line) <= 160 for line in headers_module._remembered)
    again = Headers.from_lines(["Allow: A", "Allow: A", " , B", "Allow: A"])
    assert again.lines("Allow") == ["A", "A , B", "A"]
