"""A phone that speaks L16 at 48 kHz: the media are GStreamer's, the signalling a test phone's.

baresip 1.0 knows that codec, and can only receive it; PJSIP has it at 44.1 kHz alone. GStreamer
sends from one port and listens at another, so a wire between them and the server puts both on one.
"""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import numpy as np

from rtpmix.audio.resample import Stream
from rtpmix.testing import TonePhone
from rtpmix.testing.audio import CLOCK_HZ, Samples
from tests.interop import hearing
from tests.interop.processes import free_port, start, stop

RATE_HZ = 48_000
HOST = "127.0.0.1"


class Wire(asyncio.DatagramProtocol):
    """Passes what the server says to one local port, and what that side says to the server."""

    def __init__(self, inward: int) -> None:
        self.outward: tuple[str, int] | None = None
        self._inward = (HOST, inward)
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        to = self._inward if addr == self.outward else self.outward
        if to is not None and self._transport is not None:
            self._transport.sendto(data, to)


class GstPhone:
    """Speaks a tone, answers by itself, and keeps what it hears."""

    def __init__(self, program: str, directory: Path, name: str, frequency: float) -> None:
        self.name, self.frequency = name, frequency
        self._program, self._directory = program, directory
        self._phone = TonePhone(name, host=HOST)
        self._phone._new_session = self._itself  # type: ignore[method-assign, assignment]
        self._wire: Wire | None = None
        self._transport: asyncio.DatagramTransport | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._starting: asyncio.Task[None] | None = None
        self._port = 0
        self._inward = free_port()

    @property
    def address(self) -> str:
        """The SIP URI to call the phone at."""
        return self._phone.uri

    async def start(self) -> None:
        """Wait for calls."""
        self._directory.mkdir(parents=True)
        await self._phone.open()
        loop = asyncio.get_running_loop()
        self._transport, self._wire = await loop.create_datagram_endpoint(
            lambda: Wire(self._inward), local_addr=(HOST, 0)
        )
        self._port = self._transport.get_extra_info("sockname")[1]

    async def stop(self) -> None:
        """Hang up and end everything."""
        await self._phone.close()
        if self._transport is not None:
            self._transport.close()
        if self._starting is not None:
            await self._starting
        if self._process is not None:
            await stop(self._process)

    def heard(self) -> Samples:
        """Return everything heard until now, at 8 kHz."""
        file = self._directory / "heard.raw"
        data = file.read_bytes() if file.exists() else b""
        whole = len(data) // 96 * 96  # milliseconds
        samples = np.frombuffer(data[:whole], "<i2").astype(np.int16)
        return Stream(RATE_HZ, CLOCK_HZ).process(samples) if samples.size else samples

    async def listen(self, seconds: float) -> Samples:
        """Wait for that much more audio, and return just what was heard meanwhile."""
        return await hearing.listen(self.heard, seconds)

    # ------------------------------------------------- what the test phone asks of its session

    async def _itself(self) -> GstPhone:
        return self

    def answer_offer(self, body: bytes) -> bytes:
        """Take L16 at 48 kHz, and nothing else."""
        offer = body.decode()
        number = re.search(r"a=rtpmap:(\d+) L16/48000(?:/1)?\r?\n", offer)
        port = re.search(r"m=audio (\d+) ", offer)
        assert number is not None, offer
        assert port is not None, offer
        assert self._wire is not None
        self._wire.outward = (HOST, int(port[1]))
        self._starting = asyncio.ensure_future(self._speak(int(number[1])))
        return (
            f"v=0\r\no=- 1 1 IN IP4 {HOST}\r\ns=-\r\nc=IN IP4 {HOST}\r\nt=0 0\r\n"
            f"m=audio {self._port} RTP/AVP {number[1]}\r\n"
            f"a=rtpmap:{number[1]} L16/48000\r\na=ptime:10\r\n"
        ).encode()

    def close(self) -> None:
        """The call is over; GStreamer goes on until `stop`."""

    async def _speak(self, number: int) -> None:
        raw = f"audio/x-raw,format=S16BE,rate={RATE_HZ},channels=1"
        coming = f"application/x-rtp,media=audio,clock-rate={RATE_HZ},encoding-name=L16,channels=1"
        talk = (
            f"audiotestsrc is-live=true samplesperbuffer=480 freq={self.frequency} volume=0.05 ! "
            f"{raw} ! rtpL16pay pt={number} min-ptime=10000000 max-ptime=10000000 ! "
            f"udpsink host={HOST} port={self._port} sync=false"
        )
        hear = (
            f"udpsrc address={HOST} port={self._inward} caps={coming},payload={number} ! "
            f"rtpL16depay ! audioconvert ! audio/x-raw,format=S16LE ! "
            f"filesink buffer-mode=unbuffered sync=false location={self._directory}/heard.raw"
        )
        command = [self._program, "-q", *talk.split(), *hear.split()]
        self._process = await start(command, self._directory / "log.txt")
