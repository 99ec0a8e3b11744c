"""Port pairs: even and odd, reused as late as possible."""

import pytest

from rtpmix.errors import UsageError
from rtpmix.server.ports import PortPairs


def test_pairs_are_even_and_within_the_range() -> None:
    """RFC 3550 section 11."""
    pairs = PortPairs(range(4001, 4008))
    assert [pairs.take() for _ in range(4)] == [4002, 4004, 4006, None]
    assert pairs.total == 3


def test_port_given_back_is_the_last_to_be_used_again() -> None:
    pairs = PortPairs(range(4000, 4006))
    first = pairs.take()
    assert first == 4000
    pairs.give_back(first)
    assert [pairs.take() for _ in range(3)] == [4002, 4004, 4000]


@pytest.mark.parametrize(
    "ports", [range(10), range(5, 6), range(4001, 4003), range(10, 4), range(65530, 65540)]
)
def test_range_without_a_pair_is_refused(ports: range) -> None:
    with pytest.raises(UsageError, match="RTP ports"):
        PortPairs(ports)
