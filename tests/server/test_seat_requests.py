"""INVITEs with Replaces and Join through a whole server, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

import rtpmix
from rtpmix.testing import PhoneState, TonePhone
from rtpmix.testing.servers import HOST
from tests.server.transfers import AGENT, COACH, CUSTOMER, TARGET, Stage, perform

USERS = {"agent": "a", "boss": "b", "other": "o"}
DESK, BOSS = "192.0.2.60", "192.0.2.61"


def phone(user: str, host: str, frequency: float) -> TonePhone:
    return TonePhone(
        user,
        host=host,
        frequency=frequency,
        proxy=(HOST, 5060),
        domain="rtpmix",
        password=USERS.get(user, "none"),
    )


class Floor(Stage):
    """A stage on which the agent has logged in with a phone, and others may too."""

    def __init__(self) -> None:
        super().__init__(users=USERS)
        self.agent = phone("agent", "192.0.2.10", AGENT)
        self.desk = phone("agent", DESK, TARGET)
        self.boss = phone("boss", BOSS, COACH)
        self.phones = (self.agent, self.second, self.customer, self.target, self.coach)
        self.owner = "agent"


def named(tag_of: TonePhone, kind: str = "Replaces", extra: str = "") -> list[tuple[str, str]]:
    """Return the header that names a phone's call, as the server is to see it."""
    call_id, local, remote = tag_of.dialog
    return [(kind, f"{call_id};to-tag={remote};from-tag={local}{extra}")]


def bosses_may(request: rtpmix.SeatRequest) -> bool:
    return request.identity == "boss" or (
        request.identity is not None and request.identity == request.user
    )


def act(
    play: Callable[[Floor], Awaitable[Any]],
    *,
    policy: Callable[[rtpmix.SeatRequest], bool] | None = None,
) -> Any:
    floor = Floor()
    if policy is not None:
        floor.server.on_seat_request(policy)

    async def around(stage: Stage) -> Any:
        async with floor.desk, floor.boss:
            await floor.connect(roles=True)
            result = await play(floor)
            for each in (floor.desk, floor.boss):
                if each.state is not PhoneState.IDLE:
                    await asyncio.sleep(0.5)
            stage.customer.bye()
            await asyncio.sleep(3)
            assert [each.state for each in (floor.desk, floor.boss)] == [PhoneState.IDLE] * 2
        return result

    return perform(around, stage=floor)


async def refused(calling: Awaitable[None]) -> int:
    with pytest.raises(rtpmix.CallFailed) as failed:
        await calling
    return failed.value.status


@pytest.mark.parametrize("swapped", [False, True])
def test_a_user_takes_their_own_call_over_with_another_phone(swapped: bool) -> None:
    """RFC 3891 section 3: 200 first, then BYE; the role goes along. Tags from either end."""

    async def play(floor: Floor) -> None:
        headers = named(floor.agent)
        if swapped:
            call_id, local, remote = floor.agent.dialog
            headers = [("Replaces", f"{call_id};to-tag={local};from-tag={remote}")]
        reinvites = floor.invites_to(floor.customer)
        await floor.desk.call(f"sip:agent@{HOST}", headers=headers)
        assert await floor.agent.ended() == "remote-bye"
        await asyncio.sleep(1.5)
        assert floor.heard(floor.customer, floor.desk) == ({TARGET}, {CUSTOMER})
        roles = {leg.user: floor.bridge.role(leg) for leg in floor.bridge.legs}
        assert roles["agent"] is rtpmix.Role.AGENT
        assert reinvites == []
        assert floor.server.snapshot()["seats"]["replaced"] == 1
        assert "replaced" in floor.facts()

    act(play)


def test_nobody_replaces_a_call_that_is_not_theirs() -> None:
    """RFC 3891 section 3: the initiator must be who is replaced, or allowed by policy."""

    async def play(floor: Floor) -> None:
        assert await refused(floor.boss.call(f"sip:x@{HOST}", headers=named(floor.agent))) == 403
        # The customer has proved to be nobody: it is asked to log in, and can't.
        stranger = await refused(floor.coach.call(f"sip:x@{HOST}", headers=named(floor.customer)))
        assert stranger == 401
        assert floor.heard(floor.customer, floor.agent) == ({AGENT}, {CUSTOMER})
        acts = [(event.act, event.identity) for event in floor.of(rtpmix.SeatRefused)]
        assert acts == [("replace", "boss"), ("replace", None)]

    act(play)


