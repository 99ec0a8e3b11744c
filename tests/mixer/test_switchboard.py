"""Random scripts of joins, leaves, moves and closures: what was commanded last is what holds."""

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from rtpmix.mixer.by_size import BySize
from rtpmix.mixer.commands import (
    CloseBridge,
    CloseLeg,
    CommandRefused,
    LegClosed,
    MatrixCommitted,
    MatrixReached,
)
from rtpmix.mixer.layout import Layout, build

UNITY = 32768


class Model:
    """What the commands so far mean."""

    def __init__(self) -> None:
        self.legs: set[int] = set()
        self.gains: dict[int, dict[tuple[int, int], int]] = {}
        self.seats: dict[int, set[int]] = {}

    def seat(self, bridge: int, seats: list[int], gains: list[list[int]]) -> None:
        for other in self.seats:
            self.seats[other] -= set(seats)
        self.seats[bridge] = set(seats)
        self.gains[bridge] = {
            (a, b): gains[i][j] for i, a in enumerate(seats) for j, b in enumerate(seats)
        }

    def gain(self, listener: int, talker: int) -> int:
        for bridge, seats in self.seats.items():
            if listener in seats and talker in seats:
                return self.gains[bridge][listener, talker]
        return 0


def live(rig: Any, listener: int, talker: int) -> int:
    """The gain in force in the engine."""
    bridge = rig.engine._board.bridge_of.get(listener)
    if bridge is None or talker not in bridge.seats:
        return 0
    at = bridge.seats.index(listener), bridge.seats.index(talker)
    return int(bridge.gains[at])


