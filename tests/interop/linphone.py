"""One linphone, the console program: its own directory, its own tone, a recording of what it hears.

It takes commands on standard input and tells in prose what happens.  It looks up names wherever it
can, and without an answer it hangs: in its own mount namespace a resolv.conf names a server which
refuses at once, and a hosts file knows the registrar, whose certificate it looks at for a name
(Mbed TLS reads no addresses out of one).
"""

from __future__ import annotations

import asyncio
import os
import re
import wave
from pathlib import Path

from rtpmix.testing.audio import CLOCK_HZ, Samples, tone
from tests.interop import hearing, processes
from tests.interop.news import PATIENCE

TONE_SECONDS = 120.0  # longer than any test
FILES = ("resolv.conf", "hosts")
IN_OWN_MOUNTS = " && ".join([*(f"mount --bind {name} /etc/{name}" for name in FILES), 'exec "$@"'])

CONFIG = """\
[sip]
sip_port={udp}
sip_tcp_port={tcp}
sip_tls_port={tls}
root_ca={ca}
client_cert_chain={certificate}
client_cert_key={key}
verify_server_certs=1
verify_server_cn=1
default_proxy=0
guess_hostname=1
contact=sip:{name}@{address}
media_encryption=none
use_ipv6=0
[net]
mtu=1300
[rtp]
audio_rtp_port={rtp}
[sound]
echocancellation=0
[proxy_0]
reg_proxy=<sip:{registrar};transport={transport}>
reg_route=<sip:{registrar};transport={transport};lr>
reg_identity=<sip:{name}@{domain}>
reg_sendregister=1
reg_expires=600
publish=0
avpf=0
[auth_info_0]
username={name}
passwd={password}
domain={domain}
[audio_codec_0]
mime=PCMU
rate=8000
channels=1
enabled=1
[audio_codec_1]
mime=PCMA
rate=8000
channels=1
enabled=1
"""


class Linphone:
    """A softphone that speaks one frequency, answers by itself, and keeps what it hears.

    Parameters
    ----------
    registrar
        ``host:port`` to register at as `name` with `password`.
    transport
        "udp", "tcp" or "tls"; the only one that the phone has.
    ca, certificate, key
        For TLS: whom to trust, and what the phone shows.
    """

    def __init__(
        self,
        program: str,
        directory: Path,
        *,
        name: str,
        frequency: float,
        address: str,
        registrar: str,
        password: str,
        domain: str,
        transport: str = "udp",
        ca: Path | None = None,
        certificate: Path | None = None,
        key: Path | None = None,
    ) -> None:
        self.name = name
        self.frequency = frequency
        self._program = program
        self._directory = directory
        self._read_to: dict[str, int] = {}  # by file
        port = processes.free_port()
        kinds = {kind: port if kind == transport else 0 for kind in ("udp", "tcp", "tls")}
        self._hosts = f"127.0.0.1 localhost\n{address} {domain}\n"
        self._config = CONFIG.format(
            **kinds,
            name=name,
            address=address,
            registrar=f"{domain}:{registrar.rpartition(':')[2]}",
            password=password,
            domain=domain,
            transport=transport,
            ca=ca or "",
            certificate=certificate or "",
            key=key or "",
            rtp=processes.free_ports(2).start,
        )
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start the program and set its audio up."""
        (self._directory / ".local/share/linphone").mkdir(parents=True)
        (self._directory / "config").write_text(self._config)
        (self._directory / "resolv.conf").write_text("nameserver 127.0.0.1\n")
        (self._directory / "hosts").write_text(self._hosts)
        self._write_tone()
        phone = [self._program, "-c", "config", "-a", "-d", "6", "-l", "debug.txt"]
        shell = ["sh", "-c", IN_OWN_MOUNTS, "sh", *phone]
        with (self._directory / "log.txt").open("wb") as output:
            self._process = await asyncio.create_subprocess_exec(
                *("unshare", "--mount", *shell),
                stdin=asyncio.subprocess.PIPE,
                stdout=output,
                stderr=asyncio.subprocess.STDOUT,
                cwd=self._directory,
                env={**os.environ, "HOME": str(self._directory), "TERM": "dumb"},
            )
        self.do("soundcard use files")
        self.do("play tone.wav")
        self.do("record heard.wav")

    async def stop(self) -> None:
        """End the program."""
        if self._process is not None:
            await processes.stop(self._process)

    def do(self, command: str) -> None:
        """Type a command."""
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(command.encode() + b"\n")

    async def says(self, expression: str) -> None:
        """Wait for a line of what it prints, after the one that the last wait has found."""
        await self._find(expression, "log.txt")

    async def notes(self, expression: str) -> None:
        """Wait for a line of its own log, likewise."""
        await self._find(expression, "debug.txt")

    async def _find(self, expression: str, file: str) -> None:
        begin, sought = self._read_to.get(file, 0), re.compile(expression)
        try:
            async with asyncio.timeout(PATIENCE):
                while not sought.search(self._text(file), begin):  # noqa: ASYNC110 - a file
                    await asyncio.sleep(0.05)
        except TimeoutError:
            text = self._text(file)[-3000:]
            raise AssertionError(f"{self.name}: no {expression!r} in {file}:\n{text}") from None
        found = sought.search(self._text(file), begin)
        assert found is not None
        self._read_to[file] = found.end()

    def _text(self, file: str) -> str:
        path = self._directory / file
        return path.read_text(errors="replace") if path.exists() else ""

    def heard(self) -> Samples:
        """Return everything heard until now."""
        return hearing.read_so_far(self._directory / "heard.wav")

    async def listen(self, seconds: float) -> Samples:
        """Wait for that much more audio, and return just what was heard meanwhile."""
        return await hearing.listen(self.heard, seconds)

    def _write_tone(self) -> None:
        with wave.open(str(self._directory / "tone.wav"), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(CLOCK_HZ)
            file.writeframes(tone(self.frequency, TONE_SECONDS, level_db=-14.0).tobytes())
