"""rtpmix.server.randomness: the system's numbers, fetched for many calls at once."""

from __future__ import annotations

import os

import pytest

from rtpmix.server import randomness
from rtpmix.server.randomness import PooledRandom


def test_each_octet_of_the_system_is_given_out_once(monkeypatch: pytest.MonkeyPatch) -> None:
    fetched: list[bytes] = []

    def urandom(size: int) -> bytes:
        fetched.append(bytes((size * len(fetched) + at) % 251 for at in range(size)))
        return fetched[-1]

    monkeypatch.setattr(randomness.os, "urandom", urandom)
    source = PooledRandom()
    drawn = b"".join(source.getrandbits(80).to_bytes(10, "big") for _ in range(1000))
    given = b"".join(pool[: len(pool) // 10 * 10] for pool in fetched)
    assert given.startswith(drawn)
    assert len(fetched) == 3


def test_bits_are_as_many_as_were_asked_for() -> None:
    source = PooledRandom()
    for bits in (0, 1, 7, 8, 9, 31, 32, 62, 80, 40_000):
        drawn = [source.getrandbits(bits) for _ in range(200)]
        assert all(0 <= number < 1 << bits for number in drawn)
        assert bits < 9 or max(drawn).bit_length() > bits - 9
    assert {source.randrange(3) for _ in range(200)} == {0, 1, 2}
    with pytest.raises(ValueError, match="bits"):
        source.getrandbits(-1)


def test_a_forked_child_draws_other_numbers() -> None:
    source = PooledRandom()
    source.getrandbits(8)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:  # pragma: no cover - in the child
        os.write(writer, source.getrandbits(256).to_bytes(32, "big"))
        os._exit(0)
    os.waitpid(child, 0)
    theirs = os.read(reader, 32)
    os.close(reader)
    os.close(writer)
    assert len(theirs) == 32
    assert theirs != source.getrandbits(256).to_bytes(32, "big")
