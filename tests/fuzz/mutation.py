"""Hostile inputs: a corpus of good ones, spoilt in the ways that break parsers.

The same seed gives the same inputs in the same order, so a failure is repeated by its number.
"""

from __future__ import annotations

import gc
import os
import sys
import time
from collections.abc import Callable, Sequence
from functools import _lru_cache_wrapper
from random import Random

SECONDS = float(os.environ.get("RTPMIX_FUZZ_SECONDS", "2"))  # for each target
SEED = int(os.environ.get("RTPMIX_FUZZ_SEED", "1"))
FEWEST = 1000  # inputs, however slow the machine
LONGEST = 70_000  # bytes: a little more than a datagram can hold
TOO_SLOW_S = 0.02  # for one input, of which the best of several runs counts
LEAK_BLOCKS = 5_000  # of memory: fewer than the inputs of a second

NUMBERS = (0, 1, 255, 256, 65535, 65536, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**63, 10**40)
SEPARATORS = b'\r\n \t,;:=<>"@/?&%()[]\\\0\x7f\x80\xff'

Mutation = Callable[["Mutator", bytearray], None]


class Mutator:
    """An endless source of spoilt inputs.

    Parameters
    ----------
    corpus
        Good inputs.
    words
        Pieces that mean something to the parser under test.
    """

    def __init__(self, seed: int, corpus: Sequence[bytes], words: Sequence[bytes] = ()) -> None:
        self.random = Random(seed)
        self.corpus = list(corpus)
        self.words = list(words) or [b"\x00"]

    def next(self) -> bytes:
        """Return one input: a good one with one to six things wrong, rarely more."""
        data = bytearray(self.random.choice(self.corpus))
        for _ in range(min(int(self.random.expovariate(0.5)) + 1, 40)):
            self.random.choice(MUTATIONS)(self, data)
        return bytes(data[:LONGEST])

    def place(self, data: bytearray) -> int:
        return self.random.randrange(len(data) + 1)

    def span(self, data: bytearray, longest: int = 64) -> slice:
        start = self.place(data)
        return slice(start, min(len(data), start + self.random.randrange(1, longest)))

    def flip(self, data: bytearray) -> None:
        if data:
            data[self.random.randrange(len(data))] ^= 1 << self.random.randrange(8)

    def overwrite(self, data: bytearray) -> None:
        if data:
            data[self.random.randrange(len(data))] = self.random.randrange(256)

    def remove(self, data: bytearray) -> None:
        del data[self.span(data)]

    def cut(self, data: bytearray) -> None:
        del data[self.place(data) :]

    def repeat(self, data: bytearray) -> None:
        piece = bytes(data[self.span(data)])
        many = self.random.choice((1, 2, 3, 10, 300))
        start = self.place(data)
        data[start:start] = (piece * many)[:LONGEST]

    def separate(self, data: bytearray) -> None:
        start = self.place(data)
        piece = bytes([self.random.choice(SEPARATORS)])
        data[start:start] = piece * self.random.choice((1, 1, 2, 40, 2000))

    def insert_word(self, data: bytearray) -> None:
        start = self.place(data)
        data[start:start] = self.random.choice(self.words)

    def splice(self, data: bytearray) -> None:
        other = self.random.choice(self.corpus)
        start = self.random.randrange(len(other) + 1)
        data[self.place(data) :] = other[start:]

    def swap_lines(self, data: bytearray) -> None:
        lines = bytes(data).split(b"\r\n")
        a, b = self.random.randrange(len(lines)), self.random.randrange(len(lines))
        lines[a], lines[b] = lines[b], lines[a]
        data[:] = b"\r\n".join(lines)

    def renumber(self, data: bytearray) -> None:
        """Give a decimal number of the text a value at some edge."""
        at = next((i for i in range(self.place(data), len(data)) if data[i] in b"0123456789"), None)
        if at is None:
            return
        end = at
        while end < len(data) and data[end] in b"0123456789":
            end += 1
        sign = self.random.choice((b"", b"", b"", b"-", b"+", b"0000"))
        data[at:end] = sign + str(self.random.choice(NUMBERS)).encode()

    def noise(self, data: bytearray) -> None:
        data[self.span(data)] = self.random.randbytes(self.random.randrange(40))


MUTATIONS: tuple[Mutation, ...] = (
    Mutator.flip,
    Mutator.flip,
    Mutator.overwrite,
    Mutator.remove,
    Mutator.cut,
    Mutator.repeat,
    Mutator.separate,
    Mutator.insert_word,
    Mutator.insert_word,
    Mutator.splice,
    Mutator.swap_lines,
    Mutator.renumber,
    Mutator.noise,
)


def attack(
    target: Callable[[bytes], object],
    mutator: Mutator,
    *,
    seconds: float = SECONDS,
    most: int | None = None,
) -> int:
    """Feed a target until its time is up, and return how many inputs it took.

    Parameters
    ----------
    target
        Must neither raise nor take long, and must not keep anything.
    most
        Inputs after which to stop before the time is up; None for no such end.
    """
    begin = time.monotonic()
    blocks: int | None = None  # of memory in use, when half of the attack is over
    number = 0
    while number < FEWEST or (time.monotonic() < begin + seconds and number != most):
        data = mutator.next()
        number += 1
        try:
            spent = _timed(target, data)
        except Exception as exc:
            raise AssertionError(f"input {number} of seed {SEED} raised: {data!r}") from exc
        if spent > TOO_SLOW_S:
            spent = min(_timed(target, data) for _ in range(5))
            assert spent <= TOO_SLOW_S, f"input {number} takes {spent:.3f} s: {data[:2000]!r}"
        half = time.monotonic() > begin + seconds / 2 or number == (most or 0) // 2
        if blocks is None and number >= FEWEST and half:
            blocks = _blocks()
    grown = _blocks() - blocks if blocks is not None else 0
    assert grown < LEAK_BLOCKS, f"{grown} blocks of memory stayed behind"
    return number


def _timed(target: Callable[[bytes], object], data: bytes) -> float:
    started = time.thread_time()
    target(data)
    return time.thread_time() - started


def _blocks() -> int:
    """Count what is in use, less what is remembered under a bound and was only not yet full."""
    for memo in memos():
        memo.cache_clear()
    gc.collect()
    return sys.getallocatedblocks()


def memos() -> list[_lru_cache_wrapper[object]]:
    """Return every `lru_cache` of the library; `test_memos` holds them to their bounds."""
    return [
        one
        for one in gc.get_objects()
        if isinstance(one, _lru_cache_wrapper) and one.__module__.startswith("rtpmix")
    ]
