"""Bridges are mixed soon after their packets come; a move loses, repeats and changes nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from rtpmix.mixer import g711, placing
from rtpmix.mixer.commands import BridgeMoved

PHASES = 4  # a beat is 5 ms


def words(leg: int, frames: int) -> list[bytes]:
    """Frames of noise, each of another sound, at a level that two of them don't clip."""
    noise = np.random.default_rng(leg).integers(-3000, 3000, (frames, 160)).astype(np.int16)
    # 0x7F is -0, which a mixer sends as 0.
    return [g711.encode(frame, g711.PCMU).tobytes().replace(b"\x7f", b"\xff") for frame in noise]


def talk(rig: Any, places: dict[int, int], said: dict[int, list[bytes]], frames: range) -> None:
    """Let each leg's packets come before the beat of its place in each 20 ms."""
    for frame in frames:
        for beat in range(rig.engine.phases):
            for leg, place in places.items():
                if place == beat:
                    rig.say(leg, said[leg][frame])
            rig.beat()


def waits(rig: Any, places: dict[int, int], listener: int) -> set[int]:
    """Beats from each talker's packet to the tick of the listener's next packet, of late."""
    ticks = [beat for beat, _ in rig.sent[listener][-20:]]
    phases = rig.engine.phases
    return {(tick - place) % phases for tick in ticks for place in places.values()}


@pytest.mark.parametrize("first", range(PHASES))
def test_two_legs_are_mixed_when_the_second_has_come(make_rig, first: int) -> None:
    """Wherever the bridge was put, it ends up where nobody waits for more than they must."""
    rig = make_rig(phases=PHASES)
    for other in range(100, 100 + first):  # bridges made before take the phases before
        rig.bridge(other, [])
    places = {1: 2, 2: 3}
    said = {leg: words(leg, 800) for leg in places}
    for leg in places:
        rig.open(leg)
    rig.bridge(1, list(places))
    talk(rig, places, said, range(800))
    assert waits(rig, places, 1) == {0, 1}
    assert rig.engine.rows.concealed.sum() == 0
    assert rig.engine.rows.to_cut.sum() == 0
    for leg, delay in ((1, 5.0), (2, 0.0)):  # to a beat of 5 ms
        assert rig.engine.leg_stats(leg).late == 0
        assert rig.engine.leg_stats(leg).delay_ms == delay


def test_a_bridge_of_legs_that_talk_already_is_placed_when_it_is_made(make_rig) -> None:
    rig = make_rig(phases=PHASES)
    places = {1: 1, 2: 1, 3: 1}
    said = {leg: words(leg, 100) for leg in places}
    for leg in places:
        rig.open(leg)
    talk(rig, places, said, range(20))
    rig.bridge(1, list(places))
    talk(rig, places, said, range(20, 100))
    assert waits(rig, places, 1) == {0}
    assert rig.told(BridgeMoved) == []


@pytest.mark.parametrize(
    ("first", "place", "shift"),
    [(3, 2, -1), (0, 2, -2), (1, 2, -3), (3, 0, 1)],
)
def test_moving_loses_repeats_and_changes_no_frame(make_rig, first, place, shift) -> None:
    """What the listener gets is the talker's packets, byte for byte, across the move."""
    rig = make_rig(phases=PHASES)
    for other in range(100, 100 + first):
        rig.bridge(other, [])
    places = {1: place, 2: 2 if shift < 0 else first}
    said = {leg: words(leg, 200) for leg in places}
    for leg in places:
        rig.open(leg)
    rig.bridge(1, list(places), ramp_ms=0)
    talk(rig, places, said, range(200))
    (moved,) = rig.told(BridgeMoved)
    assert moved.at - moved.last == 160 + 40 * shift
    heard = rig.heard(1)
    start = heard.index(said[2][3])
    assert heard[start:] == said[2][3 : 3 + len(heard) - start]
    assert len(heard) - start >= 196
    numbers = [int.from_bytes(packet[2:4], "big") for _, packet in rig.sent[1]]
    stamps = [int.from_bytes(packet[4:8], "big") for _, packet in rig.sent[1]]
    assert set(np.diff(numbers).tolist()) == {1}
    assert set(np.diff(stamps).tolist()) == {160}
    ticks = [beat for beat, _ in rig.sent[1]][5:]  # once seated
    assert sorted(set(np.diff(ticks).tolist()) - {PHASES}) == [PHASES + shift]


