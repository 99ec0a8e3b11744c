"""Supervisions and recordings through transfers: who follows whom, and nothing is left behind."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

import rtpmix
from rtpmix.recorder.keys import load_or_make_key
from rtpmix.recorder.verify import verify
from rtpmix.testing import PhoneState
from rtpmix.testing.servers import HOST
from tests.server.transfers import AGENT, COACH, CUSTOMER, TARGET, Stage, perform

CONVERSATION, OF_AGENT, OF_CUSTOMER = rtpmix.Anchor
MONITOR, WHISPER, BARGE, TAKEOVER = rtpmix.Mode


async def settle(stage: Stage) -> None:
    await asyncio.sleep(2.5)


@pytest.mark.parametrize("mode", [MONITOR, WHISPER, BARGE])
def test_a_supervision_follows_the_conversation_to_the_new_agent(mode: rtpmix.Mode) -> None:
    """Whispering and barging address the role: never who was transferred away."""
    heard = {
        MONITOR: ({TARGET}, {CUSTOMER}),
        WHISPER: ({TARGET}, {CUSTOMER, COACH}),
        BARGE: ({TARGET, COACH}, {CUSTOMER, COACH}),
    }[mode]

    async def play(stage: Stage) -> None:
        await stage.connect(roles=True)
        supervision = await stage.supervise(mode)
        await stage.agent.transfer(stage.target.uri)
        await settle(stage)
        assert stage.heard(stage.customer, stage.target) == heard
        assert stage.heard(stage.coach) == ({CUSTOMER, TARGET},)
        assert supervision.mode is mode
        assert "customer-orphaned" not in stage.facts()

    perform(play)


def test_a_supervisor_who_took_over_keeps_the_customer_while_the_agent_transfers() -> None:
    async def play(stage: Stage) -> None:
        await stage.connect(roles=True)
        supervision = await stage.supervise(MONITOR)
        await supervision.takeover(fate=rtpmix.Fate.LISTEN)
        await stage.agent.transfer(stage.target.uri)
        await settle(stage)
        assert stage.heard(stage.customer) == ({COACH},)
        assert supervision.mode is TAKEOVER
        await supervision.hand_back()  # to whom the listening agent's place went
        await settle(stage)
        assert stage.heard(stage.customer) == ({TARGET},)

    perform(play)


@pytest.mark.parametrize(
    ("anchor", "stays"), [(CONVERSATION, True), (OF_AGENT, False), (OF_CUSTOMER, True)]
)
def test_the_anchor_says_who_stays_when_the_agent_is_replaced(
    anchor: rtpmix.Anchor, stays: bool
) -> None:
    async def play(stage: Stage) -> None:
        await stage.connect(roles=True)
        supervision = await stage.supervise(MONITOR, anchor)
        await stage.agent.transfer(stage.target.uri)
        await settle(stage)
        assert (stage.coach.state is PhoneState.TALKING) == stays
        assert (supervision.mode is not None) == stays
        if not stays:
            assert stage.coach.end_cause == "remote-bye"
        assert stage.heard(stage.customer, stage.target) == ({TARGET}, {CUSTOMER})

    perform(play)


@pytest.mark.parametrize(
    ("anchor", "stays"), [(CONVERSATION, True), (OF_AGENT, True), (OF_CUSTOMER, False)]
)
def test_the_anchor_says_who_stays_when_the_customer_is_replaced(
    anchor: rtpmix.Anchor, stays: bool
) -> None:
    async def play(stage: Stage) -> None:
        await stage.connect(roles=True)
        await stage.supervise(MONITOR, anchor)
        assert await stage.customer.transfer(stage.target.uri) == 202
        await settle(stage)
        assert (stage.coach.state is PhoneState.TALKING) == stays
        assert stage.heard(stage.agent, stage.target) == ({TARGET}, {AGENT})
        stage.target.bye()

    perform(play)


@pytest.mark.parametrize(
    ("anchor", "goes"), [(CONVERSATION, True), (OF_AGENT, False), (OF_CUSTOMER, True)]
)
@pytest.mark.parametrize("recorded", [False, True])
def test_the_anchor_says_who_goes_along_with_the_customer(
    anchor: rtpmix.Anchor, goes: bool, recorded: bool, tmp_path: Path
) -> None:
    """The customer is transferred into a room: supervision and recording go along, or end."""

    async def play(stage: Stage) -> None:
        await stage.connect(roles=True)
        supervision = await stage.supervise(MONITOR, anchor)
        if recorded:
            await stage.bridge.record(tmp_path / "call")
        await stage.target.call(f"sip:room@{HOST}")
        await stage.agent.transfer(f"sip:room@{HOST}")
        await settle(stage)
        room = stage.server.find_bridge("room")
        assert room is not None
        assert stage.heard(stage.customer, stage.target) == ({TARGET}, {CUSTOMER})
        assert (stage.coach.state is PhoneState.TALKING) == goes
        if goes:
            assert stage.heard(stage.coach) == ({CUSTOMER, TARGET},)
            assert supervision.bridge is room
            await supervision.set_mode(BARGE)
            await settle(stage)
            assert stage.heard(stage.customer) == ({TARGET, COACH},)
            await supervision.leg.hangup()
        assert (room.recording is not None) == recorded
        stage.target.bye()

    perform(play, recording_key=tmp_path / "key")
    if recorded:
        report = verify(tmp_path / "call", load_or_make_key(tmp_path / "key"))
        assert report.verdict.name == "SEALED", report.lines


def test_a_recording_goes_on_in_the_same_capture(tmp_path: Path) -> None:
    """One capture for the whole conversation; the customer's track has no gap in it."""

    async def play(stage: Stage) -> None:
        await stage.connect(roles=True)
        recording = await stage.bridge.record(tmp_path / "call")
        await asyncio.sleep(1)
        await stage.agent.transfer(stage.target.uri)
        await asyncio.sleep(3)
        assert stage.bridge.recording is recording
        stopped = await recording.stop()
        assert stopped.sealed
        assert stopped.gaps == 0

    perform(play, recording_key=tmp_path / "key")
    report = verify(tmp_path / "call", load_or_make_key(tmp_path / "key"))
    assert report.verdict.name == "SEALED"
    inbound = sorted(each.track.name for each in report.tracks if each.track.name.endswith(".in"))
    assert len(inbound) == 3, inbound  # customer, agent, and who has the agent's place now


