"""Transfers through a whole server in virtual time: who hears whom, who is told, what is left."""

from __future__ import annotations

import asyncio
import itertools

import pytest

import rtpmix
from rtpmix.sip.refer import read_refer
from rtpmix.testing import PhoneState, TonePhone
from rtpmix.testing.servers import HOST
from tests.server.transfers import AGENT, CUSTOMER, TARGET, Stage, perform


@pytest.mark.parametrize("owner", ["customer", "agent"])
def test_a_blind_transfer_connects_the_customer_without_a_word_to_their_phone(owner: str) -> None:
    """RFC 5589 section 6, done by the server: the customer's dialog and media stay as they are."""

    async def play(stage: Stage) -> None:
        stage.owner = owner
        await stage.connect()
        reinvites = stage.invites_to(stage.customer)
        assert await stage.agent.transfer(stage.target.uri) == 202
        assert await stage.agent.ended() == "remote-bye"
        await asyncio.sleep(1.5)
        assert stage.heard(stage.customer, stage.target) == ({TARGET}, {CUSTOMER})
        assert stage.agent.told == [100, 180, 200]
        assert reinvites == []
        (ended,) = stage.of(rtpmix.TransferEnded)
        assert (ended.status, ended.leg, ended.by) == (200, stage.agent_leg.id, "leg-5")

    perform(play)


def test_the_customers_stream_goes_on_through_a_transfer_unbroken() -> None:
    """One SSRC, sequence +1, timestamp +160, from the first packet to the last."""

    async def play(stage: Stage) -> None:
        await stage.connect()
        await stage.agent.transfer(stage.target.uri)
        await asyncio.sleep(3)
        packets = [packet.data for packet in stage.customer.received]
        assert len(packets) > 150
        assert len({packet[8:12] for packet in packets}) == 1
        numbers = [int.from_bytes(packet[2:4]) for packet in packets]
        stamps = [int.from_bytes(packet[4:8]) for packet in packets]
        assert {(b - a) % 2**16 for a, b in itertools.pairwise(numbers)} == {1}
        assert {(b - a) % 2**32 for a, b in itertools.pairwise(stamps)} == {160}

    perform(play)


def test_the_target_is_called_by_the_customer_and_told_who_sent_them() -> None:
    """RFC 3892: Referred-By; and From is the one who is transferred."""

    async def play(stage: Stage) -> None:
        await stage.connect()
        await stage.agent.transfer(stage.target.uri)
        await asyncio.sleep(1)
        invitation = stage.target.invitation
        assert invitation is not None
        assert "customer" in str(invitation.from_.uri)
        assert "agent" in (invitation.headers.get("Referred-By") or "")

    perform(play)


@pytest.mark.parametrize("status", [486, 404, 603])
def test_a_transfer_that_fails_leaves_the_call_as_it_was(status: int) -> None:
    """RFC 5589 section 6.2: the transferor is told why and has the call on."""

    async def play(stage: Stage) -> None:
        await stage.connect()
        stage.target.reject_with = status
        assert await stage.agent.transfer(stage.target.uri) == 202
        await asyncio.sleep(1.5)
        assert stage.agent.told == [100, status]
        assert stage.heard(stage.agent, stage.customer) == ({CUSTOMER}, {AGENT})
        stage.target.reject_with = None  # and it can be tried again
        assert await stage.agent.transfer(stage.target.uri) == 202
        await asyncio.sleep(1.5)
        assert stage.heard(stage.customer) == ({TARGET},)
        events = [n.headers.get("Event") for n in stage.agent.requests if n.method == "NOTIFY"]
        assert events[0] == "refer"
        assert events[-1] == "refer;id=2"  # RFC 3515 section 2.4.6

    perform(play)


def test_a_transferor_who_hangs_up_at_once_does_not_take_the_customer_along() -> None:
    """Many phones send BYE as soon as the REFER was accepted."""

    async def play(stage: Stage) -> None:
        stage.owner = "agent"
        await stage.connect()
        stage.target.answer_after = 3.0
        await stage.agent.transfer(stage.target.uri)
        stage.agent.bye()
        await asyncio.sleep(1)
        assert stage.customer.state is PhoneState.TALKING
        await asyncio.sleep(4)
        assert stage.heard(stage.customer, stage.target) == ({TARGET}, {CUSTOMER})

    perform(play)


def test_a_customer_left_alone_by_a_failed_transfer_is_hung_up() -> None:
    async def play(stage: Stage) -> None:
        await stage.connect()
        stage.target.answer_after = None
        await stage.agent.transfer(stage.target.uri)
        await stage.target.rings()
        stage.agent.bye()
        await asyncio.sleep(1)
        stage.target.reject(486)
        assert await stage.customer.ended() == "remote-bye"

    perform(play)