def test_a_leg_whose_packet_comes_before_a_later_tick_loses_no_frame_and_then_its_delay(
    make_rig,
) -> None:
    """Leg 1 waits a whole frame after the move; that is cut out as any delay nobody needs."""
    rig = make_rig(phases=PHASES)
    places = {1: 0, 2: 3, 3: 3}
    said = {leg: words(leg, 1000) for leg in places}
    for leg in places:
        rig.open(leg)
    rig.bridge(1, list(places), ramp_ms=0)  # at phase 0: legs 2 and 3 wait for a beat
    talk(rig, places, said, range(1000))
    assert waits(rig, places, 2) <= {0, 1, 3}
    assert rig.engine.rows.concealed.sum() == 0
    figures = [rig.engine.leg_stats(leg) for leg in places]
    assert [each.late for each in figures] == [0, 0, 0]


def test_legs_that_have_no_say_move_nothing(make_rig) -> None:
    """A supervisor who listens must not show in the timing of others."""
    sent = []
    for place in (None, 0, 1):
        rig = make_rig(phases=PHASES)
        places = {1: 2, 2: 3}
        said = {leg: words(leg, 300) for leg in (1, 2, 3)}
        for leg in (1, 2, 3):
            rig.open(leg)
        if place is None:
            rig.bridge(1, [1, 2])
        else:
            places[3] = place
            gains = 32768 * np.array([[0, 1, 0], [1, 0, 0], [1, 1, 0]])
            rig.bridge(1, [1, 2, 3], gains, untimed=frozenset({3}))
        talk(rig, places, said, range(300))
        assert len(rig.told(BridgeMoved)) == 1
        sent.append((rig.sent[1], rig.sent[2]))
    assert sent[0] == sent[1] == sent[2]


