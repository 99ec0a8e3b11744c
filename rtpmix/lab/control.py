"""The control socket: one JSON object a line each way, on a Unix socket that only its owner opens.

Whoever can open the socket runs the lab: it lies in a directory of mode 0700, and is itself 0600.
A request is ``{"do": NAME, ...}``; an answer ``{"ok": true, ...}`` or
``{"ok": false, "error": TEXT, "status": NUMBER}``.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import stat
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from rtpmix import (
    CallFailed,
    CapacityError,
    Fate,
    Mode,
    RtpmixError,
    SupervisionRefused,
    UsageError,
)

from .lab import Lab

LINE_LIMIT = 8192  # bytes of one request
ANSWER_LIMIT = 1 << 24  # bytes of one answer that a client reads
CLIENTS = 32  # at a time
IDLE_S = 30.0  # a client that says nothing for longer is closed
ASK_S = 90.0  # a supervisor's phone may ring for a while

Answer = dict[str, Any]


def runtime_directory() -> Path:
    """Return where the socket lies: under the user's runtime directory, else in /tmp."""
    base = os.environ.get("XDG_RUNTIME_DIR")
    return Path(base) / "rtpmix" if base else Path(f"/tmp/rtpmix-{os.getuid()}")


def default_path() -> Path:
    """Return the socket of a lab that was not told otherwise."""
    return runtime_directory() / "lab.sock"


def prepare(path: Path) -> None:
    """Make the socket's directory, and see that nobody else can put anything there.

    Raises
    ------
    UsageError
        It belongs to somebody else, others can write to it, or it can't be made.
    """
    folder = path.parent
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.lstat()
    except OSError as error:
        raise UsageError(f"can't make {folder} for the control socket: {error.strerror}") from error
    ours = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()
    if not ours or stat.S_IMODE(found.st_mode) & 0o077:
        raise UsageError(
            f"{folder} for the control socket must be a directory of yours with mode 0700"
        )


