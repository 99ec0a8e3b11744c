"""The lab between phones that speak a tone each: queue, rooms, feature codes, keys, control."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from rtpmix import CallFailed, Mode, SupervisionRefused, UsageError
from rtpmix.recorder import Verdict, list_captures, load_key, verify
from tests.lab.world import World, in_lab

HEARD = {
    Mode.MONITOR: {"dora": {"alice"}, "alice": {"dora"}, "coach": {"dora", "alice"}},
    Mode.WHISPER: {"dora": {"alice"}, "alice": {"dora", "coach"}, "coach": {"dora", "alice"}},
    Mode.BARGE: {
        "dora": {"alice", "coach"},
        "alice": {"dora", "coach"},
        "coach": {"dora", "alice"},
    },
    Mode.TAKEOVER: {"dora": {"coach"}, "alice": {"dora", "coach"}, "coach": {"dora"}},
}
KEYS = {Mode.MONITOR: "4", Mode.WHISPER: "5", Mode.BARGE: "6", Mode.TAKEOVER: "7"}


async def queue_call(world: World) -> None:
    """Dora calls the queue and talks to Alice, who answers before Bob."""
    world["bob"].answer_after = 2.0
    await world.dial("dora", "600")
    await asyncio.sleep(2)
    assert world.heard("dora", "alice") == {"dora": {"alice"}, "alice": {"dora"}}


def test_the_first_agent_who_answers_has_the_customer_and_the_others_stop_ringing() -> None:
    async def scenario(world: World) -> None:
        await queue_call(world)
        assert world["bob"].state.value == "idle"
        assert world["bob"].end_cause == "cancelled"
        world["dora"].bye()
        await asyncio.sleep(1)
        assert world["alice"].end_cause == "remote-bye"

    in_lab(scenario)


def test_customers_wait_with_music_and_are_served_in_their_order() -> None:
    async def scenario(world: World) -> None:
        world["bob"].reject_with = 486
        await queue_call(world)
        await world.dial("emil", "support")
        await asyncio.sleep(5)
        assert len(world["emil"].heard_pcm()) > 0
        assert world["emil"].heard_pcm().any()
        assert world.heard("emil", "dora") == {"emil": set(), "dora": {"alice"}}
        world["dora"].bye()
        await asyncio.sleep(6)
        assert world.heard("emil", "alice") == {"emil": {"alice"}, "alice": {"emil"}}

    in_lab(scenario)


def test_a_customer_who_gives_up_waiting_leaves_nothing_ringing() -> None:
    async def scenario(world: World) -> None:
        for name in ("alice", "bob"):
            world[name].answer_after = None
        await world.dial("dora", "600")
        await asyncio.sleep(1)
        assert world["alice"].state.value == "ringing"
        world["dora"].bye()
        await asyncio.sleep(1)
        assert world["alice"].state.value == world["bob"].state.value == "idle"

    in_lab(scenario)


@pytest.mark.parametrize("code", ["*80", "*81", "*82"])
def test_a_feature_code_attaches_in_its_mode(code: str) -> None:
    mode = {"*80": Mode.MONITOR, "*81": Mode.WHISPER, "*82": Mode.BARGE}[code]

    async def scenario(world: World) -> None:
        await queue_call(world)
        await world.dial("coach", f"{code}101")
        await asyncio.sleep(1)
        assert world.heard("dora", "alice", "coach") == HEARD[mode]

    in_lab(scenario)


def test_the_takeover_code_sends_the_agent_away_and_keeps_the_customer() -> None:
    async def scenario(world: World) -> None:
        await queue_call(world)
        await world.dial("coach", "*83101")
        await asyncio.sleep(4)
        assert world["alice"].end_cause == "remote-bye"
        assert world.heard("dora", "coach") == {"dora": {"coach"}, "coach": {"dora"}}
        world["coach"].bye()
        assert await world["dora"].ended() == "remote-bye"

    in_lab(scenario)


def test_the_keys_4_to_7_switch_modes_and_nobody_else_hears_them() -> None:
    async def scenario(world: World) -> None:
        await queue_call(world)
        await world.dial("coach", "*80101")
        await asyncio.sleep(1)
        for mode in (Mode.WHISPER, Mode.BARGE, Mode.TAKEOVER, Mode.MONITOR, Mode.TAKEOVER):
            await world["coach"].press(KEYS[mode])
            await asyncio.sleep(1)
            assert world.heard("dora", "alice", "coach") == HEARD[mode], mode
        assert world["dora"].digits == world["alice"].digits == ""

    in_lab(scenario)


def test_feature_codes_are_refused_without_the_role() -> None:
    """403 for a user without it, whatever is dialled; a stranger is asked to log in first."""

    async def scenario(world: World) -> None:
        await queue_call(world)
        for number in ("*80101", "*83999"):
            with pytest.raises(CallFailed) as failed:
                await world.dial("bob", number)
            assert failed.value.status == 403
            with pytest.raises(CallFailed) as failed:
                await world.dial("emil", number)
            assert failed.value.status in (401, 403)
        with pytest.raises(CallFailed) as failed:
            await world.dial("coach", "*80102")
        assert failed.value.status == 404
        assert world.heard("dora", "alice") == {"dora": {"alice"}, "alice": {"dora"}}

    in_lab(scenario)


def test_the_supervisor_is_hung_up_with_the_call() -> None:
    async def scenario(world: World) -> None:
        await queue_call(world)
        await world.dial("coach", "*80101")
        await asyncio.sleep(1)
        world["dora"].bye()
        await asyncio.sleep(1)
        assert world["coach"].end_cause == "remote-bye"

    in_lab(scenario)


def test_users_call_each_other_and_hear_why_not() -> None:
    async def scenario(world: World) -> None:
        await world.dial("alice", "102")
        await asyncio.sleep(1)
        assert world.heard("alice", "bob") == {"alice": {"bob"}, "bob": {"alice"}}
        with pytest.raises(CallFailed) as failed:
            await world.dial("dora", "102")
        assert failed.value.status == 486
        with pytest.raises(CallFailed) as failed:
            await world.dial("dora", "nobody")
        assert failed.value.status == 404
        world["bob"].bye()
        assert await world["alice"].ended() == "remote-bye"

    in_lab(scenario)


def test_whoever_dials_a_room_meets_there_even_when_its_first_guest_has_left() -> None:
    async def scenario(world: World) -> None:
        for name in ("dora", "emil", "alice"):
            await world.dial(name, "conf-red")
        await asyncio.sleep(1)
        assert world.heard("dora", "emil", "alice") == {
            "dora": {"emil", "alice"},
            "emil": {"dora", "alice"},
            "alice": {"dora", "emil"},
        }
        world["dora"].bye()
        await asyncio.sleep(1)
        assert world.heard("emil", "alice") == {"emil": {"alice"}, "alice": {"emil"}}
        world["emil"].bye()
        world["alice"].bye()
        await asyncio.sleep(1)
        assert world.server.find_bridge("conf-red") is None
        await world.dial("dora", "conf-red")

    in_lab(scenario)


def test_the_control_side_calls_a_supervisor_in_and_hangs_up() -> None:
    async def scenario(world: World) -> None:
        await queue_call(world)
        (view,) = world.views()
        supervision = await world.lab.supervise(view.call, "sip:coach@rtpmix", Mode.WHISPER)
        await asyncio.sleep(1)
        assert world.heard("dora", "alice", "coach") == HEARD[Mode.WHISPER]
        found = world.lab.calls.supervision(supervision.id)
        assert found is supervision
        await found.set_mode(Mode.BARGE)
        (view,) = world.views()
        assert {party.name: set(party.hears) for party in view.parties} == HEARD[Mode.BARGE]
        with pytest.raises(SupervisionRefused):
            await world.lab.supervise(view.call, "sip:bob@rtpmix", Mode.MONITOR)
        with pytest.raises(UsageError, match="no call"):
            await world.lab.supervise("bridge-999", "sip:coach@rtpmix", Mode.MONITOR)
        with pytest.raises(UsageError, match="no supervision"):
            world.lab.calls.supervision("supervision-999")
        await world.lab.hang_up(view.call)
        await asyncio.sleep(1)
        assert {phone.state.value for phone in world.phones.values()} == {"idle"}

    in_lab(scenario)


def test_an_agent_who_vanishes_leaves_a_customer_who_is_served_again() -> None:
    """No media for the media timeout: the customer goes back to the queue, and is not dropped."""

    async def scenario(world: World) -> None:
        await queue_call(world)
        world.cut_off("alice")
        await asyncio.sleep(60)
        assert world.heard("dora", "bob") == {"dora": {"bob"}, "bob": {"dora"}}

    in_lab(scenario)


def test_an_attached_supervisor_rescues_a_customer_whose_agent_vanished() -> None:
    async def scenario(world: World) -> None:
        world["bob"].reject_with = 486
        await queue_call(world)
        await world.dial("coach", "*80101")
        await asyncio.sleep(1)
        world.cut_off("alice")
        await asyncio.sleep(35)
        assert world.heard("dora", "coach") == {"dora": set(), "coach": {"dora"}}
        await world["coach"].press("7")
        await asyncio.sleep(60)
        assert world.heard("dora", "coach") == {"dora": {"coach"}, "coach": {"dora"}}
        world["coach"].bye()
        await asyncio.sleep(1)
        assert world["dora"].state.value == "talking"  # its agent vanished: back to the queue

    in_lab(scenario)


def test_a_customer_whom_no_supervisor_rescues_goes_back_to_the_queue() -> None:
    async def scenario(world: World) -> None:
        await queue_call(world)
        await world.dial("coach", "*80101")
        await asyncio.sleep(1)
        world.cut_off("alice")
        await asyncio.sleep(60)
        assert world.heard("dora", "bob") == {"dora": {"bob"}, "bob": {"dora"}}
        assert world.heard("coach") == {"coach": {"dora", "bob"}}

    in_lab(scenario)


def test_a_queue_call_is_recorded_and_sealed(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        await queue_call(world)
        (view,) = world.views()
        assert view.recording is not None
        world["dora"].bye()
        await asyncio.sleep(1)

    in_lab(scenario, tmp_path)
    (capture,) = list_captures(tmp_path / "calls")
    assert verify(capture.path, load_key(tmp_path / "key")).verdict is Verdict.SEALED
