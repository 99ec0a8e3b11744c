"""Threads that encode beside the media thread: the codecs release the interpreter lock."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Work = TypeVar("Work")
Result = TypeVar("Result")

THREADS = 2


class CodingThreads:
    """Does the jobs of a lane in order, those of different lanes side by side.

    Parameters
    ----------
    count
        Threads; each is started when it is first needed.
    """

    def __init__(self, count: int = THREADS) -> None:
        self._threads = [
            ThreadPoolExecutor(1, thread_name_prefix=f"rtpmix-coding-{number}")
            for number in range(count)
        ]

    def __call__(self, lane: int, function: Callable[[Work], Result], work: Work) -> Future[Result]:
        """Begin a job."""
        return self._threads[lane % len(self._threads)].submit(function, work)

    def close(self) -> None:
        """Let the threads end; what has not begun is dropped."""
        for thread in self._threads:
            thread.shutdown(wait=False, cancel_futures=True)
