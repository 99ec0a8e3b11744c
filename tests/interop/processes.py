"""Programs beside the test: started, watched, and ended by their own id."""

from __future__ import annotations

import asyncio
import os
import random
import socket
from collections.abc import Sequence
from pathlib import Path

# Below the ports that the kernel gives to whoever asks for any, and to connections going out: one
# of those could be gone again before a slow program binds it.
PORTS = range(10_000, 18_000)
_KINDS = (socket.SOCK_STREAM, socket.SOCK_DGRAM)
LISTENING = "0A"  # TCP_LISTEN in /proc/net/tcp
_given: set[int] = set()


def is_served(port: int, transport: str) -> bool:
    """Say whether a program has a port for "udp", or takes connections on it for "tcp".

    The kernel's table is read: a probe that binds the port would be in the program's way, and one
    that connects would be a call to it. A TCP port that is bound refuses until it listens.
    """
    for version in ("", "6"):
        table = Path(f"/proc/thread-self/net/{transport}{version}").read_text()
        for line in table.splitlines()[1:]:
            _, local, _, state, *_ = line.split()
            if local.endswith(f":{port:04X}") and (transport == "udp" or state == LISTENING):
                return True
    return False


def _is_free(port: int, kind: int) -> bool:
    with socket.socket(socket.AF_INET, kind) as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def free_ports(count: int) -> range:
    """Return consecutive loopback ports, the first one even, free for UDP and TCP alike.

    No port is given twice in one run of the tests.
    """
    for _ in range(1000):
        start = random.randrange(PORTS.start, PORTS.stop - count, 2)
        ports = range(start, start + count)
        if _given.isdisjoint(ports) and all(_is_free(p, kind) for p in ports for kind in _KINDS):
            _given.update(ports)
            return ports
    raise OSError(f"no {count} ports in a row are free")


def free_port() -> int:
    """Return one such port."""
    return free_ports(1).start


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
