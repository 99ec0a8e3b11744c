"""A SIP caller for load: fixed texts, no state machines, as fast as Python can format.

It is not the library's own SIP, so that what is measured is the server alone.
"""

from __future__ import annotations

import os
import re
import socket
from dataclasses import dataclass
from enum import Enum
from time import monotonic
from typing import NamedTuple

from rtpmix.rtp.srtp import MasterKey

Address = tuple[str, int]

RETRANSMIT_S = 0.5
GIVE_UP_S = 15.0

_STATUS = re.compile(rb"SIP/2\.0 (\d{3})")
_CALL_ID = re.compile(rb"\r\n(?:Call-ID|i) *: *\d+-(\d+)-", re.IGNORECASE)
_METHOD = re.compile(rb"\r\nCSeq *: *\d+ +([A-Z]+)", re.IGNORECASE)
_TO = re.compile(rb"\r\n(?:To|t) *:([^\r]*)", re.IGNORECASE)
_CONTACT = re.compile(rb"\r\n(?:Contact|m) *:[^<\r]*<([^>]*)>", re.IGNORECASE)
_CONNECTION = re.compile(rb"\r\nc=IN IP4 ([\d.]+)")
_AUDIO = re.compile(rb"\r\nm=audio (\d+)")
_CRYPTO = re.compile(rb"\r\na=crypto:\d+ (\S+) (inline:\S+)")
_COPIED = re.compile(rb"\r\n((?:Via|v|From|f|To|t|Call-ID|i|CSeq) *:[^\r]*)", re.IGNORECASE)


class CallState(Enum):
    """How far a call is."""

    IDLE = "idle"
    INVITING = "inviting"
    UP = "up"
    LEAVING = "leaving"
    OVER = "over"
    FAILED = "failed"


@dataclass(slots=True)
class LoadCall:
    """One call of the caller."""

    index: int
    target: bytes
    rtp_port: int
    direction: bytes = b"sendrecv"
    key: MasterKey | None = None  # offered, where the call is to be encrypted
    remote_key: MasterKey | None = None
    state: CallState = CallState.IDLE
    remote_rtp: Address | None = None
    to: bytes = b""
    contact: bytes = b""
    began: float = 0.0
    answered: float = 0.0
    resend_at: float = 0.0
    interval: float = RETRANSMIT_S
    provisional: bool = False
    status: int = 0
    dropped: bool = False  # the server said BYE


class Change(NamedTuple):
    """What a datagram did to a call."""

    call: LoadCall
    state: CallState


