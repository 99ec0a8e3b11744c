"""Supervision through a whole server in virtual time: who hears whom, and what the wire shows."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

import rtpmix
from rtpmix.supervision import fold, verify_chain
from rtpmix.testing import PhoneState, TonePhone, VirtualNet, run
from rtpmix.testing.servers import HOST, virtual_server

AGENT, CUSTOMER, COACH = TONES = (437.0, 1013.0, 1693.0)
MONITOR, WHISPER, BARGE, TAKEOVER = rtpmix.Mode


class Scene:
    """A customer and an agent in a bridge, and a supervisor's phone."""

    def __init__(self, **config: Any) -> None:
        self.net = VirtualNet(seed=5, delay_ms=8)
        self.server = virtual_server(self.net, **config)
        self.agent = TonePhone("agent", host="192.0.2.10", port=5060, frequency=AGENT)
        self.customer = TonePhone("customer", host="192.0.2.20", frequency=CUSTOMER)
        self.coach = TonePhone("coach", host="192.0.2.30", port=5060, frequency=COACH)
        self.events: list[rtpmix.Event] = []

    async def connect(self) -> None:
        """Let the customer call, and the agent be called."""
        ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        @self.server.on_invite
        async def support_line(call: rtpmix.IncomingCall) -> None:
            self.customer_leg = await call.answer()
            self.agent_leg = await self.server.invite(self.agent.uri)
            self.bridge = await self.server.bridge(self.customer_leg, self.agent_leg)
            ready.set_result(None)
            await self.customer_leg.closed()

        self.server.bus.call(self.events.append)
        await self.customer.call(f"sip:help@{HOST}")
        await ready
        await asyncio.sleep(1)

    async def supervise(self, mode: rtpmix.Mode = MONITOR) -> rtpmix.Supervision:
        """Call the coach, and attach their leg."""
        self.coach_leg = await self.server.invite(self.coach.uri)
        await asyncio.sleep(0.2)
        return await self.bridge.supervise(self.coach_leg, agent=self.agent_leg, mode=mode)

    def heard(self) -> tuple[set[float], set[float], set[float]]:
        """Return the tones of the last second: for agent, customer, coach."""
        return tuple(p.hears(*TONES) for p in (self.agent, self.customer, self.coach))  # type: ignore[return-value]

    def facts(self) -> list[str]:
        """Return the names of the supervision facts so far."""
        return [e.fact for e in self.events if isinstance(e, rtpmix.SupervisionEvent)]


HEARD = {
    MONITOR: ({CUSTOMER}, {AGENT}, {AGENT, CUSTOMER}),
    WHISPER: ({CUSTOMER, COACH}, {AGENT}, {AGENT, CUSTOMER}),
    BARGE: ({CUSTOMER, COACH}, {AGENT, COACH}, {AGENT, CUSTOMER}),
    TAKEOVER: ({CUSTOMER, COACH}, {COACH}, {CUSTOMER}),
}


def act(play: Callable[[Scene], Awaitable[Any]], **config: Any) -> Any:
    """Play a scene to its end, and see that nothing of it is left."""
    scene = Scene(**config)

    async def main() -> Any:
        async with scene.server, scene.agent, scene.customer, scene.coach:
            await scene.connect()
            result = await play(scene)
            if scene.customer.state is not PhoneState.IDLE:
                scene.customer.bye()
            await asyncio.sleep(5)
            assert scene.server.legs == ()
            assert scene.server.bridges == ()
        return result

    return run(main(), scene.net, limit=600)


def test_each_party_hears_what_the_table_says_in_every_mode_from_every_mode() -> None:
    async def play(scene: Scene) -> None:
        supervision = await scene.supervise()
        for mode in (WHISPER, BARGE, TAKEOVER, MONITOR, BARGE, WHISPER, TAKEOVER, BARGE, MONITOR):
            changed = await supervision.set_mode(mode)
            assert changed is not None
            assert changed.after is mode
            await asyncio.sleep(1.3)
            assert scene.heard() == HEARD[mode], mode

    act(play)


