"""Our login at others, worked out once more by SIPp (MD5; it looks at Authorization alone)."""

from __future__ import annotations

import pytest

import rtpmix
from tests.interop.scenario import expect_request, response, script
from tests.interop.sipp import Sipp
from tests.interop.test_sipp_calls import TRANSPORTS, no_calls_left
from tests.interop.test_sipp_races import PORT

VERIFIED = """\
  <recv request="INVITE" rrs="true" test="right" next="1"><action>
    <verifyauth assign_to="right" username="rtpmix" password="secret"/>
  </action></recv>
"""


@TRANSPORTS
@pytest.mark.parametrize("offered", ['MD5, qop="auth"', 'MD5, qop="auth-int"', "MD5"])
@pytest.mark.parametrize("password", ["secret", "guess"])
async def test_our_answer_to_a_challenge(
    server: rtpmix.Server, sipp: Sipp, transport: str, offered: str, password: str
) -> None:
    """RFC 3261 section 22.2, RFC 7616 section 3.4: right with the password, wrong with another."""
    asked = f'WWW-Authenticate: Digest realm="trunk", nonce="d0f1", algorithm={offered}'
    scenario = script(
        "ask for a login",
        expect_request("INVITE"),
        response(401, "Who are you", headers=(asked,)),
        expect_request("ACK"),
        VERIFIED,
        response(403, "Forbidden"),
        expect_request("ACK"),
        '  <nop next="2"/>\n  <label id="1"/>\n',
        response(200, "OK", direction="sendrecv"),
        expect_request("ACK"),
        expect_request("BYE"),
        response(200, "OK", tag=False),
        '  <label id="2"/>\n',
    )
    running = await sipp.run(scenario, transport=transport, keys=PORT)
    await running.is_listening(transport)
    target = f"sip:peer@127.0.0.1:{running.port};transport={transport}"
    credentials = rtpmix.Credential("rtpmix", password)
    if password == "secret":
        leg = await server.invite(target, credentials=credentials)
        await leg.hangup()
    else:
        with pytest.raises(rtpmix.CallFailed) as failed:
            await server.invite(target, credentials=credentials)
        assert failed.value.status == 403
    await running.finish()
    await no_calls_left(server)
