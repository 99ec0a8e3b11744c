"""Tests of `rtpmix.recorder.facts`."""

from __future__ import annotations

import random

from rtpmix.recorder.facts import FRAGMENT, FactQueue, FactReader, encode_facts

FACTS = [
    {"event": "note", "sample": 5, "text": "short"},
    {"event": "note", "sample": 6, "text": "long " * 900},
    {"event": "note", "sample": 7, "text": "newline \n and \u00e9"},
]


def test_long_facts_are_split_and_joined_again() -> None:
    """The marker is on the last packet of a frame, and on no other."""
    packets = encode_facts(FACTS)
    assert [last for _, last in packets] == [False] * (len(packets) - 1) + [True]
    assert max(len(payload) for payload, _ in packets) == FRAGMENT
    reader = FactReader()
    found = [reader.receive(n, last, payload) for n, (payload, last) in enumerate(packets)]
    assert found[-1] == FACTS
    assert not any(found[:-1])


def test_a_lost_packet_costs_its_frame_and_no_other() -> None:
    """The sequence number tells; the next marker ends the damage."""
    packets = encode_facts(FACTS) + encode_facts(FACTS[:1])
    for missing in range(len(packets) - 2):
        reader = FactReader()
        found = []
        for number, (payload, last) in enumerate(packets):
            if number != missing:
                found += reader.receive(number, last, payload)
        assert found == FACTS[:1]
        assert reader.lost == 1


def test_nonsense_is_counted_and_never_raises() -> None:
    """It authenticated, but another program may have written it."""
    rng = random.Random(3)
    reader = FactReader()
    for number in range(2000):
        reader.receive(number, rng.random() < 0.3, rng.randbytes(rng.randrange(30)))
    assert reader.receive(2000, True, b"") == []
    assert reader.lost > 100
    assert reader.receive(2001, True, b'{"event":"x"}\n[1]\n') == [{"event": "x"}]


def test_a_frame_without_end_does_not_grow_for_ever() -> None:
    """Four megabytes, then it is dropped."""
    reader = FactReader()
    for number in range(5000):
        reader.receive(number & 0xFFFF, False, bytes(1200))
    assert sum(map(len, reader._pieces)) <= 4 * 1024 * 1024
    assert reader.receive(5000, True, b"") == []
    assert reader.lost == 1


def test_facts_that_wait_are_bounded_and_what_is_lost_is_counted() -> None:
    """A disk that refuses for ever must not fill the memory."""
    queue = FactQueue(most=3)
    for number in range(5):
        queue.put({"sample": number})
    assert queue.take() == [{"sample": 0}, {"sample": 1}, {"sample": 2}]
    assert queue.lost == 2
    assert queue.take() == []