def test_a_supervisor_replaces_by_policy() -> None:
    async def play(floor: Floor) -> None:
        await floor.boss.call(f"sip:x@{HOST}", headers=named(floor.agent))
        await asyncio.sleep(1.5)
        assert floor.heard(floor.customer, floor.boss) == ({COACH}, {CUSTOMER})

    act(play, policy=bosses_may)


GOOD = "nobody;to-tag=1;from-tag=2"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([("Replaces", GOOD)], 481),
        ([("Join", GOOD)], 481),
        ([("Replaces", "nobody")], 400),
        ([("Replaces", GOOD), ("Replaces", GOOD)], 400),
        ([("Replaces", GOOD), ("Join", GOOD)], 400),
    ],
)
def test_a_dialog_that_is_not_there_is_481_and_a_bad_name_400(
    headers: list[tuple[str, str]], status: int
) -> None:
    """RFC 3891 section 3, RFC 3911 section 4."""

    async def play(floor: Floor) -> None:
        assert await refused(floor.boss.call(f"sip:x@{HOST}", headers=headers)) == status

    act(play, policy=bosses_may)


def test_early_only_does_not_replace_an_answered_call() -> None:
    """RFC 3891 section 3: 486."""

    async def play(floor: Floor) -> None:
        headers = named(floor.agent, extra=";early-only")
        assert await refused(floor.desk.call(f"sip:x@{HOST}", headers=headers)) == 486
        assert floor.heard(floor.customer) == ({AGENT},)

    act(play)


def test_a_ringing_call_is_picked_up_by_another_phone_of_its_user() -> None:
    """RFC 3891 section 3: an early dialog of ours is answered elsewhere, and gets CANCEL."""

    async def play(floor: Floor) -> None:
        boss = floor.boss
        await boss.register()
        boss.answer_after = None
        calling = asyncio.ensure_future(floor.server.invite("sip:boss@rtpmix"))
        ringing = await boss.rings()
        await asyncio.sleep(0.2)
        headers = [("Replaces", early_name(floor, boss, ringing.call_id))]
        assert await refused(floor.desk.call(f"sip:x@{HOST}", headers=headers)) == 403
        twin = phone("boss", "192.0.2.62", COACH)
        async with twin:
            await twin.call(f"sip:x@{HOST}", headers=headers)
            leg = await calling
            assert leg.user == "boss"
            assert await boss.ended() == "cancelled"
            await floor.bridge.add(leg)
            await asyncio.sleep(1.5)
            assert twin.hears(AGENT, CUSTOMER) == {AGENT, CUSTOMER}
            await leg.hangup()
        assert floor.server.snapshot()["seats"]["picked_up"] == 1

    act(play)


def early_name(floor: Floor, ringing: TonePhone, call_id: str) -> str:
    """Return the Replaces of a call that rings: what a lamp's NOTIFY would have told."""
    for (found, local, remote), usage in floor.server_dialogs().items():
        if found == call_id and type(usage).__name__ == "OutgoingCall":
            return f"{found};to-tag={local};from-tag={remote}"
    raise AssertionError(f"{ringing} does not ring")


HEARD = {  # customer, agent, boss
    "monitor": ({AGENT}, {CUSTOMER}, {AGENT, CUSTOMER}),
    "whisper": ({AGENT}, {CUSTOMER, COACH}, {AGENT, CUSTOMER}),
    "barge": ({AGENT, COACH}, {CUSTOMER, COACH}, {AGENT, CUSTOMER}),
}