def test_a_customer_who_gives_up_stops_the_targets_ringing() -> None:
    async def play(stage: Stage) -> None:
        await stage.connect()
        stage.target.answer_after = None
        await stage.agent.transfer(stage.target.uri)
        await stage.target.rings()
        stage.customer.bye()
        assert await stage.target.ended() == "cancelled"
        assert await stage.agent.ended() == "remote-bye"

    perform(play)


def test_a_target_that_never_answers_is_given_up() -> None:
    async def play(stage: Stage) -> None:
        await stage.connect()
        stage.target.answer_after = None
        await stage.agent.transfer(stage.target.uri)
        await asyncio.sleep(62)
        assert stage.agent.told[-1] == 408
        assert stage.heard(stage.agent) == ({CUSTOMER},)
        assert stage.target.state is PhoneState.IDLE

    perform(play)


def test_one_who_is_left_by_a_transfer_is_hung_up_with_the_last_other() -> None:
    async def play(stage: Stage) -> None:
        stage.owner = "agent"
        await stage.connect()
        await stage.agent.transfer(stage.target.uri)
        await asyncio.sleep(1)
        stage.target.bye()
        assert await stage.customer.ended() == "remote-bye"

    perform(play)


@pytest.mark.parametrize("owner", ["customer", "agent"])
def test_an_attended_transfer_joins_the_two_calls(owner: str) -> None:
    """RFC 5589 section 7: Refer-To with the Replaces of the consultation."""

    async def play(stage: Stage) -> None:
        stage.owner = owner
        await stage.connect()
        await stage.agent.hold()
        await stage.second.call(f"sip:target@{HOST}")
        await asyncio.sleep(1.5)
        assert stage.heard(stage.second, stage.target) == ({TARGET}, {AGENT})
        signalled = stage.invites_to(stage.customer), stage.invites_to(stage.target)
        assert await stage.agent.transfer(stage.target.uri, replaces=stage.second) == 202
        assert await stage.agent.ended() == "remote-bye"
        assert await stage.second.ended() == "remote-bye"
        await asyncio.sleep(1.5)
        assert stage.heard(stage.customer, stage.target) == ({TARGET}, {CUSTOMER})
        assert stage.agent.told == [100, 200]
        assert signalled == ([], [])
        assert len(stage.server.bridges) == 1

    perform(play)


def test_an_attended_transfer_into_a_room_leaves_the_room_where_it_is() -> None:
    async def play(stage: Stage) -> None:
        await stage.connect()
        await stage.target.call(f"sip:room@{HOST}")
        await stage.coach.call(f"sip:room@{HOST}")
        await stage.second.call(f"sip:room@{HOST}")
        await asyncio.sleep(0.5)
        await stage.agent.transfer(f"sip:room@{HOST}", replaces=stage.second)
        await asyncio.sleep(2)
        room = stage.server.find_bridge("room")
        assert room is not None
        assert len(room.legs) == 3
        assert stage.customer.hears(TARGET, AGENT, CUSTOMER) == {TARGET}
        assert stage.target.hears(TARGET, AGENT, CUSTOMER) == {CUSTOMER}
        stage.target.bye()
        stage.coach.bye()

    perform(play)


def test_nobody_joins_a_call_that_is_not_theirs() -> None:
    """RFC 3891 section 3: who replaces must be who is replaced. Tags alone prove nothing."""

    async def play(stage: Stage) -> None:
        await stage.connect()
        await stage.second.call(f"sip:target@{HOST}")
        await asyncio.sleep(0.5)
        assert await stage.customer.transfer(stage.target.uri, replaces=stage.second) == 403
        assert len(stage.of(rtpmix.TransferRefused)) == 1
        assert stage.server.snapshot()["transfers"]["refused"] == 1
        assert len(stage.server.bridges) == 2
        stage.second.bye()

    perform(play)


def test_replaces_of_a_call_elsewhere_goes_on_to_the_target() -> None:
    """RFC 3891 section 4: the INVITE carries it, and requires that it is understood."""

    async def play(stage: Stage) -> None:
        await stage.connect()
        target = f"<{stage.target.uri}?Replaces=there%3Bto-tag%3D1%3Bfrom-tag%3D2>"
        answer = await stage.agent.request("REFER", [("Refer-To", target)])
        assert answer.status == 202
        await asyncio.sleep(1.5)
        invitation = stage.target.invitation
        assert invitation is not None
        assert invitation.headers.get("Replaces") == "there;to-tag=1;from-tag=2"
        assert invitation.require == ["replaces"]
        assert stage.heard(stage.customer) == ({TARGET},)

    perform(play)


