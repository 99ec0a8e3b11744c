"""INFO packages in the user agent: what is said, what may be sent, what is refused."""

from __future__ import annotations

import pytest

from rtpmix.errors import UsageError
from rtpmix.sip.info_packages import MAX_BODY, read_recv_info
from rtpmix.sip.message import parse_message
from tests.sip.agents import ALICE, BOB, Bob, Pair, raw


def test_both_sides_say_what_they_take_and_only_that_is_sent() -> None:
    """RFC 6086 sections 4.2.1 and 5.2: Recv-Info in the INVITE and in its 200."""
    pair = Pair(info_packages=("x-notes",))
    ours, theirs = pair.call()
    assert b"\r\nRecv-Info: x-notes\r\n" in pair.sent_by(ALICE, "INVITE")[0]
    assert b"\r\nRecv-Info: x-notes\r\n" in pair.sent_by(BOB, "SIP/2.0 200")[0]
    assert pair.alice.takes_info(ours, "X-NOTES")
    assert pair.bob.takes_info(theirs, "x-notes")
    with pytest.raises(UsageError, match="takes no INFO"):
        pair.alice.request("INFO", call=ours, headers=[("Info-Package", "other")], now=0.0)
    pair.alice.request("INFO", call=ours, headers=[("Info-Package", "x-notes")], now=0.0)
    pair.settle()
    assert len(pair.events(BOB, "Requested")) == 1


def test_the_last_word_on_what_is_taken_counts() -> None:
    """RFC 6086 section 5.2.3: a later Recv-Info replaces; a message without one changes nothing."""
    bob = Bob(info_packages=("x-notes",))
    number, tag = bob.answered(headers="Recv-Info: a, B;q=1")
    assert bob.agent.takes_info(number, "b")
    bob.take(raw("INVITE", branch="z9hG4bKr", to_tag=tag, cseq=2, headers="Recv-Info: c"))
    assert bob.agent.takes_info(number, "a")  # offered, and not agreed yet
    bob.agent.answer_reinvite(number, 200, bob.now, b"v=0\r\n")
    assert not bob.agent.takes_info(number, "a")
    assert bob.agent.takes_info(number, "c")


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ("Info-Package: other", b"", 469),
        ("Info-Package: x-notes\nInfo-Package: x-notes", b"", 400),
        ("Info-Package: a b", b"", 400),
        ("Info-Package: x-notes", b"x" * (MAX_BODY + 1), 413),
    ],
)
def test_an_info_that_is_not_taken_is_refused_without_an_event(
    headers: str, body: bytes, status: int
) -> None:
    """RFC 6086 section 4.2.2: 469 names in Recv-Info what is taken."""
    bob = Bob(info_packages=("x-notes",))
    _, tag = bob.answered()
    (answer,) = bob.take(
        raw("INFO", branch="z9hG4bKi", to_tag=tag, cseq=2, headers=headers, body=body)
    )
    assert answer.status == status  # type: ignore[union-attr]
    assert answer.headers.get("Recv-Info") == ("x-notes" if status == 469 else None)
    assert bob.events("Requested") == []


def test_a_peer_can_not_make_us_remember_packages_without_end() -> None:
    many = ", ".join(f"p{n}" for n in range(1000))
    message = parse_message(raw("INVITE", headers=f"Recv-Info: {many}, b@d, nil"))
    found = read_recv_info(message)
    assert found is not None
    assert len(found) == 64


def test_an_empty_header_takes_nothing_and_none_says_nothing() -> None:
    """RFC 6086 section 5.2.3."""
    assert read_recv_info(parse_message(raw("INVITE", headers="Recv-Info: "))) == frozenset()
    assert read_recv_info(parse_message(raw("INVITE"))) is None
