"""The network in a box: impairments that are seeded, counted, and independent per direction."""

import asyncio
import itertools
from collections.abc import Callable

import pytest

from rtpmix.errors import UsageError
from rtpmix.testing.loop import run
from rtpmix.testing.net import Address, Link, Passage, VirtualNet

A, B, C = ("192.0.2.1", 4000), ("192.0.2.2", 4000), ("192.0.2.3", 4000)


def stream(
    net: VirtualNet, count: int, *pairs: tuple[Address, Address], spacing: float = 0.02
) -> dict[Address, list[tuple[float, int]]]:
    """Send numbered datagrams over each pair; return (arrival time, number) by destination."""
    heard: dict[Address, list[tuple[float, int]]] = {}

    async def main() -> None:
        loop = asyncio.get_running_loop()

        def ear(address: Address) -> Callable[[bytes, Address], None]:
            heard[address] = []
            return lambda data, _: heard[address].append((loop.time(), int(data)))

        addresses = {end for pair in pairs for end in pair}
        ends = {end: net.bind(end, ear(end)) for end in sorted(addresses)}
        for number in range(count):
            for source, destination in pairs:
                ends[source].send(str(number).encode(), destination)
            await asyncio.sleep(spacing)
        await asyncio.sleep(5)

    run(main(), net)
    return heard


def numbers(arrivals: list[tuple[float, int]]) -> list[int]:
    return [number for _, number in arrivals]


def test_a_perfect_net_delivers_everything_at_once_and_in_order() -> None:
    net = VirtualNet()
    arrivals = stream(net, 100, (A, B))[B]
    assert arrivals == [(round(0.02 * n, 9), n) for n in range(100)]
    assert (net.counters.sent, net.counters.delivered, net.counters.lost) == (100, 100, 0)


def test_many_datagrams_of_one_instant_keep_their_order() -> None:
    """asyncio's own timers would not."""
    assert numbers(stream(VirtualNet(delay_ms=10), 500, (A, B), spacing=0.0)[B]) == [*range(500)]


def test_the_same_seed_gives_the_same_arrivals_and_another_seed_others() -> None:
    def arrivals(seed: int) -> list[tuple[float, int]]:
        net = VirtualNet(seed, delay_ms=40, jitter_ms=30, loss=0.1, duplicate=0.1, reorder=0.1)
        return stream(net, 500, (A, B))[B]

    assert arrivals(1) == arrivals(1)
    assert arrivals(1) != arrivals(2)


def test_a_third_party_changes_nothing_for_the_others() -> None:
    """What makes a call comparable with itself without the supervisor."""

    def net() -> VirtualNet:
        return VirtualNet(7, delay_ms=40, jitter_ms=30, loss=0.1, duplicate=0.1, reorder=0.1)

    alone = stream(net(), 500, (A, B), (B, A))
    watched = stream(net(), 500, (A, C), (A, B), (B, C), (B, A))
    assert len(alone[A]) > 400
    assert (watched[A], watched[B]) == (alone[A], alone[B])


def test_another_delay_does_not_change_which_datagrams_are_lost() -> None:
    near = numbers(stream(VirtualNet(3, loss=0.2), 500, (A, B))[B])
    far = numbers(stream(VirtualNet(3, loss=0.2, delay_ms=100, jitter_ms=5), 500, (A, B))[B])
    assert near == far
    assert 350 < len(near) < 450


def test_jitter_keeps_the_order_and_its_bounds() -> None:
    arrivals = stream(VirtualNet(4, delay_ms=20, jitter_ms=60), 500, (A, B))[B]
    assert numbers(arrivals) == [*range(500)]
    delays = [at - 0.02 * number for at, number in arrivals]
    assert 0.02 <= min(delays) < 0.03
    assert 0.07 < max(delays) <= 0.0800001


def test_reordering_holds_a_datagram_back_past_its_followers() -> None:
    net = VirtualNet(5, reorder=0.1)
    heard = numbers(stream(net, 500, (A, B))[B])
    assert heard != sorted(heard)
    assert sorted(heard) == [*range(500)]
    assert 30 < net.counters.reordered < 70


def test_duplicates_are_delivered_twice_and_counted() -> None:
    net = VirtualNet(6, duplicate=0.1)
    heard = numbers(stream(net, 500, (A, B))[B])
    assert len(heard) == 500 + net.counters.duplicated
    assert 30 < net.counters.duplicated < 70


def test_bursts_lose_neighbours_together() -> None:
    """A Gilbert model: the mean burst is burst_packets long."""
    net = VirtualNet(8, burst_start=0.01, burst_packets=10)
    heard = numbers(stream(net, 5000, (A, B))[B])
    gaps = [b - a - 1 for a, b in itertools.pairwise(heard) if b - a > 1]
    assert 30 < len(gaps) < 70
    assert 7 < sum(gaps) / len(gaps) < 13
    assert net.counters.lost >= sum(gaps)


def test_a_rule_holds_for_one_direction_and_the_latest_rule_counts() -> None:
    net = VirtualNet()
    net.set_link(Link(loss=1.0), source=A[0])
    net.set_link(Link(delay_ms=500.0), source=A, destination=C)
    heard = stream(net, 10, (A, B), (B, A), (A, C))
    assert numbers(heard[B]) == []
    assert numbers(heard[A]) == [*range(10)]
    assert heard[C][0] == (0.5, 0)


def test_a_link_may_change_during_the_run() -> None:
    net = VirtualNet(delay_ms=10)
    passages: list[Passage] = []
    net.observe(passages.append)

    async def main() -> None:
        a = net.bind(A, lambda *_: None)
        for loss in (0.0, 1.0, 0.0):
            net.change_link(loss=loss)
            a.send(b"x", B)
            await asyncio.sleep(1)

    run(main(), net)
    assert [p.arrivals for p in passages] == [(0.01,), (), (2.01,)]
    assert passages[0] == Passage(0.0, A, B, b"x", (0.01,))
    assert net.counters.unreachable == 2


@pytest.mark.parametrize(
    "settings",
    [{"loss": 1.1}, {"duplicate": -0.1}, {"delay_ms": -1.0}, {"burst_packets": 0.5}],
)
def test_an_impossible_link_is_the_callers_error(settings: dict[str, float]) -> None:
    with pytest.raises(UsageError):
        VirtualNet(**settings)  # type: ignore[arg-type]


def test_a_net_serves_one_loop() -> None:
    net = VirtualNet()
    with pytest.raises(UsageError, match="no loop"):
        _ = net.loop

    async def main() -> None:
        await asyncio.sleep(0)

    run(main(), net)
    with pytest.raises(UsageError, match="one for each run"):
        run(main(), net)
