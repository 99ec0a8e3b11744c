"""The limiter: nothing is clipped, nobody else is touched, and it forgets within a second."""

import itertools
from collections.abc import Callable

import numpy as np
import pytest

from rtpmix.mixer.gains import UNITY
from rtpmix.mixer.limiter import ATTACK, CEILING, FORGETS, RELEASE, limit

FRAME = 160


def frames(peaks: list[float]) -> list[np.ndarray]:
    """A tone of 437 Hz whose level changes from frame to frame, in Q15 sums."""
    time = np.arange(len(peaks) * FRAME)
    wave = np.sin(2 * np.pi * 437 * time / 8000).reshape(-1, FRAME)
    return [np.rint(part * peak)[None] * UNITY for part, peak in zip(wave, peaks, strict=True)]


def limited(peaks: list[float], gain: int = UNITY) -> tuple[np.ndarray, list[int]]:
    gains, out = [], []
    state = np.array([gain])
    for frame in frames(peaks):
        state = limit(frame, state)
        gains.append(int(state[0]))
        out.append(frame[0] / UNITY)
    return np.concatenate(out), gains


def oracle(frame: list[int], before: int) -> tuple[list[int], int]:
    """One listener in Python integers; the result is 32768 times the Q15 sums."""
    peak = max(abs(value) for value in frame)
    borne = UNITY if peak <= CEILING * UNITY else CEILING * UNITY * UNITY // peak
    after = min(borne, before + RELEASE)
    result = []
    for n, value in enumerate(frame, 1):
        weight = min(n * UNITY // ATTACK, UNITY) if after < before else n * UNITY // FRAME
        result.append(value * (before + ((after - before) * weight >> 15)))
    return result, after


def test_whole_numbers_agree_with_an_oracle_to_the_last_bit() -> None:
    dice = np.random.default_rng(1)
    state = np.full(3, UNITY)
    for _ in range(300):
        scale = int(dice.choice([1 << 28, 1 << 31, 1 << 33, 1 << 38]))
        heard = dice.integers(-scale, scale + 1, (3, FRAME)).astype(np.float64)
        expected = [
            oracle([int(v) for v in row], int(gain)) for row, gain in zip(heard, state, strict=True)
        ]
        state = limit(heard, state)
        assert state.tolist() == [after for _, after in expected]
        for row, (values, _) in zip(heard, expected, strict=True):
            assert [int(v * UNITY) for v in row] == values


def test_what_is_not_too_loud_is_not_touched() -> None:
    sound, gains = limited([10_000, CEILING, 20_000])
    assert np.array_equal(
        sound, np.concatenate([f[0] for f in frames([10_000, CEILING, 20_000])]) / UNITY
    )
    assert gains == [UNITY] * 3


def test_two_full_voices_stay_below_full_scale_after_two_milliseconds() -> None:
    sound, _ = limited([60_000] * 20)
    assert np.abs(sound[ATTACK:]).max() <= CEILING
    assert np.abs(sound[-FRAME:]).max() > 0.98 * CEILING  # turned down, not off


def test_the_gain_comes_back_evenly_and_without_a_click() -> None:
    sound, gains = limited([60_000] * 3 + [8_000] * (FORGETS + 2))
    back = gains[2:]
    assert back[-1] == UNITY
    assert {b - a for a, b in itertools.pairwise(back) if b < UNITY} == {RELEASE}
    quiet = sound[4 * FRAME :]
    largest = 8_000 * 2 * np.pi * 437 / 8000
    assert np.abs(np.diff(quiet)).max() < 1.02 * largest


@pytest.mark.parametrize("gain", [0, 500, 20_000])
def test_what_was_is_forgotten(gain: int) -> None:
    """A replay that begins in mid-call has the same gains after a second, whatever they were."""
    peaks = [40_000 if n % 7 else 60_000 for n in range(FORGETS + 5)]
    _, known = limited(peaks)
    _, unknown = limited(peaks, gain)
    assert unknown[0] != known[0] or gain == 20_000
    assert unknown[FORGETS:] == known[FORGETS:]


def talk(rig, level, *, limited: bool, whispers: bool = False) -> list[bytes]:
    """Three speak at full scale; return what leg 1 hears of 2 and 3."""
    for leg in (1, 2, 3, 4):
        rig.open(leg)
    gains = UNITY * (1 - np.eye(4, dtype=int))
    gains[0, 3] = 0  # leg 4 is not for leg 1
    rig.bridge(1, [1, 2, 3, 4], gains, limited=limited)
    for number in range(80):
        loud = level(30_000 if number % 2 else -30_000)
        spoken = {1: level(0), 2: loud, 3: loud}
        rig.frame(spoken | ({4: loud} if whispers else {4: level(0)}))
    return rig.heard(1)


def test_a_bridge_limits_where_it_is_told_to(make_rig: Callable, level: Callable) -> None:
    plain, quiet = make_rig(), make_rig()
    without, with_limiter = talk(plain, level, limited=False), talk(quiet, level, limited=True)
    assert without[40:] != with_limiter[40:]
    # Two steps of full scale are clipped whole frames long; limited, for 2 ms at most, once.
    assert plain.engine.leg_stats(1).clipped > 70 * FRAME
    assert quiet.engine.leg_stats(1).clipped <= ATTACK


def test_nobody_is_turned_down_for_what_others_hear(make_rig: Callable, level: Callable) -> None:
    """Isolation holds with the limiter on: who is whispered to others changes no bit for leg 1."""
    alone, whispered = make_rig(), make_rig()
    heard = talk(alone, level, limited=True)
    assert talk(whispered, level, limited=True, whispers=True) == heard
    assert whispered.heard(2) != alone.heard(2)


def test_a_seat_that_comes_begins_at_full_gain(rig, level: Callable) -> None:
    talk(rig, level, limited=True)
    row = rig.engine.row_of(1)
    assert rig.engine.rows.limiter_gain[row] < UNITY
    rig.bridge(2, [1, 2], limited=True)
    for _ in range(4):
        rig.frame()
    assert rig.engine.rows.limiter_gain[row] == UNITY
