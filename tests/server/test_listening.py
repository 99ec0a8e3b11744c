"""Programs that hear along: one leg, or all together, at their own pace."""

from __future__ import annotations

import asyncio

import numpy as np

import rtpmix
from rtpmix.testing import TonePhone, tones_heard
from tests.server.test_calls import ALICE, BOB, play
from tests.server.test_speaking import leg_of, meet


async def frames(listener: rtpmix.Listener, count: int) -> np.ndarray:
    """Read so many frames and return the samples of the second half."""
    found = [await anext(listener) for _ in range(count)]
    assert {len(frame) for frame in found} == {320}
    return np.frombuffer(b"".join(found[count // 2 :]), "<i2")


def test_one_leg_is_heard_on_both_sides() -> None:
    async def story(server: rtpmix.Server, alice: TonePhone, bob: TonePhone) -> None:
        bridge = await meet(server, alice, bob)
        leg = leg_of(bridge, "alice")
        heard, spoken = bridge.listen(leg), bridge.listen(leg, "spoken")
        assert tones_heard(await frames(heard, 40), (ALICE, BOB)) == {BOB}
        assert tones_heard(await frames(spoken, 40), (ALICE, BOB)) == {ALICE}

    play(story)


def test_all_are_heard_together_as_they_come_and_go() -> None:
    async def story(server: rtpmix.Server, alice: TonePhone, bob: TonePhone) -> None:
        bridge = await meet(server, alice)
        listener = bridge.listen()
        await frames(listener, 10)
        await bob.call("sip:conf-1@192.0.2.1")
        await asyncio.sleep(0.5)
        await frames(listener, 25)
        assert tones_heard(await frames(listener, 40), (ALICE, BOB)) == {ALICE, BOB}
        began = asyncio.get_running_loop().time()
        await frames(listener, 50)
        assert asyncio.get_running_loop().time() - began < 1.05  # one frame in 20 ms, not two
        await bridge.mute(leg_of(bridge, "bob"))
        await frames(listener, 5)
        assert tones_heard(await frames(listener, 40), (ALICE, BOB)) == {ALICE}
        await leg_of(bridge, "alice").hangup()
        await asyncio.sleep(0.5)
        await frames(listener, 25)
        assert not tones_heard(await frames(listener, 40), (ALICE, BOB))
        listener.close()
        await asyncio.sleep(0.1)
        assert len([frame async for frame in listener]) <= 50

    play(story)


def test_nobody_waits_for_a_slow_listener() -> None:
    async def story(server: rtpmix.Server, alice: TonePhone, bob: TonePhone) -> int:
        bridge = await meet(server, alice, bob)
        listener = bridge.listen()
        await asyncio.sleep(3)
        assert alice.hears(BOB, seconds=0.5)
        assert len([await anext(listener) for _ in range(50)]) == 50
        return listener.dropped

    assert 90 <= play(story) <= 105


def test_a_listener_ends_with_its_bridge() -> None:
    async def story(server: rtpmix.Server, alice: TonePhone, bob: TonePhone) -> None:
        bridge = await meet(server, alice, bob)
        mixed, single = bridge.listen(), bridge.listen(leg_of(bridge, "alice"))
        await asyncio.sleep(0.2)
        await bridge.close()
        await asyncio.sleep(0.2)
        for listener in (mixed, single):
            assert [frame async for frame in listener]

    play(story)
