"""The measured server in a process of its own, and what it costs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

SERVER_CORE = 0
GENERATOR_CORE = 1
_STOP_S = 120.0  # sealing what is recorded is in it


class ServerProcess:
    """A benchmark server on one core, or on all that there are (``core`` None).

    ``module`` is the program: one that prints where it listens, and ends with its standard input.

    Its counters are in `snapshot` after the end. Worker processes are where it is.
    """

    def __init__(
        self,
        core: int | None = SERVER_CORE,
        *,
        legs_per_port: int = 1,
        record: Path | None = None,
        workers: int = 0,
        module: str = "benchmarks.server",
    ) -> None:
        arguments = [sys.executable, "-m", module, "--legs-per-port", str(legs_per_port)]
        if workers:
            arguments += ["--workers", str(workers)]
        if record is not None:
            arguments += ["--record", str(record)]
        if core is not None and core in os.sched_getaffinity(0):
            arguments += ["--core", str(core)]
        self._process = subprocess.Popen(
            arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.snapshot: dict[str, Any] = {}
        self.sip = ("", 0)

    def __enter__(self) -> Self:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"the benchmark server ended with {self._process.wait()}")
        host, _, port = json.loads(line)["sip"].rpartition(":")
        self.sip = (host, int(port))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            output, _ = self._process.communicate("", timeout=_STOP_S)
            self.snapshot = json.loads(output.splitlines()[-1]) if output else {}
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()

    @property
    def pid(self) -> int:
        """The process number."""
        return self._process.pid


class Usage(NamedTuple):
    """Seconds that all threads of a process ran, and that they were ready but had to wait.

    Waiting for each other for the interpreter is not in it; waiting for a core is.  On a quiet
    machine it is near nothing, and where it is not, other programs spoiled the measurement.
    """

    ran: float
    waited: float

    def since(self, before: Usage) -> Usage:
        """Return what was used since an earlier reading."""
        return Usage(self.ran - before.ran, self.waited - before.waited)


def family(pid: int) -> list[int]:
    """Return a process and those that it started, theirs included."""
    found = [pid]
    for each in found:
        try:
            tasks = list(Path(f"/proc/{each}/task").iterdir())
        except OSError:
            continue  # it has ended
        for task in tasks:
            with suppress(OSError):
                found += map(int, (task / "children").read_text().split())
    return found


def usage(pid: int) -> Usage:
    """Read the use of processors of a process and its children, exact (``stat`` is sampled)."""
    ran = waited = 0
    for each in family(pid):
        try:
            tasks = list(Path(f"/proc/{each}/task").iterdir())
        except OSError:
            continue
        for task in tasks:
            try:
                fields = (task / "schedstat").read_text().split()
            except OSError:
                continue  # the thread has ended
            ran += int(fields[0])
            waited += int(fields[1])
    return Usage(ran / 1e9, waited / 1e9)


def memory_kb(pid: int) -> int:
    """Return the resident memory of a process and its children."""
    total = 0
    for each in family(pid):
        with suppress(OSError):
            for line in Path(f"/proc/{each}/status").read_text().splitlines():
                if line.startswith("VmRSS:"):
                    total += int(line.split()[1])
    return total


def pin(core: int = GENERATOR_CORE) -> None:
    """Keep this process off the server's core, where there is another one."""
    if core in os.sched_getaffinity(0):
        os.sched_setaffinity(0, {core})
