"""tshark on the wire beside a supervised call: what it makes of our SIP, SDP, RTP and RTCP."""

from __future__ import annotations

import asyncio
import dataclasses
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import rtpmix
from tests.interop.conftest import Phones
from tests.interop.processes import free_ports, start, stop
from tests.interop.test_who_hears_whom import TONES

TALK_S = 3.0  # in each of the two modes
PACKETS = 2 * TALK_S / 0.02
MALFORMED_OR_ERROR = "_ws.malformed || _ws.expert.severity == error || _ws.short"
LIMIT = 60.0
RTP = free_ports(64)


class Wire:
    """A capture of what one server sends and gets on the loopback interface."""

    def __init__(self, program: str, path: Path, port: int) -> None:
        self.path = path
        self._port = port
        self._program = program
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Capture until `stop`."""
        log = self.path.with_suffix(".txt")
        ports = f"udp port {self._port} or udp portrange {RTP.start}-{RTP.stop - 1}"
        command = [self._program, "-i", "lo", "-w", str(self.path), "-q", "-f", ports]
        self._process = await start(command, log)
        async with asyncio.timeout(60):
            while "Capturing on" not in log.read_text():
                assert self._process.returncode is None, log.read_text()
                await asyncio.sleep(0.05)

    async def stop(self) -> None:
        """End the capture; the file is whole."""
        if self._process is not None:
            await stop(self._process, patience=10.0)

    def read(self, *arguments: str) -> list[str]:
        """Return the lines that tshark prints of the capture."""
        sip = f"udp.port=={self._port},sip"
        command = [self._program, "-r", str(self.path), "-d", sip, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, check=True)
        return done.stdout.splitlines()


@pytest.fixture
def config(config: rtpmix.Config) -> rtpmix.Config:
    """A server whose media ports no other program on this machine is likely to use."""
    return dataclasses.replace(config, rtp_ports=RTP)


@pytest.fixture
async def wire(server: rtpmix.Server, tshark: str, tmp_path: Path) -> AsyncIterator[Wire]:
    """A capture that has begun."""
    port = int(server.sip_address.rpartition(":")[2])
    capture = Wire(tshark, tmp_path / "wire.pcapng", port)
    await capture.start()
    yield capture
    await capture.stop()


async def test_tshark_finds_nothing_wrong_on_the_wire(
    server: rtpmix.Server, phones: Phones, wire: Wire
) -> None:
    """No malformed packet of any protocol, and six RTP streams without a loss of ours."""
    customer, agent, coach = [await phones(name, TONES[name]) for name in TONES]
    legs = [await server.invite(phone.address) for phone in (customer, agent, coach)]
    bridge = await server.bridge(legs[0])
    await bridge.add(legs[1], role=rtpmix.Role.AGENT)
    supervision = await bridge.supervise(legs[2], agent=legs[1], mode=rtpmix.Mode.WHISPER)
    await asyncio.sleep(TALK_S)
    await supervision.set_mode(rtpmix.Mode.BARGE)
    await asyncio.sleep(TALK_S)
    for leg in legs:
        await leg.hangup()
    await asyncio.sleep(0.3)
    await wire.stop()

    assert wire.read("-Y", MALFORMED_OR_ERROR) == []
    methods = wire.read("-Y", "sip", "-T", "fields", "-e", "sip.Method")
    assert {"INVITE", "ACK", "BYE"} <= set(methods)
    assert wire.read("-Y", f"rtcp && udp.srcport in {{{RTP.start}..{RTP.stop - 1}}}")
    rows = [line.split() for line in wire.read("-q", "-z", "rtp,streams")]
    streams = [row for row in rows if len(row) > 10 and row[6].startswith("0x")]
    assert len(streams) == 2 * len(legs)
    ours = [row for row in streams if int(row[3]) in RTP]
    assert len(ours) == len(legs)
    for row in ours:
        codec, packets, lost = row[7:10]
        assert (codec, lost) == ("g711U", "0")
        assert int(packets) >= 0.5 * PACKETS
