"""Whom a supervision follows through a transfer: the whole table, and whose place is taken."""

from __future__ import annotations

import itertools

import pytest

from rtpmix.errors import SupervisionRefused, UsageError
from rtpmix.supervision import (
    FOLLOW,
    Anchor,
    Comfort,
    Fate,
    Follow,
    Joined,
    Left,
    Mode,
    Moved,
    Phase,
    Replaced,
    Role,
    SupervisedCall,
)
from rtpmix.supervision.anchor import moved

AGENT, CUSTOMER, COACH, NEW = 1, 2, 3, 9

# Written apart from the code: for each thing that happens, in the order of `Anchor`.
EXPECTED = {
    Moved.AGENT_REPLACED: "stay end stay",
    Moved.AGENT_ON_ANOTHER_LEG: "stay stay stay",
    Moved.CUSTOMER_REPLACED: "stay stay end",
    Moved.CUSTOMER_ON_ANOTHER_LEG: "stay stay stay",
    Moved.WITH_CUSTOMER: "move-along end move-along",
    Moved.WITH_AGENT: "end move-along end",
    Moved.WHOLE: "move-along move-along move-along",
}


@pytest.mark.parametrize("happened", Moved)
def test_every_anchor_has_an_answer_to_everything(happened: Moved) -> None:
    answers = [FOLLOW[anchor, happened].value.replace(" ", "-") for anchor in Anchor]
    assert " ".join(answers) == EXPECTED[happened]


def test_the_table_is_whole() -> None:
    assert set(FOLLOW) == set(itertools.product(Anchor, Moved))
    assert set(FOLLOW.values()) == set(Follow)


@pytest.mark.parametrize(
    ("agent", "customer", "expected"),
    [
        (False, False, None),
        (True, False, Moved.WITH_AGENT),
        (False, True, Moved.WITH_CUSTOMER),
        (True, True, Moved.WHOLE),
    ],
)
def test_who_goes_says_what_happened(agent: bool, customer: bool, expected: Moved | None) -> None:
    assert moved(agent=agent, customer=customer) is expected


def supervised(mode: Mode = Mode.MONITOR) -> SupervisedCall:
    call = SupervisedCall()
    call.join(CUSTOMER)
    call.join(AGENT, Role.AGENT)
    call.attach(COACH, mode, 0.0, media_seen=True)
    return call


@pytest.mark.parametrize("seat", [AGENT, CUSTOMER, COACH])
@pytest.mark.parametrize("mode", Mode)
def test_a_newcomer_hears_and_is_heard_as_the_one_before(seat: int, mode: Mode) -> None:
    """The matrix is the same but for the seat's number: role, mode and levels went along."""
    call = supervised(mode)
    call.set_level(CUSTOMER, AGENT, 1000)
    before = call.routing
    change = call.replace(seat, NEW, 1.0, media_seen=True)
    assert change.commit is not None
    assert change.commit.gains == before.gains
    assert change.commit.dtmf == before.dtmf
    assert change.commit.seats == tuple(NEW if s == seat else s for s in before.seats)
    kinds = [type(fact) for fact in change.facts]
    assert kinds == [Joined, Replaced, Left]
    assert not change.orders
    if mode is Mode.TAKEOVER and seat == COACH:
        assert call.taker == NEW
        call.hand_back(NEW, 2.0)
        assert call.phase is Phase.IDLE


def test_a_takeover_that_waits_for_media_goes_on_with_the_newcomer() -> None:
    call = SupervisedCall()
    call.join(CUSTOMER)
    call.join(AGENT, Role.AGENT)
    call.attach(COACH, Mode.MONITOR, 0.0)
    call.takeover(COACH, 0.0, fate=Fate.LISTEN)
    assert call.phase is Phase.PREPARING
    call.replace(COACH, NEW, 1.0, media_seen=True)
    assert call.phase is Phase.UNDOABLE
    assert call.party(NEW).mode is Mode.TAKEOVER


def test_an_orphan_on_another_telephone_is_comforted_there() -> None:
    call = SupervisedCall()
    call.join(CUSTOMER)
    call.join(AGENT, Role.AGENT)
    call.join(50, Role.PROMPT, to=frozenset({CUSTOMER}))
    call.leave(AGENT, 1.0)
    change = call.replace(CUSTOMER, NEW, 2.0)
    assert Comfort((NEW,)) in change.orders
    assert call.party(50).to == frozenset({NEW})


def test_a_place_that_is_nobodys_cannot_be_taken() -> None:
    call = supervised()
    with pytest.raises(SupervisionRefused) as refused:
        call.replace(77, NEW, 0.0)
    assert refused.value.status == 404
    with pytest.raises(UsageError, match="already"):
        call.replace(AGENT, CUSTOMER, 0.0)
    call.takeover(COACH, 0.0, fate=Fate.LEAVE)
    with pytest.raises(SupervisionRefused, match="leaving"):
        call.replace(AGENT, NEW, 0.0)


def test_a_receive_only_leg_takes_a_monitors_place_alone() -> None:
    with pytest.raises(SupervisionRefused, match="only monitor"):
        supervised(Mode.WHISPER).replace(COACH, NEW, 0.0, can_talk=False)
    call = supervised()
    call.replace(COACH, NEW, 0.0, can_talk=False)
    assert call.party(NEW).mode is Mode.MONITOR
