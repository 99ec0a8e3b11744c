"""The lab server as its users meet it: registered softphones, the queue, codes, keys, captures."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from pathlib import Path

import rtpmix
from tests.interop.conftest import Phones
from tests.interop.processes import free_port, start, stop
from tests.interop.test_who_hears_whom import TONES, check_everybody

CONFIG = """
[server]
sip_listen = ["udp:127.0.0.1:{port}", "tcp:127.0.0.1:{port}"]
media_address = "127.0.0.1"
realm = "lab.example"
recordings = "recordings"
key_file = "recording.key"
[users.customer]
password = "of-customer"
extension = "103"
[users.agent]
password = "of-agent"
extension = "101"
roles = ["agent"]
[users.supervisor]
password = "of-supervisor"
extension = "201"
roles = ["supervisor"]
[queues.support]
extension = "600"
agents = ["agent"]
"""
KEYS = {"5": rtpmix.Mode.WHISPER, "6": rtpmix.Mode.BARGE, "7": rtpmix.Mode.TAKEOVER}


async def rtpmix_command(*arguments: str) -> tuple[int, str]:
    """Run the command line; return its exit status and what it printed."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "rtpmix.lab.cli", *arguments,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    output, _ = await asyncio.wait_for(process.communicate(), 60)
    return process.returncode or 0, output.decode()


async def until_shown(mode: rtpmix.Mode, socket: str) -> None:
    """Wait until the list of calls says that somebody supervises in a mode."""
    async with asyncio.timeout(60):
        while True:
            status, shown = await rtpmix_command("calls", "--json", "--socket", socket)
            assert status == 0
            if f'"{mode.value}"' in json.dumps(json.loads(shown)):
                return


async def until_registered(log: Path, names: list[str]) -> None:
    """Wait until the phones' own logs say that they are registered."""
    async with asyncio.timeout(60):
        while not all(  # noqa: ASYNC110 - a file tells nobody
            "200 OK" in (log / name / "log.txt").read_text() for name in names
        ):
            await asyncio.sleep(0.1)


async def test_a_supervisor_dials_in_switches_by_keys_and_the_call_is_sealed(
    phones: Phones, tmp_path: Path
) -> None:
    port = free_port()
    (tmp_path / "lab.toml").write_text(CONFIG.format(port=port))
    socket = str(tmp_path / "control")
    lab = await start(
        [sys.executable, "-m", "rtpmix.lab.cli", "lab", "--config", str(tmp_path / "lab.toml"),
         "--socket", socket],
        tmp_path / "lab.txt",
    )  # fmt: skip
    try:
        proxy = f"127.0.0.1:{port}"
        customer, agent, coach = [
            await phones(name, TONES[name], registrar=proxy, password=f"of-{name}")
            for name in TONES
        ]
        await until_registered(tmp_path, list(TONES))
        await customer.dial(f"sip:600@{proxy}")
        await agent.event("CALL_ESTABLISHED")
        ears = {phone.name: phone.listen for phone in (customer, agent, coach)}
        await check_everybody("before", {name: ears[name] for name in ("customer", "agent")})

        await coach.dial(f"sip:*80101@{proxy}")
        await check_everybody(rtpmix.Mode.MONITOR, ears)
        for key, mode in KEYS.items():
            coach.press(key)
            await until_shown(mode, socket)
            await check_everybody(mode, ears)
        coach.press("4")
        await until_shown(rtpmix.Mode.MONITOR, socket)
        await check_everybody(rtpmix.Mode.MONITOR, ears)

        status, said = await rtpmix_command("supervise", "nope", "--as", "sip:coach@lab.example",
                                            "--mode", "monitor", "--socket", socket)  # fmt: skip
        assert status != 0
        assert said.count("\n") == 1
        lab.send_signal(signal.SIGINT)
        await asyncio.wait_for(lab.wait(), 60)
        for phone in (customer, agent, coach):
            await phone.event("CALL_CLOSED")
    finally:
        await stop(lab)
    captures = list((tmp_path / "recordings").iterdir())
    assert len(captures) == 1
    status, said = await rtpmix_command(
        "recording", "verify", "--replay", "--key", str(tmp_path / "recording.key"),
        str(captures[0]),
    )  # fmt: skip
    assert status == 0, said
    assert "SEALED" in said
    assert "CONSISTENT" in said
