"""What readers of a peer's texts remember has a bound that strangers can't move."""

from __future__ import annotations

import sys
import tracemalloc
from collections.abc import Callable
from contextlib import suppress

import pytest

from rtpmix.errors import SipParseError
from rtpmix.sdp.texts import ip_literal
from rtpmix.sip.fields import read_name_addrs
from rtpmix.sip.uri import parse_uri
from tests.fuzz.mutation import memos

MOST_ENTRIES = 4096
MOST_OCTETS = 16 * 1024 * 1024  # of one reader, filled with the worst that it remembers

READERS: list[tuple[str, Callable[[str], object], str]] = [
    ("URIs", parse_uri, "sip:{}@h" + ";a" * 60),
    ("name-addrs", lambda text: read_name_addrs([text]), "<sip:{}@h>" + ";a" * 120),
    ("addresses", ip_literal, "192.0.2.{}"),
]


def test_every_memo_of_the_library_has_a_bound() -> None:
    found = memos()
    assert len(found) >= 4, "the memos were not found: this test would pass without looking"
    for memo in found:
        most = memo.cache_info().maxsize
        assert most is not None, memo
        assert most <= MOST_ENTRIES, memo


@pytest.mark.parametrize(("what", "read", "text"), READERS)
def test_a_stranger_who_never_repeats_himself_fills_a_memo_and_no_more(
    what: str, read: Callable[[str], object], text: str
) -> None:
    for memo in memos():
        memo.cache_clear()
    tracemalloc.start()
    try:
        kept: list[int] = []
        for number in range(3 * MOST_ENTRIES):
            with suppress(SipParseError):
                read(text.format(sys.maxsize - number))
            if number in (MOST_ENTRIES, 2 * MOST_ENTRIES):
                kept.append(tracemalloc.get_traced_memory()[0])
        kept.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    assert kept[2] < MOST_OCTETS, what
    assert kept[2] < 1.2 * kept[1] + 65_536, what
