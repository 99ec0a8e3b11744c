"""Calls through a whole server, in virtual time: phones, SIP, mixer, and back."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

import rtpmix
from rtpmix.testing import PhoneState, TonePhone, VirtualNet, run
from rtpmix.testing.servers import HOST, virtual_server

ALICE, BOB, CAROL = 437.0, 1013.0, 1693.0
PROXY = (HOST, 5060)


def phone(user: str, frequency: float, last: int, **more: Any) -> TonePhone:
    return TonePhone(user, host=f"192.0.2.{last}", frequency=frequency, proxy=PROXY, **more)


Story = Callable[[rtpmix.Server, TonePhone, TonePhone], Awaitable[Any]]


def play(story: Story, net: VirtualNet | None = None, **config: Any) -> Any:
    """Run a story with a server and two phones; afterwards nothing of it may be left."""
    net = net or VirtualNet(seed=1, delay_ms=5)

    async def main() -> Any:
        server = virtual_server(net, **config)
        alice, bob = phone("alice", ALICE, 10), phone("bob", BOB, 20)
        async with server, alice, bob:
            result = await story(server, alice, bob)
            for each in (alice, bob):
                if each.state is not PhoneState.IDLE:
                    each.bye()
            await asyncio.sleep(40)  # longer than any transaction lives
            left = server.snapshot()
        assert_nothing_left(left)
        return result

    return run(main(), net, limit=500)


def assert_nothing_left(left: dict[str, Any]) -> None:
    assert left["legs"] == left["handlers"] == 0, left
    live = {k: v for k, v in left["sip"].items() if (v and "transaction" in k) or k == "calls"}
    assert not any(live.values()), live
    assert left["media"]["legs"] == 0, left["media"]


def conference(server: rtpmix.Server) -> None:
    @server.on_invite
    async def meet(call: rtpmix.IncomingCall) -> None:
        leg = await call.answer()
        bridge = server.find_bridge(call.target) or await server.bridge(name=call.target)
        await bridge.add(leg)
        await leg.closed()


def test_two_callers_of_one_bridge_hear_each_other_and_not_themselves() -> None:
    async def story(server: rtpmix.Server, alice: TonePhone, bob: TonePhone) -> None:
        conference(server)
        await alice.call("sip:room@192.0.2.1")
        await bob.call("sip:room@192.0.2.1")
        await asyncio.sleep(3)
        assert alice.hears(ALICE, BOB) == {BOB}
        assert bob.hears(ALICE, BOB) == {ALICE}

    play(story)


def test_a_named_bridge_outlives_the_caller_who_opened_it_and_closes_behind_the_last() -> None:
    async def story(server: rtpmix.Server, alice: TonePhone, bob: TonePhone) -> None:
        conference(server)
        carol = phone("carol", CAROL, 30)
        async with carol:
            for each in (alice, bob, carol):
                await each.call("sip:room@192.0.2.1")
            alice.bye()
            await asyncio.sleep(2)
            assert bob.hears(ALICE, BOB, CAROL) == {CAROL}
            assert carol.hears(ALICE, BOB, CAROL) == {BOB}
            bob.bye()
            carol.bye()
            await asyncio.sleep(1)
            assert server.find_bridge("room") is None
            assert server.bridges == ()

    play(story)


def test_a_caller_is_connected_to_an_agent_whom_the_server_calls() -> None:
    async def story(server: rtpmix.Server, alice: TonePhone, bob: TonePhone) -> None:
        @server.on_invite
        async def connect(call: rtpmix.IncomingCall) -> None:
            await call.ring()
            agent = await server.invite(bob.uri)
            customer = await call.answer()
            await server.bridge(customer, agent)
            await customer.closed()

        await alice.call("sip:help@192.0.2.1")
        assert alice.progress == [180]
        await asyncio.sleep(2)
        assert alice.hears(ALICE, BOB) == {BOB}
        assert bob.hears(ALICE, BOB) == {ALICE}
        alice.bye()
        assert await bob.ended() == "remote-bye"  # the handler ended, and its legs with it

    play(story)


def test_a_caller_who_gives_up_cancels_the_call_to_the_agent() -> None:
    """RFC 3261 section 9: the agent's phone must stop ringing."""

    async def story(server: rtpmix.Server, alice: TonePhone, bob: TonePhone) -> None:
        bob.answer_after = None

        @server.on_invite
        async def connect(call: rtpmix.IncomingCall) -> None:
            await call.ring()
            await server.invite(bob.uri)

        calling = asyncio.ensure_future(alice.call("sip:help@192.0.2.1"))
        await bob.rings()
        alice.bye()
        with pytest.raises(rtpmix.CallFailed):
            await calling
        assert await bob.ended() == "cancelled"

    play(story)


