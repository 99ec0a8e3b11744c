"""Offers and answers against SIPp: early media, PRACK, UPDATE and hold, out of both sides."""

from __future__ import annotations

import asyncio

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

RELIABLE = ("Require: 100rel", "RSeq: 41")


@TRANSPORTS
async def test_our_prack_acknowledges_early_media(
    server: rtpmix.Server, sipp: Sipp, transport: str
) -> None:
    """RFC 3262 section 4: a reliable 183 with an answer gets PRACK; the 200 needs none any more."""
    scenario = script(
        "early media",
        keep_request("INVITE", target=True),
        response(183, "Session Progress", direction="sendrecv", headers=RELIABLE),
        expect_request("PRACK", header="RAck: 41 [0-9]+ INVITE"),
        response(200, "OK", tag=False),
        pause(200),
        response(200, "OK", kept=True),
        expect_request("ACK"),
        expect_request("BYE"),
        response(200, "OK", tag=False),
    )
    running = await sipp.run(scenario, transport=transport, keys=PORT)
    await running.is_listening(transport)
    early: asyncio.Queue[rtpmix.Leg] = asyncio.Queue()
    leg = await server.invite(
        f"sip:peer@127.0.0.1:{running.port};transport={transport}", early_media=early.put_nowait
    )
    assert early.get_nowait() is leg
    await leg.hangup()
    await running.finish()
    await no_calls_left(server)


@TRANSPORTS
async def test_a_cancel_after_early_media(
    server: rtpmix.Server, sipp: Sipp, transport: str
) -> None:
    """RFC 3261 section 9.2, RFC 3262 section 3: PRACK has its answer, then the caller gives up."""

    @server.on_invite
    async def announce(call: rtpmix.IncomingCall) -> None:
        await call.progress()
        await asyncio.sleep(60)

    prack = request("PRACK", 2, in_dialog=True, headers=("RAck: [$rseq] 1 INVITE",))
    progress = (
        '  <recv response="183" rrs="true"><action>'
        '<ereg regexp="[0-9]+" search_in="hdr" header="RSeq:" check_it="true" assign_to="rseq"/>'
        '</action></recv>\n  <Reference variables="rseq"/>\n'
    )
    scenario = script(
        "give up during an announcement",
        request("INVITE", 1, direction="sendrecv", headers=("Require: 100rel",)),
        expect(100, optional=True),
        progress,
        prack,
        expect(200, header="CSeq: PRACK"),
        request("CANCEL", 1, steps_back=5),
        expect(200, header="CSeq: CANCEL"),
        expect(487, header="CSeq: INVITE"),
        request("ACK", 1, steps_back=8),
    )
    await (await against(server, sipp, transport, scenario)).finish()
    await no_calls_left(server)
    assert server.snapshot()["handlers"] == 0


@TRANSPORTS
async def test_the_other_side_holds_by_update_and_we_by_reinvite(
    server: rtpmix.Server, sipp: Sipp, transport: str
) -> None:
    """RFC 3264 section 8.4, RFC 3311 section 5.2: each takes the call back by itself."""
    held_there = asyncio.Event()

    @server.on_invite
    async def answer(call: rtpmix.IncomingCall) -> None:
        leg = await call.answer()
        await leg.hold()
        await leg.resume()
        held_there.set()
        await leg.closed()

    scenario = script(
        "hold and be held",
        request("INVITE", 1, direction="sendrecv"),
        *PROVISIONAL,
        expect(200, target=True),
        request("ACK", 1, in_dialog=True),
        expect_request("INVITE", body="a=sendonly"),
        response(200, "OK", tag=False, direction="recvonly"),
        expect_request("ACK"),
        expect_request("INVITE", body="a=sendrecv"),
        response(200, "OK", tag=False, direction="sendrecv"),
        expect_request("ACK"),
        request("UPDATE", 2, in_dialog=True, direction="sendonly"),
        expect(200, body="a=recvonly"),
        request("UPDATE", 3, in_dialog=True, direction="inactive"),
        expect(200, body="a=inactive"),
        request("UPDATE", 4, in_dialog=True, direction="sendrecv"),
        expect(200, body="a=sendrecv"),
        request("INVITE", 5, in_dialog=True),
        expect(100, optional=True),
        expect(200, body="m=audio [0-9]+ RTP/AVP 0"),
        request("ACK", 5, in_dialog=True, direction="sendrecv"),
        request("BYE", 6, in_dialog=True),
        expect(200),
    )
    await (await against(server, sipp, transport, scenario)).finish()
    assert held_there.is_set()
    await no_calls_left(server)
