"""rtpmix.sip.throttle: buckets that fill with time, and a bound on guesses."""

from __future__ import annotations

import random

import pytest

from rtpmix.errors import UsageError
from rtpmix.sip.throttle import Buckets, LoginThrottle, Rate


def test_a_bucket_gives_its_burst_and_then_its_rate() -> None:
    buckets = Buckets(Rate(2.0, 3))
    assert [buckets.take("a", 10.0) for _ in range(5)] == [True, True, True, False, False]
    assert buckets.wait("a", 10.0) == 0.5
    assert buckets.take("a", 10.5)
    assert not buckets.take("a", 10.5)
    assert buckets.wait("b", 10.5) == 0.0


def test_a_full_bucket_holds_no_more_than_its_burst() -> None:
    buckets = Buckets(Rate(2.0, 3))
    buckets.take("a", 0.0)
    assert sum(buckets.take("a", 1000.0) for _ in range(10)) == 3


def test_a_clock_that_stands_still_or_goes_back_gives_nothing_away() -> None:
    buckets = Buckets(Rate(1.0, 1))
    assert buckets.take("a", 5.0)
    assert not buckets.take("a", 4.0)
    assert not buckets.take("a", 5.0)


def test_keys_are_bounded_and_the_full_ones_go_first() -> None:
    buckets = Buckets(Rate(1.0, 1), limit=4)
    for number in range(1000):
        buckets.take(number, 0.0)
        assert len(buckets) <= 4
    assert not buckets.take(999, 0.0)  # the youngest are remembered
    buckets.take("fresh", 60.0)
    assert len(buckets) == 1  # all others were full again


@pytest.mark.parametrize("rate", [Rate(0.0, 1), Rate(1.0, 0)])
def test_a_rate_of_nothing_is_refused(rate: Rate) -> None:
    with pytest.raises(UsageError):
        Buckets(rate)


def test_no_second_sees_more_than_ten_guesses_from_one_source() -> None:
    """Seeded: guesses at random times, under a new name each."""
    chance, throttle, now = random.Random(1), LoginThrottle(), 0.0
    looked_at: list[float] = []
    for number in range(5000):
        now += chance.expovariate(50.0)
        if throttle.check("192.0.2.66", f"user{number}", now) is None:
            throttle.wrong("192.0.2.66", f"user{number}", now)
            looked_at.append(now)
    most = max(sum(1 for at in looked_at if begin <= at < begin + 1) for begin in looked_at)
    assert most <= 10
    assert 0.9 < len(looked_at) / (now * 5.0) < 1.1
    assert throttle.refused == 5000 - len(looked_at)


def test_guesses_at_one_user_from_everywhere_are_bounded_too() -> None:
    throttle = LoginThrottle()
    for number in range(10):
        assert throttle.check(f"192.0.2.{number}", "alice", 0.0) is None
        throttle.wrong(f"192.0.2.{number}", "alice", 0.0)
    refused = throttle.check("198.51.100.1", "alice", 0.0)
    assert refused is not None
    assert (refused.by_user, refused.begins, refused.retry_after) == (True, True, 1.0)
    assert throttle.check("198.51.100.1", "bob", 0.0) is None


def test_a_phone_that_logged_in_is_not_locked_out_by_others() -> None:
    throttle = LoginThrottle()
    throttle.right("192.0.2.9", "alice")
    for _ in range(50):
        throttle.wrong("192.0.2.66", "alice", 0.0)
        throttle.wrong("192.0.2.9", "mallory", 0.0)  # behind the same NAT
    assert throttle.check("192.0.2.9", "alice", 0.0) is None
    assert throttle.check("192.0.2.9", "bob", 0.0) is not None


def test_trust_ends_with_the_first_wrong_password() -> None:
    """Else whoever shares an address with a phone could guess at its password for ever."""
    throttle = LoginThrottle()
    throttle.right("192.0.2.9", "alice")
    for _ in range(10):
        throttle.wrong("192.0.2.9", "alice", 0.0)
    assert throttle.check("192.0.2.9", "alice", 0.0) is not None


def test_an_episode_is_told_once_and_again_after_it_ended() -> None:
    throttle = LoginThrottle()
    for _ in range(5):
        throttle.wrong("192.0.2.66", "x", 0.0)
    told = [throttle.check("192.0.2.66", "x", 0.0) for _ in range(3)]
    assert [each.begins for each in told if each] == [True, False, False]
    assert throttle.check("192.0.2.66", "x", 60.0) is None
    for _ in range(5):
        throttle.wrong("192.0.2.66", "x", 60.0)
    again = throttle.check("192.0.2.66", "x", 60.0)
    assert again is not None
    assert again.begins


def test_what_is_remembered_is_bounded() -> None:
    throttle = LoginThrottle(limit=10)
    for number in range(1000):
        throttle.right(f"s{number}", "u")
        throttle.wrong(f"s{number}", f"u{number}", 0.0)
        throttle.check(f"s{number}", f"u{number}", 0.0)
    counts = throttle.snapshot()
    assert counts["throttle_sources"] <= 10
    assert counts["throttle_users"] <= 10
    assert len(throttle._trusted) <= 10
