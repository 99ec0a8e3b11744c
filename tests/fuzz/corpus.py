"""Good inputs to spoil: SIP messages, session descriptions, RTP and RTCP packets."""

from __future__ import annotations

import struct

OFFER = (
    b"v=0\r\no=alice 2890844526 2890844526 IN IP4 192.0.2.1\r\ns=-\r\n"
    b"c=IN IP4 192.0.2.1\r\nb=AS:64\r\nt=0 0\r\na=group:BUNDLE 0 1\r\n"
    b"m=audio 49170 RTP/AVP 0 8 18 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000/1\r\n"
    b"a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\na=ptime:20\r\na=maxptime:150\r\n"
    b"a=rtcp:49171 IN IP4 192.0.2.1\r\na=rtcp-mux\r\na=sendrecv\r\n"
    b"m=video 51372 RTP/AVP 31\r\na=rtpmap:31 H261/90000\r\na=inactive\r\n"
)
HOLD = (
    b"v=0\r\no=- 1 2 IN IP6 2001:db8::1\r\ns= \r\nt=0 0\r\n"
    b"m=audio 4000 RTP/AVP 8\r\nc=IN IP6 2001:db8::1\r\na=sendonly\r\n"
)
OLD_HOLD = b"v=0\no=- 1 3 IN IP4 0.0.0.0\ns=-\nc=IN IP4 0.0.0.0\nt=0 0\nm=audio 4000 RTP/AVP 0\n"
DESCRIPTIONS = (OFFER, HOLD, OLD_HOLD)

VIA = b"Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK%s;rport\r\n"


def _request(method: bytes, branch: bytes, more: bytes = b"", body: bytes = b"") -> bytes:
    content = b"Content-Type: application/sdp\r\n" if body else b""
    return (
        method
        + b" sip:bob@192.0.2.2:5060;transport=udp SIP/2.0\r\n"
        + VIA % branch
        + b"Max-Forwards: 70\r\n"
        + b'From: "Alice \\"A\\" " <sip:alice@192.0.2.1>;tag=9fxced76sl\r\n'
        + b"To: Bob <sip:bob@192.0.2.2>\r\n"
        + b"Call-ID: 3848276298220188511@192.0.2.1\r\n"
        + b"CSeq: 314159 "
        + method
        + b"\r\nContact: <sip:alice@192.0.2.1;transport=udp>;expires=3600;q=0.7\r\n"
        + more
        + content
        + b"Content-Length: %d\r\n\r\n" % len(body)
        + body
    )


INVITE = _request(
    b"INVITE",
    b"nashds8",
    b"Allow: INVITE, ACK, CANCEL, OPTIONS, BYE\r\nSupported: replaces, timer\r\n"
    b"Record-Route: <sip:p1.example.com;lr>, <sip:p2.example.com;lr>\r\n"
    b"Accept: application/sdp;level=1, application/x-private\r\nSubject: a\r\n folded line\r\n"
    b"Date: Sat, 13 Nov 2010 23:29:00 GMT\r\nAllow-Events: talk\r\nExpires: 120\r\n",
    OFFER,
)
REGISTER = _request(
    b"REGISTER",
    b"reg1",
    b'Authorization: Digest username="alice", realm="rtpmix", nonce="abc", uri="sip:rtpmix", '
    b'response="6629fae49393a05397450978507c4ef1", algorithm=SHA-256, cnonce="0a4f113b", '
    b"qop=auth, nc=00000001\r\nContact: *\r\nExpires: 0\r\n",
)
COMPACT = (
    b"INVITE sip:bob@[2001:db8::2] SIP/2.0\r\nv: SIP/2.0/TCP [2001:db8::1];branch=z9hG4bKc\r\n"
    b"f: sip:alice@example.com;tag=1\r\nt: sips:bob@example.com\r\ni: a\r\nCSeq: 1 INVITE\r\n"
    b"m: <sip:alice@[2001:db8::1]>\r\nk: 100rel\r\nc: application/sdp\r\nl: %d\r\n\r\n"
) % len(HOLD) + HOLD


