"""Tests of `rtpmix.rtp.srtp_batch`; the oracle is pylibsrtp, one packet at a time."""

from __future__ import annotations

import gc

import numpy as np
import pytest

from rtpmix.errors import SrtpError, UsageError
from rtpmix.rtp.srtp import (
    SUITES,
    MasterKey,
    SrtpAuthenticationError,
    SrtpReplayError,
    SrtpSession,
)
from rtpmix.rtp.srtp_batch import TRAILER, Boxes, Ciphers, refusal

SIZE, AT = 172, 44


def packet(row: int, sequence: int, size: int = SIZE) -> bytes:
    head = b"\x80\x00" + sequence.to_bytes(2, "big") + bytes(4) + (1 + row).to_bytes(4, "big")
    return head + bytes(n * row & 0xFF for n in range(size - 12))


def boxes(packets: list[bytes], at: int = AT) -> Boxes:
    data = np.full((len(packets), at + 400), 0xEE, np.uint8)
    for row, each in zip(data, packets, strict=True):
        row[at : at + len(each)] = np.frombuffer(each, np.uint8)
    made = Boxes(data, at)
    made.lengths[:] = [len(each) for each in packets]
    return made


def contents(filled: Boxes, at: int = AT) -> list[bytes]:
    sizes = filled.lengths.tolist()
    return [row[at : at + size].tobytes() for row, size in zip(filled.data, sizes, strict=True)]


@pytest.mark.parametrize("suite", SUITES)
def test_a_batch_is_what_pylibsrtp_makes_of_each_packet(suite: str) -> None:
    keys = [MasterKey.generate(suite) for _ in range(5)]
    there = Ciphers([SrtpSession.sender(key) for key in keys])
    back = Ciphers([SrtpSession.receiver(key) for key in keys])
    twins = [SrtpSession.sender(key) for key in keys]
    for sequence in (65534, 65535, 0, 1):  # the roll-over counter goes with it
        plain = [packet(row, sequence, SIZE + 11 * row) for row in range(5)]
        batch = boxes(plain)
        assert batch.protect(there) == []
        assert contents(batch) == [
            twin.protect(each) for twin, each in zip(twins, plain, strict=True)
        ]
        assert (batch.data[:, :AT] == 0xEE).all()
        assert batch.unprotect(back) == {}
        assert contents(batch) == plain


@pytest.mark.parametrize("suite", SUITES)
def test_what_does_not_pass_is_told_by_row_and_does_not_harm_the_others(suite: str) -> None:
    keys = [MasterKey.generate(suite) for _ in range(6)]
    peers = [SrtpSession.sender(key) for key in keys]
    receivers = [SrtpSession.receiver(key) for key in keys]
    ciphers = Ciphers(receivers)
    first = [peer.protect(packet(row, 1)) for row, peer in enumerate(peers)]
    assert boxes(first).unprotect(ciphers) == {}
    second = [peer.protect(packet(row, 2)) for row, peer in enumerate(peers)]
    came = list(second)
    came[1] = bytes(second[1][:-1]) + bytes([second[1][-1] ^ 1])  # changed on its way
    came[2] = first[2]  # again
    came[3] = packet(3, 2)  # in the clear
    came[4] = second[4][:5]  # no RTP
    batch = boxes(came)
    failed = batch.unprotect(ciphers)
    assert set(failed) == {1, 2, 3, 4}
    assert isinstance(refusal(failed[1]), SrtpAuthenticationError)
    assert isinstance(refusal(failed[2]), SrtpReplayError)
    assert isinstance(refusal(failed[3]), SrtpAuthenticationError)
    assert type(refusal(failed[4])) is SrtpError
    found = contents(batch)
    assert [found[0], found[5]] == [packet(0, 2), packet(5, 2)]
    # A forged packet moves nothing: the true one passes afterwards.
    for row in (1, 3, 4):
        assert receivers[row].unprotect(second[row]) == packet(row, 2)


def test_some_rows_of_many() -> None:
    keys = [MasterKey.generate() for _ in range(4)]
    came = [SrtpSession.sender(key).protect(packet(row, 9)) for row, key in enumerate(keys)]
    batch = boxes(came)
    places = [3, 1]
    assert batch.unprotect(Ciphers([SrtpSession.receiver(keys[i]) for i in places]), places) == {}
    found = contents(batch)
    assert [found[1], found[3]] == [packet(1, 9), packet(3, 9)]
    assert [found[0], found[2]] == [came[0], came[2]]


def test_where_a_packet_can_not_be_protected_lies_nothing_of_it() -> None:
    """libsrtp refuses a sequence number that it has protected already."""
    key = MasterKey.generate()
    used = SrtpSession.sender(key)
    used.protect(packet(1, 5))
    batch = boxes([packet(0, 5), packet(1, 5)])
    assert batch.protect(Ciphers([SrtpSession.sender(key), used])) == [1]
    assert not batch.data[1].any()
    assert batch.data[0].any()


def test_a_packet_too_long_for_its_row_or_for_libsrtp_is_the_callers_mistake() -> None:
    ciphers = Ciphers([SrtpSession.sender(MasterKey.generate())])
    tight = Boxes(np.zeros((1, SIZE + TRAILER - 1), np.uint8))
    tight.lengths[:] = SIZE
    with pytest.raises(UsageError, match="do not fit"):
        tight.protect(ciphers)
    long = Boxes(np.zeros((1, 3000), np.uint8))
    long.lengths[:] = 1353
    with pytest.raises(UsageError, match="do not fit"):
        long.protect(ciphers)
    long.lengths[:] = 3001
    with pytest.raises(UsageError, match="not in these rows"):
        long.unprotect(ciphers)
    with pytest.raises(UsageError, match="rows of octets"):
        Boxes(np.zeros((4, 4), np.uint8)[:, ::2])
    with pytest.raises(UsageError, match="2 packets"):
        tight.protect(Ciphers([SrtpSession.sender(MasterKey.generate()) for _ in range(2)]))


def test_a_batch_keeps_its_sessions() -> None:
    key = MasterKey.generate()
    ciphers = Ciphers([SrtpSession.sender(key)])
    gc.collect()
    batch = boxes([packet(0, 1)])
    assert batch.protect(ciphers) == []
    assert contents(batch) == [SrtpSession.sender(key).protect(packet(0, 1))]
