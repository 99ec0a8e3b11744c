"""A desk phone's lamp against SIPp: SUBSCRIBE, and what the NOTIFYs say of an agent's calls."""

from __future__ import annotations

import asyncio
import dataclasses

import pytest

import rtpmix
from tests.interop.conftest import PjsuaPhones
from tests.interop.scenario import challenge, expect, expect_request, request, response, script
from tests.interop.sipp import Sipp, server_address
from tests.interop.test_sipp_calls import TRANSPORTS, no_calls_left

LOGIN = "[authentication username=sipp password=secret]"
USERS = {"sipp": "secret", "agent": "of-agent"}


@pytest.fixture
def config(config: rtpmix.Config) -> rtpmix.Config:
    """A server with two users."""
    return dataclasses.replace(config, users=USERS, realm="pbx.test", digest_algorithms=("MD5",))


def lamp(body: str, state: str = "active") -> list[str]:
    """Return the steps of a watcher that is told something."""
    return [
        expect_request("NOTIFY", header=f"Subscription-State: {state}", body=body),
        response(200, "OK", tag=False),
    ]


@TRANSPORTS
async def test_a_lamp_follows_the_calls_of_an_agent(
    server: rtpmix.Server, sipp: Sipp, pjsua: PjsuaPhones, transport: str
) -> None:
    """RFC 4235 section 4.1, RFC 6665 section 4.1: idle, confirmed, idle, then no more of it."""
    address = server_address(server, transport)
    agent = await pjsua("agent", registrar=address, password="of-agent", transport=transport)
    await agent.event("registration", status=200)
    dialog = ("Event: dialog", "Accept: application/dialog-info+xml", "Expires: 300")
    scenario = script(
        "watch",
        request("SUBSCRIBE", 1, headers=dialog),
        challenge(401),
        request("SUBSCRIBE", 2, headers=(*dialog, LOGIN)),
        expect(200, target=True, header="Expires: 300"),
        *lamp("sip:agent@pbx.test"),
        *lamp("confirmed"),
        *lamp("terminated|dialog-info [^>]*/>"),
        request("SUBSCRIBE", 3, in_dialog=True, headers=(dialog[0], "Expires: 0")),
        expect(200),
        *lamp("dialog-info", "terminated"),
    )
    uri = ("-auth_uri", f"agent@{address};transport={transport.upper()}")
    watching = await sipp.run(
        scenario, remote=address, user="agent", transport=transport, options=uri
    )
    async with asyncio.timeout(30):
        while server.snapshot()["watchers"]["watching"] == 0:  # noqa: ASYNC110 - a counter
            await asyncio.sleep(0.05)
    leg = await server.invite("sip:agent@pbx.test")
    async with asyncio.timeout(30):
        while "confirmed" not in watching.report():  # noqa: ASYNC110 - a file
            await asyncio.sleep(0.05)
    await leg.hangup()
    await agent.state("DISCONNECTED")
    await watching.finish()
    assert server.snapshot()["watchers"]["watching"] == 0
    await no_calls_left(server)
