"""Offer and answer over several codecs: order, numbers, parameters, clocks of events."""

from __future__ import annotations

from rtpmix.sdp.description import SessionDescription, parse_sdp
from rtpmix.sdp.negotiation import (
    Capabilities,
    LocalMedia,
    accept_answer,
    answer_offer,
    make_offer,
)

HERE = LocalMedia(address="192.0.2.1", port=20000, session_id=7, version=1)
THERE = LocalMedia(address="192.0.2.2", port=30000, session_id=9, version=1)
CAN = Capabilities(codecs=("opus", "G722", "L16/16000", "L16/48000", "PCMU"))


def sdp(*lines: str) -> SessionDescription:
    head = ["v=0", "o=- 1 1 IN IP4 192.0.2.2", "s=-", "c=IN IP4 192.0.2.2", "t=0 0"]
    return parse_sdp("\n".join([*head, *lines]).encode())


def text(session: SessionDescription) -> list[str]:
    return session.to_bytes().decode().split("\r\n")[5:-1]


def test_an_offer_names_codecs_in_our_order_with_their_parameters() -> None:
    """RFC 7587 section 7, RFC 3551 section 4.5.2 (G.722's clock), RFC 4733 section 2.1."""
    assert text(make_offer(CAN, HERE)) == [
        "m=audio 20000 RTP/AVP 96 9 97 98 0 99 101 100",
        "a=rtpmap:96 opus/48000/2",
        "a=fmtp:96 useinbandfec=1;stereo=0",
        "a=rtpmap:9 G722/8000",
        "a=rtpmap:97 L16/16000",
        "a=rtpmap:98 L16/48000",
        "a=rtpmap:0 PCMU/8000",
        "a=rtpmap:99 telephone-event/48000",
        "a=fmtp:99 0-15",
        "a=rtpmap:101 telephone-event/8000",
        "a=fmtp:101 0-15",
        "a=rtpmap:100 telephone-event/16000",
        "a=fmtp:100 0-15",
        "a=ptime:20",
        "a=sendrecv",
    ]


def test_an_answer_keeps_the_callers_numbers_and_takes_events_of_the_codecs_clock() -> None:
    answer, agreed = answer_offer(
        sdp(
            "m=audio 4000 RTP/AVP 0 111 110 126",
            "a=rtpmap:111 opus/48000/2",
            "a=fmtp:111 minptime=10;useinbandfec=1;maxaveragebitrate=24000",
            "a=rtpmap:110 telephone-event/48000",
            "a=rtpmap:126 telephone-event/8000",
        ),
        CAN,
        HERE,
    )
    assert text(answer)[:5] == [
        "m=audio 20000 RTP/AVP 111 110",
        "a=rtpmap:111 opus/48000/2",
        "a=fmtp:111 useinbandfec=1;stereo=0",
        "a=rtpmap:110 telephone-event/48000",
        "a=fmtp:110 0-15",
    ]
    assert (agreed.codec, agreed.payload_type, agreed.receive_payload_type) == ("opus", 111, 111)
    assert (agreed.dtmf_payload_type, agreed.dtmf_clock_hz) == (110, 48000)
    assert agreed.fmtp == "minptime=10;useinbandfec=1;maxaveragebitrate=24000"


def test_events_of_8000_hz_are_taken_beside_opus_where_there_are_no_others() -> None:
    """Against RFC 4733 section 2.1, as phones do; better than no digits."""
    lines = ["m=audio 4000 RTP/AVP 111 101", "a=rtpmap:111 opus/48000/2"]
    agreed = answer_offer(sdp(*lines, "a=rtpmap:101 telephone-event/8000"), CAN, HERE)[1]
    assert (agreed.dtmf_payload_type, agreed.dtmf_clock_hz) == (101, 8000)


def test_each_side_sends_with_the_numbers_of_the_other() -> None:
    """RFC 3264 section 5.1: the answer may have numbers of its own."""
    offer = make_offer(CAN, HERE)
    answer = sdp(
        "m=audio 4000 RTP/AVP 120 121",
        "a=rtpmap:120 opus/48000/2",
        "a=rtpmap:121 telephone-event/48000",
    )
    agreed = accept_answer(offer, answer, CAN)
    assert (agreed.payload_type, agreed.receive_payload_type) == (120, 96)
    assert (agreed.dtmf_payload_type, agreed.receive_dtmf_payload_type) == (121, 99)


def test_two_of_us_agree_on_the_answerers_order() -> None:
    other = Capabilities(codecs=("PCMU", "G722"))
    answer, theirs = answer_offer(make_offer(CAN, HERE), other, THERE)
    ours = accept_answer(make_offer(CAN, HERE), answer, CAN)
    assert theirs.codec == ours.codec == "PCMU"


def test_numbers_keep_their_meaning_through_offers_of_both_sides() -> None:
    """RFC 3264 section 8.3.2: what 96 meant in the peer's offer it means in ours."""
    first = sdp(
        "m=audio 4000 RTP/AVP 96 97",
        "a=rtpmap:96 L16/16000",
        "a=rtpmap:97 speex/16000",
    )
    agreed = answer_offer(first, CAN, HERE)[1]
    assert agreed.codec == "L16/16000"
    again = text(make_offer(CAN, HERE.revised(), agreed))
    assert "a=rtpmap:96 L16/16000" in again
    assert not [line for line in again if line.startswith("a=rtpmap:97 ")]
    assert again[0].startswith("m=audio 20000 RTP/AVP 96 ")


def test_l16_at_48_khz_asks_for_packets_that_fit_a_frame() -> None:
    """20 ms are 1,920 octets."""
    answer = answer_offer(make_offer(CAN, THERE), Capabilities(codecs=("L16/48000",)), HERE)[0]
    assert "a=ptime:10" in text(answer)


def test_comfort_noise_goes_with_a_clock_of_8000_hz_only() -> None:
    """RFC 3389 section 5.1: its static number has that clock."""
    lines = ["m=audio 4000 RTP/AVP 111 9 13", "a=rtpmap:111 opus/48000/2"]
    assert not answer_offer(sdp(*lines), CAN, HERE)[1].comfort_noise
    assert answer_offer(sdp(*lines), Capabilities(codecs=("G722",)), HERE)[1].comfort_noise