def test_a_call_can_be_transferred_into_a_room() -> None:
    async def play(stage: Stage) -> None:
        await stage.connect()
        await stage.target.call(f"sip:room@{HOST}")
        assert await stage.agent.transfer(f"sip:room@{HOST}") == 202
        await asyncio.sleep(2)
        assert stage.heard(stage.customer, stage.target) == ({TARGET}, {CUSTOMER})
        assert stage.agent.told == [100, 200]
        assert [bridge.name for bridge in stage.server.bridges] == ["room"]
        stage.target.bye()

    perform(play, policy=None)


@pytest.mark.parametrize(
    "target",
    [
        "sip:+4990012345@203.0.113.9",
        "sip:+4990012345@192.0.2.1",
        "sip:nobody@192.0.2.1",
        "tel:+4990012345",
        "sip:bridge-5@192.0.2.1",
    ],
)
def test_nobody_is_sent_where_it_costs_money_unless_the_program_says_so(target: str) -> None:
    """Toll fraud: without a policy only users and rooms of this server can be transferred to."""

    async def play(stage: Stage) -> None:
        await stage.connect()
        sent: list[bytes] = []
        stage.net.observe(
            lambda seen: sent.append(seen.data) if seen.destination[0] == "203.0.113.9" else None
        )
        assert await stage.agent.transfer(target) == 403
        await asyncio.sleep(1)
        assert sent == []
        assert stage.heard(stage.agent, stage.customer) == ({CUSTOMER}, {AGENT})
        (refused,) = stage.of(rtpmix.TransferRefused)
        assert (refused.leg, refused.target) == (stage.agent_leg.id, target)
        assert stage.server.snapshot()["transfers"]["refused"] == 1

    perform(play, policy=None)


def test_a_user_of_the_server_is_inside() -> None:
    async def play(stage: Stage) -> None:
        await stage.connect()
        target = TonePhone(
            "tina",
            host="192.0.2.50",
            frequency=TARGET,
            proxy=(HOST, 5060),
            domain="rtpmix",
            password="s",
        )
        async with target:
            await target.register()
            assert await stage.agent.transfer("sip:tina@rtpmix") == 202
            await asyncio.sleep(1.5)
            assert stage.heard(stage.customer) == ({TARGET},)
            stage.customer.bye()
            await target.ended()

    perform(play, policy=None, users={"tina": "s"})


def test_the_policy_is_told_who_asks_for_what() -> None:
    asked: list[rtpmix.TransferRequest] = []

    def policy(request: rtpmix.TransferRequest) -> bool:
        asked.append(request)
        return request.user != "evil%20one"

    async def play(stage: Stage) -> None:
        await stage.connect()
        assert await stage.agent.transfer("sip:e%76il@203.0.113.9;x=y") == 202
        (request,) = asked
        assert (request.target, request.user) == ("sip:e%76il@203.0.113.9;x=y", "evil")
        assert (request.attended, request.inside, request.leg) == (False, False, stage.agent_leg)

    perform(play, policy=policy)


async def refer(stage: Stage, *headers: tuple[str, str]) -> int:
    return (await stage.agent.request("REFER", headers)).status


def test_a_bad_refer_is_answered_and_changes_nothing() -> None:
    async def play(stage: Stage) -> None:
        await stage.connect()
        assert await refer(stage) == 400
        assert await refer(stage, ("Refer-To", "nonsense")) == 400
        assert await refer(stage, ("Refer-To", "<sip:a@h;method=BYE>")) == 501
        assert await refer(stage, ("Refer-To", "<tel:+491>")) == 416
        assert await refer(stage, ("Refer-To", "<sip:a@h>"), ("Require", "never")) == 420
        assert stage.server.snapshot()["transfers"]["under_way"] == 0
        stage.target.answer_after = None
        assert await stage.agent.transfer(stage.target.uri) == 202
        assert await stage.agent.transfer(stage.target.uri) == 491  # one at a time
        stage.target.reject_with = 486
        await stage.target.rings()
        stage.target.reject(486)

    perform(play)


def test_a_transferor_who_wants_no_notify_gets_none() -> None:
    """RFC 4488: Refer-Sub: false."""

    async def play(stage: Stage) -> None:
        await stage.connect()
        headers = (("Refer-To", f"<{stage.target.uri}>"), ("Refer-Sub", "false"))
        answer = await stage.agent.request("REFER", (*headers, ("Require", "norefersub")))
        assert answer.status == 202
        assert answer.response is not None
        assert answer.response.headers.get("Refer-Sub") == "false"
        await asyncio.sleep(1.5)
        assert stage.agent.told == []
        assert stage.heard(stage.customer) == ({TARGET},)

    perform(play)


