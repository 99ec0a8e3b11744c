"""The examples of RFC 3264 section 10, with this side as one of the parties.

Where the RFC has host names, addresses stand here: names are never resolved.
"""

from __future__ import annotations

import pytest

from rtpmix.sdp.description import SessionDescription, parse_sdp
from rtpmix.sdp.negotiation import (
    Capabilities,
    Direction,
    LocalMedia,
    NegotiationError,
    accept_answer,
    answer_offer,
    make_offer,
)

CAN = Capabilities(codecs=("PCMU",), dtmf=False)
BOB = LocalMedia(address="192.0.2.20", port=49920, session_id=2890844730, version=2890844730)

ALICE_OFFERS = """\
v=0
o=alice 2890844526 2890844526 IN IP4 192.0.2.10
s=
c=IN IP4 192.0.2.10
t=0 0
m=audio 49170 RTP/AVP 0
a=rtpmap:0 PCMU/8000
m=video 51372 RTP/AVP 31
a=rtpmap:31 H261/90000
m=video 53000 RTP/AVP 32
a=rtpmap:32 MPV/90000
"""


def read(text: str) -> SessionDescription:
    return parse_sdp(text.encode())


def test_section_10_1_basic_exchange() -> None:
    """RFC 3264 section 10.1; Bob takes no video here, so both video streams have port 0."""
    answer, agreed = answer_offer(read(ALICE_OFFERS), CAN, BOB)
    assert answer.to_bytes().decode().split("\r\n") == [
        "v=0",
        "o=- 2890844730 2890844730 IN IP4 192.0.2.20",
        "s=-",
        "c=IN IP4 192.0.2.20",
        "t=0 0",
        "m=audio 49920 RTP/AVP 0",
        "a=rtpmap:0 PCMU/8000",
        "a=ptime:20",
        "a=sendrecv",
        "m=video 0 RTP/AVP 31",
        "m=video 0 RTP/AVP 32",
        "",
    ]
    assert agreed.remote == ("192.0.2.10", 49170)

    # "Bob decides to change the port where he will receive the audio stream."
    moved = LocalMedia(address="192.0.2.20", port=65422, session_id=2890844730, version=2890844731)
    offer = make_offer(CAN, moved, agreed)
    lines = offer.to_bytes().decode().split("\r\n")
    assert "o=- 2890844730 2890844731 IN IP4 192.0.2.20" in lines
    assert [line for line in lines if line.startswith("m=")] == [
        "m=audio 65422 RTP/AVP 0",
        "m=video 0 RTP/AVP 31",
        "m=video 0 RTP/AVP 32",
    ]
    alice = read(
        ALICE_OFFERS.replace("2890844526 IN", "2890844527 IN")
        .replace("video 51372", "video 0")
        .replace("video 53000", "video 0")
    )
    assert accept_answer(offer, alice, CAN).remote == ("192.0.2.10", 49170)


def test_section_10_1_a_stream_of_events_alone_is_not_taken() -> None:
    """RFC 3264 section 10.1: Bob's second audio stream; ours is refused, the first one stays."""
    text = (
        ALICE_OFFERS + "m=audio 51434 RTP/AVP 110\na=rtpmap:110 telephone-event/8000\na=recvonly\n"
    )
    answer, agreed = answer_offer(read(text), CAN, BOB)
    assert [media.port for media in answer.media] == [49920, 0, 0, 0]
    assert agreed.index == 0


def test_section_10_2_one_of_n_codec_selection() -> None:
    """RFC 3264 section 10.2: inactive first, then one codec with sendrecv."""
    first = """\
v=0
o=alice 2890844526 2890844526 IN IP4 192.0.2.10
s=
c=IN IP4 192.0.2.10
t=0 0
m=audio 62986 RTP/AVP 0 4 18
a=rtpmap:0 PCMU/8000
a=rtpmap:4 G723/8000
a=rtpmap:18 G729/8000
a=inactive
"""
    answer, agreed = answer_offer(read(first), CAN, BOB)
    assert answer.media[0].formats == ("0",)
    assert answer.media[0].attribute("inactive") is not None
    assert agreed.direction is Direction.INACTIVE
    second = first.replace("0 4 18", "0").replace("a=inactive", "a=sendrecv")
    _, agreed = answer_offer(read(second), CAN, BOB.revised(), agreed)
    assert agreed.direction is Direction.SENDRECV
    assert (agreed.codec, agreed.payload_type) == ("PCMU", 0)

    # Alice could have chosen G.723, which this side can't do: the offer is rejected as a whole.
    other = second.replace("RTP/AVP 0", "RTP/AVP 4")
    with pytest.raises(NegotiationError) as caught:
        answer_offer(read(other), CAN, BOB.revised(), agreed)
    assert caught.value.status_hint == 488
