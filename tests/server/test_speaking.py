"""Programs that talk: PCM as it comes, keys as tones, and what is too much."""

from __future__ import annotations

import asyncio

import pytest

import rtpmix
from rtpmix.server.playing import tone
from rtpmix.testing import TonePhone
from tests.server.test_calls import ALICE, BOB, conference, play

BOT = 1693.0


async def meet(server: rtpmix.Server, *phones: TonePhone) -> rtpmix.Bridge:
    conference(server)
    for each in phones:
        await each.call("sip:conf-1@192.0.2.1")
    await asyncio.sleep(0.5)
    found = server.find_bridge("conf-1")
    assert found is not None
    return found


def leg_of(bridge: rtpmix.Bridge, user: str) -> rtpmix.Leg:
    return next(leg for leg in bridge.legs if user in leg.remote)


def test_what_a_program_writes_is_heard_by_everybody_in_one_piece() -> None:
    """Chunks of any length; no gap between them, and the phones still hear each other."""

    async def story(server: rtpmix.Server, alice: TonePhone, bob: TonePhone) -> None:
        bridge = await meet(server, alice, bob)
        speaker = await bridge.speak()
        pcm = tone(BOT, 3.0)
        for start in range(0, len(pcm), 502):
            await speaker.write(pcm[start : start + 502])
        await asyncio.sleep(0.5)
        assert alice.hears(BOT, BOB, seconds=0.5)
        assert bob.hears(BOT, ALICE, seconds=0.5)
        await speaker.drain()
        await asyncio.sleep(0.3)
        assert alice.hears(BOB, seconds=0.1)
        await speaker.close()

    play(story)


def test_a_writer_is_paced_by_what_has_been_said() -> None:
    """Four seconds of audio: a second of it may wait, the rest takes three to write."""

    async def story(server: rtpmix.Server, alice: TonePhone, bob: TonePhone) -> float:
        bridge = await meet(server, alice, bob)
        speaker = await bridge.speak()
        began = asyncio.get_running_loop().time()
        await speaker.write(tone(BOT, 4.0))
        return asyncio.get_running_loop().time() - began

    assert play(story) == pytest.approx(3.0, abs=0.3)


def test_an_offer_without_room_is_dropped_and_counted() -> None:
    async def story(server: rtpmix.Server, alice: TonePhone, bob: TonePhone) -> tuple[int, int]:
        bridge = await meet(server, alice, bob)
        speaker = await bridge.speak()
        taken = sum(speaker.offer(tone(BOT, 0.1)) for _ in range(30))
        return taken, speaker.dropped

    taken, dropped = play(story)
    assert taken == 10
    assert dropped == 20 * 5


def test_one_leg_alone_hears_what_is_said_to_it() -> None:
    async def story(server: rtpmix.Server, alice: TonePhone, bob: TonePhone) -> None:
        bridge = await meet(server, alice, bob)
        speaker = await bridge.speak(to=leg_of(bridge, "alice"))
        speaker.offer(tone(BOT, 1.0))
        await asyncio.sleep(0.6)
        assert alice.hears(BOT, BOB, seconds=0.3)
        assert bob.hears(ALICE, seconds=0.3)

    play(story)


def test_a_closed_speaker_says_so_and_a_closed_bridge_closes_it() -> None:
    async def story(server: rtpmix.Server, alice: TonePhone, bob: TonePhone) -> None:
        bridge = await meet(server, alice, bob)
        speaker = await bridge.speak()
        with pytest.raises(rtpmix.UsageError, match="even"):
            await speaker.write(b"x")
        await bridge.close()
        assert not speaker.is_open
        with pytest.raises(rtpmix.UsageError, match="open another"):
            speaker.offer(b"\0\0")
        await speaker.drain()

    play(story)


def test_keys_as_tones_arrive_as_keys_at_a_server_that_listens() -> None:
    """Out by `say_digits`, in by `detect_digits`, each through a phone's ear and mouth."""

    async def story(server: rtpmix.Server, alice: TonePhone, bob: TonePhone) -> str:
        bridge = await meet(server, alice, bob)
        to_alice, from_bob = leg_of(bridge, "alice"), leg_of(bridge, "bob")
        from_bob.detect_digits()
        began = asyncio.get_running_loop().time()
        alice.be_silent()
        bob.be_silent()
        await to_alice.say_digits("19A#")
        await asyncio.sleep(0.3)
        heard = alice.heard_pcm(began)
        bob.be_silent(False)
        bob.speak(heard)
        got: list[str] = []

        async def read() -> None:
            async for digit in from_bob.digits():
                got.append(digit)

        reading = asyncio.create_task(read())
        await asyncio.sleep(3)
        reading.cancel()
        return "".join(got)

    assert play(story) == "19A#"


def test_tones_need_a_bridge_and_keys_that_exist() -> None:
    async def story(server: rtpmix.Server, alice: TonePhone, bob: TonePhone) -> None:
        bridge = await meet(server, alice, bob)
        leg = leg_of(bridge, "alice")
        with pytest.raises(rtpmix.UsageError, match="0-9"):
            await leg.say_digits("x")
        await bridge.close()
        with pytest.raises(rtpmix.UsageError, match="no bridge"):
            await leg.say_digits("1")

    play(story)
