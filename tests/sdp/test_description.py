"""rtpmix.sdp.description: what is read, what is refused, what is written."""

from __future__ import annotations

import random
import time
import tracemalloc

import pytest

from rtpmix.errors import SdpError, UsageError
from rtpmix.sdp import description
from rtpmix.sdp.description import (
    Attribute,
    Connection,
    MediaDescription,
    Origin,
    RtpMap,
    SessionDescription,
    parse_sdp,
)
from rtpmix.sdp.texts import ip_literal

PHONE = (
    b"v=0\r\no=- 3724394400 3724394405 IN IP4 198.51.100.1\r\ns=Call\r\n"
    b"c=IN IP4 198.51.100.1\r\nb=AS:64\r\nt=0 0\r\na=tool:phone 1\r\n"
    b"m=audio 49170 RTP/AVP 0 8 101\r\na=rtpmap:0 PCMU/8000\r\n"
    b"a=rtpmap:101 telephone-event/8000\r\n"
    b"a=fmtp:101 0-15\r\na=sendrecv\r\n"
    b"m=video 51372 RTP/AVP 99\r\nc=IN IP6 2001:db8::2\r\na=rtpmap:99 h263-1998/90000\r\n"
)
HEAD = b"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\n"


def test_a_phones_description_is_read_field_by_field() -> None:
    """RFC 8866 section 5."""
    session = parse_sdp(PHONE)
    assert session.origin == Origin(3724394400, 3724394405, "198.51.100.1")
    assert session.name == "Call"
    assert session.connection == Connection("198.51.100.1")
    assert session.times == (("t", "0 0"),)
    assert session.attributes == (Attribute("tool", "phone 1"),)
    audio, video = session.media
    assert (audio.kind, audio.port, audio.protocol) == ("audio", 49170, "RTP/AVP")
    assert audio.payload_types() == (0, 8, 101)
    assert audio.rtpmaps()[101] == RtpMap(101, "TELEPHONE-EVENT", 8000)
    assert audio.attribute("sendrecv") == Attribute("sendrecv")
    assert audio.connection is None
    assert video.connection == Connection("2001:db8::2")


def test_what_was_read_is_written_back_unchanged() -> None:
    """RFC 8866 section 9: lines keep their order."""
    assert parse_sdp(PHONE).to_bytes() == PHONE


def test_octets_that_are_not_utf8_survive() -> None:
    """RFC 8866 section 6.10: another a=charset leaves other octets in s= and i=."""
    data = HEAD.replace(b"s=-", b"s=caf\xe9") + b"t=0 0\r\na=charset:ISO-8859-1\r\n"
    assert parse_sdp(data).to_bytes() == data


@pytest.mark.parametrize(
    "line",
    [
        b"y=1",
        b"a=x-unknown:a:b c",
        b"A=upper",
        b"a=:no-name",
        b"k=clear:secret",
        b"b=",
        b"i=",
        b"a=",
    ],
)
def test_a_line_we_have_no_use_for_costs_nothing(line: bytes) -> None:
    """Unknown lines and attributes are kept out of the way, at both levels."""
    media = b"m=audio 4000 RTP/AVP 0\r\na=ptime:20\r\n"
    plain = parse_sdp(HEAD + b"c=IN IP4 192.0.2.1\r\nt=0 0\r\n" + media)
    odd = parse_sdp(
        HEAD + b"c=IN IP4 192.0.2.1\r\nt=0 0\r\n" + line + b"\r\n" + media + line + b"\r\n"
    )
    assert odd.connection == plain.connection
    assert odd.media[0].formats == plain.media[0].formats
    assert odd.media[0].attribute("ptime") == plain.media[0].attribute("ptime")


def test_an_unknown_line_is_never_sent_on() -> None:
    """RFC 8866 section 5: the letter means nothing to us, so we do not repeat it."""
    session = parse_sdp(HEAD + b"t=0 0\r\ny=1\r\n")
    assert session.unknown_lines == (("y", "1"),)
    assert b"y=" not in session.to_bytes()


