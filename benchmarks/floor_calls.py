"""Asks `benchmarks.floor_server` for legs, as a `Caller` of the load generator."""

from __future__ import annotations

import socket
from time import monotonic

from benchmarks.uac import Address, CallState, Change, LoadCall
from rtpmix.rtp.srtp import MasterKey

RETRANSMIT_S = 0.5


class Caller:
    """All legs of one generator, over one UDP socket."""

    def __init__(self, server: Address) -> None:
        self.server = server
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.socket.connect(server)
        self.socket.setblocking(False)
        self.calls: list[LoadCall] = []
        self.retransmissions = 0

    def add(
        self,
        user: str,
        rtp_port: int,
        direction: bytes = b"sendrecv",
        key: MasterKey | None = None,
    ) -> LoadCall:
        """Return a new leg, not asked for."""
        if key is not None:
            raise SystemExit("floor: its media is in the clear")
        call = LoadCall(len(self.calls), user.encode(), rtp_port, direction)
        self.calls.append(call)
        return call

    def invite(self, call: LoadCall) -> None:
        """Ask for a leg."""
        call.state, call.began = CallState.INVITING, monotonic()
        call.resend_at = call.began + RETRANSMIT_S
        self._ask(call, call.rtp_port)

    def bye(self, call: LoadCall) -> None:
        """End a leg; nobody answers that."""
        call.state = CallState.OVER
        self._ask(call, 0)

    def receive(self) -> list[Change]:
        """Read everything that has come; return what it changed."""
        changes: list[Change] = []
        while True:
            try:
                index, port = map(int, self.socket.recv(64).split())
            except BlockingIOError:
                return changes
            call = self.calls[index]
            if call.state is CallState.INVITING:
                call.state, call.answered = CallState.UP, monotonic()
                call.remote_rtp = (self.server[0], port)
                changes.append(Change(call, call.state))

    def resend(self) -> list[Change]:
        """Repeat what got no answer."""
        now = monotonic()
        for call in self.calls:
            if call.state is CallState.INVITING and now >= call.resend_at:
                self.retransmissions += 1
                call.resend_at = now + RETRANSMIT_S
                self._ask(call, call.rtp_port)
        return []

    def _ask(self, call: LoadCall, port: int) -> None:
        self.socket.send(b"%d %d" % (call.index, port))
