"""Kamailio between the phones and the server: started by its own command, on a free port."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.interop.processes import free_port, is_served, start, stop

CONFIG = Path(__file__).with_suffix(".cfg")
PATIENCE = 30.0  # seconds


class Kamailio:
    """A record-routing proxy and registrar, over UDP and TCP."""

    def __init__(self, program: str, directory: Path) -> None:
        self.port = free_port()
        self._program = program
        self._directory = directory
        self._process: asyncio.subprocess.Process | None = None

    @property
    def address(self) -> str:
        """``host:port`` for both transports."""
        return f"127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Start it, and wait until it has its ports."""
        self._directory.mkdir()
        listen = [f"-l{kind}:{self.address}" for kind in ("udp", "tcp")]
        command = [self._program, "-DD", "-E", "-f", str(CONFIG), *listen]
        command += ["-m", "16", "-M", "4", "-Y", str(self._directory)]  # megabytes; run directory
        self._process = await start(command, self._directory / "log.txt")
        async with asyncio.timeout(PATIENCE):
            while not (is_served(self.port, "udp") and is_served(self.port, "tcp")):
                assert self._process.returncode is None, self.log()
                await asyncio.sleep(0.05)

    async def stop(self) -> None:
        """End it, and with it its workers."""
        if self._process is not None:
            await stop(self._process, patience=5.0)

    def log(self) -> str:
        """Return what it printed."""
        return (self._directory / "log.txt").read_text(errors="replace")