@pytest.mark.parametrize("status", [486, 603, 404])
def test_a_rejection_reaches_the_caller_with_its_status(status: int) -> None:
    async def story(server: rtpmix.Server, alice: TonePhone, bob: TonePhone) -> None:
        @server.on_invite
        async def refuse(call: rtpmix.IncomingCall) -> None:
            await call.reject(status)

        with pytest.raises(rtpmix.CallFailed) as failed:
            await alice.call("sip:help@192.0.2.1")
        assert failed.value.status == status

    play(story)


def test_a_handler_that_decides_nothing_gives_480_and_one_that_fails_500() -> None:
    async def story(server: rtpmix.Server, alice: TonePhone, bob: TonePhone) -> list[int]:
        async def nothing(call: rtpmix.IncomingCall) -> None:
            pass

        async def mistake(call: rtpmix.IncomingCall) -> None:
            raise ZeroDivisionError

        seen = []
        for handler in (nothing, mistake):
            server.on_invite(handler)
            with pytest.raises(rtpmix.CallFailed) as failed:
                await alice.call("sip:help@192.0.2.1")
            seen.append(failed.value.status)
        return seen

    assert play(story) == [480, 500]


def test_a_server_without_a_handler_is_temporarily_unavailable() -> None:
    async def story(server: rtpmix.Server, alice: TonePhone, bob: TonePhone) -> None:
        with pytest.raises(rtpmix.CallFailed) as failed:
            await alice.call("sip:help@192.0.2.1")
        assert failed.value.status == 480

    play(story)


def test_a_failed_outgoing_call_says_why() -> None:
    async def story(server: rtpmix.Server, alice: TonePhone, bob: TonePhone) -> list[int]:
        seen = []
        bob.reject_with = 486
        with pytest.raises(rtpmix.CallFailed) as failed:
            await server.invite(bob.uri)
        seen.append(failed.value.status)
        bob.reject_with, bob.answer_after = None, None
        with pytest.raises(rtpmix.CallFailed) as failed:
            await server.invite(bob.uri, timeout_s=5)
        seen.append(failed.value.status)
        with pytest.raises(rtpmix.CallFailed) as failed:
            await server.invite("sip:nobody@192.0.2.99", timeout_s=60)  # timer B: 32 s
        seen.append(failed.value.status)
        assert await bob.ended() == "cancelled"
        return seen

    assert play(story) == [486, 408, 408]


@pytest.mark.parametrize("target", ["bob", "tel:+4930123", "sips:bob@192.0.2.20", "sip:", ""])
def test_a_target_that_cannot_be_called_is_the_programs_mistake(target: str) -> None:
    async def story(server: rtpmix.Server, alice: TonePhone, bob: TonePhone) -> None:
        with pytest.raises(rtpmix.UsageError):
            await server.invite(target)

    play(story)


def test_nothing_in_common_is_488_with_a_warning() -> None:
    """RFC 3261 section 21.4.26, RFC 3264 section 6."""

    async def story(server: rtpmix.Server, alice: TonePhone, bob: TonePhone) -> None:
        conference(server)
        with pytest.raises(rtpmix.CallFailed) as failed:
            await alice.call("sip:room@192.0.2.1")
        assert failed.value.status == 488

    net = VirtualNet(seed=1, delay_ms=5)

    async def main() -> None:
        server = virtual_server(net, codecs=("PCMA",))
        alice = phone("alice", ALICE, 10, codecs=("PCMU",))
        bob = phone("bob", BOB, 20)
        async with server, alice, bob:
            await story(server, alice, bob)

    run(main(), net)


def test_a_phone_that_holds_hears_nothing_and_resumes() -> None:
    async def story(server: rtpmix.Server, alice: TonePhone, bob: TonePhone) -> None:
        conference(server)
        await alice.call("sip:room@192.0.2.1")
        await bob.call("sip:room@192.0.2.1")
        await asyncio.sleep(2)
        await alice.hold()
        await asyncio.sleep(2)
        held = [leg.held for leg in server.legs]
        assert held == [True, False]
        assert alice.hears(BOB) == set()
        assert bob.hears(ALICE) == set()
        await alice.resume()
        await asyncio.sleep(2)
        assert not any(leg.held for leg in server.legs)
        assert alice.hears(ALICE, BOB) == {BOB}
        assert bob.hears(ALICE, BOB) == {ALICE}

    play(story)


def test_the_server_holds_and_resumes_a_phone() -> None:
    async def story(server: rtpmix.Server, alice: TonePhone, bob: TonePhone) -> None:
        conference(server)
        await alice.call("sip:room@192.0.2.1")
        await bob.call("sip:room@192.0.2.1")
        await asyncio.sleep(1)
        leg = server.legs[0]
        await leg.hold()
        await asyncio.sleep(2)
        assert bob.hears(ALICE) == set()
        await leg.resume()
        await asyncio.sleep(2)
        assert bob.hears(ALICE, BOB) == {ALICE}
        with pytest.raises(rtpmix.UsageError, match="another re-INVITE"):
            await asyncio.gather(leg.hold(), leg.hold())

    play(story)


