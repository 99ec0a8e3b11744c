"""What travels with a call between servers: User-to-User, History-Info, Session-ID."""

from __future__ import annotations

import asyncio

import rtpmix
from rtpmix.sip.message import Request
from rtpmix.sip.session_id import read_session_id
from tests.server.pairs import A, B, Two, play
from tests.server.transfers import Stage, perform


def test_octets_for_a_program_travel_with_invite_answer_and_bye() -> None:
    """RFC 7433 section 4.1."""

    async def story(two: Two) -> None:
        @two.b.on_invite
        async def answer(call: rtpmix.IncomingCall) -> None:
            two.calls.append(call)
            leg = await call.answer(user_to_user=rtpmix.UserToUser(b"answer"))
            two.legs.append(leg)
            await leg.closed()

        given = [rtpmix.UserToUser(b"\x00\xff"), rtpmix.UserToUser(b"x", "app", "text", None)]
        leg = await two.a.invite(f"sip:bob@{B}", user_to_user=given)
        assert two.calls[0].user_to_user == tuple(given)
        assert leg.user_to_user == (rtpmix.UserToUser(b"answer"),)
        await leg.hangup(user_to_user=rtpmix.UserToUser(b"bye"))
        closed = await two.legs[0].closed()
        assert closed.user_to_user == (*given, rtpmix.UserToUser(b"bye"))

    play(story)


def test_who_was_called_before_is_told_to_the_handler() -> None:
    """RFC 7044; RFC 5806."""

    async def story(two: Two) -> None:
        headers = [("Diversion", "<sip:sales@example.net>;reason=no-answer")]
        await two.a.invite(f"sip:bob@{B}", headers=headers)
        (diverted,) = two.calls[0].history
        assert (diverted.uri, diverted.reason) == ("sip:sales@example.net", "no-answer")

    play(story)


def test_all_calls_of_a_conversation_share_our_uuid_on_every_message() -> None:
    """RFC 7989 sections 6 and 9."""

    async def story(two: Two) -> None:
        first = await two.a.invite(f"sip:bob@{B}")
        assert first.session_id is not None
        assert two.calls[0].session_id == (first.session_id[1], first.session_id[0])

        @two.b.on_invite
        async def onward(call: rtpmix.IncomingCall) -> None:
            if call.target == "carol":
                return
            customer = await call.answer()
            agent = await two.b.invite(f"sip:agent@{A}")
            assert customer.session_id is not None
            assert agent.session_id is not None
            assert agent.session_id[0] == customer.session_id[0]
            await customer.closed()

        @two.a.on_invite
        async def agent(call: rtpmix.IncomingCall) -> None:
            leg = await call.answer()
            await leg.closed()

        await two.a.invite(f"sip:support@{B}")
        await asyncio.sleep(1)
        assert two.messages
        assert all(read_session_id(message) is not None for message in two.messages)
        invites = [m for m in two.messages if isinstance(m, Request) and m.method == "INVITE"]
        assert len(invites) == 3

    play(story)


def test_it_can_be_turned_off() -> None:
    async def story(two: Two) -> None:
        leg = await two.a.invite(f"sip:bob@{B}")
        assert leg.session_id is None
        assert not any("Session-ID" in message.headers for message in two.messages)

    play(story, {"session_ids": False}, {"session_ids": False})


def test_a_transfer_and_a_takeover_stay_in_the_session() -> None:
    """RFC 7989 section 6: the UUID stays when a call is transferred; a takeover says nothing."""

    async def story(stage: Stage) -> None:
        await stage.connect(roles=True)
        before = stage.customer_leg.session_id
        assert before is not None
        await stage.agent.transfer(stage.target.uri)
        await asyncio.sleep(1.5)
        invitation = stage.target.invitation
        assert invitation is not None
        found = read_session_id(invitation)
        assert found is not None
        assert found[0] == before[0]
        assert stage.customer_leg.session_id == before
        coach = await stage.server.invite(stage.coach.uri)
        await asyncio.sleep(0.3)
        (by,) = (leg for leg in stage.bridge.legs if leg is not stage.customer_leg)
        supervision = await stage.bridge.supervise(coach, agent=by, mode=rtpmix.Mode.BARGE)
        quiet = len(stage.customer.requests)
        await supervision.takeover()
        await asyncio.sleep(3)
        assert stage.customer_leg.session_id == before
        assert len(stage.customer.requests) == quiet

    perform(story)


def test_a_transferred_caller_who_wants_it_stays_anonymous() -> None:
    """RFC 3323 section 4.1.1.3: the target of a transfer is no trusted peer."""

    async def story(stage: Stage) -> None:
        call = stage.customer.call
        headers = [("P-Asserted-Identity", "<sip:+4930123@example.net>"), ("Privacy", "id")]
        stage.customer.call = lambda target: call(target, headers=headers)  # type: ignore[assignment]
        await stage.connect()
        assert stage.customer_leg.asserted is not None
        await stage.agent.transfer(stage.target.uri)
        await asyncio.sleep(1.5)
        invitation = stage.target.invitation
        assert invitation is not None
        assert b"4930123" not in invitation.to_bytes()
        assert str(invitation.from_.uri) == "sip:anonymous@anonymous.invalid"

    perform(story, trusted_peers=("192.0.2.20",))
