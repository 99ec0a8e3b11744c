"""Messages that cross on the wire, against SIPp: CANCEL at each moment, BYE, re-INVITE, 3xx."""

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
from tests.interop.sipp import Scenario, Sipp, server_address
from tests.interop.test_sipp_calls import TRANSPORTS, no_calls_left

PROVISIONAL = [expect(100, optional=True), expect(180, optional=True)]
PORT = {"rtp_port": "9"}


@pytest.fixture
def causes(server: rtpmix.Server) -> asyncio.Queue[str]:
    """Answers every call; how each leg ended."""
    ended: asyncio.Queue[str] = asyncio.Queue()

    @server.on_invite
    async def answer(call: rtpmix.IncomingCall) -> None:
        ended.put_nowait((await (await call.answer()).closed()).cause)

    return ended


async def against(
    server: rtpmix.Server, sipp: Sipp, transport: str, scenario: str, *options: str
) -> Scenario:
    """Start a scenario that calls the server."""
    remote = server_address(server, transport)
    return await sipp.run(scenario, remote=remote, transport=transport, keys=PORT, options=options)


# ---------------------------------------------------------------------------- SIPp calls


@TRANSPORTS
async def test_a_cancel_right_behind_the_invite(
    server: rtpmix.Server, sipp: Sipp, transport: str
) -> None:
    """RFC 3261 section 9.2: it needs no provisional response to be obeyed."""

    @server.on_invite
    async def hesitate(call: rtpmix.IncomingCall) -> None:
        await asyncio.sleep(30)

    scenario = script(
        "give up at once",
        request("INVITE", 1, direction="sendrecv"),
        request("CANCEL", 1, steps_back=1),
        expect(200, header="CSeq: CANCEL"),
        expect(487, header="CSeq: INVITE"),
        request("ACK", 1, steps_back=4),
    )
    # The 100 may come while SIPp is about to send the CANCEL, where it would end the call.
    ignore = ("-default_behaviors", "all,-abortunexp")
    await (await against(server, sipp, transport, scenario, *ignore)).finish()
    await no_calls_left(server)
    assert server.snapshot()["handlers"] == 0


@TRANSPORTS
async def test_a_cancel_that_crosses_the_200_changes_nothing(
    server: rtpmix.Server, sipp: Sipp, causes: asyncio.Queue[str], transport: str
) -> None:
    """RFC 3261 section 9.2: answered with 200, without effect on a call that has its answer."""
    scenario = script(
        "give up too late",
        request("INVITE", 1, direction="sendrecv"),
        *PROVISIONAL,
        expect(200, target=True, header="CSeq: INVITE"),
        request("CANCEL", 1, steps_back=4),
        expect(200, header="CSeq: CANCEL"),
        request("ACK", 1, in_dialog=True),
        pause(300),
        request("BYE", 2, in_dialog=True),
        expect(200, header="CSeq: BYE"),
    )
    await (await against(server, sipp, transport, scenario)).finish()
    assert await causes.get() == "remote-bye"


@TRANSPORTS
async def test_a_cancel_of_nothing_is_481(
    server: rtpmix.Server, sipp: Sipp, transport: str
) -> None:
    """RFC 3261 section 9.2: no such transaction here."""
    scenario = script("cancel nothing", request("CANCEL", 1), expect(481))
    await (await against(server, sipp, transport, scenario)).finish()


@TRANSPORTS
async def test_bye_meets_bye(server: rtpmix.Server, sipp: Sipp, transport: str) -> None:
    """RFC 3261 section 15: both hang up at once; each BYE has its answer, nothing is left."""

    @server.on_invite
    async def answer(call: rtpmix.IncomingCall) -> None:
        leg = await call.answer()
        await asyncio.sleep(0.3)
        await leg.hangup()

    scenario = script(
        "hang up at once",
        request("INVITE", 1, direction="sendrecv"),
        *PROVISIONAL,
        expect(200, target=True),
        request("ACK", 1, in_dialog=True),
        keep_request("BYE"),
        request("BYE", 2, in_dialog=True),
        expect(200),
        response(200, "OK", tag=False, kept=True),
    )
    await (await against(server, sipp, transport, scenario)).finish()
    await no_calls_left(server)


@TRANSPORTS
async def test_a_reinvite_that_meets_ours_is_491_and_ours_comes_again(
    server: rtpmix.Server, sipp: Sipp, transport: str
) -> None:
    """RFC 3261 sections 14.1 and 14.2: who did not choose the Call-ID tries again within 2 s."""
    held = asyncio.Event()

    @server.on_invite
    async def answer_and_hold(call: rtpmix.IncomingCall) -> None:
        leg = await call.answer()
        await asyncio.sleep(0.3)
        await leg.hold()
        held.set()
        await leg.closed()

    scenario = script(
        "glare",
        request("INVITE", 1, direction="sendrecv"),
        *PROVISIONAL,
        expect(200, target=True),
        request("ACK", 1, in_dialog=True),
        keep_request("INVITE"),
        request("INVITE", 2, in_dialog=True, direction="sendrecv"),
        expect(100, optional=True),
        expect(491),
        request("ACK", 2, in_dialog=True, steps_back=3),
        response(491, "Request Pending", tag=False, kept=True),
        expect_request("ACK"),
        expect_request("INVITE", body="a=sendonly"),
        response(200, "OK", tag=False, direction="recvonly"),
        expect_request("ACK"),
        pause(200),
        request("BYE", 3, in_dialog=True),
        expect(200),
    )
    await (await against(server, sipp, transport, scenario)).finish()
    assert held.is_set()
    await no_calls_left(server)