@pytest.mark.parametrize(
    "data",
    [
        PHONE.replace(b"\r\n", b"\n"),
        PHONE + b"\r\n\r\n",
        PHONE.removesuffix(b"\r\n"),
    ],
    ids=["bare-lf", "blank-lines-at-the-end", "no-line-end-at-the-end"],
)
def test_sloppy_line_ends_are_read(data: bytes) -> None:
    """RFC 8866 section 9: parsers SHOULD accept a single LF."""
    assert parse_sdp(data) == parse_sdp(PHONE)


def test_a_missing_session_name_and_time_are_filled_in() -> None:
    """Both mean nothing to a call (RFC 3264 section 5); phones leave them out."""
    session = parse_sdp(b"v=0\no=- 1 1 IN IP4 192.0.2.1\n")
    assert b"s=-\r\nt=0 0\r\n" in session.to_bytes()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\r\n",
        b"hello",
        b"v=1\r\n",
        b"o=- 1 1 IN IP4 192.0.2.1\r\nv=0\r\n",
        b"v=0\r\ns=-\r\n",
        b"v=0\r\no=- 1 1 IN IP4\r\n",
        b"v=0\r\no=- one 1 IN IP4 192.0.2.1\r\n",
        b"v=0\r\no=- \xd9\xa1 1 IN IP4 192.0.2.1\r\n",
        b"v=0\r\no=- -1 1 IN IP4 192.0.2.1\r\n",
        b"v=0\r\no=- " + b"9" * 65 + b" 1 IN IP4 192.0.2.1\r\n",
        HEAD + b"o=- 1 2 IN IP4 192.0.2.1\r\n",
        HEAD + b"s=again\r\n",
        HEAD + b"c=IN IP4\r\n",
        HEAD + b"c=IN IP5 192.0.2.1\r\n",
        HEAD + b"c=IN IP4 192.0.2.1 extra\r\n",
        HEAD + b"m=audio\r\n",
        HEAD + b"m=audio 4000 RTP/AVP\r\n",
        HEAD + b"m=audio -4 RTP/AVP 0\r\n",
        HEAD + b"m=audio 65536 RTP/AVP 0\r\n",
        HEAD + b"m=audio 4000/0 RTP/AVP 0\r\n",
        HEAD + b"m=audio 4000/ RTP/AVP 0\r\n",
        HEAD + b"m=audio 4e3 RTP/AVP 0\r\n",
        HEAD + b"m=audio 4000 RTP/AVP 0\r\no=- 1 2 IN IP4 192.0.2.1\r\n",
        HEAD + b"no equals sign\r\n",
        HEAD + b"=x\r\n",
        HEAD + b"i=a\0b\r\n",
        HEAD + b"i=a\rb\r\n",
    ],
)
def test_a_description_that_could_mislead_is_refused(data: bytes) -> None:
    """One clear error with the status that answers it, whatever the fault."""
    with pytest.raises(SdpError, match="the session description") as caught:
        parse_sdp(data)
    assert caught.value.status_hint == 400


@pytest.mark.parametrize(
    ("data", "limit"),
    [
        (HEAD + b"a=x\r\n" * 20_000, "bytes"),
        (HEAD + b"a=x\n" * 1_100, "lines"),
        (HEAD + b"a=" + b"x" * 5_000, "line"),
        (HEAD + b"m=audio 4000 RTP/AVP 0\r\n" * 33, "m="),
        (HEAD + b"m=audio 4000 RTP/AVP" + b" 0" * 129 + b"\r\n", "formats"),
    ],
)
def test_limits_hold(data: bytes, limit: str) -> None:
    with pytest.raises(SdpError, match=limit):
        parse_sdp(data)


def bomb(lines: int) -> bytes:
    """Return a description with as much to read as so many lines can hold."""
    head = HEAD + b"m=audio 4000 RTP/AVP" + b" 0" * 128 + b"\r\n"
    return head + b"a=rtpmap:0 PCMU/8000\r\n" * lines


def cpu_s(data: bytes) -> float:
    """Return the least CPU time of a few readings."""
    took = []
    for _ in range(7):
        start = time.thread_time()
        parse_sdp(data).media[0].rtpmaps()
        took.append(time.thread_time() - start)
    return min(took)


