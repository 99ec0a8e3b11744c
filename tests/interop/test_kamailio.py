"""Kamailio as the proxy between: route sets, loose routing, CANCEL, and calls to its phones.

RFC 3261 section 16 is Kamailio's part; ours is 12.2.1.1 (the route set) and 9.1.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import rtpmix
from rtpmix.testing.audio import level_db
from tests.interop.conftest import Phones, PjsuaPhones, find_peer
from tests.interop.kamailio import Kamailio
from tests.interop.scenario import (
    expect,
    expect_request,
    keep_request,
    pause,
    request,
    response,
    script,
)
from tests.interop.sipp import Sipp, server_address
from tests.interop.test_lab import until_registered
from tests.interop.test_sipp_calls import TRANSPORTS, no_calls_left
from tests.interop.test_sipp_races import PORT, PROVISIONAL, call_and_give_up


@pytest.fixture
async def proxy(tmp_path: Path) -> AsyncIterator[Kamailio]:
    """A running proxy."""
    kamailio = Kamailio(find_peer("kamailio"), tmp_path / "kamailio")
    await kamailio.start()
    yield kamailio
    await kamailio.stop()


def through(proxy: Kamailio, transport: str) -> tuple[str, ...]:
    """Return the header that brings a request through the proxy first."""
    return (f"Route: <sip:{proxy.address};transport={transport};lr>",)


@TRANSPORTS
async def test_the_route_set_of_a_call_that_came_through_the_proxy(
    server: rtpmix.Server, proxy: Kamailio, sipp: Sipp, transport: str
) -> None:
    """RFC 3261 section 12.1.1: our hold, resume and BYE go back along Record-Route."""

    @server.on_invite
    async def answer(call: rtpmix.IncomingCall) -> None:
        assert call.header("Record-Route") is not None
        leg = await call.answer()
        await leg.hold()
        await leg.resume()
        await leg.hangup()

    scenario = script(
        "be held through a proxy",
        request("INVITE", 1, direction="sendrecv", headers=through(proxy, transport)),
        *PROVISIONAL,
        expect(200, target=True, header="Record-Route: lr"),
        request("ACK", 1, in_dialog=True),
        expect_request("INVITE", body="a=sendonly"),
        response(200, "OK", tag=False, direction="recvonly"),
        expect_request("ACK"),
        expect_request("INVITE", body="a=sendrecv"),
        response(200, "OK", tag=False, direction="sendrecv"),
        expect_request("ACK"),
        expect_request("BYE"),
        response(200, "OK", tag=False),
    )
    await call_through(server, proxy, sipp, transport, scenario)


@TRANSPORTS
async def test_requests_in_the_call_reach_us_through_the_proxy(
    server: rtpmix.Server, proxy: Kamailio, sipp: Sipp, transport: str
) -> None:
    """RFC 3261 section 12.2: re-INVITE, OPTIONS and BYE along the Route headers."""
    causes = []

    @server.on_invite
    async def answer(call: rtpmix.IncomingCall) -> None:
        causes.append((await (await call.answer()).closed()).cause)

    scenario = script(
        "hold through a proxy",
        request("INVITE", 1, direction="sendrecv", headers=through(proxy, transport)),
        *PROVISIONAL,
        expect(200, target=True),
        request("ACK", 1, in_dialog=True),
        pause(100),
        request("INVITE", 2, in_dialog=True, direction="sendonly"),
        expect(100, optional=True),
        expect(200, body="a=recvonly"),
        request("ACK", 2, in_dialog=True),
        request("OPTIONS", 3, in_dialog=True),
        expect(200),
        request("BYE", 4, in_dialog=True),
        expect(200),
    )
    await call_through(server, proxy, sipp, transport, scenario)
    assert causes == ["remote-bye"]


@TRANSPORTS
async def test_a_cancel_through_the_proxy(
    server: rtpmix.Server, proxy: Kamailio, sipp: Sipp, transport: str
) -> None:
    """RFC 3261 section 16.10: the proxy's own CANCEL reaches us, its ACK ends the 487."""

    @server.on_invite
    async def ring(call: rtpmix.IncomingCall) -> None:
        await call.ring()
        await asyncio.sleep(30)

    route = through(proxy, transport)
    scenario = script(
        "give up through a proxy",
        request("INVITE", 1, direction="sendrecv", headers=route),
        expect(100, optional=True),
        expect(180),
        request("CANCEL", 1, steps_back=3, headers=route),
        expect(200, header="CSeq: CANCEL"),
        expect(487, header="CSeq: INVITE"),
        request("ACK", 1, steps_back=6, headers=route),
    )
    await call_through(server, proxy, sipp, transport, scenario)
    assert server.snapshot()["handlers"] == 0


async def call_through(
    server: rtpmix.Server, proxy: Kamailio, sipp: Sipp, transport: str, scenario: str
) -> None:
    """Call the server by a scenario whose messages all go to the proxy (``-rsa``)."""
    running = await sipp.run(
        scenario,
        remote=server_address(server, transport),
        transport=transport,
        keys=PORT,
        options=("-rsa", proxy.address),
    )
    await running.finish()
    await no_calls_left(server)


