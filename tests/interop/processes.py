"""Programs beside the test: started, watched, and ended by their own id."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Sequence
from pathlib import Path


def free_port(kind: int = socket.SOCK_DGRAM) -> int:
    """Return a loopback port that nobody uses at this moment."""
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def is_free(port: int, kind: int) -> bool:
    """Say whether a loopback port could be bound."""
    with socket.socket(socket.AF_INET, kind) as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def free_sip_port() -> int:
    """Return a loopback port that is free for UDP and TCP alike."""
    for _ in range(100):
        port = free_port(socket.SOCK_STREAM)
        if is_free(port, socket.SOCK_DGRAM):
            return port
    raise OSError("no port is free for both UDP and TCP")


async def start(
    command: Sequence[str], log: Path, *, cwd: Path | None = None
) -> asyncio.subprocess.Process:
    """Start a program without a terminal; what it prints goes to `log`."""
    with log.open("wb") as output:
        return await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=asyncio.subprocess.STDOUT,
            cwd=cwd,
            env={**os.environ, "TERM": "dumb", "HOME": str(log.parent)},
        )


async def stop(process: asyncio.subprocess.Process, *, patience: float = 3.0) -> None:
    """End a program: politely first, by force after `patience` seconds."""
    if process.returncode is not None:
        return
    process.terminate()
    try:
        await asyncio.wait_for(process.wait(), patience)
    except TimeoutError:
        process.kill()
        await process.wait()
