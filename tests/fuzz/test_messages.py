"""What a peer sends never raises past its parser, is never slow, and is never kept."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import pytest

from rtpmix.errors import RtpParseError, SdpError, SipParseError
from rtpmix.rtp.dtmf import DigitReceiver
from rtpmix.rtp.packet import RtpPacket, is_rtcp
from rtpmix.rtp.reception import ReceptionStats
from rtpmix.rtp.rtcp import parse_compound
from rtpmix.sdp.description import parse_sdp
from rtpmix.sdp.negotiation import Capabilities, LocalMedia, accept_answer, answer_offer, make_offer
from rtpmix.sip.framing import StreamFramer
from rtpmix.sip.message import MessageError, parse_message, respond
from tests.fuzz.corpus import (
    DESCRIPTIONS,
    MESSAGES,
    RTCP_PACKETS,
    RTP_PACKETS,
    SDP_WORDS,
    SIP_WORDS,
)
from tests.fuzz.mutation import SEED, Mutator, attack

CAPABILITIES = Capabilities()
LOCAL = LocalMedia(address="192.0.2.9", port=4000, session_id=1, version=1)
OUR_OFFER = make_offer(CAPABILITIES, LOCAL)


def read_message(data: bytes) -> None:
    """Parse one datagram, and answer it where it can be answered."""
    try:
        message = parse_message(data)
    except MessageError as error:
        if error.partial is not None:
            respond(error.partial, error.status_hint or 400, to_tag="t").to_bytes()
        return
    except SipParseError:
        return
    again = parse_message(message.to_bytes())
    assert again.call_id == message.call_id
    assert again.cseq == message.cseq


def read_stream(data: bytes) -> None:
    """Feed a stream in pieces, as TCP would bring them."""
    framer = StreamFramer()
    try:
        for start in range(0, len(data), 700):
            framer.feed(data[start : start + 700])
            assert framer.buffered < 140_000
    except SipParseError:
        return


def negotiate(data: bytes) -> None:
    """Take a description as an offer, and as the answer to ours."""
    try:
        description = parse_sdp(data)
    except SdpError:
        return
    parse_sdp(description.to_bytes())
    for negotiation in (
        lambda: answer_offer(description, CAPABILITIES, LOCAL),
        lambda: accept_answer(OUR_OFFER, description, CAPABILITIES),
    ):
        with suppress(SdpError):
            negotiation()


def read_rtp(data: bytes) -> None:
    """Parse one packet and pass it on to what follows it."""
    is_rtcp(data)
    try:
        packet = RtpPacket.parse(data)
    except RtpParseError:
        return
    RtpPacket.parse(packet.to_bytes())
    STATS.receive(packet.sequence_number, packet.timestamp, packet.timestamp)
    STATS.report(0)
    DIGITS.receive(packet.payload, timestamp=packet.timestamp, now=0, marker=packet.marker)


STATS = ReceptionStats(7)
DIGITS = DigitReceiver()


def read_rtcp(data: bytes) -> None:
    """Parse one compound."""
    try:
        parse_compound(data)
    except RtpParseError:
        return


@pytest.mark.parametrize(
    ("target", "corpus", "words"),
    [
        (read_message, MESSAGES, SIP_WORDS),
        (read_stream, (*MESSAGES, MESSAGES[0] + MESSAGES[3]), (*SIP_WORDS, b"\r\n\r\n\r\n\r\n")),
        (negotiate, DESCRIPTIONS, SDP_WORDS),
        (read_rtp, RTP_PACKETS, ()),
        (read_rtcp, RTCP_PACKETS, ()),
    ],
)
def test_a_mutated_input_never_raises_past_its_parser(
    target: Callable[[bytes], None],
    corpus: tuple[bytes, ...],
    words: tuple[bytes, ...],
    capsys: pytest.CaptureFixture[str],
) -> None:
    for good in corpus:
        target(good)
    count = attack(target, Mutator(SEED, corpus, words))
    with capsys.disabled():
        print(f"\nfuzz: {count:,} inputs to {target.__name__}", end=" ")
