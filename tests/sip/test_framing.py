"""Messages cut from a stream: RFC 3261 sections 7.5 and 18.3."""

from __future__ import annotations

from random import Random

import pytest

from rtpmix.errors import SipParseError
from rtpmix.sip.framing import FramingError, StreamFramer
from rtpmix.sip.message import MAX_MESSAGE, MessageError, parse_message


def message(number: int, body: bytes = b"") -> bytes:
    return (
        b"OPTIONS sip:a@b SIP/2.0\r\nVia: SIP/2.0/TCP c;branch=z9hG4bK%d\r\nCall-ID: %d\r\n"
        b"From: <sip:c@d>;tag=1\r\nTo: <sip:a@b>\r\nCSeq: 1 OPTIONS\r\n"
        b"Content-Length: %d\r\n\r\n" % (number, number, len(body))
    ) + body


def test_messages_come_whole_however_the_stream_is_cut() -> None:
    messages = [message(i, b"x\r\n\r\n" * (i % 4)) for i in range(40)]
    stream = b"".join(messages)
    random = Random(7)
    for _ in range(50):
        framer = StreamFramer()
        found: list[bytes] = []
        rest = stream
        while rest:
            size = random.choice((1, 2, 3, 50, 400, 5000))
            found += framer.feed(rest[:size])
            rest = rest[size:]
        assert found == messages
        assert framer.buffered == 0
        assert framer.pings == 0


def test_a_stream_is_read_byte_by_byte() -> None:
    framer = StreamFramer()
    stream = message(1, b"abc")
    for i in range(len(stream) - 1):
        assert framer.feed(stream[i : i + 1]) == []
        assert framer.buffered == i + 1
    assert framer.feed(stream[-1:]) == [stream]


@pytest.mark.parametrize("cuts", [(4,), (1, 1, 1, 1), (2, 2), (3, 1)])
def test_a_double_crlf_is_a_ping(cuts: tuple[int, ...]) -> None:
    """RFC 5626 section 4.4.1."""
    framer = StreamFramer()
    rest = b"\r\n\r\n"
    for size in cuts:
        framer.feed(rest[:size])
        rest = rest[size:]
    assert framer.pings == 1
    assert framer.feed(b"\r\n\r\n\r\n\r\n" + message(1)) == [message(1)]
    assert framer.pings == 3


def test_a_single_crlf_is_ignored() -> None:
    """RFC 3261 section 7.5; also the pong of RFC 5626."""
    framer = StreamFramer()
    assert framer.feed(b"\r\n" + message(1) + b"\r\n" + message(2)) == [message(1), message(2)]
    assert framer.pings == 0


def test_the_length_may_be_compact_folded_and_repeated_alike() -> None:
    for header in (b"l:3", b"L : 3", b"CONTENT-LENGTH:\r\n  3", b"Content-Length: 3\r\nl: 3"):
        framer = StreamFramer()
        data = b"OPTIONS sip:a@b SIP/2.0\r\n" + header + b"\r\n\r\nabc"
        assert framer.feed(data + b"X") == [data]
        assert framer.buffered == 1


@pytest.mark.parametrize(
    "header",
    [b"X: y", b"l: -1", b"l: 3\r\nl: 4", b"l: x", b"l:", b"l: 99999999999", b"l: 65535", b"l: +1"],
)
def test_a_message_without_a_usable_length_breaks_the_stream(header: bytes) -> None:
    """RFC 3261 section 18.3: there is no other way to find the next message."""
    framer = StreamFramer()
    with pytest.raises(FramingError) as caught:
        framer.feed(message(1) + b"OPTIONS sip:a@b SIP/2.0\r\n" + header + b"\r\n\r\n")
    assert caught.value.messages == [message(1)]
    assert caught.value.head.startswith(b"OPTIONS sip:a@b SIP/2.0\r\n" + header)
    assert isinstance(caught.value, SipParseError)
    with pytest.raises(FramingError):
        framer.feed(message(2))
    assert framer.buffered == 0


def test_a_broken_request_can_be_answered_before_closing() -> None:
    """RFC 4475 section 3.1.2.3."""
    framer = StreamFramer()
    with pytest.raises(FramingError) as caught:
        framer.feed(message(1).replace(b"Length: 0", b"Length: -999"))
    with pytest.raises(MessageError) as refused:
        parse_message(caught.value.head)
    assert refused.value.status_hint == 400
    assert refused.value.partial is not None


def test_an_endless_head_is_given_up() -> None:
    framer = StreamFramer()
    for _ in range(MAX_MESSAGE // 1000):
        assert framer.feed(b"x" * 1000) == []
        assert framer.buffered <= MAX_MESSAGE
    with pytest.raises(FramingError):
        framer.feed(b"x" * 1000)
    assert framer.buffered == 0
