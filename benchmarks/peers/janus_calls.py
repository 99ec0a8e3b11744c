"""Participants of Janus's AudioBridge over plain RTP, in the place of `benchmarks.uac`.

Janus's own protocol, JSON over a Unix socket: one session, one handle for each participant.
"""

from __future__ import annotations

import json
import socket
from collections import deque
from time import monotonic
from typing import Any

from benchmarks.uac import Address, CallState, Change, LoadCall
from rtpmix.rtp.srtp import MasterKey

PLUGIN = "janus.plugin.audiobridge"
KEEP_ALIVE_S = 20.0  # Janus ends a session that is silent for 60
PATIENCE_S = 10.0


class Caller:
    """All participants of one generator.

    Parameters
    ----------
    server
        The path of Janus's socket, and how many packets of each participant it is to keep back.
    """

    def __init__(self, server: Address) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.settimeout(PATIENCE_S)
        self.socket.connect(server[0])
        self._prebuffering = server[1]
        self.calls: list[LoadCall] = []
        self.retransmissions = 0
        self._handles: dict[int, int] = {}
        self._rooms: dict[int, list[LoadCall] | None] = {}  # who waits for it; None: it is there
        self._out: deque[bytes] = deque()
        self._say({"janus": "create", "transaction": "session"})
        self._session = int(json.loads(self.socket.recv(65536))["data"]["id"])
        self.socket.setblocking(False)
        self._said_at = monotonic()

    def add(
        self,
        user: str,
        rtp_port: int,
        direction: bytes = b"sendrecv",
        key: MasterKey | None = None,
    ) -> LoadCall:
        """Return a new participant of the room ``conf-NUMBER``, who has not joined."""
        if key is not None:
            raise SystemExit("peers: media with Janus is in the clear")
        call = LoadCall(len(self.calls), user.encode(), rtp_port, direction)
        self.calls.append(call)
        return call

    def invite(self, call: LoadCall) -> None:
        """Begin to join."""
        call.state, call.began = CallState.INVITING, monotonic()
        self._ask("attach", f"attach-{call.index}", plugin=PLUGIN)

    def bye(self, call: LoadCall) -> None:
        """Leave."""
        call.state = CallState.LEAVING
        self._ask("detach", f"detach-{call.index}", handle=self._handles[call.index])

    def receive(self) -> list[Change]:
        """Read everything that has come; return what it changed."""
        changes: list[Change] = []
        self._flush()
        while True:
            try:
                data = self.socket.recv(65536)
            except BlockingIOError:
                return changes
            if not data:
                raise SystemExit("peers: Janus has closed its socket")
            change = self._take(json.loads(data))
            if change is not None:
                changes.append(change)

    def resend(self) -> list[Change]:
        """Send what waits, and a sign of life."""
        self._flush()
        if monotonic() - self._said_at > KEEP_ALIVE_S:
            self._ask("keepalive", "alive")
        return []

    def close(self) -> None:
        """Close the socket."""
        self.socket.close()

    # ------------------------------------------------------------------------------- inside

    def _ask(self, what: str, transaction: str, handle: int = 0, **more: Any) -> None:
        message = {"janus": what, "transaction": transaction, "session_id": self._session, **more}
        self._say(message | ({"handle_id": handle} if handle else {}))

    def _say(self, message: dict[str, Any]) -> None:
        self._said_at = monotonic()
        self._out.append(json.dumps(message).encode())
        self._flush()

    def _flush(self) -> None:
        while self._out:
            try:
                self.socket.send(self._out[0])
            except BlockingIOError:
                return
            self._out.popleft()

    def _take(self, message: dict[str, Any]) -> Change | None:
        kind, _, number = str(message.get("transaction", "")).partition("-")
        if not number or message["janus"] == "ack":
            return None  # news of others in the room
        call = self.calls[int(number)]
        data = message.get("plugindata", {}).get("data", {})
        if message["janus"] == "error" or "error" in data:
            call.state, call.status = CallState.FAILED, 500
            return Change(call, call.state)
        if kind == "attach":
            self._handles[call.index] = int(message["data"]["id"])
            self._enter(call)
        elif kind == "create":
            room = _room(call)
            waiting, self._rooms[room] = self._rooms[room] or [], None
            for each in waiting:
                self._join(each)
        elif kind == "join":
            there = data["rtp"]
            call.remote_rtp = there["ip"], int(there["port"])
            call.state, call.answered = CallState.UP, monotonic()
            return Change(call, call.state)
        elif kind == "detach":
            call.state = CallState.OVER
            return Change(call, call.state)
        return None

    def _enter(self, call: LoadCall) -> None:
        room = _room(call)
        if room not in self._rooms:
            self._rooms[room] = [call]
            facts = {
                "room": room,
                "sampling_rate": 8000,
                "allow_rtp_participants": True,
                "default_prebuffering": self._prebuffering,
            }
            self._message("create", call, facts)
        elif (waiting := self._rooms[room]) is not None:
            waiting.append(call)
        else:
            self._join(call)

    def _join(self, call: LoadCall) -> None:
        here = {"ip": "127.0.0.1", "port": call.rtp_port, "payload_type": 0}
        self._message("join", call, {"room": _room(call), "codec": "pcmu", "rtp": here})

    def _message(self, request: str, call: LoadCall, facts: dict[str, Any]) -> None:
        body = {"request": request, **facts}
        name = f"{request}-{call.index}"
        self._ask("message", name, handle=self._handles[call.index], body=body)


def _room(call: LoadCall) -> int:
    return int(call.target.rpartition(b"-")[2])
