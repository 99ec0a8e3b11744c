"""rtpmix.sdp.negotiation: every pair of offer and answer a G.711 phone can come up with."""

from __future__ import annotations

import random

import pytest

from rtpmix.errors import SdpError, UsageError
from rtpmix.sdp.description import SessionDescription, parse_sdp
from rtpmix.sdp.negotiation import (
    Capabilities,
    Direction,
    LocalMedia,
    Negotiated,
    NegotiationError,
    accept_answer,
    answer_offer,
    make_offer,
    warning_for,
)

CAN = Capabilities()
HERE = LocalMedia(address="192.0.2.1", port=20000, session_id=7, version=1)
SIX = LocalMedia(address="2001:db8::1", port=20000, session_id=7, version=1)
AUDIO = "m=audio 4000 RTP/AVP 0 8 101\na=rtpmap:101 telephone-event/8000"


def sdp(*lines: str, c: str = "IN IP4 198.51.100.9", t: str = "0 0") -> SessionDescription:
    head = ["v=0", "o=- 1 1 IN IP4 198.51.100.9", "s=-", f"c={c}", f"t={t}"]
    return parse_sdp("\n".join([*head, *lines]).encode())


def text(session: SessionDescription) -> list[str]:
    return session.to_bytes().decode().split("\r\n")


def answered(
    *lines: str, can: Capabilities = CAN, here: LocalMedia = HERE, c: str = "IN IP4 198.51.100.9"
) -> Negotiated:
    return answer_offer(sdp(*lines, c=c), can, here)[1]


# ------------------------------------------------------------------------------ first offer


def test_the_first_offer_says_all_we_can_do() -> None:
    """RFC 3264 section 5: order of preference, rtpmap for each, ptime, direction."""
    assert text(make_offer(CAN, HERE)) == [
        "v=0",
        "o=- 7 1 IN IP4 192.0.2.1",
        "s=-",
        "c=IN IP4 192.0.2.1",
        "t=0 0",
        "m=audio 20000 RTP/AVP 0 8 101",
        "a=rtpmap:0 PCMU/8000",
        "a=rtpmap:8 PCMA/8000",
        "a=rtpmap:101 telephone-event/8000",
        "a=fmtp:101 0-15",
        "a=ptime:20",
        "a=sendrecv",
        "",
    ]


def test_capabilities_shape_the_offer() -> None:
    can = Capabilities(codecs=("PCMA",), ptime_ms=30, dtmf=False, rtcp_mux=True)
    lines = text(make_offer(can, SIX.revised(Direction.SENDONLY)))
    assert "o=- 7 2 IN IP6 2001:db8::1" in lines
    assert "c=IN IP6 2001:db8::1" in lines
    assert "m=audio 20000 RTP/AVP 8" in lines
    assert {"a=ptime:30", "a=sendonly", "a=rtcp-mux"} <= set(lines)
    assert not [line for line in lines if "telephone" in line]


# ---------------------------------------------------------------------------------- answers


def test_an_answer_takes_our_first_codec_that_the_caller_knows() -> None:
    """RFC 3264 section 6.1: the payload type numbers are the offerer's."""
    answer, agreed = answer_offer(
        sdp(
            "m=audio 4000 RTP/AVP 9 0 96 8 97",
            "a=rtpmap:96 PCMA/8000",
            "a=rtpmap:97 telephone-event/8000",
        ),
        Capabilities(codecs=("PCMA", "PCMU")),
        HERE,
    )
    assert text(answer)[5:] == [
        "m=audio 20000 RTP/AVP 96 97",
        "a=rtpmap:96 PCMA/8000",
        "a=rtpmap:97 telephone-event/8000",
        "a=fmtp:97 0-15",
        "a=ptime:20",
        "a=sendrecv",
        "",
    ]
    assert agreed.codec == "PCMA"
    assert agreed.payload_type == agreed.receive_payload_type == 96
    assert agreed.dtmf_payload_type == 97
    assert agreed.remote == ("198.51.100.9", 4000)
    assert agreed.remote_rtcp == ("198.51.100.9", 4001)


def test_events_are_answered_only_where_both_want_them() -> None:
    """RFC 4733 section 2.4.1."""
    assert answered(AUDIO).dtmf_payload_type == 101
    assert answered(AUDIO, can=Capabilities(dtmf=False)).dtmf_payload_type is None
    assert answered("m=audio 4000 RTP/AVP 0").dtmf_payload_type is None