@pytest.mark.parametrize(
    ("listen_only", "parameter", "in_uri", "mode"),
    [
        (True, "", False, "monitor"),
        (False, "", False, "barge"),
        (False, ";mode=whisper", False, "whisper"),
        (False, ";mode=whisper", True, "whisper"),
        (False, ";mode=monitor", False, "monitor"),
        (True, ";mode=monitor", True, "monitor"),
    ],
)
def test_join_brings_a_supervisor_in_as_the_offer_or_a_parameter_says(
    listen_only: bool, parameter: str, in_uri: bool, mode: str
) -> None:
    """RFC 3911: recvonly monitors, sendrecv barges, and a parameter says what SDP can't."""

    async def play(floor: Floor) -> None:
        headers = named(floor.agent, "Join", "" if in_uri else parameter)
        target = f"sip:x@{HOST}{parameter if in_uri else ''}"
        await floor.boss.call(target, headers=headers, listen_only=listen_only)
        await asyncio.sleep(1.5)
        assert floor.heard(floor.customer, floor.agent, floor.boss) == HEARD[mode]
        (supervision,) = floor.bridge.supervisions
        assert supervision.who == "boss"
        assert supervision.mode is rtpmix.Mode(mode)

    act(play, policy=bosses_may)  # which also sees that the boss is hung up with the call


@pytest.mark.parametrize(
    ("parameter", "status"), [(";mode=spy", 400), (";mode=whisper", 488), (";mode=barge", 488)]
)
def test_a_mode_that_cannot_be_is_refused(parameter: str, status: int) -> None:
    async def play(floor: Floor) -> None:
        headers = named(floor.agent, "Join", parameter)
        calling = floor.boss.call(f"sip:x@{HOST}", headers=headers, listen_only=True)
        assert await refused(calling) == status
        assert floor.bridge.supervisions == ()

    act(play, policy=bosses_may)


def test_nobody_listens_in_without_the_programs_leave() -> None:
    """RFC 3911 section 4: authorised, or refused; not even to one's own call by default."""

    async def play(floor: Floor) -> None:
        headers = named(floor.agent, "Join")
        assert await refused(floor.boss.call(f"sip:x@{HOST}", headers=headers)) == 403
        calling = floor.desk.call(f"sip:x@{HOST}", headers=headers, listen_only=True)
        assert await refused(calling) == 403
        assert await refused(floor.coach.call(f"sip:x@{HOST}", headers=headers)) == 401
        acts = [event.act for event in floor.of(rtpmix.SeatRefused)]
        assert acts == ["barge", "monitor", "barge"]

    act(play)


def test_the_policy_may_allow_a_monitor_and_no_more() -> None:
    def policy(request: rtpmix.SeatRequest) -> bool:
        return request.act == "monitor"

    async def play(floor: Floor) -> None:
        headers = named(floor.customer, "Join")
        assert await refused(floor.boss.call(f"sip:x@{HOST}", headers=headers)) == 403
        await floor.boss.call(f"sip:x@{HOST}", headers=headers, listen_only=True)
        await asyncio.sleep(1.5)
        assert floor.heard(floor.boss) == ({AGENT, CUSTOMER},)

    act(play, policy=policy)


def test_join_to_a_rooms_address_is_a_plain_call() -> None:
    """RFC 3911 section 4: without a match, a conference's URI is enough."""

    async def play(floor: Floor) -> None:
        await floor.target.call(f"sip:room@{HOST}")
        await floor.boss.call(f"sip:room@{HOST}", headers=[("Join", GOOD)])
        await asyncio.sleep(1.5)
        assert floor.heard(floor.boss) == ({TARGET},)
        floor.boss.bye()
        floor.target.bye()

    act(play)


def test_a_caller_who_gives_up_while_taking_over_changes_nothing() -> None:
    async def play(floor: Floor) -> None:
        calling = asyncio.ensure_future(
            floor.desk.call(f"sip:x@{HOST}", headers=named(floor.agent))
        )
        await asyncio.sleep(0.03)  # between the challenge and the answer
        calling.cancel()
        await asyncio.gather(calling, return_exceptions=True)
        await asyncio.sleep(2)
        talking = [p.state for p in (floor.agent, floor.desk) if p.state is PhoneState.TALKING]
        assert len(talking) <= 1
        assert floor.customer.state is PhoneState.TALKING or not talking

    act(play)
