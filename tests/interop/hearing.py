"""Listening to what a phone hears while the call goes on, and telling whom it hears."""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Awaitable, Callable
from pathlib import Path

import numpy as np

from rtpmix.audio.resample import Stream
from rtpmix.testing.audio import CLOCK_HZ, Samples, level_db
from tests.interop.office import TONES

HEADER = 44  # bytes, of a plain RIFF file of 16-bit samples
SLACK = 30.0  # seconds for a busy machine
BLOCK = 2000  # samples
SETTLE_S = 0.75  # of the past: in playout buffers, and in those of the files
HEARD_DB, SILENT_DB = -30.0, -55.0

Listen = Callable[[float], Awaitable[Samples]]


def read_so_far(*files: Path) -> Samples:
    """Return what was written until now, one file after the other, at 8 kHz and in one channel."""
    parts = [_narrow(file.read_bytes()) for file in files if file.exists()]
    return np.concatenate([np.zeros(0, np.int16), *parts])


def _narrow(data: bytes) -> Samples:
    """Return the samples of a file that is still being written."""
    if len(data) < HEADER:
        return np.zeros(0, np.int16)
    channels = int.from_bytes(data[22:24], "little") or 1  # zeros: not written yet
    rate_hz = int.from_bytes(data[24:28], "little") or CLOCK_HZ
    block = 2 * channels * rate_hz // 1000  # what the resampler takes: whole milliseconds
    whole = len(data) - (len(data) - HEADER) % block
    samples = np.frombuffer(data[HEADER:whole], "<i2").reshape(-1, channels)[:, 0].astype(np.int16)
    return Stream(rate_hz, CLOCK_HZ).process(samples) if samples.size else samples


async def listen(heard: Callable[[], Samples], seconds: float) -> Samples:
    """Wait for that much more audio, and return just what was heard meanwhile."""
    begin = len(heard())
    wanted = begin + round(seconds * CLOCK_HZ)
    async with asyncio.timeout(seconds + SLACK):
        while len(heard()) < wanted:  # noqa: ASYNC110 - a file tells nobody
            await asyncio.sleep(0.05)
    return heard()[begin:wanted]


def usual_level_db(heard: Samples, frequency: float) -> float:
    """Return the median level of a tone over short blocks.

    Over the whole recording a tone could cancel itself: a talker that stalls on a busy machine
    comes back in another phase.
    """
    blocks = heard[: len(heard) // BLOCK * BLOCK].reshape(-1, BLOCK)
    return statistics.median(level_db(block, frequency) for block in blocks)


async def hears_only(listen: Listen, talker: str) -> None:
    """Wait until one of the three users is heard, and never another.

    What comes out of buffers is passed over. A busy machine may leave a phone without its turn for
    a while: that delays hearing somebody, and never lets anybody be heard who should not be.
    """
    await listen(SETTLE_S)
    async with asyncio.timeout(SLACK):
        while True:
            heard = await listen(1.0)
            levels = {name: usual_level_db(heard, tone) for name, tone in TONES.items()}
            wanted = levels.pop(talker)
            assert max(levels.values()) < SILENT_DB, f"beside {talker} is heard: {levels}"
            if wanted > HEARD_DB:
                return


async def hear_each_other(ears: dict[str, Listen]) -> None:
    """Check the tones at both ends of a conversation of two."""
    one, other = ears
    await asyncio.gather(hears_only(ears[one], other), hears_only(ears[other], one))
