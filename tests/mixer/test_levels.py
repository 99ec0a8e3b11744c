"""Meters, speech activity and automatic gain."""

from collections.abc import Callable

import numpy as np
import pytest

from rtpmix.mixer import g711
from rtpmix.mixer.commands import (
    CloseLeg,
    CommandRefused,
    LevelsMeasured,
    MeasureLevels,
    Record,
    SetAutoGain,
)
from rtpmix.mixer.levels import LOUDEST, UNIT

FRAME = 160
DICE = np.random.default_rng(7)


def noise(dbov: float, frames: int = 1) -> np.ndarray:
    return np.rint(DICE.standard_normal(frames * FRAME) * 32768 * 10 ** (dbov / 20)).clip(
        -32768, 32767
    )


def coded(samples: np.ndarray) -> list[bytes]:
    codes = g711.encode(samples.astype(np.int16), g711.PCMU)
    return [part.tobytes() for part in codes.reshape(-1, FRAME)]


def voice(dbov: float, frames: int) -> np.ndarray:
    """Syllables of 300 ms between pauses of 200 ms, the syllables at this level."""
    tone = np.sin(2 * np.pi * 437 * np.arange(frames * FRAME) / 8000)
    on = np.arange(frames * FRAME) // (5 * FRAME) % 5 < 3
    return np.rint(tone * on * 32768 * 2**0.5 * 10 ** (dbov / 20)) + noise(-65, frames)


def say(rig, leg: int, samples: np.ndarray) -> None:
    for payload in coded(samples):
        rig.frame({leg: payload})


def spoken_db(rig, begin: int, end: int) -> float:
    sound = np.concatenate([block.spoken[0] for block in rig.blocks[begin:end]]).astype(float)
    return float(10 * np.log10(np.mean(sound**2) / 32768**2))


@pytest.mark.parametrize("dbov", [-12, -26, -40, -60])
def test_the_level_is_told_five_times_a_second(rig, dbov: int) -> None:
    rig.open(1)
    rig.open(2)
    rig.engine.submit(MeasureLevels(1))
    for payload in coded(noise(dbov, 100)):
        rig.frame({1: payload, 2: payload})
    told = rig.told(LevelsMeasured)
    assert len(told) == 10
    assert np.diff([event.at for event in told]).tolist() == [1600] * 9
    assert all(event.legs == (1,) for event in told)  # nobody asked for 2
    assert all(event.dbov[0] == pytest.approx(dbov, abs=1.2) for event in told[1:])


def test_silence_is_minus_127_as_in_rfc_6464(rig, level: Callable) -> None:
    """RFC 6464 section 3."""
    rig.open(1)
    rig.engine.submit(MeasureLevels(1))
    for _ in range(20):
        rig.frame({1: level(0)})
    assert [event.dbov for event in rig.told(LevelsMeasured)][1:] == [(-127,)]


def test_speech_is_told_from_pauses_and_from_a_noise_that_stays(rig) -> None:
    rig.open(1)
    rig.engine.submit(MeasureLevels(1))
    say(rig, 1, noise(-48, 250))
    assert not rig.told(LevelsMeasured)[-1].speaking[0]  # loud, but always there
    say(rig, 1, noise(-48, 20) + voice(-26, 20))
    assert rig.told(LevelsMeasured)[-1].speaking[0]
    say(rig, 1, noise(-48, 30))
    assert not rig.told(LevelsMeasured)[-1].speaking[0]


def test_who_asks_no_more_is_told_no_more_and_costs_nothing(rig, level: Callable) -> None:
    rig.open(1)
    rig.engine.submit(MeasureLevels(1))
    for _ in range(20):
        rig.frame({1: level(500)})
    rig.engine.submit(MeasureLevels(1, on=False))
    rig.events.clear()
    for _ in range(20):
        rig.frame({1: level(500)})
    assert not rig.told(LevelsMeasured)
    assert not rig.engine._levels.busy
    rig.engine.submit(MeasureLevels(1))
    rig.engine.submit(CloseLeg(1))
    rig.frame()
    rig.frame()
    assert not rig.engine._levels.busy