def _response(status: bytes, method: bytes, body: bytes = b"") -> bytes:
    return (
        b"SIP/2.0 "
        + status
        + b"\r\n"
        + VIA % b"resp"
        + b"From: <sip:alice@192.0.2.1>;tag=a\r\nTo: <sip:bob@192.0.2.2>;tag=b\r\n"
        + b"Call-ID: xyz\r\nCSeq: 1 "
        + method
        + b"\r\nContact: <sip:bob@192.0.2.2>\r\nRetry-After: 18 (in a meeting);duration=3600\r\n"
        + b'Reason: SIP;cause=200;text="Call completed elsewhere"\r\n'
        + b"Content-Length: %d\r\n\r\n" % len(body)
        + body
    )


MESSAGES = (
    INVITE,
    REGISTER,
    COMPACT,
    *(_request(m, b"m" + m) for m in (b"ACK", b"BYE", b"CANCEL", b"OPTIONS", b"INFO", b"REFER")),
    _response(b"180 Ringing", b"INVITE"),
    _response(b"200 OK", b"INVITE", OFFER),
    _response(b"486 Busy Here", b"INVITE"),
    _response(b"401 Unauthorized", b"REGISTER"),
)
SIP_WORDS = (
    b"\r\n\r\n", b"\r\n ", b"\r\n\t", b"Via: ", b"v: SIP/2.0/UDP a;branch=z9hG4bK", b"To: ",
    b"From: <sip:x@y>;tag=", b"Contact: *\r\n", b"Content-Length: ", b"l: 99999999999\r\n",
    b"CSeq: 4294967296 INVITE\r\n", b"Max-Forwards: 0\r\n", b"SIP/2.0", b"SIP/7.0", b"sips:",
    b"tel:+1", b"sip:", b";lr", b";tag=", b";maddr=", b";received=", b"%00", b"%zz", b"<", b'"',
    b"\\", b"\xc3\x28", b"\xf0\x9f\x98\x80", b"Require: 100rel\r\n", b"INVITE ", b"ACK ",
    b"BYE ", b"CANCEL ", b"Record-Route: ", b"Digest ", b"multipart/mixed;boundary=x",
)  # fmt: skip
SDP_WORDS = (
    b"v=0\r\n", b"o=- ", b"s=\r\n", b"t=0 0\r\n", b"m=audio ", b"m=image 0 udptl t38\r\n",
    b"c=IN IP4 ",
    b"c=IN IP6 ::\r\n", b"c=IN IP4 host.example.com\r\n", b"a=rtpmap:", b"a=fmtp:101 0-15\r\n",
    b"a=ptime:", b"a=rtcp:1\r\n", b"a=inactive\r\n", b"a=recvonly\r\n", b"RTP/SAVPF", b"\r", b"\n",
    b"IN IP4 224.2.1.1/127/3", b"/", b"=", b"a=", b"b=CT:", b"k=clear:x\r\n", b"z=0 -1h\r\n",
)  # fmt: skip


def rtp(payload_type: int = 0, sequence: int = 1, timestamp: int = 160, ssrc: int = 7) -> bytes:
    """Return an RTP packet with 20 ms of G.711 silence."""
    return struct.pack(">BBHII", 0x80, payload_type, sequence, timestamp, ssrc) + b"\xff" * 160


RTP_PACKETS = (
    rtp(),
    rtp(8, 65535, 2**32 - 160),
    rtp(0x80 | 101, 9)[:12] + bytes((5, 0x8A, 0x03, 0x20)),  # the end of a digit
    bytes((0x92,)) + rtp()[1:12] + b"\0\0\0\1\0\0\0\2" + b"\xbe\xde\0\1\x10\xff\0\0" + b"\xd5" * 80,
    bytes((0xA0,)) + rtp()[1:] + b"\0\0\0\4",
)
SENDER_REPORT = struct.pack(">BBHIIIIII", 0x81, 200, 12, 7, 3_900_000_000, 0, 160, 1, 160)
RTCP_PACKETS = (
    SENDER_REPORT + bytes(24) + b"\x81\xca\0\3\0\0\0\7\1\5a@b.c\0",
    struct.pack(">BBHI", 0x80, 201, 1, 7) + b"\x81\xcb\0\3\0\0\0\7\5later\0\0",
    struct.pack(">BBHI", 0x80, 201, 1, 7) + b"\x81\xcd\0\3\0\0\0\7\0\0\0\7\0\1\0\0",
)
