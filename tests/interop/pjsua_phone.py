"""A PJSUA2 phone in a process of its own; `pjsua/phone.py` is that program."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from pathlib import Path
from typing import Any

from rtpmix.testing.audio import Samples
from tests.interop import hearing, processes
from tests.interop.news import News

PROGRAM = Path(__file__).parent / "pjsua/phone.py"
MODULES = Path(__file__).parents[2] / ".peers"


class Pjsua:
    """A phone that speaks one frequency, answers by itself, and keeps what it hears.

    Parameters
    ----------
    registrar
        ``host:port`` to register at as `name` with `password`; empty: a phone by its address.
    proxy
        ``host:port`` that everything goes through; empty: the registrar.
    transport
        "udp", "tcp" or "tls"; the only one that the phone has.
    options
        See `pjsua/phone.py`: ``answers``, ``timer``, ``session_expires``, ``reliable``, ``tls``,
        ``mailbox``, ``codecs``, ``volume``.
    """

    def __init__(
        self,
        directory: Path,
        *,
        name: str,
        frequency: float,
        transport: str = "udp",
        registrar: str = "",
        proxy: str = "",
        password: str = "",
        domain: str = "pbx.test",
        **options: Any,
    ) -> None:
        self.name = name
        self.frequency = frequency
        self.port = 0
        self.news = News(self._complaint)
        self._directory = directory
        self._transport = transport
        self._options = {"frequency": frequency, "transport": transport, **options}
        self._options["identity"] = f"sip:{name}@{domain if registrar else '127.0.0.1'}"
        if registrar:
            self._options |= {"user": name, "password": password}
            self._options["registrar"] = f"sip:{registrar};transport={transport}"
            self._options["proxy"] = f"sip:{proxy or registrar};transport={transport}"
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None

    @property
    def address(self) -> str:
        """The SIP URI to call the phone at directly."""
        return f"sip:{self.name}@127.0.0.1:{self.port};transport={self._transport}"

    async def start(self) -> None:
        """Start the program and wait until it takes commands."""
        self._directory.mkdir(parents=True)
        with (self._directory / "errors.txt").open("wb") as errors:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, str(PROGRAM)),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=errors,
                cwd=self._directory,
                env={**os.environ, "PYTHONPATH": str(MODULES)},
            )
        self._reader = asyncio.create_task(self._read())
        self._send(self._options)
        self.port = (await self.event("listening"))["port"]
        await self.event("ready")

    async def stop(self) -> None:
        """End the program."""
        if self._process is not None:
            await processes.stop(self._process)
        if self._reader is not None:
            self._reader.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._reader

    def do(self, what: str, **arguments: Any) -> None:
        """Give a command: the name of a method in `pjsua/phone.py`."""
        self._send({"do": what, **arguments})

    async def event(self, name: str, **facts: Any) -> dict[str, Any]:
        """Wait for an event of the phone that no earlier wait has taken."""
        return await self.news.take(event=name, **facts)

    async def state(self, state: str, call: int = 0) -> dict[str, Any]:
        """Wait until a call is in a state: "CONFIRMED", "DISCONNECTED"."""
        return await self.event("call", call=call, state=state)

    async def listen(self, seconds: float, call: int = 0) -> Samples:
        """Wait for that much more audio of a call, and return just that."""
        file = self._directory / f"heard-{call}.wav"
        return await hearing.listen(lambda: hearing.read_so_far(file), seconds)

    def log(self) -> str:
        """Return PJSIP's own log: every message, among others."""
        return (self._directory / "pjsip.txt").read_text(errors="replace")

    def _send(self, message: dict[str, Any]) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(message).encode() + b"\n")

    async def _read(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            await self.news.put(json.loads(line))

    def _complaint(self, what: str) -> str:
        logs = [self._directory / name for name in ("pjsip.txt", "errors.txt")]
        ends = [log.read_text(errors="replace")[-4000:] for log in logs if log.exists()]
        return "\n".join([f"{self.name} did not tell {what}; its logs end:", *ends])