def test_a_leg_that_is_not_there_is_refused(rig) -> None:
    rig.engine.submit(MeasureLevels(7))
    rig.engine.submit(SetAutoGain(7))
    rig.frame()
    assert [event.why for event in rig.told(CommandRefused)] == ["no leg 7", "no leg 7"]


# ------------------------------------------------------------------------------ automatic gain


@pytest.mark.parametrize(("dbov", "seconds"), [(-38, 20), (-14, 8)])
def test_speech_comes_slowly_to_the_nominal_level(rig, dbov: int, seconds: int) -> None:
    rig.open(1)
    rig.engine.submit(Record(1))
    rig.engine.submit(SetAutoGain(1))
    say(rig, 1, voice(dbov, 50 * seconds))
    # 3 of 5 parts of the voice sound: 2.2 dB below the level of a syllable.
    assert spoken_db(rig, 5, 30) == pytest.approx(dbov - 2.2, abs=2)
    assert spoken_db(rig, -100, -1) == pytest.approx(-28.2, abs=2.5)


def test_the_gain_is_bounded_and_pauses_do_not_move_it(rig) -> None:
    rig.open(1)
    rig.engine.submit(SetAutoGain(1))
    row = rig.engine.row_of(1)
    say(rig, 1, voice(-52, 50 * 30))
    assert rig.engine.rows.gain_q12[row] == LOUDEST
    say(rig, 1, voice(-40, 50))
    before = int(rig.engine.rows.gain_q12[row])
    say(rig, 1, noise(-65, 500))
    assert rig.engine.rows.gain_q12[row] == before


def test_what_would_pass_full_scale_is_turned_down_at_once(rig) -> None:
    rig.open(1)
    rig.engine.submit(Record(1))
    rig.engine.submit(SetAutoGain(1))
    say(rig, 1, voice(-40, 50 * 20))
    say(rig, 1, voice(-8, 10))
    sound = np.concatenate([block.spoken[0] for block in rig.blocks[-8:]]).astype(int)
    assert np.abs(sound[FRAME:]).max() <= 29_300


def test_it_is_off_by_default_and_goes_back_without_a_click(rig) -> None:
    rig.open(1)
    rig.engine.submit(Record(1))
    tone = np.rint(1000 * np.sin(2 * np.pi * 400 * np.arange(500 * FRAME) / 8000))
    say(rig, 1, tone[: 20 * FRAME])
    exact = g711.decode(np.frombuffer(b"".join(coded(tone[: 20 * FRAME])), np.uint8), g711.PCMU)
    assert np.array_equal(
        np.concatenate([b.spoken[0] for b in rig.blocks])[: 19 * FRAME], exact[: 19 * FRAME]
    )
    rig.engine.submit(SetAutoGain(1))
    say(rig, 1, tone[: 400 * FRAME])
    row = rig.engine.row_of(1)
    assert rig.engine.rows.gain_q12[row] > 1.5 * UNIT
    loud = max(np.abs(np.diff(b.spoken[0].astype(int))).max() for b in rig.blocks[-20:])
    rig.engine.submit(SetAutoGain(1, on=False))
    say(rig, 1, tone[: 10 * FRAME])
    after = np.concatenate([b.spoken[0] for b in rig.blocks[-10:]]).astype(int)
    assert np.abs(np.diff(after)).max() <= 1.05 * loud
    assert np.array_equal(after[-FRAME:], exact[9 * FRAME : 10 * FRAME])
    assert not rig.engine._levels.busy


def test_one_legs_gain_depends_on_nobody_else(make_rig) -> None:
    alone, crowd = make_rig(), make_rig()
    for leg in range(5, 9):
        crowd.open(leg)
        crowd.engine.submit(SetAutoGain(leg))
    samples = voice(-40, 200)
    others = coded(voice(-10, 200))
    for rig in (alone, crowd):
        rig.open(1)
        rig.engine.submit(SetAutoGain(1))
        rig.engine.submit(Record(1))
        for payload, other in zip(coded(samples), others, strict=True):
            spoken = {1: payload}
            if rig is crowd:
                spoken |= dict.fromkeys(range(5, 9), other)
            rig.frame(spoken)
    for a, b in zip(alone.blocks, crowd.blocks, strict=True):
        assert np.array_equal(a.spoken, b.spoken)