def test_a_transferor_can_ask_how_it_goes_and_then_hear_no_more() -> None:
    """RFC 3515 section 2.4.4: unsubscribing does not stop the transfer."""

    async def play(stage: Stage) -> None:
        await stage.connect()
        stage.target.answer_after = 3.0
        await stage.agent.transfer(stage.target.uri)
        await asyncio.sleep(0.5)
        refresh = [("Event", "refer"), ("Expires", "120")]
        assert (await stage.agent.request("SUBSCRIBE", refresh)).status == 200
        await asyncio.sleep(0.2)
        assert stage.agent.told == [100, 180, 180]
        stop = [("Event", "refer"), ("Expires", "0")]
        assert (await stage.agent.request("SUBSCRIBE", stop)).status == 200
        await asyncio.sleep(5)
        assert stage.agent.told == [100, 180, 180, 180]
        last = [n for n in stage.agent.requests if n.method == "NOTIFY"][-1]
        assert last.headers.get("Subscription-State") == "terminated;reason=timeout"
        assert stage.heard(stage.customer) == ({TARGET},)

    perform(play)


def test_a_leg_in_no_bridge_cannot_be_transferred() -> None:
    async def play(stage: Stage) -> None:
        @stage.server.on_invite
        async def menu(call: rtpmix.IncomingCall) -> None:
            leg = await call.answer()
            await leg.closed()

        await stage.agent.call(f"sip:menu@{HOST}")
        assert await stage.agent.transfer(stage.target.uri) == 603
        stage.agent.bye()

    perform(play)


def test_a_server_that_closes_gives_transfers_up() -> None:
    async def play(stage: Stage) -> None:
        await stage.connect()
        stage.target.answer_after = None
        await stage.agent.transfer(stage.target.uri)
        await stage.target.rings()
        await stage.server.close()
        assert await stage.target.ended() == "cancelled"
        assert await stage.customer.ended() == "remote-bye"
        await stage.agent.ended()

    perform(play)


@pytest.mark.parametrize(("outcome", "raises"), [(200, None), (503, 503), (None, 408)])
def test_a_peer_can_be_asked_to_call_somebody_itself(
    outcome: int | None, raises: int | None
) -> None:
    """RFC 3515 sections 2.4.4 and 2.4.5, as the one who refers."""

    async def play(stage: Stage) -> None:
        await stage.connect()
        stage.agent.responses["REFER"] = 202
        asking = asyncio.ensure_future(stage.agent_leg.refer("sip:x@203.0.113.9", timeout_s=5))
        await asyncio.sleep(0.5)
        (refer,) = stage.agent.requests
        assert refer.headers.get("Refer-To") == "<sip:x@203.0.113.9>"
        assert refer.contacts
        for status in (100, *([outcome] if outcome else [])):
            state = "terminated;reason=noresource" if status >= 200 else "active;expires=60"
            answer = await stage.agent.request(
                "NOTIFY",
                [("Event", "refer"), ("Subscription-State", state)],
                body=f"SIP/2.0 {status} Whatever\r\n".encode(),
                content_type="message/sipfrag",
            )
            assert answer.status == 200
        if raises is None:
            await asking
        else:
            with pytest.raises(rtpmix.CallFailed) as failed:
                await asking
            assert failed.value.status == raises
        late = await stage.agent.request("NOTIFY", [("Event", "refer")])
        assert late.status == 481

    perform(play)


def test_a_peer_that_refuses_a_refer_or_goes_away_is_told_of() -> None:
    async def play(stage: Stage) -> list[int]:
        await stage.connect()
        seen = []
        stage.agent.responses["REFER"] = 603
        with pytest.raises(rtpmix.CallFailed) as failed:
            await stage.agent_leg.refer("sip:x@203.0.113.9")
        seen.append(failed.value.status)
        stage.agent.responses["REFER"] = 202
        asking = asyncio.ensure_future(stage.agent_leg.refer("sip:x@203.0.113.9"))
        await asyncio.sleep(0.5)
        with pytest.raises(rtpmix.UsageError, match="already"):
            await stage.agent_leg.refer("sip:y@203.0.113.9")
        stage.agent.bye()
        with pytest.raises(rtpmix.CallFailed) as failed:
            await asking
        seen.append(failed.value.status)
        return seen

    assert perform(play) == [603, 487]


def test_a_peer_is_told_whose_place_to_take() -> None:
    """RFC 5589 section 7: the tags as the target sees them."""

    async def play(stage: Stage) -> None:
        await stage.connect()
        await stage.agent_leg.refer(stage.customer.uri, replaces=stage.customer_leg, timeout_s=1)

    async def refused(stage: Stage) -> None:
        with pytest.raises(rtpmix.CallFailed):
            await play(stage)
        found = read_refer(stage.agent.requests[0]).replaces
        assert found is not None
        assert found.dialog_id == stage.customer.dialog

    perform(refused)
