"""Listening to a WAV file that a program writes while the call goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import numpy as np

from rtpmix.testing.audio import CLOCK_HZ, Samples

HEADER = 44  # bytes, of a plain RIFF file of 16-bit samples
SLACK = 30.0  # seconds for a busy machine


def read_so_far(*files: Path) -> Samples:
    """Return what was written until now, one file after the other."""
    data = b"".join(file.read_bytes()[HEADER:] for file in files if file.exists())
    return np.frombuffer(data[: len(data) & ~1], "<i2")


async def listen(heard: Callable[[], Samples], seconds: float) -> Samples:
    """Wait for that much more audio, and return just what was heard meanwhile."""
    begin = len(heard())
    wanted = begin + round(seconds * CLOCK_HZ)
    async with asyncio.timeout(seconds + SLACK):
        while len(heard()) < wanted:  # noqa: ASYNC110 - a file tells nobody
            await asyncio.sleep(0.05)
    return heard()[begin:wanted]
