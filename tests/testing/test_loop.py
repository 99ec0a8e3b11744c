"""The virtual loop: time that jumps, sockets in memory, nothing that waits in vain."""

import asyncio
import math
import time

import pytest

from rtpmix.errors import UsageError
from rtpmix.testing.loop import VirtualLoop, VirtualTimeError, run
from rtpmix.testing.net import Address, VirtualNet


class Heard(asyncio.DatagramProtocol):
    """Keeps what it receives, with the loop's time."""

    def __init__(self) -> None:
        self.packets: list[tuple[float, bytes, Address]] = []
        self.errors: list[Exception] = []
        self.lost = False

    def datagram_received(self, data: bytes, addr: Address) -> None:
        self.packets.append((asyncio.get_running_loop().time(), data, addr))

    def error_received(self, exc: Exception) -> None:
        self.errors.append(exc)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True


async def endpoint(
    local: Address | None, remote: Address | None = None
) -> tuple[asyncio.DatagramTransport, Heard]:
    loop = asyncio.get_running_loop()
    return await loop.create_datagram_endpoint(Heard, local_addr=local, remote_addr=remote)


def test_thirty_two_seconds_pass_at_once() -> None:
    async def main() -> tuple[float, list[str]]:
        loop, order = asyncio.get_running_loop(), list[str]()
        loop.call_later(32, order.append, "B")
        loop.call_later(0.5, order.append, "A")
        await asyncio.sleep(40)
        return loop.time(), order

    began = time.thread_time()
    assert run(main()) == (40.0, ["A", "B"])
    assert time.thread_time() - began < 1


def test_a_test_that_would_hang_fails_instead() -> None:
    async def main() -> None:
        await asyncio.Event().wait()

    with pytest.raises(RuntimeError, match="deadlock"):
        run(main())


def test_a_test_that_waits_in_vain_beside_a_ticking_timer_fails_too() -> None:
    """Media beats for ever; what is awaited may still never come."""

    async def main() -> None:
        loop = asyncio.get_running_loop()

        def beat() -> None:
            loop.call_later(0.02, beat)

        beat()
        await asyncio.Event().wait()

    with pytest.raises(VirtualTimeError, match=r"60\.0 virtual seconds"):
        run(main(), limit=60.0)


def test_a_thousand_sleeps_do_not_drift() -> None:
    """Sleeps end at whole nanoseconds: their rounding errors do not add up."""

    async def main() -> list[float]:
        loop = asyncio.get_running_loop()
        seen = []
        for k in range(1, 1000):
            await asyncio.sleep(0.005 * k - loop.time())
            seen.append(loop.time())
        return seen

    assert run(main()) == [k * 5 / 1000 for k in range(1, 1000)]


def test_timers_of_one_instant_fire_in_the_order_they_were_set() -> None:
    """asyncio's own heap gives no order, and another party's timers would change it."""

    async def main() -> list[int]:
        loop = asyncio.get_running_loop()
        fired: list[int] = []
        for k in range(100):
            loop.call_at(1.0, fired.append, k)
            loop.call_at(0.5 + k / 1000, int)
        await asyncio.sleep(2)
        return fired

    assert run(main()) == [*range(100)]


@pytest.mark.parametrize("base", [0.0, 0.1 + 0.2, 3000.1])
def test_a_timer_never_fires_before_its_time(base: float) -> None:
    """Code that re-arms a timer until its deadline has come would never end otherwise."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        deadlines = [base]
        for _ in range(100):
            deadlines.append(math.nextafter(deadlines[-1], math.inf))
        seen: list[float] = []
        for deadline in deadlines:
            loop.call_at(deadline, lambda: seen.append(loop.time()))
        await asyncio.sleep(base + 1)
        assert seen == deadlines

    run(main())


def test_timers_a_nanosecond_apart_are_two_instants() -> None:
    async def main() -> list[float]:
        loop = asyncio.get_running_loop()
        seen: list[float] = []
        for instant in (1.000000002, 1.000000001, 1.0):
            loop.call_at(instant, lambda: seen.append(loop.time()))
        await asyncio.sleep(2)
        return seen

    assert run(main()) == [1.0, 1.000000001, 1.000000002]


def test_an_exception_in_a_callback_fails_the_run() -> None:
    """A real loop would only log it."""

    async def main() -> None:
        asyncio.get_running_loop().call_soon(lambda: 1 // 0)
        await asyncio.sleep(1)

    with pytest.raises(ZeroDivisionError):
        run(main())


def test_an_executor_runs_its_function_at_once() -> None:
    """Threads have no place in virtual time."""

    def fail() -> None:
        raise KeyError("x")

    async def main() -> int:
        with pytest.raises(KeyError):
            await asyncio.to_thread(fail)
        return await asyncio.to_thread(len, "abc")

    assert run(main()) == 3


def test_names_are_not_resolved() -> None:
    """RFC 3261 leaves it to RFC 3263; nothing in a call may block on DNS."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        with pytest.raises(UsageError, match="resolves no names"):
            await loop.getaddrinfo("example.com", 5060)
        with pytest.raises(UsageError, match="resolves no names"):
            await loop.getnameinfo(("192.0.2.1", 5060))
        with pytest.raises(UsageError, match="resolves no names"):
            await endpoint(("localhost", 0))
        with pytest.raises(UsageError, match="resolves no names"):
            await loop.create_connection(asyncio.Protocol, "example.com", 5060)

    run(main(), VirtualNet())


