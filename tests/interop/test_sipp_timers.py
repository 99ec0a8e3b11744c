"""Session timers against SIPp in real time: 90 seconds are the least that there is (RFC 4028).

All calls of a test run at once, over UDP and TCP; a refresh comes after 45 seconds and a session
that nobody refreshes ends after 58.
"""

from __future__ import annotations

import asyncio
import dataclasses

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
from tests.interop.sipp import Scenario, Sipp
from tests.interop.test_sipp_calls import TRANSPORTS, no_calls_left
from tests.interop.test_sipp_races import PORT, PROVISIONAL, against

UPDATES = "Allow: INVITE, ACK, BYE, CANCEL, UPDATE"
LIMIT = 120.0  # seconds


@pytest.fixture
def config(config: rtpmix.Config) -> rtpmix.Config:
    """A server that does not hang up for want of audio, which SIPp does not send."""
    return dataclasses.replace(config, media_timeout_s=0)


def timer(seconds: int, refresher: str) -> tuple[str, ...]:
    """Return what a message says of the timer."""
    return ("Supported: timer", f"Session-Expires: {seconds};refresher={refresher}", UPDATES)


def granted(refresher: str) -> str:
    """Return what is expected of a 2xx or a refresh."""
    return f"Session-Expires: 90;refresher={refresher}"


def calling(refresher: str) -> list[str]:
    """Return the steps of a caller who wants 90 seconds."""
    return [
        request("INVITE", 1, direction="sendrecv", headers=timer(90, refresher)),
        *PROVISIONAL,
        expect(200, target=True, header=granted(refresher)),
        request("ACK", 1, in_dialog=True),
    ]


def called(refresher: str) -> list[str]:
    """Return the steps of one who is called, and grants 90 seconds."""
    headers = ("Require: timer", *timer(90, refresher)[1:])
    return [
        keep_request("INVITE", target=True),
        response(200, "OK", direction="sendrecv", headers=headers),
        expect_request("ACK"),
    ]


async def test_sessions_are_refreshed_or_end(server: rtpmix.Server, sipp: Sipp) -> None:
    """RFC 4028 sections 7.2, 9 and 10: either side refreshes, in both roles, or nobody does."""

    @server.on_invite
    async def answer(call: rtpmix.IncomingCall) -> None:
        await (await call.answer()).closed()

    bye = [request("BYE", 9, in_dialog=True), expect(200)]
    bye_of_callee = [request("BYE", 9, in_dialog=True, answering=True), expect(200)]
    given_up = [expect_request("BYE"), response(200, "OK", tag=False)]
    calls = {
        "the caller refreshes by UPDATE": [
            *calling("uac"),
            pause(46_000),
            request("UPDATE", 2, in_dialog=True, headers=timer(90, "uac")),
            expect(200, header=granted("uac")),
            *bye,
        ],
        "the caller refreshes by re-INVITE": [
            *calling("uac"),
            pause(46_000),
            request("INVITE", 2, in_dialog=True, direction="sendrecv", headers=timer(90, "uac")),
            expect(100, optional=True),
            expect(200, header=granted("uac")),
            request("ACK", 2, in_dialog=True),
            *bye,
        ],
        "we refresh a call that came in": [
            *calling("uas"),
            expect_request("UPDATE", header=granted("uac")),
            response(200, "OK", tag=False, headers=timer(90, "uac")),
            *bye,
        ],
        "nobody refreshes": [*calling("uac"), *given_up],
    }
    out = {
        "we refresh a call of ours": [
            *called("uac"),
            expect_request("UPDATE", header=granted("uac")),
            response(200, "OK", tag=False, headers=timer(90, "uac")),
            *bye_of_callee,
        ],
        "nobody refreshes a call of ours": [*called("uas"), *given_up],
    }
    running: list[Scenario] = []
    for transport in ("udp", "tcp"):
        options = ("-timeout", "110")
        for name, steps in calls.items():
            scenario = script(name, *steps)
            running.append(await against(server, sipp, transport, scenario, *options))
        for name, steps in out.items():
            waiting = await sipp.run(
                script(name, *steps), transport=transport, keys=PORT, options=options
            )
            running.append(waiting)
            await waiting.is_listening(transport)
            target = f"sip:peer@127.0.0.1:{waiting.port};transport={transport}"
            await server.invite(target)
    await asyncio.gather(*(scenario.finish(within=LIMIT) for scenario in running))
    await no_calls_left(server)


@TRANSPORTS
async def test_an_interval_that_is_too_small_is_lengthened(
    server: rtpmix.Server, sipp: Sipp, transport: str
) -> None:
    """RFC 4028 sections 6 and 7.4: 422 either way; who asked tries again with Min-SE."""

    @server.on_invite
    async def answer(call: rtpmix.IncomingCall) -> None:
        await (await call.answer()).closed()

    scenario = script(
        "want too little",
        request("INVITE", 1, direction="sendrecv", headers=timer(60, "uac")),
        expect(100, optional=True),
        expect(422, header="Min-SE: 90"),
        request("ACK", 1, steps_back=3),
        request("INVITE", 2, direction="sendrecv", headers=timer(90, "uac")),
        *PROVISIONAL,
        expect(200, target=True, header=granted("uac")),
        request("ACK", 2, in_dialog=True),
        request("BYE", 3, in_dialog=True),
        expect(200),
    )
    await (await against(server, sipp, transport, scenario)).finish()
    scenario = script(
        "want more",
        expect_request("INVITE", header="Session-Expires: 1800"),
        response(422, "Session Interval Too Small", headers=("Min-SE: 2400",)),
        expect_request("ACK"),
        expect_request("INVITE", target=True, header="Min-SE: 2400"),
        response(200, "OK", direction="sendrecv", headers=timer(2400, "uas")),
        expect_request("ACK"),
        expect_request("BYE"),
        response(200, "OK", tag=False),
    )
    running = await sipp.run(scenario, transport=transport, keys=PORT)
    await running.is_listening(transport)
    leg = await server.invite(f"sip:peer@127.0.0.1:{running.port};transport={transport}")
    await leg.hangup()
    await running.finish()
    await no_calls_left(server)