class Caller:
    """All calls of one generator, over one UDP socket."""

    def __init__(self, server: Address) -> None:
        self.server = server
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self.socket.bind(("127.0.0.1", 0))
        self.socket.connect(server)
        self.socket.setblocking(False)
        self.calls: list[LoadCall] = []
        self._under_way: dict[int, LoadCall] = {}  # those that may have to say something again
        self.retransmissions = 0
        host, port = self.socket.getsockname()
        self._here = f"{host}:{port}".encode()
        self._host = host.encode()
        self._serial = os.getpid()

    def add(
        self,
        user: str,
        rtp_port: int,
        direction: bytes = b"sendrecv",
        key: MasterKey | None = None,
    ) -> LoadCall:
        """Return a new call, not begun; with a key its media is encrypted (RFC 4568)."""
        target = f"sip:{user}@{self.server[0]}:{self.server[1]}".encode()
        call = LoadCall(len(self.calls), target, rtp_port, direction, key)
        self.calls.append(call)
        return call

    def invite(self, call: LoadCall) -> None:
        """Begin a call."""
        call.state = CallState.INVITING
        self._under_way[call.index] = call
        call.began = monotonic()
        call.resend_at = call.began + call.interval
        self._send(self._invite_text(call))

    def bye(self, call: LoadCall) -> None:
        """End a call that is up."""
        call.state = CallState.LEAVING
        self._under_way[call.index] = call
        call.interval = RETRANSMIT_S
        call.resend_at = monotonic() + call.interval
        self._send(self._request(b"BYE", call, 2))

    def receive(self) -> list[Change]:
        """Read everything that has come; return what it changed."""
        changes: list[Change] = []
        while True:
            try:
                data = self.socket.recv(8192)
            except BlockingIOError:
                return changes
            except ConnectionRefusedError:
                continue
            change = self._take(data)
            if change is not None:
                changes.append(change)

    def resend(self) -> list[Change]:
        """Repeat what got no answer; return the calls that are given up."""
        now = monotonic()
        given_up: list[Change] = []
        for call in list(self._under_way.values()):
            if call.state not in (CallState.INVITING, CallState.LEAVING):
                del self._under_way[call.index]
                continue
            if now < call.resend_at:
                continue
            if now - call.began > GIVE_UP_S and call.state is CallState.INVITING:
                call.state, call.status = CallState.FAILED, 408
                given_up.append(Change(call, call.state))
                continue
            call.interval = min(2 * call.interval, 4.0)
            call.resend_at = now + call.interval
            if call.state is CallState.INVITING and call.provisional:
                continue
            self.retransmissions += 1
            inviting = call.state is CallState.INVITING
            self._send(self._invite_text(call) if inviting else self._request(b"BYE", call, 2))
        return given_up

    def close(self) -> None:
        """Close the socket."""
        self.socket.close()

    # ------------------------------------------------------------------------------- inside

    def _take(self, data: bytes) -> Change | None:
        found = _CALL_ID.search(data)
        method = _METHOD.search(data)
        if found is None or method is None or int(found[1]) >= len(self.calls):
            return None
        call = self.calls[int(found[1])]
        status = _STATUS.match(data)
        if status is None:
            return self._take_request(data, call)
        code = int(status[1])
        if method[1] == b"INVITE":
            return self._take_invite_response(data, call, code)
        if method[1] == b"BYE" and code >= 200 and call.state is CallState.LEAVING:
            call.state = CallState.OVER
            return Change(call, call.state)
        return None

    def _take_invite_response(self, data: bytes, call: LoadCall, code: int) -> Change | None:
        if code < 200:
            call.provisional = True
            return None
        to, contact = _TO.search(data), _CONTACT.search(data)
        call.to = to[1].strip() if to else b""
        if code >= 300:
            self._send(self._request(b"ACK", call, 1, branch=b"i"))
            if call.state is not CallState.INVITING:
                return None
            call.state, call.status = CallState.FAILED, code
            return Change(call, call.state)
        call.contact = contact[1] if contact else call.target
        first = call.state is CallState.INVITING
        self._send(self._request(b"ACK", call, 1))
        if not first:
            return None
        host, port = _CONNECTION.search(data), _AUDIO.search(data)
        if host and port:
            call.remote_rtp = (host[1].decode(), int(port[1]))
        crypto = _CRYPTO.search(data)
        if crypto:
            call.remote_key = MasterKey.parse_inline(crypto[1].decode(), crypto[2].decode())
        call.state, call.answered = CallState.UP, monotonic()
        return Change(call, call.state)

    def _take_request(self, data: bytes, call: LoadCall) -> Change | None:
        if data.startswith(b"ACK"):
            return None
        lines = b"\r\n".join(_COPIED.findall(data))
        self._send(b"SIP/2.0 200 OK\r\n%s\r\nContent-Length: 0\r\n\r\n" % lines)
        if data.startswith(b"BYE") and call.state in (CallState.UP, CallState.LEAVING):
            call.dropped = call.state is CallState.UP
            call.state = CallState.OVER
            return Change(call, call.state)
        return None

    def _send(self, data: bytes) -> None:
        try:
            self.socket.send(data)
        except OSError:
            return  # an ICMP error of an earlier datagram: what is missing is sent again

    def _invite_text(self, call: LoadCall) -> bytes:
        body = (
            b"v=0\r\no=load %d 1 IN IP4 %s\r\ns=-\r\nc=IN IP4 %s\r\nt=0 0\r\n"
            b"m=audio %d RTP/%s 0 101\r\na=rtpmap:0 PCMU/8000\r\n"
            b"a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=ptime:20\r\n"
            b"a=%s\r\n"
            % (
                call.index + 1,
                self._host,
                self._host,
                call.rtp_port,
                b"AVP" if call.key is None else b"SAVP",
                call.direction,
            )
        )
        if call.key is not None:
            body += f"a=crypto:1 {call.key.suite.name} {call.key.inline()}\r\n".encode()
        call.to = b"<%s>" % call.target
        return self._request(b"INVITE", call, 1, branch=b"i", body=body)

    def _request(
        self, method: bytes, call: LoadCall, cseq: int, *, branch: bytes = b"", body: bytes = b""
    ) -> bytes:
        kind = b"Content-Type: application/sdp\r\n" if body else b""
        return (
            b"%s %s SIP/2.0\r\nVia: SIP/2.0/UDP %s;branch=z9hG4bK-%d-%d-%s;rport\r\n"
            b"Max-Forwards: 70\r\nFrom: <sip:load%d@%s>;tag=f%d\r\nTo: %s\r\n"
            b"Call-ID: %d-%d-%s\r\nCSeq: %d %s\r\nContact: <sip:load@%s>\r\n%s"
            b"Content-Length: %d\r\n\r\n%s"
            % (
                method,
                call.contact or call.target,
                self._here,
                self._serial,
                call.index,
                branch or method,
                call.index,
                self._here,
                call.index,
                call.to,
                self._serial,
                call.index,
                self._here,
                cseq,
                method,
                self._here,
                kind,
                len(body),
                body,
            )
        )