def test_sockets_without_a_net_are_refused() -> None:
    async def main() -> None:
        with pytest.raises(UsageError, match="VirtualNet"):
            await endpoint(("192.0.2.1", 5060))

    run(main())


def test_real_sockets_are_refused() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        with pytest.raises(UsageError):
            await loop.create_datagram_endpoint(Heard, sock=object())
        with pytest.raises(UsageError):
            await loop.create_server(asyncio.Protocol, sock=object())
        with pytest.raises(UsageError):
            await loop.create_connection(asyncio.Protocol, sock=object())

    run(main(), VirtualNet())


def test_datagrams_travel_between_endpoints_with_the_delay_of_the_net() -> None:
    async def main() -> list[tuple[float, bytes, Address]]:
        near, _ = await endpoint(("192.0.2.1", 5060))
        far, heard = await endpoint(("192.0.2.2", 5060))
        near.sendto(b"one", ("192.0.2.2", 5060))
        await asyncio.sleep(1)
        near.sendto(b"two", ("192.0.2.2", 5060))
        await asyncio.sleep(1)
        assert far.get_extra_info("sockname") == ("192.0.2.2", 5060)
        return heard.packets

    source = ("192.0.2.1", 5060)
    assert run(main(), VirtualNet(delay_ms=30)) == [(0.03, b"one", source), (1.03, b"two", source)]


def test_a_connected_endpoint_hears_its_remote_only() -> None:
    """As the kernel filters for a connected UDP socket."""

    async def main() -> list[bytes]:
        a, _ = await endpoint(("192.0.2.1", 4000))
        b, _ = await endpoint(("192.0.2.2", 4000))
        c, heard = await endpoint(("192.0.2.3", 4000), ("192.0.2.1", 4000))
        assert c.get_extra_info("peername") == ("192.0.2.1", 4000)
        for transport in (a, b):
            transport.sendto(b"x", ("192.0.2.3", 4000))
        with pytest.raises(ValueError, match="Invalid address"):
            c.sendto(b"", ("192.0.2.2", 4000))
        with pytest.raises(ValueError, match="no remote address"):
            a.sendto(b"")
        await asyncio.sleep(1)
        return [data for _, data, _ in heard.packets]

    assert run(main(), VirtualNet()) == [b"x"]


def test_a_wildcard_endpoint_hears_every_host_and_sends_from_the_nets_own() -> None:
    async def main() -> tuple[list[bytes], list[Address]]:
        server, at_server = await endpoint(("0.0.0.0", 5060))
        phone, at_phone = await endpoint(("192.0.2.9", 0))
        phone.sendto(b"hello", ("198.51.100.1", 5060))
        server.sendto(b"hi", phone.get_extra_info("sockname"))
        await asyncio.sleep(1)
        return [d for _, d, _ in at_server.packets], [a for _, _, a in at_phone.packets]

    assert run(main(), VirtualNet(host="198.51.100.1")) == ([b"hello"], [("198.51.100.1", 5060)])


def test_ports_are_given_in_order_taken_once_and_given_back() -> None:
    async def main() -> None:
        first, _ = await endpoint(("192.0.2.1", 0))
        second, _ = await endpoint(("192.0.2.1", 0))
        assert first.get_extra_info("sockname") == ("192.0.2.1", 49152)
        assert second.get_extra_info("sockname") == ("192.0.2.1", 49153)
        with pytest.raises(OSError, match="taken"):
            await endpoint(("192.0.2.1", 49152))
        first.close()
        again, _ = await endpoint(("192.0.2.1", 49152))
        again.close()

    run(main(), VirtualNet())


def test_a_closed_endpoint_is_told_and_hears_nothing_more() -> None:
    async def main() -> None:
        net = loop.net if isinstance(loop := asyncio.get_running_loop(), VirtualLoop) else None
        near, _ = await endpoint(("192.0.2.1", 1000))
        far, heard = await endpoint(("192.0.2.2", 1000))
        near.sendto(b"late", ("192.0.2.2", 1000))
        far.close()
        far.abort()
        far.sendto(b"nothing", ("192.0.2.1", 1000))
        assert far.is_closing()
        await asyncio.sleep(1)
        assert heard.lost
        assert heard.packets == []
        assert net is not None
        assert (net.counters.sent, net.counters.unreachable) == (1, 1)

    run(main(), VirtualNet())


def test_a_datagram_too_long_for_udp_is_told_to_the_protocol() -> None:
    """As asyncio tells EMSGSIZE."""

    async def main() -> list[Exception]:
        near, protocol = await endpoint(("192.0.2.1", 1000))
        near.sendto(bytes(65508), ("192.0.2.2", 1000))
        near.sendto(bytes(65507), ("192.0.2.2", 1000))
        return protocol.errors

    assert [type(error) for error in run(main(), VirtualNet())] == [OSError]