class ControlServer:
    """Answers on the control socket of one lab."""

    def __init__(self, lab: Lab, path: Path) -> None:
        self._lab = lab
        self._path = path
        self._clients: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        """Begin to listen.

        Raises
        ------
        UsageError
            Another lab listens there, or the place is not ours alone.
        """
        prepare(self._path)
        if self._path.exists() and _answers(self._path):
            raise UsageError(f"another lab is running: {self._path} answers; stop it first")
        before = os.umask(0o177)  # the socket must not be open to others even for a moment
        try:
            self._path.unlink(missing_ok=True)
            self._server = await asyncio.start_unix_server(
                self._connected, self._path, limit=LINE_LIMIT
            )
        except OSError as error:
            raise UsageError(f"can't open {self._path}: {error.strerror or error}") from error
        finally:
            os.umask(before)

    async def close(self) -> None:
        """Stop listening, and let every client go."""
        if self._server is None:
            return
        self._server.close()
        for task in tuple(self._clients):
            task.cancel()
        await asyncio.gather(*self._clients, return_exceptions=True)
        self._path.unlink(missing_ok=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._clients.add(task)
        try:
            if len(self._clients) > CLIENTS:
                _write(writer, _refusal("too many control connections", 503))
            else:
                await self._serve(reader, writer)
        except (ConnectionError, TimeoutError):
            pass  # the client went away, or fell asleep
        finally:
            self._clients.discard(task)
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            async with asyncio.timeout(IDLE_S):
                try:
                    line = await reader.readline()
                except ValueError:  # asyncio's word for a line over the limit
                    _write(writer, _refusal(f"a request is at most {LINE_LIMIT} bytes", 413))
                    return
            if not line:
                return
            _write(writer, await self.answer(line))
            await writer.drain()

    async def answer(self, line: bytes) -> Answer:
        """Do what one line asks for; whatever it says, an answer comes back."""
        try:
            request = json.loads(line)
            if not isinstance(request, dict):
                raise UsageError("a request is a JSON object")
            command = COMMANDS.get(str(request.get("do")))
            if command is None:
                raise UsageError(f"unknown request; known are {', '.join(COMMANDS)}")
            return {"ok": True, **await command(self._lab, request)}
        except (ValueError, RecursionError) as error:  # UsageError is a ValueError
            text = str(error) if isinstance(error, UsageError) else "a request is one line of JSON"
            return _refusal(text, 400)
        except SupervisionRefused as error:
            return _refusal(f"refused: {error}", error.status)
        except CallFailed as error:
            return _refusal(str(error), error.status)
        except CapacityError as error:
            return _refusal(str(error), 503)


def _refusal(text: str, status: int) -> Answer:
    return {"ok": False, "error": text, "status": status}


def _write(writer: asyncio.StreamWriter, answer: Answer) -> None:
    writer.write(json.dumps(answer).encode() + b"\n")


# -------------------------------------------------------------------------- the commands


def _text(request: Mapping[str, Any], name: str) -> str:
    value = request.get(name)
    if not isinstance(value, str) or not value:
        raise UsageError(f"the request needs {name!r}, a text")
    return value


def _mode(request: Mapping[str, Any]) -> Mode:
    name = _text(request, "mode")
    try:
        return Mode(name)
    except ValueError:
        raise UsageError(
            f"unknown mode {name!r}: {', '.join(mode.value for mode in Mode)}"
        ) from None


async def _calls(lab: Lab, request: Mapping[str, Any]) -> Answer:
    return {"calls": [view.to_json() for view in lab.calls.views()]}


async def _supervise(lab: Lab, request: Mapping[str, Any]) -> Answer:
    mode = _mode(request)
    made = await lab.supervise(_text(request, "call"), _text(request, "as"), mode)
    return {"supervision": made.id, "mode": made.mode.value if made.mode else None}


async def _set_mode(lab: Lab, request: Mapping[str, Any]) -> Answer:
    supervision = lab.calls.supervision(_text(request, "supervision"))
    await supervision.set_mode(_mode(request))
    return {"mode": supervision.mode.value if supervision.mode else None}


async def _takeover(lab: Lab, request: Mapping[str, Any]) -> Answer:
    supervision = lab.calls.supervision(_text(request, "supervision"))
    name, overlap_s = request.get("fate", Fate.LEAVE.value), request.get("overlap_s", 0)
    try:
        fate = Fate(name)
    except ValueError:
        raise UsageError(f"unknown fate {name!r}: leave, listen or consult") from None
    if isinstance(overlap_s, bool) or not isinstance(overlap_s, int | float):
        raise UsageError("overlap_s is a number of seconds")
    await supervision.takeover(fate=fate, overlap_s=float(overlap_s))
    return {"mode": supervision.mode.value if supervision.mode else None}


async def _hand_back(lab: Lab, request: Mapping[str, Any]) -> Answer:
    await lab.calls.supervision(_text(request, "supervision")).hand_back()
    return {}


async def _hang_up(lab: Lab, request: Mapping[str, Any]) -> Answer:
    await lab.hang_up(_text(request, "call"))
    return {}


COMMANDS: Mapping[str, Callable[[Lab, Mapping[str, Any]], Awaitable[Answer]]] = {
    "calls": _calls,
    "supervise": _supervise,
    "mode": _set_mode,
    "takeover": _takeover,
    "hand-back": _hand_back,
    "hangup": _hang_up,
}


# ---------------------------------------------------------------------------- the client


class RefusedError(RtpmixError):
    """The lab said no."""


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(1.0)
        try:
            client.connect(str(path))
        except OSError:
            return False
    return True


def ask(path: Path, request: Mapping[str, Any]) -> Answer:
    """Send one request to a running lab and return its answer.

    Raises
    ------
    UsageError
        No lab listens there.
    RefusedError
        It did not do what was asked; says why.
    """
    try:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(ASK_S)
            client.connect(str(path))
            client.sendall(json.dumps(request).encode() + b"\n")
            with client.makefile("rb") as stream:
                line = stream.readline(ANSWER_LIMIT)
    except OSError as error:
        why = "start one with: rtpmix lab" if not path.exists() else str(error.strerror or error)
        raise UsageError(f"no lab answers at {path}: {why}") from error
    try:
        answer = json.loads(line)
    except ValueError as error:
        raise UsageError(f"{path} did not answer like a lab") from error
    if not isinstance(answer, dict) or not answer.get("ok"):
        raise RefusedError(str(answer.get("error")) if isinstance(answer, dict) else "no answer")
    return answer
