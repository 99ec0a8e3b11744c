"""Microseconds of processor time to parse a 1,200-byte INVITE and read what a UAS reads of it.

No two messages are alike: each has a branch, a tag and a Call-ID of its own, and they come from as
many phones as `PHONES` says, each calling again and again; ``of_strangers`` is the figure where no
phone ever comes again, so that nothing remembered helps.

The floor is the least that any parser in Python must do: decode the head and cut it into names
and values, with nothing checked or understood.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from itertools import count
from statistics import median
from time import thread_time

from benchmarks.result import Result
from rtpmix.sip.message import Request, parse_message

PHONES = 500

_SDP = b"".join(
    line + b"\r\n"
    for line in (
        b"v=0",
        b"o=alice 2890844526 2890844526 IN IP4 192.0.2.101",
        b"s=-",
        b"c=IN IP4 192.0.2.101",
        b"t=0 0",
        b"m=audio 49172 RTP/AVP 0 8 9 101",
        b"a=rtpmap:0 PCMU/8000",
        b"a=rtpmap:8 PCMA/8000",
        b"a=rtpmap:9 G722/8000",
        b"a=rtpmap:101 telephone-event/8000",
        b"a=fmtp:101 0-16",
        b"a=ptime:20",
        b"a=sendrecv",
    )
)
_TEMPLATE = (
    b"INVITE sip:bob@biloxi.example.com;transport=udp SIP/2.0\r\n"
    b"Via: SIP/2.0/UDP proxy.atlanta.example.com:5060;branch=z9hG4bK74bf9a1b%(call)04x;rport\r\n"
    b"Via: SIP/2.0/UDP client.atlanta.example.com:5060;branch=z9hG4bK7%(call)04x"
    b";received=192.0.2.101\r\n"
    b"Record-Route: <sip:proxy.atlanta.example.com;lr>\r\n"
    b"Max-Forwards: 69\r\n"
    b'From: "Alice Liddell" <sip:al%(phone)03x@atlanta.example.com>;tag=9fxce%(call)05x\r\n'
    b"To: Bob <sip:bob@biloxi.example.com>\r\n"
    b"Call-ID: 3848276298220%(call)06x@atlanta.example.com\r\n"
    b"CSeq: 31862 INVITE\r\n"
    b'Contact: "Alice" <sip:al%(phone)03x@client.atlanta.example.com:5060;transport=udp>'
    b";expires=3600\r\n"
    b"User-Agent: ExamplePhone/4.2.1 (build 20240115)\r\n"
    b"Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, UPDATE, PRACK, REFER, NOTIFY\r\n"
    b"Supported: replaces, timer, 100rel, path\r\n"
    b"Session-Expires: 1800;refresher=uac\r\n"
    b"Date: Thu, 21 Feb 2002 13:02:03 GMT\r\n"
    b"P-Asserted-Identity: <sip:alice@atlanta.example.com>\r\n"
    b"Content-Type: application/sdp\r\n"
    b"Content-Length: %(length)d\r\n\r\n"
)


def invite(call: int, phone: int) -> bytes:
    """Return the INVITE of one call from one phone."""
    return _TEMPLATE % {b"call": call, b"phone": phone, b"length": len(_SDP)} + _SDP


INVITE = invite(0, 0)


def read_as_uas(data: bytes) -> tuple[object, ...]:
    """Parse a request and read what a UAS needs before it rings."""
    request = parse_message(data)
    assert isinstance(request, Request)
    via = request.via
    return (
        request.request_uri,
        via.branch,
        via.host,
        request.from_.tag,
        request.to.tag,
        request.call_id,
        request.cseq.number,
        request.max_forwards,
        request.contacts[0].uri,
        request.content_type,
        request.require,
        request.body,
    )


def cut_only(data: bytes) -> list[tuple[str, str, str]]:
    """Cut a message into lines, names and values."""
    head, _, _ = data.partition(b"\r\n\r\n")
    return [line.partition(":") for line in head.decode().split("\r\n")]


def run(arguments: list[str]) -> Result:
    """Time all three, run by run in turn, so that a slow moment of the machine meets each."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks sip_parse")
    parser.add_argument("--runs", type=int, default=9)
    parser.add_argument("--messages", type=int, default=5000, help="in each run")
    options = parser.parse_args(arguments)
    strangers = count(PHONES)
    runs, floors, unseen = [], [], []
    for _ in range(options.runs):
        known = [invite(call, call % PHONES) for call in range(options.messages)]
        runs.append(_microseconds(read_as_uas, known))
        floors.append(_microseconds(cut_only, known))
        unseen.append(
            _microseconds(read_as_uas, [invite(call, next(strangers)) for call in range(1000)])
        )
    return Result(
        benchmark="sip_parse",
        unit="us per INVITE",
        runs=tuple(runs),
        floor=median(floors),
        details={
            "of_strangers": round(median(unseen), 2),
            "message_bytes": len(INVITE),
            "messages_per_run": options.messages,
        },
    )


def _microseconds(work: Callable[[bytes], object], messages: list[bytes]) -> float:
    began = thread_time()
    for message in messages:
        work(message)
    return (thread_time() - began) / len(messages) * 1e6
