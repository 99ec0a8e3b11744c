"""Encrypted media with baresip: SDES and DTLS-SRTP, both ways round, and with a plain phone."""

from __future__ import annotations

from dataclasses import replace

import pytest

import rtpmix
from rtpmix import Encryption
from tests.interop.conftest import Phones
from tests.interop.hearing import hear_each_other
from tests.interop.sipp import server_address

ALICE, BOB = 437.0, 1013.0
SDES, GCM, DTLS = "AES_CM_128_HMAC_SHA1_80", "AEAD_AES_256_GCM", "DTLS-SRTP"


@pytest.fixture
def config(config: rtpmix.Config, request: pytest.FixtureRequest) -> rtpmix.Config:
    """A server that offers keys in the way that the test says."""
    ways = getattr(request, "param", ("sdes", "dtls"))
    return replace(config, key_exchange=ways)


@pytest.mark.parametrize(
    ("config", "alice", "bob", "expected"),
    [
        (("sdes", "dtls"), "srtp-mand", "srtp-mand", (SDES, GCM)),
        (("dtls", "sdes"), "dtls_srtp", "dtls_srtp", (DTLS, DTLS)),
        (("sdes", "dtls"), "dtls_srtp", "srtp-mand", (DTLS, GCM)),
        (("dtls", "sdes"), "srtp-mand", "dtls_srtp", (SDES, DTLS)),
        (("sdes", "dtls"), "srtp-mand", "", (SDES, None)),
        (("sdes", "dtls"), "dtls_srtp", "", (DTLS, None)),
    ],
    indirect=["config"],
)
async def test_phones_hear_each_other(
    server: rtpmix.Server, phones: Phones, alice: str, bob: str, expected: tuple[str | None, ...]
) -> None:
    """alice calls, the server answers; the server calls bob, who answers."""
    one = await phones("alice", ALICE, media=alice)
    other = await phones("bob", BOB, media=bob)
    suites: list[str | None] = []

    @server.on_invite
    async def connect(call: rtpmix.IncomingCall) -> None:
        policy = Encryption.REQUIRED if bob else Encryption.FORBIDDEN
        far = await server.invite(other.address, encryption=policy)
        near = await call.answer(encryption=Encryption.REQUIRED)
        suites.extend([near.encryption, far.encryption])
        await server.bridge(near, far)
        await near.closed()

    await one.dial(f"sip:bob@{server_address(server, 'udp')}")
    await hear_each_other({"alice": one.listen, "bob": other.listen})
    assert tuple(suites) == expected
    counts = server.snapshot()["media"]["srtp"]
    assert counts["unprotected"] > 50
    assert counts["forged"] == 0


async def test_a_phone_that_does_not_encrypt_is_refused(
    server: rtpmix.Server, phones: Phones
) -> None:
    one = await phones("alice", ALICE)

    @server.on_invite
    async def connect(call: rtpmix.IncomingCall) -> None:
        await call.answer(encryption=Encryption.REQUIRED)

    one._send("dial", f"sip:bob@{server_address(server, 'udp')}")
    closed = await one.event("CALL_CLOSED")
    assert "488" in closed["param"]
