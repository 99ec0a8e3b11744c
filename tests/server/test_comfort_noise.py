"""Comfort noise through a whole server (RFC 3389): agreed to, heard, and sent."""

import asyncio

import numpy as np
import pytest

import rtpmix
from rtpmix.testing import TonePhone

from .test_calls import ALICE, BOB, conference, phone, play

NOISE = 13


def kinds(listener: TonePhone, since: float) -> list[int]:
    return [each.packet.payload_type for each in listener.received if each.at >= since]


async def meet(server: rtpmix.Server, *phones: TonePhone) -> None:
    conference(server)
    for each in phones:
        await each.call("sip:room@example.com")
    await asyncio.sleep(1)


def story_of(**config: bool):
    """Alice suppresses silence, Bob does not; both are loud, then silent, then loud."""
    found = {}

    async def story(server: rtpmix.Server, alice: TonePhone, bob: TonePhone) -> None:
        del alice
        noisy = phone("noisy", ALICE, 30, comfort_noise=True)
        async with noisy:
            await meet(server, noisy, bob)
            clock = asyncio.get_running_loop().time
            quiet = clock()
            noisy.be_silent()
            bob.be_silent()
            await asyncio.sleep(3)
            found["room"] = bob.heard_pcm(quiet + 1, clock()).astype(float)
            found["to noisy"] = kinds(noisy, quiet + 1)
            found["to bob"] = kinds(bob, quiet + 1)
            noisy.be_silent(False)
            bob.be_silent(False)
            await asyncio.sleep(0.5)
            again = clock()
            await asyncio.sleep(0.5)
            found["tone"] = (bob.heard_pcm(again), noisy.heard_pcm(again))
            noisy.bye()
            await asyncio.sleep(1)

    play(story, **config)
    return found


@pytest.fixture(scope="module")
def sending():
    return story_of(comfort_noise=True)


@pytest.fixture(scope="module")
def usual():
    return story_of()


def test_noise_that_a_phone_describes_is_heard_by_the_others(usual) -> None:
    """-40 dBov, steadily: `tests/mixer/test_comfort.py` for the rest."""
    level = 20 * np.log10(np.sqrt(np.mean(usual["room"] ** 2)) / 32124)
    assert level == pytest.approx(-40, abs=1.5)


def test_nothing_is_left_out_by_default(usual) -> None:
    assert set(usual["to noisy"]) == set(usual["to bob"]) == {0}
    assert len(usual["to noisy"]) >= 98


def test_silence_is_described_to_a_leg_that_agreed_and_to_no_other(sending) -> None:
    """Bob's phone knows nothing of comfort noise: it gets packets, with Alice's room in them."""
    assert set(sending["to noisy"]) == {NOISE}
    assert 1 <= len(sending["to noisy"]) <= 4
    assert set(sending["to bob"]) == {0}


@pytest.mark.parametrize("which", ["usual", "sending"])
def test_voices_are_back_at_once(which: str, request: pytest.FixtureRequest) -> None:
    for heard, tone in zip(request.getfixturevalue(which)["tone"], (ALICE, BOB), strict=True):
        spectrum = np.abs(np.fft.rfft(heard[:4000].astype(float)))
        assert abs(int(np.argmax(spectrum)) * 2 - tone) <= 2
