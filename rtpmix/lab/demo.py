"""Demo phones: agents who answer, customers who call and hang up, each with a tone of its own.

They are ordinary SIP phones on the loopback interface, in the same process for convenience.
"""

from __future__ import annotations

import asyncio
import random

from rtpmix import CallFailed
from rtpmix.sip.flow import Address
from rtpmix.testing import TonePhone

from .config import LabConfig

CUSTOMERS = ("dora", "emil", "fay")
TALK_S = (20.0, 90.0)
PAUSE_S = (2.0, 12.0)
# None is a harmonic of another: who hears whom stays readable in a spectrum.
TONES_HZ = (437, 523, 601, 709, 811, 919, 1013, 1123, 1237, 1361, 1481, 1693)
REMEMBERED = 50  # packets: a demo phone's ears need no history


class DemoPhones:
    """Phones for every user of a configuration, and customers who call its first queue.

    Parameters
    ----------
    address
        Where the lab listens for SIP.
    rng
        Decides who calls when, and for how long.
    """

    def __init__(self, config: LabConfig, address: Address, rng: random.Random) -> None:
        self._rng = rng
        self._tasks: list[asyncio.Task[None]] = []
        self._queue = next(iter(config.queues), None)
        self._realm = config.server.realm
        tones = iter(TONES_HZ * 10)
        self.users = [
            TonePhone(
                user.name,
                frequency=next(tones),
                proxy=address,
                domain=self._realm,
                password=user.password,
                answer_after=rng.uniform(0.5, 2.0),
                keep=REMEMBERED,
            )
            for user in config.users.values()
        ]
        self.customers = [
            TonePhone(name, frequency=next(tones), proxy=address, keep=REMEMBERED)
            for name in CUSTOMERS
            if name not in config.users
        ]

    async def open(self) -> None:
        """Register the users' phones and let the customers begin to call."""
        for phone in (*self.users, *self.customers):
            await phone.open()
        for phone in self.users:
            await phone.register()
        if self._queue is not None:
            loop = asyncio.get_running_loop()
            self._tasks = [loop.create_task(self._live(phone)) for phone in self.customers]

    async def close(self) -> None:
        """Hang up and stop."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for phone in (*self.customers, *self.users):
            await phone.close()

    async def _live(self, phone: TonePhone) -> None:
        """Call, talk, hang up, wait, for ever."""
        while True:
            await asyncio.sleep(self._rng.uniform(*PAUSE_S))
            try:
                await phone.call(f"sip:{self._queue}@{self._realm}")
            except CallFailed:
                continue  # the lab is full or closing: later again
            try:
                async with asyncio.timeout(self._rng.uniform(*TALK_S)):
                    await phone.ended()
            except TimeoutError:
                phone.bye()
                await phone.ended()
