"""A supervised call: modes, takeovers and their races, rescue, refusals that change nothing."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest

from rtpmix.errors import SupervisionRefused, UsageError
from rtpmix.supervision import (
    CALL_OVER_REASON,
    TAKEN_OVER_REASON,
    AgentRestored,
    Change,
    Comfort,
    CustomerOrphaned,
    CustomerRescued,
    EndComfort,
    Fate,
    Goodbye,
    HangUp,
    Left,
    Limits,
    Mode,
    ModeChanged,
    Over,
    Phase,
    Role,
    RoleChanged,
    SupervisedCall,
    TakenOver,
    TakeoverAborted,
    TakeoverBegan,
)

CUSTOMER, AGENT, SUPERVISOR, SECOND = 1, 2, 3, 4


def supervised(mode: Mode = Mode.MONITOR, *, second: Mode | None = None) -> SupervisedCall:
    """A customer, an agent and a supervisor (or two) whose media flows."""
    call = SupervisedCall()
    call.join(CUSTOMER)
    call.join(AGENT, Role.AGENT)
    call.attach(SUPERVISOR, mode, 0.0, media_seen=True)
    if second is not None:
        call.attach(SECOND, second, 0.0, media_seen=True)
    return call


def refused(call: SupervisedCall, act: Callable[[], Change]) -> SupervisionRefused:
    """Check that a refusal changes nothing at all, and return it."""
    before = (call.parties, call.routing, call.phase, call.taker, call.next_deadline())
    with pytest.raises(SupervisionRefused) as caught:
        act()
    assert (call.parties, call.routing, call.phase, call.taker, call.next_deadline()) == before
    return caught.value


def mode_of(call: SupervisedCall, seat: int = SUPERVISOR) -> Mode | None:
    return call.party(seat).mode


# ------------------------------------------------------------------------ modes


@pytest.mark.parametrize(("before", "after"), list(itertools.permutations(Mode, 2)))
def test_any_mode_may_follow_any_mode_in_one_commit(before: Mode, after: Mode) -> None:
    call = supervised(before)
    change = call.set_mode(SUPERVISOR, after, 1.0)
    assert mode_of(call) is after
    assert ModeChanged(SUPERVISOR, before, after) in change.facts
    assert sum(isinstance(fact, ModeChanged) for fact in change.facts) == 1
    fresh = supervised(after)
    assert call.routing == fresh.routing
    assert (change.commit is None) == (supervised(before).routing == fresh.routing)


def test_the_same_mode_again_changes_nothing() -> None:
    call = supervised(Mode.BARGE)
    assert call.set_mode(SUPERVISOR, Mode.BARGE, 1.0) == Change(None)


def test_attaching_a_monitor_changes_no_row_of_the_others() -> None:
    call = SupervisedCall()
    call.join(CUSTOMER)
    call.join(AGENT, Role.AGENT)
    before = [(*row, 0) for row in call.routing.gains]
    call.attach(SUPERVISOR, Mode.MONITOR, 0.0)
    assert list(call.routing.gains[:2]) == before


def test_attach_makes_the_named_leg_the_agent() -> None:
    call = SupervisedCall()
    call.join(CUSTOMER)
    call.join(AGENT)
    call.attach(SUPERVISOR, Mode.WHISPER, 0.0, agent=AGENT)
    assert call.party(AGENT).role is Role.AGENT
    assert call.hears(AGENT) == (CUSTOMER, SUPERVISOR)
    assert call.hears(CUSTOMER) == (AGENT,)


def test_a_receive_only_supervisor_can_only_monitor() -> None:
    call = supervised()
    call.attach(SECOND, Mode.MONITOR, 0.0, can_talk=False)
    for mode in (Mode.WHISPER, Mode.BARGE, Mode.TAKEOVER):
        assert refused(call, lambda mode=mode: call.set_mode(SECOND, mode, 1.0)).status == 409
    assert refused(call, lambda: call.takeover(SECOND, 1.0)).status == 409
    other = lambda: call.attach(5, Mode.BARGE, 1.0, can_talk=False)  # noqa: E731
    assert refused(call, other).status == 409


def test_what_the_supervisor_is_not_authorised_for_is_refused() -> None:
    call = SupervisedCall(authorise=lambda seat, mode: mode is Mode.MONITOR)
    call.join(CUSTOMER)
    call.join(AGENT, Role.AGENT)
    assert refused(call, lambda: call.attach(SUPERVISOR, Mode.BARGE, 0.0)).status == 403
    call.attach(SUPERVISOR, Mode.MONITOR, 0.0, media_seen=True)
    assert refused(call, lambda: call.set_mode(SUPERVISOR, Mode.WHISPER, 0.0)).status == 403
    assert refused(call, lambda: call.takeover(SUPERVISOR, 0.0)).status == 403


def test_commands_about_strangers_are_refused() -> None:
    call = supervised()
    assert refused(call, lambda: call.set_mode(99, Mode.BARGE, 0.0)).status == 404
    assert refused(call, lambda: call.set_mode(AGENT, Mode.BARGE, 0.0)).status == 404
    assert refused(call, lambda: call.attach(SECOND, Mode.BARGE, 0.0, agent=99)).status == 404
    assert call.leave(99, 0.0) == Change(None)
    assert call.media_seen(99, 0.0) == Change(None)
    for wrong in (
        lambda: call.join(AGENT),
        lambda: call.join(9, Role.SUPERVISOR),
        lambda: call.attach(SECOND, Mode.BARGE, 0.0, agent=SUPERVISOR),
        lambda: call.detach(AGENT, 0.0),
        lambda: call.set_role(SUPERVISOR, Role.AGENT),
        lambda: call.takeover(SUPERVISOR, 0.0, overlap_s=11),
        lambda: call.set_level(CUSTOMER, AGENT, -1),
    ):
        with pytest.raises(UsageError):
            wrong()


def test_roles_are_followed_when_the_agent_changes() -> None:
    """A transfer: the barge reaches the new agent; the old one, gone, hears nothing."""
    call = supervised(Mode.WHISPER)
    call.join(7, Role.AGENT)
    call.leave(AGENT, 1.0)
    assert call.hears(7) == (CUSTOMER, SUPERVISOR)
    assert call.hears(CUSTOMER) == (7,)


def test_a_role_that_changes_takes_the_supervisors_whisper_along() -> None:
    call = supervised(Mode.WHISPER)
    call.join(7)
    assert call.set_role(7, Role.AGENT).facts == (RoleChanged(7, Role.CUSTOMER, Role.AGENT),)
    assert call.set_role(7, Role.AGENT) == Change(None, why="seat 7 is now agent")
    assert SUPERVISOR in call.hears(7)
    call.set_role(AGENT, Role.CUSTOMER)
    assert SUPERVISOR not in call.hears(AGENT)


def test_hold_and_levels_are_part_of_the_routing() -> None:
    call = supervised()
    call.hold(CUSTOMER, True)
    assert call.hears(AGENT) == ()
    assert call.hears(SUPERVISOR) == (CUSTOMER, AGENT)
    call.hold(CUSTOMER, False)
    call.set_level(AGENT, CUSTOMER, 100)
    assert call.routing.gains[1] == (100, 0, 0)
    call.set_can_talk(CUSTOMER, False)
    assert call.hears(AGENT) == ()


def test_a_level_is_forgotten_with_the_leg_it_was_for() -> None:
    call = supervised()
    call.set_level(AGENT, CUSTOMER, 100)
    call.join(9)
    call.leave(CUSTOMER, 1.0)
    call.join(CUSTOMER)
    assert 100 not in itertools.chain.from_iterable(call.routing.gains)


# --------------------------------------------------------------------- takeover


def test_a_cold_takeover_is_one_commit_then_a_goodbye() -> None:
    call = supervised()
    change = call.takeover(SUPERVISOR, 10.0)
    assert call.hears(CUSTOMER) == (SUPERVISOR,)
    assert call.hears(SUPERVISOR) == (CUSTOMER,)
    assert call.hears(AGENT) == ()
    assert change.facts[:2] == (
        TakeoverBegan(SUPERVISOR, Fate.LEAVE, 0.0),
        TakenOver(SUPERVISOR, Fate.LEAVE, (AGENT,)),
    )
    assert change.orders == (Goodbye(AGENT, TAKEN_OVER_REASON, 3.0),)
    gone = call.leave(AGENT, 12.0)
    assert call.hears(CUSTOMER) == (SUPERVISOR,)
    assert gone.orders == ()


def test_takeover_waits_for_the_supervisors_media_and_changes_nothing_before() -> None:
    call = SupervisedCall()
    call.join(CUSTOMER)
    call.join(AGENT, Role.AGENT)
    call.attach(SUPERVISOR, Mode.MONITOR, 0.0)
    assert call.takeover(SUPERVISOR, 1.0).commit is None
    assert call.phase is Phase.PREPARING
    assert call.media_seen(AGENT, 1.1).commit is None
    change = call.media_seen(SUPERVISOR, 1.2)
    assert TakenOver(SUPERVISOR, Fate.LEAVE, (AGENT,)) in change.facts


def test_takeover_gives_up_when_nothing_is_heard_from_the_supervisor() -> None:
    call = SupervisedCall()
    call.join(CUSTOMER)
    call.join(AGENT, Role.AGENT)
    call.attach(SUPERVISOR, Mode.TAKEOVER, 0.0)
    assert mode_of(call) is Mode.MONITOR
    assert call.next_deadline() == 5.0
    assert call.advance(4.999) == Change(None)
    change = call.advance(5.0)
    assert change.commit is None
    assert [type(fact) for fact in change.facts] == [TakeoverAborted]
    assert call.next_deadline() is None


def test_a_mode_of_takeover_without_media_is_refused() -> None:
    call = SupervisedCall()
    call.join(CUSTOMER)
    call.join(AGENT, Role.AGENT)
    call.attach(SUPERVISOR, Mode.MONITOR, 0.0)
    assert refused(call, lambda: call.set_mode(SUPERVISOR, Mode.TAKEOVER, 1.0)).status == 409
    call.media_seen(SUPERVISOR, 2.0)
    call.set_mode(SUPERVISOR, Mode.TAKEOVER, 3.0)
    assert mode_of(call) is Mode.TAKEOVER


def test_a_warm_takeover_overlaps_in_barge() -> None:
    call = supervised(Mode.WHISPER)
    call.takeover(SUPERVISOR, 0.0, overlap_s=4.0)
    assert call.hears(CUSTOMER) == (AGENT, SUPERVISOR)
    assert call.next_deadline() == 4.0
    call.advance(4.0)
    assert call.hears(CUSTOMER) == (SUPERVISOR,)


def test_an_agent_who_listens_hears_on_and_can_be_handed_the_call_back() -> None:
    call = supervised(Mode.WHISPER)
    before = call.routing
    call.takeover(SUPERVISOR, 0.0, fate=Fate.LISTEN)
    assert call.hears(AGENT) == (CUSTOMER, SUPERVISOR)
    assert call.hears(CUSTOMER) == (SUPERVISOR,)
    change = call.hand_back(SUPERVISOR, 9.9)
    assert call.routing == before
    assert AgentRestored(AGENT) in change.facts
    assert mode_of(call) is Mode.WHISPER
    assert call.next_deadline() is None


def test_after_the_undo_window_there_is_nothing_to_hand_back_but_modes_still_change() -> None:
    call = supervised()
    call.takeover(SUPERVISOR, 0.0, fate=Fate.LISTEN)
    assert call.next_deadline() == 10.0
    call.advance(10.0)
    assert refused(call, lambda: call.hand_back(SUPERVISOR, 10.1)).status == 409
    assert AgentRestored(AGENT) in call.set_mode(SUPERVISOR, Mode.MONITOR, 11.0).facts
    assert call.hears(CUSTOMER) == (AGENT,)


def test_a_consulted_agent_is_handed_the_call_back() -> None:
    call = supervised()
    call.takeover(SUPERVISOR, 0.0, fate=Fate.CONSULT)
    assert call.hears(AGENT) == (SUPERVISOR,)
    call.hand_back(SUPERVISOR, 1.0)
    assert call.hears(CUSTOMER) == (AGENT,)


def test_a_call_is_not_handed_back_to_nobody() -> None:
    call = supervised()
    call.takeover(SUPERVISOR, 0.0)
    assert refused(call, lambda: call.hand_back(SUPERVISOR, 1.0)).status == 409
    for mode in (Mode.MONITOR, Mode.WHISPER):
        assert refused(call, lambda mode=mode: call.set_mode(SUPERVISOR, mode, 1.0)).status == 409
    call.set_mode(SUPERVISOR, Mode.BARGE, 1.0)
    assert call.hears(CUSTOMER) == (SUPERVISOR,)


@pytest.mark.parametrize("overlap_s", [0.0, 5.0])
def test_a_second_takeover_is_refused_while_one_is_in_progress(overlap_s: float) -> None:
    call = supervised(second=Mode.MONITOR)
    call.takeover(SUPERVISOR, 0.0, overlap_s=overlap_s)
    assert refused(call, lambda: call.takeover(SECOND, 0.1)).status == 409
    assert refused(call, lambda: call.set_mode(SECOND, Mode.TAKEOVER, 0.1)).status == 409
    assert refused(call, lambda: call.takeover(SUPERVISOR, 0.1)).status == 409
    assert refused(call, lambda: call.hand_back(SECOND, 0.1)).status == 409


def test_a_second_supervisor_takes_over_from_the_first_and_hands_back() -> None:
    call = supervised(second=Mode.MONITOR)
    call.takeover(SUPERVISOR, 0.0, fate=Fate.LISTEN)
    call.advance(10.0)
    before = call.routing
    change = call.takeover(SECOND, 20.0, fate=Fate.LISTEN)
    assert TakenOver(SECOND, Fate.LISTEN, (AGENT, SUPERVISOR)) in change.facts
    assert call.hears(CUSTOMER) == (SECOND,)
    assert mode_of(call) is Mode.MONITOR
    call.hand_back(SECOND, 25.0)
    assert call.routing == before
    assert mode_of(call) is Mode.TAKEOVER


@pytest.mark.parametrize("end", ["hand_back", "set_mode", "detach", "lost"])
def test_a_warm_takeover_that_fails_leaves_the_call_as_it_was(end: str) -> None:
    call = supervised(Mode.MONITOR)
    call.takeover(SUPERVISOR, 0.0, overlap_s=5.0)
    if end == "set_mode":
        change = call.set_mode(SUPERVISOR, Mode.MONITOR, 1.0)
    else:
        change = getattr(call, end)(SUPERVISOR, 1.0)
    assert any(isinstance(fact, TakeoverAborted) for fact in change.facts)
    assert call.hears(CUSTOMER) == (AGENT,)
    assert call.hears(AGENT) == (CUSTOMER,)
    assert call.phase is Phase.IDLE
    assert call.next_deadline() is None


# ------------------------------------------------------------- races and rescue


def test_an_agent_who_vanishes_leaves_an_orphan_whom_a_supervisor_rescues() -> None:
    call = supervised()
    lost = call.lost(AGENT, 1.0)
    assert lost.facts == (Left(AGENT, Role.AGENT, "lost"), CustomerOrphaned((CUSTOMER,)))
    assert lost.orders == (Comfort((CUSTOMER,)),)
    assert call.orphans == (CUSTOMER,)
    call.join(50, Role.PROMPT, to=frozenset({CUSTOMER}))
    assert call.hears(CUSTOMER) == (50,)
    rescued = call.takeover(SUPERVISOR, 2.0)
    assert TakenOver(SUPERVISOR, Fate.LEAVE, ()) in rescued.facts
    assert CustomerRescued((CUSTOMER,)) in rescued.facts
    assert EndComfort() in rescued.orders
    call.leave(50, 2.1)
    assert call.hears(CUSTOMER) == (SUPERVISOR,)


def test_a_new_agent_rescues_as_well() -> None:
    call = supervised()
    call.lost(AGENT, 1.0)
    change = call.join(7, Role.AGENT)
    assert CustomerRescued((CUSTOMER,)) in change.facts
    assert call.hears(CUSTOMER) == (7,)


def test_an_agent_who_hangs_up_during_the_overlap_makes_it_a_rescue() -> None:
    call = supervised()
    call.takeover(SUPERVISOR, 0.0, overlap_s=10.0)
    change = call.leave(AGENT, 1.0)
    assert TakenOver(SUPERVISOR, Fate.LEAVE, ()) in change.facts
    assert change.orders == ()
    assert call.hears(CUSTOMER) == (SUPERVISOR,)


def test_an_agent_who_hangs_up_while_media_is_awaited_orphans_until_it_comes() -> None:
    call = SupervisedCall()
    call.join(CUSTOMER)
    call.join(AGENT, Role.AGENT)
    call.attach(SUPERVISOR, Mode.MONITOR, 0.0)
    call.takeover(SUPERVISOR, 0.0, overlap_s=3.0)
    assert call.leave(AGENT, 1.0).orders == (Comfort((CUSTOMER,)),)
    change = call.media_seen(SUPERVISOR, 2.0)
    assert EndComfort() in change.orders
    assert call.hears(CUSTOMER) == (SUPERVISOR,)


@pytest.mark.parametrize("settled", [False, True])
def test_a_supervisor_lost_after_takeover_gives_the_call_to_the_listening_agent(
    settled: bool,
) -> None:
    call = supervised()
    call.takeover(SUPERVISOR, 0.0, fate=Fate.LISTEN)
    if settled:
        call.advance(10.0)
    change = call.lost(SUPERVISOR, 11.0)
    assert AgentRestored(AGENT) in change.facts
    assert call.hears(CUSTOMER) == (AGENT,)
    assert change.orders == ()


@pytest.mark.parametrize("agent_gone", [False, True])
def test_a_supervisor_lost_after_the_agent_left_leaves_an_orphan(agent_gone: bool) -> None:
    call = supervised()
    call.takeover(SUPERVISOR, 0.0)
    if agent_gone:
        call.leave(AGENT, 3.0)
    change = call.lost(SUPERVISOR, 4.0)
    assert Comfort((CUSTOMER,)) in change.orders
    assert call.phase is Phase.IDLE


@pytest.mark.parametrize("when", ["before", "preparing", "overlap", "undoable", "after"])
def test_the_customers_end_is_the_end_whenever_it_comes(when: str) -> None:
    call = supervised()
    if when == "preparing":
        call.attach(SECOND, Mode.TAKEOVER, 0.0)
    elif when == "overlap":
        call.takeover(SUPERVISOR, 0.0, overlap_s=5.0)
    elif when != "before":
        call.takeover(SUPERVISOR, 0.0, fate=Fate.LISTEN)
    if when == "after":
        call.advance(10.0)
    change = call.leave(CUSTOMER, 20.0)
    assert Over() in change.facts
    assert {order for order in change.orders if isinstance(order, HangUp)} == {
        HangUp(party.seat, CALL_OVER_REASON) for party in call.parties
    }
    assert not any(itertools.chain.from_iterable(call.routing.gains))
    assert call.next_deadline() is None
    assert refused(call, lambda: call.join(9)).status == 409
    assert refused(call, lambda: call.set_mode(SUPERVISOR, Mode.BARGE, 21.0)).status == 409
    for party in call.parties:
        call.leave(party.seat, 22.0)
    assert call.routing.seats == ()


def test_the_customers_end_stops_the_comfort() -> None:
    call = supervised()
    call.lost(AGENT, 0.0)
    assert EndComfort() in call.leave(CUSTOMER, 1.0).orders


def test_a_conference_may_empty_and_fill_again() -> None:
    call = SupervisedCall()
    for _ in range(2):
        call.join(1)
        call.join(2)
        assert call.hears(1) == (2,)
        call.leave(1, 0.0)
        assert call.leave(2, 0.0).orders == ()


def test_limits_are_the_embedders() -> None:
    call = SupervisedCall(limits=Limits(undo_s=1.0, goodbye_s=0.5, ramp_ms=20))
    call.join(CUSTOMER)
    call.join(AGENT, Role.AGENT)
    call.attach(SUPERVISOR, Mode.MONITOR, 0.0, media_seen=True)
    change = call.takeover(SUPERVISOR, 0.0)
    assert change.commit is not None
    assert change.commit.ramp_ms == 20
    assert change.orders == (Goodbye(AGENT, TAKEN_OVER_REASON, 0.5),)
    assert call.next_deadline() == 1.0


@pytest.mark.parametrize("wrong", [{"ramp_ms": 21}, {"ramp_ms": -1}, {"undo_s": -1.0}])
def test_a_ramp_stays_within_a_frame_and_times_are_not_negative(wrong: dict[str, float]) -> None:
    """A commit in the middle of another's ramp would show in rows that it does not change."""
    with pytest.raises(UsageError):
        Limits(**wrong)  # type: ignore[arg-type]


def test_a_muted_party_is_heard_by_nobody_until_unmuted() -> None:
    call = supervised(Mode.BARGE)
    before = call.routing.gains
    muted = call.mute(CUSTOMER, True).commit
    assert muted is not None
    at = muted.seats.index(CUSTOMER)
    assert not any(row[at] for row in muted.gains)
    assert not any(row[at] for row in muted.dtmf)
    assert muted.gains[at] == before[at]  # and hears on
    assert call.mute(CUSTOMER, False).commit is not None
    assert call.routing.gains == before
