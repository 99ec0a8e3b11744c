"""Digest against SIPp (RFC 3261 section 22, RFC 7616).

Debian's SIPp knows MD5 alone, with ``auth`` and ``auth-int``, and reads the first challenge;
``-auth_uri`` brings the URI that it signs in line with the Request-URI, which the server compares
(RFC 7616 section 3.4.6).
"""

from __future__ import annotations

import dataclasses

import pytest

import rtpmix
from tests.interop.scenario import challenge, expect, pause, request, script
from tests.interop.sipp import Sipp, server_address
from tests.interop.test_sipp_calls import TRANSPORTS, no_calls_left

LOGIN = "[authentication username=sipp password=secret]"


OFFERS = [(("MD5",), "auth"), (("MD5", "SHA-256"), "auth"), (("MD5",), "auth-int")]


@pytest.fixture(params=OFFERS, ids=lambda offer: f"{'+'.join(offer[0])}-{offer[1]}")
def config(config: rtpmix.Config, request: pytest.FixtureRequest) -> rtpmix.Config:
    """A server that takes calls from its users alone, by these algorithms and this qop."""
    algorithms, qop = request.param
    return dataclasses.replace(
        config,
        users={"sipp": "secret"},
        realm="pbx.test",
        require_login=True,
        digest_algorithms=algorithms,
        digest_qop=(qop,),
    )


@TRANSPORTS
async def test_a_login_and_a_call(server: rtpmix.Server, sipp: Sipp, transport: str) -> None:
    """REGISTER and INVITE are challenged; the ACK to the 401 repeats the branch."""
    identities = []

    @server.on_invite
    async def answer(call: rtpmix.IncomingCall) -> None:
        identities.append(call.identity)
        await (await call.answer()).closed()

    scenario = script(
        "log in and call",
        request("REGISTER", 1),
        challenge(401),
        request("REGISTER", 2, headers=(LOGIN,)),
        expect(200, header="Contact: expires="),
        request("INVITE", 3, direction="sendrecv"),
        expect(100, optional=True),
        challenge(401),
        request("ACK", 3, steps_back=3),
        request("INVITE", 4, direction="sendrecv", headers=(LOGIN,)),
        expect(100, optional=True),
        expect(180, optional=True),
        expect(200, target=True),
        request("ACK", 4, in_dialog=True),
        pause(100),
        request("BYE", 5, in_dialog=True),
        expect(200),
    )
    address = server_address(server, transport)
    running = await sipp.run(
        scenario,
        remote=address,
        user="sipp",
        transport=transport,
        keys={"rtp_port": "9"},
        options=("-auth_uri", f"sipp@{address};transport={transport.upper()}"),
    )
    await running.finish()
    assert identities == ["sipp"]
    assert server.contacts("sipp") == 1
    await no_calls_left(server)


async def test_a_wrong_password_is_challenged_again(server: rtpmix.Server, sipp: Sipp) -> None:
    scenario = script(
        "guess",
        request("REGISTER", 1),
        challenge(401),
        request("REGISTER", 2, headers=(LOGIN.replace("secret", "guess"),)),
        expect(401),
    )
    running = await sipp.run(scenario, remote=server_address(server, "udp"), user="sipp")
    await running.finish()
    assert server.contacts("sipp") == 0
