"""The short way through a large bridge: the same bits as the whole matrix, for less."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from rtpmix.mixer import crowd
from rtpmix.mixer.crowd import WORTH_IT, crowd_of
from rtpmix.mixer.gains import Exact

UNITY = 32768.0


def conference(size: int) -> Exact:
    gains = np.full((size, size), UNITY)
    np.fill_diagonal(gains, 0)
    return gains


def speech(size: int) -> Exact:
    return np.random.default_rng(7).integers(-32768, 32768, (size, 160)).astype(np.float64)


def mixed(gains: Exact, talk: Exact) -> Exact:
    apart = crowd_of(gains)
    assert apart is not None
    heard = np.full_like(talk, np.nan)
    apart.mix(talk, heard)
    return heard


@pytest.mark.parametrize("size", [WORTH_IT, 200])
def test_a_conference_is_mixed_to_the_same_bits(size: int) -> None:
    gains, talk = conference(size), speech(size)
    assert np.array_equal(mixed(gains, talk), gains @ talk)


def test_talkers_with_gains_of_their_own_and_listeners_who_differ_too() -> None:
    size = 100
    dice = np.random.default_rng(3)
    gains = conference(size) * (dice.integers(0, 9, size) / 8)
    gains[4] = 0  # hears nobody
    gains[17, 30] = 11  # one gain differs
    gains[30] = dice.integers(0, 32769, size)
    gains[50, 50] = 99  # hears himself
    gains[:, 60] = 0  # a talker whom nobody hears
    talk = speech(size)
    apart = crowd_of(gains)
    assert apart is not None
    assert apart.others.tolist() == [4, 17, 30]
    assert np.array_equal(mixed(gains, talk), gains @ talk)


def test_small_bridges_and_those_without_a_majority_are_not_taken_apart() -> None:
    assert crowd_of(conference(WORTH_IT - 1)) is None
    dice = np.random.default_rng(5)
    assert crowd_of(dice.integers(0, 32769, (40, 40)).astype(np.float64)) is None


def test_packets_of_a_large_bridge_are_those_of_the_whole_matrix(
    make_rig: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def packets(worth_it: int) -> list[Any]:
        monkeypatch.setattr(crowd, "WORTH_IT", worth_it)
        rig = make_rig(phases=1)
        legs = range(30)
        for leg in legs:
            rig.open(leg)
        gains = conference(30).astype(int)
        gains[5] = 0
        rig.bridge(1, legs, gains)
        dice = np.random.default_rng(11)
        for _ in range(5):
            rig.frame({leg: dice.integers(0, 256, 160, np.uint8).tobytes() for leg in legs})
        return [rig.sent[leg] for leg in legs]

    assert packets(24) == packets(1000)