def test_digits_reach_the_program_and_the_other_phone() -> None:
    """RFC 4733: events are regenerated for the other leg, whatever its payload type."""

    async def story(server: rtpmix.Server, alice: TonePhone, bob: TonePhone) -> list[str]:
        heard: list[str] = []
        conference(server)
        server.bus.call(
            lambda event: (
                heard.append(event.digit) if isinstance(event, rtpmix.DigitReceived) else None
            )
        )
        await alice.call("sip:room@192.0.2.1")
        await bob.call("sip:room@192.0.2.1")
        await asyncio.sleep(1)
        await alice.press("19*#0D")
        await asyncio.sleep(1)
        assert bob.digits == "19*#0D"
        leg = server.legs[1]
        await leg.send_digits("42")
        await asyncio.sleep(2)
        assert bob.digits == "19*#0D42"
        with pytest.raises(rtpmix.UsageError, match="use 0-9"):
            await leg.send_digits("x")
        return heard

    assert play(story) == list("19*#0D")


def test_a_leg_whose_media_stops_is_closed_after_the_timeout() -> None:
    async def story(server: rtpmix.Server, alice: TonePhone, bob: TonePhone) -> None:
        conference(server)
        await alice.call("sip:room@192.0.2.1")
        await asyncio.sleep(1)
        leg = server.legs[0]
        alice.stop_sending()
        closed = await leg.closed()
        assert closed.cause == "media-timeout"
        assert 11 <= closed.duration_s < 12
        assert await alice.ended() == "remote-bye"

    play(story, media_timeout_s=10.0)


def test_closing_the_server_says_bye_to_everybody() -> None:
    net = VirtualNet(seed=1, delay_ms=5)

    async def main() -> list[str | None]:
        server = virtual_server(net)
        alice, bob = phone("alice", ALICE, 10), phone("bob", BOB, 20)
        async with alice, bob:
            async with server:
                conference(server)
                await alice.call("sip:room@192.0.2.1")
                await bob.call("sip:room@192.0.2.1")
                await asyncio.sleep(1)
            return [await alice.ended(), await bob.ended()]

    assert run(main(), net) == ["remote-bye", "remote-bye"]


def test_one_leg_too_many_is_503_and_the_port_comes_back() -> None:
    async def story(server: rtpmix.Server, alice: TonePhone, bob: TonePhone) -> None:
        conference(server)
        for _ in range(3):
            await alice.call("sip:room@192.0.2.1")
            with pytest.raises(rtpmix.CallFailed) as failed:
                await bob.call("sip:room@192.0.2.1")
            assert failed.value.status == 503
            alice.bye()
            await alice.ended()
            await asyncio.sleep(1)

    net = VirtualNet(seed=1, delay_ms=5)

    async def main() -> None:
        server = virtual_server(net, rtp_ports=range(20000, 20002))
        alice, bob = phone("alice", ALICE, 10), phone("bob", BOB, 20)
        async with server, alice, bob:
            await story(server, alice, bob)

    run(main(), net, limit=500)


def test_every_call_survives_a_bad_network() -> None:
    """Loss, jitter, duplication and reordering of SIP and RTP: the retransmissions of RFC 3261."""

    async def story(server: rtpmix.Server, alice: TonePhone, bob: TonePhone) -> None:
        conference(server)
        for _ in range(10):
            await alice.call("sip:room@192.0.2.1", timeout_s=40)
            await bob.call("sip:room@192.0.2.1", timeout_s=40)
            await asyncio.sleep(3)
            assert alice.hears(BOB) == {BOB}
            alice.bye()
            bob.bye()
            await alice.ended()
            await bob.ended()
            await asyncio.sleep(1)

    net = VirtualNet(seed=7, delay_ms=20, jitter_ms=15, loss=0.1, duplicate=0.05)
    play(story, net)


def test_the_same_seed_gives_the_same_bytes_at_the_same_times() -> None:
    def once() -> list[tuple[float, bytes]]:
        net = VirtualNet(seed=3, delay_ms=10, jitter_ms=10, loss=0.02)
        seen: list[tuple[float, bytes]] = []

        async def main() -> None:
            server = virtual_server(net)
            alice, bob = phone("alice", ALICE, 10), phone("bob", BOB, 20)
            async with server, alice, bob:
                conference(server)
                await alice.call("sip:room@192.0.2.1")
                await bob.call("sip:room@192.0.2.1")
                await asyncio.sleep(5)
                seen.extend((packet.at, packet.data) for packet in alice.received)

        run(main(), net)
        return seen

    first = once()
    assert len(first) > 200
    assert first == once()
