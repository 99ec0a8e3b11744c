"""Reading a message takes memory in proportion to its size: ten times it at most.

What a peer sends is at most 64 KiB, so this bounds what one datagram can make us hold. Small
messages cost more in proportion, since an object has a size of its own; `FLOOR` is for those.
"""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from contextlib import suppress
from itertools import islice

import pytest

from rtpmix.errors import RtpParseError, SdpError, SipParseError
from rtpmix.mixer.boxes import DATAGRAM
from rtpmix.rtp.rtcp import parse_compound
from rtpmix.sdp.description import parse_sdp
from rtpmix.sdp.negotiation import answer_offer
from rtpmix.sip.message import Request, parse_message, respond
from tests.fuzz.corpus import DESCRIPTIONS, MESSAGES, OFFER, RTCP_PACKETS, SDP_WORDS, SIP_WORDS
from tests.fuzz.mutation import SEED, Mutator
from tests.fuzz.test_messages import CAPABILITIES, LOCAL

TIMES = 10  # the size of the input
FLOOR = 32 * 1024  # octets
INPUTS = 2000  # spoilt ones for each reader
LARGEST = 65_507  # octets: what a datagram holds

HEAD = (
    b"INVITE sip:b@h SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\n"
    b"From: <sip:a@h>;tag=1\r\nTo: <sip:b@h>\r\nCall-ID: x\r\nCSeq: 1 INVITE\r\n"
)
SDP_HEAD = b"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nt=0 0\r\n"


def read_as_a_server(data: bytes) -> None:
    """Read what a UAS reads of a message, and build an answer."""
    with suppress(SipParseError):
        message = parse_message(data)
        for name in ("vias", "from_", "to", "contacts", "routes", "record_routes"):
            getattr(message, name)
        for name in ("supported", "require", "allow", "max_forwards", "expires", "content_type"):
            getattr(message, name)
        if isinstance(message, Request):
            respond(message, 200, to_tag="t").to_bytes()


def answer(data: bytes) -> None:
    """Take a description as an offer."""
    with suppress(SdpError):
        answer_offer(parse_sdp(data), CAPABILITIES, LOCAL)


def read_reports(data: bytes) -> None:
    with suppress(RtpParseError):
        parse_compound(data)


def filled(head: bytes, piece: bytes, tail: bytes = b"\r\n") -> bytes:
    """Return as many pieces as fit into a datagram."""
    return head + piece * ((LARGEST - len(head) - len(tail)) // len(piece)) + tail


BOMBS = {
    "header lines": (read_as_a_server, filled(HEAD, b"X: y\r\n")),
    "empty headers": (read_as_a_server, filled(HEAD, b"a:\r\n")),
    "folded lines": (read_as_a_server, filled(HEAD + b"X: a", b"\r\n b", b"\r\n\r\n")),
    "commas": (read_as_a_server, filled(HEAD + b"Supported: ", b",", b"\r\n\r\n")),
    "contacts": (read_as_a_server, filled(HEAD + b"Contact: <sip:a>", b",<sip:a>", b"\r\n\r\n")),
    "parameters": (read_as_a_server, filled(HEAD + b"Contact: <sip:a>", b";a", b"\r\n\r\n")),
    "Vias": (read_as_a_server, filled(HEAD, b"Via: SIP/2.0/UDP h\r\n")),
    "media lines": (answer, filled(SDP_HEAD, b"m=audio 1 RTP/AVP 0\r\n", b"")),
    "attributes": (answer, filled(OFFER, b"a=x\r\n", b"")),
    "payload types": (answer, filled(SDP_HEAD + b"m=audio 1 RTP/AVP", b" 0")),
}
READERS = [
    (read_as_a_server, MESSAGES, SIP_WORDS),
    (answer, DESCRIPTIONS, SDP_WORDS),
    (read_reports, RTCP_PACKETS, ()),
]

# The media host reads no more of a datagram than this.
REPORTS = (RTCP_PACKETS[0] + b"\x80\xc9\x00\x01abcd" * 500)[:DATAGRAM]


def peak_of(read: Callable[[bytes], None], data: bytes) -> int:
    """Return the octets that were in use at most while an input was read."""
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        read(data)
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("what", BOMBS)
def test_a_bomb_takes_ten_times_its_size_at_most(what: str) -> None:
    read, data = BOMBS[what]
    assert len(data) > LARGEST - 100
    assert peak_of(read, data) <= TIMES * len(data)


def test_a_compound_of_the_smallest_reports_stays_small() -> None:
    """An object for each report of eight octets: here the floor is what counts."""
    assert peak_of(read_reports, REPORTS) <= TIMES * len(REPORTS) + FLOOR


@pytest.mark.parametrize(("read", "corpus", "words"), READERS)
def test_no_spoilt_input_takes_more_than_its_share(
    read: Callable[[bytes], None], corpus: tuple[bytes, ...], words: tuple[bytes, ...]
) -> None:
    mutator = Mutator(SEED, corpus, words)
    for data in islice(iter(mutator.next, None), INPUTS):
        peak = peak_of(read, data)
        assert peak <= TIMES * len(data) + FLOOR, (peak, len(data), data[:500])