def test_the_peers_ptime_is_told_and_ours_is_said() -> None:
    """RFC 3264 section 6.1: the interval need not be the same in each direction."""
    answer, agreed = answer_offer(sdp(AUDIO, "a=ptime:30"), CAN, HERE)
    assert agreed.ptime_ms == 30
    assert "a=ptime:20" in text(answer)
    assert answered(AUDIO).ptime_ms == 20


def test_only_the_first_usable_audio_stream_is_taken() -> None:
    """RFC 3264 section 6: one m= line for each, in order, port 0 for those refused."""
    answer, agreed = answer_offer(
        sdp(
            "m=video 5000 RTP/AVP 31",
            "m=audio 0 RTP/AVP 0",
            "m=audio 4000 RTP/SAVP 0",
            "m=audio 4002 RTP/AVP 9",
            "m=audio 4004 RTP/AVP 8",
            "m=audio 4006 RTP/AVP 0",
            "m=application 9 UDP/DTLS/SCTP webrtc-datachannel",
        ),
        CAN,
        HERE,
    )
    assert [line for line in text(answer) if line.startswith("m=")] == [
        "m=video 0 RTP/AVP 31",
        "m=audio 0 RTP/AVP 0",
        "m=audio 0 RTP/SAVP 0",
        "m=audio 0 RTP/AVP 9",
        "m=audio 20000 RTP/AVP 8",
        "m=audio 0 RTP/AVP 0",
        "m=application 0 UDP/DTLS/SCTP webrtc-datachannel",
    ]
    assert agreed.index == 4
    assert agreed.remote == ("198.51.100.9", 4004)


def test_the_answer_repeats_the_time_of_the_offer() -> None:
    """RFC 3264 section 6: the time of the session cannot be negotiated."""
    answer, _ = answer_offer(sdp(AUDIO, t="3034423619 3042462419"), CAN, HERE)
    assert "t=3034423619 3042462419" in text(answer)


@pytest.mark.parametrize(
    ("lines", "c", "code"),
    [
        (["m=audio 4000 RTP/AVP 9 3"], "IN IP4 198.51.100.9", 305),
        (["m=audio 4000 RTP/AVP 101", "a=rtpmap:101 telephone-event/8000"], None, 305),
        (["m=audio 4000 RTP/SAVP 0"], None, 302),
        (["m=audio 4000 UDP/TLS/RTP/SAVPF 0"], None, 302),
        (["m=video 4000 RTP/AVP 31"], None, 304),
        (["m=audio 0 RTP/AVP 0"], None, 304),
        ([], None, 304),
        (["m=audio 4000 RTP/AVP 0"], "IN IP6 2001:db8::9", 301),
        (["m=audio 4000 RTP/AVP 0"], "IN IP4 233.252.0.1/127", 330),
        (["m=audio 4000 RTP/AVP 0"], "IN IP4 255.255.255.255", 330),
    ],
)
def test_nothing_in_common_is_a_488_with_its_reason(
    lines: list[str], c: str | None, code: int
) -> None:
    """RFC 3261 sections 21.4.26 and 20.43."""
    with pytest.raises(NegotiationError) as caught:
        answer_offer(sdp(*lines, c=c or "IN IP4 198.51.100.9"), CAN, HERE)
    assert caught.value.status_hint == 488
    assert str(caught.value).startswith(str(code))
    assert warning_for(caught.value).startswith(f'{code} rtpmix "')


def test_any_refused_description_has_a_warning() -> None:
    """RFC 3261 section 20.43: 399 for what has no code of its own, in a quoted string."""
    assert warning_for(SdpError('an "odd" \\ line')) == '399 rtpmix "an odd  line"'


def test_an_ipv6_stream_is_answered_over_ipv6() -> None:
    agreed = answered(AUDIO, here=SIX, c="IN IP6 2001:db8::9")
    assert agreed.remote == ("2001:db8::9", 4000)


def test_a_host_name_is_accepted_and_never_resolved() -> None:
    agreed = answered(AUDIO, c="IN IP4 phone.example.com")
    assert agreed.remote is None
    assert agreed.remote_rtcp is None