def test_a_phase_does_not_fill_up_beyond_its_share(
    make_rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Everybody's packets come at once: the bridges are spread all the same, if they are many."""
    monkeypatch.setattr(placing, "ALWAYS", 20)
    rig = make_rig(phases=PHASES, capacity=256)
    places = dict.fromkeys(range(1, 161), 1)
    said = {leg: words(1, 300) for leg in places}
    for leg in places:
        rig.open(leg)
    for number in range(40):
        rig.bridge(number, range(4 * number + 1, 4 * number + 5))
    for frame in range(300):
        for beat in range(PHASES):
            if beat == 1:
                for leg in places:
                    rig.say(leg, said[leg][frame])
            rig.beat()
    phases = np.bincount(rig.engine.rows.phase[: len(places)], minlength=PHASES)
    assert phases.max() <= 1.25 * 40 + 12 + 4
    assert phases[1] > 40


def test_a_change_under_way_goes_on_at_the_new_phase(make_rig) -> None:
    """A ramp longer than a frame, with the move in the middle, ends where it should."""
    rig = make_rig(phases=PHASES)
    places = {1: 2, 2: 2}
    said = {leg: words(leg, 100) for leg in places}
    for leg in places:
        rig.open(leg)
    rig.bridge(1, list(places), ramp_ms=0)
    talk(rig, places, said, range(24))
    for frame in range(24, 60):
        if not rig.told(BridgeMoved):
            level = 20_000 + 100 * frame
            rig.bridge(1, list(places), [[0, level], [32768, 0]], ramp_ms=20)
        talk(rig, places, said, range(frame, frame + 1))
    assert len(rig.told(BridgeMoved)) == 1
    last = rig.engine._board.bridges[1]
    assert last.gains[0, 1] == level
    assert last.settled


def test_a_bridge_that_was_left_alone_for_long_is_looked_at_when_a_leg_has_to_wait(
    make_rig,
) -> None:
    """A phone's packets come later from now on: its frame of delay is gone within three seconds."""
    rig = make_rig(phases=PHASES)
    said = {leg: words(leg, 1950) for leg in (1, 2)}
    for leg in said:
        rig.open(leg)
    rig.bridge(1, list(said))
    talk(rig, {1: 2, 2: 2}, said, range(1800))
    before = len(rig.told(BridgeMoved))
    talk(rig, {1: 2, 2: 3}, said, range(1800, 1950))
    assert len(rig.told(BridgeMoved)) == before + 1
    assert [rig.engine.leg_stats(leg).delay_ms for leg in said] == [5.0, 0.0]


def test_who_has_no_say_does_not_change_when_a_bridge_is_looked_at(make_rig) -> None:
    """A supervisor's packets come late just when the bridge would gain by a move."""
    moved = []
    for supervised in (False, True):
        rig = make_rig(phases=PHASES)
        legs = (1, 2, 3) if supervised else (1, 2)
        said = {leg: words(leg, 2700) for leg in legs}
        for leg in legs:
            rig.open(leg)
        gains = 32768 * (1 - np.eye(len(legs), dtype=int))
        gains[:2, 2:] = 0
        rig.bridge(1, legs, gains, untimed=frozenset(legs[2:]))
        talk(rig, dict.fromkeys(legs, 2), said, range(1800))
        talk(rig, dict.fromkeys((1, 2), 0) | dict.fromkeys(legs[2:], 3), said, range(1800, 2700))
        moved.append([(event.at, event.last) for event in rig.told(BridgeMoved)])
    assert moved[0] == moved[1]
    assert moved[0][-1][0] > 1800 * 160


@pytest.mark.parametrize("phases", [1, PHASES])
def test_legs_that_have_to_wait_are_not_remembered_for_ever(make_rig, phases: int) -> None:
    rig = make_rig(phases=phases)
    said = {1: words(1, 400)}
    rig.open(1)
    for frame in range(400):
        for _ in range({5: 0, 6: 2}.get(frame % 20, 1)):  # now and then a packet comes late
            rig.say(1, said[1][frame])
        rig.beat(phases)
    assert rig.engine.rows.stretched.sum() > 0
    assert rig.engine._playout.grown == []


def test_packets_that_come_about_when_a_beat_begins_cost_no_whole_frame(make_rig) -> None:
    """Now in this beat, now in the next: the tick goes by the next, and nobody waits for 20 ms."""
    rig = make_rig(phases=PHASES)
    said = {leg: words(leg, 300) for leg in (1, 2)}
    for leg in said:
        rig.open(leg)
    rig.bridge(1, list(said))
    for frame in range(300):
        if frame % 100 == 21:  # one that was late
            rig.say(2, said[2][frame - 1])
        here = (1,) if frame % 100 == 20 else (1, 2)
        talk(rig, dict.fromkeys(here, 3), said, range(frame, frame + 1))
    assert [rig.engine.leg_stats(leg).delay_ms for leg in said] == [5.0, 5.0]
    assert rig.engine.rows.concealed.sum() <= 1


def test_no_bridge_is_looked_at_while_the_host_is_late(make_rig) -> None:
    """It has better things to do; afterwards everything finds its place."""
    rig = make_rig(phases=PHASES)
    said = {leg: words(leg, 1400) for leg in (1, 2)}
    for leg in said:
        rig.open(leg)
    rig.bridge(1, list(said))
    talk(rig, dict.fromkeys(said, 0), said, range(300))
    there = rig.engine._board.bridges[1].phase
    rig.engine.behind = 2
    moved = len(rig.told(BridgeMoved))
    talk(rig, dict.fromkeys(said, 2), said, range(300, 600))
    assert (rig.engine._board.bridges[1].phase, len(rig.told(BridgeMoved))) == (there, moved)
    rig.engine.behind = 0
    talk(rig, dict.fromkeys(said, 2), said, range(600, 1400))
    assert rig.engine._board.bridges[1].phase != there


@pytest.mark.parametrize(("legs", "moves"), [(3, True), (20, False)])
def test_a_large_bridge_does_not_move_for_what_nobody_notices(make_rig, legs, moves) -> None:
    """Two beats are much for three, and a tenth of a beat for each of twenty."""
    rig = make_rig(phases=PHASES)
    said = {leg: words(leg, 500) for leg in range(legs)}
    for leg in said:
        rig.open(leg)
    rig.bridge(1, list(said))
    there = rig.engine._board.bridges[1].phase
    # Half come just before the tick and half a beat earlier; two of them too late for it.
    places = {leg: (there - leg % 2) % PHASES for leg in said}
    places |= dict.fromkeys(list(said)[: 1 if legs == 3 else 2], (there + 1) % PHASES)
    talk(rig, places, said, range(500))
    assert bool(rig.told(BridgeMoved)) == moves
