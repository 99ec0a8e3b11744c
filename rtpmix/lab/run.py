"""Run a lab until somebody stops it: server, control socket, demo phones, live table."""

from __future__ import annotations

import asyncio
import random
import shutil
import signal
import socket
import sys
from pathlib import Path
from typing import TextIO

import rtpmix
from rtpmix.config import Listen

from .config import LabConfig
from .control import ControlServer
from .demo import DemoPhones
from .lab import Lab
from .table import LiveTable

REFRESH_S = 0.5


async def run(config: LabConfig, *, control: Path, demo: bool, out: TextIO = sys.stdout) -> None:
    """Run until SIGINT or SIGTERM; then end every call with BYE and seal every recording.

    Raises
    ------
    UsageError
        A port is taken, an address is not ours, or another lab runs here.
    """
    server = rtpmix.Server(config.server)
    screen = LiveTable(out, live=out.isatty())
    lab = Lab(config, server, say=screen.say)
    stop = asyncio.Event()
    _stop_on_signals(stop)
    socket_ = ControlServer(lab, control)
    await socket_.open()
    try:
        async with server:
            lab.watch()
            await _serve(lab, screen, stop, demo=demo)
            screen.say("ending calls and sealing recordings ...")
            await lab.close()
    finally:
        await socket_.close()


def _stop_on_signals(stop: asyncio.Event) -> None:
    """Set ``stop`` at the first SIGINT or SIGTERM; the second one ends the process as ever."""
    loop = asyncio.get_running_loop()
    signals = (signal.SIGINT, signal.SIGTERM)

    def first() -> None:
        stop.set()
        for name in signals:
            loop.remove_signal_handler(name)

    for name in signals:
        loop.add_signal_handler(name, first)


async def _serve(lab: Lab, screen: LiveTable, stop: asyncio.Event, *, demo: bool) -> None:
    for line in introduction(lab.config, lab.server.sip_address):
        screen.say(line)
    screen.say("")
    phones = None
    if demo:
        listen = lab.server.config.listens[0]
        port = int(lab.server.sip_address.rpartition(":")[2])
        phones = DemoPhones(lab.config, _from_here(listen, port), random.Random())
        await phones.open()
    try:
        while not stop.is_set():
            size = shutil.get_terminal_size()
            screen.show(lab.calls.views(), size.columns, size.lines)
            try:
                async with asyncio.timeout(REFRESH_S):
                    await stop.wait()
            except TimeoutError:
                continue
    finally:
        if phones is not None:
            await phones.close()


def _from_here(listen: Listen, port: int) -> tuple[str, int]:
    """Return where a phone on this machine reaches a listener."""
    wildcards = {"0.0.0.0": "127.0.0.1", "::": "::1"}
    return wildcards.get(listen.host, listen.host), port


def introduction(config: LabConfig, sip_address: str) -> list[str]:
    """Return what somebody with a telephone needs to know."""
    host, _, port = sip_address.rpartition(":")
    if host in ("0.0.0.0", "[::]"):
        host = _own_address()
    realm = config.server.realm
    lines = [f"SIP server {host}:{port} (UDP and TCP), realm {realm}"]
    for user in config.users.values():
        extension = f", extension {user.extension}" if user.extension else ""
        roles = f", {' and '.join(sorted(user.roles))}" if user.roles else ""
        lines.append(f"  user {user.name}{extension}{roles}")
    for queue in config.queues.values():
        number = f" (or {queue.extension})" if queue.extension else ""
        lines.append(f"  dial {queue.name}{number}: queue with {', '.join(queue.agents)}")
    lines.append("  dial conf-NAME: a room; supervisors dial *80, *81, *82, *83 + extension")
    lines.append(
        f"recordings go into {config.recordings}/" if config.record else "nothing is recorded"
    )
    return lines


def _own_address() -> str:
    """Return the address by which this machine reaches others; nothing is sent for it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # TEST-NET-1, RFC 5737
        except OSError:
            return "127.0.0.1"
        return str(probe.getsockname()[0])
