"""Tests of `benchmarks.peers`: Janus itself is measured by hand; here it is played."""

from __future__ import annotations

import json
import shutil
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.__main__ import main
from benchmarks.peers import carries, janus
from benchmarks.peers.janus_calls import Caller
from benchmarks.uac import CallState

PATIENCE_S = 10.0


class PlayedJanus:
    """Answers one client as Janus does; the second room can't be made."""

    def __init__(self, path: Path) -> None:
        self.asked: list[dict[str, Any]] = []
        self._server = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._server.bind(str(path))
        self._server.listen()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        client, _ = self._server.accept()
        with client:
            while data := client.recv(65536):
                message = json.loads(data)
                self.asked.append(message)
                answer = self._answer(message) | {"transaction": message["transaction"]}
                client.send(json.dumps(answer).encode())

    def _answer(self, message: dict[str, Any]) -> dict[str, Any]:
        if message["janus"] in ("create", "attach"):
            return {"janus": "success", "data": {"id": 100 + len(self.asked)}}
        if message["janus"] == "detach":
            return {"janus": "success"}
        body = message["body"]
        data: dict[str, Any] = {"audiobridge": "created"}
        if body["room"] == 1001:
            data = {"error": "no more rooms"}
        elif body["request"] == "join":
            data = {"rtp": {"ip": "127.0.0.1", "port": 30000 + body["rtp"]["port"]}}
        return {"janus": "event", "plugindata": {"data": data}}

    def close(self) -> None:
        self._server.close()
        self._thread.join(PATIENCE_S)


@pytest.fixture
def played(tmp_path: Path) -> Iterator[PlayedJanus]:
    made = PlayedJanus(tmp_path / "api")
    yield made
    made.close()


def test_participants_join_when_their_room_is_there(played: PlayedJanus, tmp_path: Path) -> None:
    caller = Caller((str(tmp_path / "api"), 3))
    calls = [caller.add(f"conf-{1000 + n // 3}", 10 + n) for n in range(4)]
    caller.socket.setblocking(True)  # so that reading waits: the generator's does not
    caller.socket.settimeout(PATIENCE_S)
    for call in calls:
        caller.invite(call)
    take(caller, calls, {CallState.UP, CallState.FAILED})
    assert [call.state for call in calls] == [CallState.UP] * 3 + [CallState.FAILED]
    assert [call.remote_rtp for call in calls[:3]] == [("127.0.0.1", 30010 + n) for n in range(3)]
    requests = [each["body"] for each in played.asked if "body" in each]
    rooms = [each for each in requests if each["request"] == "create"]
    assert [each["room"] for each in rooms] == [1000, 1001]
    assert rooms[0]["default_prebuffering"] == 3
    joined = [each for each in requests if each["request"] == "join"]
    assert {each["codec"] for each in joined} == {"pcmu"}
    caller.bye(calls[0])
    take(caller, calls[:1], {CallState.OVER})
    caller.close()


def take(caller: Caller, calls: list[Any], states: set[CallState]) -> None:
    """Read messages one by one until all calls have come to one of these states."""
    while not {call.state for call in calls} <= states:
        caller._take(json.loads(caller.socket.recv(65536)))


def test_without_janus_the_benchmark_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(SystemExit, match="apt install janus"):
        main(["peers", "--json"])
    monkeypatch.undo()
    monkeypatch.setattr(shutil, "which", lambda _: "/usr/bin/janus")
    monkeypatch.setattr(janus, "_PLUGINS", "no/such.so")
    with pytest.raises(SystemExit, match="without its AudioBridge"):
        main(["peers"])


def test_what_is_carried_misses_nothing_that_counts() -> None:
    good = {
        "legs": 3,
        "legs_up": 3,
        "dropped_by_server": 0,
        "packets_missing_pct": 0.09,
        "audio_missing_pct": 0.0,
        "p99_ms": 400.0,
    }
    assert carries(good)
    for worse in ({"legs_up": 2}, {"audio_missing_pct": 0.1}, {"dropped_by_server": 1}):
        assert not carries(good | worse)