@pytest.mark.parametrize("ours", [False, True])
@pytest.mark.parametrize("theirs", [False, True])
def test_rtcp_mux_needs_both(ours: bool, theirs: bool) -> None:
    """RFC 5761 section 5.1.1."""
    answer, agreed = answer_offer(
        sdp(AUDIO, *(["a=rtcp-mux"] if theirs else [])), Capabilities(rtcp_mux=ours), HERE
    )
    both = ours and theirs
    assert agreed.rtcp_mux is both
    assert ("a=rtcp-mux" in text(answer)) is both
    assert agreed.remote_rtcp == ("198.51.100.9", 4000 if both else 4001)


# ------------------------------------------------------------------------------------- hold


@pytest.mark.parametrize("wanted", Direction)
@pytest.mark.parametrize("offered", Direction)
def test_directions_meet_whichever_way_they_are_offered(
    wanted: Direction, offered: Direction
) -> None:
    """RFC 3264 section 6.1: the answer never gives or takes more than was offered."""
    here = HERE.revised(wanted)
    answer, agreed = answer_offer(sdp(AUDIO, f"a={offered.value}"), CAN, here)
    assert agreed.direction.sends == (wanted.sends and offered.receives)
    assert agreed.direction.receives == (wanted.receives and offered.sends)
    assert f"a={agreed.direction.value}" in text(answer)
    assert agreed.held is not agreed.direction.sends

    peer = accept_answer(sdp(AUDIO, f"a={offered.value}"), answer, CAN)
    assert peer.direction is agreed.direction.reversed


@pytest.mark.parametrize("offered", Direction)
def test_address_zero_holds_whatever_the_attribute(offered: Direction) -> None:
    """RFC 3264 section 8.4; RFC 6337 section 5.4: a= in the answer follows a= in the offer."""
    answer, agreed = answer_offer(sdp(AUDIO, f"a={offered.value}", c="IN IP4 0.0.0.0"), CAN, HERE)
    assert agreed.remote is None
    assert agreed.held
    assert agreed.direction.receives == offered.sends
    assert f"a={offered.reversed.value}" in text(answer)
    assert "c=IN IP4 192.0.2.1" in text(answer)


def test_who_was_held_can_hold_back_and_both_resume() -> None:
    """RFC 6337 section 5.3: each side keeps its own wish; nobody gets stuck on hold."""
    _, held = answer_offer(sdp(AUDIO, "a=sendonly"), CAN, HERE)
    holding = HERE.revised(Direction.SENDONLY)
    offer = make_offer(CAN, holding, held)
    assert "a=sendonly" in text(offer)
    both = accept_answer(offer, sdp(AUDIO, "a=inactive"), CAN)
    assert both.direction is Direction.INACTIVE
    _, one = answer_offer(sdp(AUDIO, "a=sendrecv"), CAN, holding, both)
    assert one.direction is Direction.SENDONLY
    resumed = make_offer(CAN, holding.revised(Direction.SENDRECV), one)
    assert accept_answer(resumed, sdp(AUDIO), CAN).direction is Direction.SENDRECV


# --------------------------------------------------------------------------- later offers


def test_a_later_offer_keeps_every_stream_in_its_place() -> None:
    """RFC 3264 section 8: the number of m= lines never decreases; 8.3.2: numbers keep meaning."""
    _, current = answer_offer(
        sdp(
            "m=video 5000 RTP/AVP 31",
            "m=audio 4000 RTP/AVP 96 97 101",
            "a=rtpmap:96 PCMA/8000",
            "a=rtpmap:97 telephone-event/8000",
            "a=rtpmap:101 opus/48000/2",
        ),
        CAN,
        HERE,
    )
    lines = text(make_offer(CAN, HERE.revised(), current))
    assert "o=- 7 2 IN IP4 192.0.2.1" in lines
    assert [line for line in lines if line.startswith("m=")] == [
        "m=video 0 RTP/AVP 31",
        "m=audio 20000 RTP/AVP 96 0 97",
    ]


def test_a_later_offer_gives_events_a_number_that_never_meant_anything_else() -> None:
    """RFC 3264 section 8.3.2."""
    _, current = answer_offer(
        sdp("m=audio 4000 RTP/AVP 0 101 96", "a=rtpmap:101 opus/48000/2"), CAN, HERE
    )
    assert "m=audio 20000 RTP/AVP 0 8 97" in text(make_offer(CAN, HERE.revised(), current))


