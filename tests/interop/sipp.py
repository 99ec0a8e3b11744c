"""SIPp scenarios, and the RTP that goes with a call that SIPp only signals."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from rtpmix import Server
from rtpmix.testing.audio import CLOCK_HZ, Samples, decode_g711, encode_g711, tone
from tests.interop.processes import free_port, is_served, start, stop

SCENARIOS = Path(__file__).parent / "sipp"
FRAME = 160  # samples


class Scenario:
    """One running SIPp."""

    def __init__(self, process: asyncio.subprocess.Process, directory: Path, port: int) -> None:
        self.process = process
        self.port = port
        self._directory = directory

    async def finish(self, *, within: float = 90.0) -> None:
        """Wait until every call of the scenario has gone as it says; fail otherwise."""
        status = await asyncio.wait_for(self.process.wait(), within)
        assert status == 0, f"SIPp ended with {status}:\n{self.report()}"

    async def is_listening(self, transport: str) -> None:
        """Wait until SIPp has its port."""
        async with asyncio.timeout(30):
            while not is_served(self.port, transport):  # noqa: ASYNC110 - a port tells nobody
                await asyncio.sleep(0.05)

    def report(self) -> str:
        """Return what SIPp wrote down about what went wrong, and the messages."""
        logs = [self._directory / name for name in ("screen.txt", "errors.log", "messages.log")]
        return "\n".join(log.read_text(errors="replace")[-3000:] for log in logs if log.exists())


class Sipp:
    """Runs scenarios, and ends what still runs when the test is over."""

    def __init__(self, program: str, directory: Path) -> None:
        self._program = program
        self._directory = directory
        self._started: list[Scenario] = []

    async def run(
        self,
        scenario: str,
        *,
        remote: str = "",
        user: str = "service",
        transport: str = "udp",
        calls: int = 1,
        rate: int = 10,
        keys: dict[str, str] | None = None,
        options: Sequence[str] = (),
    ) -> Scenario:
        """Start a scenario: the name of one beside this module, or the text of one.

        Parameters
        ----------
        remote
            ``host:port`` to call; empty for a scenario that waits for calls.
        keys
            Values for ``[name]`` in the scenario.
        """
        directory = self._directory / f"sipp-{len(self._started)}"
        directory.mkdir()
        path = SCENARIOS / f"{scenario}.xml"
        if scenario.startswith("<"):
            path = directory / "scenario.xml"
            path.write_text(scenario)
        port = free_port()
        command = [self._program, "-sf", str(path), "-nostdin"]
        command += ["-i", "127.0.0.1", "-p", str(port), "-t", {"udp": "u1", "tcp": "t1"}[transport]]
        command += ["-m", str(calls), "-r", str(rate), "-s", user, "-timeout", "80"]
        command += ["-timeout_error", "-trace_err", "-error_file", "errors.log"]
        command += ["-trace_msg", "-message_file", "messages.log"]
        for name, value in (keys or {}).items():
            command += ["-key", name, value]
        command += [*options, *([remote] if remote else [])]
        process = await start(command, directory / "screen.txt", cwd=directory)
        running = Scenario(process, directory, port)
        self._started.append(running)
        return running

    async def stop(self) -> None:
        """End every scenario that has not ended."""
        for scenario in self._started:
            await stop(scenario.process)


class ToneSocket(asyncio.DatagramProtocol):
    """Media for a call that SIPp signals: speaks a tone as PCMU, keeps what it hears."""

    def __init__(self, frequency: float) -> None:
        self.frequency = frequency
        self.packets: list[bytes] = []
        self.port = 0
        self._transport: asyncio.DatagramTransport | None = None
        self._speaking: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Take a port, and speak to whoever is heard first."""
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(
            lambda: self, local_addr=("127.0.0.1", 0)
        )
        self.port = self._transport.get_extra_info("sockname")[1]

    def close(self) -> None:
        """Fall silent and give the port back."""
        if self._speaking is not None:
            self._speaking.cancel()
        if self._transport is not None:
            self._transport.close()

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """Keep a packet; speak to the sender of the first one."""
        if len(data) == 12 + FRAME:
            self.packets.append(data)
        if self._speaking is None:
            self._speaking = asyncio.get_running_loop().create_task(self._speak(addr))

    async def listen(self, seconds: float) -> Samples:
        """Wait for that much more audio, and return just what was heard meanwhile."""
        begin = len(self.packets)
        wanted = begin + round(seconds * CLOCK_HZ / FRAME)
        async with asyncio.timeout(seconds + 30.0):
            while len(self.packets) < wanted:  # noqa: ASYNC110 - 50 packets a second
                await asyncio.sleep(0.02)
        payload = b"".join(packet[12:] for packet in self.packets[begin:wanted])
        return decode_g711(payload)

    async def _speak(self, peer: tuple[str, int]) -> None:
        assert self._transport is not None
        loop = asyncio.get_running_loop()
        speech = encode_g711(tone(self.frequency, 120.0, level_db=-14.0))
        began = loop.time()
        for number in range(len(speech) // FRAME):
            await asyncio.sleep(max(0.0, began + number * 0.02 - loop.time()))
            head = b"\x80\x00" + number.to_bytes(2) + (number * FRAME).to_bytes(4)
            head += int(self.frequency).to_bytes(4)
            self._transport.sendto(head + speech[number * FRAME : (number + 1) * FRAME], peer)


def server_address(server: Server, transport: str) -> str:
    """Return where the server listens for a transport."""
    return next(
        f"{listen.host}:{listen.port}"
        for listen in server._started().open_shell.addresses
        if listen.transport == transport.upper()
    )
