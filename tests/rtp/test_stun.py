"""Answers to connectivity checks: RFC 5769's vectors, aioice as oracle, and what deserves none."""

from __future__ import annotations

from random import Random

import pytest
from aioice import stun

from rtpmix.rtp.stun import Check, answer_check, is_stun

# RFC 5769 section 2.1.
REQUEST = bytes.fromhex(
    "000100582112a442b7e7a701bc34d686fa87dfae"
    "802200105354554e207465737420636c69656e74"
    "002400046e0001ff"
    "80290008932ff9b151263b36"
    "000600096576746a3a68367659202020"
    "000800149aeaa70cbfd8cb56781ef2b5b2d3f249c1b571a2"
    "80280004e57a3bcf"
)
PASSWORD = "VOkJxbRl1RmTxUk/WvJxBt"
SOURCE = ("192.0.2.1", 32853)


def test_the_vector_of_rfc_5769_is_answered() -> None:
    """Section 2.1's request authenticates; the response tells the address of section 2.2."""
    response = answer_check(REQUEST, "evtj", PASSWORD, SOURCE)
    assert response is not None
    assert bytes.fromhex("002000080001a147e112a643") in response
    read = stun.parse_message(response)
    assert read.check_message_integrity(PASSWORD.encode())
    assert read.message_class is stun.Class.RESPONSE
    assert read.transaction_id == REQUEST[8:20]
    assert read.attributes["XOR-MAPPED-ADDRESS"] == SOURCE
    assert "FINGERPRINT" in read.attributes


def check(
    password: str = "p" * 22, username: str = "ours:theirs", *, nominates: bool = False
) -> bytes:
    message = stun.Message(message_method=stun.Method.BINDING, message_class=stun.Class.REQUEST)
    message.attributes["USERNAME"] = username
    message.attributes["PRIORITY"] = 1
    if nominates:
        message.attributes["USE-CANDIDATE"] = None
    message.add_message_integrity(password.encode())
    return bytes(message)


@pytest.mark.parametrize("source", [("192.0.2.9", 1), ("2001:db8::9", 65535)])
def test_a_check_of_aioice_is_answered(source: tuple[str, int]) -> None:
    response = answer_check(check(), "ours", "p" * 22, source)
    assert response is not None
    read = stun.parse_message(response)
    assert read.check_message_integrity(b"p" * 22)
    assert read.attributes["XOR-MAPPED-ADDRESS"] == source


@pytest.mark.parametrize(
    "datagram",
    [
        check(password="another"),
        check(username="stranger:theirs"),
        check(username="ours"),
        check()[:-4],
        check()[:20],
        bytes(20),
        b"",
        check() + b"\0",
    ],
)
def test_what_does_not_authenticate_gets_no_answer(datagram: bytes) -> None:
    """No error response: it would be an echo for anybody."""
    assert answer_check(datagram, "ours", "p" * 22, SOURCE) is None


def test_a_changed_check_gets_no_answer() -> None:
    """Any bit up to the integrity itself; what follows is not protected (RFC 8489 14.5)."""
    whole = check()
    end = whole.index(b"\x00\x08\x00\x14") + 24
    for at in range(end):
        changed = bytearray(whole)
        changed[at] ^= 1
        assert answer_check(bytes(changed), "ours", "p" * 22, SOURCE) is None, at


def test_random_datagrams_never_raise() -> None:
    rng = Random(3)
    for _ in range(2000):
        data = bytearray(check())
        for _ in range(rng.randrange(1, 6)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        answer_check(bytes(data[: rng.randrange(len(data) + 1)]), "ours", "p" * 22, SOURCE)
        answer_check(rng.randbytes(rng.randrange(600)), "ours", "p" * 22, SOURCE)


def test_stun_is_told_by_its_first_octet() -> None:
    """RFC 7983 section 7."""
    assert is_stun(check())
    assert not is_stun(b"\x16" + bytes(30))
    assert not is_stun(b"\x80" + bytes(30))


def test_a_nomination_is_told_and_counts_only_under_the_integrity() -> None:
    """RFC 8445 section 7.3.2: USE-CANDIDATE. RFC 8489 section 14.5: nothing after the integrity."""
    for datagram, nominates in (
        (check(nominates=True), True),
        (check(), False),
        (appended(check(), 0x0025), False),
    ):
        found = Check.read(datagram, "ours")
        assert found is not None
        assert found.authenticates("p" * 22)
        assert found.nominates is nominates


def appended(message: bytes, kind: int) -> bytes:
    """Add an attribute without a value behind all others, as somebody on the way could."""
    length = int.from_bytes(message[2:4], "big") + 4
    return (
        message[:2] + length.to_bytes(2, "big") + message[4:] + kind.to_bytes(2, "big") + bytes(2)
    )
