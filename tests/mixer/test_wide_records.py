"""Recorded legs at 16 and 48 kHz: the frames that were heard and sent, and nobody else touched."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from rtpmix.audio.codecs import CODECS
from rtpmix.audio.resample import Stream, resampler
from rtpmix.mixer.commands import (
    BridgeMoved,
    CloseLeg,
    CommandRefused,
    DetectDigits,
    OpenTap,
    Record,
    SetMatrix,
    TapFrame,
    UpdateLeg,
)
from rtpmix.rtp.packet import RtpPacket

from .test_wide_taps import PHONES, TAP, Talk

Array = NDArray[Any]
RATES = {leg: CODECS[name].rate_hz for leg, name in PHONES.items()}


def record(rig: Any, legs: Any = tuple(PHONES)) -> None:
    for leg in legs:
        rig.engine.submit(Record(leg, rate_hz=RATES[leg]))


def recorded(rig: Any, leg: int, side: str) -> Array:
    """Return what the blocks have of a leg at its rate."""
    parts = [
        getattr(frames, side)[frames.legs.index(leg)]
        for block in rig.blocks
        for frames in block.wide
        if leg in frames.legs
    ]
    return np.concatenate(parts)


def tapped(rig: Any, tap: int) -> Array:
    frames = [event.pcm for event in rig.told(TapFrame) if event.tap == tap]
    return np.frombuffer(b"".join(frames), "<i2")


def sent(rig: Any, leg: int) -> Array:
    return np.frombuffer(b"".join(rig.heard(leg)), ">i2")


@pytest.mark.parametrize("limited", [False, True])
def test_what_is_recorded_of_a_wide_leg_is_what_it_was_sent_and_what_others_heard_of_it(
    make_rig: Callable[..., Any], limited: bool
) -> None:
    """Ramps, talkers of four rates, a limiter at work; begun in mid-call. L16 tells every bit."""
    rig = make_rig()
    talk = Talk(rig, limited=limited)
    for number in range(10):
        talk.frame(number)
    before = {leg: len(sent(rig, leg)) for leg in (2, 4)}
    record(rig)
    wide = [leg for leg, rate_hz in RATES.items() if rate_hz > 8000]
    for leg in wide:
        rig.engine.submit(OpenTap(TAP + leg, leg, "spoken", RATES[leg]))
    for number in range(10, 50):
        if number % 7 == 5:
            talk.change(number)
        talk.frame(number)
    assert {frames.rate_hz for block in rig.blocks for frames in block.wide} == {16_000, 48_000}
    for leg in wide:
        spoken = recorded(rig, leg, "spoken")
        assert np.count_nonzero(spoken) > len(spoken) * 0.9
        assert np.array_equal(spoken, tapped(rig, TAP + leg))
    for leg in (2, 4):
        heard = recorded(rig, leg, "heard")
        assert np.count_nonzero(heard) > len(heard) * 0.9
        assert np.array_equal(heard, sent(rig, leg)[before[leg] :])


def test_it_stays_so_while_the_bridge_moves_to_another_phase(make_rig: Callable[..., Any]) -> None:
    """No frame is missing, and none comes twice."""
    rig = make_rig(phases=4)
    for number in range(100, 103):  # bridges that take the phases before
        rig.engine.submit(SetMatrix(bridge=number, seats=(), gains=()))
    talk = Talk(rig)
    record(rig)
    for number in range(200):
        talk.frame(number)
        if rig.told(BridgeMoved):
            break
    assert rig.told(BridgeMoved)
    for number in range(200, 230):
        talk.frame(number)
    for leg in (2, 4):
        assert np.array_equal(recorded(rig, leg, "heard"), sent(rig, leg))


def test_narrow_rows_of_a_block_are_the_same_with_and_without_wide_ones(
    make_rig: Callable[..., Any],
) -> None:
    """What a replay is made from, and what everybody is sent."""

    def run(rate_of: Callable[[int], int]) -> Any:
        rig = make_rig()
        talk = Talk(rig)
        for leg in PHONES:
            rig.engine.submit(Record(leg, rate_hz=rate_of(leg)))
        for number in range(20):
            talk.frame(number)
        return rig

    wide, narrow = run(lambda leg: RATES[leg]), run(lambda leg: 8000)
    assert wide.sent == narrow.sent
    assert len(wide.blocks) == len(narrow.blocks) > 15
    for one, other in zip(wide.blocks, narrow.blocks, strict=True):
        assert one.wide
        assert other.wide == ()
        assert (one.sample, one.legs, one.laws) == (other.sample, other.legs, other.laws)
        for name in ("spoken", "heard", "heard_mixed", "sent", "present"):
            assert np.array_equal(getattr(one, name), getattr(other, name))


def test_behind_another_codec_a_leg_keeps_the_rate_that_it_is_recorded_at(
    make_rig: Callable[..., Any],
) -> None:
    """Heard: mixed for the recording alone. Spoken: what comes at 8 kHz, resampled up."""
    rig = make_rig()
    talk = Talk(rig)
    record(rig, (4,))
    rig.engine.submit(OpenTap(TAP, 4, "heard", 16_000))
    for number in range(10):
        talk.frame(number)
    rig.engine.submit(UpdateLeg(leg=4, codec="PCMU", payload_type=0))
    rig.engine.submit(OpenTap(TAP + 1, 4, "spoken", 8000))
    for number in range(10, 30):
        talk.frame(number)
    spoken, heard = recorded(rig, 4, "spoken"), recorded(rig, 4, "heard")
    assert len(spoken) == len(heard) == 30 * 320
    late = tapped(rig, TAP + 1)
    assert [block.resampled for block in rig.blocks] == [()] * 10 + [(4,)] * 20
    assert rig.blocks[-1].only({4}).resampled == (4,)
    assert rig.blocks[-1].only({1}).resampled == ()
    assert np.array_equal(spoken[10 * 320 :], Stream(8000, 16_000).process(late))
    differs = np.flatnonzero(heard != tapped(rig, TAP))
    # Only where the filters of 8 kHz talkers begin anew.
    span = 2 * resampler(8000, 16_000).history
    assert ((differs >= 10 * 320) & (differs < 10 * 320 + span)).all()


def test_a_leg_that_closes_or_is_no_longer_recorded_is_in_no_block(
    make_rig: Callable[..., Any],
) -> None:
    rig = make_rig()
    talk = Talk(rig)
    record(rig)
    talk.frame(0)
    rig.engine.submit(Record(2, on=False))
    talk.frame(1)
    rig.blocks.clear()
    talk.frame(2)
    assert {leg for block in rig.blocks for frames in block.wide for leg in frames.legs} == {3, 4}
    for leg in (3, 4):
        rig.engine.submit(CloseLeg(leg))
    rig.beat(40)
    rig.blocks.clear()
    rig.beat(8)
    assert rig.blocks
    assert all(block.wide == () for block in rig.blocks)


def test_a_rate_that_no_recording_has_is_refused(rig: Any) -> None:
    rig.open(1)
    rig.engine.submit(Record(1, rate_hz=44_100))
    rig.beat()
    (refused,) = rig.told(CommandRefused)
    assert "give 8000, 16000 or 48000" in refused.why


def test_rows_of_some_legs_keep_their_frames(make_rig: Callable[..., Any]) -> None:
    """`TapBlock.only`, which sends legs along to another worker."""
    rig = make_rig()
    talk = Talk(rig)
    record(rig)
    for number in range(3):
        talk.frame(number)
    block = rig.blocks[-1]
    part = block.only({1, 4})
    assert part.legs == (1, 4)
    (frames,) = part.wide
    assert (frames.rate_hz, frames.legs) == (16_000, (4,))
    whole = next(each for each in block.wide if each.rate_hz == 16_000)
    at = whole.legs.index(4)
    assert np.array_equal(frames.heard[0], whole.heard[at])
    assert np.array_equal(frames.spoken[0], whole.spoken[at])
    assert block.only({1}).wide == ()


def test_masked_digits_are_in_no_recording_of_any_rate(make_rig: Callable[..., Any]) -> None:
    """A wideband leg's key, 697 and 1336 Hz (ITU-T Q.23): silent at 8 kHz, and at 16."""
    rig = make_rig()
    rig.open(4, codec="L16/16000", payload_type=96)
    rig.open(2)
    rig.bridge(1, (4, 2), ramp_ms=0)
    rig.engine.submit(Record(4, rate_hz=16_000))
    rig.engine.submit(DetectDigits(4, mask=True))
    time = np.arange(320 * 30) / 16_000
    key = 6000 * (np.sin(2 * np.pi * 697 * time) + np.sin(2 * np.pi * 1336 * time))
    octets = key.astype(">i2").tobytes()
    for number in range(30):
        packet = RtpPacket(
            payload_type=96, sequence_number=number, timestamp=320 * number, ssrc=5,
            payload=octets[640 * number : 640 * (number + 1)],
        )  # fmt: skip
        rig.hand_in(4, packet.to_bytes())
        rig.beat(rig.engine.phases)
    spoken = recorded(rig, 4, "spoken").astype(int)
    narrow = np.concatenate([block.spoken[0] for block in rig.blocks])
    # What is left in both is the part of a frame before the first whole one.
    assert not narrow[800:].any()
    assert np.abs(spoken[1600:]).max() <= 1
    assert np.count_nonzero(np.abs(spoken[:1600]) > 1) <= 2 * np.count_nonzero(narrow) + 320