def test_an_attended_transfer_takes_the_consultations_supervisor_along() -> None:
    """A supervisor of the consultation hears the whole conversation that it becomes."""

    async def play(stage: Stage) -> None:
        await stage.connect(roles=True)
        await stage.second.call(f"sip:target@{HOST}")
        await asyncio.sleep(0.5)
        (consultation,) = [b for b in stage.server.bridges if b is not stage.bridge]
        leg = await stage.server.invite(stage.coach.uri)
        supervision = await consultation.supervise(leg, mode=MONITOR)
        await stage.agent.transfer(stage.target.uri, replaces=stage.second)
        await settle(stage)
        assert supervision.bridge is stage.bridge
        assert stage.heard(stage.coach) == ({CUSTOMER, TARGET},)
        assert stage.heard(stage.customer, stage.target) == ({TARGET}, {CUSTOMER})

    perform(play)


def test_a_customer_who_hangs_up_after_a_transfer_ends_the_supervision_too() -> None:
    """No zombie: the supervisor's BYE within a second of the end of the call."""

    async def play(stage: Stage) -> None:
        await stage.connect(roles=True)
        await stage.supervise(WHISPER)
        await stage.agent.transfer(stage.target.uri)
        await settle(stage)
        stage.customer.bye()
        await asyncio.sleep(1)
        assert stage.coach.state is PhoneState.IDLE
        assert stage.target.state is PhoneState.IDLE

    perform(play)