def step(rig: Any, model: Model, dice: random.Random) -> None:
    choice = dice.random()
    if choice < 0.25 or not model.legs:
        leg = dice.randrange(12)
        if leg not in model.legs and rig.engine.row_of(leg) is None:
            rig.open(leg)
            model.legs.add(leg)
    elif choice < 0.33:
        leg = dice.choice(sorted(model.legs))
        rig.engine.submit(CloseLeg(leg))
        model.legs.discard(leg)
        for seats in model.seats.values():
            seats.discard(leg)
    elif choice < 0.40 and model.seats:
        bridge = dice.choice(sorted(model.seats))
        rig.engine.submit(CloseBridge(bridge))
        model.seats.pop(bridge)
    else:
        seats = dice.sample(sorted(model.legs), dice.randint(1, min(5, len(model.legs))))
        gains = [
            [0 if i == j else dice.choice((0, UNITY, UNITY // 2)) for j in range(len(seats))]
            for i in range(len(seats))
        ]
        bridge = dice.randrange(4)
        rig.bridge(bridge, seats, gains, ramp_ms=dice.choice((0, 10, 10, 60)), token=1)
        model.seat(bridge, seats, gains)


@pytest.mark.parametrize("seed", range(30))
def test_last_commanded_matrix_is_in_force(make_rig: Callable[..., Any], seed: int) -> None:
    dice = random.Random(seed)
    rig, model = make_rig(phases=dice.choice((1, 4))), Model()
    for _ in range(120):
        step(rig, model, dice)
        rig.beat(dice.choice((0, 1, 2, 7, 30)))
        if dice.random() < 0.2:
            rig.beat(80)
            for listener in model.legs:
                for talker in model.legs:
                    assert live(rig, listener, talker) == model.gain(listener, talker)
    for leg in sorted(model.legs):
        rig.engine.submit(CloseLeg(leg))
    for bridge in range(4):
        rig.engine.submit(CloseBridge(bridge))
    rig.beat(80)
    snapshot = rig.engine.snapshot()
    assert (snapshot["legs"], snapshot["bridges"]) == (0, 0)
    assert not rig.engine._board.closing
    refused = [event.command for event in rig.told(CommandRefused)]
    assert {type(command) for command in refused} <= {CloseBridge}
    assert len(rig.told(MatrixReached)) <= len(rig.told(MatrixCommitted))
    assert rig.told(LegClosed)


@pytest.mark.parametrize("seed", range(10))
def test_every_leg_keeps_its_stream_through_random_moves(
    make_rig: Callable[..., Any], seed: int
) -> None:
    dice = random.Random(seed)
    rig = make_rig()
    for leg in range(6):
        rig.open(leg)
    for _ in range(40):
        seats = dice.sample(range(6), dice.randint(1, 4))
        rig.bridge(dice.randrange(3), seats)
        rig.beat(dice.randrange(12))
    rig.beat(40)
    for leg in range(6):
        numbers = [int.from_bytes(packet[2:4], "big") for _, packet in rig.sent[leg]]
        stamps = [int.from_bytes(packet[4:8], "big") for _, packet in rig.sent[leg]]
        beats = np.diff([beat for beat, _ in rig.sent[leg]])
        assert set(np.diff(numbers).tolist()) == {1}
        assert set(np.diff(stamps).tolist()) == {160}
        assert beats.min() >= 1
        assert beats.max() <= 8


def what_is_mixed(layout: Layout, noise: Any) -> dict[int, bytes | None]:
    """Return what each row hears; None for those that sit in no bridge."""
    heard = [row.tobytes() for row in layout.mix(noise[layout.rows])]
    rows = layout.rows.tolist()
    assert len(rows) == len(set(rows))
    return dict(zip(rows, heard + [None] * (len(rows) - len(heard)), strict=True))


def seen_in(layout: Layout) -> list[Any]:
    """Return the rest of a layout, in words that do not depend on the order of its bridges."""
    groups = [(size, group.bridges.crowd is None) for size, group in layout.groups.items()]
    places = (layout.legs, layout.alaw, layout.limited, layout.wide)
    rows = [sorted(layout.rows[part].tolist()) for part in places]
    return [groups, rows, sorted(layout.sources), sorted(layout.taps)]


def check_layouts(rig: Any, noise: Any) -> int:
    """Compare the layouts in use with new ones; return how many there are."""
    board, used = rig.engine._board, 0
    for phase in range(board.phases):
        layout = board._layouts[phase]
        if layout is not None:
            bridges = BySize(rig.engine.rows)
            for bridge in board.bridges.values():
                if bridge.phase == phase:
                    bridges.put(bridge)
            new = build(rig.engine.rows, bridges, list(board._loose[phase]))
            assert what_is_mixed(layout, noise) == what_is_mixed(new, noise)
            assert seen_in(layout) == seen_in(new)
            used += 1
    return used


@pytest.mark.parametrize("seed", range(12))
def test_a_layout_that_goes_on_mixes_as_a_new_one_would(
    make_rig: Callable[..., Any], seed: int
) -> None:
    dice = random.Random(seed)
    rig, model = make_rig(phases=dice.choice((1, 4))), Model()
    noise = np.random.default_rng(seed).integers(-32768, 32768, (64, 160)).astype(np.int16)
    used = 0
    for _ in range(80):
        step(rig, model, dice)
        for _ in range(dice.choice((0, 1, 2, 7))):
            rig.beat()
            used += check_layouts(rig, noise)
    assert used > 50


@pytest.mark.parametrize("legs", [3, 30])
def test_new_gains_of_the_same_seats_keep_the_layout(
    make_rig: Callable[..., Any], legs: int
) -> None:
    """A supervisor who whispers has no lists of a whole phase made anew."""
    rig = make_rig(phases=1)
    noise = np.random.default_rng(legs).integers(-32768, 32768, (64, 160)).astype(np.int16)
    for leg in range(legs):
        rig.open(leg)
    rig.bridge(1, range(legs))
    rig.beat(10)
    before = rig.engine._board._layouts[0]
    assert before is not None
    gains = UNITY * (1 - np.eye(legs, dtype=int))
    for listener in range(legs):
        gains[listener, (listener + 1) % legs] = 0
        rig.bridge(1, range(legs), gains, ramp_ms=60)
        for _ in range(5):
            rig.beat()
            assert rig.engine._board._layouts[0] is before
            check_layouts(rig, noise)
    rig.bridge(1, range(legs - 1))
    rig.beat(5)
    assert rig.engine._board._layouts[0] is not before
