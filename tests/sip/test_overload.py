"""rtpmix.sip.overload: bounds by source, and shedding by load."""

from __future__ import annotations

import pytest

from rtpmix.errors import UsageError
from rtpmix.sip.overload import RETRY_AFTER, Admission, LoadController


def test_nobody_is_refused_while_everything_is_in_time() -> None:
    load = LoadController()
    for _ in range(100):
        load.observe(0.05, 0.02)
        assert not load.sheds()


@pytest.mark.parametrize(("loop_late", "media_late"), [(0.5, 1.0), (0.9, 0.0), (0.0, 1.0)])
def test_one_stall_refuses_nobody(loop_late: float, media_late: float) -> None:
    """A busy moment of the machine is no overload: 600 legs were set up through such moments."""
    load = LoadController()
    load.observe(loop_late, media_late)
    for _ in range(20):
        load.observe(0.0, 0.1)
        assert load.level == 0.0


@pytest.mark.parametrize(("loop_late", "media_late"), [(0.3, 0.0), (0.0, 1.0)])
def test_lateness_of_either_clock_sheds_and_its_end_lets_in_again(
    loop_late: float, media_late: float
) -> None:
    load = LoadController()
    for _ in range(100):  # ten seconds
        load.observe(loop_late, media_late)
    assert 0.5 <= load.level <= 1.0
    assert sum(load.sheds() for _ in range(100)) >= 50
    levels = []
    while load.level > 0.0:
        load.observe(0.0, 0.0)
        levels.append(load.level)
    assert levels == sorted(levels, reverse=True)
    assert len(levels) >= 5  # slower back than there
    assert not any(load.sheds() for _ in range(100))


def test_a_fraction_is_spread_evenly() -> None:
    load = LoadController()
    load.level = 0.25
    assert [load.sheds() for _ in range(8)] == [False, False, False, True] * 2


def test_lasting_trouble_refuses_every_new_call_and_no_registration() -> None:
    admission = Admission(10.0, ["0.0.0.0/0"])
    for _ in range(100):
        admission.load.observe(1.0, 0.0)
    assert admission.refuses("REGISTER", "192.0.2.9", 0.0) is None
    assert [admission.refuses("INVITE", "192.0.2.9", 0.0) for _ in range(3)] == [RETRY_AFTER] * 3
    assert admission.snapshot()["load_refused"] == 3


def test_a_host_has_its_bound_and_a_trusted_one_has_none() -> None:
    admission = Admission(10.0, ["192.0.2.0/24", "2001:db8::1"])
    refused = [admission.refuses("OPTIONS", "198.51.100.1", 0.0) for _ in range(12)]
    assert refused == [None] * 10 + [RETRY_AFTER] * 2
    assert admission.refuses("OPTIONS", "198.51.100.2", 0.0) is None
    for host in ("192.0.2.7", "2001:db8::1"):
        assert not any(admission.refuses("OPTIONS", host, 0.0) for _ in range(100))
        assert all(admission.hears(host, 0.0) for _ in range(1000))
    assert sum(admission.hears("198.51.100.1", 0.0) for _ in range(1000)) == 100
    assert admission.hears("198.51.100.1", 1.0)
    assert admission.snapshot()["flood_dropped"] == 900


def test_a_million_sources_are_not_remembered() -> None:
    admission = Admission(10.0)
    for number in range(30_000):
        admission.hears(f"host{number}", 0.0)
    assert admission.snapshot()["sources"] <= 20_000
    assert len(admission._known) <= 10_000


def test_what_is_no_network_is_refused() -> None:
    with pytest.raises(UsageError, match="is not a network"):
        Admission(10.0, ["192.0.2.1/24"])
