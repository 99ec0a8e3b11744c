"""One media worker as its server sees it: a process, a channel, and what it carries."""

from __future__ import annotations

import asyncio
import logging
import socket
import subprocess
import sys
from collections.abc import Callable
from typing import Any

from . import worker_messages as say
from .channel import Channel

_log = logging.getLogger(__name__)

# The child imports what we import from, and not the program that embeds us.
_START = (
    "import sys; sys.path[:] = {path!r}; from rtpmix.server.worker import main; main({descriptor})"
)
SILENT_S = 10.0  # a worker that says nothing for so long does not beat any more
MOST_WAITING = 256 << 20  # octets that a worker does not read


class WorkerProcess:
    """A worker process.

    Parameters
    ----------
    number
        Of the worker; a process that takes the place of another has the same.
    on_message
        Called with the worker and each message.
    on_death
        Called once with the worker and the reason, when the process has been reaped.
    silent_s
        How long it may say nothing.

    Attributes
    ----------
    legs
        Those that it carries.
    ready
        It beats.
    """

    def __init__(
        self,
        number: int,
        on_message: Callable[[WorkerProcess, Any], None],
        on_death: Callable[[WorkerProcess, str], None],
        silent_s: float = SILENT_S,
    ) -> None:
        self.number = number
        self._silent_s = silent_s
        self.legs: set[int] = set()
        self.recordings: set[int] = set()
        self.ready = False
        self.stopping = False
        self.figures: say.Figures | None = None
        self.media: dict[str, Any] = {}
        self.recording: dict[str, Any] = {}
        self.gone = asyncio.Event()
        self._why = ""
        self._on_message = on_message
        self._on_death = on_death
        self._loop = asyncio.get_running_loop()
        self._heard_at = self._loop.time()
        self._writing = False
        self._watch: asyncio.TimerHandle | None = None
        self._reaping: asyncio.Task[None] | None = None
        self._process, self._channel = self._spawn()
        self._loop.add_reader(self._channel.fileno(), self._read)

    @property
    def pid(self) -> int:
        """The process."""
        return self._process.pid

    def _spawn(self) -> tuple[subprocess.Popen[bytes], Channel]:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            code = _START.format(path=sys.path, descriptor=theirs.fileno())
            process = subprocess.Popen(
                [sys.executable, "-c", code], pass_fds=(theirs.fileno(),), stdin=subprocess.DEVNULL
            )
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        return process, Channel(ours)

    def send(self, message: object, descriptors: tuple[int, ...] = ()) -> None:
        """Say something; what the worker does not read yet waits here."""
        channel = self._channel
        channel.send(message, descriptors)
        if channel.waiting and not self._writing and not channel.closed:
            self._writing = True
            self._loop.add_writer(channel.fileno(), self._write)
        if channel.waiting > MOST_WAITING:
            self.kill("it does not read any more")

    def kill(self, why: str) -> None:
        """End the process at once."""
        self._why = self._why or why
        if self._process.poll() is None:
            self._process.kill()

    def watch(self) -> None:
        """Begin to expect signs of life."""
        self._heard_at = self._loop.time()
        self._look()

    def _look(self) -> None:
        if self._loop.time() - self._heard_at > self._silent_s:
            self.kill(f"it was silent for {self._silent_s:g} s")
            return
        self._watch = self._loop.call_later(self._silent_s / 4, self._look)

    def _read(self) -> None:
        self._heard_at = self._loop.time()
        for message, descriptors in self._channel.receive():
            assert not descriptors  # workers send none
            self._on_message(self, message)
        if self._channel.closed and self._reaping is None:
            self._loop.remove_reader(self._channel.fileno())
            self._stop_writing()
            self._reaping = self._loop.create_task(self._reap())

    def _write(self) -> None:
        if self._channel.flush():
            self._stop_writing()

    def _stop_writing(self) -> None:
        if self._writing:
            self._writing = False
            self._loop.remove_writer(self._channel.fileno())

    async def _reap(self) -> None:
        """Wait for the end of the process: only then are its files and sockets closed."""
        self.ready = False
        if self._watch is not None:
            self._watch.cancel()
        code = await self._loop.run_in_executor(None, self._process.wait)
        self._channel.close()
        why = self._why or (f"signal {-code}" if code < 0 else f"exit status {code}")
        self.gone.set()
        self._on_death(self, why)