def test_the_customers_packets_are_the_same_with_a_whisperer_and_without() -> None:
    """Payload, header and time of every packet, with ``==``: invariants 1, 2 and 5."""

    def packets(supervised: bool) -> list[tuple[float, bytes]]:
        async def play(scene: Scene) -> list[tuple[float, bytes]]:
            if supervised:
                supervision = await scene.supervise()
                await supervision.set_mode(WHISPER)
                await asyncio.sleep(1)
                await supervision.set_mode(MONITOR)
                await asyncio.sleep(0.5)
                await scene.coach_leg.hangup()
            await asyncio.sleep(5 - (asyncio.get_running_loop().time() % 5))
            return [(packet.at, packet.data) for packet in scene.customer.received]

        return act(play)  # type: ignore[no-any-return]

    alone, watched = packets(False), packets(True)
    count = min(len(alone), len(watched))
    assert count > 150
    assert alone[:count] == watched[:count]


def test_the_customers_stream_goes_on_unbroken_through_a_takeover() -> None:
    """Invariant 5: one SSRC, sequence +1, timestamp +160, and no re-INVITE."""

    async def play(scene: Scene) -> None:
        signalled: list[bytes] = []
        scene.net.observe(
            lambda seen: (
                signalled.append(seen.data)
                if seen.destination == ("192.0.2.20", scene.customer.port)
                else None
            )
        )
        supervision = await scene.supervise()
        await supervision.takeover(fate=rtpmix.Fate.LISTEN)
        await asyncio.sleep(2)
        await supervision.hand_back()
        await asyncio.sleep(2)
        stream = [packet.packet for packet in scene.customer.received]
        assert len({each.ssrc for each in stream}) == 1
        for before, after in itertools.pairwise(stream):
            assert (after.sequence_number - before.sequence_number) % 65536 == 1
            assert (after.timestamp - before.timestamp) % 2**32 == 160
        assert signalled == []

    act(play)


def test_a_takeover_releases_the_agent_with_a_goodbye_and_a_reason() -> None:
    async def play(scene: Scene) -> None:
        supervision = await scene.supervise()
        before = asyncio.get_running_loop().time()
        await supervision.takeover()
        assert scene.customer_leg.is_open
        assert await scene.agent.ended() == "remote-bye"
        assert asyncio.get_running_loop().time() - before <= 3.5
        await asyncio.sleep(1.3)
        assert scene.customer.hears(*TONES) == {COACH}
        assert scene.coach.hears(*TONES) == {CUSTOMER}
        assert "taken-over" in scene.facts()
        with pytest.raises(rtpmix.SupervisionRefused):
            await supervision.set_mode(MONITOR)  # would leave the customer with nobody

    act(play)


def test_handing_back_gives_the_call_to_the_agent_who_listened() -> None:
    async def play(scene: Scene) -> None:
        supervision = await scene.supervise()
        await supervision.takeover(fate=rtpmix.Fate.LISTEN)
        await asyncio.sleep(1.3)
        assert scene.heard() == HEARD[TAKEOVER]
        await supervision.hand_back()
        await asyncio.sleep(1.3)
        assert scene.heard() == HEARD[MONITOR]

    act(play)


def test_a_customer_whose_agent_vanishes_is_kept_and_can_be_rescued() -> None:
    async def play(scene: Scene) -> None:
        supervision = await scene.supervise()
        scene.agent.stop_sending()
        await scene.agent_leg.closed()
        await asyncio.sleep(6)
        assert scene.customer_leg.is_open
        assert "customer-orphaned" in scene.facts()
        assert scene.customer.hears(425.0, seconds=5.0) == {425.0}  # the comfort tone
        await supervision.takeover()
        await asyncio.sleep(6)
        assert scene.customer.hears(*TONES, 425.0) == {COACH}
        assert "customer-rescued" in scene.facts()

    act(play, media_timeout_s=5.0)


def test_the_supervisor_who_took_over_and_vanishes_leaves_the_call_to_the_listening_agent() -> None:
    async def play(scene: Scene) -> None:
        supervision = await scene.supervise()
        await supervision.takeover(fate=rtpmix.Fate.LISTEN)
        await asyncio.sleep(1)
        scene.coach.bye()
        await asyncio.sleep(1.3)
        assert scene.customer.hears(*TONES) == {AGENT}
        assert scene.agent.hears(*TONES) == {CUSTOMER}

    act(play)


