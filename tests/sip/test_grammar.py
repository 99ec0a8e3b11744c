"""The lexical rules of RFC 3261 section 25."""

from __future__ import annotations

import re
from collections.abc import Iterator
from re import _constants, _parser  # type: ignore[attr-defined]
from time import thread_time
from types import ModuleType

import pytest

from rtpmix.errors import SipParseError
from rtpmix.sip import framing, grammar, header_values, message, request_response, uri
from rtpmix.sip.grammar import (
    find_parameter,
    format_host,
    format_parameters,
    is_call_id,
    is_token,
    parse_host,
    parse_number,
    parse_parameters,
    quote,
    split_commas,
    unquote,
)

MODULES = (framing, grammar, header_values, message, request_response, uri)


def patterns(module: ModuleType) -> list[re.Pattern[str]]:
    return [value for value in vars(module).values() if isinstance(value, re.Pattern)]


@pytest.mark.parametrize("text", ["INVITE", "a", "-.!%*_+`'~", "100rel"])
def test_tokens_are_tokens(text: str) -> None:
    assert is_token(text)


@pytest.mark.parametrize("text", ["", "a b", "a\n", "a:b", 'a"', "é", "a\x00", "<a>", "a/b", "a@b"])
def test_other_text_is_no_token(text: str) -> None:
    assert not is_token(text)


@pytest.mark.parametrize("text", ["a", "a@b", "f81d4fae-7dec@foo.bar.com", '(<>:\\"/[]?{}@x'])
def test_call_ids_are_words(text: str) -> None:
    assert is_call_id(text)


@pytest.mark.parametrize("text", ["", "@", "a@", "@b", "a@b@c", "a b", "a;b", "a,b", "é", "a\x00"])
def test_other_text_is_no_call_id(text: str) -> None:
    assert not is_call_id(text)


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("example.com", "example.com"),
        ("example.com.", "example.com."),
        ("pbx1", "pbx1"),
        ("my_service", "my_service"),
        ("192.0.2.1", "192.0.2.1"),
        ("255.255.255.255", "255.255.255.255"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("[::ffff:192.0.2.1]", "::ffff:192.0.2.1"),
        ("[2001:db8:::192.0.2.1]", "2001:db8::192.0.2.1"),
    ],
)
def test_hosts_are_read(text: str, host: str) -> None:
    """RFC 3261 section 25.1; RFC 5118 sections 4.1 and 4.10."""
    assert parse_host(text) == host


@pytest.mark.parametrize(
    "text",
    [
        *("", "-a", ".a", "a b", "256.0.0.1", "1.2.3", "1.2.3.4.5", "01.2.3.4", "1", "a.1", "[::1"),
        *("[]", "[1::2::3]", "[12345::]", "2001:db8::1", "[fe80::1%eth0]", "é.example", "a\n"),
        "١.٢.٣.٤",
    ],
)
def test_other_text_is_no_host(text: str) -> None:
    with pytest.raises(SipParseError) as caught:
        parse_host(text)
    assert caught.value.status_hint == 400


def test_only_ipv6_gets_brackets() -> None:
    assert format_host("2001:db8::1") == "[2001:db8::1]"
    assert format_host("192.0.2.1") == "192.0.2.1"


@pytest.mark.parametrize("text", ["0", "70", "255", "0068", "0" * 60 + "1"])
def test_numbers_are_read(text: str) -> None:
    assert parse_number(text, maximum=255, what="it") == int(text)


@pytest.mark.parametrize("text", ["", "-1", "+1", "1.0", " 1", "1_0", "٣", "²", "256", "9" * 5000])
def test_other_text_is_no_number(text: str) -> None:
    """Digits of other scripts, and what int() would take besides 1*DIGIT."""
    with pytest.raises(SipParseError):
        parse_number(text, maximum=255, what="it")


def test_quoting_is_undone_by_unquoting() -> None:
    for text in ("", "a", 'a"b', "a\\", '\\"', "a\tb", "é", "\\\\x"):
        assert unquote(quote(text)) == text


def test_quoting_leaves_out_what_ends_a_line() -> None:
    assert quote("a\r\nVia: b\x00") == '"aVia: b"'


def test_text_without_quotes_is_not_unquoted() -> None:
    assert unquote("abc") == "abc"
    assert unquote('"') == '"'


@pytest.mark.parametrize(
    ("value", "items"),
    [
        ("", [""]),
        ("a", ["a"]),
        ("a, b ,\tc", ["a", "b", "c"]),
        ("a,,b", ["a", "", "b"]),
        ('"a,b" <sip:x>, c', ['"a,b" <sip:x>', "c"]),
        ("<sip:a,b@c>;x, <sip:d>", ["<sip:a,b@c>;x", "<sip:d>"]),
        ('"a\\",b", c', ['"a\\",b"', "c"]),
        ('a, "b, c', ["a", '"b, c']),
        ("<a, b", ["<a, b"]),
    ],
)
def test_lists_split_at_commas_outside_quotes_and_angles(value: str, items: list[str]) -> None:
    """RFC 3261 section 7.3.1; what is not closed is one item, for its reader to refuse."""
    assert split_commas(value) == items


