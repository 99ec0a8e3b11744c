"""The examples of RFC 8866."""

from __future__ import annotations

from rtpmix.sdp.description import Attribute, Connection, Origin, parse_sdp
from rtpmix.sdp.stream import Direction, read_audio

SECTION_5 = """\
v=0
o=jdoe 3724394400 3724394405 IN IP4 198.51.100.1
s=Call to John Smith
i=SDP Offer #1
u=http://www.jdoe.example.com/home.html
e=Jane Doe <jane@jdoe.example.com>
p=+1 617 555-6011
c=IN IP4 198.51.100.1
t=0 0
m=audio 49170 RTP/AVP 0
m=audio 49180 RTP/AVP 0
m=video 51372 RTP/AVP 99
c=IN IP6 2001:db8::2
a=rtpmap:99 h263-1998/90000
""".replace("\n", "\r\n")

SECTION_6_7 = """\
v=0
o=jdoe 3724395000 3724395001 IN IP6 2001:db8::1
s=-
c=IN IP6 2001:db8::1
t=0 0
a=inactive
m=audio 49170 RTP/AVP 0
a=sendrecv
m=audio 49180 RTP/AVP 0
m=video 51372 RTP/AVP 99
a=rtpmap:99 h263-1998/90000
""".replace("\n", "\r\n")


def test_section_5_the_example_is_read_whole_and_written_back() -> None:
    """RFC 8866 section 5."""
    session = parse_sdp(SECTION_5.encode())
    assert session.origin == Origin(3724394400, 3724394405, "198.51.100.1", "jdoe")
    assert session.name == "Call to John Smith"
    assert dict(session.optional)["p"] == "+1 617 555-6011"
    assert [str(media) for media in session.media] == [
        "audio 49170 RTP/AVP 0",
        "audio 49180 RTP/AVP 0",
        "video 51372 RTP/AVP 99",
    ]
    assert session.media[2].connection == Connection("2001:db8::2")
    assert session.unknown_lines == ()
    assert session.to_bytes() == SECTION_5.encode()


def test_section_5_7_layered_multicast_counts_as_its_base() -> None:
    """RFC 8866 section 5.7: /ttl and /count are not part of the address."""
    text = SECTION_5.replace("c=IN IP4 198.51.100.1", "c=IN IP4 233.252.0.1/127/3")
    session = parse_sdp(text.encode())
    assert session.connection == Connection("233.252.0.1")


def test_section_6_7_the_media_level_overrides_the_session_level() -> None:
    """RFC 8866 section 6.7: the first stream is sendrecv, the others are inactive."""
    session = parse_sdp(SECTION_6_7.encode())
    directions = [read_audio(session, media).direction for media in session.media]
    assert directions == [Direction.SENDRECV, Direction.INACTIVE, Direction.INACTIVE]
    assert session.to_bytes() == SECTION_6_7.encode()


def test_section_6_attributes_without_meaning_here_pass_through() -> None:
    """RFC 8866 section 5.13: an attribute that is not understood MUST be ignored."""
    extra = "a=orient:portrait\r\na=T38FaxMaxBuffer:400\r\n"
    session = parse_sdp((SECTION_6_7 + extra).encode())
    assert session.media[2].attributes[-2:] == (
        Attribute("orient", "portrait"),
        Attribute("T38FaxMaxBuffer", "400"),
    )