def test_the_end_of_the_call_ends_the_supervisors_call_too() -> None:
    """Nobody is left spying on a dead line: within a second."""

    async def play(scene: Scene) -> None:
        await scene.supervise()
        scene.customer.bye()
        before = asyncio.get_running_loop().time()
        await scene.coach.ended()
        await scene.agent.ended()
        assert asyncio.get_running_loop().time() - before < 1

    act(play)


def test_the_routing_log_folds_to_the_live_matrix_and_its_chain_holds() -> None:
    async def play(scene: Scene) -> None:
        supervision = await scene.supervise()
        for mode in (WHISPER, BARGE, TAKEOVER, BARGE, MONITOR):
            await supervision.set_mode(mode)
            changed = [e for e in scene.events if isinstance(e, rtpmix.ModeChanged)][-1]
            entries = scene.bridge.routing_log.entries
            seats, gains = fold(entries, changed.sample)
            assert gains == changed.gains
            assert tuple(f"leg-{seat}" for seat in seats) == changed.legs
            assert gains == scene.bridge.call.routing.gains
        assert verify_chain(entries) is None

    act(play)


def test_two_supervisors_hear_each_other_and_only_the_whisperer_reaches_the_agent() -> None:
    async def play(scene: Scene) -> None:
        second = TonePhone("second", host="192.0.2.40", port=5060, frequency=2437.0)
        async with second:
            first = await scene.supervise(WHISPER)
            leg = await scene.server.invite(second.uri)
            await asyncio.sleep(0.2)
            await scene.bridge.supervise(leg, agent=scene.agent_leg)
            await asyncio.sleep(1.3)
            tones = (*TONES, 2437.0)
            assert scene.coach.hears(*tones) == {AGENT, CUSTOMER, 2437.0}
            assert second.hears(*tones) == {AGENT, CUSTOMER, COACH}
            assert scene.agent.hears(*tones) == {CUSTOMER, COACH}
            assert scene.customer.hears(*tones) == {AGENT}
            assert first.mode is WHISPER

    act(play)


def test_a_supervision_that_is_refused_changes_nothing() -> None:
    async def play(scene: Scene) -> None:
        before = scene.bridge.matrix()
        coach = await scene.server.invite(scene.coach.uri)
        with pytest.raises(rtpmix.UsageError, match="is not in"):
            await scene.bridge.supervise(coach, agent=coach)
        with pytest.raises(rtpmix.UsageError, match="remove it there first"):
            await scene.bridge.supervise(scene.agent_leg, agent=scene.agent_leg)
        assert scene.bridge.matrix() == before
        assert coach.bridge is None
        await coach.hangup()
        with pytest.raises(rtpmix.UsageError, match="is closed"):
            await scene.bridge.supervise(coach, agent=scene.agent_leg)

    act(play)


def test_gain_applies_to_one_pair_and_never_opens_a_closed_one() -> None:
    async def play(scene: Scene) -> None:
        await scene.supervise()
        bridge = scene.bridge
        await bridge.set_gain(listener=scene.customer_leg, talker=scene.agent_leg, gain_db=-6)
        await bridge.set_gain(listener=scene.customer_leg, talker=scene.coach_leg, gain_db=0)
        await asyncio.sleep(1.3)
        assert scene.customer.level_db(AGENT) == pytest.approx(-26, abs=0.5)
        assert scene.coach.level_db(AGENT) == pytest.approx(-20, abs=0.5)
        assert scene.customer.hears(COACH) == set()
        with pytest.raises(rtpmix.UsageError, match="12 dB"):
            await bridge.set_gain(listener=scene.customer_leg, talker=scene.agent_leg, gain_db=20)

    act(play)


def test_a_listener_hears_what_a_leg_hears_and_a_prompt_reaches_one_leg_alone() -> None:
    async def play(scene: Scene) -> None:
        from rtpmix.server.playing import tone

        listener = scene.bridge.listen(scene.agent_leg)
        playback = await scene.bridge.play(tone(2437, 1.0), to=scene.agent_leg)
        await playback.finished()
        frames = [await anext(listener) for _ in range(40)]
        assert {len(frame) for frame in frames} == {320}
        assert scene.agent.hears(2437.0) == {2437.0}
        assert scene.customer.hears(2437.0) == set()
        listener.close()
        with pytest.raises(rtpmix.UsageError, match="'heard' or has 'spoken'"):
            scene.bridge.listen(scene.agent_leg, "thought")

    act(play)