@pytest.mark.parametrize(
    ("text", "parameters"),
    [
        ("", ()),
        (";lr", (("lr", None),)),
        (";Tag=aBc", (("tag", "aBc"),)),
        (" ; a = b ;\tc", (("a", "b"), ("c", None))),
        (';a="b;c\\"d";e', (("a", '"b;c\\"d"'), ("e", None))),
        (";received=2001:db8::1", (("received", "2001:db8::1"),)),
        (";received=[::1];x", (("received", "[::1]"), ("x", None))),
        (";a=1;A=2", (("a", "1"),)),
    ],
)
def test_parameters_are_read(text: str, parameters: grammar.Parameters) -> None:
    """RFC 3261 section 25.1, generic-param; of a repeated name the first counts."""
    assert parse_parameters(text) == parameters


@pytest.mark.parametrize("text", [";", ";;", ";a=", "a", ";a b", ';a="b', ";=b", ";a=b c", ";a=é"])
def test_malformed_parameters_are_refused(text: str) -> None:
    with pytest.raises(SipParseError):
        parse_parameters(text)


def test_parameters_are_found_unquoted() -> None:
    parameters = parse_parameters(';a="x\\"y";b;c=1')
    assert find_parameter(parameters, "a") == 'x"y'
    assert find_parameter(parameters, "b") == ""
    assert find_parameter(parameters, "d") is None
    assert format_parameters(parameters) == ';a="x\\"y";b;c=1'


@pytest.mark.parametrize("module", MODULES)
def test_repeated_character_sets_are_possessive_and_groups_are_not(module: ModuleType) -> None:
    """What gives nothing back can't be tried again: the base of linear time. But Python before
    3.11.5 matches possessive groups wrongly."""
    found = patterns(module)
    assert found
    for pattern in found:
        text = pattern.pattern if isinstance(pattern.pattern, str) else pattern.pattern.decode()
        wrong = list(_wrong_repeats(_parser.parse(text, pattern.flags & ~re.UNICODE)))
        assert not wrong, (pattern, wrong)


def test_a_wrong_repeat_is_found() -> None:
    for text in ("a*", "[ab]+", "(?:x|a*?)", "(a+)?", "(?:ab)*+", "(?:a(?:bc)?+)*"):
        assert list(_wrong_repeats(_parser.parse(text))), text
    assert not list(_wrong_repeats(_parser.parse("a*+[ab]++(?:ab)*(?:x|y?+)(a{3})?b{1,5}")))


SINGLE = (_constants.IN, _constants.ANY, _constants.LITERAL, _constants.NOT_LITERAL)


def _wrong_repeats(tree: object) -> Iterator[object]:
    """Yield unbounded repeats of one character set that backtrack, and possessive groups."""
    for operator, argument in tree:  # type: ignore[attr-defined]
        if operator in (_constants.MAX_REPEAT, _constants.MIN_REPEAT):
            _, high, body = argument
            if high == _constants.MAXREPEAT and len(body) == 1 and body[0][0] in SINGLE:
                yield argument
        if operator is _constants.POSSESSIVE_REPEAT:
            body = argument[2]
            if len(body) != 1 or body[0][0] not in SINGLE:
                yield argument
        for part in argument if isinstance(argument, tuple | list) else (argument,):
            for inner in part if isinstance(part, list) else (part,):
                if isinstance(inner, _parser.SubPattern):
                    yield from _wrong_repeats(inner)


PUMPS = ['"', '\\"', ";a", ";a=b", ";a ", " ", "\t ", ",", "<", ">", "a", "a:", "a@", "%41", "1."]
PUMPS += ['"a" ', "\\\\", ';a="b"', "[", "::", "?a=b", "&a=b", "=", "/", "\r\n ", "a.", "\x80"]


@pytest.mark.parametrize("module", MODULES)
def test_no_pattern_takes_more_than_linear_time(module: ModuleType) -> None:
    """8 kB, the longest header, in under 5 ms, where quadratic time would take 100 ms or more."""
    for pattern in patterns(module):
        for prefix in ("", "sip:", '"', "<sip:", "SIP/2.0/UDP a", "a", ";a="):
            for pump in PUMPS:
                text = prefix + pump * (8192 // len(pump)) + "\x01"
                subject = text if isinstance(pattern.pattern, str) else text.encode()
                assert min(_timed(pattern, subject) for _ in range(3)) < 0.005, (prefix, pump)


def _timed(pattern: re.Pattern[str], subject: object) -> float:
    began = thread_time()
    pattern.match(subject)  # type: ignore[call-overload]
    pattern.fullmatch(subject)  # type: ignore[call-overload]
    return thread_time() - began
