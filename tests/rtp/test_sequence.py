"""Wrapping numbers: RFC 3550 appendix A.1."""

import random

import numpy as np
import pytest

from rtpmix.rtp.sequence import ExtendedSequence, signed_difference, unwrap


def feed(*numbers: int, min_sequential: int = 0) -> list[int | None]:
    sequence = ExtendedSequence(min_sequential=min_sequential)
    return [sequence.update(number) for number in numbers]


def test_the_number_after_65535_opens_a_new_cycle() -> None:
    """RFC 3550 appendix A.1: cycles += RTP_SEQ_MOD."""
    assert feed(65534, 65535, 0, 1) == [65534, 65535, 65536, 65537]


def test_a_late_packet_from_before_the_wrap_gets_its_old_cycle() -> None:
    """RFC 3550 appendix A.1: the RFC's own extended number would be 65,536 too high."""
    assert feed(65534, 0, 65535, 1) == [65534, 65536, 65535, 65537]


def test_a_packet_older_than_the_first_one_is_below_it() -> None:
    """A reordered start: the first packet is not always the first that was sent."""
    assert feed(0, 65535) == [0, -1]


def test_a_jump_is_followed_when_the_next_packet_confirms_it() -> None:
    """RFC 3550 appendix A.1: bad_seq; two in a row are a restarted source."""
    sequence = ExtendedSequence()
    assert [sequence.update(n) for n in (10, 11, 30000, 12, 40000, 40001, 40002)] == [
        10,
        11,
        None,
        12,
        None,
        40001,
        40002,
    ]
    assert (sequence.restarts, sequence.base, sequence.expected) == (1, 40001, 2)


@pytest.mark.parametrize(
    ("ahead", "counts"), [(2999, True), (3000, False), (65436, False), (65437, True)]
)
def test_dropout_and_misorder_have_the_limits_of_the_rfc(ahead: int, counts: bool) -> None:
    """RFC 3550 appendix A.1: MAX_DROPOUT 3000, MAX_MISORDER 100."""
    assert (feed(1000, (1000 + ahead) % 65536)[1] is not None) is counts


def test_a_source_on_probation_counts_from_its_second_packet_in_a_row() -> None:
    """RFC 3550 appendix A.1: MIN_SEQUENTIAL."""
    assert feed(5, 9, 10, 11, min_sequential=2) == [None, None, 10, 11]
    assert feed(65535, 0, min_sequential=2) == [None, 0]
    assert feed(7, min_sequential=1) == [7]


def test_expected_counts_from_the_first_packet_to_the_highest() -> None:
    """RFC 3550 appendix A.3."""
    sequence = ExtendedSequence()
    assert sequence.expected == 0
    for number in (65530, 65533, 3, 1):
        sequence.update(number)
    assert sequence.expected == 10


def test_differences_are_the_short_way_round() -> None:
    """Modulo arithmetic on ints and on int64 arrays alike."""
    assert signed_difference(5, 0xFFFF_FFFB) == 10
    assert signed_difference(0xFFFF_FFFB, 5) == -10
    assert signed_difference(0, 1 << 31) == -(1 << 31)
    a = np.array([5, 0xFFFF_FFFB], dtype=np.int64)
    assert signed_difference(a, a[::-1]).tolist() == [10, -10]


def test_unwrap_inverts_the_wrap_near_its_reference() -> None:
    """Seed 3: any number within half a circle of the reference comes back."""
    rng = random.Random(3)
    for _ in range(2000):
        reference = rng.randrange(1 << 40)
        number = reference + rng.randrange(-32768, 32768)
        assert unwrap(number % 65536, reference) == number
