"""Debian's Janus in a process of its own: the AudioBridge, and nothing else of it."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from benchmarks.processes import SERVER_CORE
from benchmarks.uac import Address

CALLER = "benchmarks.peers.janus_calls"
_START_S = 20.0
_STOP_S = 10.0
_SETTLE_S = 0.5
_TRIES = 20
_PLUGINS = "*/janus/plugins/libjanus_audiobridge.so"
_MAIN = """
general: {{
  configs_folder = "{folder}"
  plugins_folder = "{library}/plugins"
  transports_folder = "{library}/transports"
  events_folder = "{folder}"
  loggers_folder = "{folder}"
  debug_level = 2
  interface = "127.0.0.1"
}}
nat: {{ }}
plugins: {{ disable = "{plugins}" }}
transports: {{ disable = "{transports}" }}
"""
_SOCKET = """
general: {{ enabled = true
  json = "compact"
  path = "{folder}/api"
  type = "SOCK_SEQPACKET" }}
admin: {{ admin_enabled = false }}
"""
_BRIDGE = """
general: { local_ip = "127.0.0.1"
  rtp_port_range = "20000-29998"
  events = false }
"""


def installed() -> str | None:
    """Return why Janus can't be measured, or None."""
    if shutil.which("janus") is None:
        return "Janus is not installed: apt install janus"
    if _library() is None:
        return "Janus is here without its AudioBridge plugin"
    return None


def _library() -> Path | None:
    found = next(Path("/usr/lib").glob(_PLUGINS), None)
    return found.parents[1] if found is not None else None


class JanusProcess:
    """Janus on one core, for as long as the context is open.

    Parameters
    ----------
    prebuffering
        Packets of each participant that it keeps back before it mixes the first; 6 if nobody asks.
    """

    def __init__(self, prebuffering: int, core: int = SERVER_CORE) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="rtpmix-janus-")
        self._core = core
        self._prebuffering = prebuffering
        self._log = Path(self._folder.name) / "log"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        folder, library = Path(self._folder.name), _library()
        assert library is not None  # `installed` was asked
        others = {
            kind: ",".join(
                sorted(each.name for each in (library / kind).glob("*.so") if keep not in each.name)
            )
            for kind, keep in (("plugins", "audiobridge"), ("transports", "pfunix"))
        }
        (folder / "janus.jcfg").write_text(_MAIN.format(folder=folder, library=library, **others))
        (folder / "janus.transport.pfunix.jcfg").write_text(_SOCKET.format(folder=folder))
        (folder / "janus.plugin.audiobridge.jcfg").write_text(_BRIDGE)
        try:
            for _ in range(_TRIES):
                if self._starts():
                    self._pin()
                    return self
            raise SystemExit(f"peers: Janus does not start:\n{self._log.read_text()[-2000:]}")
        except BaseException:
            self._end()
            raise

    def _starts(self) -> bool:
        """Start the program; False where it ended at once.

        Janus 1.1 does so now and then: its socket's thread looks whether it should go on before it
        has been told so. On one core that is the rule, so it is pinned to one later.
        """
        command = ["janus", "--configs-folder", self._folder.name, "--disable-colors"]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
            )
        deadline = time.monotonic() + _START_S
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                return False
            if Path(self.address[0]).exists():
                time.sleep(_SETTLE_S)  # it may still fail
                return self._process.poll() is None
            time.sleep(0.05)
        return False

    def _pin(self) -> None:
        """Keep all its threads on the server's core; those to come inherit it."""
        if self._core in os.sched_getaffinity(0):
            for task in Path(f"/proc/{self.pid}/task").iterdir():
                os.sched_setaffinity(int(task.name), {self._core})

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end()

    def _end(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._folder.cleanup()

    @property
    def address(self) -> Address:
        """Where its API is, a path; and what `janus_calls` is to ask of it."""
        return f"{self._folder.name}/api", self._prebuffering

    @property
    def pid(self) -> int:
        """The process number."""
        assert self._process is not None
        return self._process.pid
