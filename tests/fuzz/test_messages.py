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
from rtpmix.sip.header_values import NameAddr, Via
from rtpmix.sip.message import (
    MessageError,
    Request,
    Response,
    mark_received,
    parse_message,
    respond,
)
from rtpmix.sip.uri import SipUri, parse_uri
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
    read_everything(message)
    again = parse_message(message.to_bytes())
    assert again.call_id == message.call_id
    assert again.cseq == message.cseq
    assert again.body == message.body
    if isinstance(message, Request):
        mark_received(message, ("192.0.2.1", 5060))
        respond(message, 200, to_tag="t").to_bytes()


def read_everything(message: Request | Response) -> None:
    """Use every accessor: none may raise for a message that was taken."""
    for via in message.vias:
        assert Via.parse(str(via)) == via
        _ = via.branch, via.received, via.rport
    parties = [message.from_, message.to, *message.contacts]
    for party in (*parties, *message.routes, *message.record_routes):
        assert NameAddr.parse(str(party)) == party or "\0" in (party.display_name or "")
        assert party.uri.equals(party.uri)
        _ = party.tag, party.display_name
        if isinstance(party.uri, SipUri):
            _ = party.uri.address_of_record, party.uri.decoded_user
            _ = party.uri.parameter("lr")
    _ = message.via, message.max_forwards, message.expires, message.content_type
    _ = message.require, message.supported, message.allow, message.contact_is_star
    for name, _value in message.headers.items():
        message.headers.get_all(name)
    if isinstance(message, Request):
        assert parse_uri(str(message.request_uri)) == message.request_uri


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


TARGETS = [
    (read_message, MESSAGES, SIP_WORDS),
    (read_stream, (*MESSAGES, MESSAGES[0] + MESSAGES[3]), (*SIP_WORDS, b"\r\n\r\n\r\n\r\n")),
    (negotiate, DESCRIPTIONS, SDP_WORDS),
    (read_rtp, RTP_PACKETS, ()),
    (read_rtcp, RTCP_PACKETS, ()),
]


@pytest.mark.parametrize(("target", "corpus", "words"), TARGETS)
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
