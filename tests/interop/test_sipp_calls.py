"""Call flows against SIPp, over UDP and TCP."""

from __future__ import annotations

import asyncio
import dataclasses

import pytest

import rtpmix
from tests.interop.sipp import Sipp, ToneSocket, server_address

TRANSPORTS = pytest.mark.parametrize("transport", ["udp", "tcp"])


async def no_calls_left(server: rtpmix.Server) -> None:
    """Wait until nothing of any call is left; fail after the 64*T1 that a transaction may stay."""
    async with asyncio.timeout(40):
        while True:
            left = server.snapshot()
            # A handler that is cancelled takes a few turns of the loop more than its call.
            if not server.legs and not left["sip"]["calls"] and not left["handlers"]:
                return
            await asyncio.sleep(0.05)


@TRANSPORTS
@pytest.mark.parametrize("scenario", ["call_and_hang_up", "call_with_late_offer", "call_on_hold"])
async def test_calls_go_as_the_scenario_says(
    server: rtpmix.Server, sipp: Sipp, transport: str, scenario: str
) -> None:
    """RFC 3261 section 13, RFC 3264 section 8.4; SIPp checks each message that it gets."""
    reasons: list[str] = []

    @server.on_invite
    async def answer(call: rtpmix.IncomingCall) -> None:
        leg = await call.answer()
        reasons.append((await leg.closed()).cause)

    media = ToneSocket(1013.0)
    await media.open()
    try:
        running = await sipp.run(
            scenario,
            remote=server_address(server, transport),
            transport=transport,
            calls=10,
            keys={"rtp_port": str(media.port)},
        )
        await running.finish()
    finally:
        media.close()
    await no_calls_left(server)
    assert reasons == ["remote-bye"] * 10


@TRANSPORTS
async def test_early_media_is_acknowledged_and_the_call_updated(
    server: rtpmix.Server, sipp: Sipp, transport: str
) -> None:
    """RFC 3262 section 3, RFC 3311 section 5.2, RFC 4028 section 9: 183, PRACK, UPDATE, 422."""
    held: list[bool] = []

    @server.on_invite
    async def answer(call: rtpmix.IncomingCall) -> None:
        leg = await call.progress()
        await call.answer()
        await leg.closed()
        held.append(leg.held)

    running = await sipp.run(
        "call_with_prack_and_update",
        remote=server_address(server, transport),
        transport=transport,
        calls=3,
        keys={"rtp_port": "9"},
    )
    await running.finish()
    await no_calls_left(server)
    assert held == [True] * 3


@TRANSPORTS
async def test_nothing_stays_behind_after_hundreds_of_calls(
    server: rtpmix.Server, sipp: Sipp, transport: str
) -> None:
    """Forty calls a second: each one is answered in time, and no leg, dialog or task is left."""

    @server.on_invite
    async def answer(call: rtpmix.IncomingCall) -> None:
        await (await call.answer()).closed()

    running = await sipp.run(
        "call_and_hang_up",
        remote=server_address(server, transport),
        transport=transport,
        calls=400,
        rate=40,
        keys={"rtp_port": "9"},
    )
    await running.finish()
    await no_calls_left(server)
    assert server.snapshot()["handlers"] == 0


@TRANSPORTS
async def test_a_caller_who_gives_up_gets_487(
    server: rtpmix.Server, sipp: Sipp, transport: str
) -> None:
    """RFC 3261 section 9.2."""
    cancelled = []

    @server.on_invite
    async def let_it_ring(call: rtpmix.IncomingCall) -> None:
        await call.ring()
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            cancelled.append(call)
            raise

    running = await sipp.run(
        "call_and_cancel",
        remote=server_address(server, transport),
        transport=transport,
        keys={"rtp_port": "9"},
    )
    await running.finish()
    assert len(cancelled) == 1


@TRANSPORTS
async def test_nothing_in_common_is_488_with_a_warning(
    server: rtpmix.Server, sipp: Sipp, transport: str
) -> None:
    """RFC 3261 sections 21.4.26 and 20.43."""

    @server.on_invite
    async def answer(call: rtpmix.IncomingCall) -> None:
        await call.answer()

    running = await sipp.run(
        "call_without_common_codec",
        remote=server_address(server, transport),
        transport=transport,
        keys={"rtp_port": "9"},
    )
    await running.finish()
    assert not server.legs


@TRANSPORTS
async def test_sipp_answers_our_call(server: rtpmix.Server, sipp: Sipp, transport: str) -> None:
    """RFC 3261 sections 13.2 and 15: INVITE, 180, 200, ACK, BYE from here."""
    running = await sipp.run("answer_until_bye", transport=transport, keys={"rtp_port": "9"})
    await running.is_listening(transport)
    leg = await server.invite(f"sip:peer@127.0.0.1:{running.port};transport={transport}")
    assert leg.codec == "PCMU"
    await leg.hangup()
    await running.finish()


@pytest.fixture
def config(config: rtpmix.Config) -> rtpmix.Config:
    """A server that knows one user."""
    return dataclasses.replace(config, users={"sipp": "secret"}, realm="pbx.test")


@TRANSPORTS
async def test_sipp_registers_under_a_digest_challenge(
    server: rtpmix.Server, sipp: Sipp, transport: str
) -> None:
    """RFC 3261 sections 10 and 22; SIPp chooses its algorithm from those offered."""
    running = await sipp.run(
        "register", remote=server_address(server, transport), user="sipp", transport=transport
    )
    await running.finish()
    assert server.contacts("sipp") == 1


@TRANSPORTS
async def test_many_callers_of_one_room_hold_and_come_back(
    server: rtpmix.Server, sipp: Sipp, transport: str
) -> None:
    """RFC 3264 section 8.4: SIPp checks each direction, the room ends empty."""
    room = await server.bridge(name="room")
    most = 0

    @server.on_invite
    async def join(call: rtpmix.IncomingCall) -> None:
        nonlocal most
        leg = await call.answer()
        await room.add(leg)
        most = max(most, len(room.legs))
        await leg.closed()

    running = await sipp.run(
        "call_on_hold",
        remote=server_address(server, transport),
        transport=transport,
        calls=60,
        rate=20,
        keys={"rtp_port": "9"},
    )
    await running.finish()
    await no_calls_left(server)
    assert most > 5
    assert not room.legs
    assert server.snapshot()["handlers"] == 0