def test_the_worst_description_within_the_limits_is_cheap() -> None:
    """A bomb costs what its length says, 20 MB at most; 5 ms is a matter of the machine."""
    most = description.MAX_LINES - 6
    assert len(bomb(most)) < description.MAX_BYTES
    tracemalloc.start()
    parse_sdp(bomb(most))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20_000_000
    assert cpu_s(bomb(most)) < 6 * cpu_s(bomb(most // 4))  # 4 is linear, 16 would be quadratic


@pytest.mark.parametrize(
    ("text", "mapping"),
    [
        ("0 PCMU/8000", RtpMap(0, "PCMU", 8000)),
        ("96 pcma/8000/1", RtpMap(96, "PCMA", 8000)),
        ("97 L16/44100/2", RtpMap(97, "L16", 44100, 2)),
        ("128 PCMU/8000", None),
        ("96 PCMU", None),
        ("96", None),
        ("", None),
        ("x PCMU/8000", None),
        ("96 PCMU/8000/1/1", None),
        ("96 PCMU/-8000", None),
        ("96 /8000", None),
    ],
)
def test_rtpmap_lines_map_or_are_passed_over(text: str, mapping: RtpMap | None) -> None:
    """RFC 8866 section 6.6."""
    media = MediaDescription(
        "audio", 4000, "RTP/AVP", ("0",), attributes=(Attribute("rtpmap", text),)
    )
    assert list(media.rtpmaps().values()) == ([mapping] if mapping else [])


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:DB8:0::1", "2001:db8::1"),
        ("fe80::1%eth0", None),
        ("pbx.example.com", None),
        ("192.0.2.256", None),
        ("192.0.02.1", None),
        ("1", None),
        ("", None),
    ],
)
def test_only_a_whole_literal_is_an_address(address: str, expected: str | None) -> None:
    """A name, or half an address, is text: it is never resolved and never guessed at."""
    found = ip_literal(address)
    assert (str(found) if found else None) == expected


def test_ttl_of_a_multicast_address_is_cut() -> None:
    """RFC 8866 section 5.7."""
    session = parse_sdp(HEAD + b"c=IN IP4 233.252.0.1/127/3\r\nt=0 0\r\n")
    assert session.connection == Connection("233.252.0.1")


def test_a_value_with_a_line_break_is_never_written() -> None:
    """A forged line would move the media."""
    for evil in ("x\r\nc=IN IP4 192.0.2.66", "x\nm=", "x\0"):
        session = SessionDescription(Origin(1, 1, "192.0.2.1"), name=evil)
        with pytest.raises(UsageError, match="line break"):
            session.to_bytes()


def test_mutated_descriptions_raise_nothing_but_sdp_error() -> None:
    """Seeded mutations of a real description: every outcome is a value or an `SdpError`."""
    chance = random.Random(8866)
    outcomes = {"read": 0, "refused": 0}
    for _ in range(4_000):
        data = bytearray(PHONE)
        for _ in range(chance.randrange(1, 6)):
            at = chance.randrange(len(data))
            match chance.randrange(4):
                case 0:
                    data[at] = chance.randrange(256)
                case 1:
                    del data[at : at + chance.randrange(1, 30)]
                case 2:
                    data[at:at] = data[: chance.randrange(1, 60)]
                case _:
                    data[at:at] = bytes(chance.choices(b"=: /0\r\n\xff", k=3))
        try:
            session = parse_sdp(bytes(data))
        except SdpError:
            outcomes["refused"] += 1
        else:
            outcomes["read"] += 1
            assert parse_sdp(session.to_bytes()).media == tuple(
                # What was set aside is not written, all else is.
                type(media)(
                    media.kind,
                    media.port,
                    media.protocol,
                    media.formats,
                    media.connection,
                    media.attributes,
                    media.port_count,
                    tuple(sorted(media.optional, key=lambda line: "ibk".index(line[0]))),
                )
                for media in session.media
            )
    assert min(outcomes.values()) > 400, outcomes
