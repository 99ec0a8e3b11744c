"""Fixtures for tests against programs that this project did not write.

Away from CI a machine without one of them still runs the rest; where the environment variable CI
is set a missing program fails, so that nothing can quietly go untested.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NoReturn

import pytest

import rtpmix
from rtpmix.sip.overload import LoadController
from tests.interop.baresip import Baresip
from tests.interop.pjsua_phone import MODULES, Pjsua
from tests.interop.sipp import Sipp


@pytest.fixture(autouse=True)
def bears_any_load(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that runs every peer at once is late at times, and the server would shed calls.

    That it does is shown in virtual time (`tests/sip/test_overload.py`).
    """
    monkeypatch.setattr(LoadController, "observe", lambda *_: None)


def find_peer(name: str) -> str:
    """Return the path of a program; without it fail in CI, and skip elsewhere."""
    path = shutil.which(name)
    if path is None:
        absent(f"{name} is not installed; .ci/run names the Debian package")
    return path


def absent(message: str) -> NoReturn:
    """Fail in CI, and skip elsewhere."""
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)


@pytest.fixture
def node() -> str:
    """The path of Node.js, where JsSIP is installed for it."""
    path = find_peer("node")
    if not (Path(__file__).parent / "jssip/node_modules/jssip").is_dir():
        absent("JsSIP is not installed: make peers")
    return path


@pytest.fixture
def tshark() -> str:
    """The path of tshark."""
    return find_peer("tshark")


@pytest.fixture
def gst_launch() -> str:
    """The path of gst-launch-1.0."""
    return find_peer("gst-launch-1.0")


@pytest.fixture
def ffmpeg() -> str:
    """The path of ffmpeg."""
    return find_peer("ffmpeg")


@pytest.fixture
def ffprobe() -> str:
    """The path of ffprobe, which comes with ffmpeg."""
    return find_peer("ffprobe")


class Phones:
    """Makes softphones that are ended when the test is over."""

    def __init__(self, program: str, directory: Path) -> None:
        self._program = program
        self._directory = directory
        self._made: list[Baresip] = []

    async def __call__(self, name: str, frequency: float, **options: Any) -> Baresip:
        """Start a phone that speaks a tone, answers by itself and records what it hears."""
        folder = self._directory / name
        phone = Baresip(self._program, folder, name=name, frequency=frequency, **options)
        self._made.append(phone)
        await phone.start()
        return phone

    async def stop(self) -> None:
        """End every phone."""
        await asyncio.gather(*(phone.stop() for phone in self._made))


@pytest.fixture
async def phones(tmp_path: Path) -> AsyncIterator[Phones]:
    """A maker of baresip softphones."""
    maker = Phones(find_peer("baresip"), tmp_path)
    yield maker
    await maker.stop()


class PjsuaPhones:
    """Makes PJSUA2 phones that are ended when the test is over."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._made: list[Pjsua] = []

    async def __call__(self, name: str, frequency: float = 437.0, **options: Any) -> Pjsua:
        """Start a phone that speaks a tone, answers by itself and records what it hears."""
        phone = Pjsua(self._directory / name, name=name, frequency=frequency, **options)
        self._made.append(phone)
        await phone.start()
        return phone

    async def stop(self) -> None:
        """End every phone."""
        await asyncio.gather(*(phone.stop() for phone in self._made))


@pytest.fixture
async def pjsua(tmp_path: Path) -> AsyncIterator[PjsuaPhones]:
    """A maker of PJSUA2 phones."""
    if not (MODULES / "pjsua2").is_dir():
        absent("PJSUA2 is not installed: make peers")
    maker = PjsuaPhones(tmp_path)
    yield maker
    await maker.stop()


@pytest.fixture
async def sipp(tmp_path: Path) -> AsyncIterator[Sipp]:
    """A runner of SIPp scenarios."""
    runner = Sipp(find_peer("sipp"), tmp_path)
    yield runner
    await runner.stop()


@pytest.fixture
def config(tmp_path: Path) -> rtpmix.Config:
    """A server on free ports of the loopback address.

    Softphones send in bursts when the machine is busy: a deeper playout buffer keeps the
    recordings free of concealment, which would show beside the tones.
    """
    return rtpmix.Config(
        sip_listen=("udp:127.0.0.1:0", "tcp:127.0.0.1:0"),
        media_address="127.0.0.1",
        jitter_ms=80,
        recording_key=tmp_path / "recording.key",
    )


@pytest.fixture
async def server(config: rtpmix.Config) -> AsyncIterator[rtpmix.Server]:
    """A running server with `config`."""
    async with rtpmix.Server(config) as running:
        yield running
