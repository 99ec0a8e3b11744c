"""One baresip softphone: its own directory, its own tone, a recording of what it hears.

baresip passes over loopback when it looks for an interface; an address as ``net_interface`` is
taken as it is.  Its ``ctrl_tcp`` module speaks JSON in netstrings: commands in, events out.  The
``sndfile`` module writes what the decoder gave to a WAV file as it comes, so that the file can be
read while the call is going on; ``aubridge`` is a loudspeaker that needs no sound card.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import wave
from pathlib import Path
from typing import Any

from rtpmix.testing.audio import CLOCK_HZ, Samples, tone
from tests.interop import hearing
from tests.interop.news import PATIENCE, News
from tests.interop.processes import free_port, free_ports, start, stop

MODULES = "/usr/lib/baresip/modules"
TONE_SECONDS = 420.0  # longer than any test on a busy machine: the file is not repeated

CONFIG = """\
poll_method epoll
sip_listen {host}:{sip_port}
net_interface {host}
audio_source aufile,{directory}/tone.wav
audio_player aubridge,nowhere
audio_alert aubridge,alert
ausrc_srate {clock}
auplay_srate {clock}
ausrc_channels 1
auplay_channels 1
rtp_ports 40000-49999
rtp_stats yes
module_path {modules}
module g711.so
module aubridge.so
module aufile.so
module sndfile.so
module_tmp account.so
module_app ctrl_tcp.so
module_app menu.so
module_app contact.so
module_app presence.so
ctrl_tcp_listen 127.0.0.1:{control_port}
snd_path {directory}
"""
TLS = """\
sip_cafile {ca}
sip_certificate {certificate}
"""


ENCRYPTING = """\
module srtp.so
module dtls_srtp.so
"""


CODING = {name: f"module {name.lower()}.so\n" for name in ("G722", "opus", "L16")}


class Baresip:
    """A softphone that speaks one frequency, answers by itself, and keeps what it hears.

    Parameters
    ----------
    registrar
        ``host:port`` to register at as `name` with `password`; empty: a phone by its address.
    transport
        "udp", "tcp" or "tls", to the registrar and for calls to `address`.
    ca, certificate
        For TLS: whom to trust, and the phone's own certificate with its key in one file.
    media
        How media is encrypted: "srtp" or "srtp-mand" (SDES), "dtls_srtp"; empty: not at all.
    watches
        Address of record of somebody whose presence is subscribed to.
    host
        The address of its SIP and its media.
    codec
        The one that it knows.
    level_db
        The peak of its tone, against full scale.
    """

    def __init__(
        self,
        program: str,
        directory: Path,
        *,
        name: str,
        frequency: float,
        registrar: str = "",
        password: str = "",
        transport: str = "udp",
        ca: Path | None = None,
        certificate: Path | None = None,
        media: str = "",
        watches: str = "",
        host: str = "127.0.0.1",
        codec: str = "PCMU/8000/1",
        level_db: float = -14.0,
    ) -> None:
        self.name = name
        self.frequency = frequency
        self.port = free_ports(2).start  # the second one for TLS
        self.news = News(
            lambda what: f"{name} did not tell {what}; its log ends:\n{self.log()[-3000:]}"
        )
        self._host = host
        self._transport = transport
        self._tls = TLS.format(ca=ca, certificate=certificate) if ca else ""
        self._watches = watches
        self._media = media
        self._codec, self._level_db = codec, level_db
        # What baresip 1.0 resamples for L16 goes out in samples of another size.
        self._clock_hz = int(codec.split("/")[1]) if codec.startswith("L16") else CLOCK_HZ
        self._program = program
        self._directory = directory
        self._registrar = registrar
        self._password = password
        self._control_port = free_port()
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None
        self._writer: asyncio.StreamWriter | None = None

    @property
    def address(self) -> str:
        """The SIP URI to call the phone at directly."""
        port = self.port + (self._transport == "tls")
        return f"sip:{self.name}@{self._host}:{port};transport={self._transport}"

    async def start(self) -> None:
        """Start the program and wait until it takes commands."""
        self._write_files()
        command = [self._program, "-f", str(self._directory), "-v"]
        self._process = await start(command, self._directory / "log.txt")
        reader = await self._connect()
        self._reader = asyncio.create_task(self._read(reader))

    async def stop(self) -> None:
        """End the program."""
        if self._writer is not None:
            self._writer.close()
        if self._reader is not None:
            self._reader.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._reader
        if self._process is not None:
            await stop(self._process)

    async def dial(self, target: str) -> None:
        """Call somebody, and wait until the call is answered."""
        self._send("dial", target)
        await self.event("CALL_ESTABLISHED")

    def press(self, keys: str) -> None:
        """Press keys in the call: RFC 4733 events."""
        for key in keys:
            self._send("sndcode", key)

    def hang_up(self) -> None:
        """End the call."""
        self._send("hangup")

    def hold(self) -> None:
        """Put the other side on hold."""
        self._send("hold")

    def resume(self) -> None:
        """Take the other side back."""
        self._send("resume")

    def transfer(self, target: str) -> None:
        """Blind transfer: REFER."""
        self._send("transfer", target)

    async def event(self, kind: str, *, within: float = PATIENCE) -> dict[str, Any]:
        """Wait for an event of the phone that no earlier wait has taken."""
        return await self.news.take(within=within, type=kind)

    def log(self) -> str:
        """Return what the program has printed."""
        return (self._directory / "log.txt").read_text(errors="replace")

    def heard(self) -> Samples:
        """Return everything heard until now; each call has a file, named by its time."""
        return hearing.read_so_far(*sorted(self._directory.glob("dump-*-dec.wav")))

    async def listen(self, seconds: float) -> Samples:
        """Wait for that much more audio, and return just what was heard meanwhile."""
        return await hearing.listen(self.heard, seconds)

    def _write_files(self) -> None:
        self._directory.mkdir(parents=True)
        (self._directory / "config").write_text(
            self._tls
            + (ENCRYPTING if self._media else "")
            + CODING.get(self._codec.partition("/")[0], "")
            + CONFIG.format(
                host=self._host,
                sip_port=self.port,
                directory=self._directory,
                clock=self._clock_hz,
                modules=MODULES,
                control_port=self._control_port,
            )
        )
        (self._directory / "accounts").write_text(self._account() + "\n")
        watched = f'"watched" <{self._watches}>;presence=p2p\n' if self._watches else ""
        (self._directory / "contacts").write_text(watched)
        with wave.open(str(self._directory / "tone.wav"), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(self._clock_hz)
            file.writeframes(self._tone().tobytes())

    def _tone(self) -> Samples:
        """Return what the phone says; the tone is made for 8 kHz."""
        slower = self.frequency * CLOCK_HZ / self._clock_hz
        seconds = TONE_SECONDS * self._clock_hz / CLOCK_HZ
        return tone(slower, seconds, level_db=self._level_db)

    def _account(self) -> str:
        calls = f"answermode=auto;audio_codecs={self._codec}"
        if self._media:
            calls += f";mediaenc={self._media}"
        if not self._registrar:
            return f"<sip:{self.name}@{self._host}:{self.port}>;regint=0;{calls}"
        login = f"regint=60;auth_user={self.name};auth_pass={self._password}"
        where = f"{self._registrar};transport={self._transport}"
        return f"<sip:{self.name}@{where}>;{login};{calls}"

    async def _connect(self) -> asyncio.StreamReader:
        for _ in range(600):
            try:
                reader, self._writer = await asyncio.open_connection(
                    "127.0.0.1", self._control_port
                )
            except OSError:
                await asyncio.sleep(0.05)
            else:
                return reader
        raise AssertionError(f"{self.name} did not start; its log:\n{self.log()[-3000:]}")

    def _send(self, command: str, parameters: str = "") -> None:
        assert self._writer is not None
        message = json.dumps({"command": command, "params": parameters, "token": command}).encode()
        self._writer.write(b"%d:%s," % (len(message), message))

    async def _read(self, reader: asyncio.StreamReader) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                size = int((await reader.readuntil(b":"))[:-1])
                message = json.loads((await reader.readexactly(size + 1))[:-1])
                if message.get("event"):
                    await self.news.put(message)