@TRANSPORTS
async def test_options_in_and_out_of_a_call_keep_it_alive(
    server: rtpmix.Server, sipp: Sipp, causes: asyncio.Queue[str], transport: str
) -> None:
    """RFC 3261 section 11.2: 200 with what could be done, and the call goes on."""
    can = "Allow: INVITE.*BYE"
    scenario = script(
        "are you there",
        request("OPTIONS", 1),
        expect(200, header=can),
        request("INVITE", 2, direction="sendrecv"),
        *PROVISIONAL,
        expect(200, target=True),
        request("ACK", 2, in_dialog=True),
        request("OPTIONS", 3, in_dialog=True),
        expect(200, header=can),
        pause(100),
        request("OPTIONS", 4, in_dialog=True),
        expect(200, header="Accept: application/sdp"),
        request("BYE", 5, in_dialog=True),
        expect(200),
        request("OPTIONS", 6, in_dialog=True),
        expect(481),
    )
    await (await against(server, sipp, transport, scenario)).finish()
    assert await causes.get() == "remote-bye"


# ---------------------------------------------------------------------------- SIPp answers


async def call_and_give_up(
    server: rtpmix.Server,
    running: Scenario,
    transport: str,
    target: str = "",
    *,
    rings: bool = True,
) -> None:
    """Call a scenario, and give up when it rings, or when it has the INVITE; see it through."""
    await running.is_listening(transport)
    target = target or f"sip:peer@127.0.0.1:{running.port};transport={transport}"
    heard: list[int] = []
    calling = asyncio.ensure_future(
        server.invite(target, on_progress=lambda status, _: heard.append(status))
    )
    async with asyncio.timeout(30):
        while 180 not in heard if rings else "INVITE sip" not in running.report():  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    calling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await calling
    await running.finish()
    await no_calls_left(server)


CANCELLED = [
    expect_request("CANCEL"),
    response(200, "OK"),
    response(487, "Request Terminated", method="INVITE"),
    expect_request("ACK"),
]


@TRANSPORTS
async def test_our_cancel_waits_for_a_provisional_response(
    server: rtpmix.Server, sipp: Sipp, transport: str
) -> None:
    """RFC 3261 section 9.1: no CANCEL before it; SIPp would fail on one that comes meanwhile."""
    scenario = script(
        "slow to ring",
        expect_request("INVITE"),
        pause(250),  # less than T1, after which the INVITE comes again
        response(180, "Ringing"),
        *CANCELLED,
    )
    running = await sipp.run(scenario, transport=transport)
    await call_and_give_up(server, running, transport, rings=False)


@TRANSPORTS
async def test_our_cancel_ends_the_ringing(
    server: rtpmix.Server, sipp: Sipp, transport: str
) -> None:
    """RFC 3261 section 9.1: 487 comes, and is acknowledged."""
    scenario = script(
        "ring", expect_request("INVITE"), response(100, "Trying", tag=False),
        response(180, "Ringing"), *CANCELLED,
    )  # fmt: skip
    await call_and_give_up(server, await sipp.run(scenario, transport=transport), transport)


@TRANSPORTS
async def test_an_answer_that_crosses_our_cancel_is_hung_up(
    server: rtpmix.Server, sipp: Sipp, transport: str
) -> None:
    """RFC 3261 section 15 and 13.2.2.4: the 2xx is acknowledged, then BYE."""
    scenario = script(
        "answer too late",
        expect_request("INVITE", target=True),
        response(180, "Ringing"),
        expect_request("CANCEL"),
        response(200, "OK"),
        response(200, "OK", method="INVITE", direction="sendrecv"),
        expect_request("ACK"),
        expect_request("BYE"),
        response(200, "OK", tag=False),
    )
    running = await sipp.run(scenario, transport=transport, keys=PORT)
    await call_and_give_up(server, running, transport)


@TRANSPORTS
@pytest.mark.parametrize("status", [300, 301, 302, 305, 380])
async def test_a_redirection_is_told_and_not_followed(
    server: rtpmix.Server, sipp: Sipp, transport: str, status: int
) -> None:
    """RFC 3261 section 8.1.3.4: following is the program's decision, or a callee could dial out."""
    elsewhere = "Contact: <sip:premium@127.0.0.1:9>"
    scenario = script(
        "redirect",
        expect_request("INVITE"),
        response(status, "Elsewhere", contact=elsewhere),
        expect_request("ACK"),
    )
    running = await sipp.run(scenario, transport=transport)
    await running.is_listening(transport)
    with pytest.raises(rtpmix.CallFailed) as failed:
        await server.invite(f"sip:peer@127.0.0.1:{running.port};transport={transport}")
    assert failed.value.status == status
    assert failed.value.contacts == ("sip:premium@127.0.0.1:9",)
    await running.finish()
    await no_calls_left(server)


@TRANSPORTS
async def test_a_redirection_that_the_policy_allows_is_followed(
    server: rtpmix.Server, sipp: Sipp, transport: str
) -> None:
    """RFC 3261 section 8.1.3.4: the contact that is allowed is called, the dearer one is not."""
    server.on_transfer(lambda request: request.user == "desk")
    desk = await sipp.run("answer_until_bye", transport=transport, keys=PORT)
    there = f"<sip:desk@127.0.0.1:{desk.port};transport={transport}>"
    scenario = script(
        "redirect",
        expect_request("INVITE"),
        response(302, "Moved", contact=f"Contact: <sip:premium@127.0.0.1:9>;q=0.9, {there};q=0.5"),
        expect_request("ACK"),
    )
    moved = await sipp.run(scenario, transport=transport)
    await asyncio.gather(desk.is_listening(transport), moved.is_listening(transport))
    leg = await server.invite(f"sip:peer@127.0.0.1:{moved.port};transport={transport}", redirects=2)
    await leg.hangup()
    await asyncio.gather(moved.finish(), desk.finish())
    await no_calls_left(server)