def test_a_re_offer_can_switch_the_audio_off_and_on() -> None:
    """RFC 3264 sections 8.2 and 8.1: port 0 is answered with port 0; the slot can come back."""
    _, current = answer_offer(sdp(AUDIO), CAN, HERE)
    answer, off = answer_offer(sdp("m=audio 0 RTP/AVP 0"), CAN, HERE.revised(), current)
    assert "m=audio 0 RTP/AVP 0" in text(answer)
    assert off.remote is off.remote_rtcp is None
    assert off.direction is Direction.INACTIVE
    assert off.codec == current.codec

    offer = make_offer(CAN, HERE.revised(), off)
    assert [line for line in text(offer) if line.startswith("m=")] == [
        "m=audio 20000 RTP/AVP 0 8 101"
    ]
    assert accept_answer(offer, sdp(AUDIO), CAN).direction is Direction.SENDRECV


def test_a_re_offer_without_audio_gets_its_audio_in_a_new_slot() -> None:
    """RFC 3264 section 8.1: new streams stand below the existing ones."""
    _, current = answer_offer(sdp(AUDIO), CAN, HERE)
    _, off = answer_offer(sdp("m=video 0 RTP/AVP 31"), CAN, HERE, current)
    lines = text(make_offer(CAN, HERE, off))
    assert [line for line in lines if line.startswith("m=")] == [
        "m=video 0 RTP/AVP 31",
        "m=audio 20000 RTP/AVP 0 8 101",
    ]


def test_a_re_offer_we_cannot_serve_is_refused_and_not_taken_for_off() -> None:
    """RFC 3261 section 14.2: 488, and the session stands."""
    _, current = answer_offer(sdp(AUDIO), CAN, HERE)
    with pytest.raises(NegotiationError, match="305"):
        answer_offer(sdp("m=audio 4000 RTP/AVP 9"), CAN, HERE, current)


# ----------------------------------------------------------------------- reading an answer


def test_an_answer_may_use_other_numbers_than_the_offer() -> None:
    """RFC 3264 section 5.1: send with the answer's numbers, receive with the offer's."""
    offer = make_offer(CAN, HERE)
    agreed = accept_answer(
        offer,
        sdp(
            "m=audio 4000 RTP/AVP 98 99",
            "a=rtpmap:98 PCMA/8000",
            "a=rtpmap:99 telephone-event/8000",
            "a=ptime:10",
        ),
        CAN,
    )
    assert (agreed.codec, agreed.payload_type, agreed.receive_payload_type) == ("PCMA", 98, 8)
    assert (agreed.dtmf_payload_type, agreed.receive_dtmf_payload_type) == (99, 101)
    assert agreed.ptime_ms == 10


def test_the_first_codec_of_an_answer_that_was_offered_counts() -> None:
    """RFC 3264 section 7: the most preferred format of the answer; it may list others too."""
    offer = make_offer(Capabilities(codecs=("PCMA",)), HERE)
    assert accept_answer(offer, sdp("m=audio 4000 RTP/AVP 0 9 8"), CAN).codec == "PCMA"


def test_events_that_were_not_offered_are_not_agreed() -> None:
    can = Capabilities(dtmf=False)
    assert accept_answer(make_offer(can, HERE), sdp(AUDIO), can).dtmf_payload_type is None


@pytest.mark.parametrize(
    ("lines", "error"),
    [
        (["m=audio 0 RTP/AVP 0"], "304"),
        (["m=audio 4000 RTP/AVP 9"], "305"),
        (["m=audio 4000 RTP/SAVP 0"], "302"),
        (["m=video 4000 RTP/AVP 0"], "m= lines"),
        ([], "m= lines"),
    ],
)
def test_an_answer_that_does_not_fit_is_refused(lines: list[str], error: str) -> None:
    """RFC 3264 section 6."""
    with pytest.raises(SdpError, match=error) as caught:
        accept_answer(make_offer(CAN, HERE), sdp(*lines), CAN)
    assert caught.value.status_hint == 488


@pytest.mark.parametrize("ours", [False, True])
def test_an_answer_cannot_switch_on_rtcp_mux(ours: bool) -> None:
    """RFC 5761 section 5.1.1: only what was offered."""
    offer = make_offer(Capabilities(rtcp_mux=ours), HERE)
    assert accept_answer(offer, sdp(AUDIO, "a=rtcp-mux"), CAN).rtcp_mux is ours


