"""Reception quality: RFC 3550 section 6.4.1, appendices A.3 and A.8."""

import random

import numpy as np
import pytest

from rtpmix.errors import UsageError
from rtpmix.rtp.reception import ReceptionStats, next_jitter
from rtpmix.rtp.rtcp import SenderReport


def test_a_steady_stream_has_no_jitter_while_its_timestamp_wraps() -> None:
    """Unwrapped floats report 33,554 s here; the RFC's u_int32 arithmetic reports 0."""
    stats = ReceptionStats(1)
    for i in range(100):
        stats.receive(i, (0xFFFF_FFFF - 5000 + 160 * i) % (1 << 32), 1000 + 160 * i)
    assert stats.jitter == 0


def test_a_steady_stream_has_no_jitter_while_our_clock_wraps() -> None:
    """The arrival clock is taken modulo 2**32 too."""
    stats = ReceptionStats(1)
    for i in range(100):
        stats.receive(i, 160 * i, (1 << 32) - 8000 + 160 * i)
    assert stats.jitter == 0


def test_jitter_follows_the_integer_form_of_appendix_a8() -> None:
    """RFC 3550 A.8: s->jitter += d - ((s->jitter + 8) >> 4), reported >> 4."""
    stats = ReceptionStats(1)
    lateness = [0, 16, 0, 32, 32, 8]
    expected, previous = 0, 0
    for i, late in enumerate(lateness):
        stats.receive(i, 160 * i, 160 * i + late)
        if i:
            expected += abs(late - previous) - ((expected + 8) >> 4)
        previous = late
        assert stats.jitter == expected >> 4
    assert stats.jitter_ms == expected / 16 / 8


def test_jitter_of_alternating_packets_settles_at_their_difference() -> None:
    """RFC 3550 section 6.4.1: the mean deviation, with gain 1/16."""
    stats = ReceptionStats(1)
    for i in range(400):
        stats.receive(i, 160 * i, 160 * i + (40 if i % 2 else 0))
    assert stats.jitter in (39, 40)  # the integer form rounds down by up to half a unit
    assert stats.jitter_ms == pytest.approx(5.0, abs=0.1)


def test_jitter_of_many_legs_at_once_equals_one_by_one() -> None:
    """The mixer keeps jitter in int64 arrays, seed 4."""
    rng = np.random.default_rng(4)
    now, before = rng.integers(0, 1 << 32, (2, 50))
    state = rng.integers(0, 1 << 20, 50)
    together = next_jitter(state, now, before)
    alone = [
        next_jitter(int(s), int(n), int(b)) for s, n, b in zip(state, now, before, strict=True)
    ]
    assert together.tolist() == alone


def test_loss_is_expected_less_received_and_the_fraction_is_per_report() -> None:
    """RFC 3550 appendix A.3."""
    stats = ReceptionStats(7)
    for number in (65534, 65535, 0, 2, 3):  # 1 is missing
        stats.receive(number, 0, 0)
    first = stats.report(0)
    assert (first.ssrc, first.cumulative_lost, first.fraction_lost) == (7, 1, 256 // 6)
    assert first.highest_sequence == 65536 + 3
    for number in (4, 5, 6, 7):
        stats.receive(number, 0, 0)
    second = stats.report(0)
    assert (second.cumulative_lost, second.fraction_lost) == (1, 0)


def test_the_fraction_is_of_the_packets_since_the_last_report_alone() -> None:
    """RFC 3550 appendix A.3: expected_prior and received_prior."""
    stats = ReceptionStats(7)
    for number in range(100):
        stats.count(number)
    stats.report(0)
    for number in (100, 101, 103):
        stats.count(number)
    assert stats.report(0).fraction_lost == 256 // 4


def test_duplicates_make_the_loss_negative_and_the_fraction_zero() -> None:
    """RFC 3550 section 6.4.1: the cumulative count is signed."""
    stats = ReceptionStats(7)
    for number in (1, 1, 1, 2):
        stats.count(number)
    block = stats.report(0)
    assert (block.cumulative_lost, block.fraction_lost) == (-2, 0)


def test_everything_lost_since_the_last_report_is_255_of_256() -> None:
    """RFC 3550 section 6.4.1: eight bits; nothing expected is no loss."""
    stats = ReceptionStats(7)
    for number in range(10):
        stats.count(number)
    stats.report(0)
    assert stats.report(0).fraction_lost == 0
    for number in (2500, 5000, 7500):
        stats.count(number)
    assert stats.report(0).fraction_lost == 255


def test_a_restarted_source_starts_its_counts_again() -> None:
    """RFC 3550 appendix A.1: loss statistics are reset."""
    stats = ReceptionStats(7)
    for number in (1, 2, 9, 30000, 30001, 30002):
        stats.receive(number, 160 * number, 160 * number)
    assert (stats.expected, stats.received, stats.lost) == (2, 2, 0)


def test_a_report_names_the_last_sender_report_and_its_age() -> None:
    """RFC 3550 section 6.4.1: LSR is the middle of the NTP time, DLSR in 1/65,536 s."""
    stats = ReceptionStats(7)
    assert (stats.report(0).last_sender_report, stats.report(0).delay_since_last) == (0, 0)
    report = SenderReport(
        ssrc=7, ntp=0xB705_2000_1234_5678, rtp_timestamp=0, packet_count=0, octet_count=0
    )
    stats.sender_reported(report, (1 << 32) - 4000)
    block = stats.report(38000)  # 42,000 samples of 1/8000 s later, over the wrap
    assert block.last_sender_report == 0x2000_1234
    assert block.delay_since_last == 5.25 * 65536


def test_random_packets_never_overflow_a_report() -> None:
    """What a peer sends stays within the fields, seed 5."""
    rng = random.Random(5)
    stats = ReceptionStats(7, min_sequential=2)
    for i in range(20000):
        stats.receive(rng.randrange(1 << 16), rng.randrange(1 << 32), i)
        if i % 50 == 0:
            block = stats.report(i)
            assert 0 <= block.fraction_lost <= 255
            assert -(1 << 23) <= block.cumulative_lost < 1 << 23
            assert 0 <= block.jitter < 1 << 32


def test_a_clock_without_a_rate_is_the_callers_error() -> None:
    with pytest.raises(UsageError, match="8000"):
        ReceptionStats(1, clock_hz=0)
