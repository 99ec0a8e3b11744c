"""rtpmix.sdp.stream: one party's audio stream, read out of its description."""

from __future__ import annotations

import pytest

from rtpmix.errors import SdpError
from rtpmix.sdp.description import parse_sdp
from rtpmix.sdp.stream import AudioStream, Direction, read_audio


def audio(
    *lines: str, m: str = "audio 4000 RTP/AVP 0", c: str = "c=IN IP4 192.0.2.9", top: str = ""
) -> AudioStream:
    text = f"v=0\no=- 1 1 IN IP4 192.0.2.9\ns=-\n{c}\nt=0 0\n{top}\nm={m}\n" + "\n".join(lines)
    session = parse_sdp(text.encode())
    return read_audio(session, session.media[0])


def names(stream: AudioStream) -> list[tuple[int, str]]:
    return [(mapping.payload_type, mapping.encoding) for mapping in stream.codecs]


def test_static_numbers_need_no_rtpmap() -> None:
    """RFC 3264 section 5.1, RFC 3551 table 4."""
    assert names(audio(m="audio 4000 RTP/AVP 8 0")) == [(8, "PCMA"), (0, "PCMU")]


def test_a_dynamic_number_can_mean_g711() -> None:
    """RFC 3551 section 6: a dynamic mapping is as good as the static number."""
    stream = audio("a=rtpmap:96 pcmu/8000/1", m="audio 4000 RTP/AVP 96 0")
    assert names(stream) == [(96, "PCMU"), (0, "PCMU")]


@pytest.mark.parametrize(
    "rtpmap",
    [
        "96 PCMU/16000",
        "96 PCMU/8000/2",
        "96 opus/48000",
        "96 G722/16000",
        "96",
        "97 PCMU/8000",  # of a number that the m= line does not list
    ],
)
def test_a_number_that_means_no_codec_of_ours_is_passed_over(rtpmap: str) -> None:
    assert names(audio(f"a=rtpmap:{rtpmap}", m="audio 4000 RTP/AVP 96 8")) == [(8, "PCMA")]


def test_a_static_number_keeps_its_meaning() -> None:
    """RFC 3551 section 6: A-law played as mu-law is loud noise, so a contradiction is unusable."""
    assert names(audio("a=rtpmap:0 PCMA/8000", m="audio 4000 RTP/AVP 0 8")) == [(8, "PCMA")]


def test_numbers_that_read_as_rtcp_are_not_used() -> None:
    """RFC 5761 section 4: 64 to 95 collide with RTCP packet types."""
    stream = audio(
        "a=rtpmap:72 PCMU/8000",
        "a=rtpmap:95 telephone-event/8000",
        m="audio 4000 RTP/AVP 72 95 8",
    )
    assert names(stream) == [(8, "PCMA")]
    assert not stream.events


@pytest.mark.parametrize(
    ("rtpmap", "number"),
    [
        ("101 telephone-event/8000", 101),
        ("101 TELEPHONE-EVENT/8000", 101),
        ("101 telephone-event/48000", None),
    ],
)
def test_events_must_have_the_clock_of_the_audio(rtpmap: str, number: int | None) -> None:
    """RFC 4733 section 2.1: events share the audio's timestamps."""
    stream = audio(f"a=rtpmap:{rtpmap}", m="audio 4000 RTP/AVP 0 101")
    events = stream.events_of(8000)
    assert (events.payload_type if events else None) == number


@pytest.mark.parametrize("direction", Direction)
def test_direction_is_read_from_the_media_first(direction: Direction) -> None:
    """RFC 8866 section 6.7: the session level is only the default."""
    assert audio(f"a={direction.value}").direction is direction
    assert audio(top=f"a={direction.value}").direction is direction
    assert audio("a=recvonly", top=f"a={direction.value}").direction is Direction.RECVONLY


def test_direction_defaults_to_sendrecv() -> None:
    """RFC 3264 section 5.1."""
    assert audio().direction is Direction.SENDRECV


def test_directions_turn_round() -> None:
    for direction in Direction:
        back = direction.reversed
        assert (back.sends, back.receives) == (direction.receives, direction.sends)
        assert back.reversed is direction


def test_a_media_address_hides_the_session_address() -> None:
    """RFC 8866 section 5.7."""
    assert audio().remote == ("192.0.2.9", 4000)
    assert audio("c=IN IP4 192.0.2.33").remote == ("192.0.2.33", 4000)
    assert audio("c=IN IP6 2001:DB8::0:1").remote == ("2001:db8::1", 4000)


@pytest.mark.parametrize("address", ["IN IP4 0.0.0.0", "IN IP6 ::", "IN IP4 phone.example.com"])
def test_nowhere_and_names_are_no_destination(address: str) -> None:
    """RFC 3264 section 8.4; and a host name is never resolved."""
    stream = audio(c=f"c={address}")
    assert stream.remote is None
    assert stream.remote_rtcp is None
    assert stream.is_black_hole is ("example" not in address)


def test_a_stream_without_an_address_is_malformed() -> None:
    """RFC 8866 section 5.7: at least one c= must cover each stream."""
    with pytest.raises(SdpError, match="c=") as caught:
        audio(c="")
    assert caught.value.status_hint == 400


@pytest.mark.parametrize(
    ("attribute", "expected"),
    [
        ("", ("192.0.2.9", 4001)),
        ("a=rtcp:53020", ("192.0.2.9", 53020)),
        ("a=rtcp:53020 IN IP4 192.0.2.9", ("192.0.2.9", 53020)),
        ("a=rtcp:53020 IN IP4 192.0.2.66", None),
        ("a=rtcp:53020 IN IP4 example.com", None),
        ("a=rtcp:0", None),
        ("a=rtcp:65536", None),
        ("a=rtcp:x", None),
        ("a=rtcp", ("192.0.2.9", 4001)),
    ],
)
def test_rtcp_goes_to_the_next_port_unless_told(
    attribute: str, expected: tuple[str, int] | None
) -> None:
    """RFC 3605 section 2.1; reports to a third machine would make us a reflector."""
    assert audio(attribute).remote_rtcp == expected


def test_there_is_no_port_after_the_last() -> None:
    assert audio(m="audio 65535 RTP/AVP 0").remote_rtcp is None


@pytest.mark.parametrize(
    ("lines", "ptime_ms"),
    [
        ((), None),
        (("a=ptime:30",), 30),
        (("a=ptime: 30 ",), 30),
        (("a=ptime:30", "a=maxptime:20"), 20),
        (("a=maxptime:20",), None),
        (("a=ptime:0",), None),
        (("a=ptime:-20",), None),
        (("a=ptime:20.5",), None),
        (("a=ptime:99999999",), None),
        (("a=ptime",), None),
    ],
)
def test_ptime_is_a_wish_in_milliseconds(lines: tuple[str, ...], ptime_ms: int | None) -> None:
    """RFC 8866 sections 6.4 and 6.5; RFC 3264 section 5.1: it MUST be greater than zero."""
    assert audio(*lines).ptime_ms == ptime_ms