# -------------------------------------------------------------------------- callers' errors


@pytest.mark.parametrize(
    "mistake",
    [
        lambda: Capabilities(codecs=()),
        lambda: Capabilities(codecs=("G729",)),
        lambda: Capabilities(ptime_ms=0),
        lambda: LocalMedia(address="pbx.example.com", port=4000, session_id=1, version=1),
        lambda: LocalMedia(address="192.0.2.1", port=0, session_id=1, version=1),
        lambda: accept_answer(sdp("m=video 4000 RTP/AVP 31"), sdp(AUDIO), CAN),
    ],
)
def test_mistakes_of_the_caller_name_the_remedy(mistake: object) -> None:
    with pytest.raises(UsageError, match=r"must|make_offer"):
        mistake()  # type: ignore[operator]


# ------------------------------------------------------------------------------- properties


def test_two_of_us_agree_with_each_other_through_random_sessions() -> None:
    """Both ends hold the same view after every offer and answer, seeded."""
    chance = random.Random(3264)
    there = LocalMedia(address="192.0.2.2", port=30000, session_id=8, version=1)
    for _ in range(300):
        can = [
            Capabilities(
                codecs=chance.choice([("PCMU", "PCMA"), ("PCMA", "PCMU"), ("PCMU",)]),
                dtmf=chance.random() < 0.7,
                rtcp_mux=chance.random() < 0.5,
            )
            for _ in range(2)
        ]
        ends = [HERE, there]
        views: list[Negotiated | None] = [None, None]
        for _ in range(chance.randrange(1, 8)):
            asker = chance.randrange(2)
            other = 1 - asker
            for end in (0, 1):
                ends[end] = ends[end].revised(chance.choice(list(Direction)))
            offer = parse_sdp(make_offer(can[asker], ends[asker], views[asker]).to_bytes())
            answer, theirs = answer_offer(offer, can[other], ends[other], views[other])
            ours = accept_answer(offer, parse_sdp(answer.to_bytes()), can[asker])
            views[asker], views[other] = ours, theirs
            assert ours.codec == theirs.codec
            assert ours.payload_type == theirs.receive_payload_type
            assert ours.dtmf_payload_type == theirs.receive_dtmf_payload_type
            assert ours.direction is theirs.direction.reversed
            assert ours.rtcp_mux is theirs.rtcp_mux
            assert ours.remote == (ends[other].address, ends[other].port)
            assert theirs.remote == (ends[asker].address, ends[asker].port)


# ---------------------------------------------------------------------------- comfort noise

NOISY = "m=audio 4000 RTP/AVP 0 8 13 101\na=rtpmap:101 telephone-event/8000"


def test_comfort_noise_is_agreed_to_where_it_is_offered() -> None:
    """RFC 3389 section 5.1: payload type 13 on the m= line, with or without an rtpmap."""
    answer, agreed = answer_offer(sdp(NOISY), CAN, HERE)
    assert agreed.comfort_noise
    assert "m=audio 20000 RTP/AVP 0 13 101" in text(answer)
    assert "a=rtpmap:13 CN/8000" in text(answer)
    assert answered(NOISY + "\na=rtpmap:13 CN/8000").comfort_noise


def test_comfort_noise_is_left_out_where_it_is_not_offered_or_not_understood() -> None:
    answer, agreed = answer_offer(sdp(AUDIO), CAN, HERE)
    assert not agreed.comfort_noise
    assert "CN" not in answer.to_bytes().decode()
    assert not answered(NOISY, can=Capabilities(comfort_noise=False)).comfort_noise
    assert not answered(NOISY + "\na=rtpmap:13 L16/8000").comfort_noise


@pytest.mark.parametrize(("formats", "agreed"), [("0 13", True), ("0 101", False)])
def test_offered_comfort_noise_is_agreed_when_the_answer_takes_it(
    formats: str, agreed: bool
) -> None:
    can = Capabilities(offers_comfort_noise=True)
    offer = make_offer(can, HERE)
    assert "m=audio 20000 RTP/AVP 0 8 13 101" in text(offer)
    answer = sdp(f"m=audio 4000 RTP/AVP {formats}\na=rtpmap:101 telephone-event/8000")
    found = accept_answer(offer, answer, can)
    assert found.comfort_noise is agreed
    assert not accept_answer(make_offer(CAN, HERE), answer, CAN).comfort_noise
