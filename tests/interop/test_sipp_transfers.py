"""Transfers against SIPp: REFER in and out, and INVITE with Replaces, over UDP and TCP."""

from __future__ import annotations

import asyncio

import pytest

import rtpmix
from tests.interop.scenario import (
    expect,
    expect_request,
    keep_request,
    pause,
    request,
    response,
    script,
)
from tests.interop.sipp import Sipp
from tests.interop.test_sipp_calls import TRANSPORTS, no_calls_left
from tests.interop.test_sipp_races import PORT, PROVISIONAL, against

CALL = [
    request("INVITE", 1, direction="sendrecv"),
    *PROVISIONAL,
    expect(200, target=True),
    request("ACK", 1, in_dialog=True),
]
FRAGMENT = "Content-Type: message/sipfrag;version=2.0"


def notified(status: str, state: str) -> list[str]:
    """Return the steps of a transferor that gets a NOTIFY."""
    return [
        expect_request("NOTIFY", header=f"Subscription-State: {state}", body=f"SIP/2.0 {status}"),
        response(200, "OK", tag=False),
    ]


@TRANSPORTS
async def test_a_blind_transfer(server: rtpmix.Server, sipp: Sipp, transport: str) -> None:
    """RFC 3515 sections 2.4.2 and 2.4.5, RFC 5589 section 6: 202, NOTIFYs to the end, BYE."""
    target = await sipp.run("answer_until_bye", transport=transport, keys=PORT)
    other = await sipp.run("answer_until_bye", transport=transport, keys=PORT)
    await asyncio.gather(target.is_listening(transport), other.is_listening(transport))
    server.on_transfer(lambda wanted: wanted.user == "peer")

    @server.on_invite
    async def connect(call: rtpmix.IncomingCall) -> None:
        there = f"sip:other@127.0.0.1:{other.port};transport={transport}"
        legs = [await call.answer(), await server.invite(there)]
        await server.bridge(*legs)
        await legs[0].closed()

    peer = f"sip:peer@127.0.0.1:{target.port};transport={transport}"
    scenario = script(
        "transfer",
        *CALL,
        pause(300),
        request("REFER", 2, in_dialog=True, headers=(f"Refer-To: <{peer}>",)),
        expect(202),
        *notified("100", "active"),
        *notified("180", "active"),
        *notified("200", "terminated"),
        expect_request("BYE"),
        response(200, "OK", tag=False),
    )
    await (await against(server, sipp, transport, scenario)).finish()
    connected = [leg for leg in server.legs if leg.is_open]
    assert len(connected) == 2
    for leg in connected:
        await leg.hangup()
    await asyncio.gather(target.finish(), other.finish())
    await no_calls_left(server)


@TRANSPORTS
async def test_a_transfer_to_a_premium_number(
    server: rtpmix.Server, sipp: Sipp, transport: str
) -> None:
    """RFC 3515 section 2.4.2: 403, no NOTIFY, and the call goes on."""

    @server.on_invite
    async def answer(call: rtpmix.IncomingCall) -> None:
        leg = await call.answer()
        await server.bridge(leg)
        await leg.closed()

    refer = ("Refer-To: <sip:+4990012345@premium.example>",)
    scenario = script(
        "toll fraud",
        *CALL,
        request("REFER", 2, in_dialog=True, headers=refer),
        expect(403),
        request("OPTIONS", 3, in_dialog=True),
        expect(200),
        request("BYE", 4, in_dialog=True),
        expect(200),
    )
    await (await against(server, sipp, transport, scenario)).finish()
    assert server.snapshot()["transfers"]["refused"] == 1
    await no_calls_left(server)


@TRANSPORTS
@pytest.mark.parametrize("status", [200, 486])
async def test_a_call_is_sent_away(
    server: rtpmix.Server, sipp: Sipp, transport: str, status: int
) -> None:
    """RFC 3515 sections 2.4.4 and 2.4.5: our REFER ends with what the last NOTIFY says."""

    def notify(number: int, fragment: str, state: str) -> list[str]:
        headers = ("Event: refer", f"Subscription-State: {state}", FRAGMENT)
        sent = request(
            "NOTIFY", number, in_dialog=True, answering=True, headers=headers, body=fragment
        )
        return [sent, expect(200)]

    scenario = script(
        "be sent away",
        keep_request("INVITE", target=True),
        response(200, "OK", direction="sendrecv"),
        expect_request("ACK"),
        expect_request("REFER", header="Refer-To: sip:desk@pbx.example"),
        response(202, "Accepted", tag=False),
        *notify(1, "SIP/2.0 100 Trying", "active;expires=60"),
        *notify(2, f"SIP/2.0 {status} As It Went", "terminated;reason=noresource"),
        expect_request("BYE"),
        response(200, "OK", tag=False),
    )
    running = await sipp.run(scenario, transport=transport, keys=PORT)
    await running.is_listening(transport)
    leg = await server.invite(f"sip:peer@127.0.0.1:{running.port};transport={transport}")
    if status == 200:
        await leg.refer("sip:desk@pbx.example")
    else:
        with pytest.raises(rtpmix.CallFailed) as failed:
            await leg.refer("sip:desk@pbx.example")
        assert failed.value.status == status
    await leg.hangup()
    await running.finish()
    await no_calls_left(server)


@TRANSPORTS
async def test_a_call_takes_the_place_of_another(
    server: rtpmix.Server, sipp: Sipp, transport: str
) -> None:
    """RFC 3891 section 3: the newcomer gets the seat, who had it gets BYE with a reason."""
    answered: asyncio.Queue[rtpmix.Leg] = asyncio.Queue()
    server.on_seat_request(lambda wanted: wanted.act == "replace")
    room = await server.bridge(name="room")

    @server.on_invite
    async def answer(call: rtpmix.IncomingCall) -> None:
        leg = await call.answer()
        await room.add(leg)
        answered.put_nowait(leg)
        await leg.closed()

    scenario = script(
        "be replaced",
        *CALL,
        expect_request("BYE", header="Reason: Replaced"),
        response(200, "OK", tag=False),
    )
    first = await against(server, sipp, transport, scenario)
    leg = await asyncio.wait_for(answered.get(), 30)
    found = server._started().agent.dialog_id(leg.call)
    assert found is not None
    call_id, ours, theirs = found
    replaces = f"Replaces: {call_id};to-tag={ours};from-tag={theirs}"
    scenario = script(
        "replace",
        request("INVITE", 1, direction="sendrecv", headers=("Require: replaces", replaces)),
        *CALL[1:],
        pause(300),
        request("BYE", 2, in_dialog=True),
        expect(200),
    )
    second = await against(server, sipp, transport, scenario)
    await asyncio.gather(first.finish(), second.finish())
    assert server.snapshot()["seats"]["replaced"] == 1
    await no_calls_left(server)


@TRANSPORTS
async def test_a_call_that_is_not_there_can_not_be_replaced(
    server: rtpmix.Server, sipp: Sipp, transport: str
) -> None:
    """RFC 3891 section 3: 481."""
    replaces = "Replaces: nobody@nowhere;to-tag=1;from-tag=2"
    scenario = script(
        "replace nothing",
        request("INVITE", 1, direction="sendrecv", headers=("Require: replaces", replaces)),
        expect(100, optional=True),
        expect(481),
        request("ACK", 1, steps_back=3),
    )
    await (await against(server, sipp, transport, scenario)).finish()
    await no_calls_left(server)
