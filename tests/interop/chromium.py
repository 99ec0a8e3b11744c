"""Headless Chromium with a microphone that says one tone, and the site that its pages come from.

A page tells what happens to it by POST, and asks for its next order by GET ``/order``.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import wave
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np

from rtpmix.testing.audio import CLOCK_HZ, Samples, tone, tones_heard
from tests.interop import hearing, processes
from tests.interop.news import News

VOICE_SECONDS = 60.0  # Chromium begins again at the end
EAR = (Path(__file__).parent / "ear.js").read_text()


class Site:
    """Serves pages, keeps what they tell, and hands out orders one by one.

    Parameters
    ----------
    pages
        What is at each path, ``{"/": "<!doctype html>..."}``.

    Attributes
    ----------
    news
        What the pages have told: objects posted to ``/news``.
    origin
        ``http://127.0.0.1:PORT``, once it listens.
    """

    def __init__(self, pages: Mapping[str, str]) -> None:
        self.news = News(str)
        self._heard = bytearray()
        self.origin = ""
        self._pages = {path: page.encode() for path, page in pages.items()}
        self._orders: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._server: asyncio.Server | None = None
        self._serving: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Listen on a free port of 127.0.0.1, which browsers trust with a microphone."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.origin = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def close(self) -> None:
        """Listen no more, and end every connection."""
        assert self._server is not None
        self._server.close()
        for task in self._serving:
            task.cancel()

    def order(self, what: str, **arguments: Any) -> None:
        """Have the page do something."""
        self._orders.put_nowait({"do": what, **arguments})

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:] if line)
            body = await reader.readexactly(int(fields.get(b"content-length", b"0")))
            path = head.split()[1].decode().partition("?")[0]
            reply = await self._reply(path, body)
            length = f"Content-Length: {len(reply)}\r\n".encode()
            name = "javascript" if path.endswith(".js") else "html"  # a module must be called so
            kind = f"Content-Type: text/{name}; charset=utf-8\r\nConnection: close\r\n".encode()
            writer.write(b"HTTP/1.1 200 OK\r\n" + kind + length + b"\r\n" + reply)
            await writer.drain()
        writer.close()

    async def _reply(self, path: str, body: bytes) -> bytes:
        if path == "/news":
            await self.news.put(json.loads(body))
        elif path == "/heard":
            self._heard += body
        elif path == "/order":
            return json.dumps(await self._orders.get()).encode()
        return self._pages.get(path, b"")

    def heard(self) -> Samples:
        """Return everything that the page has heard until now."""
        return np.frombuffer(bytes(self._heard), "<i2")

    async def listen(self, seconds: float) -> Samples:
        """Wait for that much more audio, and return just what was heard meanwhile."""
        return await hearing.listen(self.heard, seconds)

    async def comes_to_hear(self, *frequencies: float, among: Sequence[float]) -> None:
        """Wait until the page hears just these of some frequencies."""
        while tones_heard(await self.listen(0.5), among) != set(frequencies):
            pass


@asynccontextmanager
async def browsing(chromium: str, url: str, folder: Path, *, voice: float) -> AsyncIterator[None]:
    """Open a page in a browser of its own.

    Certificates are not checked: the server's authority was made for this one run.
    """
    sound = folder / "voice.wav"
    with wave.open(str(sound), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(CLOCK_HZ)
        file.writeframes(tone(voice, VOICE_SECONDS, level_db=-14.0).tobytes())
    command = [
        chromium,
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        f"--user-data-dir={folder / 'profile'}",
        "--use-fake-ui-for-media-stream",
        "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-audio-capture={sound}",
        "--autoplay-policy=no-user-gesture-required",
        "--ignore-certificate-errors",
        url,
    ]
    browser = await processes.start(command, folder / "chromium.log")
    try:
        yield
    finally:
        await processes.stop(browser)
