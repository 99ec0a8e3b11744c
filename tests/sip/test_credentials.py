"""rtpmix.sip.credentials: the syntax of Digest fields, and the hashes."""

from __future__ import annotations

import contextlib
import time

import pytest

from rtpmix.errors import SipParseError, UsageError
from rtpmix.sip.credentials import (
    Secret,
    find_credentials,
    format_digest,
    hash_a1,
    parse_digest,
)


@pytest.mark.parametrize(
    ("value", "fields"),
    [
        ('Digest realm="a"', {"realm": "a"}),
        ('digest  realm = "a" , qop=auth', {"realm": "a", "qop": "auth"}),
        ('DIGEST REALM="A, \\"b\\" \\\\",nc=00000001', {"realm": 'A, "b" \\', "nc": "00000001"}),
        ('Digest uri=sip:a@b;x=y,realm="",', {"uri": "sip:a@b;x=y", "realm": ""}),
        ('Digest username="J\u00e4s\udcff"', {"username": "J\u00e4s\udcff"}),
    ],
)
def test_fields_are_read_with_their_quotes_undone(value: str, fields: dict[str, str]) -> None:
    """RFC 3261 section 25.1; RFC 7616 section 3.4.5."""
    assert parse_digest(value) == fields


@pytest.mark.parametrize(
    "value",
    [
        "",
        "Digest",
        "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==",
        'Digestrealm="a"',
        "Digest realm",
        "Digest realm=",
        'Digest realm="a',
        'Digest realm="a" nonce="b"',
        'Digest realm="a",realm="b"',
        'Digest realm="a",Realm="b"',
        "Digest =a",
        "Digest ,",
        "Digest " + ",".join(f"a{n}=1" for n in range(33)),
    ],
)
def test_what_is_no_digest_is_refused(value: str) -> None:
    with pytest.raises(SipParseError) as caught:
        parse_digest(value)
    assert caught.value.status_hint == 400


@pytest.mark.parametrize(
    "bomb",
    [
        "Digest " + 'a="' + "\\" * 8000,
        "Digest a=" + '"' * 8000,
        "Digest " + " " * 8000,
        "Digest " + "a" * 8000,
        "Digest " + "a=" * 4000,
        'Digest a="' + 'x\\"' * 2600,
    ],
    ids=range(6),
)
def test_reading_takes_time_in_proportion_to_the_text(bomb: str) -> None:
    """No regular expression here backtracks, whatever 8 kB a peer chooses."""
    took = []
    for _ in range(3):
        start = time.thread_time()  # not the wall clock: the machine has other work
        with contextlib.suppress(SipParseError):
            parse_digest(bomb)
        took.append(time.thread_time() - start)
    assert min(took) < 0.005


def test_credentials_are_found_by_realm() -> None:
    """RFC 3261 section 22.3: a request may carry several, for other servers on its way."""
    values = ["Basic eA==", 'Digest realm="other",nc=1', 'Digest realm="ours",nc=2']
    assert find_credentials(values, "ours") == {"realm": "ours", "nc": "2"}
    assert find_credentials(values[:2], "ours") is None
    assert find_credentials([], "ours") is None


def test_fields_are_written_as_they_are_read() -> None:
    text = format_digest([("realm", '"a b"'), ("qop", "auth")])
    assert text == 'Digest realm="a b", qop=auth'
    assert parse_digest(text) == {"realm": "a b", "qop": "auth"}


def test_a_secret_is_a_password_or_its_hashes() -> None:
    """RFC 7616 section 5.2: a server need not keep the password."""
    stored = hash_a1("SHA-256", "u", "r", "p")
    assert Secret("p").hash_a1("SHA-256", "u", "r") == stored
    assert Secret(hashes={"SHA-256": stored.upper()}).hash_a1("SHA-256", "u", "r") == stored
    assert Secret(hashes={"SHA-256": stored}).hash_a1("MD5", "u", "r") is None


def test_a_secret_does_not_show_itself() -> None:
    secret = Secret("hunter2", hashes={"MD5": "ab" * 16})
    assert "hunter2" not in repr(secret) + str(secret)
    assert "abab" not in repr(secret)


def test_an_empty_or_unknown_secret_is_a_mistake() -> None:
    with pytest.raises(UsageError, match="password"):
        Secret()
    with pytest.raises(UsageError, match="SHA-1"):
        Secret(hashes={"SHA-1": "00"})