async def test_a_phone_that_is_registered_at_the_proxy(
    server: rtpmix.Server, proxy: Kamailio, phones: Phones, tmp_path: Path
) -> None:
    """We call its address of record at the proxy: audio both ways, hold, BYE along Record-Route."""
    alice = await phones("alice", 437.0, registrar=proxy.address, password="unasked")
    bob = await phones("bob", 1013.0)
    await until_registered(tmp_path, ["alice"])
    alice_leg = await server.invite(f"sip:alice@{proxy.address}")
    bob_leg = await server.invite(bob.address)
    await server.bridge(alice_leg, bob_leg)
    heard_by_alice, heard_by_bob = await asyncio.gather(alice.listen(1.0), bob.listen(1.0))
    assert level_db(heard_by_alice, bob.frequency) > -20
    assert level_db(heard_by_bob, alice.frequency) > -20
    await alice_leg.hold()
    await alice_leg.resume()
    await alice_leg.hangup()
    await alice.event("CALL_CLOSED")


async def test_giving_up_a_call_through_the_proxy(
    server: rtpmix.Server, proxy: Kamailio, sipp: Sipp
) -> None:
    """RFC 3261 section 9.1: our CANCEL goes to the proxy, which sends one of its own."""
    scenario = script(
        "ring behind a proxy",
        keep_request("INVITE"),
        response(180, "Ringing"),
        expect_request("CANCEL"),  # of the proxy: it has one Via, the INVITE two
        response(200, "OK"),
        response(487, "Request Terminated", kept=True),
        expect_request("ACK"),
    )
    running = await sipp.run(scenario)
    registration = script(
        "register",
        request(
            "REGISTER",
            1,
            headers=("Expires: 60",),
        ),
        expect(200),
    ).replace("[local_port];transport=[transport]>", f"{running.port}>")
    await (await sipp.run(registration, remote=proxy.address, user="bob")).finish()
    await call_and_give_up(server, running, "udp", f"sip:bob@{proxy.address}")


@pytest.fixture
def behind(config: rtpmix.Config, proxy: Kamailio, transport: str) -> rtpmix.Config:
    """A server that calls out through the proxy, and registers there itself."""
    address = f"sip:{proxy.address};transport={transport}"
    uplink = rtpmix.Trunk(name="uplink", registrars=(address,), user="4711", domain="pbx.test")
    return dataclasses.replace(
        config,
        outbound_proxy=f"{address};lr",
        trunks=(uplink,),
        users={"alice": "wonderland"},
        realm="pbx.test",
        require_login=False,
    )


@TRANSPORTS
async def test_an_outbound_proxy(
    behind: rtpmix.Config, proxy: Kamailio, sipp: Sipp, transport: str
) -> None:
    """RFC 3261 section 8.1.2: our INVITE, ACK, hold and BYE all come to the peer through it."""
    scenario = script(
        "be called through a proxy",
        expect_request("INVITE", target=True, header=f"Record-Route: {proxy.address}"),
        response(180, "Ringing"),
        response(200, "OK", direction="sendrecv"),
        expect_request("ACK", header="Via: .*branch"),
        expect_request("INVITE", body="a=sendonly"),
        response(200, "OK", tag=False, direction="recvonly"),
        expect_request("ACK"),
        expect_request("BYE"),
        response(200, "OK", tag=False),
    )
    async with rtpmix.Server(behind) as server:
        running = await sipp.run(scenario, transport=transport, keys=PORT)
        await running.is_listening(transport)
        leg = await server.invite(f"sip:peer@127.0.0.1:{running.port};transport={transport}")
        await leg.hold()
        await leg.hangup()
        await running.finish()
        await no_calls_left(server)


@TRANSPORTS
async def test_a_registrar_of_another_make(
    behind: rtpmix.Config, proxy: Kamailio, sipp: Sipp, transport: str
) -> None:
    """RFC 3261 section 10.2: our trunk registers at Kamailio, which sends us its number's calls."""
    dialled: list[str] = []
    async with rtpmix.Server(behind) as server:

        @server.on_invite
        async def answer(call: rtpmix.IncomingCall) -> None:
            dialled.append(call.target)
            await (await call.answer()).closed()

        async with asyncio.timeout(30):
            while server.snapshot()["trunks"]["uplink"] != "registered":  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        scenario = script(
            "dial the number",
            request("INVITE", 1, direction="sendrecv"),
            *PROVISIONAL,
            expect(200, target=True),
            request("ACK", 1, in_dialog=True),
            request("BYE", 2, in_dialog=True),
            expect(200),
        )
        running = await sipp.run(
            scenario, remote=proxy.address, user="4711", transport=transport, keys=PORT
        )
        await running.finish()
        await no_calls_left(server)
    assert dialled == ["4711"]


@TRANSPORTS
async def test_a_phone_that_registers_through_the_proxy(
    behind: rtpmix.Config, proxy: Kamailio, pjsua: PjsuaPhones, transport: str
) -> None:
    """RFC 3327 section 5.3: calls to the phone go along the Path that its registration took."""
    direct = dataclasses.replace(behind, outbound_proxy=None, trunks=())
    async with rtpmix.Server(direct) as server:
        alice = await pjsua(
            "alice",
            registrar=server_address(server, transport),
            proxy=proxy.address,
            password="wonderland",
            transport=transport,
        )
        await alice.event("registration", status=200, active=True)
        assert server.contacts("alice") == 1
        leg = await server.invite("sip:alice@pbx.test")
        await alice.state("CONFIRMED")
        route = f"Record-Route: <sip:{proxy.address}"
        assert route in alice.log().partition("Request msg INVITE")[2]
        await leg.hold()
        await alice.event("media", state="held there")
        await leg.hangup()
        await alice.state("DISCONNECTED")
        await no_calls_left(server)
